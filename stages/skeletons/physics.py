"""Physics tracking (AKD, section 4.5, Eq. 13, Appendix D): a simulated body learns to follow a motion.

Motors turn the joints towards targets; gravity and the ground do the rest. What is optimised are the targets *and the
speeds at the start*, by gradients through the simulation, so that the simulated body is where the motion has it.
No force acts on the root. A torque keeps it upright, as in Appendix D, and is never more than a tenth of the body's
weight times its height.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stages.errors import BadInput, NotFinite
from stages.settings import check
from stages.skeletons.physics_model import GRAVITY, BodyModel, bone_cuboids, body_model
from stages.skeletons.physics_motion import (
    Paths,
    bone_paths,
    mean_rotations,
    motion_of,
    motor_angles,
    resample,
    sample_states,
    speeds_between,
    start_state,
    state_paths,
)
from stages.skeletons.rig import Rig

if TYPE_CHECKING:
    from stages.skeletons.physics_engine import Chunks

FASTEST_M_S = 100.0
"""Speed of a bone of a body of 1 m from which the simulation counts as burst."""


@dataclass(frozen=True, kw_only=True)
class TrackConfig:
    """Settings of the tracking; the paper states iterations (200), and that smoothness and clipping are used. [ours]

    Args:
        iterations: of the optimiser.
        knot_lr, speed_lr: learning rates of targets (radians) and of the speeds at the start (m/s, rad/s).
        last_lr: share of the learning rates that is left at the end (cosine).
        smoothness: weight of the mean absolute second difference of the targets.
        clip: most that the gradient by a chunk's start may be, over the number of chunks.
        knot_hz: knots of the targets a second; a chunk of substeps lies between two.
        motor_hz: natural frequency of the motors.
        graph: replay recorded graphs; without them it takes twenty times as long and gives the same.
    """

    iterations: int = 120
    knot_lr: float = 0.02
    speed_lr: float = 0.02
    last_lr: float = 0.1
    smoothness: float = 1e-4
    clip: float = 0.03
    knot_hz: float = 48.0
    motor_hz: float = 10.0
    graph: bool = True

    def __post_init__(self) -> None:
        check(self, iterations=1, knot_lr=0.0, speed_lr=0.0, last_lr=0.0, smoothness=0.0, clip=0.0, knot_hz=1.0)
        check(self, motor_hz=0.1)


@dataclass(frozen=True, kw_only=True)
class Controls:
    """All that a body needs to move again as it did.

    Args:
        knots: [K + 1, J - 1, 3] targets of the motors in radians.
        speeds: [J + 1, 3] at the start, see ``start_state``; m/s and rad/s of a body of 1 m.
        zeros: [J, 3, 3] local rotations at which the angles are zero.
        start: [J, 3, 3] local rotations at the start. shift: [3] of the root at the start, in the rig's units.
        seconds: that all of it takes.
        ground: y of the ground, in the rig's units.
    """

    knots: Tensor
    speeds: Tensor
    zeros: Tensor
    start: Tensor
    shift: Tensor
    seconds: float
    ground: float


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """A simulated motion at the input's frame times, in its units.

    Args:
        rotations, shift: [T, J, 3, 3], [T, 3] as ``forward_kinematics`` takes them.
        controls: that make it.
        measures: loss, tracking, first_tracking (of the targets as they come), upright (mean torque on the root over
            weight times height), parted (mean gap of the joints over the height, before bones keep their lengths).
    """

    rotations: Tensor
    shift: Tensor
    controls: Controls
    measures: dict[str, float] = field(default_factory=dict)


class Simulation:
    """The body of ``rig`` in a simulator, ready to go over ``controls``."""

    def __init__(self, rig: Rig, controls: Controls, config: TrackConfig, device: str = "cpu") -> None:
        from stages.skeletons.physics_engine import SUBSTEPS, Chunks, Forces

        num_chunks = len(controls.knots) - 1
        self.chunk_s = controls.seconds / num_chunks
        self.model = rig_model(rig, config, self.chunk_s / SUBSTEPS)
        self.start = bone_paths(self.model, controls.start[None], controls.shift[None])
        self.ground = controls.ground * self.model.scale
        self.up = self.start.turns[0, 0].mT @ torch.tensor([0.0, 1.0, 0.0]).to(self.start.turns)
        self.forces = Forces()
        self.chunks: Chunks = Chunks(
            self.model,
            controls.zeros,
            self.up,
            chunk_s=self.chunk_s,
            forces=self.forces,
            device=device,
            graph=config.graph,
        )

    def run(self, state: Tensor, knots: Tensor) -> Tensor:
        """States [K + 1, J, 13] at the knots, from ``state`` [J, 13] on. Raises ``Burst``."""
        states = [state.float()]
        for first, last in zip(knots[:-1], knots[1:], strict=True):
            states.append(self.chunks.forward(states[-1], first, last, self.ground))
            worst = torch.nan_to_num(states[-1][:, 7:10].norm(dim=1), nan=math.inf)
            if float(worst.max()) > FASTEST_M_S:
                raise Burst(int(worst.argmax()), len(states) - 1)
        return torch.stack(states)

    def pull_back(self, states: Tensor, knots: Tensor, gradient: Tensor, clip: float) -> tuple[Tensor, Tensor]:
        """Gradients by the first state [J, 13] and by the knots, of what has the ``gradient`` [K + 1, J, 13] by the
        states. What goes from one chunk to the one before is clipped to the norm ``clip``."""
        by_knots = torch.zeros_like(knots)
        carried = gradient[-1]
        for chunk in range(len(knots) - 2, -1, -1):
            carried, first, last = self.chunks.backward(
                states[chunk], knots[chunk], knots[chunk + 1], self.ground, carried
            )
            carried = torch.nan_to_num(carried, nan=0.0, posinf=0.0, neginf=0.0)
            by_knots[chunk] += first.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
            by_knots[chunk + 1] += last.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
            norm = float(carried.norm())
            carried = carried * min(1.0, clip / max(norm, 1e-30)) + gradient[chunk]
        return carried, by_knots

    def upright_share(self, states: Tensor) -> float:
        """Mean size of the torque that keeps the root upright, over the body's weight times its height."""
        lean = state_paths(states[:, :1]).turns[:, 0] @ self.up.float()
        up, spin = torch.tensor([0.0, 1.0, 0.0]), states[:, 0, 10:] * torch.tensor([1.0, 0.0, 1.0])
        forces = self.forces
        wanted = forces.upright_stiffness * torch.linalg.cross(lean, up.expand_as(lean)) - forces.upright_damping * spin
        size, unit = wanted.norm(dim=1), GRAVITY * self.model.height
        return float((size / (1.0 + (size / (forces.upright_limit * unit)).square()).sqrt()).mean()) / unit

    def parted(self, states: Tensor) -> float:
        """Mean gap of the joints over the body's height."""
        paths, model = state_paths(states), self.model
        gaps = []
        for bone, parent in enumerate(model.parents):
            if parent >= 0:
                ends = [
                    paths.centres[:, b] + paths.turns[:, b] @ (model.heads[bone] - model.cuboids.centres[b]).float()
                    for b in (bone, parent)
                ]
                gaps.append((ends[0] - ends[1]).norm(dim=1))
        return float(torch.stack(gaps).mean()) / model.height


class Burst(Exception):
    """A simulation has left all bounds: which bone was fastest, and in which chunk."""

    def __init__(self, bone: int, chunk: int) -> None:
        super().__init__(bone, chunk)
        self.bone, self.chunk = bone, chunk


class Tracker:
    """Makes a simulated body follow a motion, one iteration at a time.

    Args:
        rig: of the asset.
        rotations, shift: [T, J, 3, 3] and [T, 3] the motion, as ``forward_kinematics`` takes it. It travels: a walk on
            the spot would slide over the ground (see ``travel_velocity``).
        seconds: from its first frame to its last.
        config, device: settings; where the simulation runs.

    Raises:
        BadInput: fewer than two frames or bones, or no time.
        NotAvailable: newton or warp is not installed.
    """

    def __init__(
        self,
        rig: Rig,
        rotations: Tensor,
        shift: Tensor,
        seconds: float,
        config: TrackConfig,
        device: str = "cpu",
    ) -> None:
        if len(shift) < 2 or len(rig.joints) < 2 or not seconds > 0.0:
            raise BadInput(
                f"Physics cannot follow {len(shift)} frames of {len(rig.joints)} bones in {seconds} s.",
                "Give at least two of each.",
            )
        self.rig, self.config, self.num_frames = rig, config, len(shift)
        num_chunks = max(1, round(seconds * config.knot_hz))
        wanted, moved = resample(rotations.detach().cpu().double(), shift.detach().cpu().double(), num_chunks + 1)
        zeros = mean_rotations(wanted)
        model = rig_model(rig, config, seconds / num_chunks / 40)
        self.wanted = bone_paths(model, wanted, moved)
        self.controls = Controls(
            knots=motor_angles(wanted, zeros).float(),
            speeds=speeds_between(self.wanted, model.parents, seconds / num_chunks).float(),
            zeros=zeros,
            start=wanted[0],
            shift=moved[0],
            seconds=seconds,
            ground=lowest_corner(model, self.wanted),
        )
        self.simulation = Simulation(rig, self.controls, config, device)
        self.knots = self.controls.knots.clone().requires_grad_()
        self.speeds = self.controls.speeds.clone().requires_grad_()
        self.optimiser = torch.optim.Adam(
            [{"params": [self.knots], "lr": config.knot_lr}, {"params": [self.speeds], "lr": config.speed_lr}],
            betas=(0.9, 0.95),
        )
        self._best: dict[str, Tensor] = {}

    def step(self, iteration: int) -> dict[str, float]:
        """One iteration, the ``iteration``-th from 0 on.

        Returns:
            loss, tracking, smoothness and the norm of the gradient, all of the controls before the step.

        Raises:
            NotFinite: the simulation has burst; the message names iteration and bone.
        """
        simulation = self.simulation
        start = start_state(simulation.model, simulation.start, self.speeds.double()).float()
        try:
            states = simulation.run(start.detach(), self.knots.detach())
        except Burst as burst:
            bone = self.rig.joints.names[burst.bone]
            raise NotFinite(
                f"The simulated body has burst in iteration {iteration}, at bone {bone}.", "Use a lower learning rate."
            ) from None
        states.requires_grad_()
        tracking = corner_distance(state_paths(states), self.wanted, simulation.model)
        smoothness = (self.knots[2:] - 2.0 * self.knots[1:-1] + self.knots[:-2]).abs().mean() if len(self.knots) > 2 else self.knots.sum() * 0.0
        loss = tracking + self.config.smoothness * smoothness
        self._keep(float(loss), float(tracking))
        by_states = torch.autograd.grad(tracking, states)[0]
        by_start, by_knots = simulation.pull_back(
            states.detach(), self.knots.detach(), by_states, self.config.clip / (len(self.knots) - 1)
        )
        self.knots.grad = by_knots + self.config.smoothness * torch.autograd.grad(smoothness, self.knots)[0]
        self.speeds.grad = torch.autograd.grad(start, self.speeds, by_start)[0]
        norm = float(torch.cat([self.knots.grad.flatten(), self.speeds.grad.flatten()]).norm())
        share = cosine_share(iteration / self.config.iterations, self.config.last_lr)
        for group, rate in zip(self.optimiser.param_groups, (self.config.knot_lr, self.config.speed_lr), strict=True):
            group["lr"] = rate * share
        self.optimiser.step()
        return {
            "loss": float(loss),
            "tracking": float(tracking),
            "smoothness": float(smoothness),
            "gradient": norm,
        }

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on, and the best so far."""
        tensors = {"knots": self.knots.detach().clone(), "speeds": self.speeds.detach().clone()}
        for name, parameter in (("knots", self.knots), ("speeds", self.speeds)):
            for key, value in self.optimiser.state[parameter].items():
                tensors[f"adam/{name}/{key}"] = value.clone()
        return tensors | {f"best/{name}": value.clone() for name, value in self._best.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what ``state`` gave."""
        for name, parameter in (("knots", self.knots), ("speeds", self.speeds)):
            parameter.data.copy_(tensors[name])
            prefix = f"adam/{name}/"
            self.optimiser.state[parameter] = {
                key.removeprefix(prefix): value.clone() for key, value in tensors.items() if key.startswith(prefix)
            }
        self._best = {
            key.removeprefix("best/"): value.clone() for key, value in tensors.items() if key.startswith("best/")
        }

    def best(self) -> Tracked:
        """The best of the iterations so far, simulated once more."""
        if not self._best:
            raise ValueError("no step was made")
        controls = replace(self.controls, knots=self._best["knots"], speeds=self._best["speeds"])
        made = replay(self.rig, controls, self.num_frames, self.config, simulation=self.simulation)
        kept = {name: float(self._best[name]) for name in ("loss", "tracking", "first_tracking")}
        return replace(made, measures=made.measures | kept)

    def _keep(self, loss: float, tracking: float) -> None:
        if not self._best or loss < float(self._best["loss"]):
            first = self._best.get("first_tracking", torch.tensor(tracking, dtype=torch.float64))
            self._best = {
                "knots": self.knots.detach().clone(),
                "speeds": self.speeds.detach().clone(),
                "loss": torch.tensor(loss, dtype=torch.float64),
                "tracking": torch.tensor(tracking, dtype=torch.float64),
                "first_tracking": first,
            }


def replay(
    rig: Rig,
    controls: Controls,
    num_frames: int,
    config: TrackConfig,
    *,
    device: str = "cpu",
    simulation: Simulation | None = None,
) -> Tracked:
    """The motion that ``controls`` make, in ``num_frames`` frames from start to end, without gradients."""
    simulation = simulation or Simulation(rig, controls, config, device)
    start = start_state(simulation.model, simulation.start, controls.speeds.double())
    states = simulation.run(start, controls.knots)
    rotations, shift = motion_of(simulation.model, double(sample_states(states, num_frames)))
    measures = {"upright": simulation.upright_share(states), "parted": simulation.parted(states)}
    return Tracked(rotations=rotations.float(), shift=shift.float(), controls=controls, measures=measures)


def rig_model(rig: Rig, config: TrackConfig, substep_s: float) -> BodyModel:
    """The body of a rig: its cuboids are around the vertices of its skin."""
    cuboids = bone_cuboids(rig.joints, rig.skin.vertices, rig.skin.weights)
    return body_model(rig.joints, cuboids, motor_hz=config.motor_hz, substep_s=substep_s)


def corner_distance(paths: Paths, wanted: Paths, model: BodyModel) -> Tensor:
    """Mean squared distance (m^2) of the cuboids' corners from where they should be: that of the centres, and of the
    ends of the half axes."""
    apart = (paths.centres - wanted.centres.to(paths.centres)).square().sum(dim=-1)
    turned = (paths.turns - wanted.turns.to(paths.turns)).square().sum(dim=-2)  # [K, J, 3] of each axis
    halves = model.cuboids.halves.clamp(min=0.03).to(paths.turns)
    return (apart + (turned * halves.square()).sum(dim=-1)).mean()


def lowest_corner(model: BodyModel, paths: Paths) -> float:
    """The lowest y of the cuboids' corners in the first of ``paths``, in the rig's units: where the ground is."""
    corners = torch.einsum("jab,jcb->jca", paths.turns[0], model.cuboids.corners()) + paths.centres[0][:, None]
    return float(corners[..., 1].min()) / model.scale


def cosine_share(done: float, last: float) -> float:
    """1 at the start, ``last`` at the end, half a cosine between."""
    return last + (1.0 - last) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def double(paths: Paths) -> Paths:
    """The same in double precision."""
    return Paths(centres=paths.centres.double(), turns=paths.turns.double())
