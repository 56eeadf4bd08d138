"""The templates of this folder, filled: pages of one file that load nothing."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def base64_text(data: bytes) -> str:
    """Bytes as they stand in a page."""
    return base64.b64encode(data).decode("ascii")


TEMPLATES.filters["base64"] = base64_text


def fill(template: str, **values: Any) -> str:
    """The page that ``template`` makes of ``values``; every text in them is escaped."""
    return TEMPLATES.get_template(template).render(**values)
