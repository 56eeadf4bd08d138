"""The videos that a motion is to follow: a person's own, or what a prior has drawn (``sample``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from stages.cameras import Camera
from stages.cameras.file import read_camera
from stages.cameras.path import Framing
from stages.distilling.drawn import VideoSamples
from stages.errors import BadInput
from stages.events import Report
from stages.files import content_hash
from stages.gaussians import Gaussians
from stages.gaussians.normalised import Placement
from stages.guides import Guide
from stages.guides.aspect import scaled
from stages.guides.bars import NO_BARS
from stages.guides.cutout import cut_out
from stages.guides.find_camera import find_camera
from stages.guides.read_guide import AT_REST, read_first, read_guide, still_of
from stages.media.rgba import read_rgba
from stages.raster import Rasterizer

AUTO = "auto"
READ_FACTOR = 3
"""Videos are read this many times as large as they are needed: the asset may take a small part of them."""
MARGIN = 0.1
"""Around the asset, as a share of how large it is in the picture."""
USUAL_AZIMUTH_DEG, USUAL_ELEVATION_DEG, USUAL_FOV_DEG = 35.0, 15.0, 35.0
"""Of a camera's file that leaves them out, as of ``still``."""


@dataclass(frozen=True, kw_only=True)
class GivenVideos:
    """Which videos, and through which cameras."""

    videos: tuple[str, ...] = ()
    cameras: tuple[str, ...] = (AUTO,)  # the i-th belongs to the i-th video: a file, or auto
    masks: tuple[str, ...] = ()  # folders, likewise
    frames: int = 24  # of each that are used
    size_px: int = 256  # of the longer side, for the pixel flow

    def __post_init__(self) -> None:
        if self.videos and set(self.cameras) != {AUTO} and len(self.cameras) != len(self.videos):
            raise BadInput(
                f"{len(self.videos)} videos have {len(self.cameras)} cameras.", "Give a --camera for each --video."
            )
        if self.masks and len(self.masks) != len(self.videos):
            raise BadInput(
                f"{len(self.videos)} videos have {len(self.masks)} folders of masks.", "Give a --mask for each --video."
            )
        if self.frames < 2 or self.size_px < 16:
            raise BadInput(f"Videos need 2 frames and 16 pixels, not {self.frames} and {self.size_px}.")

    def camera_of(self, number: int) -> str:
        """What is said of the camera of a video."""
        return self.cameras[number] if len(self.cameras) == len(self.videos) else self.cameras[0]

    def inputs(self) -> dict[str, str]:
        """Hashes of all files that are read, by their role. Raises ``BadInput``: one is not there."""
        found = {}
        for number, video in enumerate(self.videos):
            roles = {"video": video, "camera": self.camera_of(number), "mask": self.masks[number] if self.masks else ""}
            for role, name in roles.items():
                if name and not (role == "camera" and name == AUTO):
                    found[f"{role} {number + 1}"] = content_hash(Path(name), role)
        return found


def read_videos(
    given: GivenVideos, in_file: Gaussians, placement: Placement, rasterizer: Rasterizer, folder: Path, report: Report
) -> list[Guide]:
    """One guide a video, with cameras that see the normalised asset.

    Args:
        given: names of the files.
        in_file: the asset in its file's units, in which camera files are.
        placement: of that.
        folder: for pictures of the match where a camera is looked for.

    Raises:
        BadInput: about a file, or no camera is found.
    """
    asset, guides = placement.normalised(in_file), []
    for number, name in enumerate(given.videos):
        said, masks = given.camera_of(number), Path(given.masks[number]) if given.masks else None
        source, bars = Path(name), NO_BARS
        if said == AUTO:
            first, bars = read_first(source, report=report, mask_dir=masks)
            picture = folder / f"camera_{number + 1}.png"
            folder.mkdir(parents=True, exist_ok=True)
            seen = find_camera(
                asset, first.rgb[0], first.mask[0], rasterizer, report, background=first.background, picture=picture
            )
        else:
            seen = placement.camera(read_camera(Path(said), _framing(in_file, source)))
        guide = read_guide(
            source,
            seen,
            report=report,
            still=still_of(asset, seen, rasterizer),
            mask_dir=masks,
            num_frames=given.frames,
            max_size_px=READ_FACTOR * given.size_px,
            bars=bars,
        )
        guides.append(shrunk(cropped(guide), given.size_px))
    return in_step(guides)


def cropped(guide: Guide) -> Guide:
    """The part of ``guide`` in which anything is seen of the asset, with a margin."""
    seen = (guide.mask > 0.5).any(dim=0)
    if not seen.any():
        return guide
    rows, columns = seen.any(dim=1).nonzero()[:, 0], seen.any(dim=0).nonzero()[:, 0]
    margin = MARGIN * float(max(rows[-1] - rows[0], columns[-1] - columns[0]))
    top, left = max(0, int(rows[0] - margin)), max(0, int(columns[0] - margin))
    bottom = min(seen.shape[0], int(rows[-1] + margin) + 1)
    right = min(seen.shape[1], int(columns[-1] + margin) + 1)
    K = guide.camera.K.clone()
    K[0, 2] -= left
    K[1, 2] -= top
    background = guide.background
    return replace(
        guide,
        camera=replace(guide.camera, K=K, width=right - left, height=bottom - top),
        rgb=guide.rgb[:, top:bottom, left:right],
        mask=guide.mask[:, top:bottom, left:right],
        background=background if background.dim() == 1 else background[top:bottom, left:right],
    )


def in_step(guides: Sequence[Guide]) -> list[Guide]:
    """``guides`` with as many frames each as the shortest, at the same moments: the nearest of each."""
    shortest = min(guides, key=lambda guide: len(guide.times))
    found = []
    for guide in guides:
        nearest = (guide.times[None] - shortest.times[:, None]).abs().argmin(dim=1)
        found.append(replace(guide, rgb=guide.rgb[nearest], mask=guide.mask[nearest], times=shortest.times))
    return found


def drawn_videos(
    samples: VideoSamples, number: int, times: Tensor, asset: Gaussians, rasterizer: Rasterizer
) -> list[Guide]:
    """The V videos of the ``number``-th sample, from 1 on, as guides; their backgrounds are known. Whether they begin
    with ``asset``, normalised, at rest is seen by its outline: priors that are told its picture do, others need not."""
    guides = []
    for view, camera in enumerate(samples.cameras):
        rgb = samples.rgb[number - 1, view].float() / 255.0
        cutout = cut_out(rgb)
        still = still_of(asset, camera, rasterizer)[..., 3] > 0.5
        first = cutout.mask[0] > 0.5
        overlap = float((first & still).sum() / (first | still).sum().clamp(min=1))
        guides.append(
            Guide(
                camera=camera,
                rgb=rgb,
                mask=cutout.mask,
                times=times,
                background=samples.background,
                starts_at_rest=overlap > AT_REST,
            )
        )
    return guides


def shrunk(guide: Guide, longest_px: int) -> Guide:
    """``guide`` with its longer side at most ``longest_px``."""
    factor = longest_px / max(guide.camera.width, guide.camera.height)
    if factor >= 1.0:
        return guide
    camera = scaled(guide.camera, round(factor * guide.camera.width), round(factor * guide.camera.height))
    background = guide.background
    return replace(
        guide,
        camera=camera,
        rgb=_resized(guide.rgb, camera),
        mask=_resized(guide.mask[..., None], camera)[..., 0],
        background=background if background.dim() == 1 else _resized(background[None], camera)[0],
    )


def on_device(guide: Guide, device: str) -> Guide:
    """``guide`` on a device."""
    return replace(
        guide,
        camera=guide.camera.to(device),
        rgb=guide.rgb.to(device),
        mask=guide.mask.to(device),
        times=guide.times.to(device),
        background=guide.background.to(device),
    )


def _resized(images: Tensor, camera: Camera) -> Tensor:
    """``images`` [T, H, W, C] in the size of ``camera``."""
    size = (camera.height, camera.width)
    made = torch.nn.functional.interpolate(images.movedim(-1, 1), size=size, mode="bilinear", antialias=True)
    return made.movedim(1, -1).clamp(0.0, 1.0)


def _framing(in_file: Gaussians, source: Path) -> Framing:
    low, high = (corner.cpu() for corner in in_file.bounds())
    _, (width, height) = read_rgba(source, 32)
    return Framing(
        low=low,
        high=high,
        azimuth_deg=USUAL_AZIMUTH_DEG,
        elevation_deg=USUAL_ELEVATION_DEG,
        fov_deg=USUAL_FOV_DEG,
        width=width,
        height=height,
    )
