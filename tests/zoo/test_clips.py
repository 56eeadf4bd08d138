"""Captions say what the clip shows, in words the prior's tokenizer knows, and the draw of clips is the seed's."""

from __future__ import annotations

import torch

from stages.assets import asset_path
from stages.gaussians.formats.ply import read_ply
from stages.zoo.captions import INFLECTIONS, PACES, STATIC_SENTENCES, caption, motion_words
from stages.zoo.clips import (
    CYCLIC,
    PROCEDURAL_VERBS,
    SHARES,
    How,
    procedural_clip,
    rigged_clip,
    rigged_file,
    sample_training_clips,
)
from stages.zoo.rigs import find_rig, rigs
from stages.zoo.samples import NUM_GAUSSIANS, SAMPLES


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_captions_name_verb_and_noun_in_several_wordings() -> None:
    generator = _generator()
    for verb in [*INFLECTIONS, "static"]:
        wordings = {caption(verb, "horse", generator) for _ in range(60)}
        assert len(wordings) >= (len(STATIC_SENTENCES) if verb == "static" else 8)
        for sentence in wordings:
            if verb != "static":
                assert {*motion_words()[verb]} & set(sentence.split()) and "horse" in sentence
    for adverb in PACES:
        assert all(adverb in caption("walk", "horse", generator, adverb).split() for _ in range(20))


def test_every_verb_has_bodies_and_every_clip_is_in_its_file() -> None:
    drawn = {verb for rig in rigs() for verb in rig.verbs} | {v for verbs in PROCEDURAL_VERBS.values() for v in verbs}
    assert set(SHARES) - {"static"} <= drawn
    assert abs(sum(SHARES.values()) - 1.0) < 1e-6 and set(INFLECTIONS) | {"static"} == set(SHARES)
    for rig in rigs():
        clips = rigged_file(rig.file).clips
        assert {gait.clip for gait in rig.verbs.values()} <= clips.keys()
        assert rig.rest is None or rig.rest in clips


def test_training_clips_move_unless_static_and_repeat_with_the_seed() -> None:
    first = list(sample_training_clips(_generator(), 40, 6))
    again = list(sample_training_clips(_generator(), 40, 6))
    assert [clip.caption for clip in first] == [clip.caption for clip in again]
    assert all(torch.equal(a.frames.means, b.frames.means) for a, b in zip(first, again, strict=True))
    assert len({clip.caption for clip in first}) > 30
    for clip in first:
        means = clip.frames.means
        torch.testing.assert_close(means[0], clip.frames.asset.means, atol=1e-5, rtol=0)
        moved = float((means - means[0]).norm(dim=-1).max())
        assert (moved < 1e-6) == (clip.verb == "static") == clip.caption.startswith(("low motion", "a static")) or (
            clip.verb == "static" and clip.caption.endswith(("not moving", "standing still"))
        ), clip.caption


def test_every_walk_swings_its_left_hind_leg_at_one_time() -> None:
    """Half a second into the clip it is ahead of where it stands, half a second later behind; its fellow opposite."""
    clips = {rig.file: rigged_clip(rig, "walk", 16, 800, _generator()) for rig in rigs() if "walk" in rig.verbs}
    clips |= {kind: procedural_clip(kind, "walk", 16, 800, _generator()) for kind in ("quadruped", "biped")}
    for name in ("Fox.glb", "Stegosaurus.glb", "Parasaurolophus.glb", "Crab.glb"):
        del clips[name]  # feet not told apart by where they stand; a crab walks sideways
    for name, clip in clips.items():
        rest = clip.asset.means
        low = rest[:, 1] < rest[:, 1].min() + 0.12 * (rest[:, 1].max() - rest[:, 1].min())
        feet = low & (rest[:, 2] <= rest[low, 2].mean() + (0.0 if rest[low, 2].std() > 0.3 else 1.0))
        ahead = clip.means[:, :, 2] - rest[:, 2]
        left, right = (ahead[:, feet & (side * rest[:, 0] > 0.02)].mean(1) for side in (1, -1))
        swing = left - right
        assert swing[3:6].mean() > 0.1 > -0.1 > swing[10:13].mean(), (name, swing)


def test_a_start_in_the_middle_is_what_is_at_rest() -> None:
    """Whatever the body: frame 0 is the asset, which stands as the plain clip does a third of a cycle later."""
    how = How(start=0.25)
    deer = find_rig("Deer.glb")
    for plain, moved in (
        (rigged_clip(deer, "walk", 17, 500, _generator()), rigged_clip(deer, "walk", 17, 500, _generator(), how)),
        (
            procedural_clip("fish", "swim", 17, 500, _generator()),
            procedural_clip("fish", "swim", 17, 500, _generator(), how),
        ),
    ):
        torch.testing.assert_close(moved.means[0], moved.asset.means, atol=1e-5, rtol=0)
        torch.testing.assert_close(moved.quats[0], moved.asset.quats, atol=1e-3, rtol=0)
        torch.testing.assert_close(moved.means[4], plain.means[8], atol=1e-4, rtol=0)
        assert (moved.means[0] - plain.means[0]).norm(dim=-1).max() > 0.05
    assert {"walk", "run"} <= set(CYCLIC) and "jump" not in CYCLIC


def test_pace_changes_how_often() -> None:
    slow = procedural_clip("quadruped", "walk", 16, 400, _generator(), How(pace=0.5)).means
    plain = procedural_clip("quadruped", "walk", 31, 400, _generator()).means
    torch.testing.assert_close(slow[6:], plain[6:16], atol=1e-4, rtol=0)  # after both have left the rest pose


def test_sample_splats_are_what_their_rigs_give() -> None:
    """Shipped splats are readable, upright and of the size the script makes."""
    for name in [*SAMPLES, "bird"]:
        asset = read_ply(asset_path("splats", f"{name}.ply"))
        assert NUM_GAUSSIANS <= asset.num_gaussians < NUM_GAUSSIANS + 20 and asset.sh_degree == 0
        low, high = asset.bounds()
        assert 1.9 < float((high - low).max()) <= 2.001
    for path in asset_path("splats").glob("*.ply"):
        assert f"splats/{path.name}" in asset_path("CREDITS.md").read_text(), f"{path.name} has no credit"
    for path in [*asset_path("rigged").glob("*.glb"), *asset_path("held_out").glob("*.glb")]:
        assert path.name in asset_path("CREDITS.md").read_text(), f"{path.name} has no credit"
