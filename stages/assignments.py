"""From text (``--set group.field=value``, a cell of a table) to frozen settings: typed, and strict about names.

What values mean is checked by the settings themselves, when they are made (``stages.settings``).
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from stages.errors import BadInput
from stages.settings import type_hints, with_settings

Config = TypeVar("Config")


def build_config(
    presets: Mapping[str, Config], preset: str, flags: Mapping[str, Any], assignments: Sequence[str]
) -> Config:
    """The preset, overridden by the flags that were given (not None), overridden by every ``--set``.

    Raises:
        BadInput: unknown preset, unknown or ambiguous name, a value of the wrong type, or one that the settings refuse.
    """
    if preset not in presets:
        raise BadInput(f"There is no preset {preset!r}.", f"Choose one of: {', '.join(presets)}.")
    config = presets[preset]
    values = {name: value for name, value in flags.items() if value is not None}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise BadInput(f"--set {assignment} has no value.", "Write --set name=value.")
        full = full_name(config, name.strip())
        values[full] = _parse(text.strip(), _annotation(config, full), full)
    return with_settings(config, values)


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


def full_name(config: Any, name: str) -> str:
    """The setting that ``name`` is, or is short for where only one can be meant: the last part is always said, groups
    before it may be left out. Raises ``BadInput``."""
    names = setting_names(config)
    found = [name] if name in names else [full for full in names if _is_short_for(name, full)]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInput(f"There are several settings {name!r}.", f"Write one of: {', '.join(found)}.")
    ends = [full.rpartition(".")[2] for full in names]
    close = difflib.get_close_matches(name, [*names, *ends], n=1)
    meant = [full for full in names if _is_short_for(close[0], full)] if close else []
    guess = f"Did you mean {' or '.join(meant)}? " if meant else ""
    raise BadInput(f"There is no setting {name!r}.", f"{guess}Settings: {', '.join(names)}.")


def _is_short_for(name: str, full: str) -> bool:
    """Whether the parts of ``name`` are parts of ``full`` in their order, the last one the last."""
    rest = iter(full.split("."))
    return full.rpartition(".")[2] == name.rpartition(".")[2] and all(part in rest for part in name.split("."))


def _annotation(config: Any, name: str) -> Any:
    """The type of the setting ``name``."""
    head, _, rest = name.partition(".")
    return _annotation(getattr(config, head), rest) if rest else type_hints(type(config))[head]


def _parse(text: str, kind: Any, name: str) -> Any:
    """``text`` as a value of the annotation ``kind``."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if text.lower() in ("none", "null") and type(None) in arguments:
            return None
        return _parse(text, next(a for a in arguments if a is not type(None)), name)
    if origin is typing.Literal:
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
