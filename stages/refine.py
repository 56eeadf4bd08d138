"""refine: smooth and sharpen the motion with a video model's own denoising (Animus3D, section 4.3).

    animus3d refine

1. Take 2T - 1 frame times and render the moving asset from a few cameras.
2. Add noise to each video and denoise it under the prompt (SDEdit): the model repairs what looks wrong to it.
3. Fit the motion field to the repaired videos with an L1 loss between them and the re-rendered frames.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial

import torch
from torch import Tensor

from stages.cameras import Camera, sample_orbit_cameras
from stages.conventions import frame_times, step_generator
from stages.events import Finished, Note, Progress, Report, Started, Wrote
from stages.gaussians import Gaussians
from stages.gaussians.neighbours import nearest_neighbours
from stages.gaussians.stand_in import stand_in
from stages.media.preview import write_preview
from stages.motion.hexplane import HexPlane
from stages.motion.regularizers import arap, tv3d
from stages.objectives.sampling import sdedit
from stages.priors.load import load_prior, prior_fingerprint
from stages.priors.profiles import ProfileName
from stages.raster import Rasterizer, choose, render
from stages.run_dir import RunDir
from stages.run_dir.optimiser_state import optimisation_tensors, restore_optimisation


@dataclass(frozen=True, kw_only=True)
class RefineConfig:
    """Settings of ``refine``. About 100 steps of L1 and 2T - 1 frames are the paper's; the rest is [ours]."""

    steps: int = 100
    seed: int = 0
    strength: float = 0.4  # how far back into noise SDEdit goes
    denoise_steps: int = 10
    guidance: float = 2.0
    num_cameras: int = 4
    max_gaussians: int = 10_000  # as in distill
    background: float = 1.0
    tv_weight: float = 0.001
    arap_weight: float = 10.0
    neighbours: int = 24
    grid_learning_rate: float = 2e-3
    mlp_learning_rate: float = 2e-4
    frames_per_step: int = 8  # of the 2T - 1, drawn anew every step
    num_frames: int = 31  # of the repaired videos: 2T - 1 for T = 16
    prior: str = "embedded"
    size_px: int | None = None  # of the prior's clips; None: as it was made for
    profile: ProfileName = "24gb"
    compile: bool = False  # a published model, which pays where it is asked hundreds of times; CUDA graphs on a card
    raster: str | None = None
    device: str = "cpu"
    checkpoint_every: int = 50
    preview_every: int = 50


PRESETS = {
    "default": RefineConfig(),
    "published": replace(
        RefineConfig(), denoise_steps=20, guidance=5.0, max_gaussians=100_000
    ),  # not tried with published weights
}


def run(run: RunDir, config: RefineConfig, report: Report, *, force: bool = False) -> None:
    """Write ``refined/field.safetensors`` into the run. Raises ``MissingStage`` when there is no motion to refine."""
    asset = stand_in(run.load_asset(), config.max_gaussians).to(config.device)
    tensors, metadata = run.require("motion").read_result("field.safetensors")
    folder = run.stage("refined")
    inputs = {
        "asset": run.asset_hash(),
        "motion": run.stage("motion").result_hash("field.safetensors"),
        "prior": prior_fingerprint(config.prior),
    }
    begin = folder.begin(
        config=asdict(config), defaults=asdict(RefineConfig()), inputs=inputs, total_steps=config.steps, force=force
    )
    if begin.done:
        report(Note("refine is already done with these settings; nothing to do (--force does it again)."))
        return

    # 1. and 2. repaired videos, one a camera
    rasterizer = choose(config.device, config.raster)  # before weights are read: it may not be there
    prior = load_prior(
        config.prior,
        config.device,
        size_px=config.size_px,
        min_frames=config.num_frames,
        profile=config.profile,
        compiled=config.compile,
    )
    prior.encode_text([metadata["prompt"], ""])  # before the denoiser needs the memory
    field = HexPlane.from_tensors(tensors, metadata).to(config.device)
    background = torch.full((3,), config.background, device=config.device)
    times = frame_times(config.num_frames, config.device)
    low, high = asset.bounds()
    generator = step_generator(config.seed, 0, stream=5)
    cameras = sample_orbit_cameras(
        config.num_cameras,
        low=low,
        high=high,
        width=prior.clip.width,
        height=prior.clip.height,
        generator=generator,
    )
    cameras = [camera.to(config.device) for camera in cameras]
    report(Started("repairing videos", len(cameras)))
    repaired = []
    for index, camera in enumerate(cameras):
        video, picture = _render(asset, field, times, camera, rasterizer, background)
        repaired.append(
            sdedit(
                prior,
                video,
                picture,
                metadata["prompt"],
                partial(step_generator, config.seed, index, stream=6),
                strength=config.strength,
                num_steps=config.denoise_steps,
                guidance=config.guidance,
            )
        )
        report(Progress(index + 1))
    report(Finished("repairing videos"))
    del prior  # the field needs the memory

    # 3. the field follows them
    neighbours, distances = nearest_neighbours(asset.means, config.neighbours)
    optimiser = torch.optim.Adam(field.parameter_groups(config.grid_learning_rate))
    start = begin.resume_step
    if start:
        restore_optimisation(folder.load_checkpoint()[1], field.named_parameters(), optimiser)
    report(Started("refine", config.steps, start))
    for step in range(start, config.steps):
        generator = step_generator(config.seed, step)
        view = int(torch.randint(0, len(cameras), (), generator=generator))
        chosen = torch.randperm(len(times), generator=generator)[: config.frames_per_step].sort().values
        frames = field.at(asset, times)
        means, views = frames.means, [cameras[view]] * len(chosen)
        images = render(frames.select(chosen), views, rasterizer, background=background).rgb
        l1 = (images - repaired[view][chosen]).abs().mean()
        losses = {"l1": l1, "tv": tv3d(means), "arap": arap(means[chosen], asset.means, neighbours, distances)}
        loss = l1 + config.tv_weight * losses["tv"] + config.arap_weight * losses["arap"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        done = step + 1
        metrics = {name: value.item() for name, value in losses.items()}
        report(Progress(done, metrics))
        folder.log_metrics(done, **metrics)
        if done % config.checkpoint_every == 0 or done == config.steps:
            folder.save_checkpoint(done, optimisation_tensors(field.named_parameters(), optimiser), {})
        if (config.preview_every and done % config.preview_every == 0) or done == config.steps:
            video, _ = _render(asset, field, times, cameras[0], rasterizer, background)
            preview = write_preview(folder.path / "preview", video, fps=16)
            report(Wrote(preview, f"the refined motion after {done} steps"))
    folder.write_result("field.safetensors", field.tensors(), field.metadata() | {"prompt": metadata["prompt"]})
    folder.finish(config.steps)
    report(Finished("refine"))


@torch.no_grad()
def _render(
    asset: Gaussians, field: HexPlane, times: Tensor, camera: Camera, rasterizer: Rasterizer, background: Tensor
) -> tuple[Tensor, Tensor]:
    """The moving asset [T', H, W, 3] and the static one [1, H, W, 3] from one camera."""
    video = render(field.at(asset, times), [camera] * len(times), rasterizer, background=background).rgb
    return video, render(asset, [camera], rasterizer, background=background).rgb
