"""The packed bodies: the manifest names files that are there and clips that they have; files are valid and small."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.assets import asset_path
from stages.errors import BadInput
from stages.skeletons.rigged import read_rigged
from stages.skeletons.skeleton import skin
from stages.zoo.bodies import FOLDER, BodyEntry, bodies, bodies_without, open_body, parse_manifest, read_bodies
from stages.zoo.body_measures import moves_away, posed, size
from stages.zoo.pack_bodies import compact_body, farthest, manifest_text, pack, rest_pose

ALL = read_bodies()
ROOT = Path(__file__).parent.parent.parent
SIZES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
MEGABYTE = 1_000_000


def by_file(file: str) -> BodyEntry:
    return next(entry for entry in ALL if entry.file == file)


def content(entry: BodyEntry) -> tuple[dict[str, Any], int]:
    """The JSON of a packed file and the length of its buffer."""
    data = asset_path(FOLDER, entry.file).read_bytes()
    length = int.from_bytes(data[12:16], "little")
    return json.loads(data[20 : 20 + length]), len(data) - 28 - length


def test_every_file_is_listed() -> None:
    assert sorted(entry.file for entry in ALL) == sorted(path.name for path in asset_path(FOLDER).glob("*.glb"))


def test_files_are_small() -> None:
    assert sum(path.stat().st_size for path in asset_path(FOLDER).iterdir()) <= 14 * MEGABYTE
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    assert sum(path.stat().st_size for path in tracked) <= 48 * MEGABYTE


@pytest.mark.parametrize("entry", ALL, ids=lambda entry: entry.file)
def test_a_file_keeps_the_rules_of_gltf(entry: BodyEntry) -> None:
    """Those that readers stumble over: 3.6.2.4 (alignment), 3.7.2.1 (bounds), 3.7.3 (skins), 3.11 (samplers)."""
    gltf, length = content(entry)
    views, accessors = gltf["bufferViews"], gltf["accessors"]
    assert gltf["extensionsRequired"] == ["KHR_mesh_quantization"] and gltf["buffers"] == [{"byteLength": length}]
    assert all(view.get("byteOffset", 0) % 4 == 0 for view in views)
    assert all(view.get("byteOffset", 0) + view["byteLength"] <= length for view in views)
    assert all(accessor.get("byteOffset", 0) % SIZES[accessor["componentType"]] == 0 for accessor in accessors)
    [primitive] = gltf["meshes"][0]["primitives"]
    for index in primitive["attributes"].values():
        view = views[accessors[index]["bufferView"]]
        assert view["byteStride"] % 4 == 0 and view["target"] == 34962 and accessors[index]["byteOffset"] % 4 == 0
    assert {"min", "max"} <= accessors[primitive["attributes"]["POSITION"]].keys()
    joints = gltf["skins"][0]["joints"]
    assert len(set(joints)) == len(joints) == accessors[gltf["skins"][0]["inverseBindMatrices"]]["count"]
    for clip in gltf["animations"]:
        targets = [(channel["target"]["node"], channel["target"]["path"]) for channel in clip["channels"]]
        assert len(set(targets)) == len(targets)
        for sampler in clip["samplers"]:
            assert accessors[sampler["input"]]["count"] == accessors[sampler["output"]]["count"]
            assert accessors[sampler["input"]]["min"] == [0.0]


@pytest.mark.parametrize("entry", ALL, ids=lambda entry: entry.file)
def test_a_file_has_the_clips_that_the_manifest_names(entry: BodyEntry) -> None:
    gltf, _ = content(entry)
    assert [clip["name"] for clip in gltf["animations"]] == [clip.clip for clip in entry.clips]
    for clip, own in zip(gltf["animations"], entry.clips, strict=True):
        ends = [gltf["accessors"][sampler["input"]]["max"][0] for sampler in clip["samplers"]]
        assert max(ends) == pytest.approx(own.seconds, abs=1e-3) and own.seconds > 0.1


def _opens(entry: BodyEntry) -> None:
    file = open_body(entry)
    assert torch.isfinite(file.vertices).all() and len(file.faces) > 10 and not file.unused
    rest = [file.named_pose(pose.pose) for pose in entry.rest]
    matrices = [file.skeleton.joint_matrices(pose) for pose in rest]
    matrices += [
        file.skeleton.joint_matrices(file.pose(clip.clip, torch.linspace(0.0, clip.seconds, 5).double()))
        for clip in entry.clips
    ]
    sizes = [size(skin(file.vertices, file.weights, of)) for of in matrices]
    assert max(sizes) < 4.0 * sizes[0]  # no skin has exploded


@pytest.mark.parametrize("entry", ALL[::16], ids=lambda entry: entry.file)
def test_some_files_open(entry: BodyEntry) -> None:
    _opens(entry)


@pytest.mark.slow
@pytest.mark.parametrize("entry", ALL, ids=lambda entry: entry.file)
def test_every_file_opens(entry: BodyEntry) -> None:
    _opens(entry)


@pytest.mark.parametrize("file", ["fish_Dolphin.glb", "khronos_Fox.glb", "plat_Crab.glb"])
def test_a_packed_body_moves_as_its_source(file: str) -> None:
    """Within 0.3 % of its diagonal in all clips, and packing it again gives the same body."""
    entry = by_file(file)
    folder, _, name = entry.source.partition("/")
    source = read_rigged(asset_path(folder, name))
    body = compact_body(entry, source)
    assert farthest(entry, source, body, open_body(entry)) < 0.003
    assert body.weights.astype(int).sum(1).tolist() == [255] * len(body.weights)
    standing = posed(source, rest_pose(entry, source), entry.turn_deg)
    assert size(standing) == pytest.approx(
        size(posed(open_body(entry), open_body(entry).named_pose(entry.rest[0].pose))), rel=0.005
    )


def test_a_source_is_packed_from_the_manifest(tmp_path: Path) -> None:
    dolphin = by_file("fish_Dolphin.glb")
    (tmp_path / "manifest.json").write_text(manifest_text([dolphin]))
    pack([asset_path("rigged")], tmp_path)
    assert parse_manifest((tmp_path / "manifest.json").read_text(), tmp_path) == (dolphin,)
    assert (tmp_path / "fish_Dolphin.glb").read_bytes() == asset_path(FOLDER, "fish_Dolphin.glb").read_bytes()
    with pytest.raises(BadInput, match="rigged"):
        pack([], tmp_path)


@pytest.mark.parametrize(
    ("name", "joint", "in_front"),
    [("animal_Cow.glb", "Head", True), ("enemy_Wasp.glb", "Head", True), ("cutefish_Koi.glb", "Main6", False)],
)
def test_bodies_face_z(name: str, joint: str, in_front: bool) -> None:
    """Those that go on four legs, swim or fly are longer than wide, with the head in front and the tail behind."""
    entry = by_file(name)
    file = open_body(entry)
    standing = posed(file, file.named_pose(entry.rest[0].pose))[0]
    extent = standing.amax(0) - standing.amin(0)
    assert extent[2] > extent[0]
    own = [i for i, node in enumerate(file.joints) if file.names[node] == joint]
    part = standing[file.weights[:, own].sum(1) > 0.9]
    assert bool(part[:, 2].mean() > standing[:, 2].mean()) == in_front


def test_what_is_held_out_stays_out() -> None:
    learnt, judged = bodies(), bodies(held_out=True)
    assert len(learnt) + len(judged) == len(ALL) and 12 <= len(judged) <= 18
    assert all(entry.reason for entry in judged)
    new = {entry.family for entry in judged if entry.held_out == "new family"}
    assert not new & {entry.family for entry in learnt} and len(new) >= 5
    assert {entry.family for entry in judged} - new <= {entry.family for entry in learnt}


def test_most_verbs_are_seen_on_several_bodies() -> None:
    verbs = Counter(verb for entry in bodies() for verb in {clip.verb for clip in entry.clips})
    assert all(verbs[verb] >= 20 for verb in ("walk", "run", "idle", "jump", "swim", "attack", "die", "dance", "eat"))
    assert sum(count for verb, count in verbs.items() if count >= 4) > 0.9 * verbs.total()


def test_credits_name_every_author() -> None:
    text = asset_path("CREDITS.md").read_text(encoding="utf-8")
    for entry in ALL:
        assert entry.credit.split(" (")[0].split(" by ")[0].strip('"') in text, entry.file


def test_a_body_that_goes_away_is_told() -> None:
    still = torch.zeros(3, 4, 3)
    away = still + torch.tensor([0.0, 0.3, 0.6])[:, None, None] * torch.tensor([0.0, 0.0, 1.0])
    assert moves_away(away, 1.0) and not moves_away(away, 2.0) and not moves_away(still, 1.0)


GOOD: dict[str, Any] = {
    "file": "a.glb", "source": "rigged/a.glb", "kind": "fish", "family": "a", "nouns": ["fish"], "facing": "+z",
    "rest": [{"pose": "rest", "kind": "bind"}], "licence": "CC0-1.0", "credit": "me",
    "clips": [{"clip": "Swim", "verb": "swim", "said": "swim", "cyclic": True}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        ({"kind": "sofa"}, "sofa"),
        ({"facing": "up"}, "up"),
        ({"nouns": "fish"}, "fish"),
        ({"clips": []}, "clip"),
        ({"clips": GOOD["clips"] * 2}, "twice"),
        ({"clips": [{"clip": "Swim"}]}, "verb"),
        ({"rest": [{"pose": "rest", "kind": "lying"}]}, "lying"),
        ({"held_out": "new family"}, "reason"),
        ({"speed": 3}, "speed"),
        ({"turn_deg": "90"}, "number"),
    ],
)
def test_a_damaged_manifest_is_refused(change: dict[str, Any], culprit: str) -> None:
    path = Path("there/manifest.json")
    assert parse_manifest(json.dumps([GOOD]), path)[0].nouns == ("fish",)
    with pytest.raises(BadInput, match=r"manifest\.json.*a\.glb") as caught:
        parse_manifest(json.dumps([GOOD | change]), path)
    assert culprit in str(caught.value)


def test_a_manifest_that_is_none_or_mixes_families_is_refused() -> None:
    path = Path("there/manifest.json")
    other = GOOD | {"file": "b.glb", "held_out": "new family", "reason": "it is new"}
    for text, culprit in (
        ("[{", "JSON"),
        ("{}", "list"),
        (json.dumps([GOOD] * 2), "twice"),
        (json.dumps([GOOD, other]), "family"),
    ):
        with pytest.raises(BadInput, match=culprit):
            parse_manifest(text, path)


def test_bodies_and_families_are_left_out_by_name() -> None:
    left = {entry.file for entry in bodies_without("animal_Wolf, skeleton")}
    gone = {entry.file for entry in bodies()} - left
    assert gone == {"animal_Wolf.glb", "mon18_Skeleton.glb"}


def test_an_unknown_body_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadInput, match="animal_Wlf") as refused:
        bodies_without("animal_Wlf")
    assert "animal_Wolf" in refused.value.hint
