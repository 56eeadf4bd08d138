"""How far a motion is from the videos that ``sample`` drew: rendered from their cameras, over their background."""

from __future__ import annotations

import torch
from torch import Tensor

from stages.cameras import Camera
from stages.conventions import frame_times
from stages.errors import BadInput
from stages.files import read_json
from stages.gaussians import Frames
from stages.metrics.catalogue import VIDEOS, Entry, measured, missing
from stages.metrics.view_agreement import view_agreement
from stages.moving.asset import MovingAsset
from stages.raster import choose, render
from stages.run_dir import RunDir
from stages.run_dir.layout import MOTION, SAMPLES

NAME = "view_agreement"


@torch.no_grad()
def on_samples(run: RunDir, asset: MovingAsset, *, device: str, raster: str | None) -> dict[str, Entry]:
    """View agreement, where the run has samples that are videos. ``at_rest`` beside it is what standing still has.

    Of several samples the one that the motion followed counts (``distill --sample``); where that is not known, the
    nearest.

    Raises:
        BadInput: the samples' videos and cameras do not belong together.
    """
    folder = run.stage(SAMPLES.folder)
    if not (folder.path / SAMPLES.result).is_file():
        return {NAME: missing(NAME, VIDEOS)}
    tensors, metadata = folder.read_result(SAMPLES.result)
    if "rgb" not in tensors:
        return {NAME: missing(NAME, VIDEOS)}
    videos, cameras = tensors["rgb"], _cameras(tensors, str(folder.path / SAMPLES.result))
    followed, background = _followed(run, len(videos)), tensors["background"].float().to(device)
    frames = asset.at(frame_times(videos.shape[2], device))
    still = Frames.at_rest(asset.gaussians, videos.shape[2])
    rasterizer = choose(device, raster)

    def seen(moving: Frames) -> Tensor:
        views = [[one.to(device)] * moving.num_frames for one in cameras]
        return torch.stack([render(moving, view, rasterizer, background=background).rgb.cpu() for view in views])

    chosen = videos if followed is None else videos[followed : followed + 1]
    found = view_agreement(seen(frames).clamp(0.0, 1.0), chosen)
    number = found.sample if followed is None else followed
    at_rest = view_agreement(seen(still).clamp(0.0, 1.0), videos[number : number + 1])
    entry = measured(
        NAME,
        found.difference,
        views=len(cameras),
        frames=videos.shape[2],
        size_px=videos.shape[3],
        reference=f"sample {number + 1} of {len(videos)}: {metadata.get('prompt', '')}",
        by_view=found.by_view,
        at_rest=at_rest.difference,
    )
    return {NAME: entry}


def _cameras(tensors: dict[str, Tensor], where: str) -> list[Camera]:
    videos = tensors["rgb"]
    wanted = {"viewmats": (4, 4), "Ks": (3, 3), "background": (3,)}
    whole = videos.dim() == 6 and videos.dtype == torch.uint8 and videos.shape[-1] == 3 and len(videos) > 0
    for name, shape in wanted.items():
        expected = shape if name == "background" else (videos.shape[1], *shape)
        if not whole or name not in tensors or tensors[name].shape != expected:
            raise BadInput(f"{where} does not hold videos with their cameras.", "Run: animus3d sample --force")
    height, width = videos.shape[3:5]
    return [
        Camera(viewmat=viewmat.float(), K=K.float(), width=width, height=height)
        for viewmat, K in zip(tensors["viewmats"], tensors["Ks"], strict=True)
    ]


def _followed(run: RunDir, count: int) -> int | None:
    """Which sample, from 0, the motion was fitted to; None where its settings name none."""
    recorded = read_json(run.stage(MOTION.folder).path / "config.json") or {}
    number = recorded.get("settings", {}).get("match.sample", 0)
    return number - 1 if isinstance(number, int) and 0 < number <= count else None
