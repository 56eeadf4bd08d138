"""How well the physics follows the walks of shipped bodies: figures and pictures.

python -m tests.bench.track_clips Horse Deer Fox Knight --out pictures
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from stages.meshes.placement import Placement
from stages.metrics import contact
from stages.skeletons.file_rig import rig_of_file
from stages.skeletons.physics import TrackConfig, Tracked, Tracker, replay
from stages.skeletons.physics_model import bone_cuboids
from stages.skeletons.rig import Rig, forward_kinematics
from stages.skeletons.rigged import RiggedFile, read_rigged
from stages.skeletons.skeleton import skin
from stages.skeletons.travel import travel_velocity

MOST_BONES = 24
FPS = 24


@dataclass(frozen=True)
class ClipMotion:
    """A clip as a motion of a rig, standing where the file has it."""

    rig: Rig
    rotations: Tensor  # [T, J, 3, 3]
    shift: Tensor  # [T, 3]
    seconds: float


def clip_motion(file: RiggedFile, clip: str, cycles: int = 1) -> ClipMotion:
    """``cycles`` times the ``clip``, from its first frame to its last, by the file's own bones."""
    clip = file.find_clip(clip)
    length = file.clip_seconds(clip)
    rest = file.skeleton.joint_matrices(file.bind_local)[0]
    made = rig_of_file(file, Placement("y", torch.eye(3)), rest, max_bones=MOST_BONES)
    times = torch.linspace(0.0, length, round(length * FPS) + 1, dtype=torch.float64)
    rotations, shift = made.clip(file, clip, times)
    if cycles > 1:
        rotations = torch.cat([rotations, *[rotations[1:]] * (cycles - 1)])
        shift = torch.cat([shift, *[shift[1:]] * (cycles - 1)])
    return ClipMotion(made.rig, rotations, shift, length * cycles)


def grounded(motion: ClipMotion) -> ClipMotion:
    """The walk with its travel added."""
    points = skinned(motion.rig, motion.rotations, motion.shift)
    velocity = travel_velocity(points, motion.seconds, height_of(motion.rig))
    times = torch.linspace(0.0, motion.seconds, len(motion.shift))[:, None]
    return replace(motion, shift=motion.shift + velocity * times)


def height_of(rig: Rig) -> float:
    y = rig.skin.vertices[:, 1]
    return float(y.max() - y.min())


def skinned(rig: Rig, rotations: Tensor, shift: Tensor) -> Tensor:
    matrices = forward_kinematics(rig.joints.parents, rig.joints.heads, rotations, shift)
    return skin(rig.skin.vertices, rig.skin.weights, matrices)


def measures(rig: Rig, rotations: Tensor, shift: Tensor, seconds: float, ground: float) -> dict[str, float | None]:
    points, height = skinned(rig, rotations, shift), height_of(rig)
    matrices = forward_kinematics(rig.joints.parents, rig.joints.heads, rotations, shift)
    corners = bone_cuboids(rig.joints, rig.skin.vertices, rig.skin.weights).posed(matrices).flatten(1, 2)
    mean, most = contact.penetration(points, ground, height)
    corner_mean, corner_most = contact.penetration(corners, ground, height)
    return {
        "slide": contact.foot_slide(points, seconds, height, in_place=True),
        "slide_on_ground": contact.foot_slide(points, seconds, height, ground=ground),
        "penetration": mean,
        "penetration_most": most,
        "corner_penetration": corner_mean,
        "corner_penetration_most": corner_most,
        "floating": contact.floating(points, ground, height),
        "contact": contact.contact_share(points, ground, height),
        "jerk": contact.jerk(points, seconds, height),
    }


def kinematic_ground(rig: Rig, rotations: Tensor, shift: Tensor) -> Tensor:
    """The shift with which every frame's lowest point touches the lowest of all: the grounded clip."""
    lowest = skinned(rig, rotations, shift)[..., 1].amin(dim=1)
    shift = shift.clone()
    shift[:, 1] -= lowest - lowest.min()
    return shift


def position_error(motion: ClipMotion, made: Tracked) -> float:
    rig = motion.rig
    cuboids = bone_cuboids(rig.joints, rig.skin.vertices, rig.skin.weights)
    centres = [
        cuboids.posed(forward_kinematics(rig.joints.parents, rig.joints.heads, r, s)).mean(dim=2)
        for r, s in ((motion.rotations, motion.shift), (made.rotations, made.shift))
    ]
    return float((centres[0] - centres[1]).norm(dim=-1).mean()) / height_of(rig)


def draw(path: Path, motion: ClipMotion, first: Tracked, made: Tracked, frames: int = 6) -> None:
    """Stick figures from the side that travels: the clip, the motors alone, the result."""
    size, rows = 260, [(motion.rotations, motion.shift), (first.rotations, first.shift), (made.rotations, made.shift)]
    rig, height = motion.rig, height_of(motion.rig)
    travel = (motion.shift[-1] - motion.shift[0]).abs()
    across = 2 if travel[2] > travel[0] else 0
    picture = Image.new("RGB", (size * frames, size * len(rows)), "white")
    pen = ImageDraw.Draw(picture)
    cuboids = bone_cuboids(rig.joints, rig.skin.vertices, rig.skin.weights)
    for row, (rotations, shift) in enumerate(rows):
        matrices = forward_kinematics(rig.joints.parents, rig.joints.heads, rotations, shift)
        corners, points = cuboids.posed(matrices), skinned(rig, rotations, shift)
        ends = torch.stack(
            [
                torch.einsum("tjab,jb->tja", matrices[..., :3, :3], p) + matrices[..., :3, 3]
                for p in (rig.joints.heads, rig.joints.tails)
            ]
        )
        for column in range(frames):
            t = round(column * (len(shift) - 1) / (frames - 1))
            middle = motion.shift[t, across] + rig.skin.vertices[:, across].mean()

            def at(p: Tensor, middle: Tensor = middle, row: int = row, column: int = column) -> tuple[float, float]:
                x = (p[across] - middle) / height * 0.6 + 0.5
                y = 0.85 - (p[1] - made.controls.ground) / height * 0.6
                return float(column * size + x * size), float(row * size + y * size)

            for point in points[t, :: max(1, points.shape[1] // 700)]:
                x, y = at(point)
                pen.point((x, y), fill=(150, 150, 150))
            for box in corners[t]:
                flat = [at(corner) for corner in box]
                for a, b in (
                    (0, 1),
                    (0, 2),
                    (0, 4),
                    (1, 3),
                    (1, 5),
                    (2, 3),
                    (2, 6),
                    (3, 7),
                    (4, 5),
                    (4, 6),
                    (5, 7),
                    (6, 7),
                ):
                    pen.line([flat[a], flat[b]], fill=(190, 210, 255))
            for joint in range(len(rig.joints)):
                pen.line([at(ends[0, t, joint]), at(ends[1, t, joint])], fill=(200, 30, 30), width=2)
            level = row * size + 0.85 * size
            pen.line([(column * size, level), ((column + 1) * size, level)], fill=(0, 0, 0))
    picture.save(path)


def track(name: str, config: TrackConfig, out: Path | None, clip: str = "walk", cycles: int = 1) -> dict[str, object]:
    file = read_rigged(Path("assets/rigged") / f"{name}.glb")
    motion = grounded(clip_motion(file, clip, cycles))
    rig = motion.rig
    wall, cpu = time.perf_counter(), time.process_time()
    tracker = Tracker(rig, motion.rotations, motion.shift, motion.seconds, config)
    made_s = time.perf_counter() - wall
    rows = [tracker.step(iteration) for iteration in range(config.iterations)]
    best = tracker.best()
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    first = replay(rig, tracker.first, len(motion.shift))
    ground = best.controls.ground
    kept = kinematic_ground(rig, motion.rotations, motion.shift)
    before = measures(rig, motion.rotations, motion.shift, motion.seconds, ground)
    on_ground = measures(
        rig, motion.rotations, kept, motion.seconds, float(skinned(rig, motion.rotations, kept)[..., 1].min())
    )
    after = measures(rig, best.rotations, best.shift, motion.seconds, ground)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        draw(out / f"{name}.png", motion, first, best)
        (out / f"{name}.json").write_text(json.dumps(rows))
    return {
        "name": name,
        "bones": len(rig.joints),
        "travel": float((motion.shift[-1] - motion.shift[0]).norm()) / motion.seconds / height_of(rig),
        "ratio": best.tracking / best.first_tracking,
        "curve": [f"{row['tracking']:.2e}" for row in rows[:: max(1, len(rows) // 8)]],
        "gradient": [f"{row['gradient']:.1e}" for row in rows[:: max(1, len(rows) // 8)]],
        "position_first": position_error(motion, first),
        "position": position_error(motion, best),
        "upright": best.upright,
        "parted": best.parted,
        "clip": before,
        "grounded": on_ground,
        "made": after,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "setup_s": made_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=["Horse", "Deer", "Fox", "Knight"])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--iterations", type=int, default=TrackConfig.iterations)
    parser.add_argument("--cycles", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], help="field=value of TrackConfig")
    args = parser.parse_args()
    values: dict[str, Any] = {key: float(value) for key, value in (item.split("=") for item in args.set)}
    torch.set_num_threads(1)
    for name in args.names:
        clip = "walking_a" if name == "Knight" else "walk"
        for key, value in track(
            name, TrackConfig(iterations=args.iterations, **values), args.out, clip, args.cycles
        ).items():
            if isinstance(value, dict):
                value = {k: None if v is None else float(f"{v:.3g}") for k, v in value.items()}
            print(f"{key}: {float(f'{value:.3g}') if isinstance(value, float) else value}", flush=True)
        print()


if __name__ == "__main__":
    main()
