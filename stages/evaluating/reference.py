"""The set of videos or frames that FID and FVD compare with: a folder, or another run filmed the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from stages.conventions import frame_times
from stages.errors import BadInput
from stages.media.contact_sheet import to_bytes
from stages.media.read import IMAGES, VIDEOS, read_image, read_video
from stages.moving.asset import load_moving_asset
from stages.raster.film import Shot, film
from stages.run_dir import RunDir


class ReferenceSet:
    """Clips of uint8 [T, H, W, 3], any T from 1 and any size, and the features of a network in them, made once.

    Raises:
        BadInput: ``path`` is no folder, or holds neither a run nor videos nor pictures.
        MissingStage: it is a run without a motion.
    """

    def __init__(self, path: Path, shot: Shot) -> None:
        if not path.is_dir():
            raise BadInput(f"There is no folder {path} to compare with.", "Give --reference RUN or a folder of videos.")
        self._features: dict[str, Tensor] = {}
        if (path / "asset" / "canonical.ply").exists():
            asset = load_moving_asset(RunDir(path), "auto", shot.device)
            self._clips: Callable[[], Iterator[Tensor]] = lambda: (
                to_bytes(view.moving) for view in film(asset.at(frame_times(shot.frames, shot.device)), shot)
            )
            self.name = f"run {path}, {asset.source}: {shot.num_views} views of {shot.frames} frames"
            return
        files = _contents(path)
        if not files:
            raise BadInput(
                f"{path} holds neither a run nor videos ({', '.join(VIDEOS)}) nor pictures ({', '.join(IMAGES)}).",
                "Name another folder.",
            )
        self._clips = lambda: (_read(part) for part in files)
        num_videos = sum(isinstance(part, list) or part.suffix.lower() in VIDEOS for part in files)
        kinds = ((num_videos, "videos"), (len(files) - num_videos, "pictures"))
        self.name = f"{path}: {' and '.join(f'{count} {kind}' for count, kind in kinds if count)}"

    def frame_features(self, key: str, network: Callable[[Tensor], Tensor]) -> Tensor:
        """Features [R, D] of every frame."""
        if key not in self._features:
            self._features[key] = torch.cat([network(clip) for clip in self._clips()])
        return self._features[key]

    def video_features(self, key: str, network: Callable[[Tensor], Tensor], num_frames: int) -> Tensor:
        """Features [R, D] of every clip of at least ``num_frames``, of which as many are taken, evenly spaced."""
        if key not in self._features:
            chosen = (evenly(clip, num_frames) for clip in self._clips() if len(clip) >= num_frames)
            features = [network(clip[None]) for clip in chosen]
            self._features[key] = torch.cat(features) if features else torch.empty(0, 0)
        return self._features[key]


def evenly(clip: Tensor, num_frames: int) -> Tensor:
    """``num_frames`` of the frames of ``clip`` [T, ...], the first and the last among them."""
    return clip[torch.linspace(0, len(clip) - 1, num_frames).round().long()]


def _contents(folder: Path) -> list[Path | list[Path]]:
    """Videos and pictures in a folder; the pictures of a folder in it are one video."""
    found: list[Path | list[Path]] = []
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            frames = [frame for frame in sorted(path.iterdir()) if frame.suffix.lower() in IMAGES]
            if frames:
                found.append(frames)
        elif path.suffix.lower() in (*VIDEOS, *IMAGES):
            found.append(path)
    return found


def _read(part: Path | list[Path]) -> Tensor:
    if isinstance(part, Path):
        return read_video(part) if part.suffix.lower() in VIDEOS else read_image(part)[None]
    frames = [read_image(frame) for frame in part]
    odd = next((path for path, frame in zip(part, frames, strict=True) if frame.shape != frames[0].shape), None)
    if odd is not None:
        raise BadInput(f"{odd} is of another size than {part[0]}.", "The pictures of a folder are one video.")
    return torch.stack(frames)
