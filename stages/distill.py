"""distill: make the asset move as the sentence says (Animus3D, section 4.2).

    animus3d distill --prompt "a walking goat"

1. Load the asset, the prior and, where the objective compares with it, the static LoRA.
2. Fix a set of viewpoints; begin with a motion that moves nothing, or with the last checkpoint.
3. In every step a prior observes the moving asset from one of them; objectives and regularizers say what is wrong with
   what it sees, and the motion follows their gradient. The asset itself never changes.
4. Checkpoints, metrics and previews on the way; the motion at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import torch

from stages.adam import Adam
from stages.conventions import DEFAULT_NUM_FRAMES, step_generator
from stages.distilling.distillation import Distillation, ObjectiveConfig
from stages.distilling.drawn import read_samples
from stages.distilling.match import MatchConfig
from stages.distilling.pixel_flow import PixelFlowConfig
from stages.distilling.score import ScoreConfig
from stages.distilling.static_lora import adapt, lora_hash, warn_of_other_ground
from stages.distilling.viewpoints import ViewsConfig, is_loop, look_at, tell_of_ground
from stages.errors import BadInput
from stages.events import Caution, Finished, Note, Progress, Report, Started, Wrote
from stages.facing.keep import facing_input
from stages.gaussians import Gaussians
from stages.gaussians.normalised import Placement
from stages.gaussians.stand_in import stand_in
from stages.media.preview import write_preview
from stages.motion.interface import Motion
from stages.motion.kinds import (
    MotionConfig,
    checkpoint_state,
    checkpoint_tensors,
    motions_before,
    new_motion,
    restore_fixed,
)
from stages.motion.regularizers import STIFF, RegularizerConfig
from stages.motion.sequence import is_closed, joined
from stages.motion.skeletal import SkeletonConfig
from stages.motion.timing import LONGEST, SHORTEST, USUAL_SECONDS, Timing, timing, timings
from stages.moving.asset import MovingAsset
from stages.moving.rig import load_rig
from stages.moving.travel import parse_travel, travelling
from stages.needs import require
from stages.priors.find import EMBEDDED, POINTS, preset_of, prior_fingerprint
from stages.priors.load import load_prior
from stages.priors.points import sees_points
from stages.priors.prior import Prior, motions_named, predicts_pixel_flow
from stages.priors.profiles import ProfileName
from stages.raster import choose
from stages.run_dir import RunDir
from stages.run_dir.layout import LORA, MOTION, RIG, SAMPLES
from stages.run_dir.optimiser_state import optimisation_tensors, restore_optimisation
from stages.settings import check

NEGATIVE_PROMPT = "low motion, static statue, not moving, no motion"
"""What the moving branch is guided away from (TC4D, 4D-fy)."""


@dataclass(frozen=True, kw_only=True)
class DistillConfig(ObjectiveConfig):
    """Settings of ``distill``: its own, and those of the parts it is made of. As they stand here they suit the embedded
    video prior; ``PRESETS`` has those for others. A large prior will want others: guidance 3, two inversion steps,
    fixed noise, all timesteps and a blur gone halfway are best for MSD on the exact prior (``make bench-exact``,
    ``make bench-evaluations``).
    """

    prompt: str = ""
    then: tuple[str, ...] = ()  # sentences that follow it, each for as many steps
    travel: str = "none"  # auto: as its feet push; none: on the spot; or a speed in the asset's units a second
    seconds: float | None = None  # that the motion lasts; None: as long as such motions do, where the prior knows that
    negative_prompt: str = NEGATIVE_PROMPT
    steps: int = 240
    seed: int = 0
    views: ViewsConfig = field(default_factory=ViewsConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)
    regularizers: RegularizerConfig = field(default_factory=RegularizerConfig)
    learning_rate: float = 6e-3  # of the fastest of the motion's parameters
    max_gaussians: int = 10_000  # a larger asset is moved through a stand-in, see ``stages.gaussians.stand_in``
    prior: str = EMBEDDED
    num_frames: int | None = None  # of the prior's clips; None: as it was made for
    size_px: int | None = None  # likewise
    profile: ProfileName = "24gb"
    compile: bool = False  # a published model, which pays where it is asked hundreds of times; CUDA graphs on a card
    raster: str | None = None
    device: str = "cpu"
    checkpoint_every: int = 50
    preview_every: int = 50

    def __post_init__(self) -> None:
        check(
            self,
            steps=1,
            learning_rate=0,
            regularizers_left=0,
            max_gaussians=1,
            num_frames=1,
            size_px=1,
            checkpoint_every=1,
            preview_every=0,
        )
        if self.seconds is not None and not SHORTEST <= self.seconds <= LONGEST:
            raise BadInput(f"seconds must lie between {SHORTEST:g} and {LONGEST:g}, not {self.seconds:g}.")
        parse_travel(self.travel)
        if not all(sentence.strip() for sentence in self.then):
            raise BadInput("A sentence of --then is empty.", 'For example: --then "it jumps"')

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the asset does, one after the other."""
        return (self.prompt, *self.then)

    def for_sentence(self, number: int) -> DistillConfig:
        """The settings for one of the sentences; a sample that was chosen is of the first."""
        if number == 0:
            return self
        match = replace(self.match, sample=0)
        return replace(self, prompt=self.then[number - 1], seed=self.seed + number, match=match)


FAITHFUL = ScoreConfig(
    every=1,
    guidance=7.5,
    inversion_steps=2,
    own_noise=False,
    start_noise="fixed",
    timestep_min=0.02,
    timestep_max=0.98,
    timestep_max_end=0.5,
    num_timesteps=16,
    blur=3 / 64,
    blur_until=0.5,
)
"""Best for MSD on the exact prior (``make bench-exact``), with the guidance usual for learned models."""

AKD = DistillConfig(
    prior="THUDM/CogVideoX-5b",  # text to video, as in the paper
    steps=10_000,
    max_gaussians=100_000,
    num_frames=49,
    views=ViewsConfig(ground=True),
    motion=MotionConfig(kind="skeleton", skeleton=SkeletonConfig(frames=49, learning_rate=1e-3, free_start=True)),
    score=ScoreConfig(
        objective="sds",
        sds_form="x0",
        every=1,
        guidance=7.5,
        timestep_min=0.5,
        timestep_min_end=0.02,
        timestep_max=0.98,
        timestep_max_end=0.5,
        anneal_share=0.5,
        num_timesteps=481,
        blur=3 / 64,
        blur_until=0.5,
    ),
    pixel_flow=PixelFlowConfig(weight=0.0),
    regularizers=STIFF,
    learning_rate=1e-2,
    checkpoint_every=100,
    preview_every=500,
)
"""*Articulated Kinematics Distillation from Video Diffusion Models* (Li et al. 2025). Of the paper: the prior, joint
angles of every frame, the ground, the objective and its form for v-predictions, 10,000 steps, both ends of the
timesteps annealed over the first half, smooth controls (Eq. 10) and the ground penalty (Eq. 9). [ours], where we do not
know the paper's: the ends of the timesteps, guidance, learning rates, weights of both penalties, the blur, the size of
pictures, and a camera that stands still where the paper's follows. ARAP and TV are for a field in place of the bones,
in ``ablate``. Not tried with published weights.
"""

PRESETS = {
    # for the points prior: a sample of its own is followed
    "default": DistillConfig(
        prior=POINTS,
        steps=20,
        score=ScoreConfig(weight=0.0),
        match=MatchConfig(),
        pixel_flow=PixelFlowConfig(weight=0.0),
        motion=MotionConfig(kind="points", skeleton=SkeletonConfig(learning_rate=1e-3)),
        regularizers=RegularizerConfig(tv_weight=0.0, arap_weight=20.0),
        learning_rate=1e-2,
    ),
    # the same prior, scored: no camera takes part either
    "points-msd": DistillConfig(
        prior=POINTS,
        steps=150,
        score=replace(FAITHFUL, guidance=1.0, timestep_max_end=0.3, blur=0.0),
        pixel_flow=PixelFlowConfig(weight=0.0),
        motion=MotionConfig(kind="points"),
        regularizers=RegularizerConfig(tv_weight=0.0, arap_weight=0.0),
        learning_rate=1e-1,
    ),
    # for the embedded video prior: MSD, guided by its pixel flow; without MSD; longer
    "video": DistillConfig(),
    "preview": DistillConfig(steps=120, score=ScoreConfig(weight=0.0)),
    "best": DistillConfig(steps=480, score=ScoreConfig(every=1), views=ViewsConfig(num_cameras=16)),
    # AKD with a published model: the bones of ``rig`` over a ground, plain score distillation
    "akd": AKD,
    # for published models, which predict no pixel flow; best MSD settings on the exact prior (``make bench-exact``),
    # with the guidance usual for learned ones; not tried with published weights
    "published": DistillConfig(
        steps=600,
        max_gaussians=100_000,
        score=FAITHFUL,
        pixel_flow=PixelFlowConfig(weight=0.0),
        regularizers=STIFF,
        learning_rate=1e-2,
    ),
}


def run(run_dir: RunDir, config: DistillConfig, report: Report, *, force: bool = False) -> None:
    """Write ``motion/motion.safetensors`` into the run.

    Raises:
        BadInput: no prompt, an asset without extent, or nothing that moves it.
        MissingStage: the run has no asset, or no LoRA although the objective compares with it.
    """
    chosen = None
    if number := config.match.sample:
        chosen = read_samples(run_dir, number=number, prompt=config.prompt, prior=config.prior)
    config = config if chosen is None or config.prompt else replace(config, prompt=chosen.prompt)
    check_prompt(config)
    if not config.score.weight:
        check_objectives(config)
    require(
        run_dir, MOTION, force=force, most=config.max_gaussians, frames=config.num_frames or DEFAULT_NUM_FRAMES,
        prior=config.prior, device=config.device,
    )  # fmt: skip
    # 1. what it works on
    in_file = run_dir.load_asset()
    placement = Placement.of(in_file)
    asset = placement.normalised(in_file)
    facing_deg = run_dir.facing().used_deg
    low, high = asset.bounds()
    if torch.equal(low, high):
        raise BadInput("All Gaussians of the asset are at one place: there is nothing to bend.", "Take another asset.")
    folder = run_dir.stage(MOTION.folder)
    inputs = {"asset": run_dir.asset_hash(), "prior": prior_fingerprint(config.prior)}
    inputs |= facing_input(run_dir, config.prior)
    rig = None
    if config.motion.kind == "skeleton":
        rig = load_rig(run_dir).normalised(placement)
        inputs["rig"] = run_dir.stage(RIG.folder).result_hash(RIG.result)
    if config.score.compares:
        inputs["lora"] = lora_hash(run_dir, config.prior, inputs["prior"])
    if chosen is not None:
        inputs["samples"] = run_dir.stage(SAMPLES.folder).result_hash(SAMPLES.result)
    total = config.steps * len(config.sentences)
    begin = folder.begin(
        config=asdict(config),
        defaults=asdict(PRESETS[preset_of(config.prior)]) | {"prior": POINTS},
        inputs=inputs,
        total_steps=total,
        force=force,
        report=report,
    )
    if begin.done:
        report(Note("distill is already done with these settings; nothing to do (--force does it again)."))
        return
    rasterizer = choose(config.device, config.raster, report)  # before weights are read: it may not be there
    prior = load_prior(
        config.prior,
        config.device,
        num_frames=config.num_frames,
        size_px=config.size_px,
        profile=config.profile,
        compiled=config.compile,
    )
    warn_of_unknown_motion(prior, config, report)
    tell_of_ground(prior, config.views, report)
    static_prompt = adapt(prior, run_dir, (config.prompt, config.negative_prompt)) if config.score.compares else ""
    if config.score.compares and not sees_points(prior):
        warn_of_other_ground(run_dir, config.views.ground, report)
    if not config.score.compares and run_dir.stage(LORA.folder).is_complete():
        report(Note("The static LoRA of this run is not used: only MSD compares with it (--objective msd)."))
    moved = stand_in(asset, config.max_gaussians).to(config.device)
    if moved.num_gaussians != asset.num_gaussians:
        report(Note(f"Moved through a stand-in of {moved.num_gaussians:,} of its {asset.num_gaussians:,} Gaussians."))

    # 2. viewpoints, motion, optimiser; of each sentence in turn
    start = begin.resume_step
    tensors, state = folder.load_checkpoint()[1:] if start else ({}, {})
    finished = motions_before(tensors, state, config.device)
    report(Started("distill", total, start))
    for number in range(len(finished), len(config.sentences)):
        first = number * config.steps
        own = config.for_sentence(number)
        drawn = chosen if number == 0 else None
        viewpoints = look_at(
            prior,
            moved,
            own.views,
            rasterizer,
            prompt=own.prompt,
            facing_deg=facing_deg,
            seed=own.seed if drawn is None else drawn.seed,
        )
        distillation = Distillation(
            moved,
            prior,
            viewpoints,
            (own.prompt, own.negative_prompt, static_prompt),
            own,
            steps=own.steps,
            seed=own.seed,
            drawn=None if drawn is None else drawn.latents.to(config.device),
        )
        if sees_points(prior) and start <= first:
            prior.tell_of_body(distillation.views[0].condition, step_generator(own.seed, 0, stream=9), report)
        motion = new_motion(own.motion, asset.to(config.device), own.seed, cyclic=is_loop(viewpoints), rig=rig)
        regularizers = motion.regularizers(moved, own.regularizers.over(own.views.ground))
        if start <= first:
            distillation.begin(motion)
        optimiser = Adam(motion.parameter_groups(own.learning_rate))
        if start > first:
            restore_optimisation(tensors, motion.named_parameters(), optimiser)
            restore_fixed(motion, tensors)
        for step in range(max(0, start - first), own.steps):
            # 3.
            losses = distillation.step(motion, regularizers, step)
            optimiser.zero_grad()
            losses["loss"].backward()
            optimiser.step()
            # 4.
            done = first + step + 1
            metrics = {name: value.item() for name, value in losses.items()}
            report(Progress(done, metrics))
            folder.log_metrics(done, **metrics)
            last = step + 1 == own.steps
            # the preview first: whoever goes on from the checkpoint does not make it again
            if (config.preview_every and (step + 1) % config.preview_every == 0) or last:
                preview = write_preview(folder.path / "preview", distillation.film(motion), fps=8)
                report(Wrote(preview, f"the motion after {done} steps"))
            if (step + 1) % config.checkpoint_every == 0 or last:
                learnt = optimisation_tensors(motion.named_parameters(), optimiser)
                held = checkpoint_tensors(motion, learnt, finished)
                folder.save_checkpoint(done, held, checkpoint_state(motion, finished))
        finished.append(motion)
    whole, told = put_together(finished, prior, config, moved)
    moving = MovingAsset(moved, whole, MOTION.folder, config.prompt, placement=placement, timing=Timing.of(told))
    told |= travelling(moving, parse_travel(config.travel), facing_deg, report)
    folder.write_result(MOTION.result, whole.tensors(), whole.metadata() | told)
    folder.finish(total)
    report(Finished("distill"))


def put_together(
    motions: Sequence[Motion], prior: Prior, config: DistillConfig, asset: Gaussians
) -> tuple[Motion, dict[str, str]]:
    """The motion of all sentences, and what is told of it: the sentences, and how long it lasts where that is known."""
    told = {"prompt": ", then ".join(config.sentences)}
    natural = [prior.seconds_of(said) if sees_points(prior) else config.seconds for said in config.sentences]
    loops = [is_closed(motion) for motion in motions]
    if len(motions) == 1:
        [length], [loop] = natural, loops
        return motions[0], told | (timing(length, cyclic=loop, wanted=config.seconds).metadata() if length else {})
    lengths = timings([length or USUAL_SECONDS for length in natural], loops, config.seconds)
    whole = joined(motions, [one.seconds for one in lengths], [one.cycles for one in lengths], asset)
    return whole, told | Timing(config.seconds or whole.seconds).metadata()


def check_objectives(config: DistillConfig) -> None:
    """Raise ``BadInput`` when without the score nothing is left that the prior can serve."""
    prior = load_prior(config.prior)
    if config.match.weight and sees_points(prior):
        return
    if config.pixel_flow.weight and predicts_pixel_flow(prior):
        return
    raise BadInput(
        f"The prior {config.prior!r} predicts no pixel flow and samples no paths, so score.weight=0 leaves nothing to "
        "optimise.",
        "Take --preset video, or add: --set score.weight=1",
    )


def check_prompt(config: DistillConfig) -> None:
    """Raise ``BadInput`` when there is no sentence, and no sample to have it from."""
    if not config.prompt.strip() and not config.match.sample:
        raise BadInput("distill needs a sentence.", 'For example: animus3d distill --prompt "a walking goat"')


def warn_of_unknown_motion(prior: Prior, config: DistillConfig, report: Report) -> None:
    """A ``Caution`` where no word of the prompt says a motion that the prior was taught; what a prior with words of its
    own has understood."""
    if sees_points(prior):
        for sentence in config.sentences:
            prior.tell(sentence, report)
        return
    for sentence in config.sentences:
        if prior.motions and not motions_named(prior, sentence):
            report(
                Caution(
                    f"{sentence!r} names no motion that the prior {config.prior!r} was taught; the asset will move, "
                    f"but not as the sentence says. It knows: {', '.join(prior.motions)}."
                )
            )


__all__ = ["PRESETS", "DistillConfig", "run"]
