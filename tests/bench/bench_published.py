"""A step of distill, a step of fit-lora and a repair of refine with a published model at true size, random weights.

    python -m tests.bench.bench_published [--model MODEL] [--device cuda] [--steps 5] [--profile 24gb] [--compile]

Time and memory do not depend on what the weights are. Says seconds of every part, the share of the model, and the peak
memory: of the card, or on a CPU of the process. The last line is JSON; results go to ``results/published_DEVICE.json``.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch

from stages import distill, fit_lora, refine
from stages.assets import asset_path
from stages.conventions import step_generator
from stages.distill import Distillation, new_field
from stages.gaussians.neighbours import nearest_neighbours
from stages.gaussians.ply import read_ply
from stages.motion.hexplane import apply_offsets
from stages.motion.regularizers import arap, tv3d
from stages.objectives.msd import distillation_loss
from stages.priors.load import load_prior
from stages.priors.lora import adapter_on, add_adapter
from stages.priors.prior import Text
from stages.priors.published import PublishedPrior
from stages.raster import choose
from tests.bench.record import finish
from tests.bench.true_models import TRUE_MODELS, write_configs

Value = TypeVar("Value")


def main() -> None:
    """Build the model, run the parts, say what they cost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=next(iter(TRUE_MODELS)), choices=TRUE_MODELS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--profile", default="24gb")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    device, name = options.device, f"published_{options.device}" + "_compiled" * options.compile
    with TemporaryDirectory() as folder:
        prior = random_prior(options.model, device, options.profile, Path(folder), compiled=options.compile)
        result = measure(prior, device, options.steps)
    finish(
        name,
        {"model": options.model, "profile": options.profile, **result},
        f"python -m tests.bench.bench_published {' '.join(sys.argv[1:])}",
    )


def measure(prior: PublishedPrior, device: str, steps: int) -> dict[str, Any]:
    """Medians over ``steps``, after one that is not counted."""
    config = distill.PRESETS["published"]
    asset = read_ply(asset_path("splats", "deer.ply")).to(device)
    add_adapter(prior.denoiser, rank=4, alpha=4.0, seed=0)
    fast = {"device": device, "num_cameras": 2, "num_timesteps": 2, "prompt": "a"}
    config = type(config)(**{**vars(config), **fast})
    distillation = Distillation(asset, prior, choose(device), config, "")
    field = new_field(asset, config)
    neighbours, distances = nearest_neighbours(asset.means, config.neighbours)
    seconds: dict[str, list[float]] = {}

    def timed(part: str, work: Callable[[], Value]) -> Value:
        synchronise(device)
        began = time.perf_counter()
        value = work()
        synchronise(device)
        seconds.setdefault(part, []).append(time.perf_counter() - began)
        return value

    timestep = distillation.timesteps[-1]
    for step in range(steps + 1):
        distillation._static_eps.clear()
        timed("static_branch_uncached", lambda: distillation.static_eps(0, timestep))
        means, quats = timed("field", lambda: apply_offsets(asset, field(asset.means, distillation.times)))
        frames = timed("render", lambda m=means, q=quats: distillation.render(m, q, distillation.cameras[0]))
        latents = timed("encode", lambda f=frames: prior.encode(f))
        gradient = timed("score", lambda x=latents, s=step: distillation.gradient(x, 0, timestep, step_generator(0, s)))
        penalty = timed("regularizers", lambda m=means: tv3d(m) + arap(m, asset.means, neighbours, distances))
        timed("backward", (distillation_loss(latents, gradient) + penalty).backward)
        if not prior.compiled:  # fit-lora compiles nothing
            view = (distillation.stills[0], distillation.pictures[0])
            with adapter_on(prior.denoiser):
                timed("fit_lora_step", lambda v=view, s=step: lora_step(prior, *v, step_generator(0, s)))
        if step == 0:
            seconds.clear()  # kernels are compiled and chosen in the first
    video = distillation.render(*(tensor.detach() for tensor in (means, quats)), distillation.cameras[0])
    repaired = {**vars(refine.PRESETS["published"]), "device": device, "denoise_steps": 2}
    timed(
        "refine_of_2_steps",
        lambda: refine.sdedit(prior, video, video[:1], "a", refine.RefineConfig(**repaired), 0),
    )
    parts = {part: round(median(values), 4) for part, values in seconds.items()}
    in_step = ("field", "render", "encode", "score", "regularizers", "backward")
    total = sum(parts[part] for part in in_step)
    return {
        "seconds": parts,
        "step_seconds": round(total, 4),
        "share_of_score": round(parts["score"] / total, 3),
        "share_without_model": round(sum(parts[part] for part in ("field", "render", "regularizers")) / total, 3),
        "peak_gib": round(peak_bytes(device) / 2**30, 2),
        "frames": prior.clip.num_frames,
        "pixels": prior.clip.height,
        "dtype": str(prior.dtype),
    }


def lora_step(prior: PublishedPrior, still: Any, picture: Any, generator: torch.Generator) -> None:
    """Forward and backward of the adapter."""
    fit_lora.denoising_loss(prior, still, picture, prior.encode_text(["a"]), generator).backward()


def random_prior(name: str, device: str, profile: str, folder: Path, *, compiled: bool = False) -> PublishedPrior:
    """A model of true shape whose weights are small random numbers, in bfloat16."""
    model = TRUE_MODELS[name]
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        parts = model.build()
    torch.set_default_dtype(torch.float32)
    write_configs(name, parts, folder)
    prior = load_prior(str(folder), device, profile=profile, compiled=compiled)
    assert isinstance(prior, PublishedPrior)
    prior.dtype = torch.bfloat16
    parts.hand_to(prior)
    tokens, width = model.text
    states = 0.1 * torch.randn(1, tokens, width, dtype=prior.dtype, device=device)
    mask = torch.ones(1, tokens, dtype=torch.long, device=device)
    for prompt in ("", "a", distill.NEGATIVE_PROMPT):
        prior._texts[prompt] = Text((prompt,), states=states, mask=mask)
    return prior


def synchronise(device: str) -> None:
    """Wait for the card."""
    if device == "cuda":
        torch.cuda.synchronize()


def peak_bytes(device: str) -> int:
    """Of the card's tensors, or of this process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
