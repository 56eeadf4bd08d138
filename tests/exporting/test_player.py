"""The HTML player: its payload is the field, it loads nothing, and a browser draws what our own rasterizer draws."""

from __future__ import annotations

import base64
import dataclasses
import html
import json
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stages.cameras import Camera, orbit_camera
from stages.conventions import frame_times
from stages.errors import BadInput
from stages.events import silent
from stages.export import ExportConfig
from stages.export import run as export
from stages.exporting import Recording
from stages.exporting.player import decode, encode, player_page
from stages.gaussians import Frames
from stages.gaussians.sh import sh0_to_rgb
from stages.geometry.rotations import continuous_quaternions
from stages.raster import choose, render
from stages.raster.ground import Ground, above_ground, ground_layer
from tests.exporting.runs import PROMPT, moments, moving_run, small_splat

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SIDE = 200


def element(page: str, name: str) -> str:
    found = re.search(rf'<script type="[^"]*" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found
    return found[1]


def read_page(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """Header and arrays of a page, as its own script reads them."""
    page = path.read_text(encoding="utf-8")
    header = json.loads(element(page, "header"))
    return header, decode(header, base64.b64decode(element(page, "payload")))


@pytest.mark.parametrize("degree", [0, 2])
def test_the_payload_is_the_field_within_quantisation(tmp_path: Path, degree: int) -> None:
    run, out = moving_run(tmp_path / "run", small_splat(degree)), tmp_path / "goat.html"
    export(run, ExportConfig(frames=5, fps=9, credit="Some <b>body</b>"), silent, out=out)
    header, arrays = read_page(out)
    asset, frames = moments(run, frame_times(5))
    means = frames.means
    assert (header["title"], header["fps"], header["frames"], header["gaussians"]) == (PROMPT, 9, 5, 60)
    assert header["credit"] == "Some <b>body</b>, animated with animus3d"
    side = (means.amax(dim=(0, 1)) - means.amin(dim=(0, 1))).numpy()
    assert (np.abs(arrays["positions"] - means.numpy()) <= 0.51 / 65535 * side + 1e-6).all()
    assert np.abs(arrays["rotations"] - continuous_quaternions(frames.quats).numpy()).max() <= 0.51 * 2 / 255
    log_scales = frames.scales.log().numpy()
    assert np.abs(log_scales - log_scales[0]).max() > 0.05
    assert np.abs(arrays["log_scales"] + arrays["stretches"] - log_scales).max() < 0.01
    assert np.abs(arrays["opacities"][0, :, 0] - asset.file_gaussians.opacities.numpy()).max() <= 0.51 / 255
    assert np.abs(arrays["colors"][0] - sh0_to_rgb(asset.file_gaussians.sh[:, 0]).numpy()).max() < 1e-4
    if degree:
        assert np.abs(arrays["harmonics"][0] - asset.file_gaussians.sh[:, 1:].flatten(1).numpy()).max() < 0.01
        turns = continuous_quaternions(frames.rotations).numpy()
        assert np.abs(arrays["turns"] - turns).max() <= 0.51 * 2 / 255
    else:
        assert "turns" not in arrays  # colours that are the same from everywhere need none


def test_what_is_shown_between_frames_is_between_them() -> None:
    """The page interpolates quaternions number by number: neighbours must not differ in sign; and a body that goes
    more than half around must not jump where its quaternion's sign would wrap."""
    asset = small_splat(1)
    angles = torch.linspace(0.0, 6.0, 13)
    c, s, zero, one = angles.cos(), angles.sin(), torch.zeros(13), torch.ones(13)
    R = torch.stack([torch.stack(row, -1) for row in ((c, zero, s), (zero, one, zero), (-s, zero, c))], dim=-2)
    frames = Frames(asset, torch.einsum("tij,nj->tni", R, asset.means))
    arrays = decode(*encode(Recording(frames=frames, fps=16, title="")))
    for name in ("rotations", "turns"):
        quats = arrays[name]
        assert (quats[1:] * quats[:-1]).sum(axis=-1).min() > math.cos(0.5 * 0.5) - 0.02, name


def test_what_keeps_its_size_keeps_it_exactly() -> None:
    arrays = decode(*encode(Recording(frames=Frames.at_rest(small_splat(), 3), fps=16, title="")))
    assert np.abs(arrays["stretches"]).max() == 0.0


def test_the_page_loads_nothing_and_no_title_breaks_out_of_it(tmp_path: Path) -> None:
    run, out = moving_run(tmp_path / "run", small_splat()), tmp_path / "goat.html"
    export(run, ExportConfig(frames=2), silent, out=out)
    page = out.read_text(encoding="utf-8")
    code = page.replace(element(page, "payload"), "")
    assert not re.search(r"https?:|//[a-z]|\bsrc\s*=|\bhref\s*=|@import|url\(|fetch\(|XMLHttpRequest|import\(", code)
    assert page.count("<script") == page.count("</script") == 3
    assert f"<title>{html.escape(PROMPT)}</title>" in page


def test_twenty_thousand_gaussians_of_degree_two_fit_in_ten_megabytes() -> None:
    asset = small_splat(2, 20_000)
    field_like = torch.sin(3.0 * asset.means + 1.0)
    moves = torch.linspace(0, 1, 31)[:, None, None] * field_like
    clip = Recording(frames=Frames(asset, asset.means + moves), fps=16, title="many")
    assert len(player_page(clip)) < 10_000_000


def test_one_gaussian_and_one_frame() -> None:
    asset = small_splat(0, 1)
    clip = Recording(frames=Frames(asset, asset.means[None]), fps=16, title="one")
    arrays = decode(*encode(clip))
    assert np.allclose(arrays["positions"][0], asset.means.numpy())


def players_camera(means: torch.Tensor) -> Camera:
    """Where the page's camera begins: the cylinder around the motion takes 0.75 of the height, 0.9 of the width."""
    low, high = means.amin(dim=(0, 1)), means.amax(dim=(0, 1))
    centre, tangent = 0.5 * (low + high), math.tan(math.radians(17.5))
    around = float((means - centre)[..., [0, 2]].norm(dim=-1).max())
    up = around + 0.5 * float(high[1] - low[1]) / (0.75 * tangent)
    radius = max(up, around * math.hypot(1.0, 1.0 / (0.9 * tangent)))
    return orbit_camera(
        azimuth_deg=35, elevation_deg=15, radius=radius, fov_deg=35, width=SIDE, height=SIDE, target=centre
    )


def screenshot(clip: Recording, folder: Path) -> torch.Tensor:
    """The page of ``clip`` as a browser draws it on white, without its controls, [SIDE, SIDE, 3]."""
    bare = "<style>body{background:#fff!important}header,#bar,#hint{display:none!important}</style></head>"
    (folder / "goat.html").write_text(player_page(clip).replace("</head>", bare), encoding="utf-8")
    subprocess.run(
        [
            str(BROWSER), "--headless", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader", "--hide-scrollbars", f"--window-size={SIDE},{SIDE}",
            "--virtual-time-budget=4000", f"--user-data-dir={folder}/profile",
            f"--screenshot={folder}/shot.png", (folder / "goat.html").as_uri(),
        ],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return torch.from_numpy(np.asarray(Image.open(folder / "shot.png").convert("RGB")) / 255.0)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
@pytest.mark.parametrize("degree", [0, 3])
def test_a_browser_draws_what_the_rasterizer_draws(tmp_path: Path, degree: int) -> None:
    """One frame on white. A clip of two equal frames shows the same picture whenever the browser takes it."""
    run = moving_run(tmp_path / "run", small_splat(degree))
    _, frames = moments(run, torch.tensor([0.7, 0.7]))
    clip = Recording(frames=frames, fps=16, title="")
    shot = screenshot(clip, tmp_path)
    cameras = [players_camera(frames.means)]
    now = frames.select(slice(0, 1))
    unstretched = Frames(now.asset, now.means, (now.rotations, now.quats, now.asset.scales[None]))
    ours, wrong = (
        render(shown, cameras, choose("cpu"), background=torch.ones(3)).rgb[0].clamp(0.0, 1.0)
        for shown in (now, unstretched)
    )
    assert (wrong - ours).abs().mean() > 0.003  # a page that ignored the stretch would be found out
    assert (ours < 0.9).any(dim=-1).float().mean() > 0.02  # there is something to see
    assert (shot - ours).abs().mean() < 0.003  # 0.0001 to 0.001 measured


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_a_browser_draws_the_same_ground(tmp_path: Path) -> None:
    """Part of the body is below the plane. The page's shadow is coarser."""
    run = moving_run(tmp_path / "run", small_splat(0))
    _, frames = moments(run, torch.tensor([0.7, 0.7]))
    low, high = frames.means.amin(dim=(0, 1)), frames.means.amax(dim=(0, 1))
    ground = Ground(height=float(low[1] + 0.2 * (high - low)[1]), tile=0.2 * float((high - low).max()))
    shot = screenshot(Recording(frames=frames, fps=16, title="", ground=ground), tmp_path)
    cameras, now = [players_camera(frames.means)], frames.select(slice(0, 1))
    layer = ground_layer(now, cameras, ground, torch.ones(3))
    unshaded = ground_layer(now, cameras, dataclasses.replace(ground, shadow=0.0), torch.ones(3))
    above = above_ground(now, ground.height)
    ours, bright, whole = (
        render(shown, cameras, choose("cpu"), background=behind).rgb[0].clamp(0.0, 1.0)
        for shown, behind in ((above, layer), (above, unshaded), (now, layer))
    )
    error = float((shot - ours).abs().mean())
    for wrong in (bright, whole):  # a page without the shadow, or with what is below, would be found out
        assert float((wrong - ours).abs().mean()) > 2.0 * error
    assert error < 0.003  # 0.0012 measured


def test_a_ground_is_only_for_the_page(tmp_path: Path) -> None:
    run, out = moving_run(tmp_path / "run", small_splat()), tmp_path / "goat.html"
    export(run, ExportConfig(frames=2, ground=True), silent, out=out)
    header, _ = read_page(out)
    assert header["ground"]["height"] == float(moments(run, frame_times(1))[0].file_gaussians.bounds()[0][1])
    with pytest.raises(BadInput, match="--ground"):
        export(run, ExportConfig(format="ply-sequence", ground=True), silent, out=tmp_path / "goat.ply")
