"""Laws of skinning: rigid motions stay rigid, rotations follow, a motion is entered from the rest pose exactly."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stages.geometry.rotations import matrix_quaternions, quaternion_matrices
from stages.skeletons.skeleton import Body, Pose, skin, transform_matrices, unskin
from stages.zoo.clips import rigged_file
from stages.zoo.walkers import quadruped


def _body(count: int = 300) -> Body:
    return quadruped(torch.Generator().manual_seed(0), count).body


def _turned_root(body: Body, angle: float, shift: Tensor) -> Pose:
    """The rest pose with its root turned about x and shifted."""
    rest = body.rest
    rotations, translations = rest.rotations.clone(), rest.translations.clone()
    rotations[0, 0] = torch.tensor([math.cos(angle / 2), math.sin(angle / 2), 0.0, 0.0])
    translations[0, 0] += shift
    return Pose(translations, rotations, rest.scales)


def test_a_root_motion_is_rigid() -> None:
    body = _body()
    clip = body.animate(_turned_root(body, 0.7, torch.tensor([0.3, 0.1, -0.2])))
    before, after = body.gaussians.means, clip.means[0]
    torch.testing.assert_close(torch.cdist(after, after), torch.cdist(before, before), atol=2e-3, rtol=1e-4)
    R = torch.tensor([[1.0, 0, 0], [0, math.cos(0.7), -math.sin(0.7)], [0, math.sin(0.7), math.cos(0.7)]])
    torch.testing.assert_close(after - after.mean(0), (before - before.mean(0)) @ R.T, atol=1e-5, rtol=0)
    expected = R @ quaternion_matrices(body.gaussians.quats)
    torch.testing.assert_close(quaternion_matrices(clip.quats[0]), expected, atol=1e-5, rtol=0)


def test_a_skinned_file_turned_at_its_root_is_rigid_too() -> None:
    file = rigged_file("Dolphin.glb")  # smooth weights, a scaled armature
    body = file.body(file.bind_local, 200, torch.Generator().manual_seed(0))
    clip = body.animate(_turned_root(body, 1.1, torch.zeros(3)))
    before, after = body.gaussians.means, clip.means[0]
    torch.testing.assert_close(torch.cdist(after, after), torch.cdist(before, before), atol=2e-3, rtol=1e-3)
    relative = quaternion_matrices(clip.quats[0]) @ quaternion_matrices(body.gaussians.quats).transpose(1, 2)
    torch.testing.assert_close(relative, relative[:1].expand_as(relative), atol=1e-4, rtol=0)


def test_motion_is_entered_from_the_rest_pose_and_then_followed_exactly() -> None:
    procedural = quadruped(torch.Generator().manual_seed(1), 200)
    motion = procedural.pose("walk", torch.linspace(0.3, 1.3, 8), 1.0)
    clip, pure = procedural.body.from_rest(motion, blend_frames=4), procedural.body.animate(motion)
    torch.testing.assert_close(clip.means[0], procedural.body.gaussians.means, atol=1e-5, rtol=0)
    torch.testing.assert_close(clip.means[4:], pure.means[4:], atol=1e-6, rtol=0)
    assert not torch.allclose(clip.means[2], pure.means[2], atol=1e-3)


def test_blended_poses_take_the_shorter_arc_and_stay_unit() -> None:
    def pose(quat: list[float]) -> Pose:
        return Pose(torch.zeros(1, 1, 3), torch.tensor([[quat]]), torch.ones(1, 1, 3))

    half = pose([1.0, 0.0, 0.0, 0.0]).blend(pose([-(0.5**0.5), 0.0, -(0.5**0.5), 0.0]), torch.tensor([0.5]))
    expected = torch.tensor([math.cos(math.pi / 8), 0.0, math.sin(math.pi / 8), 0.0])
    torch.testing.assert_close(half.rotations[0, 0], expected)


def test_quaternions_of_matrices_and_back() -> None:
    quats = torch.nn.functional.normalize(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    scaled = 3.7 * quaternion_matrices(quats)  # the nearest rotation ignores a scale
    torch.testing.assert_close(
        quaternion_matrices(matrix_quaternions(scaled)), quaternion_matrices(quats), atol=1e-5, rtol=0
    )


def test_local_transforms_scale_then_turn_then_shift() -> None:
    quarter = torch.tensor([[[0.5**0.5, 0.0, 0.0, 0.5**0.5]]])  # about z
    pose = Pose(torch.tensor([[[1.0, 2.0, 3.0]]]), quarter, torch.tensor([[[2.0, 1.0, 1.0]]]))
    moved = transform_matrices(pose)[0, 0] @ torch.tensor([1.0, 0.0, 0.0, 1.0])
    torch.testing.assert_close(moved, torch.tensor([1.0, 4.0, 3.0, 1.0]))


def test_unskinning_inverts_skinning() -> None:
    generator = torch.Generator().manual_seed(0)
    points, matrices = torch.randn(30, 3, generator=generator), torch.eye(4).repeat(1, 5, 1, 1)
    matrices[0, :, :3] += 0.2 * torch.randn(5, 3, 4, generator=generator)
    weights = torch.softmax(torch.randn(30, 5, generator=generator), dim=1)
    torch.testing.assert_close(skin(unskin(points, weights, matrices[0]), weights, matrices)[0], points)
