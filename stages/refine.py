"""refine: smooth and sharpen the motion with a video model's own denoising (Animus3D, section 4.3).

    animus3d refine

1. Take 2T - 1 frame times and render the moving asset from a few cameras; a prior that sees points takes their paths.
2. Add noise to each and denoise it under the prompt (SDEdit): the model repairs what looks wrong to it.
3. Fit the motion to what is repaired with an L1 loss.

With --objective 4d-sds the prior is asked in every step instead (Animate3D, Eq. 8), from V cameras at once where it
sees so many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import torch

from stages.adam import Adam
from stages.conventions import frame_times, step_generator
from stages.distilling.clean_score import CleanScore, CleanScoreConfig
from stages.distilling.draw_videos import GREY
from stages.distilling.repairs import RepairedPaths, RepairedVideos, Repairs, Sdedit
from stages.distilling.viewpoints import ViewsConfig, film, look_at
from stages.errors import BadInput
from stages.events import Finished, Note, Progress, Report, Started, Wrote
from stages.facing.keep import facing_input
from stages.files import as_stored, content_hash
from stages.gaussians import Gaussians
from stages.gaussians.normalised import Placement
from stages.gaussians.stand_in import stand_in
from stages.media.preview import write_preview
from stages.motion.kinds import checkpoint_tensors, load_motion
from stages.motion.regularizers import RegularizerConfig
from stages.motion.sequence import MotionSequence
from stages.needs import require
from stages.priors.find import EMBEDDED, EXACT_VIEWS, POINTS, preset_of, prior_fingerprint
from stages.priors.load import load_prior
from stages.priors.points import sees_points
from stages.priors.prior import Prior, makes_videos, sees_views
from stages.priors.profiles import ProfileName
from stages.raster import Rasterizer, choose
from stages.run_dir import RunDir
from stages.run_dir.layout import MOTION, REFINED
from stages.run_dir.optimiser_state import optimisation_tensors, restore_optimisation
from stages.settings import check


@dataclass(frozen=True, kw_only=True)
class RefineConfig:
    """Settings of ``refine``. About 100 steps of L1 and 2T - 1 frames are the paper's; the rest is [ours]."""

    objective: Literal["sdedit", "4d-sds"] = "sdedit"
    clean: CleanScoreConfig = field(default_factory=CleanScoreConfig)  # of 4d-sds
    bank: str | None = None  # the rigged file whose clips --prior exact-views knows
    steps: int = 100
    seed: int = 0
    strength: float = 0.4  # how far back into noise SDEdit goes
    denoise_steps: int = 10
    guidance: float = 2.0
    views: ViewsConfig = field(default_factory=lambda: ViewsConfig(num_cameras=4))
    regularizers: RegularizerConfig = field(default_factory=lambda: RegularizerConfig(arap_weight=10.0))
    learning_rate: float = 2e-3
    max_gaussians: int = 10_000  # as in distill
    frames_per_step: int = 8  # of the 2T - 1, drawn anew every step
    num_frames: int = 31  # of the repaired videos: 2T - 1 for T = 16
    prior: str = EMBEDDED
    size_px: int | None = None  # of the prior's clips; None: as it was made for
    profile: ProfileName = "24gb"
    compile: bool = False  # a published model, which pays where it is asked hundreds of times; CUDA graphs on a card
    raster: str | None = None
    device: str = "cpu"
    checkpoint_every: int = 50
    preview_every: int = 50

    def __post_init__(self) -> None:
        check(self, steps=1, strength=0, denoise_steps=1, learning_rate=0, max_gaussians=1, frames_per_step=1)
        check(self, num_frames=1, size_px=1, checkpoint_every=1, preview_every=0)


PRESETS = {
    "default": RefineConfig(prior=POINTS, guidance=1.0, regularizers=RegularizerConfig(tv_weight=0.0, arap_weight=5.0)),
    "video": RefineConfig(),
    # not tried with published weights
    "published": RefineConfig(denoise_steps=20, guidance=5.0, max_gaussians=100_000),
}


def run(run_dir: RunDir, config: RefineConfig, report: Report, *, force: bool = False) -> None:
    """Write ``refined/motion.safetensors`` into the run.

    Raises:
        MissingStage: there is no motion to refine.
        BadInput: the motion was joined of several.
    """
    require(
        run_dir, REFINED, force=force, most=config.max_gaussians, frames=config.num_frames, prior=config.prior,
        device=config.device,
    )  # fmt: skip
    in_file = run_dir.load_asset()
    placement = Placement.of(in_file)
    asset = stand_in(placement.normalised(in_file), config.max_gaussians).to(config.device)
    tensors, metadata = run_dir.require(MOTION.folder).read_result(MOTION.result)
    if metadata.get("kind") == MotionSequence.kind:
        raise BadInput("refine works on the motion of one sentence, and this one was joined by --then.")
    folder = run_dir.stage(REFINED.folder)
    inputs = {
        "asset": run_dir.asset_hash(),
        "motion": run_dir.stage(MOTION.folder).result_hash(MOTION.result),
        **prior_inputs(run_dir, config),
    }
    usual = PRESETS["video" if config.prior == EXACT_VIEWS else preset_of(config.prior)]
    begin = folder.begin(
        config=asdict(config),
        defaults=asdict(usual) | {"prior": POINTS},
        inputs=inputs,
        total_steps=config.steps,
        force=force,
        report=report,
    )
    if begin.done:
        report(Note("refine is already done with these settings; nothing to do (--force does it again)."))
        return

    # 1. and 2. what is repaired, from every viewpoint
    rasterizer = choose(config.device, config.raster, report)  # before weights are read: it may not be there
    prior = prior_of(config, asset, placement)
    prior.encode_text([metadata["prompt"], ""])  # before the denoiser needs the memory
    with as_stored(f"The motion to refine in {run_dir.path}"):
        motion = load_motion(tensors, metadata, config.device, placement)
    facing_deg, score = run_dir.facing().used_deg, None
    if config.objective == "4d-sds":
        score = new_clean_score(prior, asset, metadata["prompt"], config, rasterizer)
        seen, times = score.viewpoints[0], score.times
    else:
        repairs = new_repairs(prior, asset, metadata["prompt"], config, rasterizer, facing_deg=facing_deg)
        seen, times = repairs.viewpoints[0], repairs.times
        del prior  # the repairs let it go, for the motion needs the memory
        report(Started("repairing what the prior sees", len(repairs.viewpoints)))
        for done in repairs.repair(motion):
            report(Progress(done))
        report(Finished("repairing what the prior sees"))

    # 3. the motion follows them
    regularizers = motion.regularizers(asset, config.regularizers.over(config.views.ground))
    optimiser = Adam(motion.parameter_groups(config.learning_rate))
    start = begin.resume_step
    if start:
        restore_optimisation(folder.load_checkpoint()[1], motion.named_parameters(), optimiser)
    report(Started("refine", config.steps, start))
    for step in range(start, config.steps):
        generator = step_generator(config.seed, step)
        frames = motion.at(asset, times)
        losses = {"l1": repairs.loss(frames, generator)} if score is None else {"score": score.loss(frames, step)}
        [loss] = losses.values()
        if score is not None:
            loss = config.clean.weight * loss
        for term in regularizers:
            losses[term.name] = term(frames, generator)
            loss = loss + term.weight * losses[term.name]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        done = step + 1
        metrics = {name: value.item() for name, value in losses.items()}
        report(Progress(done, metrics))
        folder.log_metrics(done, **metrics)
        # the preview first: whoever goes on from the checkpoint does not make it again
        if (config.preview_every and done % config.preview_every == 0) or done == config.steps:
            preview = write_preview(
                folder.path / "preview",
                film(asset, motion, frame_times(config.num_frames, config.device), seen),
                fps=16,
            )
            report(Wrote(preview, f"the refined motion after {done} steps"))
        if done % config.checkpoint_every == 0 or done == config.steps:
            learnt = optimisation_tensors(motion.named_parameters(), optimiser)
            folder.save_checkpoint(done, checkpoint_tensors(motion, learnt), {"motion": motion.metadata()})
    folder.write_result(REFINED.result, motion.tensors(), motion.metadata() | told_of(metadata))
    folder.finish(config.steps)
    report(Finished("refine"))


def prior_inputs(run_dir: RunDir, config: RefineConfig) -> dict[str, str]:
    """What a result depends on of the prior."""
    if config.prior == EXACT_VIEWS:
        return {"bank": "" if config.bank is None else content_hash(Path(config.bank), "bank")}
    return {"prior": prior_fingerprint(config.prior), **facing_input(run_dir, config.prior)}


def prior_of(config: RefineConfig, asset: Gaussians, placement: Placement) -> Prior:
    """The prior that is asked."""
    if config.prior == EXACT_VIEWS:
        from stages.moving.bank import exact_views  # reads rigged files, which takes long to import

        return exact_views(config.bank, asset, placement, size_px=config.size_px or 64)
    return load_prior(
        config.prior,
        config.device,
        size_px=config.size_px,
        min_frames=config.num_frames,
        profile=config.profile,
        compiled=config.compile,
    )


def new_clean_score(
    prior: Prior, asset: Gaussians, prompt: str, config: RefineConfig, rasterizer: Rasterizer
) -> CleanScore:
    """4D-SDS by ``prior``.

    Raises:
        BadInput: it makes no videos.
    """
    if not (sees_views(prior) or makes_videos(prior)):
        raise BadInput(f"The prior {config.prior!r} makes no videos, as 4d-sds needs.", "Take another --prior.")
    grey = GREY if sees_views(prior) else config.views.background
    background = torch.full((3,), grey, device=config.device)
    return CleanScore(prior, asset, background, rasterizer, config.clean, prompt=prompt, seed=config.seed)


def told_of(metadata: Mapping[str, str]) -> dict[str, str]:
    """What a result says that is not of the motion itself: its sentence, and how long it lasts."""
    return {name: metadata[name] for name in ("prompt", "seconds", "cycles", "travel") if name in metadata}


def new_repairs(
    prior: Prior, asset: Gaussians, prompt: str, config: RefineConfig, rasterizer: Rasterizer, facing_deg: float
) -> Repairs:
    """Repairs by ``prior``: of videos, or of paths of points.

    Raises:
        BadInput: a prior that does neither.
    """
    viewpoints = look_at(
        prior, asset, config.views, rasterizer, prompt=prompt, facing_deg=facing_deg, seed=config.seed, stream=5
    )
    how = Sdedit(strength=config.strength, num_steps=config.denoise_steps, guidance=config.guidance)
    if sees_points(prior):
        return RepairedPaths(prior, asset, viewpoints, prompt, how, seed=config.seed)
    if not makes_videos(prior):
        raise BadInput(f"The prior {config.prior!r} can repair nothing.", "Take another --prior.")
    times = frame_times(config.num_frames, config.device)
    return RepairedVideos(
        prior, asset, viewpoints, times, prompt, how, frames_per_step=config.frames_per_step, seed=config.seed
    )
