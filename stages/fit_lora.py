"""fit-lora: teach a LoRA of the frozen prior what this asset looks like when nothing moves (Animus3D, Eq. 8 and 9).

    animus3d fit-lora asset.ply

1. Render the static asset from random cameras; one frame is encoded once and repeated T times.
2. Train the adapter with the prior's own denoising loss under the static prompt.
3. Save the adapter alone, and a preview of what the adapted prior makes of the static prompt.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from stages.cameras import sample_orbit_cameras
from stages.conventions import step_generator
from stages.events import Finished, Note, Progress, Report, Started, Wrote
from stages.gaussians import Gaussians
from stages.media.preview import write_preview
from stages.objectives.sampling import ddim_denoise
from stages.priors.load import load_prior, prior_fingerprint
from stages.priors.lora import adapter_on, adapter_tensors, add_adapter
from stages.priors.prior import Text, VideoPrior
from stages.priors.profiles import ProfileName
from stages.raster import Rasterizer, choose, render
from stages.run_dir import RunDir, StageFolder
from stages.run_dir.optimiser_state import optimisation_tensors, restore_optimisation

STATIC_PROMPT = "low motion, static statue, not moving, no motion, {object}"
"""The paper's static prompt (ablation, Fig. 11)."""


@dataclass(frozen=True, kw_only=True)
class FitLoraConfig:
    """Settings of ``fit-lora``. Rank and alpha are the paper's; it trains about 3,000 steps at 1e-5 on a model 300
    times larger, the embedded prior needs fewer and larger steps [ours]."""

    object: str = "animal"  # the word for the asset in the static prompt
    static_prompt: str = STATIC_PROMPT
    steps: int = 60
    seed: int = 0
    rank: int = 4
    alpha: float = 4.0
    learning_rate: float = 1e-3
    batch_size: int = 2
    num_cameras: int = 16
    background: float = 1.0  # grey value behind the asset
    prior: str = "embedded"
    num_frames: int | None = None  # of the prior's clips; None: as it was made for
    size_px: int | None = None  # likewise
    profile: ProfileName = "24gb"
    raster: str | None = None
    device: str = "cpu"
    checkpoint_every: int = 50
    preview_every: int = 0  # 0: at the end only


PRESETS = {
    "default": FitLoraConfig(),
    # for published models; the paper's numbers but for fewer and larger steps, not tried with published weights
    "published": replace(FitLoraConfig(), steps=300, learning_rate=1e-4, batch_size=1, num_cameras=8),
    "paper": replace(FitLoraConfig(), steps=3000, learning_rate=1e-5, batch_size=1),
}


def run(run: RunDir, config: FitLoraConfig, report: Report, *, force: bool = False) -> None:
    """Write ``lora/adapter.safetensors`` into the run. Raises ``MissingStage`` when the run has no asset."""
    asset = run.load_asset()
    folder = run.stage("lora")
    inputs = {"asset": run.asset_hash(), "prior": prior_fingerprint(config.prior)}
    begin = folder.begin(
        config=asdict(config), defaults=asdict(FitLoraConfig()), inputs=inputs, total_steps=config.steps, force=force
    )
    if begin.done:
        report(Note("fit-lora is already done with these settings; nothing to do (--force does it again)."))
        return

    # 1. what the asset looks like from around, standing still
    rasterizer = choose(config.device, config.raster)  # before weights are read: it may not be there
    prior = load_prior(
        config.prior,
        config.device,
        num_frames=config.num_frames,
        size_px=config.size_px,
        profile=config.profile,
    )
    text = prior.encode_text([config.static_prompt.format(object=config.object)])
    views = static_views(asset, prior, rasterizer, config)

    # 2. the denoising loss under the static prompt
    assert prior.denoiser is not None
    parameters = add_adapter(prior.denoiser, rank=config.rank, alpha=config.alpha, seed=config.seed)
    optimiser = torch.optim.AdamW([p for _, p in parameters], lr=config.learning_rate, weight_decay=0.0)
    start = begin.resume_step
    if start:
        restore_optimisation(folder.load_checkpoint()[1], parameters, optimiser)
    report(Started("fit-lora", config.steps, start))
    with adapter_on(prior.denoiser):
        for step in range(start, config.steps):
            generator = step_generator(config.seed, step)
            losses = []
            for _ in range(config.batch_size):
                still, picture = views[int(torch.randint(0, len(views), (), generator=generator))]
                losses.append(denoising_loss(prior, still, picture, text, generator))
            loss = torch.stack(losses).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            done = step + 1
            report(Progress(done, {"loss": loss.item()}))
            folder.log_metrics(done, loss=loss.item())
            if done % config.checkpoint_every == 0 and done < config.steps:
                folder.save_checkpoint(done, optimisation_tensors(parameters, optimiser), {})
            if config.preview_every and done % config.preview_every == 0 and done < config.steps:
                report(Wrote(preview(prior, views[0], text, folder, config.seed), f"the adapter after {done} steps"))

    # 3. the adapter, and what the adapted prior makes
    folder.save_checkpoint(config.steps, optimisation_tensors(parameters, optimiser), {})
    metadata = {"rank": str(config.rank), "alpha": str(config.alpha)}
    metadata |= {"prior": config.prior, "prior_fingerprint": inputs["prior"]}
    metadata["static_prompt"] = config.static_prompt.format(object=config.object)
    folder.write_result("adapter.safetensors", adapter_tensors(prior.denoiser), metadata)
    with adapter_on(prior.denoiser):
        made = preview(prior, views[0], text, folder, config.seed)
    report(Wrote(made, "what the adapted prior makes of the static prompt"))
    folder.finish(config.steps)
    report(Finished("fit-lora"))


StillView = tuple[Tensor, Tensor | None]
"""The asset at rest from one camera: latents of the clip [1, C, t, h, w], and what the prior sees as its picture."""


@torch.no_grad()
def static_views(asset: Gaussians, prior: VideoPrior, rasterizer: Rasterizer, config: FitLoraConfig) -> list[StillView]:
    """The static asset from ``num_cameras`` random cameras."""
    low, high = asset.bounds()
    cameras = sample_orbit_cameras(
        config.num_cameras,
        low=low,
        high=high,
        width=prior.clip.width,
        height=prior.clip.height,
        generator=step_generator(config.seed, 0, stream=1),
    )
    background = torch.full((3,), config.background, device=config.device)
    asset, cameras = asset.to(config.device), [camera.to(config.device) for camera in cameras]
    frames = [render(asset, [camera], rasterizer, background=background).rgb for camera in cameras]
    return [(prior.encode_still(frame), prior.encode_picture(frame)) for frame in frames]


def preview(prior: VideoPrior, view: StillView, text: Text, folder: StageFolder, seed: int) -> Path:
    """Write what the prior, its adapter on, makes of one camera's picture and the static prompt."""
    still, picture = view
    noise = torch.randn(still.shape, generator=step_generator(seed, 0, stream=3)).to(still)
    sample = ddim_denoise(prior, noise, prior.parameterization.num_timesteps - 1, text, 12, picture)
    return write_preview(folder.path / "preview", prior.decode(sample), fps=8)


def denoising_loss(
    prior: VideoPrior, still: Tensor, picture: Tensor | None, text: Text, generator: torch.Generator
) -> Tensor:
    """Eq. 9 for one static clip [1, C, t, h, w], in the prior's own kind of prediction."""
    timestep = int(torch.randint(0, prior.parameterization.num_timesteps, (), generator=generator))
    eps = torch.randn(still.shape, generator=generator).to(still)
    x_t = prior.parameterization.add_noise(still, eps, timestep)
    prediction = prior.predict(x_t, timestep, text, picture)
    return (prediction - prior.parameterization.target(still, eps, timestep)).square().mean()
