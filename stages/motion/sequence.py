"""Motions one after the other: it walks, then it jumps.

Where one ends and the next begins, both go on for a moment while one fades into the other. A loop is left, and entered,
at the phase at which the body is nearest to where the other motion has it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stages.gaussians import Frames, Gaussians
from stages.motion.interface import Motion, Regularizer

FADE_SECONDS = 0.25
"""From one motion to the next; of shorter motions at most ``FADE_SHARE``. [ours]"""

FADE_SHARE = 0.4
NUM_PHASES = 16
"""Of a loop at which it may be left or entered."""


@dataclass(frozen=True)
class Part:
    """When and how one motion of a sequence is played."""

    begins: float  # seconds
    seconds: float  # that it lasts, fades included
    cycles: float  # of a loop in that time; 1 of a motion that runs through once
    phase: float = 0.0  # of the loop at which it begins


class MotionSequence(nn.Module):
    """A ``stages.motion.interface.Motion`` made of others.

    Args:
        motions: in their order.
        parts: when each of them is played.
    """

    kind = "sequence"

    def __init__(self, motions: Sequence[Motion], parts: Sequence[Part]) -> None:
        super().__init__()
        self.motions, self.parts = list(motions), list(parts)
        for number, motion in enumerate(self.motions):
            if isinstance(motion, nn.Module):
                self.add_module(str(number), motion)
        self.seconds = max(part.begins + part.seconds for part in self.parts)

    def at(self, asset: Gaussians, frame_times: Tensor) -> Frames:
        """See ``Motion.at``."""
        return Frames(asset, asset.means + self.displacements(asset.means, frame_times))

    def displacements(self, points: Tensor, frame_times: Tensor) -> Tensor:
        """See ``Motion.displacements``."""
        total = torch.zeros(())
        for number, share, times in self.shares(frame_times):
            own = self.motions[number].displacements(points, times)
            total = own if number == 0 else torch.lerp(total, own, share[:, None, None])
        return total

    def shares(self, frame_times: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
        """The motions that take part at ``frame_times`` [T]: the number of each, how far it has faded in over those
        before it, [T], and at which of its own times it is, [T]."""
        seconds = frame_times * self.seconds
        for number, part in enumerate(self.parts):
            share = torch.ones_like(seconds)
            if number:
                before = self.parts[number - 1]
                fade = max(before.begins + before.seconds - part.begins, 1e-6)
                share = ((seconds - part.begins) / fade).clamp(0.0, 1.0)
                share = share * share * (3.0 - 2.0 * share)
                if not bool((share > 0.0).any()):
                    continue
            played = ((seconds - part.begins) / part.seconds).clamp(0.0, 1.0)
            closed = is_closed(self.motions[number])
            yield number, share, (part.phase + part.cycles * played) % 1.0 if closed else played

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """See ``Motion.parameter_groups``."""
        return [group for motion in self.motions for group in motion.parameter_groups(learning_rate)]

    def regularizers(self, asset: Gaussians, config: Any) -> Sequence[Regularizer]:
        """See ``Motion.regularizers``."""
        return self.motions[0].regularizers(asset, config)

    def tensors(self) -> dict[str, Tensor]:
        """See ``Motion.tensors``: those of all parts, ``NUMBER/NAME``."""
        return {
            f"{number}/{name}": tensor
            for number, motion in enumerate(self.motions)
            for name, tensor in motion.tensors().items()
        }

    def metadata(self) -> dict[str, str]:
        """See ``Motion.metadata``."""
        return {
            "kind": self.kind,
            "units": "normalised",
            "cyclic": "false",
            "starts_at_rest": "false" if is_closed(self.motions[0]) else "true",
            "parts": json.dumps([asdict(part) for part in self.parts]),
            "motions": json.dumps([motion.metadata() for motion in self.motions]),
        }

    @staticmethod
    def from_tensors(
        tensors: Mapping[str, Tensor],
        metadata: Mapping[str, str],
        load: Callable[[Mapping[str, Tensor], Mapping[str, str]], Motion],
    ) -> MotionSequence:
        """The motion of ``tensors`` and ``metadata``; ``load`` makes those that it is made of."""
        motions = []
        for number, told in enumerate(json.loads(metadata["motions"])):
            own = {name.partition("/")[2]: value for name, value in tensors.items() if name.startswith(f"{number}/")}
            motions.append(load(own, told))
        return MotionSequence(motions, [Part(**part) for part in json.loads(metadata["parts"])])


def is_closed(motion: Motion) -> bool:
    """Whether a motion is a loop by itself."""
    return motion.metadata().get("cyclic") == "true"


@torch.no_grad()
def joined(
    motions: Sequence[Motion], seconds: Sequence[float], cycles: Sequence[int], asset: Gaussians
) -> MotionSequence:
    """``motions`` of ``asset`` one after the other.

    Args:
        seconds: that each lasts: all cycles of a loop.
        cycles: of each loop; one more share of a cycle is played where that brings the body nearer to the next motion.
    """
    points, parts = asset.means, list[Part]()
    begins, phase = 0.0, 0.0
    for number, (motion, length, count) in enumerate(zip(motions, seconds, cycles, strict=True)):
        rounds, entry = float(count), 0.0
        if number + 1 < len(motions):
            end, entry = _meeting(motion, motions[number + 1], points)
            if is_closed(motion):
                rounds = count + (end - phase - count) % 1.0
                rounds -= 1.0 if rounds - count > 0.5 and count > 1 else 0.0
        lasts = length * rounds / count
        parts.append(Part(begins, lasts, rounds, phase))
        following = seconds[number + 1] if number + 1 < len(motions) else lasts
        begins += lasts - min(FADE_SECONDS, FADE_SHARE * lasts, FADE_SHARE * following)
        phase = entry
    return MotionSequence(motions, parts)


def _meeting(before: Motion, after: Motion, points: Tensor) -> tuple[float, float]:
    """The moments of two motions at which they have the body in nearly the same pose: where the first may be left, and
    the second entered."""
    phases = torch.arange(NUM_PHASES, device=points.device) / NUM_PHASES
    leave = phases if is_closed(before) else torch.ones(1, device=points.device)
    enter = phases if is_closed(after) else torch.zeros(1, device=points.device)
    ends, begins = before.displacements(points, leave), after.displacements(points, enter)
    away = torch.cdist(ends.flatten(1), begins.flatten(1))
    best = int(away.argmin())
    return float(leave[best // len(enter)]), float(enter[best % len(enter)])
