"""Whether the files of a stage are as they were written: ``complete.json`` keeps a short hash of each.

JSON files of a run carry a seal of their own (``stages.files``), checkpoints the hash of their tensors. What was made
before there were hashes is taken as it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.errors import CorruptCheckpoint
from stages.events import Caution, Report
from stages.files import file_hash, read_json, writing
from stages.run_dir.layout import BY_FOLDER

FILES = "files"
"""The key of the hashes in ``complete.json``: name -> short hash."""

NOT_KEPT = ("complete.json", "config.json", "skeleton.json")
"""Files without a hash there: two have a seal, the third is for people to edit."""


RESULT = ".safetensors"
"""How the names of files end that other stages read."""


def hashes_of(folder: Path) -> dict[str, str]:
    """Short hashes of the files in a stage's folder, not of its checkpoints, by name."""
    return {
        path.name: file_hash(path)
        for path in sorted(folder.glob("*"))
        if path.is_file() and path.name not in NOT_KEPT and not path.name.startswith(".")
    }


def damaged(folder: Path, complete: Mapping[str, Any], name: str | None = None) -> list[str]:
    """Names of files that are not what ``complete`` says of them, or not there: of all, or only ``name``."""
    kept = complete.get(FILES)
    if not isinstance(kept, Mapping):
        return []
    names = kept if name is None else [name] if name in kept else []
    return [name for name in names if _hash(folder / name) != kept[name]]


def check(path: Path) -> None:
    """Raise ``CorruptCheckpoint`` where the file ``path`` of a stage is not what its ``complete.json`` says."""
    complete = read_json(path.parent / "complete.json")
    if complete is not None and damaged(path.parent, complete, path.name):
        stage = BY_FOLDER.get(path.parent.name)
        again = f"The same animus3d {stage.command} makes it again." if stage else "Make it again with --force."
        raise CorruptCheckpoint(f"{path} is damaged: it is not what was written.", again)


def result_is_damaged(folder: Path, complete: Mapping[str, Any], report: Report) -> bool:
    """Tell of each file of a finished stage that is damaged; whether one of them is a result, which others read."""
    found = damaged(folder, complete)
    results = [name for name in found if name.endswith(RESULT)]
    for name in found:
        then = "it is made again" if results else "nothing else depends on it, --force makes it again"
        report(Caution(f"{folder / name} is damaged: {then}."))
    return bool(results)


def leave_damaged_checkpoints(checkpoints: Sequence[Path], report: Report) -> None:
    """Remove the last of ``checkpoints`` as far as they are damaged, where there is a sound one before them.

    Raises:
        CorruptCheckpoint: all of them are damaged.
    """
    left, bad = list(checkpoints), []
    while left and damaged_checkpoint(left[-1]):
        bad.append(left.pop())
    if bad and not left:
        raise CorruptCheckpoint(
            f"The checkpoint {bad[-1]} is damaged, and there is none before it.",
            f"Remove {bad[-1].parent} or use --force: both begin at the first step.",
        )
    for folder in bad:
        report(Caution(f"The checkpoint {folder} is damaged: going on from {left[-1].name}."))
        with writing(folder):
            shutil.rmtree(folder)


def damaged_checkpoint(folder: Path) -> bool:
    """Whether a checkpoint is cut short, altered, or not all there."""
    weights = folder / "state.safetensors"
    try:
        state = read_json(folder / "state.json")
    except CorruptCheckpoint:
        return True
    return state is None or _hash(weights) != state.get("sha256")


def _hash(path: Path) -> str | None:
    try:
        return file_hash(path)
    except OSError:
        return None
