"""Bones, measured: ``python -m tests.bench.bench_skeleton [PART...]``, or ``make bench-skeleton`` for all parts.

    rigs        of files: how far their clips are from the files' own, as shares of the diagonal
    heat        weights by bone heat against the files' own, and its seconds
    shapes      joints found from a shape: how far the nearest leaf is from each foot
    kinematics  forward kinematics and skinning of 10,000 Gaussians in 16 frames, there and back
    exact       MSD on the exact prior with the wolf's bones, five seeds (half an hour)
    track       physics on four walks

Each part that is run replaces its figures in ``results/skeleton.json``; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import torch

from stages.assets import asset_path
from stages.meshes.placement import Placement
from stages.motion.skeletal import SkeletalMotion, SkeletonConfig
from stages.skeletons.automatic import find_joints
from stages.skeletons.bone_heat import bone_heat
from stages.skeletons.file_rig import FileRig, rig_of_file
from stages.skeletons.physics import TrackConfig
from stages.skeletons.rig import forward_kinematics
from stages.skeletons.rigged import RiggedFile, read_rigged
from stages.skeletons.skeleton import skin
from tests.bench import exact_bones, track_clips
from tests.bench.record import RESULTS, finish, provenance
from tests.skeletons.test_automatic import robot_with_arms, soles, splat, standing
from tests.skeletons.test_bone_heat import file_joints

Figures = dict[str, Any]
FRAMES = 16


def rig_of(name: str) -> tuple[RiggedFile, FileRig, float]:
    """A shipped body, its rig, and the seconds that took."""
    file = read_rigged(asset_path("rigged", f"{name}.glb"))
    begun = time.perf_counter()
    matrices = file.skeleton.joint_matrices(file.bind_local)[0]
    made = rig_of_file(file, Placement("y", torch.eye(3)), matrices, max_bones=24)
    return file, made, time.perf_counter() - begun


def rigs() -> Figures:
    """Mean distance of vertices over each clip; the worst clip and the mean of all."""
    found = {}
    for path in sorted(asset_path("rigged").glob("*.glb")):
        file, made, seconds = rig_of(path.stem)
        joints, carried = made.rig.joints, made.rig.skin
        diagonal = float((carried.vertices.amax(0) - carried.vertices.amin(0)).norm())
        errors = {}
        for clip in file.clips:
            moments = torch.linspace(0.0, 1.0, FRAMES) * file.clip_seconds(clip)
            bones = forward_kinematics(joints.parents, joints.heads, *made.clip(file, clip, moments))
            ours = skin(carried.vertices, carried.weights, bones)
            true = skin(file.vertices, file.weights, file.skeleton.joint_matrices(file.pose(clip, moments)))
            errors[clip.rpartition("|")[2]] = float((ours - true).norm(dim=-1).mean()) / diagonal
        worst = max(errors, key=lambda clip: errors[clip])
        mean = sum(errors.values()) / len(errors)
        found[path.stem] = {"bones": len(joints), "mean": mean, "worst": errors[worst], "in": worst, "seconds": seconds}
    return found


def heat() -> Figures:
    """Mean absolute difference of skin weights."""
    found = {}
    for name in ("Horse", "Deer", "Wolf", "Fox"):
        file = read_rigged(asset_path("rigged", f"{name}.glb"))
        begun = time.perf_counter()
        weights = bone_heat(file.vertices, file.faces, file_joints(file))
        seconds = time.perf_counter() - begun
        error = float((weights - file.weights).abs().mean())
        found[name] = {"error": error, "vertices": len(file.vertices), "seconds": seconds}
    vertices, faces = splat("deer.ply")
    joints = find_joints(vertices, faces)
    begun = time.perf_counter()
    bone_heat(vertices, faces, joints)
    found["deer.ply"] = {"vertices": len(vertices), "seconds": time.perf_counter() - begun}
    return found


def shapes() -> Figures:
    """The largest distance of a foot from the nearest end of a limb, over the diagonal; of two robots, one without
    arms, the limbs that are found."""
    found = {}
    for name in ("Horse.glb", "Fox.glb", "Deer.glb", "deer.ply"):
        vertices, faces = splat(name) if name.endswith(".ply") else standing(name)
        begun = time.perf_counter()
        joints = find_joints(vertices, faces)
        seconds = time.perf_counter() - begun
        diagonal = float((vertices.amax(0) - vertices.amin(0)).norm())
        leaves = [joint for joint in range(len(joints)) if not joints.children(joint)]
        away = float(torch.cdist(soles(vertices), joints.tails[leaves]).amin(dim=1).max()) / diagonal
        found[name] = {"joints": len(joints), "farthest_foot": away, "seconds": seconds}
    for name, surface in (("robot.ply", splat("robot.ply")), ("RobotExpressive as a splat", robot_with_arms())):
        begun = time.perf_counter()
        joints = find_joints(*surface)
        seconds = time.perf_counter() - begun
        limbs = {name.rpartition("_")[0] for name in joints.names if "arm" in name or "leg" in name}
        found[name] = {"joints": len(joints), "limbs": sorted(limbs), "seconds": seconds}
    return found


def kinematics() -> Figures:
    """Milliseconds with gradients, median of nine."""
    file, made, _ = rig_of("Horse")
    gaussians = file.gaussians(file.bind_local, 10_000, torch.Generator().manual_seed(0))
    motion = SkeletalMotion(SkeletonConfig(frames=FRAMES), made.rig, cyclic=True)
    motion.weights_of(gaussians.means)
    times, taken = motion.times(), []
    for _ in range(9):
        begun = time.perf_counter()
        motion.at(gaussians, times).means.square().sum().backward()
        taken.append(1e3 * (time.perf_counter() - begun))
    return {"gaussians": gaussians.num_gaussians, "bones": len(made.rig.joints), "ms": median(taken)}


def exact() -> Figures:
    """Medians over the seeds, and every single run."""
    known = exact_bones.truth()
    runs = [exact_bones.run(steps, seed, known) for steps in (300, 600) for seed in range(5)]
    return {"runs": runs} | exact_bones.medians(runs)


def track() -> Figures:
    """As ``track_clips`` has them."""
    clips = {"Horse": "walk", "Deer": "walk", "Fox": "walk", "Knight": "walking_a"}
    return {name: track_clips.track(name, replace(TrackConfig()), None, clip) for name, clip in clips.items()}


PARTS: dict[str, Callable[[], Figures]] = {
    "rigs": rigs, "heat": heat, "shapes": shapes, "kinematics": kinematics, "exact": exact, "track": track,
}  # fmt: skip


def main() -> None:
    """The parts that are named, or all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=list(PARTS))
    path = RESULTS / "skeleton.json"
    known: Figures = json.loads(path.read_text()) if path.is_file() else {}
    known.pop("provenance", None)
    for part in parser.parse_args().parts:
        known[part] = rounded(PARTS[part]()) | {"made": provenance(f"python -m tests.bench.bench_skeleton {part}")}
        print(part, json.dumps(known[part]), flush=True)
    finish("skeleton", known)


def rounded(value: Any) -> Any:
    """Numbers to four digits."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
