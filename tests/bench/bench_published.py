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
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch

from stages import distill, fit_lora, refine
from stages.assets import asset_path
from stages.conventions import step_generator
from stages.events import silent
from stages.gaussians import Gaussians
from stages.gaussians.formats.ply import read_ply
from stages.priors.catalogue import PEAK_TFLOPS as CARDS
from stages.priors.load import load_prior
from stages.priors.prior import Text
from stages.priors.published import PublishedPrior
from stages.run_dir import RunDir
from stages.zoo.clips import rigged_clip
from stages.zoo.rigs import find_rig
from tests.bench.bench_memory import REFINED_FRAMES, fake_prior, tflop
from tests.bench.published_stages import PROMPTS, Make, measure, preset_configs
from tests.bench.record import finish
from tests.bench.true_models import TRUE_MODELS, write_configs

PEAK_TFLOPS = {"H200": 989.0, "H100 PCIe": 756.0, "A100": 312.0, **CARDS}
"""Dense bfloat16 of cards whose name contains this, by their makers' sheets; the first that fits counts."""


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
    peak = options.peak_tflops or peak_tflops(card)
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


def peak_tflops(card: str) -> float | None:
    """What the card called ``card`` does at most in bfloat16; None where that is not known."""
    return next((tflops for name, tflops in PEAK_TFLOPS.items() if name in card), None)


def stage_tflop(name: str, profile: str, size_px: int | None = None) -> dict[str, dict[str, float]]:
    """TFLOP of the parts in which the model works, by stage."""
    with fake_prior(name, profile, size_px=size_px) as (prior, _, text):
        one = tflop(prior, text)
    with fake_prior(name, profile, REFINED_FRAMES, size_px) as (prior, _, text):
        longer = tflop(prior, text, adapted=False)
    inversions = distill.PRESETS["published"].score.inversion_steps
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
    rig = find_rig("Deer.glb")
    return rigged_clip(rig, "static", 1, count, step_generator(0, 0)).asset


def random_prior(
    name: str,
    device: str,
    profile: str,
    folder: Path,
    *,
    compiled: bool = False,
    min_frames: int | None = None,
    size_px: int | None = None,
) -> PublishedPrior:
    """A model of true shape whose weights are small random numbers, in bfloat16."""
    model = TRUE_MODELS[name]
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        parts = model.build()
    torch.set_default_dtype(torch.float32)
    write_configs(name, parts, folder)
    clips: dict[str, Any] = {"min_frames": min_frames, "size_px": size_px}
    prior = load_prior(str(folder), device, profile=profile, compiled=compiled, **clips)
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
