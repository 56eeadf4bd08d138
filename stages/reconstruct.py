"""reconstruct: any asset becomes the canonical splat of a run.

    animus3d reconstruct asset.ply
    animus3d reconstruct animal.glb --num-gaussians 8000

1. Read and check a splat, or sample a mesh.
2. Turn it so that it stands: y up.
3. Write ``asset/canonical.ply``, which every other stage works on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from stages.conventions import step_generator
from stages.errors import BadInput
from stages.events import Note, Report, Wrote
from stages.gaussians import Gaussians
from stages.gaussians.ply import read_ply
from stages.gaussians.sh import rotate_sh
from stages.rotations import quaternion_matrices, quaternion_multiply
from stages.run_dir import RunDir

UP_AXES = ("y", "-y", "z", "-z", "x", "-x")
MESHES = (".glb", ".gltf", ".obj")


@dataclass(frozen=True, kw_only=True)
class ReconstructConfig:
    """Settings of ``reconstruct``."""

    num_gaussians: int = 6000  # of a mesh
    up: Literal["y", "-y", "z", "-z", "x", "-x"] = "y"  # the axis of the file that points up; captures often have -y
    seed: int = 0


PRESETS = {"default": ReconstructConfig()}


def run(run: RunDir, config: ReconstructConfig, report: Report, *, file: Path, force: bool = False) -> None:
    """Make ``file`` the asset of the run. Raises ``BadInput``, ``SettingsDiffer`` (the run has another asset)."""
    gaussians = load_asset(file, config)
    if run.put_asset(gaussians, str(file), force=force):
        report(Wrote(run.canonical_ply, f"{gaussians.num_gaussians} Gaussians, SH degree {gaussians.sh_degree}"))
    else:
        report(Note(f"{run.path} already holds this asset; nothing to do."))


def load_asset(path: Path, config: ReconstructConfig) -> Gaussians:
    """The Gaussians of a ``.ply`` splat or of a mesh, y up."""
    suffix = path.suffix.lower()
    if suffix == ".ply":
        gaussians = read_ply(path)
    elif suffix in MESHES:
        from stages.gaussians.mesh import gaussians_from_mesh

        if config.num_gaussians < 1:
            raise BadInput(f"--num-gaussians must be at least 1, not {config.num_gaussians}.")
        gaussians = gaussians_from_mesh(path, config.num_gaussians, step_generator(config.seed, 0))
    else:
        raise BadInput(f"{path} is neither a splat nor a mesh.", f"Give a .ply splat, or a mesh: {', '.join(MESHES)}.")
    return turn_upright(gaussians, config.up)


def turn_upright(gaussians: Gaussians, up: str) -> Gaussians:
    """Turn the asset so that its axis ``up`` becomes +y: means, quats and colours."""
    if up not in UP_AXES:
        raise BadInput(f"--up {up} is not an axis.", f"Choose one of: {', '.join(UP_AXES)}.")
    if up == "y":
        return gaussians
    half = 0.5**0.5
    turn = {  # wxyz
        "-y": (0.0, 1.0, 0.0, 0.0),
        "z": (half, -half, 0.0, 0.0),
        "-z": (half, half, 0.0, 0.0),
        "x": (half, 0.0, 0.0, half),
        "-x": (half, 0.0, 0.0, -half),
    }[up]
    R = quaternion_matrices(torch.tensor(turn))
    quats = quaternion_multiply(torch.tensor(turn), gaussians.quats)
    return replace(gaussians, means=gaussians.means @ R.T, quats=quats, sh=rotate_sh(gaussians.sh, R))
