"""Where the time of a distill step goes: ``python -m tests.bench.bench_step``.

Prints one JSON object as its last line: seconds per part of a step of the default settings on the sample deer, each
the median of several steps, what is computed once for a
camera (and a timestep) apart.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from stages.assets import asset_path
from stages.conventions import step_generator
from stages.distill import PRESETS, Distillation, new_field
from stages.gaussians.formats.ply import read_ply
from stages.motion.regularizers import arap, tv3d
from stages.objectives.flow import flow_loss, guided_flow
from stages.objectives.msd import distillation_loss
from stages.priors.load import load_prior
from stages.priors.lora import add_adapter
from stages.raster import choose, render_flow
from tests.bench.record import finish

STEPS = 7
RASTERIZE = choose("cpu")


def main() -> None:
    """Time one part after the other, with the tensors of a real step."""
    config = PRESETS["default"]
    asset, prior = read_ply(asset_path("splats", "deer.ply")), load_prior("embedded")
    assert prior.denoiser is not None
    add_adapter(prior.denoiser, rank=4, alpha=4.0, seed=0)
    distillation = Distillation(asset, prior, RASTERIZE, config, "a static deer")
    field = new_field(asset, config)
    near, far = distillation.neighbours, distillation.distances
    seconds: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        value = work()
        seconds.setdefault(name, []).append(time.perf_counter() - began)
        return value

    timestep = distillation.timesteps[-1]
    for step in range(STEPS + 1):
        distillation._static_eps.clear()
        timed("model_static_branch_uncached", lambda: distillation.static_eps(0, timestep))
        moved = timed("field", lambda: field.at(asset, distillation.times))
        means = moved.means
        timed("orientation", lambda m=moved: m.quats)
        frames = timed("render", lambda m=moved: distillation.render(m, distillation.cameras[0]))
        latents = timed("encode", lambda f=frames: prior.encode(f))
        gradient = timed("model", lambda x=latents, s=step: distillation.gradient(x, 0, timestep, step_generator(0, s)))
        flow = timed("model_flow_of_a_camera", lambda: guided_flow(distillation.flow_pair_of(0), 1.0))
        moves = timed("render_flow", lambda m=means: render_flow(asset, distillation.cameras[0], RASTERIZE, m))
        anchors = distillation.draw_anchors(step_generator(2, step))
        penalty = timed("regularizers", lambda m=means, a=anchors: tv3d(m) + arap(m, asset.means, near, far, a))
        loss = distillation_loss(latents, gradient) + flow_loss(*moves, flow) + penalty
        timed("backward", loss.backward)
        if step == 0:
            seconds.clear()  # the first step compiles kernels
    parts = {name: round(median(values), 4) for name, values in seconds.items()}
    once = ("model_static_branch_uncached", "model_flow_of_a_camera")
    total = sum(value for name, value in parts.items() if name not in once)
    finish(
        "step",
        {
            "seconds": parts,
            "step_seconds": round(total, 4),
            "share_of_model": round(parts["model"] / total, 3),
            "uncached_over_cached": round((total + parts["model_static_branch_uncached"]) / total, 2),
            "num_gaussians": asset.num_gaussians,
            "frames": prior.clip.num_frames,
            "pixels": prior.clip.height,
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        },
    )


if __name__ == "__main__":
    main()
