"""The packed bodies that priors in 3D are trained on and judged by: read from a manifest beside the files.

``assets/bodies/manifest.json`` is a list with an object for every body; the fields are those of ``BodyEntry``, and of
its poses and clips those of ``RestPose`` and ``BodyClip``. ``python -m stages.zoo.pack_bodies`` makes the files from
their sources and fills in what it measures.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from stages.assets import asset_path
from stages.errors import BadInput, first_line
from stages.skeletons.rigged import RiggedFile, read_rigged

FOLDER, MANIFEST = "bodies", "manifest.json"
KINDS = (
    "quadruped", "biped", "bird", "bat", "fish", "sea mammal", "insect", "spider", "crab", "frog", "snake", "dinosaur",
    "dragon", "monster", "blob", "machine", "plant", "object",
)  # fmt: skip
REST_KINDS = ("neutral", "T", "A", "bind")
HELD_OUT = ("known family", "new family")


@dataclass(frozen=True, kw_only=True)
class RestPose:
    """A pose that a body can stand in before it moves."""

    pose: str  # CLIP@SECONDS, or "rest" for the file's own
    kind: str  # of REST_KINDS; T and A say how a biped holds its arms


@dataclass(frozen=True, kw_only=True)
class BodyClip:
    """A motion of a body."""

    clip: str  # its name in the file
    verb: str  # one word for the same motion of all bodies
    said: str  # what this body's motion is more exactly: "gallop" where the verb is "run"
    cyclic: bool
    seconds: float = 0.0  # measured, as the next
    large_root_motion: bool = False  # it goes further than half its length along the ground
    part: tuple[float, float] | None = None  # the seconds of the source's clip that it is, where it is not all


@dataclass(frozen=True, kw_only=True)
class BodyEntry:
    """A body: what it is, what it does, and whether it may be learnt from."""

    file: str
    source: str  # FOLDER/FILE that it was packed from
    kind: str  # of KINDS
    family: str  # bodies of one family share a rig or clips
    nouns: tuple[str, ...]
    facing: str | None  # "+z"; None where it has no front
    rest: tuple[RestPose, ...]  # the first is where it usually stands
    clips: tuple[BodyClip, ...]
    licence: str
    credit: str
    held_out: str | None = None  # of HELD_OUT: never trained or tuned on
    reason: str = ""  # why it is held out
    turn_deg: float = 0.0  # by which the source was turned about +y
    color: tuple[float, float, float] | None = None  # displayed colour, where the source lost its texture


def bodies(held_out: bool = False) -> tuple[BodyEntry, ...]:
    """The bodies to learn from, or those that are ``held_out`` to judge by.

    Raises ``BadInput``: there is no manifest, which packages do not carry, or it is damaged.
    """
    return tuple(entry for entry in read_bodies() if (entry.held_out is not None) == held_out)


def bodies_without(names: str) -> tuple[BodyEntry, ...]:
    """The bodies to learn from but those that ``names`` says, comma-separated: files without their ending, or families.

    Raises ``BadInput``: as ``bodies``, and where one of ``names`` is neither.
    """
    left_out = {name.strip() for name in names.split(",")} - {""}
    entries = bodies()
    known = {entry.file.removesuffix(".glb") for entry in entries} | {entry.family for entry in entries}
    for name in sorted(left_out - known):
        close = get_close_matches(name, sorted(known), n=1)
        raise BadInput(
            f"There is no body or family to learn from that is called {name!r}.",
            f"Perhaps {close[0]!r} is meant." if close else "assets/bodies/manifest.json lists them.",
        )
    return tuple(entry for entry in entries if not left_out & {entry.file.removesuffix(".glb"), entry.family})


def open_body(entry: BodyEntry) -> RiggedFile:
    """The file of a body. Raises ``BadInput``: it is missing or cannot be read."""
    return read_rigged(asset_path(FOLDER, entry.file))


@lru_cache(maxsize=1)
def read_bodies() -> tuple[BodyEntry, ...]:
    """All bodies of the manifest. Raises as ``bodies``."""
    path = asset_path(FOLDER, MANIFEST)
    if not path.is_file():
        raise BadInput(f"There is no file {path}.", "The packed bodies are in a checkout of the project only.")
    return parse_manifest(path.read_text(encoding="utf-8"), path)


def parse_manifest(text: str, path: Path) -> tuple[BodyEntry, ...]:
    """The bodies of a manifest whose content is ``text`` and that lies at ``path``.

    Raises ``BadInput``: it is damaged; the message names the body and what is wrong with it.
    """
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON: {first_line(error)}.", "Restore it from version control.") from None
    if not isinstance(listed, list) or not listed:
        raise BadInput(f"{path} is not a list of bodies.", "Restore it from version control.")
    found = tuple(_entry(raw, path) for raw in listed)
    if len({entry.file for entry in found}) < len(found):
        raise BadInput(f"{path} lists a file twice.", "Leave one of the two.")
    new = {entry.family for entry in found if entry.held_out == "new family"}
    for entry in found:
        if entry.family in new and entry.held_out != "new family":
            raise BadInput(f"{path}: {entry.file!r} is of the family {entry.family!r}, which is held out as a whole.")
    return found


def _entry(raw: Any, path: Path) -> BodyEntry:
    """One body of a manifest."""
    name = raw.get("file", raw) if isinstance(raw, dict) else raw
    try:
        parts = {
            "nouns": _words(raw["nouns"]),
            "rest": tuple(RestPose(**pose) for pose in raw["rest"]),
            "clips": tuple(_clip(clip) for clip in raw["clips"]),
            "color": None if raw.get("color") is None else tuple(float(value) for value in raw["color"]),
        }
        entry = BodyEntry(**(raw | parts))
    except KeyError as error:
        raise BadInput(f"{path}: {name!r} has no {error.args[0]!r}.") from None
    except (TypeError, ValueError, AttributeError) as error:  # not an object, or a name that is not known
        raise BadInput(f"{path}: {name!r} is not a body: {first_line(error)}.") from None
    wrong = _wrong(entry)
    if wrong:
        raise BadInput(f"{path}: {name!r} {wrong}.")
    return entry


def _clip(raw: dict[str, Any]) -> BodyClip:
    """One clip of a body."""
    part = raw.get("part")
    return BodyClip(**(raw | {"part": None if part is None else (float(part[0]), float(part[1]))}))


def _words(raw: Any) -> tuple[str, ...]:
    """A list of words. Raises ``TypeError``: it is none; a word by itself is a list of letters."""
    if not isinstance(raw, list):
        raise TypeError(f"{raw!r} is not a list of words")
    return tuple(raw)


def _wrong(entry: BodyEntry) -> str:
    """What is wrong with a body; nothing when it is right."""
    words = [entry.file, entry.source, entry.family, entry.licence, entry.credit, *entry.nouns]
    words += [word for clip in entry.clips for word in (clip.clip, clip.verb, clip.said)]
    words += [pose.pose for pose in entry.rest]
    if not all(isinstance(word, str) and word for word in words):
        return "has a name or word that is missing or no text"
    if not (entry.nouns and entry.rest and entry.clips):
        return "needs a noun, a rest pose and a clip"
    for what, value, allowed in (
        ("kind", entry.kind, KINDS),
        ("facing", entry.facing, ("+z", None)),
        ("held_out", entry.held_out, (*HELD_OUT, None)),
        *(("rest", pose.kind, REST_KINDS) for pose in entry.rest),
    ):
        if value not in allowed:
            return f"has {what} {value!r}, which is none of {', '.join(map(str, allowed))}"
    numbers = [entry.turn_deg, *(entry.color or ()), *(clip.seconds for clip in entry.clips)]
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers):
        return "has a number that is none"
    if not all(isinstance(flag, bool) for clip in entry.clips for flag in (clip.cyclic, clip.large_root_motion)):
        return "has a clip whose cyclic or large_root_motion is neither true nor false"
    if len({clip.clip for clip in entry.clips}) < len(entry.clips):
        return "lists a clip twice"
    if entry.held_out and not entry.reason:
        return "is held out for no reason"
    return ""
