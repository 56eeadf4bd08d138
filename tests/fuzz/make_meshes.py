"""Small valid meshes for the campaign."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import DracoPy
import numpy as np
import trimesh

from tests.meshes.gltf_files import CORNERS, SQUARE, UV, Gltf, png
from tests.meshes.test_compression import MESHOPT, draco, packed_attributes, packed_sequence

PIXELS = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)


def mesh(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        mesh: Any = trimesh.creation.icosahedron()
        mesh.visual.vertex_colors = np.full((12, 4), 120, np.uint8)
        name = "a.ascii.stl" if suffix == ".ascii.stl" else f"a{suffix}"
        kinds: dict[str, Any] = {".ascii.stl": {"file_type": "stl_ascii"}, ".text.ply": {"encoding": "ascii"}}
        mesh.export(folder / name, **kinds.get(suffix, {}))
        return folder / name

    return make


def obj(folder: Path) -> Path:
    (folder / "a.obj").write_text(
        "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0 0.5 0.5 0.5\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nvn 0 0 1\n"
        "usemtl red\nf 1/1/1 2/2/1 3/3/1\nusemtl map\nf -4/1 -2/3 -1/4\n"
    )
    (folder / "a.mtl").write_text("newmtl red\nKd 1 0 0\nd 0.5\nnewmtl map\nmap_Kd -s 2 2 1 a.png\n")
    (folder / "a.png").write_bytes(png(PIXELS))
    return folder / "a.obj"


def textured(folder: Path) -> Path:
    made = Gltf.square()
    made.textured(PIXELS, sampler={"wrapS": 33071})
    made.json["nodes"] += [{"children": [0], "scale": [1, 2, 1]}]
    made.json["scenes"][0]["nodes"] = [1]
    return made.write_glb(folder / "a.glb")


def skinned(folder: Path) -> Path:
    made = Gltf.square()
    made.attribute("JOINTS_0", np.array([[0, 1, 0, 0]] * 4, np.uint8))
    made.attribute("WEIGHTS_0", np.array([[0.5, 0.5, 0, 0]] * 4, np.float32))
    bind = made.accessor(np.eye(4, dtype=np.float32).reshape(1, 16).repeat(2, axis=0))
    times = made.accessor(np.array([0, 1], np.float32), min=[0], max=[1])
    turns = made.accessor(np.array([[0, 0, 0, 1], [0, 0, 1, 0]], np.float32))
    made.primitive["targets"] = [{"POSITION": made.accessor(np.ones((4, 3), np.float32))}]
    made.json["nodes"] = [
        {"mesh": 0, "skin": 0},
        {"name": "hips", "children": [2]},
        {"name": "knee", "translation": [1, 0, 0]},
    ]
    made.json["scenes"][0]["nodes"] = [0, 1]
    made.json["skins"] = [{"joints": [1, 2], "inverseBindMatrices": bind}]
    channel = {"sampler": 0, "target": {"node": 2, "path": "rotation"}}
    made.json["animations"] = [{"name": "wave", "channels": [channel], "samplers": [{"input": times, "output": turns}]}]
    return made.write_glb(folder / "a.glb")


def gltf(folder: Path) -> Path:
    return Gltf.square().write_gltf(folder / "a.gltf", "a.bin", "a.bin")


def gltf_of_uri(folder: Path) -> Path:
    made = Gltf.square()
    made.accessor(
        np.arange(4, dtype=np.float32),
        sparse={"count": 1, "indices": {"bufferView": 2, "componentType": 5123}, "values": {"bufferView": 0}},
    )
    return made.write_gltf(folder / "a.gltf", "data:;base64," + base64.b64encode(made.blob).decode())


def draco_glb(folder: Path) -> Path:
    flat = {"tex_coord": UV.astype(np.float64), "quantization_bits": 16}
    return draco(DracoPy.encode(SQUARE, CORNERS.reshape(-1, 3).astype(np.uint32), **flat)).write_glb(folder / "a.glb")


def meshopt(folder: Path) -> Path:
    made = Gltf.square()
    for view, packed, count, stride, mode in (
        (0, packed_attributes(SQUARE), 4, 12, "ATTRIBUTES"), (2, packed_sequence(CORNERS), 6, 2, "INDICES"),
    ):  # fmt: skip
        place = made.json["bufferViews"][made.view(packed)]
        about = {**place, "count": count, "byteStride": stride, "mode": mode}
        made.json["bufferViews"][view]["extensions"] = {MESHOPT: about}
    made.json["extensionsUsed"] = made.json["extensionsRequired"] = [MESHOPT]
    return made.write_glb(folder / "a.glb")


def instances(folder: Path) -> Path:
    made = Gltf.square()
    places = made.accessor(np.array([[0, 0, 0], [2, 0, 0]], np.float32))
    made.json["nodes"][0]["extensions"] = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": places}}}
    made.json["extensionsUsed"] = ["EXT_mesh_gpu_instancing"]
    return made.write_glb(folder / "a.glb")


def square_and_picture(folder: Path) -> Path:
    (folder / "b.png").write_bytes(png(PIXELS))
    return Gltf.square().write_glb(folder / "a.glb")
