"""The simulation itself: Newton's differentiable solver over short chunks of time.

With ``physics_kernels`` alone imports newton and warp. A chunk is ``SUBSTEPS`` substeps. Its graph is recorded once and
replayed: forward from a state to the next, backward from a gradient at its end to one at its start. Nothing of Warp
leaves this file: states are tensors [J, 29] of position (3), quaternion (x, y, z, w), velocity (3) and angular velocity
(3) of each bone's centre, all in the world, and of the bristles (8 x 2) that hold its corners on the ground.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.skeletons.physics_kernels import between_knots, missing, outer_forces, prepare, wp
from stages.skeletons.physics_model import GRAVITY, BodyModel

try:
    import newton
except ImportError:
    raise missing() from None

SUBSTEPS = 40
"""Of a chunk: gradients through longer ones are too inexact (8 % at 160 against 1 % at 40)."""


@dataclass(frozen=True, kw_only=True)
class Forces:
    """How strong the ground and the torque that keeps the root upright are; for a body of 1 kg and 1 m.

    Args:
        margin_m: how far above the ground a corner is when the ground begins to push; so that it stands on the ground,
            not in it.
        ground_stiffness: N / m of one corner of a cuboid.
        ground_damping: N s / m of one corner, against going deeper.
        friction: the Coulomb limit over the normal force.
        grip_stiffness, grip_damping: N / m and N s / m of the bristle that holds one corner in place while it sticks.
        upright_stiffness, upright_damping: N m / rad and N m s / rad of the torque on the root.
        upright_limit: the most that this torque can be, in weights times metres of height.
    """

    margin_m: float = 0.003
    ground_stiffness: float = 4000.0
    ground_damping: float = 4.0
    friction: float = 1.0
    grip_stiffness: float = 4000.0
    grip_damping: float = 1.0
    upright_stiffness: float = 2.0
    upright_damping: float = 0.2
    upright_limit: float = 0.1


class Chunks:
    """A body in a simulator; ``forward`` and ``backward`` go over one chunk.

    Args:
        model: the body.
        zeros: [J, 3, 3] the local rotations at which the angles of the motors are zero.
        up: [3] the direction in the root's axes that is up when it stands.
        chunk_s: seconds that a chunk takes.
        device: of the simulation, "cpu" or "cuda:0".
        graph: replay recorded graphs where they work; launching kernel after kernel takes twenty times as long.
    """

    def __init__(
        self,
        model: BodyModel,
        zeros: Tensor,
        up: Tensor,
        *,
        chunk_s: float,
        forces: Forces,
        substeps: int = SUBSTEPS,
        device: str = "cpu",
        graph: bool = True,
    ) -> None:
        prepare()
        self.num_bones, self.substeps, self.device = len(model.parents), substeps, device
        self._chunk_s, self.dt = chunk_s, chunk_s / substeps
        self._forces, self._limit = forces, forces.upright_limit * GRAVITY * model.height
        self._up = wp.vec3(*up.tolist())
        with wp.ScopedDevice(device):
            self._model = _newton_model(model, zeros)
            self._solver = newton.solvers.SolverSemiImplicit(
                self._model,
                angular_damping=0.0,
                joint_attach_ke=model.attach_stiffness,
                joint_attach_kd=model.attach_damping,
            )
            self._allocate(model)
            self._graphs: tuple[Any, Any] | None = None
            if graph:
                self._record(model)

    @property
    def recorded(self) -> bool:
        """Whether graphs are replayed."""
        return self._graphs is not None

    def forward(self, state: Tensor, first: Tensor, last: Tensor, ground: float) -> Tensor:
        """The state [J, 29] a chunk after ``state`` [J, 29], with motors led from ``first`` [J - 1, 3] to ``last``."""
        self._load(state, first, last, ground)
        self._go_forward()
        return self._state(self._poses, self._speeds, self._bristles, self.substeps)

    def backward(
        self, state: Tensor, first: Tensor, last: Tensor, ground: float, gradient: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients by ``state``, ``first`` and ``last`` of what has the ``gradient`` [J, 29] by the chunk's end."""
        self._load(state, first, last, ground)
        self._go_forward()
        self._seed_poses.assign(_array(gradient[:, :7]))
        self._seed_speeds.assign(_array(gradient[:, 7:13]))
        self._seed_bristles.assign(_array(gradient[:, 13:]).reshape(-1, 8, 2))
        self._go_backward()
        knots = [torch.from_numpy(knot.grad.numpy().copy()).view(-1, 3) for knot in (self._first, self._last)]
        return self._state(self._poses.grad, self._speeds.grad, self._bristles.grad, 0), knots[0], knots[1]

    def _allocate(self, model: BodyModel) -> None:
        num, steps = self.num_bones, self.substeps
        kept: dict[str, Any] = {"requires_grad": True}
        self._poses = wp.zeros((steps + 1, num), dtype=wp.transform, **kept)
        self._speeds = wp.zeros((steps + 1, num), dtype=wp.spatial_vector, **kept)
        self._bristles = wp.zeros((steps + 1, num, 8), dtype=wp.vec2, **kept)
        self._outer = wp.zeros((steps, num), dtype=wp.spatial_vector, **kept)
        self._first = wp.zeros(3 * (num - 1), dtype=float, **kept)
        self._last = wp.zeros(3 * (num - 1), dtype=float, **kept)
        control = self._model.control()
        self._angles = wp.zeros((steps, control.joint_target_q.shape[0]), dtype=float, **kept)
        self._rates = wp.zeros((steps, control.joint_target_qd.shape[0]), dtype=float, **kept)
        starts, rate_starts = self._model.joint_target_q_start.numpy(), self._model.joint_qd_start.numpy()
        axes = np.arange(3)
        self._differentiated: tuple[Any, ...] = (self._poses, self._speeds, self._bristles, self._outer)
        self._differentiated += (self._angles, self._rates, self._first, self._last)
        self._slots = wp.array((starts[1:num, None] + axes).reshape(-1), dtype=int)
        self._rate_slots = wp.array((rate_starts[1:num, None] + axes).reshape(-1), dtype=int)
        self._corners = wp.array(_array(model.cuboids.corners()), dtype=wp.vec3)
        self._ground = wp.zeros(1, dtype=float)
        self._seed_poses = wp.zeros(num, dtype=wp.transform)
        self._seed_speeds = wp.zeros(num, dtype=wp.spatial_vector)
        self._seed_bristles = wp.zeros((num, 8), dtype=wp.vec2)
        self._states, self._controls = [], []
        for step in range(steps + 1):
            state = self._model.state(requires_grad=False)
            state.body_q, state.body_qd = self._poses[step], self._speeds[step]
            state.body_f = self._outer[step] if step < steps else None
            self._states.append(state)
        for step in range(steps):
            control = self._model.control()
            control.joint_target_q, control.joint_target_qd = self._angles[step], self._rates[step]
            self._controls.append(control)

    def _record(self, model: BodyModel) -> None:
        """Record the graphs, and keep them where they give the same bytes as kernel after kernel: on a CPU they are
        young."""
        state = torch.zeros(self.num_bones, 29)
        state[:, :3], state[:, 6] = model.cuboids.centres, 1.0
        ground = float((model.cuboids.centres - model.cuboids.halves)[:, 1].min())
        knots = torch.full((2, self.num_bones - 1, 3), 0.1)
        probe = state, knots[0], -knots[1], ground
        expected = self.forward(*probe), *self.backward(*probe, torch.ones_like(state))
        try:
            self._tape = wp.Tape()
            with wp.ScopedCapture(device=self.device) as forward, self._tape:
                self._launch()
            with wp.ScopedCapture(device=self.device) as backward:
                self._launch_backward()
            self._graphs = forward.graph, backward.graph
            found = self.forward(*probe), *self.backward(*probe, torch.ones_like(state))
        except RuntimeError:
            self._graphs = None
            return
        if not all(torch.equal(one, other) for one, other in zip(expected, found, strict=True)):
            self._graphs = None

    def _launch(self) -> None:
        wp.launch(
            between_knots,
            dim=(self.substeps, 3 * (self.num_bones - 1)),
            inputs=[self._first, self._last, self._slots, self._rate_slots, self.substeps, 1.0 / self._chunk_s],
            outputs=[self._angles, self._rates],
        )
        of = self._forces
        for step in range(self.substeps):
            state = self._states[step]
            wp.launch(
                outer_forces,
                dim=self.num_bones,
                inputs=[
                    state.body_q,
                    state.body_qd,
                    self._bristles[step],
                    self._corners,
                    self._up,
                    self._ground,
                    of.margin_m,
                    of.ground_stiffness,
                    of.ground_damping,
                    of.friction,
                    of.grip_stiffness,
                    of.grip_damping,
                    self.dt,
                    of.upright_stiffness,
                    of.upright_damping,
                    self._limit,
                ],
                outputs=[state.body_f, self._bristles[step + 1]],
            )
            self._solver.step(state, self._states[step + 1], self._controls[step], None, self.dt)

    def _launch_backward(self) -> None:
        self._tape.zero()
        for array in self._differentiated:
            array.grad.zero_()
        wp.copy(self._poses.grad[self.substeps], self._seed_poses)
        wp.copy(self._speeds.grad[self.substeps], self._seed_speeds)
        wp.copy(self._bristles.grad[self.substeps], self._seed_bristles)
        self._tape.backward()

    def _go_forward(self) -> None:
        if self._graphs is not None:
            wp.capture_launch(self._graphs[0])
            return
        self._tape = wp.Tape()
        with wp.ScopedDevice(self.device), self._tape:
            self._launch()

    def _go_backward(self) -> None:
        if self._graphs is not None:
            wp.capture_launch(self._graphs[1])
            return
        with wp.ScopedDevice(self.device):
            self._launch_backward()

    def _load(self, state: Tensor, first: Tensor, last: Tensor, ground: float) -> None:
        assert state.shape == (self.num_bones, 29) and first.shape == last.shape == (self.num_bones - 1, 3)
        self._poses[0].assign(_array(state[:, :7]))
        self._speeds[0].assign(_array(state[:, 7:13]))
        self._bristles[0].assign(_array(state[:, 13:]).reshape(-1, 8, 2))
        self._first.assign(_array(first.reshape(-1)))
        self._last.assign(_array(last.reshape(-1)))
        self._ground.fill_(ground)

    def _state(self, *arrays: Any) -> Tensor:
        """A row of the arrays, the last of which says which, as a tensor [J, 29]."""
        *parts, step = arrays
        return torch.from_numpy(np.concatenate([p[step].numpy().reshape(self.num_bones, -1) for p in parts], axis=1))


def _newton_model(model: BodyModel, zeros: Tensor) -> Any:
    """A free root, a joint with three angular axes for every other bone (ball joints ignore their targets), no shapes:
    the ground is our own kernel. Joints as springs: both ends are pulled together, nothing holds the root."""
    builder = newton.ModelBuilder(up_axis=newton.Axis.Y, gravity=(0.0, -GRAVITY, 0.0))
    centres, joints = model.cuboids.centres, []
    for bone, parent in enumerate(model.parents):
        builder.add_link(mass=float(model.masses[bone]), inertia=wp.mat33(*model.inertias[bone].flatten().tolist()))
        if parent < 0:
            joints.append(builder.add_joint_free(bone))
            continue
        axes = [
            newton.ModelBuilder.JointDofConfig(
                axis=axis,
                limit_ke=0.0,
                limit_kd=0.0,
                target_ke=float(model.stiffness[bone]),
                target_kd=float(model.damping[bone]),
            )
            for axis in (newton.Axis.X, newton.Axis.Y, newton.Axis.Z)
        ]
        turn = wp.quat_from_matrix(wp.mat33(*zeros[bone].double().flatten().tolist()))
        joints.append(
            builder.add_joint_d6(
                parent,
                bone,
                angular_axes=axes,
                parent_xform=wp.transform(wp.vec3(*(model.heads[bone] - centres[parent]).tolist()), turn),
                child_xform=wp.transform(wp.vec3(*(model.heads[bone] - centres[bone]).tolist()), wp.quat_identity()),
            )
        )
    builder.add_articulation(joints)
    return builder.finalize(requires_grad=False, skip_validation_inertia=True)


def _array(values: Tensor) -> Any:
    return np.ascontiguousarray(values.detach().cpu().numpy(), dtype=np.float32)
