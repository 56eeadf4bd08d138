"""Names a motion from the trajectories of a body's points: the judge of ``bench_points``.

It shares nothing with the points prior: its own layers, its own examples, no sentence. It sees up to 256 points at
rest, facing +z, box in [-1, 1], and where they are in 16 frames relative to the first of them. So it cannot tell
in which functions of time a motion was written down, nor whether that motion begins at rest. Loops are given to it
without their last frame, which would be the first again, and from any phase.

``python -m tests.bench.train_motion_judge FOLDER`` trains it on training bodies.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

STILL = "still"
CLASSES = (
    STILL, "attack", "dance", "die", "eat", "flinch", "fly", "idle", "jump", "kick", "nod", "punch", "run", "shake",
    "shoot", "swim", "walk", "wave",
)  # fmt: skip
"""Listed before the first training: the verbs of at least 12 training bodies of at least three families, where a kind
of procedural body counts as four bodies and as a family, and bodies that stand still. A gallop is a run; a bite, a
headbutt and a slash are attacks, as the manifest of the bodies has it."""

NUM_POINTS, NUM_FRAMES = 256, 16
WEIGHTS = Path(__file__).parent / "results" / "motion_judge.safetensors"
STEP = "step of "
"""Before the name of a matrix: what one of its whole numbers means."""

SMALL = 0.005
"""Added to the root mean square displacement, in half sides of the box, before it divides the displacements."""

NUM_OCTAVES = 4
_TOKEN = 3 + 6 * NUM_OCTAVES + 3 * NUM_FRAMES + 3 * (NUM_FRAMES // 2) + 2


class _Look(nn.Module):
    """A few tokens of the motion look at the points, then at each other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.leave, self.among = nn.Linear(width, width), nn.Linear(width, 3 * width)
        self.leave_among = nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, summary: Tensor, points: Tensor) -> Tensor:
        """``summary`` [B, M, D], ``points`` [B, N, D]."""
        key, value = self.key_value(self.norms[1](points)).chunk(2, dim=-1)
        summary = summary + self.leave(self._attend(self.query(self.norms[0](summary)), key, value))
        query, key, value = self.among(self.norms[2](summary)).chunk(3, dim=-1)
        summary = summary + self.leave_among(self._attend(query, key, value))
        return summary + self.feed(self.norms[3](summary))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        parts = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
        q, k, v = parts
        share = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(dim=-1)
        return (share @ v).transpose(1, 2).flatten(-2)


class MotionJudge(nn.Module):
    """Points at rest and their displacements to one score a class. Points have no order: some tokens gather what they
    need from all of them (inducing points, Lee et al. 2019).

    Args:
        width, summaries, heads: sizes.
    """

    def __init__(self, width: int = 112, summaries: int = 16, heads: int = 4, dropout: float = 0.1) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Linear(_TOKEN, width), nn.GELU(), nn.Linear(width, width))
        self.summary = nn.Parameter(0.5 * torch.randn(summaries, width))
        self.first, self.second = _Look(width, heads), _Look(width, heads)
        self.tell = nn.Linear(width, width)
        self.update = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.name = nn.Sequential(
            nn.LayerNorm(2 * width), nn.Dropout(dropout), nn.Linear(2 * width, width), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(width, len(CLASSES)),
        )  # fmt: skip

    def forward(self, rest: Tensor, displacements: Tensor) -> Tensor:
        """Scores [B, C] of points ``rest`` [B, N, 3] and their ``displacements`` [B, T, N, 3]."""
        points = self.enter(tokens(rest, displacements))
        summary = self.first(self.summary.expand(len(rest), -1, -1), points)
        points = points + self.update(points + self.tell(summary.mean(dim=1, keepdim=True)))
        summary = self.second(summary, points)
        return self.name(torch.cat([summary.mean(dim=1), summary.amax(dim=1)], dim=1))


def tokens(rest: Tensor, displacements: Tensor) -> Tensor:
    """What the judge sees of each point, [B, N, D]: where it is at rest; how it moves, over how much the body moves,
    and which frequencies that holds, in any phase; how far it and the body move."""
    away = displacements - displacements[:, :1]
    size = (away - away.mean(dim=1, keepdim=True)).square().sum(dim=-1).mean(dim=(1, 2)).sqrt()  # [B]
    shape = (away / (size + SMALL)[:, None, None, None]).permute(0, 2, 3, 1)  # [B, N, 3, T]
    waves = torch.fft.rfft(shape, dim=-1).abs()[..., 1:] / NUM_FRAMES
    own = shape.square().sum(dim=2).mean(dim=-1).add(1e-4).log()
    angles = (rest[..., None] * (2.0 ** torch.arange(NUM_OCTAVES) * 1.5)).flatten(-2)
    body = (size + 0.1 * SMALL).log()[:, None].expand_as(own)
    return torch.cat(
        [rest, angles.sin(), angles.cos(), shape.flatten(-2), waves.flatten(-2), own[..., None], body[..., None]],
        dim=-1,
    )


def in_frames(displacements: Tensor) -> Tensor:
    """``displacements`` [T, N, 3] of any number of frames in ``NUM_FRAMES``, the first and last kept."""
    if len(displacements) == NUM_FRAMES:
        return displacements
    flat = displacements.flatten(1).T[None]
    return F.interpolate(flat, NUM_FRAMES, mode="linear", align_corners=True)[0].T.unflatten(1, (-1, 3))


@torch.no_grad()
def probabilities(judge: MotionJudge, rest: Tensor, displacements: Tensor) -> dict[str, float]:
    """How sure the judge is of each class.

    Args:
        judge: from ``load_judge``.
        rest: [N, 3] points at rest, facing +z, box in [-1, 1].
        displacements: [T, N, 3] over the span of the motion; of a loop one cycle, without its first frame again.
    """
    count = len(rest)
    chosen = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:NUM_POINTS]
    rest, moves = rest[chosen].float(), in_frames(displacements[:, chosen].float())
    mirror = torch.tensor([-1.0, 1.0, 1.0])
    found = judge(torch.stack([rest, rest * mirror]), torch.stack([moves, moves * mirror]))
    return dict(zip(CLASSES, found.log_softmax(dim=1).mean(dim=0).softmax(dim=0).tolist(), strict=True))


def name_motion(judge: MotionJudge, rest: Tensor, displacements: Tensor) -> str:
    """The class that the judge is surest of; arguments as of ``probabilities``."""
    shares = probabilities(judge, rest, displacements)
    return max(shares, key=shares.__getitem__)


@lru_cache(maxsize=1)
def load_judge() -> MotionJudge:
    """The trained judge."""
    with safe_open(WEIGHTS, framework="pt") as file:
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    judge = MotionJudge()
    steps = {name: tensors.pop(name) for name in list(tensors) if name.startswith(STEP)}
    whole = {name: value * steps[STEP + name] if STEP + name in steps else value for name, value in tensors.items()}
    judge.load_state_dict(whole)
    return judge.eval().requires_grad_(False)


def save_judge(judge: MotionJudge) -> None:
    """Write its weights: matrices in 8 bits with a step a row, the rest in half precision."""
    tensors: dict[str, Tensor] = {}
    for name, value in judge.state_dict().items():
        if value.ndim < 2:
            tensors[name] = value.half().contiguous()
            continue
        step = (value.abs().amax(dim=-1, keepdim=True) / 127.0).clamp(min=1e-8).half()
        tensors[name] = (value / step.float()).round().clamp(-127, 127).to(torch.int8).contiguous()
        tensors[STEP + name] = step
    save_file(tensors, WEIGHTS)
