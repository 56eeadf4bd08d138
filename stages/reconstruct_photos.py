"""reconstruct, from posed photos: Gaussians fitted to pictures whose cameras are known.

    animus3d reconstruct photos/                 # a folder with transforms.json, or with COLMAP's sparse/0 and images
    animus3d reconstruct photos/transforms.json

1. Read cameras and photos; some views are held out.
2. Start from the visual hull of the masks, COLMAP's points, or anywhere in the box that the cameras see.
3. Optimise a fixed number of Gaussians (Kerbl et al. 2023), coarse pictures first; those that fade move to others.
4. Measure the held-out views, and write ``asset/canonical.ply``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from stages.cameras import Camera
from stages.captures import Capture, Photo, read_capture
from stages.captures.capture import upright
from stages.captures.hull import has_masks, seen_box, visual_hull
from stages.captures.read import read_photos, scaled
from stages.conventions import step_generator
from stages.errors import BadInput, SettingsDiffer
from stages.events import Finished, Note, Progress, Report, Started, Wrote
from stages.fitting.relocation import DEAD_OPACITY, relocations, shared_out
from stages.fitting.start import gaussians_at, spread
from stages.gaussians import Gaussians
from stages.media.contact_sheet import contact_sheet, write_png
from stages.metrics.image import psnr, ssim, structural_similarity
from stages.raster import Rasterizer, choose, render
from stages.run_dir import RunDir, StageFolder
from stages.run_dir.files import file_hash, write_json
from stages.run_dir.optimiser_state import optimisation_tensors, restore_optimisation

LEVELS = ((0.0, 4), (0.3, 2), (0.6, 1))
"""From which share of the steps on pictures are reduced by how much."""
SSIM_WINDOW = 11


@dataclass(frozen=True, kw_only=True)
class PhotosConfig:
    """Settings of ``reconstruct`` from photos. Loss and rates follow Kerbl et al. 2023 and, for the two penalties,
    Kheradmand et al. 2024; steps and number are a hundredth of theirs, so rates are larger [ours]."""

    num_gaussians: int = 6000
    steps: int = 600
    seed: int = 0
    up: Literal["auto", "y", "-y", "z", "-z", "x", "-x"] = "auto"  # auto: what is up in the pictures
    size_px: int = 256  # photos are reduced to this on their longer side
    hold_out: int = 6  # every so manieth view is only measured; 0: none. A test split of the file goes before
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


PRESETS = {"default": PhotosConfig()}


def run(run: RunDir, config: PhotosConfig, report: Report, *, file: Path, force: bool = False) -> None:
    """Fit the photos of ``file`` and make the result the asset of the run.

    Raises:
        BadInput: the photos or their cameras cannot be used.
        SettingsDiffer: the run has another asset, or this stage with other settings.
    """
    # 1. cameras and photos
    capture = upright(read_capture(file), config.up)
    folder = run.stage("reconstruction")
    refuse_other_asset(run, folder, config.steps, force)
    begin = folder.begin(
        config=asdict(config), inputs={"photos": fingerprint(capture)}, total_steps=config.steps, force=force
    )
    if begin.done:
        put(run, result_of(folder), file, report, force)
        return
    photos = read_photos(capture, config.size_px)
    held_out, training = split(capture, photos, config.hold_out)
    masked = has_masks(photos)

    # 2. where to start
    start, extent, origin = starting_gaussians(capture, training, masked, config)
    report(Note(f"{len(training)} views to fit, {len(held_out)} held out; starting from {origin}."))
    parameters = {name: nn.Parameter(value.to(config.device)) for name, value in stored(start).items()}
    optimiser = make_optimiser(parameters, extent, config)
    if begin.resume_step:
        restore_optimisation(folder.load_checkpoint()[1], parameters.items(), optimiser)

    # 3. fit
    rasterizer = choose(config.device, config.raster)
    report(Started("reconstruct", config.steps, begin.resume_step))
    for step in range(begin.resume_step, config.steps):
        share = step / config.steps
        optimiser.param_groups[0]["lr"] = config.means_rate * extent * 0.01**share
        batch = draw(training, step, config)
        factor = next(factor for begin_share, factor in reversed(LEVELS) if share >= begin_share)
        loss, error = batch_loss(assemble(parameters), batch, factor, masked, rasterizer, step, extent, config)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        done = step + 1
        if done % config.relocate_every == 0 and share < 0.8:
            relocate(parameters, optimiser, step_generator(config.seed, step, stream=2))
        scalars = {"loss": loss.item(), "psnr": -10.0 * torch.log10(error).item()}
        report(Progress(done, scalars))
        folder.log_metrics(done, **scalars)
        if done % config.checkpoint_every == 0 and done < config.steps:
            folder.save_checkpoint(done, optimisation_tensors(parameters.items(), optimiser), {})
        if config.preview_every and done % config.preview_every == 0 and done < config.steps:
            preview(folder, assemble(parameters), held_out or training[:4], masked, rasterizer)
    folder.save_checkpoint(config.steps, optimisation_tensors(parameters.items(), optimiser), {})
    report(Finished("reconstruct"))

    # 4. what came out
    fitted = assemble({name: value.detach() for name, value in parameters.items()})
    fitted = fitted.select(fitted.opacities > DEAD_OPACITY)
    if fitted.num_gaussians == 0:
        raise BadInput(f"Nothing opaque is in the photos of {file}.", "Are the cameras the right ones?")
    measure(folder, fitted, held_out, len(training), masked, rasterizer, report)
    sheet = preview(folder, fitted, held_out or training[:4], masked, rasterizer)
    report(Wrote(sheet, "photos, and beside each what was reconstructed"))
    folder.write_result("gaussians.safetensors", stored(fitted.to("cpu")), {})
    folder.finish(config.steps)
    put(run, fitted.to("cpu"), file, report, force)


def refuse_other_asset(run: RunDir, folder: StageFolder, steps: int, force: bool) -> None:
    """Raises ``SettingsDiffer`` before minutes are spent on an asset that the run would not take."""
    if run.canonical_ply.exists() and not force and folder.steps_finished() < steps:
        raise SettingsDiffer(
            f"{run.path} already holds an asset.", "Use --force to replace it and what was made from it, or --run NEW."
        )


def put(run: RunDir, gaussians: Gaussians, file: Path, report: Report, force: bool) -> None:
    """Make the result the asset of the run, if it is not already."""
    if run.put_asset(gaussians, str(file), force=force):
        report(Wrote(run.canonical_ply, f"{gaussians.num_gaussians} Gaussians, SH degree {gaussians.sh_degree}"))
    else:
        report(Note(f"{run.path} already holds this asset; nothing to do."))


def fingerprint(capture: Capture) -> str:
    """A short hash of every photo's content and camera."""
    digest = hashlib.sha256()
    for view in capture.views:
        digest.update(file_hash(view.path).encode())
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
    extent = max(float((points - points.median(dim=0).values).norm(dim=-1).quantile(0.9)), 1e-6)
    points, colors = spread(points, colors, count, generator)
    return gaussians_at(points, colors, config.sh_degree, extent), extent, origin


def stored(gaussians: Gaussians) -> dict[str, Tensor]:
    """The tensors that are optimised, by name; colour apart from what depends on the direction of view."""
    return {
        "means": gaussians.means,
        "quats": gaussians.quats,
        "log_scales": gaussians.log_scales,
        "logit_opacities": gaussians.logit_opacities,
        "sh0": gaussians.sh[:, :1],
        "sh_rest": gaussians.sh[:, 1:],
    }


def assemble(tensors: dict[str, Tensor]) -> Gaussians:
    """The Gaussians of ``stored`` tensors."""
    return Gaussians(
        means=tensors["means"],
        quats=nn.functional.normalize(tensors["quats"], dim=-1),
        log_scales=tensors["log_scales"],
        logit_opacities=tensors["logit_opacities"],
        sh=torch.cat([tensors["sh0"], tensors["sh_rest"]], dim=1),
    )


def result_of(folder: StageFolder) -> Gaussians:
    """What a finished stage made."""
    return assemble(folder.read_result("gaussians.safetensors")[0])


def make_optimiser(parameters: dict[str, nn.Parameter], extent: float, config: PhotosConfig) -> torch.optim.Adam:
    """Adam with a rate a tensor; the means come first."""
    rates = {
        "means": config.means_rate * extent,
        "quats": config.quats_rate,
        "log_scales": config.scales_rate,
        "logit_opacities": config.opacities_rate,
        "sh0": config.sh_rate,
        "sh_rest": config.sh_rate / 20.0,
    }
    return torch.optim.Adam([{"params": [parameters[name]], "lr": rate} for name, rate in rates.items()], eps=1e-15)


def draw(training: list[Photo], step: int, config: PhotosConfig) -> list[Photo]:
    """The batch of a step: every view comes once before any comes again."""
    batch = []
    for position in range(step * config.batch_size, (step + 1) * config.batch_size):
        epoch, index = divmod(position, len(training))
        order = torch.randperm(len(training), generator=step_generator(config.seed, epoch, stream=3))
        batch.append(training[int(order[index])])
    return batch


def target_of(photo: Photo, factor: int, masked: bool, device: str) -> tuple[Camera, Tensor]:
    """The camera and premultiplied RGBA [H, W, 4] of a photo reduced by ``factor``."""
    width, height = max(1, photo.camera.width // factor), max(1, photo.camera.height // factor)
    rgba = photo.rgba.to(device).float() / 255.0
    if not masked:
        rgba = torch.cat([rgba[..., :3], torch.ones_like(rgba[..., 3:])], dim=-1)
    rgba = torch.cat([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], dim=-1)
    if factor > 1:
        rgba = nn.functional.interpolate(rgba.permute(2, 0, 1)[None], (height, width), mode="area")[0].permute(1, 2, 0)
    return scaled(photo.camera, width, height).to(device), rgba


def batch_loss(
    gaussians: Gaussians,
    batch: Sequence[Photo],
    factor: int,
    masked: bool,
    rasterizer: Rasterizer,
    step: int,
    extent: float,
    config: PhotosConfig,
) -> tuple[Tensor, Tensor]:
    """Loss of a batch, and its mean squared error.

    L1 and SSIM as Kerbl et al. 2023, Eq. 7. Where photos have masks, both sides stand before a new random colour each
    step, so that the alpha is learnt too. Opacities and scales are drawn to zero as by Kheradmand et al. 2024, Eq. 10.
    """
    generator = step_generator(config.seed, step, stream=4)
    background = (torch.rand(3, generator=generator) if masked else torch.zeros(3)).to(config.device)
    losses, errors = [], []
    targets = [target_of(photo, factor, masked, config.device) for photo in batch]
    for cameras, truths in same_size(targets):
        images = render(gaussians, cameras, rasterizer, background=background).rgb
        for image, rgba in zip(images, truths, strict=True):
            truth = rgba[..., :3] + (1.0 - rgba[..., 3:]) * background
            loss = (image - truth).abs().mean()
            if min(image.shape[:2]) >= SSIM_WINDOW:
                dissimilarity = 1.0 - structural_similarity(image, truth)
                loss = (1.0 - config.ssim_weight) * loss + config.ssim_weight * dissimilarity
            losses.append(loss)
            errors.append((image.detach() - truth).square().mean())
    penalty = config.opacity_weight * gaussians.opacities.mean()
    penalty = penalty + config.scale_weight * gaussians.scales.mean() / extent
    return torch.stack(losses).mean() + penalty, torch.stack(errors).mean()


def same_size(targets: list[tuple[Camera, Tensor]]) -> list[tuple[list[Camera], list[Tensor]]]:
    """Views of one size together, which the rasterizer renders at once."""
    groups: dict[tuple[int, int], tuple[list[Camera], list[Tensor]]] = {}
    for camera, rgba in targets:
        cameras, truths = groups.setdefault((camera.width, camera.height), ([], []))
        cameras.append(camera)
        truths.append(rgba)
    return list(groups.values())


@torch.no_grad()
def relocate(parameters: dict[str, nn.Parameter], optimiser: torch.optim.Adam, generator: torch.Generator) -> None:
    """Move transparent Gaussians onto others, which share their opacity with them; Adam forgets both."""
    opacities = torch.sigmoid(parameters["logit_opacities"])
    dead, chosen = (index.to(opacities.device) for index in relocations(opacities, generator))
    if len(dead) == 0:
        return
    copies = torch.bincount(chosen, minlength=len(opacities))[chosen] + 1
    shared, scales = shared_out(opacities[chosen], parameters["log_scales"][chosen].exp(), copies)
    parameters["logit_opacities"][chosen] = shared.clamp(DEAD_OPACITY, 1.0 - 1e-6).logit()
    parameters["log_scales"][chosen] = scales.log()
    for parameter in parameters.values():
        parameter[dead] = parameter[chosen]
        for moment in ("exp_avg", "exp_avg_sq"):
            optimiser.state[parameter][moment][dead] = 0.0
            optimiser.state[parameter][moment][chosen] = 0.0


@torch.no_grad()
def compare(
    gaussians: Gaussians, photos: Sequence[Photo], masked: bool, rasterizer: Rasterizer
) -> list[tuple[Tensor, Tensor]]:
    """``(photo, render)`` [H, W, 3] of each view: before white where photos have masks, else before black."""
    background = torch.full((3,), 1.0 if masked else 0.0, device=gaussians.means.device)
    pairs = []
    for photo in photos:
        camera, rgba = target_of(photo, 1, masked, str(gaussians.means.device))
        image = render(gaussians, [camera], rasterizer, background=background).rgb[0].clamp(0.0, 1.0)
        pairs.append((rgba[..., :3] + (1.0 - rgba[..., 3:]) * background, image))
    return pairs


def measure(
    folder: StageFolder,
    gaussians: Gaussians,
    held_out: Sequence[Photo],
    num_training: int,
    masked: bool,
    rasterizer: Rasterizer,
    report: Report,
) -> None:
    """Write ``held_out.json`` and say what is in it."""
    views = []
    for photo, (truth, image) in zip(held_out, compare(gaussians, held_out, masked, rasterizer), strict=True):
        similarity = ssim(image, truth) if min(image.shape[:2]) >= SSIM_WINDOW else None
        views.append({"picture": photo.name, "psnr_db": psnr(image, truth), "ssim": similarity})
    mean = sum(view["psnr_db"] for view in views) / len(views) if views else None
    similarities = [view["ssim"] for view in views if view["ssim"] is not None]
    mean_ssim = sum(similarities) / len(similarities) if similarities else None
    result = {"psnr_db": mean, "ssim": mean_ssim, "num_gaussians": gaussians.num_gaussians}
    result |= {"views_fitted": num_training, "background": "white" if masked else "black", "held_out": views}
    write_json(folder.path / "held_out.json", result)
    if mean is not None:
        shown = f", SSIM {mean_ssim:.3f}" if mean_ssim is not None else ""
        report(Wrote(folder.path / "held_out.json", f"{len(views)} held-out views: PSNR {mean:.1f} dB{shown}"))


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
