"""All readers, each with small valid files: made here by the project's writers, and by encoders of the tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stages.ablation.tasks import read_tasks
from stages.cameras.file import read_camera
from stages.cameras.path import Framing
from stages.captures import is_capture, read_capture
from stages.captures.read import read_photos
from stages.exporting.glb_file import read_glb_file
from stages.files import read_json
from stages.gaussians.formats import is_mesh, read_splat
from stages.media.read import read_image, read_video
from stages.media.rgba import read_rgba
from stages.media.video import write_gif, write_mp4
from stages.meshes.mesh import load_mesh, put_on
from stages.moving.asset import load_moving_asset
from stages.moving.rig import load_rig
from stages.priors.load import load_prior
from stages.reporting.study import read_answers, read_key
from stages.run_dir import RunDir
from stages.skeletons.joints_file import read_joints
from stages.skeletons.rigged import read_rigged
from stages.zoo.folder import FolderClips
from tests.fuzz import make_meshes, make_others, make_splats
from tests.gaussians import splat_encoders as encode
from tests.gaussians.test_formats import mild


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


def read_prior(folder: Path) -> Any:
    """A folder as ``--prior`` takes it."""
    return load_prior(str(folder))


FRAMING = Framing(
    low=-torch.ones(3), high=torch.ones(3), azimuth_deg=0.0, elevation_deg=0.0, fov_deg=40.0, width=16, height=12
)


def _read_study(folder: Path) -> Any:
    return read_answers([folder / "answers.csv"], read_key(folder / "key.json"))


def _texture(path: Path) -> Any:
    return put_on(load_mesh(path), path.with_name("b.png"))


def _read_run(folder: Path) -> Any:
    """What ``render`` reads of a run."""
    run = RunDir(folder)
    read_json(folder / "run.json")
    run.source()
    run.load_asset()
    load_rig(run)
    return load_moving_asset(run, "auto", "cpu")


CASES: dict[str, Case] = {
    "ply": Case("ply", make_splats.written(".ply", 3), read_asset),
    "ply text": Case("ply", make_splats.inria_ply(text=True), read_asset),
    "ply big endian": Case("ply", make_splats.inria_ply(order=">"), read_asset),
    "compressed ply": Case("compressed ply", make_splats.written(".compressed.ply", 0), read_asset),
    "compressed ply sh": Case("compressed ply", lambda f: encode.compressed_ply(f / "a.ply", mild(1)), read_asset),
    "splat": Case("splat", make_splats.written(".splat", 0), read_asset),
    **{f"spz {v}": Case("spz", lambda f, v=v: encode.spz(f / "a.spz", mild(1), v), read_asset) for v in (1, 2, 4)},
    "spz 3": Case("spz", make_splats.written(".spz", 1), read_asset),
    **{
        f"ksplat {k}": Case("ksplat", lambda f, k=k: encode.ksplat(f / "a.ksplat", mild(1), k), read_asset)
        for k in (0, 1, 2)
    },
    **{f"sog {v}": Case("sog", lambda f, v=v: encode.sog(f / "a.sog", mild(1), v), read_asset) for v in (1, 2)},
    "sog folder": Case("sog", lambda f: encode.sog(f / "meta.json", mild(1), 2, bundle=False), read_asset),
    "splat glb": Case("splat glb", make_splats.splat_glb, read_asset),
    "splat glb spz": Case("splat glb", make_splats.spz_glb, read_asset),
    "glb": Case("mesh gltf", make_meshes.textured, read_asset),
    "glb skinned": Case("rigged gltf", make_meshes.skinned, read_rigged),
    "glb skinned, as a mesh": Case("mesh gltf", make_meshes.skinned, read_asset),
    "glb to be written again": Case("rewritten gltf", make_meshes.skinned, read_glb_file),
    "glb instances": Case("mesh gltf", make_meshes.instances, read_asset),
    "glb draco": Case("mesh gltf", make_meshes.draco_glb, read_asset),
    "glb meshopt": Case("mesh gltf", make_meshes.meshopt, read_asset),
    "gltf": Case("mesh gltf", make_meshes.gltf, read_asset),
    "gltf uri": Case("mesh gltf", make_meshes.gltf_of_uri, read_asset),
    "obj": Case("obj", make_meshes.obj, read_asset),
    "stl": Case("stl", make_meshes.mesh(".stl"), read_asset),
    "stl text": Case("stl", make_meshes.mesh(".ascii.stl"), read_asset),
    "mesh ply": Case("mesh ply", make_meshes.mesh(".ply"), read_asset),
    "mesh ply text": Case("mesh ply", make_meshes.mesh(".text.ply"), read_asset),
    "texture": Case("picture", make_meshes.square_and_picture, _texture),
    "transforms": Case("transforms", make_others.transforms, read_asset),
    "colmap": Case("colmap", make_others.colmap(".bin"), read_asset),
    "colmap text": Case("colmap", make_others.colmap(".txt"), read_asset),
    "camera": Case("camera", make_others.camera, lambda path: read_camera(path, FRAMING)),
    "camera matrices": Case("camera", make_others.matrices, lambda path: read_camera(path, FRAMING)),
    "joints": Case("joints", make_others.joints, read_joints),
    "tasks": Case("tables", make_others.tasks, read_tasks),
    "captions": Case("tables", make_others.captions, lambda path: FolderClips(path).lines()),
    "study": Case("tables", make_others.study, _read_study),
    "mp4": Case("video", make_others.video(write_mp4, "a.mp4"), read_rgba),
    "mp4 of ours": Case("video", make_others.video(write_mp4, "a.mp4"), read_video),
    "gif": Case("gif", make_others.video(write_gif, "a.gif"), lambda path: read_rgba(path, 256)),
    "frames": Case("picture", make_others.pictures, read_rgba),
    "png": Case("picture", make_others.png_file, read_image),
    "jpg": Case("picture", make_others.jpeg_file, read_image),
    "ply of 2DGS": Case("ply", make_splats.two_scales, read_asset),
    "ply of Mip-Splatting": Case("ply", make_splats.filtered, read_asset),
    "ply far away": Case("ply", make_splats.georeferenced, read_asset),
    "points prior": Case("prior", make_others.points_prior, read_prior),
    "video prior": Case("prior", make_others.video_prior, read_prior),
    "run": Case("run", make_others.run_folder, _read_run),
}


def seeds(case: Case, folder: Path) -> tuple[dict[str, bytes], str]:
    """The files of ``case`` by their paths in ``folder``, and which of these paths is read ("" the folder)."""
    folder.mkdir(parents=True)
    read = case.make(folder).relative_to(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}, str(read)
