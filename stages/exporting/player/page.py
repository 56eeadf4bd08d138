"""The page itself: a template, a style and scripts, put together with a clip and a poster into one file.

The page may load nothing and run nothing but its own two scripts: its Content-Security-Policy names their hashes. The
engine stands in one of them, which the page runs (it only defines functions) and also gives to a Web Worker as it is.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from pathlib import Path

from stages.exporting.player.encode import encode
from stages.exporting.player.poster import poster
from stages.exporting.recording import Recording
from stages.files import readable

FOLDER = Path(__file__).parent
ENGINE = ("unpack.js", "neighbours.js", "deformation_small.js", "deformation.js", "engine.js")
SEEN = ("clip.js", "camera.js", "shaders.js", "ground.js", "painter.js", "controls.js", "main.js")


def player_page(recording: Recording) -> str:
    """The page that plays ``recording``, which must have at least one frame."""
    header, payload = encode(recording)
    style, engine, seen = _text(("style.css",)), script(ENGINE), script(SEEN)
    values = {
        "POLICY": policy([engine, seen], style),
        "TITLE": html.escape(readable(recording.title)).replace("\0", "\ufffd"),
        "STYLE": style,
        "POSTER": base64.b64encode(poster(recording)).decode("ascii"),
        "HEADER": json.dumps(header).replace("<", "\\u003c"),  # so that no title can end the script element
        "PAYLOAD": base64.b64encode(payload).decode("ascii"),
        "ENGINE": engine,
        "SEEN": seen,
    }
    parts = _text(("page.html",)).split("{{")
    filled = [parts[0]]
    for part in parts[1:]:  # what is put in is not looked at again: a title may look like a mark
        mark, rest = part.split("}}", 1)
        filled += [values[mark], rest]
    return "".join(filled)


def script(names: tuple[str, ...]) -> str:
    """The files called ``names`` as one script."""
    return f'\n"use strict";\n{_text(names)}'


def policy(scripts: list[str], style: str) -> str:
    """A Content-Security-Policy that admits these, data in the page, and the worker made of it."""

    def sha(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(map(sha, scripts))}",
            f"style-src {sha(style)}",
            "img-src data:",
            "worker-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _text(names: tuple[str, ...]) -> str:
    return "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in names)
