"""The bank of clips that ``train-prior`` and the benchmarks' classifier learn from: rendered, captioned, on disk.

A bank is a folder of shards of ``SHARD`` clips. Each has the frames, uint8 [M, T, H, W, 3], and where every pixel of
the picture at rest is in each frame, in pixels from where it was, float16 [M, 2, T, H, W]; 0 beside the body. Sentences
and verbs are in its metadata. Shards that are there are kept, so an interrupted rendering goes on where it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from stages.cameras import sample_orbit_cameras
from stages.conventions import step_generator
from stages.events import Finished, Progress, Report, Started
from stages.files import replacing, write_tensors
from stages.raster import Rasterizer, choose, render, render_flow
from stages.zoo.clip import Clip

SHARD = 64

MakeClips = Callable[[torch.Generator, int, int], Iterable[Clip]]
"""(generator, number of clips, number of frames) -> clips; can be sent to other processes."""


@dataclass(frozen=True)
class ClipBank:
    """A rendered bank: its shards, and what is said of every clip in them, in order."""

    paths: list[Path]
    captions: list[str]
    verbs: list[str]

    def read(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Frames, uint8 [B, T, H, W, 3], and flow, float16 [B, 2, T, H, W], of clips ``index`` [B]."""
        frames, flow = [], []
        for i in index.tolist():
            with safe_open(self.paths[i // SHARD], framework="pt") as file:
                frames.append(file.get_slice("frames")[i % SHARD])
                flow.append(file.get_slice("flow")[i % SHARD])
        return torch.stack(frames), torch.stack(flow)


def render_bank(
    folder: Path,
    make_clips: MakeClips,
    report: Report,
    *,
    num_clips: int,
    num_frames: int,
    size_px: int,
    seed: int,
    device: str = "cpu",
    processes: int = 1,
) -> ClipBank:
    """Render the shards that are not there yet, each from its own seed: the number of processes changes nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    num_shards = math.ceil(num_clips / SHARD)
    paths = [folder / f"{shard:05d}.safetensors" for shard in range(num_shards)]
    missing = [shard for shard in range(num_shards) if not paths[shard].exists()]
    make = partial(_render_shard, folder, make_clips, num_frames, size_px, seed, device)
    report(Started("clips", num_shards, num_shards - len(missing)))
    if processes > 1 and missing:
        with ProcessPoolExecutor(processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
            for done, _ in enumerate(pool.map(make, missing), num_shards - len(missing)):
                report(Progress(done + 1))
    else:
        for done, shard in enumerate(missing, num_shards - len(missing)):
            make(shard)
            report(Progress(done + 1))
    report(Finished("clips"))
    said = []
    for path in paths:
        with safe_open(path, framework="pt") as file:
            said.append(file.metadata())
    captions, verbs = ([text for one in said for text in json.loads(one[key])] for key in ("captions", "verbs"))
    return ClipBank(paths, captions, verbs)


def _render_shard(
    folder: Path, make_clips: MakeClips, num_frames: int, size_px: int, seed: int, device: str, shard: int
) -> None:
    rasterize = choose(device)
    clips = list(make_clips(step_generator(seed, shard, stream=8), SHARD, num_frames))
    rendered = [
        render_clip(clip, rasterize, size_px, step_generator(seed, i, stream=1000 + shard))
        for i, clip in enumerate(clips)
    ]
    frames, flow = (torch.stack(tensors) for tensors in zip(*rendered, strict=True))
    path = folder / f"{shard:05d}.safetensors"
    said = {
        "captions": json.dumps([clip.caption for clip in clips]),
        "verbs": json.dumps([clip.verb for clip in clips]),
    }
    with replacing(path) as temporary:
        write_tensors(temporary, {"frames": frames, "flow": flow}, said)


def render_clip(clip: Clip, rasterize: Rasterizer, size_px: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One clip from one random camera over a random plain background: frames uint8 [T, H, W, 3] and flow [2, T, H, W]
    in pixels, float16."""
    frames, asset = clip.frames, clip.frames.asset
    low, high = asset.bounds()
    camera = sample_orbit_cameras(1, low=low, high=high, width=size_px, height=size_px, generator=generator)[0]
    cameras = [camera] * frames.num_frames
    shade = torch.rand(4, generator=generator)
    background = torch.ones(3) if shade[3] < 0.6 else 0.5 + 0.5 * shade[:3] if shade[3] < 0.8 else torch.full((3,), 0.5)
    images = render(frames, cameras, rasterize, background=background)
    moves, alpha = render_flow(asset, camera, rasterize, frames.means)
    flow = torch.where(alpha > 0.05, moves / alpha.clamp(min=0.05), 0.0)
    return (images.rgb.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8), flow.permute(3, 0, 1, 2).half()
