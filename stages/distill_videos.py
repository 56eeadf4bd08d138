"""distill --video: make the asset move as somebody's own video shows, or as videos that a prior has drawn.

    animus3d still --azimuth 30 --out deer.png
    animus3d distill --objective match --video deer_jumps.mp4 --camera deer.json
    animus3d distill --objective match --sample 1

1. Load the asset, and the videos with their cameras.
2. Track what each camera sees of the asset at rest through its video; say how far cameras agree.
3. In every step the motion is compared with the tracks, and renders of it with frames of a video; regularizers say what
   the videos leave open: it stays rigid nearby, limbs swing forwards and backwards, what no camera sees moves as the
   body's other side, and with a sentence as the points prior would have it.
4. Checkpoints, metrics and previews on the way; the motion at the end.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import torch

from stages.adam import Adam
from stages.conventions import DEFAULT_NUM_FRAMES, frame_times
from stages.distilling.drawn import read_video_samples
from stages.distilling.following import FollowConfig, Following
from stages.distilling.given import GivenVideos, drawn_videos, on_device, read_videos, shrunk
from stages.distilling.hidden import hidden_like
from stages.distilling.sideways import Sideways
from stages.distilling.symmetry import Mirrored
from stages.distilling.tracks import Tracks, estimated_tracks
from stages.errors import BadInput
from stages.events import Caution, Finished, Note, Progress, Report, Started, Wrote
from stages.gaussians import Gaussians
from stages.gaussians.normalised import Placement
from stages.gaussians.stand_in import stand_in
from stages.guides import Guide
from stages.media.preview import write_preview
from stages.motion.hexplane import HexPlaneConfig
from stages.motion.interface import Regularizer
from stages.motion.kinds import MotionConfig, checkpoint_state, checkpoint_tensors, new_motion
from stages.motion.regularizers import RegularizerConfig
from stages.motion.skeletal import SkeletonConfig
from stages.motion.timing import LONGEST, SHORTEST, Timing
from stages.moving.asset import MovingAsset
from stages.moving.rig import load_rig
from stages.moving.travel import parse_travel, travelling
from stages.needs import require
from stages.priors.find import POINTS, prior_fingerprint
from stages.priors.load import load_prior
from stages.priors.points import sees_points
from stages.raster import Rasterizer, choose
from stages.run_dir import RunDir
from stages.run_dir.layout import MOTION, RIG, SAMPLES
from stages.run_dir.optimiser_state import optimisation_tensors, restore_optimisation
from stages.settings import check

AGREEING = 0.8
"""Share of movement that one motion in space must explain for the views of several cameras to count as one thing."""


@dataclass(frozen=True, kw_only=True)
class VideosConfig:
    """Settings of following videos. [ours], where ``FollowConfig`` does not say otherwise."""

    prompt: str = ""  # with it, what no camera sees moves as the points prior would have it
    sample: int = 0  # follow this one of the run's samples in place of given videos
    given: GivenVideos = field(default_factory=GivenVideos)
    follow: FollowConfig = field(default_factory=FollowConfig)
    sideways_weight: float = 3.0  # how little limbs swing to the sides where no camera sees it; needs a front
    mirrored_weight: float = 3.0  # how much what is hidden moves as the body's other side; needs a front
    hidden_weight: float = 1.0  # of the points prior for what is hidden; needs a prompt
    travel: str = "none"
    seconds: float | None = None  # that the motion lasts; None: as long as the first video
    steps: int = 150
    seed: int = 0
    render_px: int = 96  # longer side of the pictures that are compared
    motion: MotionConfig = field(
        default_factory=lambda: MotionConfig(skeleton=SkeletonConfig(frames=24, learning_rate=1e-2))
    )
    regularizers: RegularizerConfig = field(
        default_factory=lambda: RegularizerConfig(tv_weight=0.0, arap_weight=30.0, ground_weight=0.0)
    )
    learning_rate: float = 2e-2
    max_gaussians: int = 2_000  # a larger asset is moved through a stand-in
    raster: str | None = None
    device: str = "cpu"
    checkpoint_every: int = 50
    preview_every: int = 50

    def __post_init__(self) -> None:
        check(self, sample=0, sideways_weight=0, mirrored_weight=0, hidden_weight=0, steps=1, render_px=16)
        check(self, learning_rate=0, max_gaussians=1, checkpoint_every=1, preview_every=0)
        parse_travel(self.travel)
        if self.seconds is not None and not SHORTEST <= self.seconds <= LONGEST:
            raise BadInput(f"seconds must lie between {SHORTEST:g} and {LONGEST:g}, not {self.seconds:g}.")
        if self.motion.kind == "points":
            raise BadInput("Videos are followed by a field or a skeleton.", "Use --motion field, or --motion skeleton.")


PRESETS = {"default": VideosConfig()}


def run(run_dir: RunDir, config: VideosConfig, report: Report, *, force: bool = False) -> None:
    """Write ``motion/motion.safetensors`` into the run.

    Raises:
        BadInput: about a video or a camera; or neither a video nor a sample is asked for.
        MissingStage: the run has no asset, no samples, or no rig for a skeleton.
    """
    if not config.given.videos and not config.sample:
        raise BadInput("There is no video to follow.", "Give --video FILE, or --sample NUMBER.")
    require(run_dir, MOTION, force=force, most=config.max_gaussians, frames=DEFAULT_NUM_FRAMES, device=config.device)
    # 1. what it works on
    in_file = run_dir.load_asset()
    placement = Placement.of(in_file)
    asset = placement.normalised(in_file)
    folder = run_dir.stage(MOTION.folder)
    inputs = {"asset": run_dir.asset_hash(), **config.given.inputs()}
    rig, prompt = None, config.prompt
    if config.motion.kind == "skeleton":
        rig = load_rig(run_dir).normalised(placement)
        inputs["rig"] = run_dir.stage(RIG.folder).result_hash(RIG.result)
    if config.sample:
        samples = read_video_samples(run_dir, number=config.sample, prompt=config.prompt)
        inputs["samples"] = run_dir.stage(SAMPLES.folder).result_hash(SAMPLES.result)
        prompt = samples.prompt
    elif prompt:
        inputs["prior"] = prior_fingerprint(POINTS)
    begin = folder.begin(
        config=asdict(config),
        defaults=asdict(VideosConfig()),
        inputs=inputs,
        total_steps=config.steps,
        force=force,
        report=report,
    )
    if begin.done:
        report(Note("distill is already done with these settings; nothing to do (--force does it again)."))
        return
    rasterizer = choose(config.device, config.raster, report)
    if config.sample:
        guides = drawn_videos(samples, config.sample, frame_times(samples.rgb.shape[2]), asset, rasterizer)
    else:
        guides = read_videos(config.given, in_file, placement, rasterizer, folder.path, report)
    guides = [on_device(guide, config.device) for guide in guides]
    moved = stand_in(asset, config.max_gaussians).to(config.device)
    if moved.num_gaussians != asset.num_gaussians:
        report(Note(f"Moved through a stand-in of {moved.num_gaussians:,} of its {asset.num_gaussians:,} Gaussians."))

    # 2. what the cameras see
    tracks = [estimated_tracks(moved, guide, rasterizer) for guide in guides]
    small = [shrunk(guide, config.render_px) for guide in guides]
    fit = Following(moved, small, tracks, config.follow, rasterizer, steps=config.steps, seed=config.seed)
    tell_of_views(fit, report)

    # 3. the motion
    motion = new_motion(field_for(config, guides), asset.to(config.device), config.seed, rig=rig)
    regularizers = [*motion.regularizers(moved, config.regularizers)]
    regularizers += left_open(run_dir, config, moved, tracks, fit.times, rasterizer, report)
    optimiser = Adam(motion.parameter_groups(config.learning_rate))
    start = begin.resume_step
    if start:
        restore_optimisation(folder.load_checkpoint()[1], motion.named_parameters(), optimiser)
    report(Started("distill", config.steps, start))
    for step in range(start, config.steps):
        losses = fit.step(motion, regularizers, step)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
        # 4.
        done = step + 1
        metrics = {name: value.item() for name, value in losses.items()}
        report(Progress(done, metrics))
        folder.log_metrics(done, **metrics)
        # the preview first: whoever goes on from the checkpoint does not make it again
        if (config.preview_every and done % config.preview_every == 0) or done == config.steps:
            preview = write_preview(folder.path / "preview", fit.film(motion), fps=8)
            report(Wrote(preview, f"the video, and the motion after {done} steps"))
        if done % config.checkpoint_every == 0 or done == config.steps:
            learnt = optimisation_tensors(motion.named_parameters(), optimiser)
            folder.save_checkpoint(done, checkpoint_tensors(motion, learnt), checkpoint_state(motion))
    told, seconds = {"prompt": prompt}, config.seconds or guides[0].seconds
    if seconds is not None:
        told |= Timing(min(max(seconds, SHORTEST), LONGEST)).metadata()
    moving = MovingAsset(moved, motion, MOTION.folder, prompt, placement=placement, timing=Timing.of(told))
    told |= travelling(moving, parse_travel(config.travel), run_dir.facing().used_deg, report)
    folder.write_result(MOTION.result, motion.tensors(), motion.metadata() | told)
    folder.finish(config.steps)
    report(Finished("distill"))


def tell_of_views(fit: Following, report: Report) -> None:
    """Say how well what several cameras see is one motion in space."""
    if fit.agreement is None:
        return
    said = f"One motion in space explains {max(0.0, fit.agreement):.0%} of what {len(fit.tracks)} cameras see"
    if fit.agreement < AGREEING:
        report(Caution(f"{said}: they disagree, and what they disagree about counts less."))
    else:
        report(Note(f"{said}."))


def field_for(config: VideosConfig, guides: list[Guide]) -> MotionConfig:
    """The settings of the motion; one that need not begin at rest where the videos do not."""
    if all(guide.starts_at_rest for guide in guides):
        return config.motion
    hexplane = HexPlaneConfig(**{**asdict(config.motion.hexplane), "still_start": 0.0})
    skeleton = SkeletonConfig(**{**asdict(config.motion.skeleton), "free_start": True})
    return MotionConfig(**{**vars(config.motion), "hexplane": hexplane, "skeleton": skeleton})


def by_the_body(
    config: VideosConfig, asset: Gaussians, tracks: list[Tracks], facing_deg: float | None
) -> list[Regularizer]:
    """Terms for what the videos leave open that a body with a front tells by itself."""
    terms: list[Regularizer] = []
    if config.sideways_weight and facing_deg is not None:
        terms.append(Sideways(config.sideways_weight, asset, facing_deg))
    if config.mirrored_weight and facing_deg is not None:
        mirrored = Mirrored(config.mirrored_weight, asset, facing_deg, tracks)
        terms += [mirrored] if mirrored.tells else []
    return terms


def left_open(
    run_dir: RunDir,
    config: VideosConfig,
    asset: Gaussians,
    tracks: list[Tracks],
    times: torch.Tensor,
    rasterizer: Rasterizer,
    report: Report,
) -> list[Regularizer]:
    """Terms for what the videos leave open."""
    facing = run_dir.facing()
    terms = by_the_body(config, asset, tracks, facing.degrees)
    if config.prompt and config.hidden_weight and not config.sample:
        prior = load_prior(POINTS, config.device)
        assert sees_points(prior)
        prior.tell(config.prompt, report)
        term, left = hidden_like(
            prior,
            asset,
            tracks,
            times,
            rasterizer,
            prompt=config.prompt,
            facing_deg=facing.used_deg,
            seed=config.seed,
            weight=config.hidden_weight,
        )
        if left < 1.0:
            report(
                Note(f"The points prior explains {1.0 - left:.0%} of what is seen; what is hidden moves as it says.")
            )
            terms.append(term)
        else:
            report(Caution("No motion that the points prior draws for the sentence is like the video; it is not used."))
    return terms
