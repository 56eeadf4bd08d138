"""Cuboids of bones, and how deep they are in the ground."""

from __future__ import annotations

import torch

from stages.skeletons.ground import moved_corners, penetration, slim_cuboids
from stages.skeletons.rig import Joints, Rig, Skin, forward_kinematics


def leg() -> Rig:
    """A hip at (0, 2, 0), a knee one below it, a foot tip that owns no skin; skin is a box around each of two bones."""
    box = torch.cartesian_prod(torch.tensor([-0.2, 0.2]), torch.tensor([0.05, 0.95]), torch.tensor([-0.1, 0.3]))
    vertices = torch.cat([box + torch.tensor([0.0, 1.0, 0.0]), box])
    weights = torch.zeros(16, 3)
    weights[:8, 0], weights[8:, 1] = 1.0, 0.6
    weights[8:, 0] = 0.4
    heads = torch.tensor([[0.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    tails = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.3]])
    joints = Joints(names=("hip", "knee", "foot"), parents=(-1, 0, 1), heads=heads, tails=tails, limits_deg=(None,) * 3)
    return Rig(
        joints=joints, skin=Skin(vertices=vertices, faces=torch.zeros(0, 3).long(), weights=weights), found="hand"
    )


def as_rows(points: torch.Tensor) -> list[tuple[float, ...]]:
    return sorted(tuple(round(value, 4) + 0.0 for value in row) for row in points.tolist())


def test_a_cuboid_is_around_the_skin_that_the_bone_owns() -> None:
    rig = leg()
    cuboids = slim_cuboids(rig)
    assert cuboids.shape == (3, 8, 3)
    assert as_rows(cuboids[0]) == as_rows(rig.skin.vertices[:8]) and as_rows(cuboids[1]) == as_rows(
        rig.skin.vertices[8:]
    )
    assert set(as_rows(cuboids[2])) == {(0.0, 0.0, 0.0), (0.0, 0.0, 0.3)}  # no skin: from head to tail


def test_it_lies_along_a_slanting_bone() -> None:
    """Turning rig and skin turns the cuboids."""
    rig = leg()
    angle = torch.tensor(0.6)
    c, s = float(angle.cos()), float(angle.sin())
    R = torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    skin = Skin(vertices=rig.skin.vertices @ R.T, faces=rig.skin.faces, weights=rig.skin.weights)
    joints = Joints(
        names=rig.joints.names, parents=rig.joints.parents, heads=rig.joints.heads @ R.T, tails=rig.joints.tails @ R.T,
        limits_deg=rig.joints.limits_deg,
    )  # fmt: skip
    turned = slim_cuboids(Rig(joints=joints, skin=skin, found="hand"))
    size = torch.tensor([0.9, 0.4, 0.4]).square().sum().sqrt()
    for cuboid in turned[:2]:
        torch.testing.assert_close((cuboid[0] - cuboid[7]).norm(), size)


def test_a_bone_without_length_has_the_axes_of_the_world() -> None:
    rig = leg()
    joints = Joints(
        names=rig.joints.names, parents=rig.joints.parents, heads=rig.joints.heads, tails=rig.joints.heads.clone(),
        limits_deg=rig.joints.limits_deg,
    )  # fmt: skip
    cuboids = slim_cuboids(Rig(joints=joints, skin=rig.skin, found="hand"))
    assert as_rows(cuboids[0]) == as_rows(rig.skin.vertices[:8]) and torch.isfinite(cuboids).all()


def test_corners_go_with_their_bones_and_the_penalty_is_the_mean_depth() -> None:
    cuboids = slim_cuboids(leg())
    matrices = torch.eye(4).expand(2, 3, 4, 4).clone()
    matrices[1, :, 1, 3] = -0.25
    corners = moved_corners(cuboids, matrices)
    assert corners.shape == (2, 24, 3)
    torch.testing.assert_close(corners[1], cuboids.flatten(0, 1) - torch.tensor([0.0, 0.25, 0.0]))
    # only in frame 1: four corners of the knee's cuboid 0.2 deep, eight of the foot 0.25
    torch.testing.assert_close(penetration(corners, 0.0), torch.tensor((4 * 0.2 + 8 * 0.25) / 48))
    assert float(penetration(corners, -1.0)) == 0.0


def test_gradients_reach_the_pose() -> None:
    rig = leg()
    heads, cuboids = rig.joints.heads.double(), slim_cuboids(rig).double()

    def loss(angles: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        c, s, zero, one = angles.cos(), angles.sin(), torch.zeros_like(angles), torch.ones_like(angles)
        rows = [torch.stack(row, dim=-1) for row in ((one, zero, zero), (zero, c, -s), (zero, s, c))]
        matrices = forward_kinematics(rig.joints.parents, heads, torch.stack(rows, dim=-2), shift)
        return penetration(moved_corners(cuboids, matrices), 0.0)

    generator = torch.Generator().manual_seed(0)
    angles = 0.4 * torch.randn(2, 3, generator=generator, dtype=torch.float64)
    shift = torch.tensor([[0.0, -0.3, 0.0], [0.1, -0.5, 0.0]], dtype=torch.float64)
    assert float(loss(angles, shift)) > 0.0
    assert torch.autograd.gradcheck(loss, (angles.requires_grad_(), shift.requires_grad_()))
