"""One part in this process: what it finds is kept while it goes, and so is what stops it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.bench.gpu import results

WHERE = {
    "build": "checks.build",
    "doctor": "checks.doctor",
    "kernels": "kernels.kernels",
    "tests": "checks.marked_tests",
    "published": "models.published",
    "views": "views.views",
    "default": "models.default_prior",
}
"""Part -> module and function, imported when the part begins: one that lacks a package leaves the others alone."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a part is told."""

    device: str
    tiny: bool
    keep: Callable[[dict[str, Any]], None]  # adds to the result, at once

    @property
    def backend(self) -> str:
        """The rasterizer that is tried."""
        return "gsplat" if self.device == "cuda" else "cpu"


def run_part(part: str, folder: Path, device: str, tiny: bool, command: str) -> int:
    """Run ``part`` and write its result; 0 when it found no fault."""
    found = results.header(device, tiny, command)
    began = time.perf_counter()

    def keep(more: dict[str, Any]) -> None:
        found.update(more)
        found["seconds_of_part"] = round(time.perf_counter() - began, 1)
        results.write(part, folder, found)

    keep({})
    try:
        module, function = WHERE[part].split(".")
        if device == "cuda":
            for_this_card()
        getattr(import_module(f"tests.bench.gpu.{module}"), function)(Job(device=device, tiny=tiny, keep=keep))
    except Exception as error:  # whatever it is, it is the result of this part, and the next part runs
        traceback.print_exc()
        said = (str(error).strip().splitlines() or [""])[0]
        keep({"error": f"{type(error).__name__}: {said}"})
        return 1
    keep({"done": True})
    return 0


def for_this_card() -> None:
    """Kernels are compiled for the card that is here, and for no other."""
    import os

    import torch

    major, minor = torch.cuda.get_device_capability()
    os.environ.setdefault("TORCH_CUDA_ARCH_LIST", f"{major}.{minor}")


def rasterizer_for(job: Job) -> str:
    """The backend that the stages are told to take: gsplat where its kernels load, else ``cpu``, which is slower and
    works on a card's tensors too; the result says which."""
    from stages.errors import NotAvailable
    from stages.raster import choose

    try:
        choose(job.device, job.backend)
    except (NotAvailable, ImportError) as error:
        print(f"gsplat cannot be used, so the cpu rasterizer is: {error}", flush=True)
        job.keep({"raster": "cpu", "raster_because": str(error)})
        return "cpu"
    job.keep({"raster": job.backend})
    return job.backend
