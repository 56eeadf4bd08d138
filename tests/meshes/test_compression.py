"""Packed glTF: Draco and meshoptimizer unpacked to the numbers that went in; and what cannot be unpacked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import DracoPy
import numpy as np
import pytest

from stages.errors import BadInput
from stages.exporting.glb import read_mesh
from stages.exporting.glb_file import read_glb_file
from stages.meshes.gltf import open_gltf
from stages.meshes.mesh import load_mesh
from stages.meshes.meshopt import FILTERS, unpack
from tests.meshes.gltf_files import CORNERS, SQUARE, UV, Gltf

DRACO, MESHOPT = "KHR_draco_mesh_compression", "EXT_meshopt_compression"


def draco(data: bytes) -> Gltf:
    """The square, whose numbers are in ``data`` only."""
    made = Gltf()
    made.json["extensionsUsed"] = made.json["extensionsRequired"] = [DRACO]
    made.json["accessors"] = [
        {"componentType": 5126, "count": 4, "type": "VEC3"},
        {"componentType": 5126, "count": 4, "type": "VEC2"},
        {"componentType": 5121, "count": 6, "type": "SCALAR"},
    ]
    made.primitive.update(attributes={"POSITION": 0, "TEXCOORD_0": 1}, indices=2)
    packed = {"bufferView": made.view(data), "attributes": {"POSITION": 1, "TEXCOORD_0": 0}}  # as DracoPy numbers them
    made.primitive["extensions"] = {DRACO: packed}
    return made


def corners(path: Path) -> set[tuple[float, ...]]:
    """What the mesh has at its corners, places and texture coordinates, whatever their order."""
    mesh = load_mesh(path)
    uv = mesh.painted[0].paint.uv
    assert uv is not None and len(mesh.faces) == 2
    rows = np.concatenate([mesh.vertices[mesh.faces].numpy(), uv.numpy()], axis=2).reshape(-1, 5)
    return {tuple(row) for row in np.round(rows, 3).tolist()}


def test_draco_is_unpacked_wherever_the_file_is_read(tmp_path: Path) -> None:
    data = DracoPy.encode(
        SQUARE, CORNERS.reshape(-1, 3).astype(np.uint32), tex_coord=UV.astype(np.float64), quantization_bits=16
    )
    path = draco(data).write_glb(tmp_path / "a.glb")
    expected = {tuple(row) for row in np.concatenate([SQUARE, UV], axis=1).tolist()}
    assert corners(path) == expected
    assert read_mesh(path).num_vertices == 4
    content = read_glb_file(path).content
    assert DRACO not in str(content)  # what is exported again is plain
    assert DRACO not in (open_gltf(path).gltf.extensionsUsed or [])


def test_draco_that_is_broken_is_one_line(tmp_path: Path) -> None:
    path = draco(b"DRACO and then nothing").write_glb(tmp_path / "small.glb")
    with pytest.raises(BadInput) as caught:
        load_mesh(path)
    assert DRACO in caught.value.what and "small.glb" in caught.value.what and "\n" not in caught.value.what


def zigzag(values: Any) -> np.ndarray[Any, Any]:
    signed = np.asarray(values, np.uint8).view(np.int8).astype(np.int16)
    return ((signed << 1) ^ (signed >> 7)).astype(np.uint8)


def packed_attributes(rows: Any) -> bytes:
    """By the extension's text: one block, every group of 16 in whole bytes but the first byte's, which need two bits
    (3 says that a whole byte follows)."""
    rows = np.ascontiguousarray(rows)
    raw = rows.view(np.uint8).reshape(len(rows), -1)
    first, groups, out = raw[0], -(-len(raw) // 16), bytearray([0xA0])
    steps = zigzag(np.diff(raw, axis=0, prepend=first[None]))
    steps = np.concatenate([steps, np.zeros((groups * 16 - len(raw), raw.shape[1]), np.uint8)])
    for column in range(raw.shape[1]):
        width = 1 if column == 0 else 3
        head = np.zeros(-(-groups // 4), np.uint8)
        for group in range(groups):
            head[group // 4] |= width << (2 * (group % 4))
        out += head.tobytes()
        for group in range(groups):
            part = steps[16 * group : 16 * group + 16, column]
            if width == 3:
                out += part.tobytes()
                continue
            short = np.minimum(part, 3).reshape(4, 4)
            out += bytes(int(a) << 6 | int(b) << 4 | int(c) << 2 | int(d) for a, b, c, d in short)
            out += part[part >= 3].tobytes()
    return bytes(out + bytes(max(0, 32 - raw.shape[1])) + first.tobytes())


def packed_sequence(indices: Any) -> bytes:
    """Each index as its difference from the one before, all by the first of the two memories."""
    out, last = bytearray([0xD1]), 0
    for index in indices:
        step, last = int(index) - last, int(index)
        value = ((step << 1) ^ (step >> 31)) << 1
        while value > 127:
            out.append(value & 127 | 128)
            value >>= 7
        out.append(value)
    return bytes(out + bytes(4))


def test_meshoptimizer_is_unpacked(tmp_path: Path) -> None:
    made = Gltf()
    made.json["extensionsUsed"] = made.json["extensionsRequired"] = [MESHOPT]
    made.attribute("POSITION", SQUARE)
    made.attribute("TEXCOORD_0", UV)
    made.primitive["indices"] = made.accessor(CORNERS)
    for view, stored in zip(
        made.json["bufferViews"], (packed_attributes(SQUARE), packed_attributes(UV), packed_sequence(CORNERS)),
        strict=True,
    ):  # fmt: skip
        stride = (12, 8, 2)[made.json["bufferViews"].index(view)]
        where = {"buffer": 0, "byteOffset": len(made.blob), "byteLength": len(stored), "byteStride": stride}
        count, mode = view["byteLength"] // stride, "INDICES" if stride == 2 else "ATTRIBUTES"
        view |= {"buffer": 1, "byteOffset": 0, "extensions": {MESHOPT: where | {"count": count, "mode": mode}}}
        made.blob += stored
    path = tmp_path / "a.gltf"
    made.write_gltf(path, "a.bin", "a.bin")
    text = path.read_text().replace('"buffers": [', '"buffers": [', 1)
    path.write_text(text.replace('"uri": "a.bin"}]', '"uri": "a.bin"}, {"byteLength": 99999}]'))
    assert corners(path) == {tuple(row) for row in np.concatenate([SQUARE, UV], axis=1).tolist()}
    assert MESHOPT not in str(read_glb_file(path).content)


def test_packed_rows_differ_by_any_amount() -> None:
    rows = np.random.default_rng(0).integers(0, 256, (200, 8)).astype(np.uint8)
    stored = np.frombuffer(packed_attributes(rows), np.uint8)
    assert unpack(stored, 200, 8, "ATTRIBUTES") == rows.tobytes()
    for cut in (1, 40, len(stored) // 2):
        with pytest.raises(ValueError):
            unpack(stored[:cut], 200, 8, "ATTRIBUTES")


def test_packed_triangles_share_edges_and_vertices() -> None:
    """A strip of four triangles written with what meshoptimizer (0.2, version 1 of the stream) wrote for it."""
    codes = [0xF0, 0x10, 0x00, 0x10]
    # 0xF0: three new vertices by the first entry of the table; 0x10 and 0x00: a new one at an edge of those before
    table = [0x00, 0x76, 0x87, 0x56, 0x67, 0x78, 0xA9, 0x86, 0x65, 0x89, 0x68, 0x98, 0x01, 0x69, 0x00, 0x00]
    stored = np.array([0xE1, *codes, *table], np.uint8)
    found = np.frombuffer(unpack(stored, 12, 2, "TRIANGLES"), np.uint16).reshape(-1, 3).tolist()
    assert found == [[0, 1, 2], [2, 1, 3], [2, 3, 4], [4, 3, 5]]
    full = np.array([0xE1, 0xFF, 0xFF, 14, 2, 3, *table], np.uint8)  # one triangle with every vertex in full
    assert np.frombuffer(unpack(full, 3, 4, "TRIANGLES"), np.uint32).tolist() == [7, 8, 6]
    with pytest.raises(ValueError):
        unpack(np.array([0xE1, 0xF0], np.uint8), 30, 2, "TRIANGLES")


def test_filters_give_unit_vectors_turns_and_floats() -> None:
    octahedral = np.array([[127, 0, 127, 5], [0, 0, 127, 6], [-64, 127, 127, 7]], np.int8)
    vectors = FILTERS["OCTAHEDRAL"](octahedral.view(np.uint8)).view(np.int8)
    np.testing.assert_array_equal(vectors[:2], [[127, 0, 0, 5], [0, 0, 127, 6]])
    assert np.linalg.norm(vectors[2, :3].astype(float)) == pytest.approx(127, abs=1) and vectors[2, 2] < 0
    turn = FILTERS["QUATERNION"](np.array([[0, 0, 0, 2044 | 3], [2047, 0, 0, 2044 | 1]], np.int16).view(np.uint8))
    half = round(32767 * 0.5**0.5)
    np.testing.assert_allclose(turn.view(np.int16), [[0, 0, 0, 32767], [0, half, half, 0]], atol=1)
    floats = FILTERS["EXPONENTIAL"](np.array([[3 | (2 << 24), -5 & 0xFFFFFF | (255 << 24)]], np.uint32).view(np.uint8))
    np.testing.assert_array_equal(floats.view(np.float32), [[12.0, -2.5]])
