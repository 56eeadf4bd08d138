"""Which animated bodies are shipped, what they are called and what they do: read from a manifest beside the files.

``assets/rigged/manifest.json`` is a list with an object for every body::

    {"file": "Fox.glb", "nouns": ["fox"], "rest": "Survey", "gain": 1.0,
     "verbs": {"run": {"clip": "Run", "cycles": 2.0, "start": 0.65}}}

``file``, ``nouns`` and ``verbs`` are needed, and of a verb its ``clip``. A new body, or another motion of one, is a
line there and no code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from stages.assets import asset_path
from stages.errors import BadInput, first_line

MANIFEST = "manifest.json"


class Gait(NamedTuple):
    """A clip of a file, how many cycles of it fill the frames, and where in its cycle it begins: walks and runs begin
    where every other body's does, swinging the left hind leg, so that their mean is a walk or a run."""

    clip: str
    cycles: float = 1.0
    start: float = 0.0  # share of a cycle
    prompt: str = ""  # what a benchmark asks of the body, in words


@dataclass(frozen=True)
class Rig:
    """A shipped file: what to call it and what it does."""

    file: str
    nouns: tuple[str, ...]
    verbs: dict[str, Gait]
    rest: str | None = None  # clip whose first frame is the rest pose; the bind pose when None
    gain: float = 1.0  # exaggerates the motion
    folder: str = "rigged"  # in the project's assets


def rigs() -> tuple[Rig, ...]:
    """The bodies that priors are trained on. Raises ``BadInput`` outside a checkout: packages do not carry them."""
    return read_manifest("rigged")


def find_rig(file: str) -> Rig:
    """The body of ``file``, as "Deer.glb", in whatever case. Raises ``BadInput`` when there is none."""
    for rig in rigs():
        if rig.file.lower() == file.lower():
            return rig
    raise BadInput(f"There is no body {file}.", f"There are: {', '.join(rig.file for rig in rigs())}.")


@lru_cache(maxsize=4)
def read_manifest(folder: str) -> tuple[Rig, ...]:
    """The bodies that the manifest in ``folder`` of the assets lists.

    Raises:
        BadInput: there is no manifest, or it is damaged; the message names the body and what is wrong with it.
    """
    path = asset_path(folder, MANIFEST)
    if not path.is_file():
        raise BadInput(f"There is no file {path}.", "The animated bodies are in a checkout of the project only.")
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON: {first_line(error)}.", "Restore it from version control.") from None
    if not isinstance(listed, list) or not listed:
        raise BadInput(f"{path} is not a list of bodies.", "Restore it from version control.")
    found = tuple(_rig(entry, folder, path) for entry in listed)
    if len({rig.file for rig in found}) < len(found):
        raise BadInput(f"{path} lists a file twice.", "Leave one of the two.")
    return found


def _rig(entry: Any, folder: str, path: Path) -> Rig:
    """One body of a manifest."""
    name = entry.get("file", entry) if isinstance(entry, dict) else entry
    try:
        verbs = {verb: Gait(**gait) for verb, gait in entry["verbs"].items()}
        rig = Rig(**(entry | {"nouns": tuple(entry["nouns"]), "verbs": verbs, "folder": folder}))
    except KeyError as error:
        raise BadInput(f"{path}: {name!r} has no {error.args[0]!r}.") from None
    except (TypeError, AttributeError) as error:  # not an object, or a name that is not known
        raise BadInput(f"{path}: {name!r} is not a body: {first_line(error)}.") from None
    numbers = [rig.gain, *(number for gait in verbs.values() for number in (gait.cycles, gait.start))]
    words = [rig.file, *rig.nouns, *(gait.clip for gait in verbs.values())]
    if not all(isinstance(word, str) and word for word in words) or isinstance(entry["nouns"], str) or not rig.nouns:
        raise BadInput(f"{path}: {name!r} has a file, noun or clip without a name.")
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers):
        raise BadInput(f"{path}: {name!r} has a gain, cycles or start that is not a number.")
    return rig
