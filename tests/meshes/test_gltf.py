"""Numbers, buffers and pictures of glTF files, wherever they lie; files that cannot be used are one line."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.errors import BadInput
from stages.meshes.gltf import open_gltf
from tests.meshes.gltf_files import SQUARE, Gltf, png


def read(made: Gltf, accessor: int, folder: Path) -> Any:
    return open_gltf(made.write_glb(folder / "a.glb")).accessor(accessor)


@pytest.mark.parametrize(
    ("dtype", "stored", "meant"),
    [("int8", [-128, 127], [-1, 1]), ("uint8", [0, 51], [0, 0.2]), ("int16", [-32767, 0], [-1, 0]),
     ("uint16", [65535, 13107], [1, 0.2])],
)  # fmt: skip
def test_normalised_integers(tmp_path: Path, dtype: str, stored: list[int], meant: list[float]) -> None:
    made = Gltf()
    whole, share = (made.accessor(np.array(stored, dtype), normalized=flag) for flag in (False, True))
    np.testing.assert_array_equal(read(made, whole, tmp_path)[:, 0], stored)
    np.testing.assert_allclose(read(made, share, tmp_path)[:, 0], meant, atol=1e-6)


def test_rows_that_lie_apart_and_rows_that_are_replaced(tmp_path: Path) -> None:
    made = Gltf()
    apart = made.accessor(SQUARE)
    made.json["accessors"][apart] |= {"count": 2, "byteOffset": 12}
    made.json["bufferViews"][-1]["byteStride"] = 24
    np.testing.assert_array_equal(read(made, apart, tmp_path), SQUARE[[1, 3]])
    sparse = {
        "count": 2,
        "indices": {"bufferView": made.view(np.array([0, 2], np.uint8).tobytes()), "componentType": 5121},
        "values": {"bufferView": made.view(np.array([[7, 8, 9], [4, 5, 6]], np.float32).tobytes())},
    }
    some = made.accessor(SQUARE, sparse=sparse)
    expected = SQUARE.copy()
    expected[[0, 2]] = [[7, 8, 9], [4, 5, 6]]
    np.testing.assert_array_equal(read(made, some, tmp_path), expected)
    made.json["accessors"][some].pop("bufferView")
    np.testing.assert_array_equal(read(made, some, tmp_path)[[1, 3]], 0.0)


@pytest.mark.parametrize(
    ("uri", "name"), [("my%20dog.bin", "my dog.bin"), ("my dog.bin", "my dog.bin"), ("data", None)]
)
def test_buffers_beside_and_inside(tmp_path: Path, uri: str, name: str | None) -> None:
    made = Gltf.square()
    if uri == "data":
        uri = "data:application/octet-stream;base64," + base64.b64encode(made.blob).decode()
    file = open_gltf(made.write_gltf(tmp_path / "a.gltf", uri, name))
    np.testing.assert_array_equal(file.accessor(0), SQUARE)


def test_buffers_are_joined(tmp_path: Path) -> None:
    made = Gltf.square()
    first = len(made.json["bufferViews"])
    other = made.accessor(2 * SQUARE)
    offset = made.json["bufferViews"][first]["byteOffset"]
    made.json["bufferViews"][first] |= {"buffer": 1, "byteOffset": 0}
    (tmp_path / "two.bin").write_bytes(made.blob[offset:])
    made.blob = made.blob[:offset]
    path = made.write_gltf(tmp_path / "a.gltf", "one.bin", "one.bin")
    made.json["buffers"].append({"byteLength": 48, "uri": "two.bin"})
    path.write_text(json.dumps(made.json))
    file = open_gltf(path)
    np.testing.assert_array_equal(file.accessor(0), SQUARE)
    np.testing.assert_array_equal(file.accessor(other), 2 * SQUARE)


def test_pictures_beside_inside_and_nowhere(tmp_path: Path) -> None:
    made, picture = Gltf.square(), png(np.zeros((2, 2, 3)))
    (tmp_path / "my fur.png").write_bytes(picture)
    made.json["images"] = [
        {"bufferView": made.view(picture), "mimeType": "image/png"},
        {"uri": "my%20fur.png"},
        {"uri": "data:image/png;base64," + base64.b64encode(picture).decode()},
        {"uri": "gone.png"},
    ]
    file = open_gltf(made.write_glb(tmp_path / "a.glb"))
    assert [file.picture(number) for number in range(4)] == [picture, picture, picture, None]
    assert len(file.missing) == 1 and "gone.png" in file.missing[0]


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        open_gltf(tmp_path / "nowhere.glb")
    assert "nowhere.glb" in caught.value.what
    contents = {"text.glb": b"a goat", "list.gltf": b"[1]", "empty.glb": b"", "cut.glb": b"glTF\2\0\0"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput) as caught:
            open_gltf(tmp_path / name)
        assert name in caught.value.what and "\n" not in caught.value.what
    with pytest.raises(BadInput) as caught:
        open_gltf(Gltf.square().write_gltf(tmp_path / "a.gltf", "gone%20too.bin"))
    assert "gone too.bin" in caught.value.what
