"""Captions say what the clip shows, in words the prior's tokenizer knows, and the draw of clips is the seed's."""

from __future__ import annotations

import torch

from stages.assets import asset_path
from stages.gaussians.ply import read_ply
from stages.zoo.clips import (
    INFLECTIONS,
    NOUNS,
    PROCEDURAL_VERBS,
    RIGS,
    SHARES,
    STATIC_SENTENCES,
    SYNONYMS,
    caption,
    procedural_clip,
    rigged_clip,
    rigged_file,
    sample_training_clips,
    vocabulary,
)
from stages.zoo.samples import NUM_GAUSSIANS, SAMPLES


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_captions_name_verb_and_noun_in_known_words() -> None:
    known, generator = set(vocabulary()), _generator()
    for verb in [*INFLECTIONS, "static"]:
        wordings = {caption(verb, "horse", generator) for _ in range(60)}
        assert len(wordings) >= (len(STATIC_SENTENCES) if verb == "static" else 8)
        for sentence in wordings:
            assert {word.strip(",.") for word in sentence.split()} <= known, sentence
            if verb != "static":
                forms = {*INFLECTIONS[verb], *SYNONYMS.get(verb, ())}
                assert forms & set(sentence.split()) and "horse" in sentence
    for noun in [noun for rig in RIGS for noun in rig.nouns] + [noun for nouns in NOUNS.values() for noun in nouns]:
        assert noun in known, noun


def test_every_verb_has_bodies_and_every_clip_is_in_its_file() -> None:
    drawn = {verb for rig in RIGS for verb in rig.verbs} | {v for verbs in PROCEDURAL_VERBS.values() for v in verbs}
    assert set(SHARES) - {"static"} <= drawn
    assert abs(sum(SHARES.values()) - 1.0) < 1e-6
    for rig in RIGS:
        clips = rigged_file(rig.file).clips
        assert {name for name, _ in rig.verbs.values()} <= clips.keys()
        assert rig.rest is None or rig.rest in clips


def test_training_clips_move_unless_static_and_repeat_with_the_seed() -> None:
    first = list(sample_training_clips(_generator(), 40, 6))
    again = list(sample_training_clips(_generator(), 40, 6))
    assert [clip.caption for clip in first] == [clip.caption for clip in again]
    assert all(torch.equal(a.means, b.means) for a, b in zip(first, again, strict=True))
    assert len({clip.caption for clip in first}) > 30
    still = {sentence.format(noun="").split()[-1] for sentence in STATIC_SENTENCES} | {"static", "statue,"}
    for clip in first:
        torch.testing.assert_close(clip.means[0], clip.gaussians.means, atol=1e-5, rtol=0)
        moved = float((clip.means - clip.means[0]).norm(dim=-1).max())
        says_still = bool(still & set(clip.caption.split()))
        assert (moved < 1e-6) == says_still, clip.caption


def test_every_walk_swings_its_left_hind_leg_at_one_time() -> None:
    """Half a second into the clip it is ahead of where it stands, half a second later behind; its fellow opposite."""
    clips = {rig.file: rigged_clip(rig, "walk", 16, 800, _generator()) for rig in RIGS if "walk" in rig.verbs}
    clips |= {kind: procedural_clip(kind, "walk", 16, 800, _generator()) for kind in ("quadruped", "biped")}
    for name in ("Fox.glb", "Stegosaurus.glb", "Parasaurolophus.glb"):
        del clips[name]  # feet not told apart by where they stand
    for name, clip in clips.items():
        rest = clip.gaussians.means
        low = rest[:, 1] < rest[:, 1].min() + 0.12 * (rest[:, 1].max() - rest[:, 1].min())
        feet = low & (rest[:, 2] <= rest[low, 2].mean() + (0.0 if rest[low, 2].std() > 0.3 else 1.0))
        ahead = clip.means[:, :, 2] - rest[:, 2]
        left, right = (ahead[:, feet & (side * rest[:, 0] > 0.02)].mean(1) for side in (1, -1))
        swing = left - right
        assert swing[3:6].mean() > 0.1 > -0.1 > swing[10:13].mean(), (name, swing)


def test_sample_splats_are_what_their_rigs_give() -> None:
    """Shipped splats are readable, upright and of the size the script makes."""
    for name in [*SAMPLES, "bird"]:
        asset = read_ply(asset_path("splats", f"{name}.ply"))
        assert NUM_GAUSSIANS <= asset.num_gaussians < NUM_GAUSSIANS + 20 and asset.sh_degree == 0
        low, high = asset.bounds()
        assert 1.9 < float((high - low).max()) <= 2.001
    for path in asset_path("splats").glob("*.ply"):
        assert f"splats/{path.name}" in asset_path("CREDITS.md").read_text(), f"{path.name} has no credit"
    for path in asset_path("rigged").glob("*.glb"):
        assert path.name in asset_path("CREDITS.md").read_text(), f"{path.name} has no credit"
