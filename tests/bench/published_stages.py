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
from stages.distill import Distillation, new_field
from stages.gaussians import Gaussians
from stages.gaussians.neighbours import nearest_neighbours
from stages.motion.regularizers import arap, tv3d
from stages.objectives.msd import distillation_loss
from stages.objectives.sampling import ddim_denoise, interleaved
from stages.priors.lora import adapter_on, add_adapter
from stages.priors.published import PublishedPrior
from stages.raster import choose, render

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
    one_camera = replace(config, num_cameras=1)
    for step in range(steps + 1):
        ((still, picture),) = meter.timed("view", lambda: fit_lora.static_views(asset, prior, rasterizer, one_camera))

        def one_step(generator: torch.Generator, still: Any = still, picture: Any = picture) -> None:
            optimiser.zero_grad(set_to_none=True)
            fit_lora.denoising_loss(prior, still, picture, text, generator).backward()
            optimiser.step()

        with adapter_on(prior.denoiser):
            meter.timed("step", lambda s=step: one_step(step_generator(config.seed, s)))
    seconds = meter.medians()
    whole = config.num_cameras * seconds["view"] + config.steps * config.batch_size * seconds["step"]
    return {"seconds": seconds, "preset_minutes": round(whole / 60, 2), **clip_and_peak(prior, meter)}


def measure_distill(make: Make, asset: Gaussians, config: Any, steps: int) -> dict[str, Any]:
    """The parts of a step at the highest timestep; the way back through the encoder apart from the rest of it."""
    prior, meter = make(compiled=True), Meter(config.device)
    add_adapter(prior.denoiser, rank=4, alpha=4.0, seed=0)
    distillation = Distillation(
        asset, prior, choose(config.device, config.raster), replace(config, num_cameras=1), PROMPTS[-1]
    )
    motion = new_field(asset, config)
    optimiser = torch.optim.Adam(motion.parameter_groups(config.grid_learning_rate))
    camera, timestep = distillation.cameras[0], distillation.timesteps[-1]
    neighbours, distances = distillation.neighbours, distillation.distances

    def regularizers(means: torch.Tensor, anchors: torch.Tensor | None) -> torch.Tensor:
        stiff = arap(means, asset.means, neighbours, distances, anchors)
        return config.tv_weight * tv3d(means) + config.arap_weight * stiff

    for step in range(steps + 1):
        generator = step_generator(config.seed, step)
        distillation._static_eps.clear()
        optimiser.zero_grad(set_to_none=True)
        meter.timed("static_branch", lambda: distillation.static_eps(0, timestep))
        moved = meter.timed("field", lambda: motion.at(asset, distillation.times))
        means = moved.means
        meter.timed("orientation", lambda m=moved: m.quats)
        frames = meter.timed("render", lambda m=moved: distillation.render(m, camera))
        latents = meter.timed("encode", lambda f=frames: prior.encode(f))
        gradient = meter.timed("score", lambda x=latents, g=generator: distillation.gradient(x, 0, timestep, g))
        anchors = distillation.draw_anchors(generator)
        penalty = meter.timed("regularizers", lambda m=means, a=anchors: regularizers(m, a))
        loss = distillation_loss(latents, gradient) / latents[0].numel()
        (pixels,) = meter.timed("encoder_backward", lambda x=loss, f=frames: torch.autograd.grad(x, f))
        meter.timed(
            "rest_backward",
            lambda f=frames, p=penalty, g=pixels: torch.autograd.backward((f, p), (g, torch.ones_like(p))),
        )
        meter.timed("optimiser", optimiser.step)
    seconds = meter.medians()
    without_model = sum(seconds[part] for part in WITHOUT_MODEL)
    total = without_model + sum(seconds[part] for part in ("encode", "score", "encoder_backward"))
    whole = config.num_cameras * config.num_timesteps * seconds["static_branch"] + config.steps * total
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
    rasterizer, motion = (
        choose(config.device, config.raster),
        new_field(asset, distill.PRESETS["published"]).to(config.device),
    )
    times, background = frame_times(config.num_frames, config.device), torch.full((3,), 1.0, device=config.device)
    (camera,) = Distillation.sample_cameras(asset, prior.clip, replace(distill.PRESETS["published"], num_cameras=1))
    camera = camera.to(config.device)
    text, negative = prior.encode_text([PROMPT, ""]).split()
    timestep = prior.parameterization.timestep_at(config.strength)
    sets = interleaved(config.num_frames, prior.clip.num_frames)
    neighbours, distances = nearest_neighbours(asset.means, config.neighbours)
    optimiser = torch.optim.Adam(motion.parameter_groups(config.grid_learning_rate))

    def fit(video: torch.Tensor, chosen: torch.Tensor) -> None:
        frames = motion.at(asset, times)
        means = frames.means
        images = render(frames.select(chosen), [camera] * len(chosen), rasterizer, background=background).rgb
        stiff = arap(means[chosen], asset.means, neighbours, distances)
        loss = (images - video[chosen]).abs().mean() + config.tv_weight * tv3d(means) + config.arap_weight * stiff
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    for step in range(steps + 1):
        video, still = meter.timed(
            "render", lambda: refine._render(asset, motion, times, camera, rasterizer, background)
        )
        with torch.no_grad():
            picture = prior.encode_picture(still)
            padded = torch.cat([sets[0], sets[0][-1:].expand(prior.clip.num_frames - len(sets[0]))])
            latents = meter.timed("encode", lambda v=video[padded]: prior.encode(v))
        denoised = meter.timed(
            "denoise_step",
            lambda x=latents, p=picture: ddim_denoise(prior, x, timestep, text, 1, p, negative, config.guidance),
        )
        meter.timed("decode", lambda x=denoised: prior.decode(x))
        chosen = torch.randperm(len(times), generator=step_generator(config.seed, step))[: config.frames_per_step]
        meter.timed("field_step", lambda v=video, c=chosen: fit(v, c))
    seconds = meter.medians()
    repair = seconds["encode"] + config.denoise_steps * seconds["denoise_step"] + seconds["decode"]
    videos = config.num_cameras * (seconds["render"] + len(sets) * repair)
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
