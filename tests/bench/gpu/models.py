"""The parts in which models work: ModelScope at true size, and the default prior from end to end."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from stages import distill, fit_lora
from stages.assets import asset_path
from stages.events import Event, Progress, Started
from stages.gaussians import Gaussians
from stages.gaussians.formats.ply import read_ply
from stages.gaussians.stand_in import stand_in
from stages.priors.published import PublishedPrior
from stages.run_dir import RunDir
from tests.bench.bench_published import add_utilisation, peak_tflops, random_prior, stage_tflop
from tests.bench.gpu.parts import Job, rasterizer_for
from tests.bench.published_stages import measure
from tests.bench.true_models import TRUE_MODELS, TrueModel

MODEL, PROFILE = "ali-vilab/text-to-video-ms-1.7b", "24gb"
STEPS = 5
PROMPT, OBJECT = "a jumping deer", "deer"
CPU_STEPS = 8
"""Of distill, for seconds a step on this machine's processor."""


def published(job: Job) -> None:
    """What a step of each stage costs with a model whose weights are random, which changes none of it.

    Utilisation is of the peak that the card's maker names; where that is not known, of the measured matrix product.
    """
    raster = rasterizer_for(job)
    steps, side, size_px = (1, 256, 32) if job.tiny else (STEPS, 8192, None)
    name = tiny_model() if job.tiny else MODEL
    measured = matmul_tflops(job.device, side)
    peak = (peak_tflops(torch.cuda.get_device_name()) if job.device == "cuda" else None) or measured
    asset = deer(job)
    job.keep({"model": name, "profile": PROFILE, "num_gaussians": asset.num_gaussians, "steps": steps})
    job.keep({"matmul_tflops_measured": measured, "matmul_side": side})
    with TemporaryDirectory() as folder:

        def make(*, compiled: bool = False, min_frames: int | None = None) -> PublishedPrior:
            gc.collect()
            if job.device == "cuda":
                torch.cuda.empty_cache()  # of the stage before
            return random_prior(name, job.device, PROFILE, Path(folder), min_frames=min_frames, size_px=size_px)

        found = measure(make, asset, job.device, steps, raster=raster, keep=job.keep)
    job.keep(found)
    work = stage_tflop(name, PROFILE, size_px)
    add_utilisation(found, work, peak)
    job.keep({"tflop": work, **found})
    print(f"  minutes of the preset: {found['preset_minutes_extrapolated']}", flush=True)


def tiny_model() -> str:
    """The name in ``TRUE_MODELS`` under which a model of ModelScope's classes, as small as they come, is put there."""
    from tests.priors.tiny_models import MODELS

    pipeline, build, _ = MODELS["modelscope"]
    TRUE_MODELS["tests/tiny-modelscope"] = TrueModel(
        pipeline=pipeline,
        denoiser=lambda: build()["unet"],
        vae=lambda: build()["vae"],
        scheduler=lambda: build()["scheduler"],
        billions=0.0,
        text_encoder=0,
        text=(77, build()["unet"].config.cross_attention_dim),
    )
    return "tests/tiny-modelscope"


def matmul_tflops(device: str, size: int) -> float:
    """What a product of square bfloat16 matrices of random numbers comes to: the median of ten after three."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(13):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        a @ b
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return round(2.0 * size**3 / median(seconds[3:]) / 1e12, 3)


def deer(job: Job) -> Gaussians:
    """The sample splat; a few of its Gaussians at tiny size."""
    asset = read_ply(asset_path("splats", "deer.ply"))
    return (stand_in(asset, 300) if job.tiny else asset).to(job.device)


@dataclass
class Watch:
    """When the steps of a stage began and ended, from what it reports."""

    name: str
    steps: int = 0
    began: float = 0.0
    last: float = 0.0
    created: float = field(default_factory=time.perf_counter)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            self.began, self.steps = time.perf_counter(), 0
        if isinstance(event, Progress):
            self.steps, self.last = event.step, time.perf_counter()

    def found(self) -> dict[str, float]:
        """Seconds of the whole stage so far, and of its steps, which include checkpoints and previews."""
        whole = time.perf_counter() - self.created
        stepping = self.last - self.began
        rate = self.steps / stepping if stepping > 0.0 else 0.0
        return {"seconds": round(whole, 2), "steps": self.steps, "steps_per_second": round(rate, 3)}


def default_prior(job: Job) -> None:
    """``fit-lora`` and ``distill`` as ``make demo`` calls them, and a few steps of them on the processor."""
    raster = rasterizer_for(job)
    few = 2 if job.tiny else None
    with TemporaryDirectory() as folder:
        job.keep({"stages": end_to_end(Path(folder) / "run", job, raster, few, few)})
        if job.device == "cuda":
            on_cpu = replace(job, device="cpu")
            job.keep({"on_cpu": end_to_end(Path(folder) / "cpu", on_cpu, "cpu", 2, CPU_STEPS)})


def end_to_end(folder: Path, job: Job, raster: str, lora_steps: int | None, steps: int | None) -> dict[str, Any]:
    """Both stages in a run directory of their own; ``None``: as many steps as the preset has."""
    run = RunDir(folder)
    run.put_asset(deer(job).to("cpu"), "deer.ply", force=False)
    there = {"device": job.device, "raster": raster}
    lora = replace(fit_lora.PRESETS["default"], object=OBJECT, **there)
    moving = replace(distill.PRESETS["default"], prompt=PROMPT, **there)
    lora = lora if lora_steps is None else replace(lora, steps=lora_steps)
    moving = moving if steps is None else replace(moving, steps=steps)
    found: dict[str, Any] = {"device": job.device}
    for name, stage, config in (("fit_lora", fit_lora, lora), ("distill", distill, moving)):
        watch = Watch(name)
        stage.run(run, config, watch)
        found[name] = watch.found()
        job.keep({f"so_far_{job.device}": found})
        print(f"  {name} on {job.device}: {found[name]}", flush=True)
    return found
