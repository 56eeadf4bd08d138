"""The exact-prior world with bones: the wolf's own skeleton, distilled by MSD. ``python -m tests.bench.exact_bones``

Prints the distance ratio (see ``exact``) of each seed at 300 and at 600 steps, and how far the bones' rotations are
from the nearest true clip's, in degrees.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import Tensor

from stages.conventions import frame_times
from stages.distill import DistillConfig
from stages.geometry.rotations import best_rotations
from stages.meshes.placement import Placement
from stages.motion.bones import pose_of
from stages.motion.kinds import MotionConfig
from stages.motion.skeletal import SkeletonConfig
from stages.settings import with_settings
from stages.skeletons.file_rig import FileRig, rig_of_file
from stages.skeletons.rig import forward_kinematics
from stages.zoo.clips import rigged_file
from tests.bench.exact import FINE_PHASES, NUM_FRAMES, NUM_GAUSSIANS, RIG, build_world, distilled, exact_config, moved

MAX_BONES = 22


@dataclass(frozen=True)
class Truth:
    """The wolf's rig in the world's frame, and how far each bone has turned in each true clip."""

    made: FileRig
    turns: Tensor  # [P, T, J, 3, 3]


def bones_config(steps: int, seed: int) -> DistillConfig:
    """The settings of the exact prior with a motion of bones."""
    settings = {
        "steps": steps, "seed": seed, "regularizers.smooth_weight": 0.1, "regularizers.ground_weight": 0.0,
        "regularizers_left": LEFT,
    }  # fmt: skip
    config = with_settings(exact_config(), settings)  # the true feet go a little below those at rest
    skeleton = SkeletonConfig(frames=NUM_FRAMES, free_start=True, learning_rate=LEARNING_RATE)
    return replace(config, motion=MotionConfig(kind="skeleton", skeleton=skeleton))


LEARNING_RATE = 1e-2
LEFT = 0.01
"""Of the smoothness at the end; chosen with seed 20 (``docs/skeleton.md``)."""


def truth() -> Truth:
    """Of the wolf."""
    file = rigged_file(RIG.file)
    rest = file.bind_local if RIG.rest is None else file.pose(RIG.rest, torch.zeros(1))
    body = file.body(rest, NUM_GAUSSIANS, torch.Generator().manual_seed(0))
    world = body.skeleton.world
    scale = float(world[:3, :3].det().abs() ** (1 / 3))
    placement = Placement("y", world[:3, :3] / scale, scale, world[:3, 3])
    made = rig_of_file(file, placement, file.skeleton.joint_matrices(rest)[0], max_bones=MAX_BONES)
    clip = RIG.verbs["walk"].clip
    seconds = file.clip_seconds(clip)
    turns = []
    for phase in range(FINE_PHASES):
        moments = (phase / FINE_PHASES + torch.linspace(0.0, 1.0, NUM_FRAMES)) * seconds % seconds
        rotations, shift = made.clip(file, clip, moments)
        joints = made.rig.joints
        turns.append(forward_kinematics(joints.parents, joints.heads, rotations, shift)[..., :3, :3])
    return Truth(made, torch.stack(turns))


def rotation_error_deg(turns: Tensor, true: Tensor) -> float:
    """The mean angle between rotations [T, J, 3, 3] of bones and those of the nearest true clip."""
    cosine = (torch.einsum("tjab,ptjab->ptj", turns, true) - 1.0) / 2.0
    return float(torch.rad2deg(cosine.clamp(-1.0, 1.0).acos()).mean(dim=(1, 2)).min())


def run(steps: int, seed: int, known: Truth) -> dict[str, float]:
    """One seed."""
    config = bones_config(steps, seed)
    world, start = build_world(config), time.perf_counter()
    motion, _ = distilled(world, config, rig=known.made.rig)
    joints = known.made.rig.joints
    matrices = forward_kinematics(joints.parents, joints.heads, *pose_of(motion, frame_times(NUM_FRAMES)))
    return {
        "steps": steps,
        "seed": seed,
        "ratio": round(world.ratio(moved(world, motion)), 4),
        "rotation_error_deg": round(rotation_error_deg(best_rotations(matrices[..., :3, :3]), known.turns), 2),
        "seconds": round(time.perf_counter() - start, 1),
    }


def medians(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each number of steps."""
    found = {}
    for steps in sorted({run["steps"] for run in runs}):
        for name in ("ratio", "rotation_error_deg"):
            found[f"{name} at {steps:g}"] = median(run[name] for run in runs if run["steps"] == steps)
    return found


def main() -> None:
    """Every seed at both budgets."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, nargs="+", default=[300, 600])
    given = parser.parse_args()
    known = truth()
    print(f"{len(known.made.rig.joints)} bones", flush=True)
    for steps in given.steps:
        for seed in range(given.seeds):
            print(json.dumps(run(steps, seed, known)), flush=True)


if __name__ == "__main__":
    main()
