"""Where the time of a distill step goes: ``python -m tests.bench.bench_step``.

Prints one JSON object as its last line: seconds per part of a step of the default settings on the sample deer, each
the median of several steps, what is computed once for a
viewpoint (and a timestep) apart. A step of the default renders for the score, and so asks for the orientation, only
every fourth time.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from stages.assets import asset_path
from stages.conventions import step_generator
from stages.distill import PRESETS
from stages.distilling.pixel_flow import PixelFlow
from stages.distilling.score import Score
from stages.gaussians.formats.ply import read_ply
from stages.motion.kinds import new_motion
from stages.objectives.msd import distillation_loss
from stages.objectives.pixel_flow import guided_pixel_flow, pixel_flow_loss
from stages.priors.load import load_prior
from stages.priors.lora import add_adapter
from stages.priors.prior import Observation
from stages.raster import render, render_flow
from tests.bench.record import finish
from tests.bench.steps import distillation_of

STEPS = 7


def main() -> None:
    """Time one part after the other, with the tensors of a real step."""
    config = PRESETS["default"]
    asset, prior = read_ply(asset_path("splats", "deer.ply")), load_prior("embedded-video")
    assert prior.denoiser is not None
    add_adapter(prior.denoiser, rank=4, alpha=4.0, seed=0)
    distillation = distillation_of(asset, prior, config, "a static deer")
    motion, view = new_motion(config.motion, asset, config.seed), distillation.views[0]
    regularizers = motion.regularizers(asset, config.regularizers)
    score, flow = distillation.terms
    assert isinstance(score, Score) and isinstance(flow, PixelFlow)
    seen = view.viewpoint
    seconds: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        value = work()
        seconds.setdefault(name, []).append(time.perf_counter() - began)
        return value

    timestep = score.timesteps[-1]
    for step in range(STEPS + 1):
        score._static_eps.clear()
        timed("model_static_branch_uncached", lambda: score.static_eps(view, timestep))
        moved = timed("field", lambda: motion.at(asset, distillation.times))
        timed("orientation", lambda m=moved: m.quats)
        cameras = [seen.camera] * moved.num_frames
        frames = timed(
            "render", lambda m=moved, c=cameras: render(m, c, seen.rasterizer, background=seen.background).rgb
        )
        latents = timed("encode", lambda f=frames: prior.encode(f))
        gradient = timed("model", lambda x=latents, s=step: score.gradient(x, view, timestep, step_generator(0, s)))
        target = timed("model_pixel_flow_of_a_viewpoint", lambda: guided_pixel_flow(flow.predicted(view), 1.0))
        moves = timed("render_flow", lambda m=moved: render_flow(asset, seen.camera, seen.rasterizer, m.means))
        penalty = timed(
            "regularizers", lambda m=moved, s=step: sum(term(m, step_generator(2, s)) for term in regularizers)
        )
        loss = distillation_loss(Observation(latents), gradient)
        loss = loss + pixel_flow_loss(Observation(None, *moves), target) + penalty
        timed("backward", loss.backward)
        if step == 0:
            seconds.clear()  # the first step compiles kernels
    parts = {name: round(median(values), 4) for name, values in seconds.items()}
    once = ("model_static_branch_uncached", "model_pixel_flow_of_a_viewpoint")
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
