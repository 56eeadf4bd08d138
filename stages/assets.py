"""Where the shipped assets are: inside the installed package, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

_INSTALLED = Path(__file__).parent / "_assets"
_CHECKOUT = Path(__file__).parent.parent / "assets"


def asset_path(*parts: str) -> Path:
    """Path of a shipped asset, such as ``asset_path("splats", "deer.ply")``; it need not exist."""
    return (_INSTALLED if _INSTALLED.is_dir() else _CHECKOUT).joinpath(*parts)
