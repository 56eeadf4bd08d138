"""Drawn bodies: every kind makes its motions, legs alternate, limbs keep their length, seeds decide everything."""

from __future__ import annotations

import pytest
import torch

from stages.zoo.clips import BUILDERS, PROCEDURAL_VERBS, procedural_clip

MOTIONS = [(kind, verb) for kind, verbs in PROCEDURAL_VERBS.items() for verb in verbs]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("kind", "verb"), MOTIONS)
def test_a_motion_starts_at_rest_and_moves(kind: str, verb: str) -> None:
    for seed in range(3):
        clip = procedural_clip(kind, verb, 12, 250, _generator(seed))
        torch.testing.assert_close(clip.means[0], clip.asset.means, atol=1e-5, rtol=0)
        assert clip.means.isfinite().all()
        torch.testing.assert_close(clip.quats.norm(dim=-1), torch.ones(clip.quats.shape[:2]))
        moved = (clip.means - clip.means[0]).norm(dim=-1).amax(dim=0)
        # the least, a nod, moves the head alone: the most moved 3 % of the Gaussians go 0.05 or more
        assert float(moved.quantile(0.97)) > 0.05, (kind, verb, seed)


@pytest.mark.parametrize("kind", BUILDERS)
def test_bodies_are_centred_size_two_and_static_when_asked(kind: str) -> None:
    clip = procedural_clip(kind, "static", 3, 800, _generator(4))
    low, high = clip.asset.bounds()
    torch.testing.assert_close((high - low).max(), torch.tensor(2.0))
    torch.testing.assert_close(low + high, torch.zeros(3), atol=1e-5, rtol=0)
    assert torch.equal(clip.means[0], clip.means[2]) and torch.equal(clip.quats[0], clip.quats[2])
    assert 800 <= clip.asset.num_gaussians < 850
    rgb = 0.5 + 0.28209479177387814 * clip.asset.sh[:, 0]
    assert float(rgb.min()) >= 0.0 and float(rgb.max()) <= 1.0


LEGS = [
    ("quadruped", "HL", "HR"),
    ("quadruped", "FL", "FR"),
    ("biped", "legL", "legR"),
    ("theropod", "thighL", "thighR"),
]


@pytest.mark.parametrize(("kind", "left", "right"), LEGS)
def test_walking_legs_alternate(kind: str, left: str, right: str) -> None:
    """One leg's swing is the other's half a cycle later, and the left one comes forward first."""
    body = BUILDERS[kind](_generator(), 200)
    phase = torch.linspace(0.0, 1.0, 41)
    pose = body.pose("walk", phase, 1.0)
    angle = [2 * pose.rotations[:-1, body.names.index(name), 1].asin() for name in (left, right)]
    torch.testing.assert_close(angle[0], angle[1].roll(20), atol=1e-4, rtol=0)
    assert float(torch.corrcoef(torch.stack(angle))[0, 1]) < -0.9
    if left != "FL":  # front legs follow a quarter of a cycle later
        foot = body.body.weights[:, body.names.index({"HL": "HLk", "legL": "shinL", "thighL": "footL"}[left])] > 0.5
        ahead = body.body.animate(pose).means[:, foot, 2].mean(dim=1)
        assert float(ahead[8]) > float(ahead[0])  # +z is ahead


def test_knees_bend_backwards_and_hands_go_up() -> None:
    quadruped, biped = BUILDERS["quadruped"](_generator(), 200), BUILDERS["biped"](_generator(), 200)
    pose = quadruped.pose("walk", torch.linspace(0, 1, 21), 1.0)
    assert float(pose.rotations[:, quadruped.names.index("FLk"), 1].min()) >= 0.0
    wave = biped.body.animate(biped.pose("wave", torch.tensor([0.0, 0.5]), 1.0)).means
    hand = biped.body.weights[:, biped.names.index("foreR")] > 0.5
    assert float(wave[1, hand, 1].mean()) > float(wave[0, hand, 1].mean()) + 0.3
    assert float(biped.body.gaussians.means[hand, 0].mean()) < 0.0  # left is +x


def test_a_jump_goes_up_and_comes_back() -> None:
    for kind in ("quadruped", "biped", "theropod"):
        height = procedural_clip(kind, "jump", 16, 300, _generator(2)).means[..., 1].mean(dim=1)
        assert int(height.argmax()) in range(6, 12)
        assert float(height.max() - height[0]) > 0.15
        assert abs(float(height[-1] - height[0])) < 0.05
        assert float(height[1:5].min()) < float(height[0])  # crouches first


def test_limbs_keep_their_length() -> None:
    body = BUILDERS["biped"](_generator(), 300)
    clip = body.body.animate(body.pose("run", torch.linspace(0, 1, 7), 1.0))
    for joint in ("shinL", "armR", "head"):
        own = (body.body.weights[:, body.names.index(joint)] > 0.5).nonzero()[:, 0]
        lengths = torch.stack([torch.cdist(frame[own], frame[own]) for frame in clip.means])
        torch.testing.assert_close(lengths, lengths[:1].expand_as(lengths), atol=2e-3, rtol=1e-3)


def test_the_seed_decides_everything() -> None:
    one, same, other = (procedural_clip("bird", "fly", 4, 200, _generator(seed)) for seed in (5, 5, 6))
    assert torch.equal(one.means, same.means) and torch.equal(one.asset.sh, same.asset.sh)
    assert one.means.shape != other.means.shape or not torch.equal(one.means, other.means)
