"""What no camera sees moves as in the sample of the points prior that is most like what is seen."""

from __future__ import annotations

import pytest
import torch

from stages.assets import asset_path
from stages.cameras import orbit_camera
from stages.conventions import frame_times, step_generator
from stages.distilling.hidden import SAMPLE_STEPS, hidden_like
from stages.distilling.sampled import sampled_motion
from stages.distilling.tracks import Tracks
from stages.distilling.viewpoints import ViewsConfig, look_at
from stages.gaussians import Frames, Gaussians
from stages.gaussians.formats import read_splat
from stages.gaussians.normalised import Placement
from stages.gaussians.stand_in import stand_in
from stages.priors.load import load_prior
from stages.priors.points import PointsPrior, PointView, sees_points
from stages.raster import choose

PROMPT, FRAMES, FACING_DEG = "a deer jumps", 8, 0.0


@pytest.fixture(scope="module")
def deer() -> Gaussians:
    file = read_splat(asset_path("splats", "deer.ply"))
    return stand_in(Placement.of(file).normalised(file), 300)


@pytest.fixture(scope="module")
def prior() -> PointsPrior:
    found = load_prior("points")
    assert sees_points(found)
    return found


@pytest.fixture(scope="module")
@torch.no_grad()
def truth(deer: Gaussians, prior: PointsPrior) -> torch.Tensor:
    """Means [T, N, 3] of a motion that the prior itself draws, with another seed than the term's."""
    [view] = look_at(
        prior, deer, ViewsConfig(num_cameras=1), choose("cpu"), prompt=PROMPT, facing_deg=FACING_DEG, seed=3
    )
    assert isinstance(view, PointView)
    condition = prior.condition(prior.encode_text([PROMPT]), deer, view)
    latents = prior.sample(condition, step_generator(3, 0, stream=8), steps=SAMPLE_STEPS)
    return deer.means + sampled_motion(prior, latents, deer, view).displacements(deer.means, frame_times(FRAMES))


def tracks_of(deer: Gaussians, means: torch.Tensor, seen: torch.Tensor) -> Tracks:
    camera = orbit_camera(azimuth_deg=45.0, elevation_deg=10.0, radius=6.0, fov_deg=30.0, width=128, height=128)
    size = torch.full((len(deer.means),), 6.0 / float(camera.K[0, 0]))
    return Tracks(camera, camera.project(means), seen.float().expand(len(means), -1), size)


def test_what_is_hidden_is_drawn_where_it_is(deer: Gaussians, prior: PointsPrior, truth: torch.Tensor) -> None:
    seen = deer.means[:, 0] > 0.0
    tracks = tracks_of(deer, truth, seen)
    term, left = hidden_like(
        prior, deer, [tracks], frame_times(FRAMES), choose("cpu"),
        prompt=PROMPT, facing_deg=FACING_DEG, seed=0, weight=1.0,
    )  # fmt: skip
    assert left < 0.7  # another sample of the same sentence explains much of what is seen
    moved = deer.means.expand(FRAMES, -1, -1).clone().requires_grad_()
    [gradient] = torch.autograd.grad(term(Frames(deer, moved), torch.Generator()), [moved])
    assert bool((gradient[:, seen] == 0.0).all())
    pulled, away = -gradient[:, ~seen], (truth - deer.means)[:, ~seen]
    assert float((pulled * away).sum() / (pulled.norm() * away.norm())) > 0.5


def test_a_body_that_does_something_else_is_not_explained(
    deer: Gaussians, prior: PointsPrior, truth: torch.Tensor
) -> None:
    otherwise = deer.means - 3.0 * (truth - deer.means)
    everything = torch.ones(len(deer.means), dtype=torch.bool)
    _, left = hidden_like(
        prior, deer, [tracks_of(deer, otherwise, everything)], frame_times(FRAMES), choose("cpu"),
        prompt=PROMPT, facing_deg=FACING_DEG, seed=0, weight=1.0,
    )  # fmt: skip
    assert left >= 1.0
