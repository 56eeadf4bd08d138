"""The manifest of shipped bodies: it names files that are there; a damaged one is refused by the culprit's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stages.assets import asset_path
from stages.errors import BadInput
from stages.zoo import rigs as manifests
from stages.zoo.rigs import find_rig, read_manifest, rigs

GOAT = {"file": "Goat.glb", "nouns": ["goat"], "verbs": {"walk": {"clip": "Walk"}}}


@pytest.mark.parametrize("folder", ["rigged", "held_out"])
def test_every_file_is_listed_and_every_listed_file_is_there(folder: str) -> None:
    listed = [asset_path(folder, rig.file) for rig in read_manifest(folder)]
    assert all(path.is_file() for path in listed)
    assert {path for path in listed if path.parent == asset_path(folder)} == set(asset_path(folder).glob("*.glb"))


def test_a_body_is_found_by_its_file() -> None:
    assert find_rig("fox.glb").verbs["run"] == ("Run", 2.0, 0.65, "") and rigs() is rigs()
    with pytest.raises(BadInput) as caught:
        find_rig("Unicorn.glb")
    assert "Unicorn.glb" in caught.value.what and "Fox.glb" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        (None, "manifest.json"),
        ("[{", "manifest.json"),
        ("{}", "manifest.json"),
        ([GOAT, GOAT], "twice"),
        ([GOAT | {"nouns": "goat"}], "Goat.glb"),
        ([GOAT | {"gain": "much"}], "Goat.glb"),
        ([GOAT | {"tail": 1}], "tail"),
        ([GOAT | {"verbs": {"walk": {"clip": "Walk", "speed": 2}}}], "speed"),
        ([GOAT | {"verbs": {"walk": {}}}], "Goat.glb"),
        ([{"file": "Goat.glb", "nouns": ["goat"]}], "verbs"),
        (["Goat.glb"], "Goat.glb"),
    ],
)
def test_a_damaged_manifest_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: Any, culprit: str
) -> None:
    monkeypatch.setattr(manifests, "asset_path", lambda *parts: tmp_path.joinpath(*parts))
    (tmp_path / "here").mkdir()
    if text is not None:
        (tmp_path / "here" / "manifest.json").write_text(text if isinstance(text, str) else json.dumps(text))
    read_manifest.cache_clear()
    with pytest.raises(BadInput) as caught:
        read_manifest("here")
    assert culprit in caught.value.what and "\n" not in caught.value.what
    read_manifest.cache_clear()
