"""Small valid captures, cameras, tables, pictures, runs and priors for the campaign."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stages.gaussians.formats import write_splat
from stages.reporting.study import COLUMNS
from stages.run_dir import RunDir
from stages.run_dir.layout import RIG
from stages.skeletons.joints_file import joints_text
from stages.skeletons.stored import rig_metadata, rig_tensors
from tests.captures.files import cameras, plain_pictures, write_colmap, write_transforms
from tests.exporting.motions import arm
from tests.exporting.runs import moving_run, small_splat
from tests.fuzz.make_meshes import skinned
from tests.meshes.gltf_files import png
from tests.priors.points.tiny import save_tiny
from tests.priors.test_embedded import tiny_prior

PIXELS = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)


def transforms(folder: Path) -> Path:
    views = cameras(3, 16, 12)
    plain_pictures(folder, views)
    document = write_transforms(folder, views)
    write_splat(folder / "points.ply", small_splat())
    document |= {"ply_file_path": "points.ply", "camera_angle_x": 0.7, "k1": 0.01}
    (folder / "transforms.json").write_text(json.dumps(document))
    return folder


def colmap(ending: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        views = cameras(3, 16, 12)
        plain_pictures(folder, views)
        write_colmap(folder, views, ending, np.random.default_rng(0).random((5, 6)) * 200)
        return folder

    return make


def camera(folder: Path) -> Path:
    one = {"time": 0, "azimuth": 30, "elevation": 15, "radius": 4.2, "fov": 35, "target": [0, 0.5, 0]}
    whole = {"width": 512, "height": 512, "background": [1, 1, 1], "keyframes": [one, one | {"time": 1, "azimuth": 90}]}
    (folder / "a.json").write_text(json.dumps(whole))
    return folder / "a.json"


def matrices(folder: Path) -> Path:
    plain_pictures(folder, cameras(3, 16, 12))
    write_transforms(folder, cameras(3, 16, 12), "a.json")
    return folder / "a.json"


def joints(folder: Path) -> Path:
    (folder / "joints.json").write_text(joints_text(arm().joints))
    return folder / "joints.json"


def tasks(folder: Path) -> Path:
    (folder / "goat.ply").write_text("x")
    (folder / "tasks.csv").write_text("asset,prompt,object\ngoat.ply,a jumping goat,goat\ngoat.ply,a goat walks,\n")
    return folder / "tasks.csv"


def captions(folder: Path) -> Path:
    (folder / "captions.csv").write_text("file,clip,caption,motion,cycles\na.glb,wave,a goat waves,waves,1.5\n")
    skinned(folder)
    return folder


def study(folder: Path) -> Path:
    clips = {name: {"run": f"runs/{name}", "name": name} for name in ("one", "two")}
    (folder / "key.json").write_text(
        json.dumps({"format": 1, "page": "p", "sets": [{"prompt": "a goat", "clips": clips}]})
    )
    (folder / "answers.csv").write_text(f"{','.join(COLUMNS)}\np,me,a goat,motion_quality,one two,one,2020-01-01\n")
    return folder


def frames() -> torch.Tensor:
    return torch.rand(3, 16, 16, 3, generator=torch.Generator().manual_seed(0))


def video(write: Callable[..., None], name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write(folder / name, frames(), 8)
        return folder / name

    return make


def pictures(folder: Path) -> Path:
    for k in range(2):
        Image.fromarray(PIXELS).save(folder / f"{k}.png")
    return folder


def jpeg_file(folder: Path) -> Path:
    Image.fromarray(PIXELS).save(folder / "a.jpg")
    return folder / "a.jpg"


def png_file(folder: Path) -> Path:
    (folder / "a.png").write_bytes(png(PIXELS))
    return folder / "a.png"


def run_folder(folder: Path) -> Path:
    moving_run(folder, small_splat(count=12))
    stage, rig = RunDir(folder).stage(RIG.folder), arm()
    stage.write_result(RIG.result, rig_tensors(rig), rig_metadata(rig))
    stage.finish(1)
    return folder


def points_prior(folder: Path) -> Path:
    """A folder as ``train-prior`` writes it."""
    save_tiny(folder)
    return folder


def video_prior(folder: Path) -> Path:
    """Likewise, of a prior of pictures."""
    tiny_prior().save(folder)
    return folder
