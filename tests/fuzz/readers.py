"""All readers, each with small valid files: made here by the project's writers, and by encoders of the tests."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import DracoPy
import numpy as np
import torch
import trimesh
from PIL import Image
from plyfile import PlyData

from stages.ablation.tasks import read_tasks
from stages.cameras.file import read_camera
from stages.cameras.path import Framing
from stages.captures import is_capture, read_capture
from stages.captures.read import read_photos
from stages.exporting.glb_file import read_glb_file
from stages.files import read_json
from stages.gaussians.formats import is_mesh, read_splat, write_splat
from stages.media.read import read_image, read_video
from stages.media.rgba import read_rgba
from stages.media.video import write_gif, write_mp4
from stages.meshes.mesh import load_mesh, put_on
from stages.moving.asset import load_moving_asset
from stages.moving.rig import load_rig
from stages.reporting.study import COLUMNS, read_answers, read_key
from stages.run_dir import RunDir
from stages.run_dir.layout import RIG
from stages.skeletons.joints_file import joints_text, read_joints
from stages.skeletons.rigged import read_rigged
from stages.skeletons.stored import rig_metadata, rig_tensors
from stages.zoo.folder import FolderClips
from tests.captures.files import cameras, plain_pictures, write_colmap, write_transforms
from tests.exporting.motions import arm
from tests.exporting.runs import moving_run, small_splat
from tests.gaussians import splat_encoders as encode
from tests.gaussians.test_formats import mild
from tests.gaussians.test_splat_glb import glb
from tests.meshes.gltf_files import CORNERS, SQUARE, UV, Gltf, png
from tests.meshes.test_compression import MESHOPT, draco, packed_attributes, packed_sequence

PIXELS = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Case:
    """One kind of file and what reads it.

    Args:
        reader: the name under which its files are counted.
        make: writes a valid file and all that belongs to it into an empty folder; returns what ``read`` takes.
        read: reads it; may return anything.
    """

    reader: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]


def read_asset(path: Path) -> Any:
    """A splat, a mesh or a capture, as ``reconstruct`` tells them apart."""
    if is_mesh(path, (".glb", ".gltf", ".obj", ".stl", ".ply")):
        return load_mesh(path)
    if is_capture(path):
        return read_photos(read_capture(path), 16)
    found = read_splat(path)
    assert all(bool(getattr(found, name).isfinite().all()) for name in ("means", "quats", "log_scales", "sh"))
    return found


def _written(suffix: str, degree: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write_splat(folder / f"a{suffix}", mild(degree))
        return folder / f"a{suffix}"

    return make


def _ply(**how: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write_splat(folder / "a.ply", mild(1))
        content = PlyData.read(io.BytesIO((folder / "a.ply").read_bytes()))
        content.text, content.byte_order = how.get("text", False), how.get("order", "<")
        content.write(str(folder / "a.ply"))
        return folder / "a.ply"

    return make


def _mesh(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        mesh: Any = trimesh.creation.icosahedron()
        mesh.visual.vertex_colors = np.full((12, 4), 120, np.uint8)
        name = "a.ascii.stl" if suffix == ".ascii.stl" else f"a{suffix}"
        kinds: dict[str, Any] = {".ascii.stl": {"file_type": "stl_ascii"}, ".text.ply": {"encoding": "ascii"}}
        mesh.export(folder / name, **kinds.get(suffix, {}))
        return folder / name

    return make


def _obj(folder: Path) -> Path:
    (folder / "a.obj").write_text(
        "mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0 0.5 0.5 0.5\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nvn 0 0 1\n"
        "usemtl red\nf 1/1/1 2/2/1 3/3/1\nusemtl map\nf -4/1 -2/3 -1/4\n"
    )
    (folder / "a.mtl").write_text("newmtl red\nKd 1 0 0\nd 0.5\nnewmtl map\nmap_Kd -s 2 2 1 a.png\n")
    (folder / "a.png").write_bytes(png(PIXELS))
    return folder / "a.obj"


def _textured(folder: Path) -> Path:
    made = Gltf.square()
    made.textured(PIXELS, sampler={"wrapS": 33071})
    made.json["nodes"] += [{"children": [0], "scale": [1, 2, 1]}]
    made.json["scenes"][0]["nodes"] = [1]
    return made.write_glb(folder / "a.glb")


def _skinned(folder: Path) -> Path:
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


def _gltf(folder: Path) -> Path:
    return Gltf.square().write_gltf(folder / "a.gltf", "a.bin", "a.bin")


def _gltf_of_uri(folder: Path) -> Path:
    made = Gltf.square()
    made.accessor(
        np.arange(4, dtype=np.float32),
        sparse={"count": 1, "indices": {"bufferView": 2, "componentType": 5123}, "values": {"bufferView": 0}},
    )
    return made.write_gltf(folder / "a.gltf", "data:;base64," + base64.b64encode(made.blob).decode())


def _draco(folder: Path) -> Path:
    flat = {"tex_coord": UV.astype(np.float64), "quantization_bits": 16}
    return draco(DracoPy.encode(SQUARE, CORNERS.reshape(-1, 3).astype(np.uint32), **flat)).write_glb(folder / "a.glb")


def _meshopt(folder: Path) -> Path:
    made = Gltf.square()
    for view, packed, count, stride, mode in (
        (0, packed_attributes(SQUARE), 4, 12, "ATTRIBUTES"), (2, packed_sequence(CORNERS), 6, 2, "INDICES"),
    ):  # fmt: skip
        place = made.json["bufferViews"][made.view(packed)]
        about = {**place, "count": count, "byteStride": stride, "mode": mode}
        made.json["bufferViews"][view]["extensions"] = {MESHOPT: about}
    made.json["extensionsUsed"] = made.json["extensionsRequired"] = [MESHOPT]
    return made.write_glb(folder / "a.glb")


def _instances(folder: Path) -> Path:
    made = Gltf.square()
    places = made.accessor(np.array([[0, 0, 0], [2, 0, 0]], np.float32))
    made.json["nodes"][0]["extensions"] = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": places}}}
    made.json["extensionsUsed"] = ["EXT_mesh_gpu_instancing"]
    return made.write_glb(folder / "a.glb")


def _splat_glb(folder: Path) -> Path:
    return glb(folder / "a.glb", mild(1))


def _spz_glb(folder: Path) -> Path:
    write_splat(folder / "a.spz", mild(1))
    made = Gltf()
    packed = made.view((folder / "a.spz").read_bytes())
    made.json["accessors"] = [{"componentType": 5126, "count": 20, "type": "VEC3"}]
    made.primitive["attributes"]["POSITION"] = 0
    (folder / "a.spz").unlink()
    made.primitive["mode"] = 0
    inside = {"KHR_gaussian_splatting_compression_spz_2": {"bufferView": packed}}
    made.primitive["extensions"] = {"KHR_gaussian_splatting": {"extensions": inside}}
    return made.write_glb(folder / "a.glb")


def _transforms(folder: Path) -> Path:
    views = cameras(3, 16, 12)
    plain_pictures(folder, views)
    document = write_transforms(folder, views)
    write_splat(folder / "points.ply", small_splat())
    document |= {"ply_file_path": "points.ply", "camera_angle_x": 0.7, "k1": 0.01}
    (folder / "transforms.json").write_text(json.dumps(document))
    return folder


def _colmap(ending: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        views = cameras(3, 16, 12)
        plain_pictures(folder, views)
        write_colmap(folder, views, ending, np.random.default_rng(0).random((5, 6)) * 200)
        return folder

    return make


FRAMING = Framing(
    low=-torch.ones(3), high=torch.ones(3), azimuth_deg=0.0, elevation_deg=0.0, fov_deg=40.0, width=16, height=12
)


def _camera(folder: Path) -> Path:
    one = {"time": 0, "azimuth": 30, "elevation": 15, "radius": 4.2, "fov": 35, "target": [0, 0.5, 0]}
    whole = {"width": 512, "height": 512, "background": [1, 1, 1], "keyframes": [one, one | {"time": 1, "azimuth": 90}]}
    (folder / "a.json").write_text(json.dumps(whole))
    return folder / "a.json"


def _matrices(folder: Path) -> Path:
    plain_pictures(folder, cameras(3, 16, 12))
    write_transforms(folder, cameras(3, 16, 12), "a.json")
    return folder / "a.json"


def _joints(folder: Path) -> Path:
    (folder / "joints.json").write_text(joints_text(arm().joints))
    return folder / "joints.json"


def _tasks(folder: Path) -> Path:
    (folder / "goat.ply").write_text("x")
    (folder / "tasks.csv").write_text("asset,prompt,object\ngoat.ply,a jumping goat,goat\ngoat.ply,a goat walks,\n")
    return folder / "tasks.csv"


def _captions(folder: Path) -> Path:
    (folder / "captions.csv").write_text("file,clip,caption,motion,cycles\na.glb,wave,a goat waves,waves,1.5\n")
    _skinned(folder)
    return folder


def _study(folder: Path) -> Path:
    clips = {name: {"run": f"runs/{name}", "name": name} for name in ("one", "two")}
    (folder / "key.json").write_text(
        json.dumps({"format": 1, "page": "p", "sets": [{"prompt": "a goat", "clips": clips}]})
    )
    (folder / "answers.csv").write_text(f"{','.join(COLUMNS)}\np,me,a goat,motion_quality,one two,one,2020-01-01\n")
    return folder


def _read_study(folder: Path) -> Any:
    return read_answers([folder / "answers.csv"], read_key(folder / "key.json"))


def _frames() -> torch.Tensor:
    return torch.rand(3, 16, 16, 3, generator=torch.Generator().manual_seed(0))


def _video(write: Callable[..., None], name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write(folder / name, _frames(), 8)
        return folder / name

    return make


def _pictures(folder: Path) -> Path:
    for k in range(2):
        Image.fromarray(PIXELS).save(folder / f"{k}.png")
    return folder


def _jpeg(folder: Path) -> Path:
    Image.fromarray(PIXELS).save(folder / "a.jpg")
    return folder / "a.jpg"


def _png(folder: Path) -> Path:
    (folder / "a.png").write_bytes(png(PIXELS))
    return folder / "a.png"


def _texture(path: Path) -> Any:
    return put_on(load_mesh(path), path.with_name("b.png"))


def _square_and_picture(folder: Path) -> Path:
    (folder / "b.png").write_bytes(png(PIXELS))
    return Gltf.square().write_glb(folder / "a.glb")


def _run(folder: Path) -> Path:
    moving_run(folder, small_splat(count=12))
    stage, rig = RunDir(folder).stage(RIG.folder), arm()
    stage.write_result(RIG.result, rig_tensors(rig), rig_metadata(rig))
    stage.finish(1)
    return folder


def _read_run(folder: Path) -> Any:
    """What ``render`` reads of a run."""
    run = RunDir(folder)
    read_json(folder / "run.json")
    run.source()
    run.load_asset()
    load_rig(run)
    return load_moving_asset(run, "auto", "cpu")


CASES: dict[str, Case] = {
    "ply": Case("ply", _written(".ply", 3), read_asset),
    "ply text": Case("ply", _ply(text=True), read_asset),
    "ply big endian": Case("ply", _ply(order=">"), read_asset),
    "compressed ply": Case("compressed ply", _written(".compressed.ply", 0), read_asset),
    "compressed ply sh": Case("compressed ply", lambda f: encode.compressed_ply(f / "a.ply", mild(1)), read_asset),
    "splat": Case("splat", _written(".splat", 0), read_asset),
    **{f"spz {v}": Case("spz", lambda f, v=v: encode.spz(f / "a.spz", mild(1), v), read_asset) for v in (1, 2, 4)},
    "spz 3": Case("spz", _written(".spz", 1), read_asset),
    **{
        f"ksplat {k}": Case("ksplat", lambda f, k=k: encode.ksplat(f / "a.ksplat", mild(1), k), read_asset)
        for k in (0, 1, 2)
    },
    **{f"sog {v}": Case("sog", lambda f, v=v: encode.sog(f / "a.sog", mild(1), v), read_asset) for v in (1, 2)},
    "sog folder": Case("sog", lambda f: encode.sog(f / "meta.json", mild(1), 2, bundle=False), read_asset),
    "splat glb": Case("splat glb", _splat_glb, read_asset),
    "splat glb spz": Case("splat glb", _spz_glb, read_asset),
    "glb": Case("mesh gltf", _textured, read_asset),
    "glb skinned": Case("rigged gltf", _skinned, read_rigged),
    "glb skinned, as a mesh": Case("mesh gltf", _skinned, read_asset),
    "glb to be written again": Case("rewritten gltf", _skinned, read_glb_file),
    "glb instances": Case("mesh gltf", _instances, read_asset),
    "glb draco": Case("mesh gltf", _draco, read_asset),
    "glb meshopt": Case("mesh gltf", _meshopt, read_asset),
    "gltf": Case("mesh gltf", _gltf, read_asset),
    "gltf uri": Case("mesh gltf", _gltf_of_uri, read_asset),
    "obj": Case("obj", _obj, read_asset),
    "stl": Case("stl", _mesh(".stl"), read_asset),
    "stl text": Case("stl", _mesh(".ascii.stl"), read_asset),
    "mesh ply": Case("mesh ply", _mesh(".ply"), read_asset),
    "mesh ply text": Case("mesh ply", _mesh(".text.ply"), read_asset),
    "texture": Case("picture", _square_and_picture, _texture),
    "transforms": Case("transforms", _transforms, read_asset),
    "colmap": Case("colmap", _colmap(".bin"), read_asset),
    "colmap text": Case("colmap", _colmap(".txt"), read_asset),
    "camera": Case("camera", _camera, lambda path: read_camera(path, FRAMING)),
    "camera matrices": Case("camera", _matrices, lambda path: read_camera(path, FRAMING)),
    "joints": Case("joints", _joints, read_joints),
    "tasks": Case("tables", _tasks, read_tasks),
    "captions": Case("tables", _captions, lambda path: FolderClips(path).lines()),
    "study": Case("tables", _study, _read_study),
    "mp4": Case("video", _video(write_mp4, "a.mp4"), read_rgba),
    "mp4 of ours": Case("video", _video(write_mp4, "a.mp4"), read_video),
    "gif": Case("gif", _video(write_gif, "a.gif"), lambda path: read_rgba(path, 256)),
    "frames": Case("picture", _pictures, read_rgba),
    "png": Case("picture", _png, read_image),
    "jpg": Case("picture", _jpeg, read_image),
    "run": Case("run", _run, _read_run),
}


def seeds(case: Case, folder: Path) -> tuple[dict[str, bytes], str]:
    """The files of ``case`` by their paths in ``folder``, and which of these paths is read ("" the folder)."""
    folder.mkdir(parents=True)
    read = case.make(folder).relative_to(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}, str(read)
