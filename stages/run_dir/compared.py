"""Settings and inputs of a stage, compared with those that its folder was made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNTRACKED = (
    "steps",
    "checkpoint_every",
    "preview_every",
    "device",
    "raster",
    "processes",
    "compile",
    "profile",
    "file",
    "given.videos",
    "given.cameras",
    "given.masks",
    "bank",
)
"""Settings and inputs that are ignored when deciding whether a result is still valid: ``steps`` is an absolute target,
``file`` and ``given`` say where the same content lay, the rest how it is computed."""


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as ``group.field`` -> value."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def changed(settings: Mapping[str, Any], usual: Mapping[str, Any] | None) -> dict[str, Any]:
    """``{"changed": {name: value}}`` of what is not as ``usual``; nothing where that is not known."""
    if usual is None:
        return {}
    return {"changed": {name: value for name, value in settings.items() if usual.get(name) != value}}


def differences(present: Mapping[str, Any], wanted: Mapping[str, Any], usual: Mapping[str, Any] | None) -> list[str]:
    """Lines ``name: old -> new`` for every setting and input that differs and makes another result. A setting that
    names an input, as ``prior`` does, is compared by the input's fingerprint, not by its name; one that is missing is
    taken to have been as ``usual``."""
    lines = []
    inputs = present.get("inputs", {})
    same = {key for key, value in wanted["inputs"].items() if inputs.get(key) == value}
    for group in ("settings", "inputs"):
        old, new = present.get(group, {}), wanted[group]
        if group == "settings":
            old = {**{key: value for key, value in (usual or {}).items() if key in new}, **old}
        for key in sorted({*old, *new}.difference(UNTRACKED, same)):
            if old.get(key) != new.get(key):
                lines.append(f"{key}: {old.get(key)!r} -> {new.get(key)!r}")
    return lines
