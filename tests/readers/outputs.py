"""What is exported, and where everything in it has to be, by the motion of the run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.events import silent
from stages.export import ExportConfig
from stages.export import run as export
from stages.gaussians import Frames, Gaussians
from stages.gaussians.mesh import gaussians_from_mesh
from stages.motion.skeletal import SkeletalMotion, SkeletonConfig
from stages.moving.asset import MovingAsset, load_moving_asset
from stages.rig import RigConfig
from stages.rig import run as rig
from stages.run_dir import RunDir
from stages.run_dir.layout import RIG
from stages.skeletons.stored import rig_of_tensors
from tests.exporting.runs import moving_run
from tests.readers.creature import creature_glb, parts

Array = np.ndarray[Any, Any]
FPS, FRAMES, COUNT = 10, 5, 1500
MOTION = "a creature"
SECONDS = [index / FPS for index in range(FRAMES)]

JOINTS = [
    ("spine", None, (0, 0.9, -0.9), (0, 0.9, 0.9)),
    ("neck", "spine", (0, 1.0, 0.9), (0, 2.0, 1.3)),
    ("tail", "spine", (0, 0.9, -1.1), (0, 1.7, -1.1)),
    ("leg_fl", "spine", (0.17, 0.6, 0.8), (0.17, 0, 0.8)),
    ("leg_fr", "spine", (-0.17, 0.6, 0.8), (-0.17, 0, 0.8)),
    ("leg_bl", "spine", (0.17, 0.6, -0.8), (0.17, 0, -0.8)),
    ("leg_br", "spine", (-0.17, 0.6, -0.8), (-0.17, 0, -0.8)),
]


@dataclass(frozen=True)
class MeshTruth:
    """Of each part by name: its vertices [T, V, 3] at ``SECONDS``, and its colour [3], linear."""

    vertices: dict[str, Array]
    colors: dict[str, Array]

    @property
    def flat(self) -> Array:
        """All vertices, [T, V, 3], part by part."""
        return np.concatenate([self.vertices[name] for name in self.vertices], axis=1)


def creature_run(folder: Path, degree: int = 0) -> RunDir:
    """The creature with a motion of a field. ``degree``: of the harmonics that its Gaussians get, made up."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "creature.glb"
    source.write_bytes(creature_glb())
    asset = gaussians_from_mesh(source, COUNT, torch.Generator().manual_seed(0))
    if degree:
        more = 0.1 * torch.randn(COUNT, (degree + 1) ** 2 - 1, 3, generator=torch.Generator().manual_seed(1))
        asset = Gaussians(
            means=asset.means, quats=asset.quats, log_scales=asset.log_scales,
            logit_opacities=asset.logit_opacities, sh=torch.cat([asset.sh[:, :1], more], dim=1),
        )  # fmt: skip
    return moving_run(folder / "run", asset, source=str(source), prompt=MOTION, strength=0.3)


def creature_with_bones(folder: Path) -> RunDir:
    """The creature with joints by hand and angles that were drawn."""
    run = creature_run(folder)
    told = [
        {"name": f"bone_{name}", "parent": parent and f"bone_{parent}", "head": list(head), "tail": list(tail)}
        for name, parent, head, tail in JOINTS
    ]
    (folder / "joints.json").write_text(json.dumps({"joints": told}))
    rig(run, RigConfig(skeleton=str(folder / "joints.json")), silent)
    result = run.require(RIG.folder).read_result(RIG.result)
    placed = load_moving_asset(run, "static", "cpu").placement
    assert placed is not None
    motion = SkeletalMotion(SkeletonConfig(), rig_of_tensors(*result).normalised(placed), cyclic=False)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        motion.angles.copy_(0.3 * torch.randn(motion.angles.shape, generator=generator))
        motion.shift.copy_(0.1 * torch.randn(motion.shift.shape, generator=generator))
    stage = run.stage("motion")
    stage.write_result("motion.safetensors", motion.tensors(), motion.metadata() | {"prompt": MOTION})
    stage.finish(1)
    return run


def exported(run: RunDir, out: Path, format: str, **settings: Any) -> Path:
    """``out``, or the first file of a sequence."""
    return export(run, ExportConfig(format=format, frames=FRAMES, fps=FPS, **settings), silent, out=out)


def mesh_truth(run: RunDir) -> MeshTruth:
    """Where the motion of ``run`` has every vertex of the creature."""
    asset = load_moving_asset(run, "auto", "cpu")
    vertices = {}
    for part in parts():
        rest = torch.from_numpy(part.placed).float()
        vertices[part.name] = (rest + asset.file_displacements(rest, asset.times(FRAMES))).numpy()
    return MeshTruth(vertices, {part.name: part.color for part in parts()})


def splat_truth(run: RunDir) -> tuple[MovingAsset, Frames]:
    """The moving asset, and its frames in the file's units."""
    asset = load_moving_asset(run, "auto", "cpu")
    return asset, asset.in_file(asset.at(asset.times(FRAMES)))
