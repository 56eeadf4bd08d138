"""What the video prior learns from clips: its settings, a new one, its batches and its loss."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from stages.conventions import DEFAULT_NUM_FRAMES, step_generator
from stages.errors import BadInput
from stages.media.contact_sheet import contact_sheet
from stages.objectives.sampling import ddim_denoise
from stages.priors.autoencoder import PatchAutoencoder
from stages.priors.embedded import EmbeddedPrior, autocast, cosine_scheduler
from stages.priors.prior import Condition
from stages.priors.text import UNK, build_text_encoder, build_tokenizer
from stages.priors.transformer import FLOW_PX, AnimusTransformer3DModel
from stages.settings import check
from stages.training.clip_bank import ClipBank
from stages.training.muon import Muon
from stages.training.team import Team

HIDDEN = tuple(
    f"transformer.{part}." for part in ("fine_in", "down", "core", "up", "fine_out", "fine_condition", "core_condition")
)
"""Layers within the denoiser: neither its ends nor what embeds time, place and words."""

FLOW_FLOOR = 0.1
"""What is added to a clip's mean squared flow, in units of the network's output, before it divides the error."""


@dataclass(frozen=True, kw_only=True)
class TrainPriorConfig:
    """Settings of ``train-prior``. All [ours]."""

    steps: int = 6600
    seed: int = 0
    init: str = ""  # prior whose weights, sizes and words training begins with; from scratch when empty
    data: str = ""  # folder of animated .glb files with captions.csv; the project's own bodies when empty
    num_clips: int = 12288
    size_px: int = 64
    num_frames: int = DEFAULT_NUM_FRAMES
    batch_size: int = 16
    learning_rate: float = 8e-4
    warmup_steps: int = 100
    weight_decay: float = 0.01
    ema_decay: float = 0.995
    text_dropout: float = 0.1
    image_dropout: float = 0.05
    noun_dropout: float = 0.1  # chance that a word is read as unknown
    noisy_share: float = 0.5  # of the clips is seen at timesteps above 0.93, where what moves is decided
    flow_weight: float = 2.0  # of the loss on where the picture's pixels go
    flow_alone: float = 0.85  # share of the steps in which that loss alone teaches the flow
    motion_weight: float = 4.0  # extra loss where a clip moves: limbs are few pixels
    fine_width: int = 64
    width: int = 192
    num_layers: int = 6
    num_fine_layers: int = 2
    patch_size: int = 4
    latent_channels: int = 12
    checkpoint_every: int = 100
    preview_every: int = 400
    processes: int = 1  # that share each batch; as many as there are cores is fastest on a CPU
    compile: bool = False  # the network, by torch.compile: faster, needs a C++ compiler
    device: str = "cpu"

    def __post_init__(self) -> None:
        check(self, steps=1, num_clips=1, size_px=1, num_frames=2, batch_size=1, processes=1, checkpoint_every=1)
        check(self, width=32, fine_width=32, num_layers=1, patch_size=1, latent_channels=1)  # a head has 32 channels
        if self.size_px % self.patch_size:
            raise BadInput(f"Pictures of {self.size_px} pixels do not part into patches of {self.patch_size}.")
        if self.latent_channels > 3 * self.patch_size**2:
            raise BadInput(f"A patch of {self.patch_size} pixels has no more than {3 * self.patch_size**2} channels.")


def new_prior(
    autoencoder: PatchAutoencoder, config: TrainPriorConfig, words: list[str], residual_std: float
) -> EmbeddedPrior:
    """Untrained denoiser and text encoder around a fitted autoencoder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        tokenizer = build_tokenizer(words)
        text_encoder = build_text_encoder(tokenizer)
        transformer = AnimusTransformer3DModel(
            residual_std=residual_std,
            patch_size=config.patch_size,
            in_channels=config.latent_channels,
            num_frames=config.num_frames,
            sample_size=config.size_px // config.patch_size,
            fine_width=config.fine_width,
            width=config.width,
            num_layers=config.num_layers,
            num_fine_layers=config.num_fine_layers,
        )
    transformer.pixels.load_state_dict(autoencoder.state_dict())
    parts = {
        "transformer": transformer,
        "vae": autoencoder,
        "text_encoder": text_encoder,
        "tokenizer": tokenizer,
        "scheduler": cosine_scheduler(),
    }
    return EmbeddedPrior("new", parts, config.device)


def encode_clips(prior: EmbeddedPrior, frames: Tensor) -> Tensor:
    """Latents [B, C, T, h, w] of clips [B, T, H, W, 3], uint8."""
    images = frames.permute(0, 1, 4, 2, 3) / 255.0
    return prior.vae.encode(images.flatten(0, 1)).unflatten(0, images.shape[:2]).transpose(1, 2)


def new_optimisers(
    trained: dict[str, torch.nn.Parameter], config: TrainPriorConfig
) -> list[tuple[list[str], torch.optim.Optimizer]]:
    """Muon for the matrices within the denoiser, AdamW for all else, each with the names of what it steps.

    Muon steps along the nearest orthogonal matrix to the averaged gradient (Jordan et al. 2024), scaled so that AdamW's
    rate and decay serve both (Liu et al. 2025).
    """
    matrices = [
        name for name, parameter in trained.items()
        if parameter.ndim == 2 and name.startswith(HIDDEN) and not name.endswith(".table")
    ]  # fmt: skip
    others = [name for name in trained if name not in set(matrices)]
    lr, weight_decay = config.learning_rate, config.weight_decay
    muon = Muon([trained[name] for name in matrices], lr, weight_decay)
    adamw = torch.optim.AdamW([trained[name] for name in others], lr=lr, weight_decay=weight_decay)
    return [(matrices, muon), (others, adamw)]


@dataclass(frozen=True)
class Draw:
    """What chance decides about a batch: clips, their sentences as they are read, noise and its level."""

    index: Tensor  # [B] clips of the bank
    captions: list[str]
    timestep: Tensor  # [B]
    eps: Tensor  # [B, C, T, h, w]
    seen: Tensor  # [B] 1 where the picture is

    def part(self, team: Team) -> Draw:
        """This process's part: the batch is the same however many share it."""
        return Draw(*(team.part(getattr(self, field.name)) for field in fields(self)))


def draw_batch(captions: list[str], prior: EmbeddedPrior, config: TrainPriorConfig, generator: torch.Generator) -> Draw:
    """A batch of the clips that ``captions`` are of."""
    batch = config.batch_size
    index = torch.randint(0, len(captions), (batch,), generator=generator)
    timestep = (_times(batch, config, generator) * prior.parameterization.num_timesteps).long()
    eps = torch.randn(batch, *prior.latent_shape, generator=generator)
    seen = (torch.rand(batch, generator=generator) >= config.image_dropout).float()
    texts = [
        "" if float(torch.rand((), generator=generator)) < config.text_dropout
        else " ".join(_drop_words(captions[i], config.noun_dropout, generator))
        for i in index.tolist()
    ]  # fmt: skip
    return Draw(index, texts, timestep, eps, seen)


def training_loss(
    prior: EmbeddedPrior, x0: Tensor, flow: Tensor, draw: Draw, config: TrainPriorConfig, *, flow_alone: bool = False
) -> Tensor:
    """Squared errors of v, for clips [B, C, T, h, w], in units of the network's own output, and of where the pixels of
    the picture go, [B, 2, T, H, W], as a share of how far they go in each clip; both heavier where a clip moves."""
    timestep, eps, seen = draw.timestep.to(x0.device), draw.eps.to(x0), draw.seen.to(x0)
    text = prior.encode_text(draw.captions)
    assert text.states is not None and text.pooled is not None
    x_t = prior.parameterization.add_noise(x0, eps, timestep)
    with autocast(x0.device):
        prediction, carried = prior.denoiser.predict_with_flow(
            x_t, timestep, text.states, text.pooled, x0[:, :, 0], seen, flow_alone=flow_alone
        )
    error = (prediction.float() - prior.parameterization.target(x0, eps, timestep)).square().mean(dim=1)
    error = error / prior.denoiser.precondition(timestep, seen)[-1].square().squeeze(1)  # unit variance everywhere
    moves = (x0 - x0[:, :, :1]).square().mean(dim=1).amax(dim=1) > 0.02  # [B, h, w]
    carries = flow.square().sum(dim=1).amax(dim=1) > 0.25  # [B, H, W]
    astray = _weighted_mean(((carried - flow) / FLOW_PX).square().mean(dim=1), carries, config)
    far = _weighted_mean((flow / FLOW_PX).square().mean(dim=1), carries, config)
    astray = seen * astray / (far + FLOW_FLOOR)  # legs go a third as far as a body that jumps
    return (_weighted_mean(error, moves, config) + config.flow_weight * astray).mean()


def _times(count: int, config: TrainPriorConfig, generator: torch.Generator) -> Tensor:
    """Random timesteps [count] in 0 to 1: a share of them evenly above 0.93, the others more often noisy than not."""
    draw, noisy = torch.rand(2, count, generator=generator)
    return torch.where(noisy < config.noisy_share, 0.93 + 0.07 * draw, draw.sqrt())


def _weighted_mean(error: Tensor, moves: Tensor, config: TrainPriorConfig) -> Tensor:
    """Means [B] of ``error`` [B, T, H, W], heavier at the pixels that move, [B, H, W]."""
    weight = (1.0 + config.motion_weight * moves.to(error))[:, None]
    return (error * weight).mean(dim=(1, 2, 3)) / weight.mean(dim=(1, 2, 3))


def _drop_words(caption: str, chance: float, generator: torch.Generator) -> Iterator[str]:
    """Words of a caption, some replaced by the unknown word."""
    for word in caption.split():
        yield UNK if float(torch.rand((), generator=generator)) < chance else word


def learning_rate(step: int, config: TrainPriorConfig) -> float:
    """Linear warm-up, then half a cosine down to a twentieth."""
    warm = min(1.0, (step + 1) / config.warmup_steps)
    return config.learning_rate * warm * (0.05 + 0.95 * 0.5 * (1.0 + math.cos(math.pi * step / max(1, config.steps))))


@torch.no_grad()
def sample_sheet(prior: EmbeddedPrior, bank: ClipBank, held_out: int, rows: int = 8, guidance: float = 3.0) -> Tensor:
    """Truth and sample, one above the other, of some of the bank's ``held_out`` last clips: [H, W, 3]."""
    strips = []
    null = prior.encode_text([""])
    first = len(bank.captions) - held_out
    for index in (first + torch.linspace(0, held_out - 1, rows)).round().long().tolist():
        truth = encode_clips(prior, bank.read(torch.tensor([index]))[0].to(prior.device))
        noise = torch.randn(truth.shape, generator=step_generator(0, index)).to(truth)
        sample = ddim_denoise(
            prior,
            noise,
            prior.parameterization.num_timesteps - 1,
            Condition(prior.encode_text([bank.captions[index]]), truth[:, :, 0]),
            16,
            negative=Condition(null, truth[:, :, 0]),
            guidance=guidance,
        )
        strips += [prior.decode(truth)[::2], prior.decode(sample)[::2]]
    frames = torch.cat(strips).cpu()
    return contact_sheet(frames, columns=frames.shape[0] // (2 * rows))
