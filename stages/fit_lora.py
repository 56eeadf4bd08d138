"""fit-lora: teach a LoRA of the frozen prior what this asset looks like when nothing moves (Animus3D, Eq. 8 and 9).

    animus3d fit-lora asset.ply

1. Render the static asset from random cameras; one frame is encoded once and repeated T times.
2. Train the adapter with the prior's own denoising loss under the static prompt.
3. Save the adapter alone, and a preview of what the adapted prior makes of the static prompt.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from stages.adam import Adam
from stages.conventions import step_generator
from stages.distilling.sampled import film
from stages.distilling.viewpoints import ViewsConfig, look_at
from stages.events import Finished, Note, Progress, Report, Started, Wrote
from stages.facing.keep import facing_input
from stages.gaussians import Gaussians
from stages.gaussians.normalised import normalised
from stages.media.preview import write_preview
from stages.needs import require
from stages.objectives.sampling import ddim_denoise
from stages.priors.find import EMBEDDED, POINTS, preset_of, prior_fingerprint
from stages.priors.load import load_prior
from stages.priors.lora import adapter_on, adapter_tensors, add_adapter
from stages.priors.prior import Condition, Prior, Viewpoint
from stages.priors.profiles import ProfileName
from stages.raster import choose
from stages.run_dir import RunDir, StageFolder
from stages.run_dir.layout import LORA
from stages.run_dir.optimiser_state import optimisation_tensors, restore_optimisation
from stages.settings import check

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
    views: ViewsConfig = field(default_factory=lambda: ViewsConfig(num_cameras=16))
    prior: str = EMBEDDED
    num_frames: int | None = None  # of the prior's clips; None: as it was made for
    size_px: int | None = None  # likewise
    profile: ProfileName = "24gb"
    raster: str | None = None
    device: str = "cpu"
    checkpoint_every: int = 50
    preview_every: int = 0  # 0: at the end only

    def __post_init__(self) -> None:
        check(self, steps=1, rank=1, alpha=0, learning_rate=0, batch_size=1, num_frames=1, size_px=1)
        check(self, checkpoint_every=1, preview_every=0)


PRESETS = {
    "default": FitLoraConfig(prior=POINTS, steps=60),
    "video": FitLoraConfig(),
    # for published models; the paper's numbers but for fewer and larger steps, not tried with published weights
    "published": FitLoraConfig(steps=300, learning_rate=1e-4, batch_size=1, views=ViewsConfig(num_cameras=8)),
    "paper": FitLoraConfig(steps=3000, learning_rate=1e-5, batch_size=1),
}


def run(run_dir: RunDir, config: FitLoraConfig, report: Report, *, force: bool = False) -> None:
    """Write ``lora/adapter.safetensors`` into the run. Raises ``MissingStage`` when the run has no asset."""
    require(run_dir, LORA, force=force, prior=config.prior, device=config.device)
    asset = normalised(run_dir.load_asset()).to(config.device)
    folder = run_dir.stage(LORA.folder)
    facing_deg = run_dir.facing().used_deg
    inputs = {"asset": run_dir.asset_hash(), "prior": prior_fingerprint(config.prior)}
    inputs |= facing_input(run_dir, config.prior)
    begin = folder.begin(
        config=asdict(config),
        defaults=asdict(PRESETS[preset_of(config.prior)]) | {"prior": POINTS},
        inputs=inputs,
        total_steps=config.steps,
        force=force,
        report=report,
    )
    if begin.done:
        report(Note("fit-lora is already done with these settings; nothing to do (--force does it again)."))
        return

    # 1. what the asset looks like from around, standing still
    rasterizer = choose(config.device, config.raster, report)  # before weights are read: it may not be there
    prior = load_prior(
        config.prior,
        config.device,
        num_frames=config.num_frames,
        size_px=config.size_px,
        profile=config.profile,
    )
    text = prior.encode_text([config.static_prompt.format(object=config.object)])
    viewpoints = look_at(
        prior, asset, config.views, rasterizer, prompt=config.static_prompt, facing_deg=facing_deg, seed=config.seed
    )
    with torch.no_grad():
        clips = [
            StaticClip(prior.still_latents(asset, seen), prior.condition(text, asset, seen)) for seen in viewpoints
        ]

    # 2. the denoising loss under the static prompt
    assert prior.denoiser is not None
    parameters = add_adapter(prior.denoiser, rank=config.rank, alpha=config.alpha, seed=config.seed)
    optimiser = Adam([{"params": [p for _, p in parameters], "lr": config.learning_rate}])
    start = begin.resume_step
    if start:
        restore_optimisation(folder.load_checkpoint()[1], parameters, optimiser)
    report(Started("fit-lora", config.steps, start))
    with adapter_on(prior.denoiser):
        for step in range(start, config.steps):
            generator = step_generator(config.seed, step)
            losses = []
            for _ in range(config.batch_size):
                clip = clips[int(torch.randint(0, len(clips), (), generator=generator))]
                losses.append(denoising_loss(prior, clip, generator))
            loss = torch.stack(losses).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            done = step + 1
            report(Progress(done, {"loss": loss.item()}))
            folder.log_metrics(done, loss=loss.item())
            if done % config.checkpoint_every == 0 and done < config.steps:
                folder.save_checkpoint(done, optimisation_tensors(parameters, optimiser), {})
            if config.preview_every and done % config.preview_every == 0 and done < config.steps:
                report(
                    Wrote(
                        preview(prior, asset, viewpoints[0], clips[0], folder, config.seed),
                        f"the adapter after {done} steps",
                    )
                )

    # 3. the adapter, and what the adapted prior makes
    folder.save_checkpoint(config.steps, optimisation_tensors(parameters, optimiser), {})
    metadata = {"rank": str(config.rank), "alpha": str(config.alpha)}
    metadata |= {"prior": config.prior, "prior_fingerprint": inputs["prior"]}
    metadata["static_prompt"] = config.static_prompt.format(object=config.object)
    folder.write_result(LORA.result, adapter_tensors(prior.denoiser), metadata)
    with adapter_on(prior.denoiser):
        made = preview(prior, asset, viewpoints[0], clips[0], folder, config.seed)
    report(Wrote(made, "what the adapted prior makes of the static prompt"))
    folder.finish(config.steps)
    report(Finished("fit-lora"))


@dataclass(frozen=True)
class StaticClip:
    """The asset at rest from one viewpoint."""

    latents: Tensor  # [1, C, t, h, w] of the clip in which nothing moves
    condition: Condition  # under the static prompt


def preview(prior: Prior, asset: Gaussians, seen: Viewpoint, clip: StaticClip, folder: StageFolder, seed: int) -> Path:
    """Write what the prior, its adapter on, makes of the static prompt from the viewpoint of ``clip``."""
    noise = prior.noise(clip.latents, clip.condition, step_generator(seed, 0, stream=3))
    sample = ddim_denoise(prior, noise, prior.parameterization.num_timesteps - 1, clip.condition, 12)
    return write_preview(folder.path / "preview", film(prior, sample, asset, seen), fps=8)


def denoising_loss(prior: Prior, clip: StaticClip, generator: torch.Generator) -> Tensor:
    """Eq. 9 for one static clip, in the prior's own kind of prediction."""
    timestep = int(torch.randint(0, prior.parameterization.num_timesteps, (), generator=generator))
    eps = prior.noise(clip.latents, clip.condition, generator)
    x_t = prior.parameterization.add_noise(clip.latents, eps, timestep)
    prediction = prior.predict(x_t, timestep, clip.condition)
    return (prediction - prior.parameterization.target(clip.latents, eps, timestep)).square().mean()
