"""What is behind the asset, as people say it."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from stages.errors import BadInput

COLORS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0), "gray": (0.5, 0.5, 0.5), "grey": (0.5, 0.5, 0.5)}


def parse_background(text: str) -> Tensor | None:
    """The colour [3] in [0, 1] that ``text`` names: white and the like, #rrggbb, or R,G,B from 0 to 255; None for
    "transparent". Raises ``BadInput``."""
    if text == "transparent":
        return None
    if text in COLORS:
        return torch.tensor(COLORS[text])
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return torch.tensor([int(text[i : i + 2], 16) / 255.0 for i in (1, 3, 5)])
    parts = text.split(",")
    if len(parts) == 3 and all(part.strip().isdecimal() and int(part) <= 255 for part in parts):
        return torch.tensor([int(part) / 255.0 for part in parts])
    raise BadInput(
        f"{text!r} is no background.",
        f"Use {', '.join(COLORS)}, transparent, or a colour like #88aaff or 136,170,255.",
    )
