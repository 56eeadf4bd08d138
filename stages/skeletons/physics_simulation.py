"""A rig's body in the simulator over a whole motion: chunk after chunk forward, and back with clipped gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stages.skeletons.physics_model import GRAVITY, BodyModel, body_model, bone_cuboids
from stages.skeletons.physics_motion import bone_paths, corners_of, start_state, state_paths
from stages.skeletons.rig import Rig

if TYPE_CHECKING:
    from stages.skeletons.physics_engine import Chunks

FASTEST_M_S = 100.0
"""Speed of a bone of a body of 1 m from which the simulation counts as burst."""


@dataclass(frozen=True, kw_only=True)
class Controls:
    """All that a body needs to move again as it did.

    Args:
        knots: [K + 1, J - 1, 3] targets of the motors in radians, evenly spaced in time.
        speeds: [J + 1, 3] at the start, see ``start_state``; m/s and rad/s of a body of 1 m.
        zeros: [J, 3, 3] local rotations at which the angles are zero.
        start: [J, 3, 3] local rotations at the start.
        shift: [3] of the root at the start, in the rig's units.
        seconds: that all of it takes.
        motor_hz: natural frequency of the motors.
        ground: y of the ground, in the rig's units: where the lowest corner of a cuboid is at the start.
    """

    knots: Tensor
    speeds: Tensor
    zeros: Tensor
    start: Tensor
    shift: Tensor
    seconds: float
    motor_hz: float
    ground: float

    @property
    def chunk_s(self) -> float:
        """Seconds from one knot to the next."""
        return self.seconds / (len(self.knots) - 1)


class Burst(Exception):
    """A simulation has left all bounds: which bone was fastest, and in which chunk."""

    def __init__(self, bone: int, chunk: int) -> None:
        super().__init__(bone, chunk)
        self.bone, self.chunk = bone, chunk


class Simulation:
    """The body of ``rig`` where ``controls`` start, ready to move. Raises ``NotAvailable`` without newton or warp."""

    def __init__(self, rig: Rig, controls: Controls, *, device: str = "cpu", graph: bool = True) -> None:
        from stages.skeletons.physics_engine import SUBSTEPS, Chunks, Forces

        self.model = rig_model(rig, controls.motor_hz, controls.chunk_s / SUBSTEPS)
        self.ground = controls.ground * self.model.scale
        self._start = bone_paths(self.model, controls.start[None], controls.shift[None])
        self._up = self._start.turns[0, 0].mT @ torch.tensor([0.0, 1.0, 0.0]).to(self._start.turns)
        self._forces = Forces()
        self._chunks: Chunks = Chunks(
            self.model,
            controls.zeros,
            self._up,
            chunk_s=controls.chunk_s,
            forces=self._forces,
            device=device,
            graph=graph,
        )

    def start(self, speeds: Tensor) -> Tensor:
        """The first state [J, 29] with ``speeds`` [J + 1, 3]. Differentiable."""
        return start_state(self.model, self._start, speeds.double()).float()

    def run(self, start: Tensor, knots: Tensor) -> Tensor:
        """States [K + 1, J, 29] at the knots, from ``start`` [J, 29] on. Raises ``Burst``."""
        states = [start]
        for first, last in pairwise(knots):
            states.append(self._chunks.forward(states[-1], first, last, self.ground))
            speed = states[-1].sum(dim=1) * 0.0 + states[-1][:, 7:10].norm(dim=1)  # NaN where anything is
            speed = speed.nan_to_num(nan=math.inf)
            if float(speed.max()) > FASTEST_M_S:
                raise Burst(int(speed.argmax()), len(states) - 1)
        return torch.stack(states)

    def pull_back(self, states: Tensor, knots: Tensor, gradient: Tensor, clip: float) -> tuple[Tensor, Tensor]:
        """Gradients by the first state [J, 29] and by the knots, of what has the ``gradient`` [K + 1, J, 29] by the
        states. What goes from one chunk to the one before is clipped to the norm ``clip``: contacts make it grow."""
        by_knots = torch.zeros_like(knots)
        carried = gradient[-1]
        for chunk in range(len(knots) - 2, -1, -1):
            arguments = states[chunk], knots[chunk], knots[chunk + 1], self.ground
            parts = self._chunks.backward(*arguments, carried)
            carried, first, last = (part.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0) for part in parts)
            by_knots[chunk] += first
            by_knots[chunk + 1] += last
            carried = carried * min(1.0, clip / max(float(carried.norm()), 1e-30)) + gradient[chunk]
        return carried, by_knots

    def upright_share(self, states: Tensor) -> float:
        """Mean size of the torque that keeps the root upright, over the body's weight times its height."""
        forces, unit = self._forces, GRAVITY * self.model.height
        lean = state_paths(states[:, :1]).turns[:, 0] @ self._up.float()
        up, spin = torch.tensor([0.0, 1.0, 0.0]), states[:, 0, 10:13] * torch.tensor([1.0, 0.0, 1.0])
        wanted = forces.upright_stiffness * torch.linalg.cross(lean, up.expand_as(lean)) - forces.upright_damping * spin
        size = wanted.norm(dim=1)
        return float((size / (1.0 + (size / (forces.upright_limit * unit)).square()).sqrt()).mean()) / unit

    def parted(self, states: Tensor) -> float:
        """Mean gap of the joints over the body's height."""
        paths, model, gaps = state_paths(states), self.model, []
        for bone, parent in enumerate(model.parents):
            if parent >= 0:
                ends = [
                    paths.centres[:, b] + paths.turns[:, b] @ (model.heads[bone] - model.cuboids.centres[b]).float()
                    for b in (bone, parent)
                ]
                gaps.append((ends[0] - ends[1]).norm(dim=1))
        return float(torch.stack(gaps).mean()) / model.height


def rig_model(rig: Rig, motor_hz: float, substep_s: float) -> BodyModel:
    """The body of a rig: its cuboids are around the vertices of its skin."""
    cuboids = bone_cuboids(rig.joints, rig.skin.vertices, rig.skin.weights)
    return body_model(rig.joints, cuboids, motor_hz=motor_hz, substep_s=substep_s)


def ground_under(rig: Rig, rotations: Tensor, shift: Tensor) -> float:
    """The y of the lowest corner of a cuboid in the pose ``rotations`` [J, 3, 3], ``shift`` [3], in the rig's units."""
    model = rig_model(rig, 1.0, 1.0)
    return float(corners_of(model, bone_paths(model, rotations[None], shift[None]))[..., 1].min()) / model.scale
