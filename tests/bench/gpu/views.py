"""The part in which a model samples four views at once: MV-VDM (Animate3D) at true size."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

from stages.objectives.sample_views import FREEINIT, STEPS, sample_views
from stages.priors.load import load_prior
from stages.priors.multiview import MVVDMPrior
from stages.priors.prior import Text
from tests.bench.bench_mvvdm import GIB, fill, folder_for, true_parts
from tests.bench.gpu.parts import Job

TIMED = 4
"""Guided steps."""


def views(job: Job) -> None:
    """Sample, without FreeInit, in a few steps, and decode. Weights are random, which changes no figure; of a text
    encoder only what it says is there."""
    with TemporaryDirectory() as name:
        prior = tiny(Path(name)) if job.tiny else true_size(Path(name), job.device)
        clip, width = prior.clip, int(prior.denoiser_config["cross_attention_dim"])
        job.keep({"views": prior.num_views, "frames": clip.num_frames, "pixels": clip.width, "steps": TIMED})
        said = Text(("a deer walks",), states=torch.zeros(1, prior.max_tokens, width, device=job.device))
        pictures = torch.rand(prior.num_views, clip.height, clip.width, 3, device=job.device)
        moments: list[float] = []

        def tick(done: int) -> None:
            if job.device == "cuda":
                torch.cuda.synchronize()
            moments.append(time.perf_counter())

        with torch.no_grad():
            told = prior.given(said, pictures, torch.zeros(prior.num_views, 4, 4, device=job.device))
            if job.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            generator = torch.Generator().manual_seed(0)
            latents = sample_views(prior, told, told, generator, steps=TIMED + 1, freeinit=1, each=tick)
            seconds = median([later - sooner for sooner, later in pairwise(moments)])
            began = time.perf_counter()
            decoded = prior.decode_views(latents)
            tick(TIMED + 1)
    found = {
        "seconds_of_a_guided_step": round(seconds, 4),
        "seconds_of_decoding": round(moments[-1] - began, 3),
        "seconds_of_a_sample": round(STEPS * seconds + moments[-1] - began, 2),
        "seconds_of_a_sample_with_freeinit": round(FREEINIT * STEPS * seconds + moments[-1] - began, 2),
        "finite": bool(decoded.isfinite().all()),
    }
    if job.device == "cuda":
        found["gib_at_most"] = round(torch.cuda.max_memory_allocated() / GIB, 2)
    job.keep(found)
    print(f"  views: {found}", flush=True)


def true_size(folder: Path, device: str) -> MVVDMPrior:
    """With random weights, in bfloat16."""
    with torch.device(device):
        modules = true_parts()
    prior = load_prior(folder_for(modules, folder), device)
    assert isinstance(prior, MVVDMPrior)
    fill(prior, modules)
    return prior


def tiny(folder: Path) -> MVVDMPrior:
    """Two levels, for the tests."""
    from tests.priors.tiny_mvvdm import save_tiny

    prior = load_prior(str(save_tiny(folder / "tiny")), size_px=16, num_frames=4)
    assert isinstance(prior, MVVDMPrior)
    return prior
