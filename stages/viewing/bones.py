"""The bones of a rig on a page: a long octahedron a bone, a line where a bone does not begin at the end of its parent.

The handles of the page are viser's, which ``stages.view`` owns: here they are only used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.files import readable
from stages.geometry.rotations import matrix_quaternions
from stages.skeletons.picture import bone_colors
from stages.skeletons.rig import Joints

WAIST = 0.15
"""Where along a bone it is widest."""

WIDTH, THINNEST, WIDEST = 0.09, 0.012, 0.045
"""Half of that, over the bone's length; and at least and at most, normalised units."""

LINK, LINK_PX = (150, 150, 150), 2.0

CORNERS = np.array([[0, 0, 0], [1, 0, WAIST], [0, 1, WAIST], [-1, 0, WAIST], [0, -1, WAIST], [0, 0, 1]], np.float32)
FACES = np.array([face for a, b in ((1, 2), (2, 3), (3, 4), (4, 1)) for face in ((0, b, a), (5, a, b))], np.uint32)


@dataclass(frozen=True)
class BoneShapes:
    """Where each bone's octahedron lies at rest.

    Args:
        heads: [J, 3].
        R_world_bone: [J, 3, 3]; the third axis goes along the bone.
        scales: [J, 3] half widths and length.
    """

    heads: Tensor
    R_world_bone: Tensor
    scales: Tensor

    @staticmethod
    def of(joints: Joints) -> BoneShapes:
        """Those of ``joints`` in normalised units."""
        along = (joints.tails - joints.heads).cpu()
        length = along.norm(dim=-1, keepdim=True)
        third = torch.where(length < 1e-6, torch.tensor([0.0, 1.0, 0.0]), along / length.clamp(min=1e-6))
        beside = torch.nn.functional.one_hot(third.abs().argmin(dim=-1), 3).to(third)
        first = torch.nn.functional.normalize(torch.linalg.cross(beside, third), dim=-1)
        frames = torch.stack([first, torch.linalg.cross(third, first), third], dim=-1)
        half = (WIDTH * length).clamp(THINNEST, WIDEST)
        return BoneShapes(joints.heads.cpu(), frames, torch.cat([half, half, length.clamp(min=2.0 * THINNEST)], dim=-1))

    def at(self, matrices: Tensor) -> tuple[Tensor, Tensor]:
        """Where the bones have gone by ``matrices`` [J, 4, 4]: heads [J, 3] and quaternions [J, 4]."""
        turns = matrices[:, :3, :3]
        heads = (turns @ self.heads[..., None])[..., 0] + matrices[:, :3, 3]
        return heads, matrix_quaternions(turns @ self.R_world_bone)


class BonesOnPage:
    """The bones, and the two boxes that show them and their names; without a rig there is none of it."""

    def __init__(self, server: Any) -> None:
        self.scene = server.scene
        self.shows = server.gui.add_checkbox("bones", True, visible=False, hint="the asset is seen through")
        self.names = server.gui.add_checkbox("names", False, visible=False, hint="of the joints")
        self.meshes: Any = None
        self.links: Any = None
        self.labels: list[Any] = []
        self._joints: Joints | None = None

    @property
    def wanted(self) -> tuple[bool, bool]:
        """Whether bones are to be seen, and whether their names are."""
        return self.shows.value, self.shows.value and self.names.value

    def show(self, joints: Joints | None, matrices: Tensor | None) -> bool:
        """Show ``joints``, in normalised units, as ``matrices`` [J, 4, 4] have moved them, None: at rest; hide them
        where there are none. Gives whether any are seen."""
        self.shows.visible = self.names.visible = joints is not None
        seen, named = self.wanted if joints is not None else (False, False)
        if joints is not None and seen:
            self._build(joints)
            self._move(joints, torch.eye(4).expand(len(joints), 4, 4) if matrices is None else matrices.cpu(), named)
        if self._joints is not None:
            self.meshes.visible = self.links.visible = seen
            for label in self.labels:
                label.visible = named
        return seen

    def _build(self, joints: Joints) -> None:
        """Make what is on the page that of ``joints``."""
        if self._joints is not None and _same(self._joints, joints):
            return
        for old in (self.meshes, self.links, *self.labels) if self._joints is not None else ():
            old.remove()
        self._joints, self.shapes, self.labels = joints, BoneShapes.of(joints), []
        at_rest = torch.eye(4).expand(len(joints), 4, 4)
        heads, quats = self.shapes.at(at_rest)
        self.meshes = self.scene.add_batched_meshes_simple(
            "/bones",
            CORNERS,
            FACES,
            batched_wxyzs=quats.numpy(),
            batched_positions=heads.numpy(),
            batched_scales=self.shapes.scales.numpy(),
            batched_colors=(255.0 * bone_colors(len(joints))).round().to(torch.uint8).numpy(),
            lod="off",
            flat_shading=True,
            side="double",
            cast_shadow=False,
            receive_shadow=False,
        )
        self.links = self.scene.add_line_segments(
            "/links", _links(joints, at_rest), colors=LINK, thickness=LINK_PX, thickness_units="screen"
        )

    def _move(self, joints: Joints, matrices: Tensor, named: bool) -> None:
        """Put all of it where ``matrices`` [J, 4, 4] take it; make the names when they are first asked for."""
        heads, quats = self.shapes.at(matrices)
        self.meshes.batched_positions, self.meshes.batched_wxyzs = heads.numpy(), quats.numpy()
        self.links.points = _links(joints, matrices)
        if named and not self.labels:
            self.labels = [
                self.scene.add_label(f"/joints/{number}", readable(name), font_screen_scale=0.8, anchor="center-left")
                for number, name in enumerate(joints.names)
            ]
        if named:
            for label, head in zip(self.labels, heads, strict=True):
                label.position = tuple(head.tolist())


def _links(joints: Joints, matrices: Tensor) -> np.ndarray[Any, Any]:
    """Lines [L, 2, 3] from where a bone ends to its children that do not begin there, as ``matrices`` [J, 4, 4] have
    moved them."""
    heads, tails = joints.heads.cpu(), joints.tails.cpu()
    apart = [
        (joint, parent)
        for joint, parent in enumerate(joints.parents)
        if parent >= 0 and float((heads[joint] - tails[parent]).norm()) > THINNEST
    ]
    lines = torch.zeros(len(apart), 2, 3)
    for line, (joint, parent) in zip(lines, apart, strict=True):
        for end, point, bone in ((0, tails[parent], parent), (1, heads[joint], joint)):
            line[end] = matrices[bone, :3, :3] @ point + matrices[bone, :3, 3]
    return np.asarray(lines.numpy())


def _same(one: Joints, other: Joints) -> bool:
    return (
        (one.names, one.parents) == (other.names, other.parents)
        and torch.equal(one.heads, other.heads)
        and torch.equal(one.tails, other.tails)
    )
