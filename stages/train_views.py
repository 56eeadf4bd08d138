"""train-prior --kind views: a prior that denoises several videos of one thing together, as Animate3D trains it.

    animus3d train-prior --kind views --data my-animals --init animate3d --out my-views

1. Begin with a given prior of views (``--init``), or with a new, small one.
2. Render a bank of captioned clips of one's own animated ``.glb`` files, from four sides, and encode it.
3. Train the adapters on the noise in all frames but the first, with the base frozen (Animate3D, Eq. 3). A new model has
   no base to stand on: in the first part of the steps all of it is trained.
4. Keep an exponential moving average of the weights: that is what is saved.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from stages.conventions import step_generator
from stages.errors import BadInput
from stages.events import Finished, Note, Progress, Report, Started, Wrote
from stages.files import strip_local_path
from stages.priors.find import find_prior, prior_fingerprint
from stages.priors.load import load_prior
from stages.priors.multiview import MVVDMPrior
from stages.priors.multiview.cameras import views_around
from stages.priors.multiview.new import write_new_model
from stages.priors.prior import ClipShape, Viewpoint, pictures
from stages.priors.profiles import ProfileName
from stages.raster import choose
from stages.run_dir import StageFolder
from stages.run_dir.optimiser_state import optimisation_tensors, restore_optimisation
from stages.settings import check
from stages.training.average import Average
from stages.training.view_bank import ViewBank, write_view_bank
from stages.training.views import draw_step, is_adapter, views_loss
from stages.zoo.folder import FolderClips

INDEX = "model_index.json"
NUM_FITTED = 8
"""Clips that the autoencoder of a new model is fitted to."""


@dataclass(frozen=True, kw_only=True)
class TrainViewsConfig:
    """Settings of ``train-prior --kind views``. Learning rate and dropout are Animate3D's, the others [ours]."""

    steps: int = 4000
    seed: int = 0
    data: str = ""  # folder of animated .glb files with captions.csv
    init: str = ""  # prior of views that training begins with; a new, small one when empty
    num_clips: int = 512
    batch_size: int = 2
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    ema_decay: float = 0.995
    text_dropout: float = 0.1
    num_frames: int | None = None  # of a clip; None: those of init, 16 of a new one
    size_px: int | None = None  # likewise; 64 of a new one
    base_share: float = 0.5  # of the steps of a new model in which all of it is trained
    patch_size: int = 4  # of a new model, as are those below
    latent_channels: int = 12
    widths: tuple[int, ...] = (64, 128)  # channels of each level
    num_heads: int = 4
    checkpoint_every: int = 100
    profile: ProfileName = "80gb"  # the others work activations out again: less memory, a third more time
    device: str = "cpu"

    def __post_init__(self) -> None:
        check(self, steps=1, num_clips=1, batch_size=1, learning_rate=0, checkpoint_every=1, patch_size=1, num_heads=1)
        if not 0.0 <= self.base_share <= 1.0:
            raise BadInput(f"base_share is {self.base_share}; it is a share, 0 to 1.")
        if len(self.widths) < 2 or any(width < 16 or width % 16 for width in self.widths):
            raise BadInput(f"widths are {self.widths}.", "Give two or more multiples of 16: --set widths=64,128")


PRESETS = {"default": TrainViewsConfig()}


def run(out: Path, config: TrainViewsConfig, report: Report, *, force: bool = False) -> Path:
    """Train into ``out`` (a prior's folder); resumes from its checkpoints. Returns ``out``.

    Raises:
        BadInput: no folder of clips, or one that cannot be used; ``config.init`` sees no views; clips of a shape that
            the model cannot make.
    """
    if not config.data:
        raise BadInput("A prior of views is trained on your own .glb files.", "Say which: --data FOLDER")
    source = FolderClips(Path(config.data))
    work = StageFolder(out / "training")
    inputs = {"data": source.fingerprint()}
    inputs |= {"init": prior_fingerprint(config.init)} if config.init else {}
    begin = work.begin(config=asdict(config), inputs=inputs, total_steps=config.steps, force=force, report=report)
    if begin.done:
        report(Note(f"{out} is already trained for {config.steps} steps with these settings."))
        return out

    # 1. the model
    if force or not (out / INDEX).exists() or begin.resume_step == 0:
        begin_folder(out, config, source)
    prior = load_views(str(out), config)

    # 2. the bank
    bank = write_view_bank(work.path / "clips", prior, source, report, num_clips=config.num_clips, seed=config.seed)
    prior.encode_text([*sorted(set(bank.captions)), ""])  # all at once

    # 3.
    train(out, work, config, prior, bank, begin.resume_step, report)
    report(Wrote(out, "the prior"))
    work.finish(config.steps)
    report(Finished("train-prior"))
    return out


def train(
    out: Path,
    work: StageFolder,
    config: TrainViewsConfig,
    prior: MVVDMPrior,
    bank: ViewBank,
    start: int,
    report: Report,
) -> None:
    """The loop over steps."""
    base_steps = 0 if config.init else round(config.base_share * config.steps)
    network = prior.denoiser.train()
    parameters = {name: p for name, p in network.named_parameters() if base_steps or is_adapter(name)}
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(parameters.values(), lr=config.learning_rate, weight_decay=config.weight_decay)
    average = Average(parameters, config.ema_decay)
    if start:
        tensors = work.load_checkpoint()[1]
        average.restore(tensors)
        restore_optimisation(tensors, parameters.items(), optimiser)
    report(Started("train-prior", config.steps, start))
    running: float | None = None
    for step in range(start, config.steps):
        if step >= base_steps:
            for name, parameter in parameters.items():
                parameter.requires_grad_(is_adapter(name))
        generator = step_generator(config.seed, step, stream=7)
        draw, seen = draw_step(bank, prior, config.batch_size, config.text_dropout, generator)
        loss = views_loss(prior, seen, draw)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * learning_rate_share(step / config.steps)
        optimiser.step()
        done = step + 1
        average.follow(done)
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        report(Progress(done, {"loss": running}))
        if done % 25 == 0:
            work.log_metrics(done, loss=running)
        # 4.
        if done % config.checkpoint_every == 0 or done == config.steps:
            kept = average.tensors() | optimisation_tensors(parameters.items(), optimiser)
            work.save_checkpoint(done, kept, {})
            with average.in_place():
                network.save_pretrained(out / "unet")  # type: ignore[operator]
            strip_local_path(out / "unet" / "config.json")
    network.eval().requires_grad_(False)


def learning_rate_share(done: float) -> float:
    """Half a cosine down to a twentieth, at the share ``done`` of the steps. [ours; constant in Animate3D]"""
    return 0.05 + 0.95 * 0.5 * (1.0 + math.cos(math.pi * done))


def begin_folder(out: Path, config: TrainViewsConfig, source: FolderClips) -> None:
    """Put the model that training begins with into ``out``."""
    if config.init:
        given = find_prior(config.init)
        for part in given.iterdir():
            if part.name == "training":
                continue
            if part.is_dir():
                shutil.copytree(part, out / part.name, dirs_exist_ok=True)
            else:
                shutil.copy(part, out / part.name)
        return
    captions = [line.caption for line in source.lines()]
    words = sorted({word.strip(",.").lower() for caption in captions for word in caption.split()})
    write_new_model(
        out,
        words,
        first_pictures(source, config),
        patch_size=config.patch_size,
        latent_channels=config.latent_channels,
        widths=config.widths,
        num_heads=config.num_heads,
        seed=config.seed,
    )


@torch.no_grad()
def first_pictures(source: FolderClips, config: TrainViewsConfig) -> Tensor:
    """What the autoencoder is fitted to: frames of a few clips from four sides, [B, 3, H, W]."""
    size, found = config.size_px or 64, []
    for clip in source(step_generator(config.seed, 0, stream=9), NUM_FITTED, 4):
        shape = ClipShape(4, size, size)
        for camera in views_around(clip.frames.asset, 0.0, 4, shape):
            found.append(pictures(clip.frames, Viewpoint(camera, torch.full((3,), 0.5), choose("cpu"))))
    return torch.cat(found).permute(0, 3, 1, 2)


def load_views(name: str, config: TrainViewsConfig) -> MVVDMPrior:
    """The prior in a folder, for clips of the shape that is asked for.

    Raises:
        BadInput: it is another kind.
    """
    size = config.size_px or (None if config.init else 64)
    prior = load_prior(name, config.device, num_frames=config.num_frames, size_px=size, profile=config.profile)
    if not isinstance(prior, MVVDMPrior):
        raise BadInput(f"The prior {config.init!r} sees no views.", "Leave out --init, or give one that does.")
    return prior
