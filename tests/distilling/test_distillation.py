"""One step of ``distill`` against computations by hand, on two Gaussians and a motion of three numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
import torch
from torch import Tensor, nn

from stages.cameras import orbit_camera
from stages.conventions import step_generator
from stages.distilling.distillation import Distillation, ObjectiveConfig
from stages.distilling.pixel_flow import PixelFlowConfig
from stages.distilling.score import Score, ScoreConfig
from stages.errors import BadInput
from stages.gaussians import Frames, Gaussians
from stages.motion.regularizers import TotalVariation
from stages.objectives.inversion import ddim_invert
from stages.objectives.msd import weight
from stages.priors.exact import ExactPrior
from stages.priors.parameterization import Parameterization
from stages.priors.prior import Condition, Viewpoint
from stages.raster import choose, render

SIZE, FRAMES = 12, 3
PROMPTS = ("jump", "", "sway")
BACKGROUND = torch.ones(3, dtype=torch.float64)


class Shift:
    """Everything goes along ``offset`` [3], evenly in time."""

    kind = "shift"

    def __init__(self, offset: tuple[float, float, float]) -> None:
        self.offset = nn.Parameter(torch.tensor(offset, dtype=torch.float64))

    def displacements(self, points: Tensor, frame_times: Tensor) -> Tensor:
        return (frame_times.double()[:, None, None] * self.offset).expand(-1, len(points), 3)

    def at(self, asset: Gaussians, frame_times: Tensor) -> Frames:
        return Frames(asset, asset.means + self.displacements(asset.means, frame_times))

    def parameter_groups(self, learning_rate: float) -> list[dict[str, object]]:
        return [{"params": [self.offset], "lr": learning_rate}]

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        yield "offset", self.offset

    def regularizers(self, asset: Gaussians, config: object) -> list[TotalVariation]:
        return [TotalVariation(0.3)]

    def tensors(self) -> dict[str, Tensor]:
        return {"offset": self.offset.detach()}

    def metadata(self) -> dict[str, str]:
        return {"kind": self.kind}


def two_gaussians() -> Gaussians:
    return Gaussians(
        means=torch.tensor([[-0.4, 0.1, 0.0], [0.5, -0.2, 0.2]], dtype=torch.float64),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.9, 0.1, 0.3, 0.2]], dtype=torch.float64),
        log_scales=torch.tensor([[-1.2, -1.5, -1.4], [-1.3, -1.1, -1.6]], dtype=torch.float64),
        logit_opacities=torch.tensor([1.0, 0.5], dtype=torch.float64),
        sh=torch.tensor([[[1.0, -0.5, 0.2]], [[-0.8, 0.4, 0.9]]], dtype=torch.float64),
    )


def viewpoint() -> Viewpoint:
    camera = orbit_camera(azimuth_deg=20.0, elevation_deg=10.0, radius=4.0, fov_deg=40.0, width=SIZE, height=SIZE)
    return Viewpoint(camera, BACKGROUND, choose("cpu", "reference"))


def pictures(asset: Gaussians, motion: Shift) -> Tensor:
    """The moving asset, [T, H, W, 3]."""
    seen, times = viewpoint(), torch.linspace(0.0, 1.0, FRAMES)
    return render(motion.at(asset, times), [seen.camera] * FRAMES, seen.rasterizer, background=BACKGROUND).rgb


def world(predicted_flow: Tensor | None = None) -> tuple[Gaussians, ExactPrior]:
    """The asset, and a prior that knows it jump (by two heights) and hardly sway; it predicts a pixel flow where one is
    given."""
    asset = two_gaussians()
    with torch.no_grad():
        clips: Mapping[str, Tensor] = {
            "jump": torch.stack([pictures(asset, Shift((0.0, height, 0.0))) for height in (0.3, 0.5)]),
            "sway": torch.stack([pictures(asset, Shift((aside, 0.0, 0.0))) for aside in (0.0, 0.1)]),
        }
    schedule = Parameterization.from_betas(torch.linspace(0.001, 0.02, 200, dtype=torch.float64), "epsilon")
    prior = ExactPrior(clips, schedule)
    if predicted_flow is not None:
        prior.predict_pixel_flow = lambda latents, timestep, condition: predicted_flow  # type: ignore[attr-defined]
    return asset, prior


def distillation(config: ObjectiveConfig, predicted_flow: Tensor | None = None) -> Distillation:
    asset, prior = world(predicted_flow)
    return Distillation(asset, prior, [viewpoint()], PROMPTS, config, steps=10, seed=0)


def slope(asset: Gaussians, motion: Shift, axis: int, step: float = 1e-5) -> Tensor:
    """How the latents of the moving asset change with one number of the motion, by central differences."""
    either = []
    for sign in (1.0, -1.0):
        moved = Shift(tuple(motion.offset.detach().tolist()))  # type: ignore[arg-type]
        moved.offset.data[axis] += sign * step
        with torch.no_grad():
            either.append(2.0 * pictures(asset, moved) - 1.0)
    return (either[0] - either[1]) / (2.0 * step)


@pytest.mark.parametrize("objective", ["msd", "sds"])
def test_the_gradient_of_a_step_is_the_score_times_the_slope_of_the_pictures(objective: str) -> None:
    """``sum g dz/dp / n`` with g written out from Eq. 5 (or DreamFusion's Eq. 3), plus TV's own slope."""
    score = ScoreConfig(
        objective=objective,  # type: ignore[arg-type]
        weight=2.0, every=1, guidance=3.0, inversion_steps=2, own_noise=False, start_noise="fixed",
        timestep_min=0.3, timestep_max=0.3, timestep_max_end=0.3, num_timesteps=1, blur=0.0,
    )  # fmt: skip
    steps = distillation(ObjectiveConfig(score=score, pixel_flow=PixelFlowConfig(weight=0.0)))
    motion, (asset, prior) = Shift((0.05, 0.1, -0.02)), world()
    losses = steps.step(motion, motion.regularizers(asset, None), step=0)
    losses["loss"].backward()

    generator = step_generator(0, 0)
    torch.randint(0, 1, (), generator=generator)  # the viewpoint
    torch.randint(0, 1, (), generator=generator)  # the timestep
    jump, null, still = (Condition(prior.encode_text([prompt])) for prompt in PROMPTS)
    with torch.no_grad():
        latents = prior.encode(pictures(asset, motion))
        fresh = torch.randn(latents.shape, generator=generator).to(latents)
        timestep = prior.parameterization.timestep_at(0.3)
        if objective == "sds":
            x_t, against = prior.parameterization.add_noise(latents, fresh, timestep), fresh
        else:
            fixed = torch.randn(latents.shape, generator=step_generator(0, 0, stream=2)).to(latents)
            at_rest = prior.encode_still(pictures(asset, Shift((0.0, 0.0, 0.0)))[:1])
            x_t = ddim_invert(prior, latents, timestep, jump, 2, fixed)
            x_s = ddim_invert(prior, at_rest, timestep, still, 2, fixed)
            against = prior.predict(x_s, timestep, still)
        uncond, cond = prior.predict(x_t, timestep, null), prior.predict(x_t, timestep, jump)
        g = weight(prior.parameterization, timestep) * (uncond + 3.0 * (cond - uncond) - against)
    g = g[0].permute(1, 2, 3, 0)  # [T, H, W, C] as pictures
    for axis in range(3):
        by_score = 2.0 * float((g * slope(asset, motion, axis)).sum() / g.numel())
        by_tv = 0.3 * float(motion.offset.detach()[axis].sign()) / (FRAMES - 1)
        assert float(motion.offset.grad[axis]) == pytest.approx(by_score + by_tv, rel=1e-5, abs=1e-9)  # type: ignore[index]


def test_the_gradient_of_the_pixel_flow_is_linear_least_squares() -> None:
    """With the weights w_i(p) of the asset at rest: ``2 sum_p w_i (sum_j w_j m_j - alpha f) dm_i/dp / sum_p alpha``."""
    flow = torch.randn(2, 2, FRAMES, SIZE, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    config = ObjectiveConfig(score=ScoreConfig(weight=0.0), pixel_flow=PixelFlowConfig(weight=1.5, guidance=1.0))
    steps = distillation(config, flow)
    motion, asset, seen = Shift((0.05, 0.1, -0.02)), two_gaussians(), viewpoint()
    losses = steps.step(motion, [], step=0)
    losses["loss"].backward()
    shares = []
    for index in range(2):  # w_i: the picture when only Gaussian i is white
        colors = torch.zeros(2, 3, dtype=torch.float64)
        colors[index] = 1.0
        shares.append(
            seen.rasterizer(
                asset.means[None], asset.quats[None], asset.scales, asset.opacities, colors,
                seen.camera.viewmat.double()[None], seen.camera.K.double()[None], SIZE, SIZE,
            ).rgb[0, ..., 0]
        )  # fmt: skip
    w = torch.stack(shares)  # [2, H, W]
    alpha, target = w.sum(dim=0), flow[1].permute(1, 2, 3, 0)
    camera = seen.camera
    double = type(camera)(viewmat=camera.viewmat.double(), K=camera.K.double(), width=SIZE, height=SIZE)
    times = torch.linspace(0.0, 1.0, FRAMES, dtype=torch.float64)

    def error(offset: Tensor) -> Tensor:
        moves = double.project(asset.means + times[:, None, None] * offset) - double.project(asset.means)  # [T, 2, 2]
        there = torch.einsum("ihw,tic->thwc", w.double(), moves)
        return (there - alpha[..., None] * target).square().sum() / (FRAMES * alpha.sum())

    offset = motion.offset.detach().clone().requires_grad_()
    (expected,) = torch.autograd.grad(1.5 * error(offset), offset)
    torch.testing.assert_close(motion.offset.grad, expected, atol=1e-6, rtol=1e-5)
    assert float(losses["pixel_flow"].detach()) == pytest.approx(float(error(offset.detach())), rel=1e-6)


def test_msd_subtracts_the_static_branch_and_computes_it_once() -> None:
    """The gradient with the static branch is that without it less the branch, times w(t), and the branch depends on the
    viewpoint and the timestep alone."""
    config = ScoreConfig(
        guidance=1.0, inversion_steps=1, start_noise="fixed", static_branch="prompt",
        timestep_min=0.5, timestep_max=0.95, timestep_max_end=0.95,
    )  # fmt: skip
    steps = distillation(ObjectiveConfig(score=config, pixel_flow=PixelFlowConfig(weight=0.0)))
    view, prior = steps.views[0], steps.prior
    (dual,) = steps.terms
    assert isinstance(dual, Score)
    single = Score(prior, ScoreConfig(**{**vars(config), "static_branch": "none"}), steps=10, seed=0)
    latents = prior.encode(pictures(two_gaussians(), Shift((0.0, 0.2, 0.0)))).detach()
    timestep = dual.timesteps[-1]
    both = dual.gradient(latents, view, timestep, step_generator(0, 0))
    moving = single.gradient(latents, view, timestep, step_generator(0, 0))
    branch = dual.static_eps(view, timestep)
    torch.testing.assert_close(moving - both, weight(prior.parameterization, timestep) * branch)
    assert branch.abs().max() > 1e-6  # there is something to subtract
    assert dual.static_eps(view, timestep) is branch
    assert dual.static_eps(view, dual.timesteps[0]) is not branch


def test_what_keeps_a_motion_plausible_counts_less_and_less() -> None:
    """TV's weight is 0.3; of ten steps, half are done in step 5. A regularizer that is no guess keeps its weight."""
    config = ObjectiveConfig(score=ScoreConfig(weight=0.0), regularizers_left=0.01)
    steps, motion = distillation(config), Shift((0.0, 0.1, 0.0))
    for step, share in ((0, 1.0), (5, 0.1)):
        losses = steps.step(motion, motion.regularizers(steps.asset, None), step)
        assert float(losses["loss"].detach()) == pytest.approx(share * 0.3 * float(losses["tv"].detach()))
    kept = steps.step(motion, [TotalVariation(0.3, name="ground")], 5)
    assert float(kept["loss"].detach()) == pytest.approx(0.3 * float(kept["ground"].detach()))


def test_terms_take_part_when_they_are_due() -> None:
    flow = torch.zeros(2, 2, FRAMES, SIZE, SIZE, dtype=torch.float64)
    config = ObjectiveConfig(score=ScoreConfig(every=2, timestep_min=0.3), pixel_flow=PixelFlowConfig())
    steps = distillation(config, flow)
    motion = Shift((0.0, 0.1, 0.0))
    named = [set(steps.step(motion, motion.regularizers(steps.asset, None), step)) for step in range(3)]
    assert named == [{"loss", "score", "pixel_flow", "tv"}, {"loss", "pixel_flow", "tv"}, named[0]]


def drawn(config: ScoreConfig, steps: int = 100) -> list[list[float]]:
    """What may be drawn in each step, as fractions of the schedule."""
    prior = world()[1]
    score, last = Score(prior, config, steps=steps, seed=0), prior.parameterization.num_timesteps - 1
    found = []
    for step in range(steps):
        seen = {score.draw_timestep(step, step_generator(seed, step)) for seed in range(60)}
        found.append(sorted(timestep / last for timestep in seen))
    return found


def test_both_ends_of_the_timesteps_are_annealed_and_then_stay() -> None:
    config = ScoreConfig(
        objective="sds", timestep_min=0.5, timestep_min_end=0.1, timestep_max=0.9, timestep_max_end=0.4,
        anneal_share=0.5, num_timesteps=101,
    )  # fmt: skip
    found = drawn(config)
    for step, (lower, upper) in ((0, (0.5, 0.9)), (25, (0.3, 0.65)), (50, (0.1, 0.4)), (99, (0.1, 0.4))):
        assert lower - 0.01 < found[step][0] < lower + 0.04 and upper - 0.04 < found[step][-1] < upper + 0.01, step


def test_without_ends_of_its_own_the_lower_end_stays() -> None:
    found = drawn(ScoreConfig(timestep_min=0.2, timestep_max=0.8, timestep_max_end=0.1, num_timesteps=7))
    assert [round(timestep, 1) for timestep in found[0]] == [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    assert {found[step][0] for step in range(100)} == {found[0][0]}
    assert len(found[50]) == 3 and len(found[99]) == 1  # to 0.45; below the lowest


@pytest.mark.parametrize("ends", [(0.6, 0.5), (-0.1, 0.5)])
def test_ends_that_are_no_range(ends: tuple[float, float]) -> None:
    with pytest.raises(BadInput, match="no range"):
        ScoreConfig(timestep_min=0.5, timestep_max=0.9, timestep_min_end=ends[0], timestep_max_end=ends[1])
