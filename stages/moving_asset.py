"""What the stages after ``distill`` start from: the asset of a run and the motion it has, refined if there is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from stages.errors import BadInput, MissingStage
from stages.gaussians import Gaussians
from stages.motion.hexplane import MotionField, apply_offsets
from stages.run_dir import RunDir

Source = Literal["auto", "refined", "motion", "static"]
SOURCES = ("auto", "refined", "motion", "static")


@dataclass(frozen=True)
class MovingAsset:
    """An asset and, unless it is asked for at rest, its motion."""

    gaussians: Gaussians
    field: MotionField | None
    source: str  # which stage the motion is from
    prompt: str

    @torch.no_grad()
    def at(self, frame_times: Tensor) -> tuple[Tensor, Tensor]:
        """Means [T, N, 3] and quats [T, N, 4] at ``frame_times`` [T]."""
        if self.field is None:
            count = len(frame_times)
            return self.gaussians.means.expand(count, -1, -1), self.gaussians.quats.expand(count, -1, -1)
        return apply_offsets(self.gaussians, self.field(self.gaussians.means, frame_times))


def load_moving_asset(run: RunDir, source: str, device: str) -> MovingAsset:
    """The asset of ``run`` with the motion of ``source``; "auto" takes refined, else motion, and needs one of them.

    Raises:
        MissingStage: the run lacks the asset or the motion.
        BadInput: no such source.
    """
    if source not in SOURCES:
        raise BadInput(f"There is no source {source!r}.", f"Choose one of: {', '.join(SOURCES)}.")
    gaussians = run.load_asset().to(device)
    if source == "static":
        return MovingAsset(gaussians, None, "static", "")
    if source == "auto":
        source = "refined" if run.stage("refined").is_complete() else "motion"
        if not run.stage(source).is_complete():
            raise MissingStage(
                f"{run.path} has no motion yet.", "Run first: animus3d distill --prompt ..., or use --source static."
            )
    tensors, metadata = run.require(source).read_result("field.safetensors")
    field = MotionField.from_tensors(tensors, metadata).to(device)
    return MovingAsset(gaussians, field, source, metadata.get("prompt", ""))
