"""``sample_video`` takes the steps that a prior's makers take, ends at a clip of the prior, and repeats itself."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from stages.errors import BadInput
from stages.objectives.sampling import sample_video
from stages.priors.exact import ExactPrior
from stages.priors.load import load_prior
from stages.priors.parameterization import Parameterization
from stages.priors.prior import Condition, Text, is_flow_map
from stages.priors.published import PublishedPrior
from stages.priors.sampling import SamplingDefaults, sampling_ladder
from tests.priors.test_against_diffusers import pipeline_of
from tests.priors.test_families import some_frames
from tests.priors.tiny_models import save_model, small_clips

FLOW = Parameterization.rectified_flow(shift=3.0)


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def two_clips(parameterization: Parameterization) -> tuple[ExactPrior, Tensor]:
    clips = torch.rand(2, 3, 8, 8, 3, generator=noise(5))
    return ExactPrior({"walk": clips[:1], "jump": clips[1:]}, parameterization), clips


@pytest.mark.parametrize("renoise", [False, True])
@pytest.mark.parametrize("kind", ["flow", "epsilon"])
def test_samples_what_the_prompt_says(kind: str, renoise: bool) -> None:
    betas = torch.linspace(1e-4, 0.02, 1000)
    prior, clips = two_clips(FLOW if kind == "flow" else Parameterization.from_betas(betas, "epsilon"))
    walk, none = (Condition(Text((prompt,))) for prompt in ("walk", ""))
    how = SamplingDefaults(steps=12, guidance=2.0, renoise=renoise)
    found = sample_video(prior, walk, none, noise(), how=how)
    torch.testing.assert_close(prior.decode(found), clips[0], atol=1e-3, rtol=0)


def test_the_same_noise_gives_the_same_clip_and_other_noise_another() -> None:
    prior, _ = two_clips(FLOW)
    nothing = Condition(Text(("",)))
    found = [sample_video(prior, nothing, None, noise(seed)) for seed in (0, 0, *range(1, 8))]
    assert torch.equal(found[0], found[1])
    assert any((other - found[0]).abs().max() > 0.1 for other in found[2:])


def test_few_steps_start_at_their_noise_levels_and_renoise_in_between() -> None:
    """Worked out by hand: clean estimates, and new noise from the same generator for each."""
    prior, clips = two_clips(FLOW)
    walk, predict = Condition(Text(("walk",))), prior.predict
    asked: list[float] = []
    seen: list[Tensor] = []

    def recording(latents: Tensor, timestep: int, condition: Condition) -> Tensor:
        asked.append(1000.0 * float(FLOW.sigmas[timestep]))
        seen.append(latents)
        return predict(latents, timestep, condition)

    prior.predict = recording  # type: ignore[method-assign]
    found = sample_video(prior, walk, None, noise(3), how=SamplingDefaults.few(1000.0, 757.0, 522.0, renoise=True))
    assert asked == pytest.approx([1000.0, 757.0, 522.0], abs=1.0)
    source, clean = noise(3), prior.encode(clips[0])
    first, second, third = (torch.randn(clean.shape, generator=source) for _ in range(3))
    levels = [level / 1000.0 for level in asked]
    torch.testing.assert_close(seen[0], first)
    torch.testing.assert_close(seen[1], (1 - levels[1]) * clean + levels[1] * second, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(seen[2], (1 - levels[2]) * clean + levels[2] * third, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found, clean, atol=1e-5, rtol=1e-5)


def test_the_ladder() -> None:
    assert sampling_ladder(FLOW, SamplingDefaults(steps=4)) == [999, 749, 499, 249]
    shifted = sampling_ladder(FLOW, SamplingDefaults(steps=4, shift=5.0))
    even = torch.tensor([1.0, 0.75, 0.5, 0.25], dtype=torch.float64)
    torch.testing.assert_close(FLOW.sigmas[shifted], 5 * even / (1 + 4 * even), atol=1e-3, rtol=0)
    few = sampling_ladder(FLOW, SamplingDefaults.few(1000.0, 500.0, renoise=True))
    torch.testing.assert_close(FLOW.sigmas[few], torch.tensor([1.0, 0.5]).double(), atol=1e-3, rtol=0)
    assert len(sampling_ladder(FLOW, SamplingDefaults(steps=5000))) == 1000
    with pytest.raises(BadInput, match="flow"):
        sampling_ladder(Parameterization.from_betas(torch.full((10,), 0.1), "epsilon"), SamplingDefaults(shift=2.0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"guidance": 0.5},
        {"shift": 0.0},
        {"steps": 3, "noise_levels": (1000.0, 500.0)},
        {"steps": 2, "noise_levels": (500.0, 1000.0)},
        {"steps": 2, "noise_levels": (1100.0, 500.0)},
    ],
)
def test_defaults_check_themselves(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        SamplingDefaults(**wrong)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["modelscope", "cogvideox", "wan", "wan-2.2-t2v"])
def test_ends_where_the_pipeline_ends(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same model, words, noise and guidance, by the schedulers that take this project's steps: DDIM, Euler."""
    folder = save_model(name, tmp_path / name)
    prior = load_prior(str(folder), profile="80gb", **small_clips(name))
    assert isinstance(prior, PublishedPrior)
    condition, negative = (Condition(text) for text in prior.encode_text(["a deer walks", ""]).split())
    how = SamplingDefaults(steps=5, guidance=4.0)
    pipeline = pipeline_of(name, folder, prior)
    if prior.parameterization.kind == "flow":
        pipeline.scheduler = scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
        levels = [prior.noise_levels[t] / 1000.0 for t in sampling_ladder(prior.parameterization, how)]
        monkeypatch.setattr(scheduler, "set_timesteps", partial(scheduler.set_timesteps, sigmas=levels))
    else:
        says = pipeline.scheduler.config | {"timestep_spacing": "trailing", "clip_sample": False}
        pipeline.scheduler = type(pipeline.scheduler).from_config(says)
    with torch.no_grad():
        like = prior.encode_still(torch.zeros(1, prior.clip.height, prior.clip.width, 3))
    latents = prior.noise(like, condition, noise())
    call: dict[str, Any] = {
        "prompt_embeds": condition.text.states,
        "negative_prompt_embeds": negative.text.states,
        "latents": latents.transpose(1, 2) if name == "cogvideox" else latents,
        "height": prior.clip.height,
        "width": prior.clip.width,
        "num_frames": prior.clip.num_frames,
        "num_inference_steps": 5,
        "guidance_scale": 4.0,
        "output_type": "latent",
    }
    theirs = pipeline(**call).frames
    theirs = theirs.transpose(1, 2) if name == "cogvideox" else theirs
    ours = sample_video(prior, condition, negative, noise(), how=how)
    other = sample_video(prior, condition, None, noise(), how=SamplingDefaults(steps=5))
    apart, far = (float((clip - theirs).norm() / theirs.norm()) for clip in (ours, other))
    assert apart < 1e-4 and far > 1e-3


@pytest.mark.filterwarnings("ignore")
def test_few_steps_end_where_the_renoising_scheduler_ends(tmp_path: Path) -> None:
    """Diffusers' consistency sampler for flow models, at FastWan's noise levels, with the same noise."""
    name = "fastwan-ti2v"
    folder = save_model(name, tmp_path / name)
    prior = load_prior(str(folder), profile="80gb", **small_clips(name))
    assert isinstance(prior, PublishedPrior)
    frame = (255.0 * some_frames(prior)[:1]).round() / 255.0
    with torch.no_grad():
        picture, like = prior.encode_picture(frame), prior.encode_still(frame)
    condition = Condition(prior.encode_text(["a deer walks"]), picture)
    levels = [prior.noise_levels[t] / 1000.0 for t in sampling_ladder(prior.parameterization, prior.sampling)]
    scheduler = diffusers.FlowMatchLCMScheduler()
    scheduler.set_timesteps = partial(scheduler.set_timesteps, sigmas=levels)  # type: ignore[method-assign]
    pipeline = pipeline_of(name, folder, prior)
    pipeline.scheduler = scheduler
    with torch.random.fork_rng():
        torch.manual_seed(7)  # the scheduler draws from there
        theirs = pipeline(
            image=frame.permute(0, 3, 1, 2),
            prompt_embeds=condition.text.states,
            latents=torch.randn(like.shape),
            height=32,
            width=32,
            num_frames=5,
            num_inference_steps=3,
            guidance_scale=1.0,
            output_type="latent",
        ).frames
    ours = sample_video(prior, condition, None, noise(7), like=like)
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(ours[:, :, 0], picture, atol=1e-3, rtol=1e-3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("steps", [1, 4])
def test_a_flow_map_goes_where_its_pipeline_goes(steps: int, tmp_path: Path) -> None:
    """By its own scheduler, which tells it where each step ends."""
    folder = save_model("anyflow", tmp_path / "anyflow")
    prior = load_prior(str(folder), profile="80gb", **small_clips("anyflow"))
    assert isinstance(prior, PublishedPrior) and is_flow_map(prior)
    condition = Condition(prior.encode_text(["a deer walks"]))
    with torch.no_grad():
        like = prior.encode_still(torch.zeros(1, 32, 32, 3))
    theirs = pipeline_of("anyflow", folder, prior)(
        prompt_embeds=condition.text.states,
        latents=prior.noise(like, condition, noise()),
        height=32,
        width=32,
        num_frames=5,
        num_inference_steps=steps,
        output_type="latent",
    ).frames
    how = SamplingDefaults(steps=steps)
    ours = sample_video(prior, condition, None, noise(), how=how)
    assert (ours - theirs).norm() < 1e-4 * theirs.norm()
    assert steps > 1 or not torch.equal(
        prior.predict_towards(like, 999, -1, condition), prior.predict(like, 999, condition)
    )
    assert how == prior.sampling or steps == 1
