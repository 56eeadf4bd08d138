"""still: a picture of the asset at rest, and the camera that took it.

    animus3d still --azimuth 30 --out deer.png
    animus3d still --camera deer.json --size 1280x720 --background transparent --out deer.png

The picture is for any image-to-video service; what comes back goes to ``distill --video``, with the camera's file
beside the picture as ``--camera``. The file is one that ``render --camera`` reads too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from stages.cameras import Camera, orbit_camera
from stages.cameras.file import read_camera, write_camera
from stages.cameras.path import Framing
from stages.errors import BadInput, CannotWrite, first_line
from stages.events import Caution, Report, Wrote
from stages.media.colours import parse_background
from stages.media.contact_sheet import write_png
from stages.moving.asset import load_moving_asset
from stages.raster import choose, render
from stages.run_dir import RunDir
from stages.settings import check

SIDE_PX = 512
SUFFIX = ".png"
NEAR_COLOUR, ALIKE = 0.08, 0.02
"""What differs less from the background is cut out with it (``stages.guides.cutout``), and how much of it is told.
[ours]"""


@dataclass(frozen=True, kw_only=True)
class StillConfig:
    """Settings of ``still``."""

    azimuth_deg: float = 35.0
    elevation_deg: float = 15.0
    fov_deg: float = 35.0
    width: int | None = None  # as the camera's file says, else SIDE_PX; even, as videos are
    height: int | None = None
    camera: Path | None = None  # a file of ``still`` or ``render --camera``; what it says goes before the angles
    background: str = "white"  # a name, #rrggbb, R,G,B, or transparent
    raster: str | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        check(self, width=2, height=2)
        if not 0.0 < self.fov_deg < 180.0 or not -90.0 < self.elevation_deg < 90.0:
            raise BadInput("The field of view must lie between 0 and 180 degrees, the elevation between -90 and 90.")
        parse_background(self.background)


PRESETS = {"default": StillConfig()}


@torch.no_grad()
def run(run: RunDir, config: StillConfig, report: Report, *, out: Path | None = None) -> Path:
    """Write the picture to ``out`` (default ``RUN/renders/still.png``) and its camera beside it. Returns ``out``.

    Raises:
        BadInput: ``out`` is no .png, a side is odd, or the camera's file cannot be used.
        CannotWrite: the picture or the file cannot be written.
    """
    out = out or run.path / "renders" / f"still{SUFFIX}"
    if out.suffix.lower() != SUFFIX:
        raise BadInput(f"A still is a {SUFFIX}, not {out}.", f"Write --out {out.with_suffix(SUFFIX)}.")
    asset = load_moving_asset(run, "static", config.device)
    camera = take_from(config, asset.file_gaussians.bounds())
    if camera.width % 2 or camera.height % 2:
        raise BadInput(
            f"{camera.width} x {camera.height} pixels have an odd side, which videos cannot have.",
            f"Write --size {camera.width // 2 * 2}x{camera.height // 2 * 2}.",
        )
    background = parse_background(config.background)
    placed = camera if asset.placement is None else asset.placement.camera(camera)
    colour = None if background is None else background.to(config.device)
    rasterizer = choose(config.device, config.raster, report)
    image = render(asset.gaussians, [placed.to(config.device)], rasterizer, background=colour)
    picture = image.rgb[0]
    if background is None:
        picture = torch.cat([picture / image.alpha[0].clamp(min=1e-6), image.alpha[0]], dim=-1)
    elif (alike := alike_share(image.rgb[0].cpu(), image.alpha[0, ..., 0].cpu(), background)) > ALIKE:
        report(
            Caution(
                f"{alike:.0%} of the asset has nearly the colour of the background: a video made from this is cut out "
                "better where it is another, as --background 0,200,80."
            )
        )
    beside = out.with_suffix(".json")
    low, high = asset.file_gaussians.bounds()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_png(out, picture)
        numbers = write_camera(beside, camera, 0.5 * (low + high), background)
    except OSError as error:
        raise CannotWrite(f"Cannot write {out}: {first_line(error)}.", "Choose another path.") from None
    report(Wrote(out, f"{camera.width} x {camera.height}, {config.background} behind"))
    where = f"azimuth {numbers.azimuth_deg:.4g}, elevation {numbers.elevation_deg:.4g}, fov {numbers.fov_deg:.4g}"
    report(Wrote(beside, f"its camera: {where}"))
    return out


def alike_share(rgb: torch.Tensor, alpha: torch.Tensor, background: torch.Tensor) -> float:
    """Share of what the asset covers in ``rgb`` [H, W, 3] (``alpha`` [H, W]) that has nearly the ``background`` [3]."""
    inside = alpha > 0.9
    near = (rgb - background).abs().amax(dim=-1) < NEAR_COLOUR
    return float((near & inside).sum() / inside.sum().clamp(min=1))


def take_from(config: StillConfig, box: tuple[torch.Tensor, torch.Tensor]) -> Camera:
    """The camera that ``config`` asks for around an asset whose body is in ``box`` ``(low, high)``, each [3]; all in
    the units of the asset's file."""
    low, high = (corner.cpu() for corner in box)
    framing = Framing(
        low=low,
        high=high,
        azimuth_deg=config.azimuth_deg,
        elevation_deg=config.elevation_deg,
        fov_deg=config.fov_deg,
        width=config.width or SIDE_PX,
        height=config.height or config.width or SIDE_PX,
    )
    if config.camera is not None:
        camera = read_camera(config.camera, framing)
        return camera if config.width is None else resized(camera, framing.width, framing.height)
    return orbit_camera(
        azimuth_deg=config.azimuth_deg,
        elevation_deg=config.elevation_deg,
        radius=framing.radius,
        fov_deg=config.fov_deg,
        width=framing.width,
        height=framing.height,
        target=framing.target,
    )


def resized(camera: Camera, width: int, height: int) -> Camera:
    """``camera`` for pictures of ``width`` x ``height``, with the same field of view along the shorter side."""
    factor = min(width, height) / min(camera.width, camera.height)
    focal = factor * float(camera.K[0, 0])
    K = torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
    return replace(camera, K=K, width=width, height=height)
