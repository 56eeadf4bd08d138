"""distill: make the asset move as the sentence says (Animus3D, section 4.2).

    animus3d distill --prompt "a walking goat"

1. Fix a set of cameras and a ladder of timesteps, so that the static branch, which does not depend on the motion, is
   computed once for each pair and kept.
2. A prior that says where the pixels of the picture go, as the embedded one does, is asked that once for each camera;
   every step pulls the moved asset there. Every ``score_every`` steps, at one timestep: render the moved asset, encode
   it, take the motion score (or plain SDS), and backpropagate it through the encoder and the rasterizer into the motion
   field only.
3. TV-3D and ARAP keep the motion smooth in time and the body whole.
4. Checkpoints, metrics and previews on the way; the field at the end.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Literal

import torch

from stages.distilling.distillation import Distillation, new_field
from stages.errors import BadInput, MissingStage
from stages.events import Caution, Finished, Note, Progress, Report, Started, Wrote
from stages.gaussians.stand_in import stand_in
from stages.motion.hexplane import HexPlaneConfig
from stages.priors.load import load_prior, prior_fingerprint
from stages.priors.lora import load_adapter
from stages.priors.prior import motions_named, says_flow
from stages.priors.profiles import ProfileName
from stages.raster import choose
from stages.run_dir import RunDir
from stages.run_dir.optimiser_state import optimisation_tensors, restore_optimisation

NEGATIVE_PROMPT = "low motion, static statue, not moving, no motion"
"""What the moving branch is guided away from (TC4D, 4D-fy)."""


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Settings of ``distill``. The paper states neither guidance, timesteps, w(t), inversion steps, weights nor rates:
    those are [ours], chosen by looking at what the embedded prior does; ``docs/prior.md`` says why. A large prior will
    want others: guidance 3, two inversion steps, fixed noise, all timesteps and a blur that is gone halfway are what
    the exact one likes (``make bench-exact``, ``make bench-evaluations``).
    """

    prompt: str = ""
    negative_prompt: str = NEGATIVE_PROMPT
    objective: Literal["msd", "sds"] = "msd"
    steps: int = 240
    seed: int = 0
    guidance: float = 1.1
    inversion_steps: int = 1  # 0: random noise instead
    static_branch: Literal["lora", "prompt", "none"] = "lora"  # what is subtracted; the others are for ``ablate``
    own_noise: bool = True  # each branch's score relative to its own noise, see ``stages.objectives.msd``
    start_noise: Literal["fresh", "fixed", "none"] = "fresh"  # in which inversion begins, see ``ddim_invert``
    timestep_min: float = 0.95  # as fractions of the schedule
    timestep_max: float = 0.99
    timestep_max_end: float = 0.97  # the upper end is annealed linearly down to this
    num_timesteps: int = 8  # rungs of the ladder
    blur: float = 5 / 64  # of the residual, in heights of the picture, see ``smooth_gradient``
    blur_until: float = 1.0  # the share of the steps in which it falls, linearly, to none
    score_weight: float = 1.0  # of the objective
    score_every: int = 4  # steps: it costs most of the time
    flow_weight: float = 0.03  # of the error, in squared pixels, of where pixels go; for priors that say so
    flow_guidance: float = 2.0
    flow_samples: int = 4  # noisy pictures that it is asked about for each camera
    num_cameras: int = 8
    max_gaussians: int = 10_000  # a larger asset is moved through a stand-in, see ``stages.gaussians.stand_in``
    background: float = 1.0
    tv_weight: float = 0.001
    arap_weight: float = 20.0
    arap_anchors: int = 1000  # Gaussians at which ARAP is measured in each step
    neighbours: int = 24  # of ARAP; with 8 the limbs of a jumping body fold away [ours]
    field: HexPlaneConfig = field(default_factory=HexPlaneConfig)
    grid_learning_rate: float = 6e-3
    mlp_learning_rate: float = 6e-4
    prior: str = "embedded"
    num_frames: int | None = None  # of the prior's clips; None: as it was made for
    size_px: int | None = None  # likewise
    profile: ProfileName = "24gb"
    compile: bool = False  # a published model, which pays where it is asked hundreds of times; CUDA graphs on a card
    raster: str | None = None
    device: str = "cpu"
    checkpoint_every: int = 50
    preview_every: int = 50

    def blur_at(self, step: int) -> float:
        """The blur of one step's residual, in heights of the picture."""
        return self.blur * max(0.0, 1.0 - step / max(1.0, self.blur_until * self.steps))


PRESETS = {
    "default": DistillConfig(),
    "preview": replace(DistillConfig(), steps=120, score_weight=0.0),
    "best": replace(DistillConfig(), steps=480, score_every=1, num_cameras=16),
    # for published models, which say no flow: what MSD is best with on the exact prior (``make bench-exact``), with the
    # guidance usual for learned ones; not tried with published weights
    "published": replace(
        DistillConfig(),
        steps=600,
        max_gaussians=100_000,
        score_every=1,
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
        flow_weight=0.0,
        arap_weight=30.0,
        grid_learning_rate=1e-2,
        mlp_learning_rate=1e-3,
    ),
}


def run(run: RunDir, config: DistillConfig, report: Report, *, force: bool = False) -> None:
    """Write ``motion/field.safetensors`` into the run.

    Raises:
        BadInput: no prompt, settings of the noise that contradict each other, or nothing that moves the asset.
        MissingStage: the run has no asset, or no LoRA although the objective is MSD and its weight not 0.
    """
    if not config.prompt.strip():
        raise BadInput("distill needs a sentence.", 'For example: animus3d distill --prompt "a walking goat"')
    scored = config.score_weight > 0.0
    compared = scored and config.objective == "msd" and config.static_branch != "none"  # with the asset standing still
    if scored and config.objective == "msd":
        check_noise(config)
    if not scored and not (config.flow_weight and says_flow(load_prior(config.prior))):
        raise BadInput(
            f"Without its score the prior {config.prior!r} says nothing to follow.", "Add: --set score_weight=1"
        )
    asset = run.load_asset()
    folder = run.stage("motion")
    inputs = {"asset": run.asset_hash(), "prior": prior_fingerprint(config.prior)}
    if compared:
        if not run.stage("lora").is_complete():
            raise MissingStage(
                f"{run.path} has no static LoRA, which MSD compares with.", "Run first: animus3d fit-lora"
            )
        inputs["lora"] = run.stage("lora").result_hash("adapter.safetensors")
        made_for = run.stage("lora").read_result("adapter.safetensors")[1]
        if made_for.get("prior_fingerprint", inputs["prior"]) != inputs["prior"]:
            raise BadInput(
                f"The static LoRA was made for the prior {made_for['prior']!r}, not for {config.prior!r}.",
                f"Run: animus3d fit-lora --prior {config.prior} --force",
            )
    begin = folder.begin(
        config=asdict(config), defaults=asdict(DistillConfig()), inputs=inputs, total_steps=config.steps, force=force
    )
    if begin.done:
        report(Note("distill is already done with these settings; nothing to do (--force does it again)."))
        return

    rasterizer = choose(config.device, config.raster)  # before weights are read: it may not be there
    prior = load_prior(
        config.prior,
        config.device,
        num_frames=config.num_frames,
        size_px=config.size_px,
        profile=config.profile,
        compiled=config.compile,
    )
    if prior.motions and not motions_named(prior, config.prompt):
        report(
            Caution(
                f"{config.prompt!r} names no motion that the prior {config.prior!r} was taught; the asset will move, "
                f"but not as the sentence says. It knows: {', '.join(prior.motions)}."
            )
        )
    static_prompt = ""
    if compared:
        tensors, metadata = run.stage("lora").read_result("adapter.safetensors")
        static_prompt = metadata["static_prompt"]
        prior.encode_text(
            [config.prompt, config.negative_prompt, static_prompt]
        )  # before the denoiser needs the memory
        assert prior.denoiser is not None
        load_adapter(prior.denoiser, tensors, metadata)

    # 1. cameras, timesteps, and the static branch
    moved = stand_in(asset, config.max_gaussians)
    if moved is not asset:
        report(Note(f"Moved through a stand-in of {moved.num_gaussians:,} of its {asset.num_gaussians:,} Gaussians."))
    distillation = Distillation(moved.to(config.device), prior, rasterizer, config, static_prompt)
    field_ = new_field(asset, config)
    optimiser = torch.optim.Adam(field_.parameter_groups(config.grid_learning_rate))
    start = begin.resume_step
    if start:
        restore_optimisation(folder.load_checkpoint()[1], field_.named_parameters(), optimiser)

    report(Started("distill", config.steps, start))
    for step in range(start, config.steps):
        # 2. and 3.
        losses = distillation.step(field_, step)
        optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()
        optimiser.step()
        # 4.
        done = step + 1
        metrics = {name: value.item() for name, value in losses.items()}
        report(Progress(done, metrics))
        folder.log_metrics(done, **metrics)
        if done % config.checkpoint_every == 0 or done == config.steps:
            folder.save_checkpoint(done, optimisation_tensors(field_.named_parameters(), optimiser), {})
        if (config.preview_every and done % config.preview_every == 0) or done == config.steps:
            report(Wrote(distillation.preview(folder, field_), f"the motion after {done} steps"))
    folder.write_result("field.safetensors", field_.tensors(), field_.metadata() | {"prompt": config.prompt})
    folder.finish(config.steps)
    report(Finished("distill"))


def check_noise(config: DistillConfig) -> None:
    """Raise ``BadInput`` for settings of MSD's noise that contradict each other."""
    if config.start_noise == "fresh" and not config.own_noise:
        raise BadInput(
            "own_noise=false compares branches that hold the same noise; start_noise=fresh gives each its own.",
            "Add: --set start_noise=fixed",
        )
    if config.inversion_steps == 0 and config.start_noise == "none":
        raise BadInput(
            "inversion_steps=0 adds random noise; start_noise=none has none.", "Add: --set start_noise=fresh"
        )
    if config.static_branch == "none" and not config.own_noise:
        raise BadInput("static_branch=none leaves a clip's own noise to subtract.", "Add: --set own_noise=true")


__all__ = ["PRESETS", "DistillConfig", "Distillation", "new_field", "run"]
