"""What the parts of each stage cost with a published model: what ``bench_published`` measures and extrapolates.

The only file of the benchmarks for published models that takes the steps of ``fit_lora``, ``distill`` and ``refine``
apart.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Protocol, TypeVar

import torch

from stages import distill, fit_lora, refine
from stages.conventions import frame_times, step_generator
from stages.distilling.score import Score
from stages.distilling.viewpoints import sample_viewpoints
from stages.gaussians import Frames, Gaussians
from stages.motion.kinds import new_motion
from stages.objectives.msd import distillation_loss
from stages.objectives.sampling import ddim_denoise, interleaved
from stages.priors.lora import adapter_on, add_adapter
from stages.priors.prior import Condition, Observation, still
from stages.priors.published import PublishedPrior
from stages.raster import choose, render
from stages.settings import with_settings
from tests.bench.steps import distillation_of

Value = TypeVar("Value")
OBJECT, PROMPT = "deer", "a deer walks"
PROMPTS = (PROMPT, "", distill.NEGATIVE_PROMPT, fit_lora.STATIC_PROMPT.format(object=OBJECT))


class Make(Protocol):
    """How a stage comes to its model."""

    def __call__(self, *, compiled: bool = False, min_frames: int | None = None) -> PublishedPrior: ...


@dataclass
class Meter:
    """Seconds of each part of a stage, run by run, and its peak memory."""

    device: str
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def timed(self, part: str, work: Callable[[], Value]) -> Value:
        """``work``, whose seconds are written down."""
        self._synchronise()
        began = time.perf_counter()
        value = work()
        self._synchronise()
        self.seconds.setdefault(part, []).append(time.perf_counter() - began)
        return value

    def medians(self) -> dict[str, float]:
        """Of every part, without the first run where there are more: kernels are compiled and chosen in it."""
        return {part: round(median(values[1:] or values), 4) for part, values in self.seconds.items()}

    def peak_gib(self) -> float:
        """Of the card's tensors since this was made; on a CPU of the process so far."""
        if self.device == "cuda":
            return round(torch.cuda.max_memory_allocated() / 2**30, 2)
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)

    def _synchronise(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


WITHOUT_MODEL = ("field", "orientation", "render", "regularizers", "rest_backward", "optimiser")
"""Parts of a step of distill that cost the same whatever the model."""


def measure(
    make: Make,
    asset: Gaussians,
    device: str,
    steps: int,
    *,
    raster: str | None = None,
    keep: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """What a step of each stage costs, and the preset's minutes; ``keep`` is given what there is after each stage."""
    configs = preset_configs(device, raster)
    stages: dict[str, Any] = {}
    minutes: dict[str, float] = {}
    for stage, measured in (("fit_lora", measure_fit_lora), ("distill", measure_distill), ("refine", measure_refine)):
        stages[stage] = measured(make, asset, configs[stage], steps)
        minutes[stage] = stages[stage].pop("preset_minutes")
        keep(stages | {"preset_minutes_extrapolated": minutes})
    return {
        **stages,
        "preset_minutes_extrapolated": {**minutes, "all": round(sum(minutes.values()), 2)},
        "peak_gib_is_of": "the stage's tensors" if device == "cuda" else "the process so far",
    }


def measure_fit_lora(make: Make, asset: Gaussians, config: Any, steps: int) -> dict[str, Any]:
    """A step with one clip, and what a camera shows."""
    prior, meter, rasterizer = make(), Meter(config.device), choose(config.device, config.raster)
    text = prior.encode_text([PROMPTS[-1]])
    parameters = add_adapter(prior.denoiser, rank=config.rank, alpha=config.alpha, seed=config.seed)
    optimiser = torch.optim.AdamW([parameter for _, parameter in parameters], lr=config.learning_rate)
    (seen, *_) = sample_viewpoints(asset, prior.clip, config.views, rasterizer, seed=config.seed)

    @torch.no_grad()
    def look() -> fit_lora.StaticClip:
        return fit_lora.StaticClip(prior.encode_still(still(asset, seen)), prior.condition(text, asset, seen))

    for step in range(steps + 1):
        clip = meter.timed("view", look)

        def one_step(generator: torch.Generator, clip: fit_lora.StaticClip = clip) -> None:
            optimiser.zero_grad(set_to_none=True)
            fit_lora.denoising_loss(prior, clip, generator).backward()
            optimiser.step()

        with adapter_on(prior.denoiser):
            meter.timed("step", lambda s=step: one_step(step_generator(config.seed, s)))
    seconds = meter.medians()
    whole = config.views.num_cameras * seconds["view"] + config.steps * config.batch_size * seconds["step"]
    return {"seconds": seconds, "preset_minutes": round(whole / 60, 2), **clip_and_peak(prior, meter)}


def measure_distill(make: Make, asset: Gaussians, config: Any, steps: int) -> dict[str, Any]:
    """The parts of a step at the highest timestep; the way back through the encoder apart from the rest of it."""
    prior, meter = make(compiled=True), Meter(config.device)
    add_adapter(prior.denoiser, rank=4, alpha=4.0, seed=0)
    distillation = distillation_of(asset, prior, with_settings(config, {"views.num_cameras": 1}), PROMPTS[-1])
    motion = new_motion(config.motion, asset, config.seed)
    regularizers = motion.regularizers(asset, config.regularizers)
    optimiser = torch.optim.Adam(motion.parameter_groups(config.learning_rate))
    view, score = distillation.views[0], distillation.terms[0]
    assert isinstance(score, Score)
    seen, timestep = view.viewpoint, score.timesteps[-1]

    def penalties(frames: Frames, generator: torch.Generator) -> torch.Tensor:
        return torch.stack([term.weight * term(frames, generator) for term in regularizers]).sum()

    for step in range(steps + 1):
        generator = step_generator(config.seed, step)
        score._static_eps.clear()
        optimiser.zero_grad(set_to_none=True)
        meter.timed("static_branch", lambda: score.static_eps(view, timestep))
        moved = meter.timed("field", lambda: motion.at(asset, distillation.times))
        meter.timed("orientation", lambda m=moved: m.quats)
        cameras = [seen.camera] * moved.num_frames
        frames = meter.timed(
            "render", lambda m=moved, c=cameras: render(m, c, seen.rasterizer, background=seen.background).rgb
        )
        latents = meter.timed("encode", lambda f=frames: prior.encode(f))
        gradient = meter.timed("score", lambda x=latents, g=generator: score.gradient(x, view, timestep, g))
        penalty = meter.timed("regularizers", lambda m=moved, g=generator: penalties(m, g))
        loss = distillation_loss(Observation(latents), gradient)
        (pixels,) = meter.timed("encoder_backward", lambda x=loss, f=frames: torch.autograd.grad(x, f))
        meter.timed(
            "rest_backward",
            lambda f=frames, p=penalty, g=pixels: torch.autograd.backward((f, p), (g, torch.ones_like(p))),
        )
        meter.timed("optimiser", optimiser.step)
    seconds = meter.medians()
    without_model = sum(seconds[part] for part in WITHOUT_MODEL)
    total = without_model + sum(seconds[part] for part in ("encode", "score", "encoder_backward"))
    whole = config.views.num_cameras * config.score.num_timesteps * seconds["static_branch"] + config.steps * total
    return {
        "seconds": seconds,
        "step_seconds": round(total, 4),
        "share_of_score": round(seconds["score"] / total, 3),
        "share_without_model": round(without_model / total, 3),
        "preset_minutes": round(whole / 60, 2),
        **clip_and_peak(prior, meter),
    }


def measure_refine(make: Make, asset: Gaussians, config: Any, steps: int) -> dict[str, Any]:
    """The parts of a repair, of which each step of denoising is one, and a step of the field towards the videos."""
    prior, meter = make(compiled=True, min_frames=config.num_frames), Meter(config.device)
    rasterizer, started = choose(config.device, config.raster), distill.PRESETS["published"]
    motion = new_motion(started.motion, asset, started.seed)
    times = frame_times(config.num_frames, config.device)
    (seen, *_) = sample_viewpoints(asset, prior.clip, config.views, rasterizer, seed=config.seed)
    text, negative = prior.encode_text([PROMPT, ""]).split()
    timestep = prior.parameterization.timestep_at(config.strength)
    sets = interleaved(config.num_frames, prior.clip.num_frames)
    regularizers = motion.regularizers(asset, config.regularizers)
    optimiser = torch.optim.Adam(motion.parameter_groups(config.learning_rate))

    def fit(video: torch.Tensor, chosen: torch.Tensor, generator: torch.Generator) -> None:
        frames, cameras = motion.at(asset, times), [seen.camera] * len(chosen)
        images = render(frames.select(chosen), cameras, rasterizer, background=seen.background).rgb
        loss = (images - video[chosen]).abs().mean()
        for term in regularizers:
            loss = loss + term.weight * term(frames, generator)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    for step in range(steps + 1):
        video = meter.timed("render", lambda: refine.film(asset, motion, times, seen))
        with torch.no_grad():
            told = prior.condition(text, asset, seen)
            padded = torch.cat([sets[0], sets[0][-1:].expand(prior.clip.num_frames - len(sets[0]))])
            latents = meter.timed("encode", lambda v=video[padded]: prior.encode(v))
        away = Condition(negative, told.picture)
        denoised = meter.timed(
            "denoise_step",
            lambda x=latents, c=told, n=away: ddim_denoise(
                prior, x, timestep, c, 1, negative=n, guidance=config.guidance
            ),
        )
        meter.timed("decode", lambda x=denoised: prior.decode(x))
        generator = step_generator(config.seed, step)
        chosen = torch.randperm(len(times), generator=generator)[: config.frames_per_step]
        meter.timed("field_step", lambda v=video, c=chosen, g=generator: fit(v, c, g))
    seconds = meter.medians()
    repair = seconds["encode"] + config.denoise_steps * seconds["denoise_step"] + seconds["decode"]
    videos = config.views.num_cameras * (seconds["render"] + len(sets) * repair)
    whole = videos + config.steps * seconds["field_step"]
    return {"seconds": seconds, "preset_minutes": round(whole / 60, 2), **clip_and_peak(prior, meter)}


def clip_and_peak(prior: PublishedPrior, meter: Meter) -> dict[str, Any]:
    """What was measured, and what it needed."""
    clip = prior.clip
    return {
        "peak_gib": meter.peak_gib(),
        "frames": clip.num_frames,
        "pixels": [clip.width, clip.height],
        "dtype": str(prior.dtype),
    }


def preset_configs(device: str, raster: str | None = None) -> dict[str, Any]:
    """The settings for published models, stage by stage."""
    return {
        "fit_lora": replace(fit_lora.PRESETS["published"], object=OBJECT, device=device, raster=raster),
        "distill": replace(distill.PRESETS["published"], prompt=PROMPT, device=device, raster=raster),
        "refine": replace(refine.PRESETS["published"], device=device, raster=raster),
    }
