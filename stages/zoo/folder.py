"""A user's own animated ``.glb`` files as training clips: a folder with a table of what they show.

``captions.csv`` has a line for every sentence; a clip may have several::

    file,clip,caption,motion,rest,cycles
    goat.glb,Walk,a goat walks,walks,Idle,1
    goat.glb,Walk,a walking goat,walking,Idle,1

``file``, ``clip`` and ``caption`` are needed. ``motion`` is the word of the sentence that says the motion (``distill``
warns when a prompt has none that was learnt), ``rest`` the clip whose first frame is the rest pose (the bind pose when
empty), ``cycles`` how often the clip runs in the frames of the video (once when empty). Bodies face +z and stand on
the x-z plane, as glTF says.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from stages.errors import BadInput, first_line
from stages.skeletons.rigged import RiggedFile, read_rigged
from stages.zoo.captions import STATIC_SENTENCES, pick, uniform
from stages.zoo.clip import Clip
from stages.zoo.clips import NUM_GAUSSIANS, vary

TABLE = "captions.csv"
STATIC_SHARE = 0.08
"""How often a clip of a body at rest is drawn, with a sentence that says so: MSD and its negative prompt need it."""


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    file: str
    clip: str
    caption: str
    motion: str
    rest: str
    cycles: float


@dataclass(frozen=True)
class FolderClips:
    """Draws captioned clips from a folder; the same body looks a little different each time.

    Raises:
        BadInput: no table, a column or value missing, a file or clip that is not there.
    """

    folder: Path

    def __post_init__(self) -> None:
        for line in self.lines():
            file = _rigged_file(self.folder / line.file)
            for clip in filter(None, (line.clip, line.rest)):
                if clip not in file.clips:
                    raise BadInput(
                        f"{self.folder / line.file} has no clip {clip!r}.",
                        f"It has: {', '.join(file.clips) or 'none'}.",
                    )

    def __call__(self, generator: torch.Generator, count: int, num_frames: int) -> Iterator[Clip]:
        """``count`` clips of random lines of the table, and now and then of a body at rest."""
        lines = self.lines()
        for _ in range(count):
            line = pick(lines, generator)
            file = _rigged_file(self.folder / line.file)
            rest = file.pose(line.rest, torch.zeros(1)) if line.rest else file.bind_local
            body = file.body(rest, int(torch.randint(*NUM_GAUSSIANS, (), generator=generator)), generator)
            if uniform(0.0, 1.0, generator) < STATIC_SHARE:
                clip = Clip(body.animate(rest.repeat(num_frames)), STATIC_SENTENCES[1], "static")
            else:
                cycle = torch.linspace(0.0, line.cycles, num_frames) % (1.0 + 1e-4)
                motion = file.pose(line.clip, cycle * file.clip_seconds(line.clip))
                clip = Clip(body.from_rest(motion), line.caption, line.motion)
            yield replace(clip, frames=vary(clip.frames, generator, recolor=True))

    def lines(self) -> tuple[Line, ...]:
        """The table."""
        return _read_table(self.folder)

    def motions(self) -> dict[str, list[str]]:
        """Word -> itself, for the words that say a motion."""
        return {word: [word] for word in sorted({line.motion.lower() for line in self.lines() if line.motion})}

    def fingerprint(self) -> str:
        """Changes when the table or a file that it names does."""
        digest = hashlib.sha256((self.folder / TABLE).read_bytes())
        for name in sorted({line.file for line in self.lines()}):
            digest.update((self.folder / name).read_bytes())
        return digest.hexdigest()[:16]


@lru_cache(maxsize=4)
def _read_table(folder: Path) -> tuple[Line, ...]:
    table = folder / TABLE
    example = "Its first lines could be: file,clip,caption and goat.glb,Walk,a goat walks"
    if not table.is_file():
        raise BadInput(f"{folder} has no {TABLE}, which says what its files show.", example)
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{table} is not a table in CSV: {first_line(error)}.", example) from None
    lines = []
    for number, row in enumerate(rows, start=2):
        values = {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}
        missing = [key for key in ("file", "clip", "caption") if not values.get(key)]
        if missing:
            raise BadInput(f"{table}, line {number}: no {' and no '.join(missing)}.", example)
        motion = values.get("motion", "")
        if motion and motion.lower() not in values["caption"].lower().split():
            raise BadInput(f"{table}, line {number}: {motion!r} is not a word of {values['caption']!r}.")
        try:
            cycles = float(values.get("cycles") or 1.0)
        except ValueError:
            raise BadInput(f"{table}, line {number}: cycles must be a number.") from None
        lines.append(Line(values["file"], values["clip"], values["caption"], motion, values.get("rest", ""), cycles))
    if not lines:
        raise BadInput(f"{table} has no lines below its head.", example)
    return tuple(lines)


@lru_cache(maxsize=64)
def _rigged_file(path: Path) -> RiggedFile:
    return read_rigged(path)
