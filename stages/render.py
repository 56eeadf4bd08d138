"""render: the moving asset as a video, pictures, or a sequence of splats.

animus3d render --frames 31 out.mp4
animus3d render --orbit 360 --background transparent turn.webm
animus3d render --camera path.json --loop --compare out.mp4
animus3d render --ground --follow out.mp4
animus3d render --source Fox.glb#Run fox_runs.mp4
animus3d render goat.ply                 # goat_0000.ply, goat_0001.ply, ... for SuperSplat
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from stages.cameras import Camera
from stages.cameras.file import file_size
from stages.cameras.follow import follow, smooth_path
from stages.cameras.path import Framing, orbit_path, read_path
from stages.conventions import frame_times
from stages.errors import BadInput, CannotWrite, first_line
from stages.events import Finished, Note, Progress, Report, Started, Wrote
from stages.exporting import Recording
from stages.exporting.sequence import numbered, write_sequence
from stages.media.colours import parse_background
from stages.media.contact_sheet import write_png
from stages.media.video import ENCODED, WRITERS, check_size, even
from stages.moving.asset import MovingAsset, load_moving_asset
from stages.moving.clip import load_clip, names_clip
from stages.needs import AT_ONCE, require_pictures
from stages.raster import choose, render
from stages.raster.backdrop import AUTO, visible_background
from stages.raster.ground import above_ground, ground_layer
from stages.run_dir import RunDir

FORMATS = (*WRITERS, ".png", ".ply")

SIDE_PX = 512
"""Of the picture, where neither the command nor the camera's file says it."""

FOLLOW_S = 0.25
"""Standard deviation, in seconds, over which the path of a camera that follows is smoothed. [ours]"""


@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """Settings of ``render``."""

    frames: int | None = None  # as many as the motion lasts, when None
    width: int | None = None  # as the camera's file says, else SIDE_PX
    height: int | None = None
    fps: int = 16
    azimuth_deg: float = 35.0
    elevation_deg: float = 15.0
    orbit_deg: float = 0.0  # how far the camera travels around during the clip
    camera: Path | None = None  # a file with a path to travel instead, see ``stages.cameras.path``
    fov_deg: float = 35.0
    follow: bool = False  # the camera goes along with the body, to all sides but not up and down
    background: str = AUTO  # white, or what the asset can be seen against; a name, #rrggbb, R,G,B, or transparent
    ground: bool = False  # a checkerboard below the lowest point of the body at rest, see ``stages.raster.ground``
    source: str = "auto"
    loop: bool = False  # end where it begins, see ``MovingAsset.offsets``
    compare: bool = False  # the asset at rest on the left
    raster: str | None = None
    device: str = "cpu"


PRESETS = {"default": RenderConfig()}


def run(run: RunDir, config: RenderConfig, report: Report, *, out: Path | None = None) -> Path:
    """Render to ``out`` (default ``RUN/renders/SOURCE.mp4``); the suffix says what is made. Returns the path.

    Raises:
        BadInput: an unknown suffix, colour or source, a size or count below 1, or transparency in an mp4.
        MissingStage: nothing to render yet.
        CannotWrite: the output cannot be written; what was there before is kept.
    """
    asset = replace(load_source(run, config, report), loop=config.loop)
    out = out or run.path / "renders" / f"{asset.source}.mp4"
    suffix = out.suffix.lower()
    background = check(config, out)
    times = asset.times(asset.num_frames(config.frames, config.fps))
    if config.background == AUTO:
        background = visible_background(asset.gaussians, report)
    standing = travel(asset, times, config)
    if suffix != ".ply":
        must_fit(run, standing, config, out)
    if config.camera is not None and config.width is None and file_size(config.camera) is not None:
        report(Note(f"{standing[0].width} x {standing[0].height}, as {config.camera} says; --size says otherwise."))
    cameras = follow(standing, body_path(asset, times, config)[0]) if config.follow else standing
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".ply":
            return _write_splats(asset, times, config.fps, out, report)
        frames = render_frames(asset, times, cameras, config, background, report)
        if config.compare:
            still = replace(asset, motion=None)
            frames = torch.cat([render_frames(still, times, standing, config, background, report), frames], dim=2)
        if suffix in ENCODED and (frames.shape[1] % 2 or frames.shape[2] % 2):
            asked = f"{frames.shape[2]} x {frames.shape[1]}"
            frames = even(frames)
            report(Note(f"Videos have even sides: {asked} is padded to {frames.shape[2]} x {frames.shape[1]}."))
        if suffix in WRITERS:
            WRITERS[suffix](out, frames, config.fps)
        else:
            for index, frame in enumerate(frames):
                write_png(numbered(out, index), frame)
    except OSError as error:
        raise CannotWrite(f"Cannot write {out}: {first_line(error)}.", "Choose another path.") from None
    written = out if suffix != ".png" else numbered(out, 0)
    report(Wrote(written, f"{len(frames)} frames, {frames.shape[2]} x {frames.shape[1]}, {asset.source}"))
    return written


def load_source(run: RunDir, config: RenderConfig, report: Report) -> MovingAsset:
    """The asset of ``run`` with the motion of one of its stages, or with a clip of its own rigged file."""
    if names_clip(config.source):
        return load_clip(run, config.source, config.device)
    return load_moving_asset(run, config.source, config.device, report)


def check(config: RenderConfig, out: Path) -> Tensor | None:
    """The background's colour [3], or None for transparency; every bad setting raises ``BadInput``."""
    suffix = out.suffix.lower()
    if suffix not in FORMATS:
        raise BadInput(f"{out} has no format this command writes.", f"End it in one of: {', '.join(FORMATS)}.")
    if min(number for number in (config.frames, config.width, config.height, config.fps) if number is not None) < 1:
        raise BadInput("Frames, size and fps must be at least 1.")
    if not 0.0 < config.fov_deg < 180.0 or not -90.0 < config.elevation_deg < 90.0:
        raise BadInput("The field of view must lie between 0 and 180 degrees, the elevation between -90 and 90.")
    if suffix == ".ply" and config.compare:
        raise BadInput("Splats cannot be compared side by side.", "Leave out --compare, or write a video.")
    if config.ground and (suffix == ".ply" or config.background == "transparent"):
        raise BadInput(
            "--ground is a picture behind the splat: splats have none, nor has a transparent picture.",
            "Leave out --ground, or write a video over a colour.",
        )
    if config.background == AUTO:
        return torch.ones(3)
    background = parse_background(config.background)
    if background is None and suffix == ".mp4":
        raise BadInput("An mp4 cannot be transparent.", "Use a .webm, .mov, .gif or .png, or another --background.")
    return background


def must_fit(run: RunDir, cameras: list[Camera], config: RenderConfig, out: Path) -> None:
    """Raise when the frames, one a camera, would not fit into such a video (``BadInput``), or not into what is left of
    the memory (``NotAvailable``)."""
    width, height = cameras[0].width, cameras[0].height
    if out.suffix.lower() in ENCODED:
        check_size(out, width * (2 if config.compare else 1), height)
    channels = 4 if config.background == "transparent" else 3
    require_pictures(run, len(cameras), width, height, channels * (4 if config.compare else 1))  # two, and joined


def travel(asset: MovingAsset, times: Tensor, config: RenderConfig) -> list[Camera]:
    """One camera a frame: as the file says, else around the asset, far enough that the whole motion stays in sight; if
    they are to follow, the motion relative to the path that they follow (``body_path``)."""
    if config.follow and config.camera is not None:
        raise BadInput("--camera and --follow both move the camera.", "Give one of them.")
    if config.orbit_deg and config.camera is not None:
        raise BadInput("--camera and --orbit both move the camera.", "Give one of them.")
    low, high = body_path(asset, times, config)[1] if config.follow else asset.box()
    if config.camera is not None and asset.placement is not None:  # the file's cameras are in the asset's own units
        low, high = asset.placement.file_points(low), asset.placement.file_points(high)
    width, height = picture_size(config)
    view = Framing(
        low=low,
        high=high,
        azimuth_deg=config.azimuth_deg,
        elevation_deg=config.elevation_deg,
        fov_deg=config.fov_deg,
        width=width,
        height=height,
    )
    if config.camera is None:
        cameras = orbit_path(view, len(times), config.orbit_deg)
    else:
        cameras = read_path(config.camera, view, frame_times(len(times)))
        if asset.placement is not None:
            cameras = [asset.placement.camera(camera) for camera in cameras]
    return [camera.to(config.device) for camera in cameras]


def picture_size(config: RenderConfig) -> tuple[int, int]:
    """Width and height in pixels: as the settings say, else as the camera's file, else ``SIDE_PX``."""
    said = None if config.camera is None or config.width is not None else file_size(config.camera)
    return said or (config.width or SIDE_PX, config.height or config.width or SIDE_PX)


def body_path(asset: MovingAsset, times: Tensor, config: RenderConfig) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """How far the middle of the body's box goes to all sides, but not up and down, smoothed: [T, 3]; and the box
    ``(low, high)``, each [3], of all that the body passes through relative to that."""
    body, boxes = asset.gaussians.body, []
    for some in times.split(AT_ONCE):
        means = asset.at(some).means[:, body]
        boxes.append(torch.stack([means.amin(dim=1), means.amax(dim=1)], dim=1))
    box = torch.cat(boxes)  # [T, 2, 3]
    level = torch.tensor([1.0, 0.0, 1.0]).to(box)
    path = smooth_path(box.mean(dim=1) * level, FOLLOW_S * config.fps, closed=asset.loop or asset.closes)
    seen = box - path[:, None]
    return path, (seen[:, 0].amin(dim=0), seen[:, 1].amax(dim=0))


@torch.no_grad()
def render_frames(
    asset: MovingAsset,
    times: Tensor,
    cameras: list[Camera],
    config: RenderConfig,
    background: Tensor | None,
    report: Report,
) -> Tensor:  # [T, H, W, 3], or 4 with straight alpha when transparent
    """Render in batches; alpha is un-premultiplied for formats that store it."""
    rasterizer = choose(config.device, config.raster, report)
    ground = asset.ground if config.ground else None
    first, channels = cameras[0], 4 if background is None else 3
    frames = torch.empty(len(times), first.height, first.width, channels)  # once, not in parts that are joined
    report(Started("render", len(times)))
    for start in range(0, len(times), AT_ONCE):
        moved = asset.at(times[start : start + AT_ONCE])
        views = cameras[start : start + AT_ONCE]
        backdrop = None if background is None else background.to(config.device)
        if ground is not None and backdrop is not None:
            moved = above_ground(moved, ground.height)
            backdrop = ground_layer(moved, views, ground, backdrop)
        images = render(moved, views, rasterizer, background=backdrop)
        if background is None:
            color = images.rgb / images.alpha.clamp(min=1e-6)
            frames[start : start + AT_ONCE] = torch.cat([color.clamp(0.0, 1.0), images.alpha], dim=-1)
        else:
            frames[start : start + AT_ONCE] = images.rgb.clamp(0.0, 1.0)
        report(Progress(start + len(views)))
    report(Finished("render"))
    return frames


@torch.no_grad()
def _write_splats(asset: MovingAsset, times: Tensor, fps: int, out: Path, report: Report) -> Path:
    """``name_0000.ply`` and so on. Returns the first path."""
    report(Started("render", len(times)))
    recording = Recording(frames=asset.in_file(asset.at(times)), fps=fps, title=asset.prompt)
    write_sequence(out, recording, lambda done: report(Progress(done)))
    report(Finished("render"))
    report(Wrote(numbered(out, 0), f"and {len(times) - 1} more splats, {asset.source}"))
    return numbered(out, 0)
