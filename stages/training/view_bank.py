"""The bank of clips seen from V views that ``train-prior --kind views`` learns from: encoded once, on disk.

A bank is a folder of shards of ``SHARD`` clips. Each has latents, float16 [M, V, C, T, h, w], what the image encoder
says of every view's first picture [M, V, D], and the cameras [M, V, 4, 4] in the prior's frame; sentences are in its
metadata. Shards that are there are kept, so an interrupted rendering goes on where it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from stages.conventions import step_generator
from stages.events import Finished, Progress, Report, Started
from stages.files import replacing, write_tensors
from stages.gaussians import Gaussians
from stages.priors.multiview import MVVDMPrior
from stages.priors.multiview.cameras import in_own_frame
from stages.priors.prior import Viewpoint, pictures
from stages.raster import choose
from stages.zoo.clip import Clip

SHARD = 8

MakeClips = Callable[[torch.Generator, int, int], Iterable[Clip]]
"""(generator, number of clips, number of frames) -> clips."""


@dataclass(frozen=True)
class Seen:
    """B clips, as the prior sees them."""

    latents: Tensor  # [B, V, C, T, h, w]
    appearance: Tensor  # [B, V, D]
    cameras: Tensor  # [B, V, 4, 4]
    captions: list[str]


@dataclass(frozen=True)
class ViewBank:
    """An encoded bank."""

    paths: list[Path]
    captions: list[str]

    def read(self, index: Tensor) -> Seen:
        """Clips ``index`` [B]."""
        found: dict[str, list[Tensor]] = {"latents": [], "appearance": [], "cameras": []}
        for i in index.tolist():
            with safe_open(self.paths[i // SHARD], framework="pt") as file:
                for name, tensors in found.items():
                    tensors.append(file.get_slice(name)[i % SHARD].float())
        stacked = {name: torch.stack(tensors) for name, tensors in found.items()}
        return Seen(**stacked, captions=[self.captions[i] for i in index.tolist()])


def write_view_bank(
    folder: Path, prior: MVVDMPrior, make_clips: MakeClips, report: Report, *, num_clips: int, seed: int
) -> ViewBank:
    """Render and encode the shards that are not there yet, each from its own seed; returns all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    num_shards = math.ceil(num_clips / SHARD)
    paths = [folder / f"{shard:05d}.safetensors" for shard in range(num_shards)]
    report(Started("clips", num_shards, sum(path.exists() for path in paths)))
    for shard, path in enumerate(paths):
        if not path.exists():
            count = min(SHARD, num_clips - shard * SHARD)
            clips = make_clips(step_generator(seed, shard, stream=8), count, prior.clip.num_frames)
            turns = torch.rand(count, generator=step_generator(seed, shard, stream=10))
            write_shard(path, prior, list(clips), (360.0 * turns).tolist())
        report(Progress(shard + 1))
    report(Finished("clips"))
    return read_view_bank(paths)


def read_view_bank(paths: list[Path]) -> ViewBank:
    """The bank of these shards."""
    captions: list[str] = []
    for path in paths:
        with safe_open(path, framework="pt") as file:
            captions += json.loads(file.metadata()["captions"])
    return ViewBank(paths, captions)


@torch.no_grad()
def write_shard(path: Path, prior: MVVDMPrior, clips: Sequence[Clip], azimuths_deg: Sequence[float]) -> None:
    """Render ``clips``, each from the prior's cameras, the first at its azimuth, and encode them into ``path``."""
    latents, appearance, cameras = [], [], []
    for clip, azimuth_deg in zip(clips, azimuths_deg, strict=True):
        view = viewpoint_around(prior, clip.frames.asset, azimuth_deg)
        films = torch.stack([pictures(clip.frames, one) for one in view.each()]).to(prior.device)
        latents.append(prior.encode(films)[0].half().cpu())
        appearance.append(prior.appearance(films[:, 0])[0, :, 0].cpu())
        cameras.append(in_own_frame(view.cameras))
    tensors = {name: torch.stack(found) for name, found in
               (("latents", latents), ("appearance", appearance), ("cameras", cameras))}  # fmt: skip
    with replacing(path) as temporary:
        write_tensors(temporary, tensors, {"captions": json.dumps([clip.caption for clip in clips])})


def viewpoint_around(prior: MVVDMPrior, asset: Gaussians, azimuth_deg: float) -> Viewpoint:
    """The cameras that the prior knows, the first at ``azimuth_deg``, before its grey."""
    first, *beside = prior.cameras_around(asset, azimuth_deg)
    device = asset.means.device
    grey = torch.full((3,), prior.background, device=device)
    return Viewpoint(first, grey, choose(str(device)), beside=tuple(beside))
