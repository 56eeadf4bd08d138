"""fit-lora: teach a LoRA of the frozen prior what this asset looks like when nothing moves (Animus3D, Eq. 8 and 9).

    animus3d fit-lora asset.ply

1. Render the static asset from random cameras; one frame is encoded once and repeated T times.
2. Train the adapter with the prior's own denoising loss under the static prompt.
3. Save the adapter alone, and a preview of what the adapted prior makes of the static prompt.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from stages.cameras import sample_orbit_cameras
from stages.conventions import step_generator
from stages.events import Finished, Note, Progress, Report, Started, Wrote
from stages.gaussians import Gaussians
from stages.media.preview import write_preview
from stages.objectives.inversion import ddim_denoise
from stages.priors.load import load_prior, prior_fingerprint
from stages.priors.lora import adapter_on, adapter_tensors, add_adapter
from stages.priors.prior import VideoPrior
from stages.raster import Rasterizer, choose, render
from stages.run_dir import RunDir
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
    raster: str | None = None
    device: str = "cpu"
    checkpoint_every: int = 50
    preview_every: int = 0  # 0: at the end only


PRESETS = {"default": FitLoraConfig()}


def run(run: RunDir, config: FitLoraConfig, report: Report, *, force: bool = False) -> None:
    """Write ``lora/adapter.safetensors`` into the run. Raises ``MissingStage`` when the run has no asset."""
    asset = run.load_asset()
    folder = run.stage("lora")
    inputs = {"asset": run.asset_hash(), "prior": prior_fingerprint(config.prior)}
    begin = folder.begin(config=asdict(config), inputs=inputs, total_steps=config.steps, force=force)
    if begin.done:
        report(Note("fit-lora is already done with these settings; nothing to do (--force does it again)."))
        return

    # 1. what the asset looks like from around, standing still
    prior = load_prior(config.prior, config.device)
    pictures = static_latents(asset, prior, choose(config.device, config.raster), config)

    # 2. the denoising loss under the static prompt
    assert prior.denoiser is not None
    text = prior.encode_text([config.static_prompt.format(object=config.object)])
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
                picture = pictures[torch.randint(0, len(pictures), (1,), generator=generator)]
                losses.append(denoising_loss(prior, picture, text, generator))
            loss = torch.stack(losses).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            done = step + 1
            report(Progress(done, {"loss": loss.item()}))
            folder.log_metrics(done, loss=loss.item())
            if done % config.checkpoint_every == 0 and done < config.steps:
                folder.save_checkpoint(done, optimisation_tensors(parameters, optimiser), {})

    # 3. the adapter, and what the adapted prior makes
    folder.save_checkpoint(config.steps, optimisation_tensors(parameters, optimiser), {})
    metadata = {"rank": str(config.rank), "alpha": str(config.alpha), "prior": config.prior}
    metadata["static_prompt"] = config.static_prompt.format(object=config.object)
    folder.write_result("adapter.safetensors", adapter_tensors(prior.denoiser), metadata)
    with adapter_on(prior.denoiser):
        noise = torch.randn(
            _clip_latents(prior, pictures[:1]).shape, generator=step_generator(config.seed, 0, stream=3)
        )
        last = prior.parameterization.num_timesteps - 1
        sample = ddim_denoise(prior, noise.to(pictures), last, text, 12, pictures[:1])
    preview = write_preview(folder.path / "preview", prior.decode(sample), fps=8)
    report(Wrote(preview, "what the adapted prior makes of the static prompt"))
    folder.finish(config.steps)
    report(Finished("fit-lora"))


@torch.no_grad()
def static_latents(
    asset: Gaussians, prior: VideoPrior, rasterizer: Rasterizer, config: FitLoraConfig
) -> Tensor:  # [V, C, h, w]
    """Latents of the static asset from ``num_cameras`` random cameras."""
    low, high = asset.bounds()
    cameras = sample_orbit_cameras(
        config.num_cameras,
        low=low,
        high=high,
        size_px=prior.clip.height,
        generator=step_generator(config.seed, 0, stream=1),
    )
    background = torch.full((3,), config.background)
    asset, cameras = asset.to(config.device), [camera.to(config.device) for camera in cameras]
    frames = torch.cat([render(asset, [c], rasterizer, background=background.to(config.device)).rgb for c in cameras])
    return prior.encode(frames)[0].permute(1, 0, 2, 3)


def _clip_latents(prior: VideoPrior, picture: Tensor) -> Tensor:
    """The static clip of one picture [1, C, h, w]: the same latent in every frame, [1, C, T, h, w]."""
    return picture[:, :, None].expand(-1, -1, prior.clip.num_frames, -1, -1)


def denoising_loss(prior: VideoPrior, picture: Tensor, text: object, generator: torch.Generator) -> Tensor:
    """Eq. 9 for one picture [1, C, h, w], in the prior's own kind of prediction."""
    clip = _clip_latents(prior, picture)
    timestep = int(torch.randint(0, prior.parameterization.num_timesteps, (), generator=generator))
    eps = torch.randn(clip.shape, generator=generator).to(clip)
    x_t = prior.parameterization.add_noise(clip, eps, timestep)
    prediction = prior.predict(x_t, timestep, text, picture)  # type: ignore[arg-type]
    return (prediction - prior.parameterization.target(clip, eps, timestep)).square().mean()
