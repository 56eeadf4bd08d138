"""Physics tracking (AKD, section 4.5, Eq. 13, Appendix D): a simulated body learns to follow a motion.

Motors turn the joints towards targets; gravity and the ground do the rest. What is optimised are the targets *and the
speeds at the start*, by gradients through the simulation, so that the simulated body is where the motion has it.
No force acts on the root. A torque keeps it upright, as in Appendix D, and is never more than a tenth of the body's
weight times its height.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stages.adam import Adam
from stages.errors import BadInput, NotFinite
from stages.settings import check
from stages.skeletons.physics_model import BodyModel
from stages.skeletons.physics_motion import (
    Paths,
    bone_paths,
    mean_rotations,
    motion_of,
    motor_angles,
    resample,
    sample_states,
    speeds_between,
    state_paths,
)
from stages.skeletons.physics_simulation import Burst, Controls, Simulation, ground_under, rig_model
from stages.skeletons.rig import Rig

MOST_RETREATS = 20
"""Times that a body which has burst goes back to the best controls and on with half the learning rates. [ours]"""


@dataclass(frozen=True, kw_only=True)
class TrackConfig:
    """Settings of the tracking. The paper has 200 iterations, smoothness and clipping, and states no numbers; all
    others are [ours].

    Args:
        iterations: of the optimiser.
        knot_lr, speed_lr: learning rates of the targets (radians) and of the speeds at the start (m/s, rad/s).
        last_lr: share of the learning rates that is left at the end (cosine).
        smoothness: weight of the mean absolute second difference of the targets.
        blur_s: changes of the targets are blurred by a Gaussian of this deviation; without it the body shakes.
        clip: most that the gradient by a chunk's start may be, over the number of chunks.
        horizon_s: seconds from the start that are simulated at first; all of them from ``horizon_share`` of the
            iterations on. What comes late depends on all that was before: a long motion is learned from its start.
        knot_hz: knots of the targets a second; a chunk of substeps lies between two.
        motor_hz: natural frequency of the motors.
        graph: replay recorded graphs; without them it takes twenty times as long and gives the same.
    """

    iterations: int = 120
    knot_lr: float = 0.02
    speed_lr: float = 0.2
    last_lr: float = 0.05
    smoothness: float = 1e-4
    blur_s: float = 0.04
    clip: float = 0.3
    horizon_s: float = 1.2
    horizon_share: float = 0.6
    knot_hz: float = 48.0
    motor_hz: float = 10.0
    graph: bool = True

    def __post_init__(self) -> None:
        check(self, iterations=1, knot_lr=0.0, speed_lr=0.0, last_lr=0.0, smoothness=0.0, blur_s=0.0, clip=0.0)
        check(self, horizon_s=0.0, horizon_share=0.0, knot_hz=1.0, motor_hz=0.1)


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """A simulated motion at the input's frame times, in its units.

    Args:
        rotations, shift: [T, J, 3, 3], [T, 3] as ``forward_kinematics`` takes them.
        controls: what makes it, and where the ground is.
        upright: mean torque that keeps the root upright, over the body's weight times its height.
        parted: mean gap of the joints in the simulation, over the height; in the motion bones keep their lengths.
        tracking: mean squared distance from the motion, see ``corner_distance``; ``first_tracking`` that of the targets
            and speeds as the motion has them, NaN where the body bursts with these. A replay knows no motion: NaN.
    """

    rotations: Tensor
    shift: Tensor
    controls: Controls
    upright: float
    parted: float
    tracking: float = math.nan
    first_tracking: float = math.nan


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
        self, rig: Rig, rotations: Tensor, shift: Tensor, seconds: float, config: TrackConfig, device: str = "cpu"
    ) -> None:
        if len(shift) < 2 or len(rig.joints) < 2 or not seconds > 0.0:
            raise BadInput(
                f"Physics cannot follow {len(shift)} frames of {len(rig.joints)} bones in {seconds} s.",
                "Give at least two of each.",
            )
        self.config, self.num_frames, self._names = config, len(shift), rig.joints.names
        num_chunks = max(1, round(seconds * config.knot_hz))
        turns, moved = resample(rotations.detach().cpu().double(), shift.detach().cpu().double(), num_chunks + 1)
        model = rig_model(rig, config.motor_hz, 1.0)
        zeros = mean_rotations(turns)
        self._wanted = bone_paths(model, turns, moved)
        self.first = Controls(
            knots=motor_angles(turns, zeros).float(),
            speeds=speeds_between(self._wanted, model.parents, seconds / num_chunks).float(),
            zeros=zeros,
            start=turns[0],
            shift=moved[0],
            seconds=seconds,
            motor_hz=config.motor_hz,
            ground=ground_under(rig, turns[0], moved[0]),
        )
        self._simulation = Simulation(rig, self.first, device=device, graph=config.graph)
        self._blur = gaussian_blur(num_chunks + 1, config.blur_s / self.first.chunk_s)
        self._changes = torch.zeros_like(self.first.knots).requires_grad_()
        self._speeds = self.first.speeds.clone().requires_grad_()
        self._named = {"changes": self._changes, "speeds": self._speeds}
        self._rates = {"changes": config.knot_lr, "speeds": config.speed_lr}
        self._optimiser = Adam([{"params": [value]} for value in self._named.values()], betas=(0.9, 0.95))
        self._best: dict[str, Tensor] = {}
        self._retreats = 0

    def step(self, iteration: int) -> dict[str, float]:
        """One iteration, the ``iteration``-th from 0 on. Where the body bursts, it is tried again from the best
        controls with half the learning rates.

        Returns:
            loss, tracking, smoothness, the norm of the gradient and the number of chunks simulated: all of the controls
            before the step.

        Raises:
            NotFinite: the simulation has burst too often; the message names iteration and bone.
        """
        simulation, config = self._simulation, self.config
        start, knots = simulation.start(self._speeds), self._knots()[: self._horizon(iteration) + 1]
        try:
            states = simulation.run(start.detach(), knots.detach())
        except Burst as burst:
            if self._retreats == MOST_RETREATS or len(knots) <= 2:
                raise self._burst(burst, f"iteration {iteration}") from None
            self._retreat()
            return self.step(iteration)
        states.requires_grad_()
        tracking = corner_distance(simulation.model, state_paths(states), self._wanted)
        smoothness = second_difference(knots)
        loss = float(tracking.detach() + config.smoothness * smoothness.detach())
        self._keep(len(knots) - 1, loss)

        (by_states,) = torch.autograd.grad(tracking, states)
        by_start, by_knots = simulation.pull_back(
            states.detach(), knots.detach(), by_states, config.clip / (len(knots) - 1)
        )
        torch.autograd.backward(
            [start, knots, config.smoothness * smoothness], [by_start, by_knots, torch.ones_like(smoothness)]
        )
        norm = math.hypot(*(float(value.grad.norm()) for value in self._named.values() if value.grad is not None))
        share = cosine_share(iteration / config.iterations, config.last_lr) * 0.5**self._retreats
        for group, rate in zip(self._optimiser.param_groups, self._rates.values(), strict=True):
            group["lr"] = rate * share
        self._optimiser.step()
        self._optimiser.zero_grad()
        return {
            "loss": loss,
            "tracking": float(tracking.detach()),
            "smoothness": float(smoothness.detach()),
            "gradient": norm,
            "chunks": float(len(knots) - 1),
        }

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on, and the best so far."""
        tensors = {name: value.detach().clone() for name, value in self._named.items()}
        for name, value in self._named.items():
            tensors |= {f"adam/{name}/{key}": kept.clone() for key, kept in self._optimiser.state[value].items()}
        tensors |= {f"best/{name}": value.clone() for name, value in self._best.items()}
        return tensors | {"retreats": torch.tensor(self._retreats)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what ``state`` gave."""
        for name, value in self._named.items():
            value.data.copy_(tensors[name])
            self._optimiser.state[value] = _under(f"adam/{name}/", tensors)
        self._best, self._retreats = _under("best/", tensors), int(tensors["retreats"])

    def _retreat(self) -> None:
        """Go back to the best controls; from there in smaller steps, and with a horizon half as far at first."""
        if self._best:
            with torch.no_grad():
                self._changes.copy_(self._best["changes"])
                self._speeds.copy_(self._best["speeds"])
        self._optimiser.state.clear()
        self._retreats += 1

    def best(self) -> Tracked:
        """The best of the iterations so far that simulated most, simulated once more. Raises ``BadInput`` where none
        was made."""
        if not self._best:
            raise BadInput("Physics has made no iteration yet.")
        controls = replace(self.first, knots=self._best["knots"], speeds=self._best["speeds"])
        try:
            states = self._run(controls)
        except Burst as burst:
            raise self._burst(burst, "the best iteration") from None
        try:
            first_tracking = self._distance(self._run(self.first))
        except Burst:
            first_tracking = math.nan
        found = _tracked(self._simulation, controls, states, self.num_frames)
        return replace(found, tracking=self._distance(states), first_tracking=first_tracking)

    def _run(self, controls: Controls) -> Tensor:
        return self._simulation.run(self._simulation.start(controls.speeds), controls.knots)

    def _distance(self, states: Tensor) -> float:
        return float(corner_distance(self._simulation.model, state_paths(states), self._wanted))

    def _burst(self, burst: Burst, when: str) -> NotFinite:
        bone = self._names[burst.bone]
        return NotFinite(f"The simulated body has burst in {when}, at bone {bone}.", "Use lower learning rates.")

    def _knots(self) -> Tensor:
        return self.first.knots + torch.einsum("kl,lja->kja", self._blur, self._changes)

    def _horizon(self, iteration: int) -> int:
        """How many chunks are simulated in ``iteration``."""
        most, config = len(self.first.knots) - 1, self.config
        share = min(1.0, iteration / max(1.0, config.horizon_share * config.iterations))
        first = min(1.0, config.horizon_s / self.first.seconds) * 0.5**self._retreats
        return max(1, min(most, math.ceil(most * (first + (1.0 - first) * share))))

    def _keep(self, num_chunks: int, loss: float) -> None:
        """Keep the controls where more was simulated than before, or as much with a lower loss."""
        kept = self._best
        if not kept or (num_chunks, -loss) > (int(kept["chunks"]), -float(kept["loss"])):
            self._best = {
                "knots": self._knots().detach().clone(),
                "changes": self._changes.detach().clone(),
                "speeds": self._speeds.detach().clone(),
                "loss": torch.tensor(loss, dtype=torch.float64),
                "chunks": torch.tensor(num_chunks),
            }


def replay(rig: Rig, controls: Controls, num_frames: int, *, device: str = "cpu", graph: bool = True) -> Tracked:
    """The motion that ``controls`` make, in ``num_frames`` frames from start to end, without gradients."""
    simulation = Simulation(rig, controls, device=device, graph=graph)
    states = simulation.run(simulation.start(controls.speeds), controls.knots)
    return _tracked(simulation, controls, states, num_frames)


def corner_distance(model: BodyModel, paths: Paths, wanted: Paths) -> Tensor:
    """How far bones are from where they should be, in m^2: the mean over moments and bones of the squared distance of
    their cuboids' corners. Half extents count as 3 cm at least, so that thin bones do not twist. ``paths`` may end
    before ``wanted``."""
    num = len(paths.centres)
    apart = (paths.centres - wanted.centres[:num].to(paths.centres)).square().sum(dim=-1)
    turned = (paths.turns - wanted.turns[:num].to(paths.turns)).square().sum(dim=-2)  # [K, J, 3] of each axis
    halves = model.cuboids.halves.clamp(min=0.03).to(paths.turns)
    return (apart + (turned * halves.square()).sum(dim=-1)).mean()


def second_difference(knots: Tensor) -> Tensor:
    """Mean absolute second difference in time of ``knots`` [K + 1, J - 1, 3] (the smoothness of AKD, section 4)."""
    if len(knots) < 3:
        return (knots * 0.0).sum()
    return (knots[2:] - 2.0 * knots[1:-1] + knots[:-2]).abs().mean()


def gaussian_blur(num: int, deviation: float) -> Tensor:
    """The matrix [num, num] that blurs along a line of ``num`` values; each row sums to 1."""
    at = torch.arange(num, dtype=torch.float64)
    rows = torch.exp(-0.5 * ((at - at[:, None]) / max(deviation, 1e-6)).square())
    return (rows / rows.sum(dim=1, keepdim=True)).float()


def cosine_share(done: float, last: float) -> float:
    """1 at the start, ``last`` at the end, half a cosine between."""
    return last + (1.0 - last) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def _tracked(simulation: Simulation, controls: Controls, states: Tensor, num_frames: int) -> Tracked:
    """What ``states`` [K + 1, J, 29] say in ``num_frames`` frames."""
    paths = sample_states(states.double(), num_frames)
    rotations, shift = motion_of(simulation.model, paths, simulation.ground)
    return Tracked(
        rotations=rotations.float(),
        shift=shift.float(),
        controls=controls,
        upright=simulation.upright_share(states),
        parted=simulation.parted(states),
    )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of those whose names start with ``prefix``, without it."""
    return {key.removeprefix(prefix): value.clone() for key, value in tensors.items() if key.startswith(prefix)}
