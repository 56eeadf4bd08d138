"""What every frozen dataclass of settings checks when it is made, whoever makes it: a command line or a program."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any

from stages.errors import BadInput


def check(config: Any, **least: float) -> None:
    """Check the dataclass ``config``, from its ``__post_init__``.

    Args:
        least: setting -> the least it may be; None is always allowed.

    Raises:
        BadInput: a ``Literal`` setting has another value, a number is not finite or below its least.
    """
    hints = type_hints(type(config))
    for field in dataclasses.fields(config):
        value, kind = getattr(config, field.name), hints[field.name]
        if typing.get_origin(kind) is typing.Literal and value not in typing.get_args(kind):
            choices = ", ".join(map(str, typing.get_args(kind)))
            raise BadInput(f"{field.name} cannot be {value!r}.", f"Choose one of: {choices}.")
        if isinstance(value, float) and not math.isfinite(value):
            raise BadInput(f"{field.name} must be a finite number, not {value}.")
    for name, lowest in least.items():
        value = getattr(config, name)
        if value is not None and value < lowest:
            raise BadInput(f"{name} must be at least {lowest:g}, not {value}.")


def type_hints(kind: type) -> Mapping[str, Any]:
    """The annotations of the dataclass ``kind``, evaluated once."""
    if kind not in _HINTS:
        _HINTS[kind] = typing.get_type_hints(kind)
    return _HINTS[kind]


_HINTS: dict[type, Mapping[str, Any]] = {}


def with_settings(config: Any, values: Mapping[str, Any]) -> Any:
    """``config`` with several settings; "group.field" names one of a nested group, all checked together."""
    groups: dict[str, dict[str, Any]] = {}
    own: dict[str, Any] = {}
    for name, value in values.items():
        head, _, rest = name.partition(".")
        if rest:
            groups.setdefault(head, {})[rest] = value
        else:
            own[head] = value
    for head, inner in groups.items():
        own[head] = with_settings(own.get(head, getattr(config, head)), inner)
    return dataclasses.replace(config, **own)
