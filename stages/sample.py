"""sample: let the prior draw several motions of one sentence, to choose from before anything is fitted.

    animus3d sample --prompt "a walking goat" --count 6
    animus3d distill --sample 3

1. Load the asset and the prior; say which motion it understood.
2. Draw the samples.
3. Show them: a contact sheet with a row for each, and a page where they move side by side.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from stages.cameras import Camera, fitting_radius, orbit_camera
from stages.conventions import step_generator
from stages.distilling.sampled import sampled_motion
from stages.distilling.viewpoints import ViewsConfig, look_at
from stages.errors import BadInput, NotAvailable
from stages.events import Finished, Note, Progress, Report, Started, Wrote
from stages.facing.keep import facing_input
from stages.files import replacing
from stages.gaussians import Frames
from stages.gaussians.normalised import normalised
from stages.gaussians.stand_in import stand_in
from stages.media.contact_sheet import contact_sheet, write_png
from stages.media.video import write_mp4
from stages.priors.load import load_prior, prior_fingerprint
from stages.priors.points import PointView, sees_points
from stages.raster import choose, render
from stages.raster.film import FOV_DEG
from stages.reporting.page import fill
from stages.run_dir import RunDir
from stages.run_dir.layout import SAMPLES
from stages.settings import check

SHEET_COLUMNS, FPS = 8, 12
SIZE_PX, AZIMUTH_DEG, ELEVATION_DEG = 192, 60.0, 12.0


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """Settings of ``sample``."""

    prompt: str = ""
    prior: str = "points"
    count: int = 6
    seed: int = 0
    denoise_steps: int = 12
    guidance: float = 1.0
    max_gaussians: int = 10_000  # that are drawn, as in distill
    raster: str | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        check(self, count=1, denoise_steps=1, max_gaussians=1)


PRESETS = {"default": SampleConfig()}


def run(run_dir: RunDir, config: SampleConfig, report: Report, *, force: bool = False) -> None:
    """Write ``samples/samples.safetensors``, a contact sheet, a page and a video each.

    Raises:
        BadInput: no prompt.
        MissingStage: the run has no asset.
        NotAvailable: a prior that does not sample paths of points.
    """
    if not config.prompt.strip():
        raise BadInput("sample needs a sentence.", 'For example: animus3d sample --prompt "a walking goat"')
    # 1. what is asked
    asset = stand_in(normalised(run_dir.load_asset()), config.max_gaussians).to(config.device)
    folder = run_dir.stage(SAMPLES.folder)
    inputs = {"asset": run_dir.asset_hash(), "prior": prior_fingerprint(config.prior)}
    inputs |= facing_input(run_dir, config.prior)
    begin = folder.begin(
        config=asdict(config),
        defaults=asdict(SampleConfig()),
        inputs=inputs,
        total_steps=config.count,
        force=force,
    )
    if begin.done:
        report(Note("sample is already done with these settings; nothing to do (--force does it again)."))
        return
    rasterizer = choose(config.device, config.raster)
    prior = load_prior(config.prior, config.device)
    if not sees_points(prior):
        raise NotAvailable(f"The prior {config.prior!r} does not sample here.", "Take: --prior points")
    prior.tell(config.prompt, report)
    views, facing_deg = ViewsConfig(num_cameras=1), run_dir.facing().used_deg
    [view] = look_at(prior, asset, views, rasterizer, prompt=config.prompt, facing_deg=facing_deg, seed=config.seed)
    assert isinstance(view, PointView)

    # 2. the samples
    [text] = prior.encode_text([config.prompt]).split()
    condition = prior.condition(text, asset, view)
    prior.tell_of_body(condition, step_generator(config.seed, 0, stream=9), report)
    samples, ways = prior.varied(
        condition,
        step_generator(config.seed, 0, stream=8),
        count=config.count,
        steps=config.denoise_steps,
        guidance=config.guidance,
    )
    for number, way in enumerate(ways, start=1):
        report(Note(f"Sample {number}: {f'as {way} does it' if way else 'as suits the body'}."))
    metadata = {"prompt": config.prompt, "seed": str(config.seed), "prior_fingerprint": inputs["prior"]}
    folder.write_result(SAMPLES.result, {"latents": samples}, metadata)

    # 3. what they look like
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
    every = max(1, len(films[0]) // SHEET_COLUMNS)
    rows = torch.cat([frames[::every][:SHEET_COLUMNS] for frames in films])
    sheet = folder.path / "samples.png"
    write_png(sheet, contact_sheet(rows, columns=SHEET_COLUMNS))
    report(Wrote(sheet, f"{config.count} samples, one a row"))
    page = write_page(folder.path, config)
    report(Wrote(page, "the same, moving; distill --sample NUMBER takes one"))
    folder.finish(config.count)
    report(Finished("sample"))


def camera_for(moves: list[Frames]) -> Camera:
    """A camera from the front and the side that sees all that the asset passes through in any of ``moves``."""
    means = torch.cat([frames.means[:, frames.asset.body] for frames in moves]).cpu()
    low, high = means.amin(dim=(0, 1)), means.amax(dim=(0, 1))
    return orbit_camera(
        azimuth_deg=AZIMUTH_DEG,
        elevation_deg=ELEVATION_DEG,
        radius=fitting_radius(low, high, FOV_DEG),
        fov_deg=FOV_DEG,
        width=SIZE_PX,
        height=SIZE_PX,
        target=0.5 * (low + high),
    )


def write_page(folder: Path, config: SampleConfig) -> Path:
    """A page that shows all samples in ``folder`` at once; it loads nothing."""
    clips = [(folder / f"sample_{number + 1}.mp4").read_bytes() for number in range(config.count)]
    page = folder / "samples.html"
    with replacing(page) as temporary:
        temporary.write_text(fill("samples.html", prompt=config.prompt, clips=clips), encoding="utf-8")
    return page
