"""Names the motion in a rendered clip: a small (2+1)D convolutional network, trained on true clips of training bodies.

    python -m tests.bench.verb_classifier FOLDER

It is the judge of ``bench_verbs``, so it shares nothing with the prior: its own layers, its own clips (another seed,
amplitudes from half to a fifth more, which the prior's clips have not) and no flow, text or latents. It sees in 32 x 32
pixels how each frame differs in brightness from the first and from the one before, as a share of the first frame's
contrast, and nothing else: shown whole frames it named bodies rather than motions. Idling counts as standing still.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from stages.conventions import step_generator
from stages.events import Event, Progress
from stages.training.clip_bank import ClipBank, render_bank
from stages.zoo.clips import SHARES, sample_training_clips

CLASSES = sorted(set(SHARES) - {"idle"})
"""Verbs it tells apart; "static" is one."""

SIZE_PX = 32
WEIGHTS = Path(__file__).parent / "results" / "verb_classifier.safetensors"
NUM_CLIPS, SEED, STEPS, BATCH = 8192, 1, 1000, 32


class VerbClassifier(nn.Module):
    """Clips [B, T, H, W, 3] in [0, 1] to scores [B, len(CLASSES)]."""

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 2
        for level, width in enumerate(widths):
            stride = 1 if level == 0 else 2
            layers += [
                nn.Conv3d(before, width, (1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1)),
                nn.GroupNorm(8, width),
                nn.GELU(),
                nn.Conv3d(width, width, (3, 1, 1), stride=(stride, 1, 1), padding=(1, 0, 0)),
                nn.GroupNorm(8, width),
                nn.GELU(),
            ]
            before = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.LayerNorm(2 * before), nn.Dropout(0.2), nn.Linear(2 * before, before), nn.GELU(),
            nn.Linear(before, len(CLASSES)),
        )  # fmt: skip

    def forward(self, frames: Tensor) -> Tensor:
        x = frames.permute(0, 4, 1, 2, 3)
        x = nn.functional.adaptive_avg_pool3d(x.mean(dim=1, keepdim=True), (x.shape[2], SIZE_PX, SIZE_PX))
        contrast = x[:, :, :1].std(dim=(2, 3, 4), keepdim=True).clamp(min=0.02)
        step = torch.cat([torch.zeros_like(x[:, :, :1]), x[:, :, 1:] - x[:, :, :-1]], dim=2)
        x = torch.cat([x - x[:, :, :1], 2.0 * step], dim=1)
        x = x / contrast
        x = self.features(x).flatten(2)
        return self.head(torch.cat([x.mean(dim=2), x.amax(dim=2)], dim=1))


def load_classifier() -> VerbClassifier:
    """The trained classifier."""
    with safe_open(WEIGHTS, framework="pt") as file:
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    classifier = VerbClassifier()
    classifier.load_state_dict(tensors)
    return classifier.eval()


def _disguise(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Clips [B, T, H, W, 3] mirrored, stretched, turned a little, moved, in other colours and at another pace: other
    bodies."""
    batch, last = len(frames), frames.shape[1] - 1
    pace = 1.3 ** (2.0 * torch.rand(batch, 1, generator=generator) - 1.0)
    moments = (pace * torch.arange(last + 1)).round().clamp(max=last).long()
    frames = frames[torch.arange(batch)[:, None], moments]
    draw = 2.0 * torch.rand(batch, 6, generator=generator) - 1.0
    stretch_x, stretch_y = 1.45 ** draw[:, 0], 1.45 ** draw[:, 1]
    turn = 0.25 * draw[:, 2]
    mirror = torch.where(torch.rand(batch, generator=generator) < 0.5, -1.0, 1.0)
    theta = torch.stack(
        [
            torch.stack([mirror * stretch_x * turn.cos(), -stretch_x * turn.sin(), 0.25 * draw[:, 3]], dim=1),
            torch.stack([mirror * stretch_y * turn.sin(), stretch_y * turn.cos(), 0.25 * draw[:, 4]], dim=1),
        ],
        dim=1,
    )
    flat = frames.permute(0, 1, 4, 2, 3).flatten(1, 2)
    grid = nn.functional.affine_grid(theta, list(flat.shape), align_corners=False)
    flat = nn.functional.grid_sample(flat, grid, padding_mode="border", align_corners=False)
    frames = flat.unflatten(1, (frames.shape[1], 3)).permute(0, 1, 3, 4, 2)
    mix = torch.randn(batch, 3, generator=generator)  # signed: dark bodies on white as well as light ones on black
    mix = 1.7 * mix / mix.norm(dim=1, keepdim=True)
    return torch.einsum("bthwc,bc->bthw", frames, mix)[..., None].expand(-1, -1, -1, -1, 3)


def labels(bank: ClipBank) -> Tensor:
    """Class of every clip [M]."""
    return torch.tensor([CLASSES.index("static" if verb == "idle" else verb) for verb in bank.verbs])


def train(bank: ClipBank, steps: int = STEPS) -> tuple[VerbClassifier, float]:
    """The classifier, and its accuracy on the bank's last sixteenth, which it was not trained on."""
    torch.manual_seed(0)
    classifier, truth = VerbClassifier(), labels(bank)
    first_held_out = len(truth) - len(truth) // 16
    counts = torch.bincount(truth[:first_held_out], minlength=len(CLASSES)).clamp(min=1)
    chance = counts[truth[:first_held_out]].double() ** -0.7  # rare verbs more often than they are
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=2e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        generator = step_generator(SEED, step)
        index = torch.multinomial(chance, BATCH, replacement=True, generator=generator)
        frames = bank.read(index)[0].float() / 255.0
        frames = _disguise(frames, generator)
        frames = frames + 0.04 * torch.rand((), generator=generator) * torch.randn(frames.shape, generator=generator)
        loss = nn.functional.cross_entropy(classifier(frames), truth[index], label_smoothing=0.05)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}/{steps}  loss {loss.item():.3f}", flush=True)
    classifier.eval()
    index = torch.arange(first_held_out, len(truth))
    return classifier, accuracy(classifier, bank, index)


@torch.no_grad()
def accuracy(classifier: VerbClassifier, bank: ClipBank, index: Tensor) -> float:
    """Share of clips ``index`` [M] of a bank that it names rightly, from one camera each."""
    truth = labels(bank)[index]
    named = torch.cat([classifier(bank.read(part)[0].float() / 255.0).argmax(dim=1) for part in index.split(32)])
    return float((named == truth).double().mean())


def main() -> None:
    """Render the clips into the folder, train, save."""

    def report(event: Event) -> None:
        if isinstance(event, Progress) and event.step % 8 == 0:
            print(f"shard {event.step}", flush=True)

    make = partial(sample_training_clips, amplitudes=(0.5, 1.2))
    folder = Path(sys.argv[1])
    bank = render_bank(folder, make, report, num_clips=NUM_CLIPS, num_frames=16, size_px=64, seed=SEED, processes=2)
    classifier, right = train(bank)
    tensors = {name: value.half().contiguous() for name, value in classifier.state_dict().items()}
    save_file(tensors, WEIGHTS, metadata={"accuracy": f"{right:.4f}", "clips": str(NUM_CLIPS), "seed": str(SEED)})
    print(f"{WEIGHTS}: {right:.3f} of the held-out training clips named rightly")


if __name__ == "__main__":
    main()
