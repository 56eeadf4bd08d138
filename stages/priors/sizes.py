"""Whether what a configuration says of a network can be: before memory is asked for, or layers are built."""

from __future__ import annotations

import json
import math
from pathlib import Path

from safetensors import safe_open


def check_sizes(folder: Path) -> None:
    """No network in ``folder`` has more layers than its weights have tensors, nor any size above the count of all their
    numbers. Folders without weights pass. Raises ``ValueError``, and what json and safetensors raise of damaged files.
    """
    tensors = numbers = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="numpy") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
        tensors, numbers = tensors + len(shapes), numbers + sum(math.prod(shape) for shape in shapes)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) if tensors else {}
    for name, value in config.items():
        most = tensors if "layers" in name else numbers
        if isinstance(value, int) and value > most:
            raise ValueError(f"config.json has {name} {str(value)[:30]}, more than its weights hold")
