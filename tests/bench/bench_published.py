"""Every stage with a published model at true size and random weights: seconds, utilisation, memory, and the minutes of
the preset.

    python -m tests.bench.bench_published [--model MODEL] [--device cuda] [--steps 5] [--profile 24gb] [--compile]
        [--gaussians N] [--peak-tflops X] [--full]

None of these depends on what the weights are. Each stage gets a model of its own, as on the command line. Medians of
``--steps`` after one that is not counted. Minutes are those of ``--preset published``, extrapolated from the seconds of
a step, without previews and checkpoints; ``--full`` runs the stages themselves and says what they took. Utilisation is
what ``bench_memory`` counts (with what is worked out again) over seconds and the card's peak in bfloat16; there is none
on a CPU. Peak memory is that of the stage's tensors on a card, on a CPU that of the process so far. The last line is
JSON; results go to ``results/published_DEVICE_MODEL.json``.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar
from unittest.mock import patch

import torch

from stages import distill, fit_lora, refine
from stages.assets import asset_path
from stages.conventions import frame_times, step_generator
from stages.distill import Distillation, new_field
from stages.events import silent
from stages.gaussians import Gaussians
from stages.gaussians.formats.ply import read_ply
from stages.gaussians.neighbours import nearest_neighbours
from stages.motion.hexplane import apply_offsets
from stages.motion.regularizers import arap, tv3d
from stages.objectives.msd import distillation_loss
from stages.objectives.sampling import ddim_denoise
from stages.priors.load import load_prior
from stages.priors.lora import adapter_on, add_adapter
from stages.priors.prior import Text
from stages.priors.published import PublishedPrior
from stages.raster import choose, render
from stages.run_dir import RunDir
from stages.zoo.clips import RIGS, rigged_clip
from tests.bench.bench_memory import REFINED_FRAMES, fake_prior, tflop
from tests.bench.record import finish
from tests.bench.true_models import TRUE_MODELS, write_configs

Value = TypeVar("Value")
PEAK_TFLOPS = {"H200": 989.0, "RTX 4090": 165.0}
"""Dense bfloat16 of cards whose name contains this."""
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


def main() -> None:
    """Build the model, run the stages' parts, say what they cost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=next(iter(TRUE_MODELS)), choices=TRUE_MODELS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--profile", default="24gb")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--gaussians", type=int, help="default: those of the sample; the preset allows 100,000")
    parser.add_argument("--peak-tflops", type=float, help="of the card in bfloat16; default: by its name")
    parser.add_argument("--full", action="store_true", help="run the stages with the preset from start to end too")
    options = parser.parse_args()
    device = options.device
    card = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    peak = options.peak_tflops or next((tflops for name, tflops in PEAK_TFLOPS.items() if name in card), None)
    asset = sample(options.gaussians).to(device)
    with TemporaryDirectory() as folder:

        def make(*, compiled: bool = False, min_frames: int | None = None) -> PublishedPrior:
            gc.collect()
            if device == "cuda":
                torch.cuda.empty_cache()
            options_ = {"compiled": compiled and options.compile, "min_frames": min_frames}
            return random_prior(options.model, device, options.profile, Path(folder), **options_)

        stages = measure(make, asset, device, options.steps)
        if peak is not None:
            add_utilisation(stages, stage_tflop(options.model, options.profile), peak)
        result = {"model": options.model, "profile": options.profile, "gaussians": asset.num_gaussians, **stages}
        if options.full:
            result["full_minutes"] = full(make, asset, Path(folder), preset_configs(device))
    name = "_".join(("published", slug(card), slug(options.model.split("/")[1]), *["compiled"] * options.compile))
    finish(name, result, f"python -m tests.bench.bench_published {' '.join(sys.argv[1:])}")


def measure(make: Make, asset: Gaussians, device: str, steps: int) -> dict[str, Any]:
    """What a step of each stage costs, and the preset's minutes."""
    configs = preset_configs(device)
    stages = {
        "fit_lora": measure_fit_lora(make, asset, configs["fit_lora"], steps),
        "distill": measure_distill(make, asset, configs["distill"], steps),
        "refine": measure_refine(make, asset, configs["refine"], steps),
    }
    minutes = {stage: found.pop("preset_minutes") for stage, found in stages.items()}
    return {
        **stages,
        "preset_minutes_extrapolated": {**minutes, "all": round(sum(minutes.values()), 2)},
        "peak_gib_is_of": "the stage's tensors" if device == "cuda" else "the process so far",
    }


def measure_fit_lora(make: Make, asset: Gaussians, config: Any, steps: int) -> dict[str, Any]:
    """A step with one clip, and what a camera shows."""
    prior, meter, rasterizer = make(), Meter(config.device), choose(config.device)
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
    distillation = Distillation(asset, prior, choose(config.device), replace(config, num_cameras=1), PROMPTS[-1])
    motion = new_field(asset, config)
    optimiser = torch.optim.Adam(motion.parameter_groups(config.grid_learning_rate, config.mlp_learning_rate))
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
        means, quats = meter.timed("field", lambda: apply_offsets(asset, motion(asset.means, distillation.times)))
        frames = meter.timed("render", lambda m=means, q=quats: distillation.render(m, q, camera))
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
    without_model = sum(seconds[part] for part in ("field", "render", "regularizers", "rest_backward", "optimiser"))
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
    rasterizer, motion = choose(config.device), new_field(asset, distill.PRESETS["published"]).to(config.device)
    times, background = frame_times(config.num_frames, config.device), torch.full((3,), 1.0, device=config.device)
    (camera,) = Distillation.sample_cameras(asset, prior.clip, replace(distill.PRESETS["published"], num_cameras=1))
    camera = camera.to(config.device)
    text, negative = prior.encode_text([PROMPT, ""]).split()
    timestep = prior.parameterization.timestep_at(config.strength)
    sets = refine.interleaved(config.num_frames, prior.clip.num_frames)
    neighbours, distances = nearest_neighbours(asset.means, config.neighbours)
    optimiser = torch.optim.Adam(motion.parameter_groups(config.grid_learning_rate, config.mlp_learning_rate))

    def fit(video: torch.Tensor, chosen: torch.Tensor) -> None:
        means, quats = apply_offsets(asset, motion(asset.means, times))
        moved = {"means": means[chosen], "quats": quats[chosen]}
        images = render(asset, [camera] * len(chosen), rasterizer, **moved, background=background).rgb
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


def preset_configs(device: str) -> dict[str, Any]:
    """The settings for published models, stage by stage."""
    return {
        "fit_lora": replace(fit_lora.PRESETS["published"], object=OBJECT, device=device),
        "distill": replace(distill.PRESETS["published"], prompt=PROMPT, device=device),
        "refine": replace(refine.PRESETS["published"], device=device),
    }


def stage_tflop(name: str, profile: str) -> dict[str, dict[str, float]]:
    """TFLOP of the parts in which the model works, by stage."""
    with fake_prior(name, profile) as (prior, _, text):
        one = tflop(prior, text)
    with fake_prior(name, profile, REFINED_FRAMES) as (prior, _, text):
        longer = tflop(prior, text)
    inversions = distill.PRESETS["published"].inversion_steps
    return {
        "fit_lora": {"step": one["fit_lora_step"]},
        "distill": {
            "static_branch": (inversions + 1) * one["evaluation"],
            "encode": one["encode"],
            "score": (inversions + 2) * one["evaluation"],
            "encoder_backward": one["encode_and_back"] - one["encode"],
        },
        "refine": {
            "encode": longer["encode"],
            "denoise_step": 2 * longer["evaluation"],
            "decode": longer["decode"],
        },
    }


def add_utilisation(stages: dict[str, Any], work: Mapping[str, Mapping[str, float]], peak_tflops: float) -> None:
    """To each stage, of each part in which the model works, the share of ``peak_tflops`` that it came to."""
    for stage, parts in work.items():
        seconds = stages[stage]["seconds"]
        stages[stage]["utilisation"] = {
            part: round(tflops / seconds[part] / peak_tflops, 4) for part, tflops in parts.items()
        }
    stages["peak_tflops"] = peak_tflops


def full(make: Make, asset: Gaussians, folder: Path, configs: Mapping[str, Any]) -> dict[str, float]:
    """Minutes of the stages themselves, one after the other, with previews and checkpoints."""
    run = RunDir(folder / "run")
    run.put_asset(asset.to("cpu"), "sample", force=False)
    minutes = {}
    for name, stage in (("fit_lora", fit_lora), ("distill", distill), ("refine", refine)):

        def given(*_: Any, compiled: bool = False, min_frames: int | None = None, **__: Any) -> PublishedPrior:
            return make(compiled=compiled, min_frames=min_frames)

        began = time.perf_counter()
        config = configs[name]
        with patch.object(stage, "load_prior", given):
            stage.run(run, replace(config, prior=str(folder)), silent)
        minutes[name] = round((time.perf_counter() - began) / 60, 2)
    return minutes


def sample(count: int | None) -> Gaussians:
    """The sample deer; or as many Gaussians of the mesh that it was made from."""
    if count is None:
        return read_ply(asset_path("splats", "deer.ply"))
    rig = next(rig for rig in RIGS if rig.file == "Deer.glb")
    return rigged_clip(rig, "static", 1, count, step_generator(0, 0)).gaussians


def random_prior(
    name: str, device: str, profile: str, folder: Path, *, compiled: bool = False, min_frames: int | None = None
) -> PublishedPrior:
    """A model of true shape whose weights are small random numbers, in bfloat16."""
    model = TRUE_MODELS[name]
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        parts = model.build()
    torch.set_default_dtype(torch.float32)
    write_configs(name, parts, folder)
    prior = load_prior(str(folder), device, profile=profile, compiled=compiled, min_frames=min_frames)
    assert isinstance(prior, PublishedPrior)
    prior.dtype = torch.bfloat16
    parts.hand_to(prior)
    tokens, width = model.text
    states = 0.1 * torch.randn(1, tokens, width, dtype=prior.dtype, device=device)
    mask = torch.ones(1, tokens, dtype=torch.long, device=device)
    for prompt in PROMPTS:
        prior._texts[prompt] = Text((prompt,), states=states, mask=mask)
    return prior


def slug(name: str) -> str:
    """For the name of a file."""
    return name.lower().replace(" ", "-").replace("/", "-")


if __name__ == "__main__":
    main()
