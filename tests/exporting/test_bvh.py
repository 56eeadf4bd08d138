"""BVH files, read again by a parser of their own: joints are where the rig has them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from stages.errors import BadInput
from stages.exporting.bvh import bvh_text
from stages.geometry.rotations import quaternion_matrices
from stages.skeletons.rig import forward_kinematics
from tests.exporting.motions import Array, arm, some_motion


@dataclass
class Part:
    """A joint of the file, or an end site."""

    name: str
    parent: int
    offset: Array = field(default_factory=lambda: np.zeros(3))
    channels: list[str] = field(default_factory=list)


def parsed(text: str) -> tuple[list[Part], Array, float]:
    """Parts, the rows of numbers [T, C], and seconds a frame: what comes word by word."""
    words = iter(text.split())
    assert next(words) == "HIERARCHY"
    parts: list[Part] = []
    open_parts: list[int] = []
    for word in words:
        if word in ("ROOT", "JOINT", "End"):
            parts.append(Part(next(words), open_parts[-1] if open_parts else -1))
            assert next(words) == "{"
            open_parts.append(len(parts) - 1)
        elif word == "OFFSET":
            parts[-1].offset = np.array([float(next(words)) for _ in range(3)])
        elif word == "CHANNELS":
            parts[-1].channels = [next(words) for _ in range(int(next(words)))]
        elif word == "}":
            open_parts.pop()
        else:
            assert word == "MOTION" and not open_parts
            break
    rest = list(words)
    assert rest[0] == "Frames:" and rest[2:4] == ["Frame", "Time:"]
    rows = np.array(rest[5:], float).reshape(int(rest[1]), -1)
    assert rows.shape[1] == sum(len(part.channels) for part in parts)
    return parts, rows, float(rest[4])


def places(parts: list[Part], row: Array) -> Array:
    """Where each part is [P, 3]: a position is added to the offset, turns are applied in their order."""
    worlds: list[Array] = []
    numbers = iter(row)
    for part in parts:
        local = np.eye(4)
        local[:3, 3] = part.offset
        for channel in part.channels:
            axis, number = channel[0], float(next(numbers))
            if channel.endswith("position"):
                local["XYZ".index(axis), 3] += number
            else:
                local[:3, :3] = local[:3, :3] @ Rotation.from_euler(axis.lower(), number, degrees=True).as_matrix()
        worlds.append(local if part.parent < 0 else worlds[part.parent] @ local)
    return np.stack([world[:3, 3] for world in worlds])


@pytest.mark.parametrize("strength", [0.3, 2.0])
def test_joints_and_tips_are_where_the_rig_has_them(strength: float) -> None:
    joints = arm().joints
    matrices = some_motion(list(joints.parents), joints.heads, 9, strength=strength)
    parts, rows, seconds = parsed(bvh_text(joints, matrices, 24))
    assert seconds == pytest.approx(1 / 24) and len(rows) == 9
    assert [p.name for p in parts] == [
        "hip", "spine_one", "spine_two", "neck", "head", "Site", "spine_one_2", "Site"
    ]  # fmt: skip
    heads = (matrices[..., :3, :3] @ joints.heads[..., None])[..., 0] + matrices[..., :3, 3]
    tails = (matrices[..., :3, :3] @ joints.tails[..., None])[..., 0] + matrices[..., :3, 3]
    expected = torch.stack([*heads[:, :5].unbind(1), tails[:, 4], heads[:, 5], tails[:, 5]], dim=1).numpy()
    diagonal = float((joints.heads.amax(0) - joints.heads.amin(0)).norm())
    for t in range(9):
        np.testing.assert_allclose(places(parts, rows[t]), expected[t], atol=1e-5 * diagonal)
    still, rows, _ = parsed(bvh_text(joints, torch.eye(4).repeat(1, 6, 1, 1), 24))
    np.testing.assert_allclose(places(still, rows[0])[:5], joints.heads[:5].numpy(), atol=1e-6)


def test_angles_go_on_beyond_a_half_turn_and_through_upright() -> None:
    joints = replace(
        arm().joints, names=("a",), parents=(-1,), heads=torch.zeros(1, 3), tails=torch.ones(1, 3), limits_deg=(None,)
    )
    for axis in ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.4, 0.5, -0.7]):
        angles = torch.linspace(0, 4 * torch.pi, 97)  # 7.5 degrees a frame; 90 about X is one of them
        half = torch.nn.functional.normalize(torch.tensor(axis), dim=0) * torch.sin(0.5 * angles)[:, None]
        turns = quaternion_matrices(torch.cat([torch.cos(0.5 * angles)[:, None], half], dim=1))[:, None]
        matrices = forward_kinematics([-1], joints.heads, turns, torch.zeros(97, 3))
        _, rows, _ = parsed(bvh_text(joints, matrices, 30))
        there = Rotation.from_euler("ZXY", rows[:, 3:], degrees=True).as_matrix()
        np.testing.assert_allclose(there, turns[:, 0].numpy(), atol=1e-5)
        if axis != [0.4, 0.5, -0.7]:
            assert np.abs(np.diff(rows[:, 3:], axis=0)).max() < 8.0


def test_no_frames_are_refused() -> None:
    joints = arm().joints
    for matrices, fps in ((torch.zeros(0, 6, 4, 4), 24), (torch.eye(4).repeat(1, 6, 1, 1), 0)):
        with pytest.raises(BadInput):
            bvh_text(joints, matrices, fps)
