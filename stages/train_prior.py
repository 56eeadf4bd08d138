"""train-prior: the embedded prior, trained from the project's own zoo of moving bodies, or from a user's.

    animus3d train-prior --out my-prior --steps 4000

1. Render a bank of captioned clips: rigged and procedural bodies, random looks, cameras and backgrounds, and where
   every pixel goes. Every clip starts in the rest pose, whose picture is the condition.
2. Begin with a given prior, or fit the patch autoencoder to the first clips and begin anew.
3. Train denoiser and text encoder together on the v-prediction loss and on where pixels go; words and picture are
   dropped at random, so that both can be guided on, and the prior also runs from text alone.
4. Keep an exponential moving average of the weights: that is what is sampled, and what is saved.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from stages.conventions import step_generator
from stages.errors import BadInput
from stages.events import Finished, Note, Progress, Report, Started, Wrote, silent
from stages.media.contact_sheet import write_png
from stages.priors.autoencoder import PatchAutoencoder
from stages.priors.embedded import EmbeddedPrior, load_embedded
from stages.priors.find import prior_fingerprint
from stages.priors.prior import ClipShape
from stages.run_dir import StageFolder
from stages.run_dir.optimiser_state import optimisation_tensors, restore_optimisation
from stages.training.average import Average
from stages.training.clip_bank import ClipBank, render_bank
from stages.training.team import Team, assembled
from stages.training.video import (
    TrainPriorConfig,
    draw_batch,
    encode_clips,
    learning_rate,
    new_optimisers,
    new_prior,
    sample_sheet,
    training_loss,
)
from stages.zoo.captions import motion_words
from stages.zoo.clips import sample_training_clips
from stages.zoo.folder import FolderClips

PRESETS = {"default": TrainPriorConfig()}


def run(out: Path, config: TrainPriorConfig, report: Report, *, force: bool = False) -> Path:
    """Train into ``out`` (a prior's folder); resumes from its checkpoints. Returns ``out``.

    Raises:
        BadInput: the clips are to have another size or number of frames than those of ``config.init``; a batch that the
            processes cannot share evenly; a folder of clips that cannot be used.
    """
    prior = load_embedded(config.init, config.device) if config.init else None
    if prior is not None and prior.clip != ClipShape(config.num_frames, config.size_px, config.size_px):
        raise BadInput(
            f"{config.init} was made for {prior.clip.num_frames} frames of {prior.clip.width} pixels, not "
            f"{config.num_frames} of {config.size_px}.",
            f"Use --set num_frames={prior.clip.num_frames} --set size_px={prior.clip.width}, or train without --init.",
        )
    if config.batch_size % config.processes:
        raise BadInput(f"A batch of {config.batch_size} cannot be shared evenly by {config.processes} processes.")
    source = FolderClips(Path(config.data)) if config.data else None
    work = StageFolder(out / "training")
    inputs = {"init": prior_fingerprint(config.init)} if config.init else {}
    if source is not None:
        inputs["data"] = source.fingerprint()
    begin = work.begin(config=asdict(config), inputs=inputs, total_steps=config.steps, force=force, report=report)
    if begin.done:
        report(Note(f"{out} is already trained for {config.steps} steps with these settings."))
        return out

    # 1. the bank of clips
    bank = render_bank(
        work.path / "clips",
        source or sample_training_clips,
        report,
        num_clips=config.num_clips,
        num_frames=config.num_frames,
        size_px=config.size_px,
        seed=config.seed,
        device=config.device,
        processes=config.processes,
    )
    # 2. to 4.
    motions = motion_words() if source is None else source.motions()
    with assembled(config.processes, _help, out, config, bank, motions, begin.resume_step) as team:
        _train(team, out, config, bank, motions, begin.resume_step, report)
    work.finish(config.steps)
    report(Finished("train-prior"))
    return out


def _help(
    team: Team, out: Path, config: TrainPriorConfig, bank: ClipBank, motions: dict[str, list[str]], start: int
) -> None:
    """What a helping process does: the same, and says nothing."""
    _train(team, out, config, bank, motions, start, silent)


def _train(
    team: Team,
    out: Path,
    config: TrainPriorConfig,
    bank: ClipBank,
    motions: dict[str, list[str]],
    start: int,
    report: Report,
) -> None:
    """The loop over steps; only the first of the team writes."""
    work, leads, device = StageFolder(out / "training"), team.rank == 0, torch.device(config.device)
    # 2. models, optimisers, average
    prior = starting_prior(config, bank, report)
    prior.motions = prior.motions | motions
    modules = torch.nn.ModuleDict({"transformer": prior.denoiser, "text_encoder": prior.text_encoder})
    modules.requires_grad_(True).to(device)
    prior.denoiser.pixels.requires_grad_(False)
    trained = {name: p for name, p in modules.named_parameters() if p.requires_grad}
    optimisers = new_optimisers(trained, config)
    if start:
        tensors = work.load_checkpoint()[1]
        for names, optimiser in optimisers:
            restore_optimisation(tensors, ((name, trained[name]) for name in names), optimiser)
    else:
        team.agree(parameter.data for parameter in trained.values())
    average = Average(trained, config.ema_decay)
    if start:
        average.restore(tensors)
    if config.compile:
        prior.denoiser.compile_network()
    held_out = max(1, len(bank.captions) // 32)  # the last clips are never trained on: they give the previews' pictures

    # 3. steps
    report(Started("train-prior", config.steps, start))
    running = None
    for step in range(start, config.steps):
        draw = draw_batch(bank.captions[:-held_out], prior, config, step_generator(config.seed, step, stream=7))
        draw = draw.part(team)
        frames, flow = bank.read(draw.index)
        x0 = encode_clips(prior, frames.to(device))
        alone = step < config.flow_alone * config.steps
        loss = training_loss(prior, x0, flow.to(x0), draw, config, flow_alone=alone)
        modules.zero_grad(set_to_none=True)
        loss.backward()
        team.average_gradients(trained.values())
        torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
        for _, optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, config)
            optimiser.step()
        if not leads:
            continue
        done = step + 1
        average.follow(done)
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        report(Progress(done, {"loss": running}))
        if done % 25 == 0:
            work.log_metrics(done, loss=running, learning_rate=learning_rate(step, config))
        if done % config.checkpoint_every == 0 or done == config.steps:
            tensors = average.tensors()
            for names, optimiser in optimisers:
                tensors |= optimisation_tensors(((name, trained[name]) for name in names), optimiser)
            work.save_checkpoint(done, tensors, {})
        # 4. sample and save the average
        if done % config.preview_every == 0 or done == config.steps:
            with average.in_place():
                prior.save(out)
                write_png(work.path / f"samples_{done:06d}.png", sample_sheet(prior, bank, held_out))
            report(
                Wrote(work.path / f"samples_{done:06d}.png", "samples of held-out clips (truth above, sample below)")
            )


def starting_prior(config: TrainPriorConfig, bank: ClipBank, report: Report) -> EmbeddedPrior:
    """The prior that training begins with: ``config.init``, with the words of the captions that it lacks, or a new one
    around an autoencoder fitted to the first clips."""
    words = sorted({word.strip(",.").lower() for caption in bank.captions for word in caption.split()})
    if config.init:
        prior = load_embedded(config.init, config.device)
        prior.learn_words(words, seed=config.seed)
        return prior
    autoencoder = PatchAutoencoder(patch_size=config.patch_size, latent_channels=config.latent_channels)
    frames, _ = bank.read(torch.arange(min(len(bank.captions), 512)))
    kept = autoencoder.fit(frames[:, ::5].flatten(0, 1).permute(0, 3, 1, 2) / 255.0)
    report(Note(f"autoencoder: {config.latent_channels} channels keep {100 * kept:.2f} % of the patches' variance"))
    prior = new_prior(autoencoder, config, words, residual_std=1.0)
    latents = encode_clips(prior, frames)
    residual_std = float((latents - latents[:, :, :1]).square().mean().sqrt())
    return new_prior(autoencoder, config, words, residual_std)
