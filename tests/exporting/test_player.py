"""The HTML player: its payload is the field, and it loads nothing."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stages.conventions import frame_times
from stages.errors import BadInput
from stages.events import silent
from stages.export import ExportConfig
from stages.export import run as export
from stages.exporting import Recording
from stages.exporting.player import Decoded, decode, encode, player_page
from stages.exporting.player.poster import first_camera
from stages.gaussians import Frames, Gaussians
from stages.geometry.rotations import quaternion_matrices
from stages.raster import choose, render
from tests.exporting.runs import PROMPT, moments, moving_run, small_splat


def element(page: str, name: str) -> str:
    found = re.search(rf'<script type="[^"]*" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found
    return found[1]


def read_page(path: Path) -> tuple[dict[str, Any], Decoded]:
    """Header and clip of a page, as its own script reads them."""
    page = path.read_text(encoding="utf-8")
    header = json.loads(element(page, "header"))
    return header, decode(header, base64.b64decode(element(page, "payload")))


def stored_order(clip: Decoded, asset: Gaussians) -> torch.Tensor:
    """Which Gaussian of ``asset`` each one of the page is."""
    order = torch.cdist(clip.frames.asset.means.double(), asset.means.double()).argmin(dim=1)
    assert len(set(order.tolist())) == asset.num_gaussians
    return order


def covariances(frames: Frames) -> torch.Tensor:
    """[T, N, 3, 3]: what is drawn, however its axes are called."""
    half = quaternion_matrices(frames.quats) * frames.scales[..., None, :]
    return half @ half.mT


def psnr(first: torch.Tensor, second: torch.Tensor) -> float:
    """Of two pictures, dB."""
    return float(-10.0 * (first.double() - second.double()).square().mean().log10())


@pytest.mark.parametrize("degree", [0, 2])
def test_the_payload_is_the_field_within_quantisation(tmp_path: Path, degree: int) -> None:
    run, out = moving_run(tmp_path / "run", small_splat(degree)), tmp_path / "goat.html"
    export(run, ExportConfig(frames=5, fps=9, credit="Some <b>body</b>"), silent, out=out)
    header, clip = read_page(out)
    asset, frames = moments(run, frame_times(5))
    assert (header["title"], header["fps"], header["frames"], header["gaussians"]) == (PROMPT, 9, 5, 60)
    assert header["credit"] == "Some <b>body</b>, animated with animus3d"
    rest = asset.file_gaussians
    found, order = clip.frames, stored_order(clip, rest)
    size = float((rest.means.amax(dim=0) - rest.means.amin(dim=0)).max())
    assert (found.means - frames.means[:, order]).abs().max() < size / 8192
    assert (frames.scales.log() - rest.scales.log()).abs().max() > 0.05
    shapes, true_shapes = covariances(found), covariances(frames)[:, order]
    off = (shapes - true_shapes).flatten(2).norm(dim=-1) / true_shapes.flatten(2).norm(dim=-1)
    assert off.median() < 0.002 and off.flatten().quantile(0.98) < 0.02  # a few neighbourhoods hardly have a best turn
    assert (found.asset.opacities - rest.opacities[order]).abs().max() <= 0.51 / 255
    assert (found.asset.sh[:, 0] - rest.sh[order, 0]).abs().max() < 1e-3
    assert found.asset.sh_degree == degree
    if degree:
        assert (found.asset.sh[:, 1:] - rest.sh[order, 1:]).abs().max() < 0.01


def test_an_asset_in_other_units_makes_the_same_page() -> None:
    """Positions are as fine for a body of millimetres as for one of kilometres."""
    asset = small_splat()
    moves = torch.linspace(0.0, 0.5, 4)[:, None, None] * torch.sin(3.0 * asset.means)
    found = []
    for unit in (1.0, 1024.0, 1.0 / 1024.0):
        scaled = dataclasses.replace(asset, means=unit * asset.means, log_scales=asset.log_scales + math.log(unit))
        clip = decode(*encode(Recording(frames=Frames(scaled, unit * (asset.means + moves)), fps=16, title="")))
        found.append((clip.rest, clip.moves))
    for rest, moved in found[1:]:
        assert (rest == found[0][0]).all() and (moved == found[0][1]).all()


def test_a_far_gaussian_does_not_coarsen_the_body() -> None:
    asset = small_splat(0, 400)
    means = asset.means.clone()
    means[0] = torch.tensor([500.0, 0.0, 0.0])
    asset = dataclasses.replace(asset, means=means)
    moves = torch.linspace(0.0, 0.3, 3)[:, None, None] * torch.sin(3.0 * asset.means)
    clip = decode(*encode(Recording(frames=Frames(asset, means + moves), fps=16, title="")))
    order = stored_order(clip, asset)
    assert (clip.frames.means - (means + moves)[:, order]).abs().max() < 3e-4


def test_what_does_not_move_is_stored_as_such() -> None:
    asset = small_splat()
    clip = decode(*encode(Recording(frames=Frames(asset, asset.means.expand(3, -1, -1)), fps=16, title="")))
    assert not clip.moves.any()
    frames = clip.frames
    assert (frames.scales == frames.scales[:1]).all() and (frames.quats == frames.quats[:1]).all()


def test_the_page_loads_nothing_and_no_title_breaks_out_of_it(tmp_path: Path) -> None:
    run, out = moving_run(tmp_path / "run", small_splat()), tmp_path / "goat.html"
    export(run, ExportConfig(frames=2), silent, out=out)
    page = out.read_text(encoding="utf-8")
    code = re.sub(r'src="data:image/webp;base64,[^"]*"', "", page.replace(element(page, "payload"), ""))
    assert not re.search(r"https?:|//[a-z]|\bsrc\s*=|\bhref\s*=|@import|url\(|fetch\(|XMLHttpRequest|import\(", code)
    assert page.count("<script") == page.count("</script") == 4
    assert f"<title>{html.escape(PROMPT)}</title>" in page


def test_the_policy_admits_the_pages_own_scripts_and_no_other(tmp_path: Path) -> None:
    asset = small_splat()
    page = player_page(Recording(frames=Frames(asset, asset.means[None]), fps=16, title="one"))
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    bodies = re.findall(r'<script(?: id="engine")?>(.*?)</script>', page, re.DOTALL)
    for kind, texts in (("script-src", bodies), ("style-src", re.findall(r"<style>(.*?)</style>", page, re.DOTALL))):
        hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts]
        assert rules[kind].split() == hashes
    assert len(bodies) == 2


def test_the_poster_is_the_first_frame(tmp_path: Path) -> None:
    _, frames = moments(moving_run(tmp_path / "run", small_splat()), torch.tensor([0.7, 0.1]))
    page = player_page(Recording(frames=frames, fps=16, title=""))
    [data] = re.findall(r'src="data:image/webp;base64,([^"]*)"', page)
    picture = torch.from_numpy(np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA")) / 255.0)
    shown = picture[..., :3] * picture[..., 3:] + 1.0 - picture[..., 3:]
    cameras = [first_camera(frames)] * 2
    first, last = render(frames, cameras, choose("cpu"), background=torch.ones(3)).rgb.clamp(0.0, 1.0)
    assert psnr(shown, first) > 30.0 > psnr(shown, last) + 5.0


def test_twenty_thousand_gaussians_of_degree_two_fit_in_ten_megabytes() -> None:
    asset = small_splat(2, 20_000)
    field_like = torch.sin(3.0 * asset.means + 1.0)
    moves = torch.linspace(0, 1, 31)[:, None, None] * field_like
    clip = Recording(frames=Frames(asset, asset.means + moves), fps=16, title="many")
    assert len(player_page(clip)) < 10_000_000


def test_one_gaussian_and_one_frame() -> None:
    asset = small_splat(0, 1)
    clip = Recording(frames=Frames(asset, asset.means[None]), fps=16, title="one")
    assert torch.allclose(decode(*encode(clip)).frames.means[0], asset.means)


def test_a_ground_is_only_for_the_page(tmp_path: Path) -> None:
    run, out = moving_run(tmp_path / "run", small_splat()), tmp_path / "goat.html"
    export(run, ExportConfig(frames=2, ground=True), silent, out=out)
    header, _ = read_page(out)
    assert header["ground"]["height"] == float(moments(run, frame_times(1))[0].file_gaussians.bounds()[0][1])
    with pytest.raises(BadInput, match="--ground"):
        export(run, ExportConfig(format="ply-sequence", ground=True), silent, out=tmp_path / "goat.ply")
