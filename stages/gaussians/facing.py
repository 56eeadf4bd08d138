"""Where an asset faces: an angle about +y, found from its shape or said by whoever knows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stages.errors import BadInput

AUTO, NONE = "auto", "none"
AXES = {"+z": 0.0, "+x": 90.0, "-z": -180.0, "-x": -90.0}
HINT = "Write auto, none, +x, -x, +z, -z, or degrees from +z towards +x."


@dataclass(frozen=True, kw_only=True)
class Facing:
    """Where the front of an asset is."""

    degrees: float | None  # about +y in [-180, 180), 0: +z, 90: +x; None: it has no front
    confidence: float | None = None  # probability that it is within 30 degrees of that; None: not known, or said

    @property
    def used_deg(self) -> float:
        """The angle that is worked with: +z where there is no front."""
        return 0.0 if self.degrees is None else self.degrees

    @property
    def words(self) -> str:
        """As it is told to people: "+z", "30 degrees from +z", "nowhere in particular"."""
        if self.degrees is None:
            return "nowhere in particular"
        for name, degrees in AXES.items():
            if self.degrees == degrees:
                return name
        return f"{abs(self.degrees):g} degrees from +z towards {'+x' if self.degrees > 0.0 else '-x'}"


def wrapped(degrees: float) -> float:
    """The same angle in [-180, 180)."""
    return (degrees + 180.0) % 360.0 - 180.0


def parse_facing(said: str) -> Facing | None:
    """What ``--facing`` says; None for "auto", which asks to find it. Raises ``BadInput``."""
    text = said.strip().lower()
    if text == AUTO:
        return None
    if text == NONE:
        return Facing(degrees=None)
    if text in AXES:
        return Facing(degrees=AXES[text])
    try:
        degrees = float(text)
    except ValueError:
        degrees = math.nan
    if not math.isfinite(degrees):
        raise BadInput(f"facing cannot be {said!r}.", HINT)
    return Facing(degrees=wrapped(degrees))
