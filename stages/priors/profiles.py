"""How a published model spends memory, by the size of the graphics card. The results are the same but for rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ProfileName = Literal["24gb", "48gb", "80gb"]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What is traded for time."""

    checkpointing: bool  # activations of blocks are recomputed in the backward pass
    frames_at_once: int  # through an autoencoder that takes each frame alone


PROFILES: dict[str, Profile] = {
    "24gb": Profile(checkpointing=True, frames_at_once=4),
    "48gb": Profile(checkpointing=True, frames_at_once=8),
    "80gb": Profile(checkpointing=False, frames_at_once=16),
}
