"""Joints as a file that a person can edit: what ``rig`` writes as ``skeleton.json``, and reads by ``--skeleton FILE``.

::

    {"format": 1, "joints": [
      {"name": "hips", "parent": null, "head": [0, 1.0, 0], "tail": [0, 1.2, 0]},
      {"name": "spine", "parent": "hips", "head": [0, 1.2, 0], "tail": [0, 1.5, 0.1], "limit_deg": 40}]}

Places are in the units and axes of the run's asset (``asset/canonical.ply``): y is up. ``limit_deg``, how far a joint
may turn from rest, and ``tail``, where its bone ends, may be left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from stages.errors import BadInput, first_line
from stages.skeletons.rig import Joints

FORMAT = 1
FARTHEST = 1e30
"""A place beyond is none that single precision can hold."""


def joints_text(joints: Joints) -> str:
    """``joints`` as the text of a file, a line a joint."""
    lines = []
    for index, name in enumerate(joints.names):
        parent = joints.parents[index]
        line: dict[str, Any] = {"name": name, "parent": None if parent < 0 else joints.names[parent]}
        line["head"] = [round(value, 6) for value in joints.heads[index].tolist()]
        line["tail"] = [round(value, 6) for value in joints.tails[index].tolist()]
        if joints.limits_deg[index] is not None:
            line["limit_deg"] = joints.limits_deg[index]
        lines.append(f"  {json.dumps(line)}")
    return f'{{"format": {FORMAT}, "joints": [\n' + ",\n".join(lines) + "\n]}\n"


def read_joints(path: Path) -> Joints:
    """The joints of a file.

    Raises:
        BadInput: it is missing or no JSON, a joint lacks a name or a place, two have one name, a parent is not there,
            there is no root or more than one, or joints are each other's parents.
    """
    if not path.is_file():
        raise BadInput(f"There is no file {path}.", "Give --skeleton auto, file, or a joints.json as rig writes it.")
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig"))
        lines = told["joints"]
        names = [str(line["name"]) for line in lines]
    except (ValueError, TypeError, KeyError, UnicodeDecodeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else first_line(error)
        raise BadInput(f"{path} is no list of joints: {reason}.", "docs/skeleton.md shows the format.") from None
    if not names:
        raise BadInput(f"{path} has no joints.", "Run rig once: rig/skeleton.json shows how they are written.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(f"{path} has two joints called {twice[0]}.", "Give each a name of its own.")
    parents = _parents(path, lines, names)
    order = _order(path, names, parents)
    number = {old: new for new, old in enumerate(order)}
    heads = torch.tensor([_place(path, lines[index], "head") for index in order])
    ordered = tuple(number[parents[index]] if parents[index] >= 0 else -1 for index in order)
    tails = heads.clone()
    for new, old in enumerate(order):
        if "tail" in lines[old]:
            tails[new] = torch.tensor(_place(path, lines[old], "tail"))
        elif new in ordered:
            tails[new] = heads[ordered.index(new)]
        elif ordered[new] >= 0:  # the end of a limb: as far again
            tails[new] = heads[new] + 0.5 * (heads[new] - heads[ordered[new]])
    return Joints(
        names=tuple(names[index] for index in order),
        parents=ordered,
        heads=heads,
        tails=tails,
        limits_deg=tuple(_limit(path, lines[index]) for index in order),
    )


def _parents(path: Path, lines: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[int]:
    """Of each joint the number of its parent, -1 of the root."""
    numbers = {name: number for number, name in enumerate(names)}
    parents = []
    for line, name in zip(lines, names, strict=True):
        parent = line.get("parent")
        if parent is not None and str(parent) not in numbers:
            raise BadInput(f"{path}: the parent of {name}, {parent}, is not there.", f"Joints: {', '.join(names[:12])}")
        parents.append(-1 if parent is None else numbers[str(parent)])
    roots = [name for name, parent in zip(names, parents, strict=True) if parent < 0]
    if len(roots) > 1:
        raise BadInput(f"{path} has {len(roots)} roots: {', '.join(roots[:6])}.", "Leave one without a parent.")
    return parents


def _order(path: Path, names: Sequence[str], parents: Sequence[int]) -> list[int]:
    """The joints with parents before children."""
    order = [joint for joint, parent in enumerate(parents) if parent < 0]
    for joint in order:
        order += [child for child, parent in enumerate(parents) if parent == joint]
    if len(order) < len(names):
        loop = next(name for joint, name in enumerate(names) if joint not in order)
        raise BadInput(f"{path}: {loop} is its own ancestor.", "Have every joint hang on the one root.")
    return order


def _place(path: Path, line: Mapping[str, Any], name: str) -> list[float]:
    """The place ``name`` of a joint."""
    try:
        place = [float(value) for value in line[name]]
    except (KeyError, TypeError, ValueError, OverflowError):
        place = []
    if len(place) != 3 or not all(abs(value) <= FARTHEST for value in place):
        raise BadInput(f"{path}: {line['name']} needs a {name} of three numbers.", '"head": [0.0, 1.2, 0.3]')
    return place


def _limit(path: Path, line: Mapping[str, Any]) -> float | None:
    limit = line.get("limit_deg")
    if limit is None:
        return None
    if not isinstance(limit, (int, float)) or not 0.0 <= limit <= 180.0:
        raise BadInput(f"{path}: limit_deg of {line['name']} must lie between 0 and 180, not {limit!r}.")
    return float(limit)
