"""What ``ablate`` animates: assets, each with a sentence, from the command line or a table."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from stages.errors import BadInput, first_line


@dataclass(frozen=True)
class Task:
    """One asset and what it is to do."""

    asset: str  # a file that reconstruct reads
    prompt: str
    object: str = ""  # the word for the asset in fit-lora's static prompt
    pose: str = ""  # of an animated .glb: CLIP@SECONDS
    truth: str = ""  # what eval compares with: FILE.glb#CLIP or a run

    @property
    def name(self) -> str:
        """As in "deer-a-jumping-deer": the name of its folder."""
        words = re.sub(r"[^a-z0-9]+", "-", self.prompt.lower()).strip("-")
        return f"{Path(self.asset).stem.lower()}-{words[:60]}"


COLUMNS = tuple(field.name for field in fields(Task))


def tasks_of(assets: Sequence[Path], prompts: Sequence[str]) -> list[Task]:
    """Every asset with every sentence. Raises ``BadInput`` when there are none of either."""
    if not assets or not any(prompt.strip() for prompt in prompts):
        raise BadInput(
            "ablate needs assets and sentences.",
            'For example: animus3d ablate goat.ply --prompt "a jumping goat" --out study, or give --tasks FILE.csv.',
        )
    return checked([Task(str(asset), prompt) for asset in assets for prompt in prompts if prompt.strip()])


def read_tasks(path: Path) -> list[Task]:
    """A line for every task below the head "asset,prompt[,object,pose,truth]"; files are sought beside the table.

    Raises ``BadInput``: no such file, other columns, no line, or a line without asset or prompt.
    """
    if not path.is_file():
        raise BadInput(f"There is no file {path}.", "Check the path given with --tasks.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            heads, rows = reader.fieldnames or [], list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path} is not a table in CSV: {first_line(error)}.", f"Its head is {','.join(COLUMNS)}."
        ) from None
    unknown = [head for head in heads if head not in COLUMNS]
    if unknown or not {"asset", "prompt"} <= set(heads):
        raise BadInput(
            f"{path} has the columns {','.join(heads) or 'none'}.",
            f"Use asset,prompt and any of {','.join(COLUMNS[2:])}.",
        )
    tasks = []
    for number, row in enumerate(rows, start=2):
        cells = {name: (row.get(name) or "").strip() for name in heads}
        if None in row or not cells["asset"] or not cells["prompt"]:
            raise BadInput(f"Line {number} of {path} is not a task.", f"Write {','.join(heads)}.")
        cells["asset"] = str(path.parent / cells["asset"])
        if cells.get("truth"):
            cells["truth"] = str(path.parent / cells["truth"])
        tasks.append(Task(**cells))
    if not tasks:
        raise BadInput(f"{path} has no tasks.", f"Write one a line below {','.join(heads)}.")
    return checked(tasks)


def checked(tasks: list[Task]) -> list[Task]:
    """``tasks``, whose assets are there and whose names differ. Raises ``BadInput`` otherwise."""
    for task in tasks:
        if not Path(task.asset).is_file():
            raise BadInput(f"There is no file {task.asset}.", "Check the path of the asset.")
    names = [task.name for task in tasks]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadInput(f"Two tasks are called {twice}.", "Rename the asset's file or change the sentence.")
    return tasks
