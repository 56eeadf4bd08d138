"""reconstruct, from posed photos: Gaussians fitted to pictures whose cameras are known.

    animus3d reconstruct photos/                 # a folder with transforms.json, or with COLMAP's sparse/0 and images
    animus3d reconstruct photos/transforms.json

1. Read cameras and photos; some views are held out.
2. Start from the visual hull of the masks, COLMAP's points, or anywhere in the box that the cameras see.
3. Optimise a fixed number of Gaussians (Kerbl et al. 2023), coarse pictures first; those that fade move to others.
4. Measure the held-out views, write ``asset/canonical.ply``, and find where it faces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from stages.captures import Capture, Photo, read_capture
from stages.captures.capture import upright
from stages.captures.hull import has_masks, seen_box, visual_hull
from stages.captures.read import read_photos
from stages.conventions import step_generator
from stages.errors import BadInput, SettingsDiffer
from stages.events import Caution, Finished, Note, Progress, Report, Started, Wrote
from stages.facing.keep import keep_facing
from stages.files import file_hash, write_json
from stages.fitting.parameters import assemble, make_optimiser, relocate, stored
from stages.fitting.photo_loss import PhotoLoss, compare, measure
from stages.fitting.relocation import DEAD_OPACITY
from stages.fitting.start import gaussians_at, spread
from stages.gaussians import Gaussians
from stages.gaussians.facing import AUTO, parse_facing
from stages.media.contact_sheet import contact_sheet, write_png
from stages.needs import require_photos
from stages.raster import Rasterizer, choose
from stages.run_dir import RunDir, StageFolder
from stages.run_dir.layout import FIT
from stages.run_dir.optimiser_state import optimisation_tensors, restore_optimisation
from stages.settings import check

LEVELS = ((0.0, 4), (0.3, 2), (0.6, 1))
"""From which share of the steps on pictures are reduced by how much."""
MIN_GAUSSIANS, MAX_GAUSSIANS = 4, 10_000_000
"""As many as the width of a Gaussian needs (three neighbours), and as Adam keeps in a few gigabytes."""
MAX_SH_DEGREE = 3


@dataclass(frozen=True, kw_only=True)
class PhotosConfig:
    """Settings of ``reconstruct`` from photos. Loss and rates follow Kerbl et al. 2023 and, for the two penalties,
    Kheradmand et al. 2024; steps and number are a hundredth of theirs, so rates are larger [ours]."""

    num_gaussians: int = 6000
    steps: int = 600
    seed: int = 0
    up: Literal["auto", "y", "-y", "z", "-z", "x", "-x"] = "auto"  # auto: what is up in the pictures
    facing: str = AUTO  # as of reconstruct's other inputs
    size_px: int = 256  # photos are reduced to this on their longer side
    hold_out: int = 6  # every n-th view is held out for evaluation; 0: none. A test split of the file goes before
    sh_degree: int = 1
    batch_size: int = 2  # views a step
    means_rate: float = 2e-3  # of the scene's extent, falls to a hundredth
    scales_rate: float = 1e-2
    quats_rate: float = 5e-3
    opacities_rate: float = 5e-2
    sh_rate: float = 1e-2  # of the colour; a twentieth for what depends on the direction
    ssim_weight: float = 0.2
    opacity_weight: float = 0.01
    scale_weight: float = 0.01
    relocate_every: int = 50
    raster: str | None = None
    device: str = "cpu"
    checkpoint_every: int = 100
    preview_every: int = 0  # 0: at the end only

    def __post_init__(self) -> None:
        check(self, steps=1, size_px=1, batch_size=1, hold_out=0, relocate_every=1, checkpoint_every=1, preview_every=0)
        parse_facing(self.facing)
        for name, least, most in (
            ("num_gaussians", MIN_GAUSSIANS, MAX_GAUSSIANS),
            ("sh_degree", 0, MAX_SH_DEGREE),
        ):
            if not least <= getattr(self, name) <= most:
                raise BadInput(f"{name} must be from {least} to {most}, not {getattr(self, name)}.")


PRESETS = {"default": PhotosConfig()}


def run(run: RunDir, config: PhotosConfig, report: Report, *, file: Path, force: bool = False) -> None:
    """Fit the photos of ``file`` and make the result the asset of the run.

    Raises:
        BadInput: the photos or their cameras cannot be used.
        SettingsDiffer: the run has another asset, or this stage with other settings.
    """
    rasterizer = choose(config.device, config.raster, report)

    # 1. cameras and photos
    capture = upright(read_capture(file, report), config.up)
    require_photos(run, len(capture.views), config.size_px, config.num_gaussians, force=force)
    folder = run.stage(FIT.folder)
    refuse_other_asset(run, folder, config.steps, force)
    photos = read_photos(capture, config.size_px)
    held_out, training = split(capture, photos, config.hold_out)
    masked = has_masks(photos)
    if not masked and any(view.mask for view in capture.views):
        report(Caution("The masks do not single out a thing in every photo, and are not used."))
    tracked, usual = asdict(config), asdict(PhotosConfig())
    for settings in (tracked, usual):
        del settings["facing"]  # the fit does not depend on it
    begin = folder.begin(
        config=tracked, defaults=usual, total_steps=config.steps, force=force, report=report,
        inputs={"photos": fingerprint(capture), "file": str(file)},
    )  # fmt: skip
    if begin.done:
        put(run, result_of(folder), file, config.facing, report, force)
        return

    # 2. where to start
    start, extent, origin = starting_gaussians(capture, training, masked, config)
    report(Note(f"{len(training)} views to fit, {len(held_out)} held out; starting from {origin}."))
    parameters = {name: nn.Parameter(value.to(config.device)) for name, value in stored(start).items()}
    optimiser = make_optimiser(parameters, rates(config, extent))
    if begin.resume_step:
        restore_optimisation(folder.load_checkpoint()[1], parameters.items(), optimiser)

    # 3. fit
    loss_of = PhotoLoss(
        rasterizer=rasterizer, masked=masked, extent=extent, ssim_weight=config.ssim_weight,
        opacity_weight=config.opacity_weight, scale_weight=config.scale_weight,
    )  # fmt: skip
    shown = held_out or training[:4]
    report(Started("reconstruct", config.steps, begin.resume_step))
    for step in range(begin.resume_step, config.steps):
        share = step / config.steps
        optimiser.param_groups[0]["lr"] = config.means_rate * extent * 0.01**share
        factor = next(factor for from_share, factor in reversed(LEVELS) if share >= from_share)
        batch, background = draw(training, step, config), backdrop(masked, step, config)
        loss, error = loss_of(assemble(parameters), batch, factor, background)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        done = step + 1
        if done % config.relocate_every == 0 and share < 0.8:
            relocate(parameters, optimiser, step_generator(config.seed, step, stream=2))
        scalars = {"loss": loss.item(), "psnr": -10.0 * torch.log10(error.clamp(min=1e-10)).item()}
        report(Progress(done, scalars))
        folder.log_metrics(done, **scalars)
        if done % config.checkpoint_every == 0 and done < config.steps:
            folder.save_checkpoint(done, optimisation_tensors(parameters.items(), optimiser), {})
        if config.preview_every and done % config.preview_every == 0 and done < config.steps:
            preview(folder, assemble(parameters), shown, masked, rasterizer)
    folder.save_checkpoint(config.steps, optimisation_tensors(parameters.items(), optimiser), {})
    report(Finished("reconstruct"))

    # 4. what came out
    fitted = assemble({name: value.detach() for name, value in parameters.items()})
    fitted = fitted.select(fitted.opacities > DEAD_OPACITY)
    if fitted.num_gaussians == 0:
        raise BadInput(f"Nothing opaque is in the photos of {file}.", "Are the cameras the right ones?")
    measured = measure(fitted, held_out, masked, rasterizer)
    write_measures(folder, measured, fitted.num_gaussians, len(training), report)
    sheet = preview(folder, fitted, shown, masked, rasterizer)
    report(Wrote(sheet, "photos, and beside each what was reconstructed"))
    folder.write_result("gaussians.safetensors", stored(fitted.to("cpu")), {})
    folder.finish(config.steps)
    put(run, result_of(folder), file, config.facing, report, force)  # as a later call reads it, to the last bit


def refuse_other_asset(run: RunDir, folder: StageFolder, steps: int, force: bool) -> None:
    """Raises ``SettingsDiffer`` before minutes are spent on an asset that the run would not take."""
    if run.canonical_ply.exists() and not force and folder.steps_finished() < steps:
        raise SettingsDiffer(
            f"{run.path} already holds an asset.", "Use --force to replace it and what was made from it, or --run NEW."
        )


def put(run: RunDir, gaussians: Gaussians, file: Path, facing: str, report: Report, force: bool) -> None:
    """Make the result the asset of the run, if it is not already."""
    if run.put_asset(gaussians, str(file), force=force, fitted=True, report=report):
        report(Wrote(run.canonical_ply, f"{gaussians.num_gaussians} Gaussians, SH degree {gaussians.sh_degree}"))
        keep_facing(run, gaussians, facing, report)
    elif not keep_facing(run, gaussians, facing, report, force=force):
        report(Note(f"{run.path} already holds this asset; nothing to do."))


def fingerprint(capture: Capture) -> str:
    """A short hash of every photo's content and camera."""
    digest = hashlib.sha256()
    for view in capture.views:
        digest.update(file_hash(view.path).encode())
        if view.mask is not None:
            digest.update(file_hash(view.mask).encode())
        if view.lens is not None:
            digest.update(repr((view.lens.K.tolist(), view.lens.fisheye, view.lens.coefficients)).encode())
        digest.update(view.camera.viewmat.numpy().tobytes() + view.camera.K.numpy().tobytes() + bytes([view.test]))
    digest.update(capture.points.numpy().tobytes())
    return digest.hexdigest()[:16]


def split(capture: Capture, photos: list[Photo], every: int) -> tuple[list[Photo], list[Photo]]:
    """``(held out, training)``: the capture's own test split, else every ``every``-th view (none when 0)."""
    test = [view.test for view in capture.views]
    if not any(test) or all(test):
        test = [every > 0 and index % every == 0 for index in range(len(photos))]
    held_out = [photo for photo, held in zip(photos, test, strict=True) if held]
    training = [photo for photo, held in zip(photos, test, strict=True) if not held]
    if len(training) < 2:
        raise BadInput(f"Only {len(training)} views are left to fit.", "Hold out fewer: --set hold_out=0")
    return held_out, training


def starting_gaussians(
    capture: Capture, training: list[Photo], masked: bool, config: PhotosConfig
) -> tuple[Gaussians, float, str]:
    """Where the fit starts, the extent of the scene in world units, and from what in words."""
    generator = step_generator(config.seed, 0, stream=1)
    count = config.num_gaussians
    hull = visual_hull(training) if masked else None
    if hull is not None:
        points, colors, spacing = hull
        points = points + spacing * (torch.rand(points.shape, generator=generator) - 0.5)
        origin = "the visual hull of the masks"
    elif len(capture.points) >= 4:
        points, colors, origin = capture.points, capture.colors, f"{len(capture.points)} points of the file"
    else:
        centre, half = seen_box([photo.camera for photo in training])
        points = centre + half * (2.0 * torch.rand(count, 3, generator=generator) - 1.0)
        colors, origin = torch.full((count, 3), 0.5), "random points in the box that the cameras see"
    distances = (points - points.median(dim=0).values).norm(dim=-1).sort().values
    extent = max(float(distances[int(0.9 * (len(distances) - 1))]), 1e-6)
    points, colors = spread(points, colors, count, generator)
    return gaussians_at(points, colors, config.sh_degree, extent), extent, origin


def result_of(folder: StageFolder) -> Gaussians:
    """What a finished stage made."""
    return assemble(folder.read_result("gaussians.safetensors")[0])


def rates(config: PhotosConfig, extent: float) -> dict[str, float]:
    """Learning rate of each tensor; the means come first."""
    return {
        "means": config.means_rate * extent,
        "quats": config.quats_rate,
        "log_scales": config.scales_rate,
        "logit_opacities": config.opacities_rate,
        "sh0": config.sh_rate,
        "sh_rest": config.sh_rate / 20.0,
    }


def backdrop(masked: bool, step: int, config: PhotosConfig) -> Tensor:
    """What stands behind the renders of a step, [3]: a random colour where the photos have masks, else black."""
    color = torch.rand(3, generator=step_generator(config.seed, step, stream=4)) if masked else torch.zeros(3)
    return color.to(config.device)


def draw(training: list[Photo], step: int, config: PhotosConfig) -> list[Photo]:
    """The batch of a step: every view comes once before any comes again."""
    batch = []
    for position in range(step * config.batch_size, (step + 1) * config.batch_size):
        epoch, index = divmod(position, len(training))
        order = torch.randperm(len(training), generator=step_generator(config.seed, epoch, stream=3))
        batch.append(training[int(order[index])])
    return batch


def write_measures(
    folder: StageFolder, measured: dict[str, Any], num_gaussians: int, views_fitted: int, report: Report
) -> None:
    """Write ``held_out.json`` and say what is in it."""
    path = folder.path / "held_out.json"
    write_json(path, {"num_gaussians": num_gaussians, "views_fitted": views_fitted, **measured})
    if measured["psnr_db"] is not None:
        shown = f", SSIM {measured['ssim']:.3f}" if measured["ssim"] is not None else ""
        count = len(measured["views"])
        report(Wrote(path, f"{count} held-out views: PSNR {measured['psnr_db']:.1f} dB{shown}"))


def preview(
    folder: StageFolder, gaussians: Gaussians, photos: Sequence[Photo], masked: bool, rasterizer: Rasterizer
) -> Path:
    """Write ``preview.png``: a row a view, the photo left, the render right, at most eight of the first one's size."""
    size = (photos[0].camera.width, photos[0].camera.height)
    shown = [photo for photo in photos if (photo.camera.width, photo.camera.height) == size][:8]
    frames = [image for pair in compare(gaussians, shown, masked, rasterizer) for image in pair]
    path = folder.path / "preview.png"
    write_png(path, contact_sheet(torch.stack(frames), columns=4 if len(shown) > 1 else 2))
    return path
