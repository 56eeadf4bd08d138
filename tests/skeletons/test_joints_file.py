"""joints.json: what is written is read back; what is wrong with one is said by the culprit's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.errors import BadInput
from stages.skeletons.joints_file import joints_text, read_joints

HIPS = {"name": "hips", "parent": None, "head": [0, 1, 0], "tail": [0, 1.2, 0]}
SPINE = {"name": "spine", "parent": "hips", "head": [0, 1.2, 0], "limit_deg": 40}
HEAD = {"name": "head", "parent": "spine", "head": [0, 1.6, 0.1]}


def write(path: Path, *joints: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"format": 1, "joints": joints}))
    return path


def test_joints_in_any_order_come_with_parents_first_and_go_round(tmp_path: Path) -> None:
    joints = read_joints(write(tmp_path / "a.json", HEAD, SPINE, HIPS))
    assert joints.names == ("hips", "spine", "head") and joints.parents == (-1, 0, 1)
    assert joints.limits_deg == (None, 40.0, None)
    torch.testing.assert_close(joints.tails[1], torch.tensor([0.0, 1.6, 0.1]))  # of its child
    assert joints.tails[2, 1] > 1.6  # the end of a limb goes on
    path = tmp_path / "b.json"
    path.write_text(joints_text(joints))
    again = read_joints(path)
    assert again.names == joints.names and again.parents == joints.parents and again.limits_deg == joints.limits_deg
    torch.testing.assert_close(again.heads, joints.heads)
    torch.testing.assert_close(again.tails, joints.tails)


@pytest.mark.parametrize(
    ("joints", "culprit"),
    [
        ([HIPS, SPINE | {"parent": "hip"}], "hip"),
        ([HIPS, SPINE | {"parent": "head"}, HEAD], "own ancestor"),
        ([HIPS, SPINE | {"parent": None}], "2 roots"),
        ([SPINE | {"parent": "head"}, HEAD], "own ancestor"),
        ([HIPS, HIPS], "two joints called hips"),
        ([], "no joints"),
        ([HIPS, {"name": "spine", "parent": "hips"}], "spine needs a head"),
        ([HIPS | {"head": [0, float("nan"), 0]}], "hips needs a head"),
        ([HIPS | {"tail": [0, 1]}], "hips needs a tail"),
        ([HIPS | {"limit_deg": 400}], "limit_deg of hips"),
        ([{"parent": None, "head": [0, 0, 0]}], "name"),
    ],
)
def test_what_is_wrong_is_said(joints: list[dict[str, Any]], culprit: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        read_joints(write(tmp_path / "joints.json", *joints))
    assert culprit in caught.value.what and "joints.json" in caught.value.what


def test_a_file_that_is_not_there_and_one_that_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.json"):
        read_joints(tmp_path / "gone.json")
    (tmp_path / "bad.json").write_bytes(b"\xff\xfe[")
    with pytest.raises(BadInput, match=r"bad\.json"):
        read_joints(tmp_path / "bad.json")
