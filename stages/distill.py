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
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from stages.cameras import Camera, sample_orbit_cameras
from stages.conventions import frame_times, step_generator
from stages.errors import BadInput, MissingStage
from stages.events import Caution, Finished, Note, Progress, Report, Started, Wrote
from stages.gaussians import Gaussians
from stages.gaussians.neighbours import nearest_neighbours
from stages.media.preview import write_preview
from stages.motion.hexplane import HexPlaneConfig, MotionField, apply_offsets
from stages.motion.regularizers import arap, tv3d
from stages.objectives.flow import flow_loss, flow_pair, guided_flow
from stages.objectives.msd import distillation_loss, msd_gradient, static_score
from stages.objectives.sds import sds_gradient
from stages.objectives.smoothing import smooth_gradient
from stages.priors.load import load_prior, prior_fingerprint
from stages.priors.lora import load_adapter
from stages.priors.prior import ClipShape, VideoPrior, motions_named, says_flow
from stages.priors.profiles import ProfileName
from stages.raster import Rasterizer, choose, render, render_flow
from stages.run_dir import RunDir, StageFolder
from stages.run_dir.optimiser_state import optimisation_tensors, restore_optimisation

NEGATIVE_PROMPT = "low motion, static statue, not moving, no motion"
"""What the moving branch is guided away from (TC4D, 4D-fy)."""


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Settings of ``distill``. The paper states neither guidance, timesteps, w(t), inversion steps, weights nor rates:
    those are [ours], chosen by looking at what the embedded prior does; ``docs/prior.md`` says why. A large prior will
    want others: guidance 3, two inversion steps, fixed noise and all timesteps are what the exact one likes
    (``make bench-exact``, ``make bench-evaluations``).
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
    blur_px: float = 5.0  # of the residual, at the prior's size; falls linearly to none, see ``smooth_gradient``
    score_weight: float = 1.0  # of the objective
    score_every: int = 4  # steps: it costs most of the time
    flow_weight: float = 0.03  # of the error, in squared pixels, of where pixels go; for priors that say so
    flow_guidance: float = 2.0
    flow_samples: int = 4  # noisy pictures that it is asked about for each camera
    num_cameras: int = 8
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


PRESETS = {
    "default": DistillConfig(),
    "preview": replace(DistillConfig(), steps=120, score_weight=0.0),
    "best": replace(DistillConfig(), steps=480, score_every=1, num_cameras=16),
    # for published models, which say no flow: what MSD is best with on the exact prior (``make bench-exact``), with the
    # guidance usual for learned ones; not tried with published weights
    "published": replace(
        DistillConfig(),
        steps=600,
        score_every=1,
        guidance=7.5,
        inversion_steps=2,
        own_noise=False,
        start_noise="fixed",
        timestep_min=0.02,
        timestep_max=0.98,
        timestep_max_end=0.5,
        num_timesteps=16,
        blur_px=0.0,
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
    begin = folder.begin(
        config=asdict(config), defaults=asdict(DistillConfig()), inputs=inputs, total_steps=config.steps, force=force
    )
    if begin.done:
        report(Note("distill is already done with these settings; nothing to do (--force does it again)."))
        return

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
    asset = asset.to(config.device)
    distillation = Distillation(asset, prior, choose(config.device, config.raster), config, static_prompt)
    field_ = new_field(asset, config)
    optimiser = torch.optim.Adam(field_.parameter_groups(config.grid_learning_rate, config.mlp_learning_rate))
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


def new_field(asset: Gaussians, config: DistillConfig) -> MotionField:
    """A motion field around the asset that does not move it yet."""
    low, high = asset.bounds()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return MotionField(config.field, low.cpu(), high.cpu()).to(config.device)


class Distillation:
    """Everything a step needs that does not change between steps; ``step`` gives the losses of one."""

    def __init__(
        self, asset: Gaussians, prior: VideoPrior, rasterizer: Rasterizer, config: DistillConfig, static_prompt: str
    ) -> None:
        self.asset, self.prior, self.rasterizer, self.config = asset, prior, rasterizer, config
        self.cameras = [c.to(config.device) for c in self.sample_cameras(asset, prior.clip, config)]
        rungs = torch.linspace(config.timestep_min, config.timestep_max, config.num_timesteps).tolist()
        self.timesteps = [prior.parameterization.timestep_at(rung) for rung in rungs]
        self.times = frame_times(prior.clip.num_frames, config.device)
        self.neighbours, self.distances = nearest_neighbours(asset.means, config.neighbours)
        self.background = torch.full((3,), config.background, device=config.device)
        with torch.no_grad():
            prompts = [config.prompt, config.negative_prompt, static_prompt]
            self.text, self.negative, self.static_text = prior.encode_text(prompts).split()
            frames = [render(asset, [camera], rasterizer, background=self.background).rgb for camera in self.cameras]
            self.pictures = [prior.encode_picture(frame) for frame in frames]  # [1, ...] each
            self.stills = [prior.encode_still(frame) for frame in frames]  # [1, C, t, h, w] each
        self._static_eps: dict[tuple[int, int], Tensor] = {}

    @staticmethod
    def sample_cameras(asset: Gaussians, clip: ClipShape, config: DistillConfig) -> list[Camera]:
        """The fixed set of cameras that the seed draws, for pictures of the size of ``clip``."""
        low, high = asset.bounds()
        generator = step_generator(config.seed, 0, stream=1)
        return sample_orbit_cameras(
            config.num_cameras, low=low, high=high, width=clip.width, height=clip.height, generator=generator
        )

    def step(self, field_: MotionField, step: int) -> dict[str, Tensor]:
        """Losses of optimiser step ``step``: "loss" is their weighted sum."""
        config = self.config
        generator = step_generator(config.seed, step)
        view = int(torch.randint(0, len(self.cameras), (), generator=generator))
        timestep = self.draw_timestep(step, generator)
        means, quats = apply_offsets(self.asset, field_(self.asset.means, self.times))
        losses = {}
        if config.score_weight and step % config.score_every == 0:
            frames = self.render(means, quats, self.cameras[view])
            latents = self.prior.encode(smooth_gradient(frames, config.blur_px * (1.0 - step / max(1, config.steps))))
            gradient = self.gradient(latents, view, timestep, generator)
            losses["score"] = distillation_loss(latents, gradient) / latents[0].numel()
        if config.flow_weight and says_flow(self.prior):
            moves = render_flow(self.asset, self.cameras[view], self.rasterizer, means)
            losses["flow"] = flow_loss(*moves, self.flows[view])
        losses["tv"] = tv3d(means)
        anchors = self.draw_anchors(generator)
        losses["arap"] = arap(means, self.asset.means, self.neighbours, self.distances, anchors)
        total = torch.zeros((), device=means.device)
        for name, value in losses.items():
            total = total + getattr(config, f"{name}_weight") * value
        return {"loss": total, **losses}

    def draw_timestep(self, step: int, generator: torch.Generator) -> int:
        """A rung of the ladder below the annealed upper end."""
        config = self.config
        done = step / max(1, config.steps)
        upper = config.timestep_max + done * (config.timestep_max_end - config.timestep_max)
        allowed = max(1, sum(t <= self.prior.parameterization.timestep_at(upper) for t in self.timesteps))
        return self.timesteps[int(torch.randint(0, allowed, (), generator=generator))]

    def draw_anchors(self, generator: torch.Generator) -> Tensor | None:
        """The Gaussians at which ARAP is measured in one step; None for all."""
        count = self.asset.num_gaussians
        if count <= self.config.arap_anchors:
            return None
        return torch.randperm(count, generator=generator)[: self.config.arap_anchors].to(self.asset.means.device)

    def render(self, means: Tensor, quats: Tensor, camera: Camera) -> Tensor:
        """Frames [T, H, W, 3] of the moved asset from one camera."""
        cameras = [camera] * means.shape[0]
        return render(self.asset, cameras, self.rasterizer, means=means, quats=quats, background=self.background).rgb

    def gradient(self, latents: Tensor, view: int, timestep: int, generator: torch.Generator) -> Tensor:
        """The objective's direction in latent space, detached."""
        config, picture = self.config, self.pictures[view]
        eps = torch.randn(latents.shape, generator=generator).to(latents)
        if config.objective == "sds":
            return sds_gradient(self.prior, latents, eps, timestep, self.text, self.negative, config.guidance, picture)
        return msd_gradient(
            self.prior,
            latents.detach(),
            self.static_eps(view, timestep),
            timestep,
            self.text,
            self.negative,
            config.guidance,
            config.inversion_steps,
            picture,
            eps if config.start_noise == "fresh" else self.start_noise(view),
            config.own_noise,
        )

    @cached_property
    def flows(self) -> Tensor:
        """Where the prior says that the pixels of each camera's picture go, [V, T, H, W, 2]: asked before the first
        step, of pictures of the asset at rest in so much noise that whether it moves cannot be seen."""
        pairs = torch.stack([self.flow_pair_of(view) for view in range(len(self.cameras))])
        return guided_flow(pairs, self.config.flow_guidance)

    def flow_pair_of(self, view: int) -> Tensor:
        """The flow of one camera for the negative prompt and for the prompt, [2, T, H, W, 2], over several noises."""
        assert says_flow(self.prior)
        config, still, picture, pairs = self.config, self.stills[view], self.pictures[view], []
        for sample in range(config.flow_samples):
            share = (sample + 0.5) / config.flow_samples
            fraction = config.timestep_min + share * (config.timestep_max - config.timestep_min)
            timestep = self.prior.parameterization.timestep_at(fraction)
            generator = step_generator(config.seed, view * config.flow_samples + sample, stream=4)
            eps = torch.randn(still.shape, generator=generator).to(still)
            pairs.append(flow_pair(self.prior, still, eps, timestep, self.text, self.negative, picture))
        return torch.stack(pairs).mean(dim=0)

    def static_eps(self, view: int, timestep: int) -> Tensor:
        """The static branch of one camera and timestep, computed once; zero where there is none."""
        if self.config.static_branch == "none":
            return torch.zeros_like(self.stills[view])
        key = (view, timestep)
        if key not in self._static_eps:
            self._static_eps[key] = static_score(
                self.prior,
                self.stills[view],
                timestep,
                self.static_text,
                self.config.inversion_steps,
                self.pictures[view],
                self.start_noise(view),
                self.config.own_noise,
                self.config.static_branch == "lora",
            )
        return self._static_eps[key]

    def start_noise(self, view: int) -> Tensor | None:
        """The noise in which the inversion of the static branch begins, and unless it is to be fresh in every step that
        of the moving one too: the same whenever a camera is used. None where it is switched off."""
        if self.config.start_noise == "none":
            return None
        still = self.stills[view]
        return torch.randn(still.shape, generator=step_generator(self.config.seed, view, stream=2)).to(still)

    @torch.no_grad()
    def preview(self, folder: StageFolder, field_: MotionField) -> Path:
        """Write the present motion from the first camera into the stage's folder."""
        means, quats = apply_offsets(self.asset, field_(self.asset.means, self.times))
        return write_preview(folder.path / "preview", self.render(means, quats, self.cameras[0]), fps=8)


__all__ = ["PRESETS", "DistillConfig", "Distillation", "new_field", "run"]
