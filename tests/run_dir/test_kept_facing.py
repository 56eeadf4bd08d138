"""A run knows where its asset faces: said or found once, kept, asked for by stages whose prior sees points."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.assets import asset_path
from stages.errors import CorruptCheckpoint, SettingsDiffer
from stages.events import Caution, Event, Note, Wrote, silent
from stages.facing.keep import facing_input, settled, what_to_say
from stages.files import write_json
from stages.gaussians.facing import Facing
from stages.gaussians.formats.ply import write_ply
from stages.reconstruct import ReconstructConfig
from stages.reconstruct import run as reconstruct
from stages.run_dir import RunDir
from stages.status import run as status
from tests.gaussians.test_ply import splat


@pytest.fixture
def ply(tmp_path: Path) -> Path:
    write_ply(tmp_path / "a.ply", splat(0, count=60))
    return tmp_path / "a.ply"


def test_it_is_kept_and_changed_only_when_forced(tmp_path: Path, ply: Path) -> None:
    run, said = RunDir(tmp_path / "run"), list[Event]()
    assert run.facing() == Facing(degrees=0.0) and run.kept_facing() is None
    reconstruct(run, ReconstructConfig(facing="+x"), said.append, file=ply)
    assert run.facing() == Facing(degrees=90.0) and run.facing_png.exists()
    assert any(isinstance(event, Note) and "+x" in event.text for event in said)
    assert any(isinstance(event, Wrote) and event.path == run.facing_png for event in said)
    kept = (run.path / "asset" / "facing.json").read_bytes()
    for facing in ("auto", "90", "+x"):  # nothing to do
        said.clear()
        reconstruct(run, ReconstructConfig(facing=facing), said.append, file=ply)
        assert len(said) == 1 and (run.path / "asset" / "facing.json").read_bytes() == kept
    with pytest.raises(SettingsDiffer, match=r"faces \+x, not -z"):
        reconstruct(run, ReconstructConfig(facing="-z"), silent, file=ply)
    run.stage("motion").finish(1)
    reconstruct(run, ReconstructConfig(facing="-z"), silent, file=ply, force=True)
    assert run.facing().used_deg == -180.0 and run.stage("motion").is_complete()
    assert status(run).facing == "-z"
    write_ply(ply, splat(1, count=60))
    reconstruct(run, ReconstructConfig(facing="none"), silent, file=ply, force=True)
    assert run.facing() == Facing(degrees=None) and run.facing().used_deg == 0.0
    copy = RunDir(tmp_path / "copy")
    copy.copy_from(run, before="distill")
    assert copy.kept_facing() == run.kept_facing()


def test_it_is_found_where_it_is_not_said(tmp_path: Path, ply: Path) -> None:
    run = RunDir(tmp_path / "run")
    reconstruct(run, ReconstructConfig(), silent, file=ply)
    (run.path / "asset" / "facing.json").unlink()  # as an earlier version left it
    reconstruct(run, ReconstructConfig(), silent, file=ply)
    kept = run.kept_facing()
    assert kept is not None and kept.confidence is not None
    run.put_asset(splat(1, count=60), "a.ply", force=True)
    assert run.kept_facing() is None and not run.facing_png.exists()


@pytest.mark.parametrize("harm", ["flipped", "gone"])
def test_a_damaged_picture_is_named_and_drawn_again(tmp_path: Path, ply: Path, harm: str) -> None:
    run, said = RunDir(tmp_path / "run"), list[Event]()
    reconstruct(run, ReconstructConfig(), silent, file=ply)
    whole = run.facing_png.read_bytes()
    run.facing_png.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    if harm == "gone":
        run.facing_png.unlink()
    asset = status(run).stages[0]
    assert asset.state == "complete" and "preview.png is damaged" in asset.problem
    reconstruct(run, ReconstructConfig(), said.append, file=ply)
    assert run.facing_png.read_bytes() == whole and status(run).stages[0].problem == ""
    assert any(isinstance(event, Caution) and "preview.png" in event.text for event in said)


def test_it_is_an_input_of_priors_that_see_points_alone(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.put_asset(splat(0), "a.ply", force=False)
    run.put_facing(Facing(degrees=-90.0, confidence=0.9))
    points, video = tmp_path / "points", tmp_path / "video"
    for folder, name in ((points, "AnimusPointsPipeline"), (video, "AnimusVideoPipeline")):
        folder.mkdir()
        write_json(folder / "model_index.json", {"_class_name": name})
    assert facing_input(run, str(points)) == {"facing": "-90"} and facing_input(run, str(video)) == {}
    run.stage("motion").begin(config={}, inputs=facing_input(run, str(points)), total_steps=1, force=False)
    run.stage("lora").begin(config={}, inputs=facing_input(run, str(video)), total_steps=1, force=False)
    run.put_facing(Facing(degrees=0.0))
    assert run.changed_inputs("motion") == ["facing"] and run.changed_inputs("lora") == []


def test_what_is_not_sure_is_a_caution() -> None:
    assert isinstance(what_to_say(Facing(degrees=30.0, confidence=0.5)), Caution)
    for facing in (Facing(degrees=0.0, confidence=0.98), Facing(degrees=None, confidence=0.8), Facing(degrees=12.5)):
        said = what_to_say(facing)
        assert isinstance(said, Note) and "--facing" in said.text


def test_what_is_not_sure_faces_as_its_kind_of_file_does() -> None:
    """glTF has the front at +z (2.0, section 3.4); a splat's file has none."""
    unsure, sure = (Facing(degrees=180.0, confidence=share) for share in (0.5, 0.9))
    none = Facing(degrees=None, confidence=0.4)
    assert settled(unsure, usual=True) == Facing(degrees=0.0) and settled(unsure, usual=False) == unsure
    assert settled(sure, usual=True) == sure and settled(none, usual=True) == none


def test_a_person_in_a_t_pose_faces_as_its_glb_does(tmp_path: Path) -> None:
    """From its shape alone the facing network is no more than 60 % sure."""
    path, said = asset_path("bodies", "woman_Dress.glb"), list[Event]()
    if not path.exists():
        pytest.skip("the bodies are only in a checkout")
    run = RunDir(tmp_path / "run")
    reconstruct(run, ReconstructConfig(num_gaussians=1500), said.append, file=path)
    assert run.facing().degrees == 0.0
    assert any("as glTF files do" in event.text for event in said if isinstance(event, Note | Caution))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    write_json(run.path / "asset" / "facing.json", {"degrees": "east", "confidence": None})
    with pytest.raises(CorruptCheckpoint, match=r"facing\.json"):
        run.facing()
