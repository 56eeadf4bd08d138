"""Bars of one colour beside or above a video: services add them where the shape that they were given is another."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

SAME_COLOUR = 16
"""Bytes (largest channel) up to which a pixel has the colour of a bar: codecs make noise. [ours]"""

STRAY, BEGINS = 0.02, 0.75
"""Share of a line's pixels that may differ from the bar's colour within a bar, and that must differ in the line at
which the picture begins, in every frame: where a plain background ends at an object, only few do. [ours]"""

SOFT_PX = 2
"""Lines between a bar and the picture that may be a mixture of both; they are left out with it. [ours]"""


@dataclass(frozen=True)
class Bars:
    """How much of a video they take on each side, as shares of its height and its width."""

    top: float = 0.0
    bottom: float = 0.0
    left: float = 0.0
    right: float = 0.0

    def __bool__(self) -> bool:
        return any((self.top, self.bottom, self.left, self.right))

    def inner(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of the picture between them, in frames of ``height`` x ``width``."""
        rows = slice(round(self.top * height), height - round(self.bottom * height))
        return rows, slice(round(self.left * width), width - round(self.right * width))

    def said(self) -> str:
        """Where they are, for the person: "left 22 %, right 22 %"."""
        shares = {"top": self.top, "bottom": self.bottom, "left": self.left, "right": self.right}
        return ", ".join(f"{side} {share:.0%}" for side, share in shares.items() if share)


NO_BARS = Bars()


def find_bars(frames: Tensor) -> Bars:
    """The bars of a video: what has one colour in all ``frames``, bytes [T, H, W, 3], around a rectangle whose sides
    are straight edges in all of them. None where nothing differs enough from the bars to tell."""
    height, width = frames.shape[1:3]
    corners = frames[:, [0, 0, -1, -1], [0, -1, 0, -1]].float().median(dim=0).values
    for colour in corners.unique(dim=0):
        other = (frames.float() - colour).abs().amax(dim=-1) > SAME_COLOUR  # [T, H, W]
        ever = other.any(dim=0).float()
        rows, columns = (_between(ever.mean(dim=axis) > STRAY) for axis in (1, 0))
        inner = other[:, rows[0] : rows[1], columns[0] : columns[1]].float()
        margins = [rows[0], height - rows[1], columns[0], width - columns[1]]
        if not any(margins) or min(inner.shape[1:]) < 8 * SOFT_PX:
            continue
        lines = [inner, inner.flip(1), inner.transpose(1, 2), inner.transpose(1, 2).flip(1)]  # first row: that side's
        begins = [float(line[:, SOFT_PX].mean(dim=1).amin()) for line in lines]
        if all(share >= BEGINS for share, margin in zip(begins, margins, strict=True) if margin):
            top, bottom, left, right = (margin + SOFT_PX if margin else 0 for margin in margins)
            return Bars(top / height, bottom / height, left / width, right / width)
    return NO_BARS


def _between(seen: Tensor) -> tuple[int, int]:
    """The first of ``seen`` [L] that is true, and one more than the last; 0, 0 where none is."""
    places = seen.nonzero()[:, 0].tolist()
    return (places[0], places[-1] + 1) if places else (0, 0)
