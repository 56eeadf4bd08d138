"""What the shipped weights know: where pixels go for every verb, judged by the rendered truth."""

from __future__ import annotations

import pytest
import torch

from stages.cameras import orbit_camera
from stages.conventions import step_generator
from stages.gaussians import Frames
from stages.objectives.pixel_flow import predicted_pair
from stages.priors.load import load_prior
from stages.priors.prior import Condition, motions_named
from stages.raster import choose, render, render_flow
from stages.zoo.captions import INFLECTIONS, caption
from stages.zoo.clips import procedural_clip, rigged_clip
from stages.zoo.rigs import find_rig

PRIOR = load_prior("embedded-video")
RASTERIZE = choose("cpu")


def clip_of(body: str, verb: str) -> Frames:
    generator = torch.Generator().manual_seed(4)
    if body == "bird":
        return procedural_clip("bird", verb, 16, 2000, generator)
    rig = find_rig(f"{body}.glb")
    return rigged_clip(rig, verb, 16, 2000, generator)


def predicted_and_true(clip: Frames, prompt: str, azimuth_deg: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Flow [T, H, W, 2] on the asset's pixels, at the noise at which ``distill`` works."""
    camera = orbit_camera(azimuth_deg=azimuth_deg, elevation_deg=12.0, radius=4.4, fov_deg=35.0, width=64, height=64)
    still = PRIOR.encode(render(clip.asset, [camera], RASTERIZE, background=torch.ones(3)).rgb)
    noise = torch.randn(1, still.shape[1], 16, *still.shape[3:], generator=step_generator(0, 0))
    told = (Condition(PRIOR.encode_text([words]), still[:, :, 0]) for words in (prompt, ""))
    flow = predicted_pair(PRIOR, still.expand_as(noise), noise, 970, *told)[1]
    moves, alpha = render_flow(clip.asset, camera, RASTERIZE, clip.means)
    return alpha * flow, moves


@pytest.mark.parametrize(
    ("body", "verb", "prompt"),
    [
        ("Deer", "walk", "a walking deer"),
        ("Horse", "walk", "a horse walks"),
        ("Deer", "jump", "a jumping deer"),
        ("Deer", "eat", "a grazing deer"),
        ("bird", "fly", "a flying bird"),
        ("Dolphin", "swim", "a swimming dolphin"),
        ("Leela", "walk", "a walking robot"),
        ("Wolf", "attack", "an attacking wolf"),
    ],
)
def test_knows_where_pixels_go(body: str, verb: str, prompt: str) -> None:
    """Cosine with the truth over two views; from the side, where wings hide each other, a bird's is 0.35 only."""
    views = (20.0, 150.0) if body == "bird" else (75.0, -60.0)
    pairs = [predicted_and_true(clip_of(body, verb), prompt, azimuth) for azimuth in views]
    predicted, true = (torch.stack(flows).flatten() for flows in zip(*pairs, strict=True))
    assert torch.nn.functional.cosine_similarity(predicted, true, dim=0) > 0.6


def test_what_stands_still_stays() -> None:
    """Nothing goes as far as half a pixel for a statue, though the same picture walks when asked to."""
    clip = clip_of("Deer", "static")
    statue, _ = predicted_and_true(clip, "a static deer", 75.0)
    walking, _ = predicted_and_true(clip, "a walking deer", 75.0)
    assert statue.abs().max() < 0.5 < 2.0 < walking.abs().max()


OUTSIDE = (
    "a goat plays the piano",
    "a deer reads a book",
    "a robot cooks dinner",
    "the fish drives a car",
    "a cat knitting a jumper",
)


@pytest.mark.parametrize("prompt", OUTSIDE)
def test_knows_what_it_does_not_know(prompt: str) -> None:
    assert not motions_named(PRIOR, prompt)


@pytest.mark.parametrize("verb", [*INFLECTIONS, "static"])
def test_every_sentence_of_its_world_names_a_motion(verb: str) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        sentence = caption(verb, "okapi", generator)
        expected = "stand still" if verb == "static" else verb
        assert expected in motions_named(PRIOR, sentence.upper()), sentence
