"""The points prior: what it sees, predicts and samples; and the training step that it learns by."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stages.cameras import Camera
from stages.errors import BadInput
from stages.events import Caution, Event
from stages.gaussians import Frames, Gaussians
from stages.geometry.trajectories import NUM_FUNCTIONS, basis_of
from stages.priors.find import kind_of
from stages.priors.load import load_prior
from stages.priors.points import PointsPrior, PointView
from stages.priors.points.model import Told
from stages.priors.points.noise import body_noise
from stages.priors.points.variety import ALIKE, difference, unlike
from stages.priors.prior import Viewpoint
from stages.raster import choose
from stages.training.points import in_phase
from tests.motion.test_hexplane import asset
from tests.priors.points.tiny import save_tiny, tiny_points_prior


def view_of(gaussians: Gaussians, *, cyclic: bool, facing_deg: float = 0.0) -> PointView:
    camera = Camera(viewmat=torch.eye(4), K=torch.eye(3), width=16, height=16)
    viewpoint = Viewpoint(camera, torch.ones(3), choose("cpu"))
    return tiny_points_prior().look_at(gaussians, viewpoint, cyclic=cyclic, facing_deg=facing_deg, seed=0)


def moved(gaussians: Gaussians, cyclic: bool) -> tuple[Frames, Tensor]:
    """Frames whose points have the returned coefficients [N, K, 3]."""
    basis = basis_of(cyclic)
    coefficients = 0.1 * torch.randn(
        gaussians.num_gaussians, NUM_FUNCTIONS, 3, generator=torch.Generator().manual_seed(3)
    )
    away = basis.displacements(coefficients, basis.times())  # [N, T, 3]
    return Frames(gaussians, gaussians.means + away.transpose(0, 1)), coefficients


@pytest.mark.parametrize("facing_deg", [0.0, 90.0, -30.0])
def test_what_it_observes_gives_the_paths_back_however_the_body_faces(facing_deg: float) -> None:
    gaussians, prior = asset(40), tiny_points_prior()
    view = view_of(gaussians, cyclic=True, facing_deg=facing_deg)
    frames, coefficients = moved(gaussians, cyclic=True)
    latents = prior.observe(frames, view).latents
    assert latents is not None
    torch.testing.assert_close(prior.paths(latents, view)[0], coefficients[view.indices], rtol=1e-4, atol=1e-5)


def test_a_body_that_faces_x_is_seen_as_one_that_faces_z() -> None:
    gaussians = asset(40)
    turned = gaussians.means[:, [2, 1, 0]] * torch.tensor([1.0, 1.0, -1.0])  # +z to +x
    rest = view_of(gaussians, cyclic=False).rest(gaussians)
    other = replace(gaussians, means=turned)
    torch.testing.assert_close(view_of(other, cyclic=False, facing_deg=90.0).rest(other), rest, rtol=1e-4, atol=1e-5)


def test_gradients_reach_the_means_that_are_looked_at() -> None:
    gaussians, prior = asset(40), tiny_points_prior()
    view = view_of(gaussians, cyclic=False)
    means = gaussians.means.expand(16, -1, -1).clone().requires_grad_()
    latents = prior.observe(Frames(gaussians, means), view).latents
    assert latents is not None
    latents.square().sum().backward()
    assert latents.abs().max() < 1e-5  # nothing moves
    assert means.grad is not None


def test_samples_are_its_own_prediction_denoised_and_the_same_for_the_same_seed() -> None:
    gaussians, prior = asset(40), tiny_points_prior()
    view = view_of(gaussians, cyclic=True)
    [text] = prior.encode_text(["a walking dog"]).split()
    condition = prior.condition(text, gaussians, view)
    first, again = (prior.sample(condition, torch.Generator().manual_seed(1), count=2, steps=3) for _ in range(2))
    assert torch.equal(first, again) and first.shape == (2, 3 * NUM_FUNCTIONS, 40)
    assert not torch.equal(first[0], first[1])


def test_the_prediction_is_the_same_whether_there_will_be_a_backward_pass_or_not() -> None:
    model, generator = tiny_points_prior().model, torch.Generator().manual_seed(0)
    model.network.requires_grad_(True)
    none = torch.zeros(2, dtype=torch.long)
    told = Told(torch.rand(2, 70, 3, generator=generator), none, none, none)
    noise = body_noise(told.rest, 3 * NUM_FUNCTIONS, generator)
    learning = model.clean(noise, torch.ones(2), told)
    assert learning.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(model.clean(noise, torch.ones(2), told), learning.detach(), atol=1e-5, rtol=1e-4)


def test_words_are_numbers_and_no_word_is_another() -> None:
    text = tiny_points_prior().encode_text(["a dog trots along", "it leaps", "a statue", ""])
    assert text.pooled is not None and text.pooled[:, 0].tolist()[0] == 0 and text.pooled[3, 0] == 3
    assert text.pooled[1, 0] == 1


def test_noise_has_variance_one_and_is_alike_where_points_are_near() -> None:
    points = torch.rand(1, 400, 3, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0
    points[0, 200:] = points[0, :200] + 0.01
    noise = body_noise(points, 300, torch.Generator().manual_seed(1))[0]
    assert 0.9 < float(noise.var()) < 1.1
    near = float((noise[:, :200] * noise[:, 200:]).mean())
    assert 0.6 < near < 0.8  # all but the white share


def test_a_loop_is_brought_into_phase_and_other_motions_are_left() -> None:
    basis = basis_of(True)
    truth = torch.randn(2, 30, NUM_FUNCTIONS, 3)
    shifted = torch.stack([basis.shifted(one, 5 / 16) for one in truth])
    found = in_phase(truth, shifted, torch.tensor([1, 0]))
    torch.testing.assert_close(found[0], shifted[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(found[1], truth[1])


def test_a_folder_gives_the_same_prior_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    name = save_tiny(tmp_path / "prior")
    assert kind_of(name) == "points"
    prior, other = tiny_points_prior(), load_prior(name)
    told = Told(torch.rand(1, 9, 3), torch.tensor([1]), torch.tensor([3]), torch.tensor([0]))
    x, level = torch.randn(1, 3 * NUM_FUNCTIONS, 9), torch.ones(1)
    torch.testing.assert_close(
        other.model.clean(x, level, told), prior.model.clean(x, level, told), rtol=0.02, atol=0.02
    )
    (tmp_path / "prior" / "points" / "diffusion_pytorch_model.safetensors").write_bytes(b"no")
    with pytest.raises(BadInput, match="prior"):
        load_prior(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("verbs", [["walk", "", 1.0], ["jump", False, 0.8], ["static", False, 1.0]]),
        ("verbs", [["walk", True, -1.0], ["jump", False, 0.8], ["static", False, 1.0]]),
        ("verbs", [["walk", True, 10**400], ["jump", False, 0.8], ["static", False, 1.0]]),
        ("verbs", [["walk", True, 1.0]]),
        ("manners", []),
        ("scales", [[0.1]]),
        ("scales", [[0.0] * NUM_FUNCTIONS] * 2),
        ("unfamiliar", "very"),
        ("amplitude", "far"),
        ("amplitude", 0.0),
    ],
)
def test_an_index_that_lies_is_named(tmp_path: Path, name: str, said: object) -> None:
    index = Path(save_tiny(tmp_path)) / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {name: said}))
    with pytest.raises(BadInput, match=str(tmp_path)):
        load_prior(str(tmp_path))


def test_varied_samples_differ_and_say_in_whose_manner_they_are() -> None:
    gaussians, prior = asset(40), tiny_points_prior()
    view = view_of(gaussians, cyclic=True)
    [text] = prior.encode_text(["a walking dog"]).split()
    condition = prior.condition(text, gaussians, view)
    found, ways = prior.varied(condition, torch.Generator().manual_seed(1), count=3, steps=3)
    assert ways[0] == "" and set(ways[1:]) == {"dogs/Walk", "cats/Walk"}
    paths = prior.paths(found, view)
    assert min(difference(paths[0], paths[k], cyclic=True) for k in (1, 2)) >= ALIKE
    more, ways = prior.varied(condition, torch.Generator().manual_seed(1), count=7, steps=3)
    assert len(more) == 7 and ways.count("") == 5  # it knows two manners, and draws the rest with the manner open


def test_the_manners_of_a_verb_come_with_shares_that_add_up() -> None:
    gaussians, prior = asset(40), tiny_points_prior()
    view = view_of(gaussians, cyclic=True)
    [text] = prior.encode_text(["a walking dog"]).split()
    found = prior.manners(prior.condition(text, gaussians, view), torch.Generator().manual_seed(1))
    assert {manner.name for manner, _ in found} == {"dogs/Walk", "cats/Walk"}
    assert sum(share for _, share in found) == pytest.approx(1.0, abs=1e-5) and found[0][1] >= found[1][1]


def test_of_alike_motions_the_unlike_are_chosen() -> None:
    basis = basis_of(True)
    one, other = torch.randn(2, 30, NUM_FUNCTIONS, 3, generator=torch.Generator().manual_seed(0))
    motions = torch.stack([one, basis.shifted(one, 0.25), other, 1.01 * one])
    assert unlike(motions, 2, cyclic=True) == [0, 2]
    assert unlike(motions, 2, cyclic=False) == [0, 1]
    assert unlike(motions, 3, cyclic=True) == [0, 1, 2]


def test_samples_go_as_far_as_the_index_says(tmp_path: Path) -> None:
    gaussians, prior = asset(40), tiny_points_prior()
    condition = prior.condition(prior.encode_text(["a walking dog"]), gaussians, view_of(gaussians, cyclic=True))
    sizes = []
    for amplitude in (1.0, 1.2):
        prior.model.amplitude = amplitude
        [drawn] = prior.sample(condition, torch.Generator().manual_seed(1), steps=3)
        [varied], _ = prior.varied(condition, torch.Generator().manual_seed(1), count=1, steps=3)
        sizes.append((float(drawn.norm()), float(varied.norm())))
    assert all(1.05 < far / near < 1.3 for near, far in zip(*sizes, strict=True))
    prior.save(tmp_path / "prior")
    kept = load_prior(str(tmp_path / "prior"))
    assert isinstance(kept, PointsPrior) and kept.model.amplitude == 1.2
    index = tmp_path / "prior" / "model_index.json"
    told = json.loads(index.read_text())
    del told["amplitude"]
    index.write_text(json.dumps(told))
    former = load_prior(str(tmp_path / "prior"))
    assert isinstance(former, PointsPrior) and former.model.amplitude == 1.0


def test_an_unfamiliar_body_gets_a_caution_and_the_measure_is_kept(tmp_path: Path) -> None:
    gaussians, prior = asset(40), tiny_points_prior()
    condition = prior.condition(prior.encode_text(["a walking dog"]), gaussians, view_of(gaussians, cyclic=True))
    doubt = float(prior.model.doubt(prior.told(condition, 1), torch.Generator().manual_seed(1))[0])
    assert 0.0 < doubt <= math.log(3) + 1e-5  # three manners
    said: list[Event] = []
    for limit, cautions in ((doubt + 0.01, 0), (doubt - 0.01, 1)):
        prior.model.unfamiliar = limit
        said.clear()
        prior.tell_of_body(condition, torch.Generator().manual_seed(1), said.append)
        assert len(said) == cautions
    assert isinstance(said[0], Caution) and "unfamiliar body" in said[0].text
    prior.save(tmp_path / "prior")
    kept = load_prior(str(tmp_path / "prior"))
    assert isinstance(kept, PointsPrior) and kept.model.unfamiliar == pytest.approx(prior.model.unfamiliar, abs=1e-3)
