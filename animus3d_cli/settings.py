"""From flags and ``--set group.field=value`` to a stage's frozen settings: typed, and strict about names."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from stages.errors import BadInput

Config = TypeVar("Config")

COUNTS = (
    "steps", "checkpoint_every", "batch_size", "rank", "neighbours", "denoise_steps", "num_cameras",
    "num_timesteps", "num_views", "num_clips", "frames_per_step", "flow_samples", "arap_anchors",
    "score_every", "num_frames", "size_px", "max_gaussians",
)  # fmt: skip
"""Settings that mean nothing below 1, in whichever stage they occur."""

LEAST = dict.fromkeys(COUNTS, 1) | {"inversion_steps": 0}
"""The least that a setting may be."""


def build_config(
    presets: Mapping[str, Config], preset: str, flags: Mapping[str, Any], assignments: Sequence[str]
) -> Config:
    """The preset, overridden by the flags that were given (not None), overridden by every ``--set``.

    Raises:
        BadInput: unknown preset, unknown name, a value of the wrong type, or a count below 1.
    """
    if preset not in presets:
        raise BadInput(f"There is no preset {preset!r}.", f"Choose one of: {', '.join(presets)}.")
    config = presets[preset]
    config = dataclasses.replace(config, **{k: v for k, v in flags.items() if v is not None})  # type: ignore[type-var]
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise BadInput(f"--set {assignment} has no value.", "Write --set name=value.")
        config = _assign(config, name.strip(), text.strip(), name.strip())
    for name, least in LEAST.items():
        value = getattr(config, name, None)
        if value is not None and value < least:
            raise BadInput(f"{name} must be at least {least}, not {value}.")
    return config


def setting_names(config: Any, prefix: str = "") -> list[str]:
    """All names that ``--set`` knows, nested ones with a dot."""
    names = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            names += setting_names(value, f"{prefix}{field.name}.")
        else:
            names.append(prefix + field.name)
    return names


def _assign(config: Config, name: str, text: str, full_name: str, root: Any = None) -> Config:
    root = config if root is None else root
    head, _, rest = name.partition(".")
    hints = typing.get_type_hints(type(config))
    known = head in hints and (dataclasses.is_dataclass(getattr(config, head)) == bool(rest))
    if not known:
        names = setting_names(root)
        close = difflib.get_close_matches(full_name, names, n=1)
        guess = f"Did you mean {close[0]}? " if close else ""
        raise BadInput(f"There is no setting {full_name!r}.", f"{guess}Settings: {', '.join(names)}.")
    value = (
        _assign(getattr(config, head), rest, text, full_name, root) if rest else _parse(text, hints[head], full_name)
    )
    return dataclasses.replace(config, **{head: value})  # type: ignore[type-var]


def _parse(text: str, kind: Any, name: str) -> Any:
    """``text`` as a value of the annotation ``kind``."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if text.lower() in ("none", "null") and type(None) in arguments:
            return None
        return _parse(text, next(a for a in arguments if a is not type(None)), name)
    if origin is typing.Literal:
        if text not in arguments:
            raise BadInput(f"{name} cannot be {text!r}.", f"Choose one of: {', '.join(arguments)}.")
        return text
    if origin is tuple:
        return tuple(_parse(part.strip(), arguments[0], name) for part in text.strip("()").split(",") if part.strip())
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise BadInput(f"{name} must be true or false, not {text!r}.")
        return text.lower() == "true"
    try:
        value = kind(text)
    except (TypeError, ValueError):
        value = math.nan
    if kind in (int, float) and not math.isfinite(value):
        raise BadInput(f"{name} must be a {'whole ' if kind is int else ''}number, not {text!r}.")
    return value
