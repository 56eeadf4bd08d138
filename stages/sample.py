"""sample: let the prior draw several motions of one sentence, to choose from before anything is fitted.

    animus3d sample --prompt "a walking goat" --count 6
    animus3d distill --sample 3

1. Load the asset and the prior; say which motion it understood.
2. Draw the samples: paths of points, or videos through one camera or several that agree.
3. Show them: a contact sheet with a row for each, and a page where they move side by side.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from stages.cameras import Camera, fitting_radius, orbit_camera
from stages.conventions import step_generator
from stages.distilling.draw_videos import AZIMUTH_DEG, GREY, Drawing
from stages.distilling.drawn import PATHS, VIDEO
from stages.distilling.sampled import sampled_motion
from stages.distilling.viewpoints import ViewsConfig, look_at
from stages.errors import BadInput, NotAvailable
from stages.events import Caution, Finished, Note, Progress, Report, Started, Wrote
from stages.facing.keep import facing_input
from stages.files import content_hash, replacing
from stages.gaussians import Frames, Gaussians
from stages.gaussians.normalised import Placement
from stages.gaussians.stand_in import stand_in
from stages.media.contact_sheet import contact_sheet, write_png
from stages.media.video import write_mp4
from stages.needs import require
from stages.priors.find import EXACT_VIEWS, prior_fingerprint
from stages.priors.load import load_prior
from stages.priors.points import PointsPrior, PointView, sees_points
from stages.priors.points.model import SAMPLE_STEPS
from stages.priors.prior import MultiViewPrior, Prior, VideoPrior, makes_videos, sees_views
from stages.priors.profiles import ProfileName
from stages.priors.sampling import SamplingDefaults
from stages.raster import Rasterizer, choose, render
from stages.raster.film import FOV_DEG
from stages.reporting.page import fill
from stages.run_dir import RunDir
from stages.run_dir.layout import SAMPLES
from stages.run_dir.stage_folder import StageFolder
from stages.settings import check

SHEET_COLUMNS, FPS = 8, 12
SIZE_PX, PATHS_AZIMUTH_DEG, ELEVATION_DEG = 192, 60.0, 12.0


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """Settings of ``sample``."""

    prompt: str = ""
    prior: str = "points"
    count: int = 6
    together: bool = True  # the views of a prior that sees several; if not, each is drawn without the others
    seed: int = 0
    negative_prompt: str = ""  # what videos are guided away from
    denoise_steps: int | None = None  # None: 8 of paths; of videos as the prior's makers do
    guidance: float | None = None  # None: likewise, of paths 1
    bank: str | None = None  # the rigged file whose clips --prior exact-views knows
    size_px: int | None = None  # of videos; None: as the prior was made for
    profile: ProfileName = "24gb"
    max_gaussians: int = 10_000  # that are drawn, as in distill
    raster: str | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        check(self, count=1, denoise_steps=1, max_gaussians=1, size_px=1)


PRESETS = {"default": SampleConfig()}


def run(run_dir: RunDir, config: SampleConfig, report: Report, *, force: bool = False) -> None:
    """Write ``samples/samples.safetensors``, a contact sheet, a page and videos.

    Raises:
        BadInput: no prompt; about the bank.
        MissingStage: the run has no asset.
        NotAvailable: a prior that cannot sample.
    """
    if not config.prompt.strip():
        raise BadInput("sample needs a sentence.", 'For example: animus3d sample --prompt "a walking goat"')
    require(run_dir, SAMPLES, force=force, most=config.max_gaussians, prior=config.prior, device=config.device)
    # 1. what is asked
    placement = Placement.of(in_file := run_dir.load_asset())
    asset = stand_in(placement.normalised(in_file), config.max_gaussians).to(config.device)
    folder = run_dir.stage(SAMPLES.folder)
    inputs = {"asset": run_dir.asset_hash()}
    if config.prior == EXACT_VIEWS:
        inputs["bank"] = "" if config.bank is None else content_hash(Path(config.bank), "bank")
    else:
        inputs |= {"prior": prior_fingerprint(config.prior), **facing_input(run_dir, config.prior)}
    begin = folder.begin(
        config=asdict(config),
        defaults=asdict(SampleConfig()),
        inputs=inputs,
        total_steps=config.count,
        force=force,
        report=report,
    )
    if begin.done:
        report(Note("sample is already done with these settings; nothing to do (--force does it again)."))
        return
    rasterizer = choose(config.device, config.raster, report)
    if config.prior == EXACT_VIEWS:
        report(Caution("exact-views knows the clips of its bank and nothing else: it is for tests and benchmarks."))
        from stages.moving.bank import exact_views  # reads rigged files, which takes long to import

        prior: Prior = exact_views(config.bank, asset, placement, size_px=config.size_px or 64)
    else:
        prior = load_prior(config.prior, config.device, size_px=config.size_px, profile=config.profile)

    # 2. and 3.
    if sees_points(prior):
        draw_paths(run_dir, folder, prior, asset, config, rasterizer, report)
    elif sees_views(prior) or makes_videos(prior):
        draw_videos(folder, prior, asset, config, rasterizer, begin.resume_step, report)
    else:
        raise NotAvailable(f"The prior {config.prior!r} does not sample here.", "Take: --prior points")
    folder.finish(config.count)
    report(Finished("sample"))


def draw_paths(
    run_dir: RunDir,
    folder: StageFolder,
    prior: PointsPrior,
    asset: Gaussians,
    config: SampleConfig,
    rasterizer: Rasterizer,
    report: Report,
) -> None:
    """Samples of a prior that sees points."""
    prior.tell(config.prompt, report)
    views, facing_deg = ViewsConfig(num_cameras=1), run_dir.facing().used_deg
    [view] = look_at(prior, asset, views, rasterizer, prompt=config.prompt, facing_deg=facing_deg, seed=config.seed)
    assert isinstance(view, PointView)
    [text] = prior.encode_text([config.prompt]).split()
    condition = prior.condition(text, asset, view)
    prior.tell_of_body(condition, step_generator(config.seed, 0, stream=9), report)
    samples, ways = prior.varied(
        condition,
        step_generator(config.seed, 0, stream=8),
        count=config.count,
        steps=config.denoise_steps or SAMPLE_STEPS,
        guidance=1.0 if config.guidance is None else config.guidance,
    )
    for number, way in enumerate(ways, start=1):
        report(Note(f"Sample {number}: {f'as {way} does it' if way else 'as suits the body'}."))
    metadata = {"prompt": config.prompt, "seed": str(config.seed), "prior_fingerprint": prior_fingerprint(config.prior)}
    folder.write_result(SAMPLES.result, {"latents": samples}, metadata | {"kind": PATHS})

    report(Started("sample", config.count))
    times = prior.frame_times(view)
    with torch.no_grad():
        moves = [sampled_motion(prior, one[None], asset, view).at(asset, times) for one in samples]
    camera, white = camera_for(moves), torch.ones(3, device=config.device)
    films = []
    for number, frames in enumerate(moves):
        films.append(render(frames, [camera.to(config.device)] * frames.num_frames, rasterizer, background=white).rgb)
        write_mp4(folder.path / f"sample_{number + 1}.mp4", films[-1], FPS)
        report(Progress(number + 1))
    show(folder.path, config, films, [f"sample_{number + 1}" for number in range(config.count)], report)


def draw_videos(
    folder: StageFolder,
    prior: VideoPrior | MultiViewPrior,
    asset: Gaussians,
    config: SampleConfig,
    rasterizer: Rasterizer,
    start: int,
    report: Report,
) -> None:
    """Samples of a prior that makes videos, V at once; each is kept as soon as it is drawn."""
    how = sampling_of(prior, config)
    background = torch.full((3,), GREY if sees_views(prior) else 1.0, device=config.device)
    apart = prior.num_views if sees_views(prior) and not config.together else 1
    drawings = [
        Drawing(
            prior.alone() if sees_views(prior) and apart > 1 else prior,
            asset,
            background,
            rasterizer,
            prompt=config.prompt,
            negative=config.negative_prompt,
            how=how,
            azimuth_deg=AZIMUTH_DEG + 360.0 * number / apart,
        )
        for number in range(apart)
    ]
    videos: list[Tensor] = list(folder.load_checkpoint()[1]["rgb"]) if start else []
    steps = drawings[0].steps
    report(Started("sample", config.count * apart * steps, start * apart * steps))
    for number in range(start, config.count):
        drawn = []
        for index, drawing in enumerate(drawings, start=number * apart):
            generator = step_generator(config.seed, index, stream=8)
            drawn.append(drawing.draw(generator, partial(tell_of_steps, report, index * steps)))
        videos.append((255.0 * torch.cat(drawn)).round().to(torch.uint8).cpu())
        folder.save_checkpoint(number + 1, {"rgb": torch.stack(videos)}, {})
    metadata = {"prompt": config.prompt, "seed": str(config.seed), "kind": VIDEO}
    cameras = [camera.to("cpu") for drawing in drawings for camera in drawing.cameras]
    tensors = {
        "rgb": torch.stack(videos),
        "viewmats": torch.stack([camera.viewmat for camera in cameras]),
        "Ks": torch.stack([camera.K for camera in cameras]),
        "background": background.cpu(),
    }
    folder.write_result(SAMPLES.result, tensors, metadata)
    films, names = [], []
    for number, views in enumerate(videos, start=1):
        for view, film in enumerate(views, start=1):
            names.append(f"sample_{number}" if len(views) == 1 else f"sample_{number}_view_{view}")
            films.append(film.float() / 255.0)
            write_mp4(folder.path / f"{names[-1]}.mp4", films[-1], FPS)
    show(folder.path, config, films, names, report)


def sampling_of(prior: VideoPrior | MultiViewPrior, config: SampleConfig) -> SamplingDefaults:
    """As the prior's makers sample it, but for what ``config`` asks for. Raises ``BadInput``."""
    how = prior.sampling
    if config.denoise_steps is not None and config.denoise_steps != how.steps:
        how = replace(how, steps=config.denoise_steps, noise_levels=None)
    return how if config.guidance is None else replace(how, guidance=config.guidance)


def tell_of_steps(report: Report, before: int, done: int, steps: int) -> None:
    """``Progress`` of ``done`` steps of one sample, ``before`` which there were others."""
    report(Progress(before + done))


def show(folder: Path, config: SampleConfig, films: list[Tensor], names: list[str], report: Report) -> None:
    """A contact sheet with a row for each of ``films`` [T, H, W, 3], and a page where they move."""
    every = max(1, len(films[0]) // SHEET_COLUMNS)
    rows = torch.cat([frames[::every][:SHEET_COLUMNS] for frames in films])
    sheet = folder / "samples.png"
    write_png(sheet, contact_sheet(rows, columns=min(SHEET_COLUMNS, len(films[0][::every]))))
    report(Wrote(sheet, f"{config.count} samples, {len(films)} rows"))
    page = folder / "samples.html"
    clips = [(folder / f"{name}.mp4").read_bytes() for name in names]
    with replacing(page) as temporary:
        temporary.write_text(fill("samples.html", prompt=config.prompt, clips=clips), encoding="utf-8")
    report(Wrote(page, "the same, moving; distill --sample NUMBER takes one"))


def camera_for(moves: list[Frames]) -> Camera:
    """A camera from the front and the side that sees all that the asset passes through in any of ``moves``."""
    means = torch.cat([frames.means[:, frames.asset.body] for frames in moves]).cpu()
    low, high = means.amin(dim=(0, 1)), means.amax(dim=(0, 1))
    return orbit_camera(
        azimuth_deg=PATHS_AZIMUTH_DEG,
        elevation_deg=ELEVATION_DEG,
        radius=fitting_radius(low, high, FOV_DEG),
        fov_deg=FOV_DEG,
        width=SIZE_PX,
        height=SIZE_PX,
        target=0.5 * (low + high),
    )
