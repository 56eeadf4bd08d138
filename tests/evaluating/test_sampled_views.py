"""View agreement: of a motion with its own films, of another, and of several samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from stages.conventions import frame_times
from stages.errors import BadInput
from stages.evaluating.sampled_views import on_samples
from stages.files import write_json
from stages.media.contact_sheet import to_bytes
from stages.metrics.view_agreement import view_agreement
from stages.moving.asset import load_moving_asset
from stages.raster import choose, render
from stages.raster.film import Shot, cameras_around
from stages.run_dir import RunDir
from tests.exporting.runs import moving_run, small_splat

FRAMES, SIZE = 4, 24
GREY = torch.tensor([0.5, 0.25, 1.0])


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return moving_run(tmp_path / "run", small_splat(), prompt="a walking goat")


def filmed(run: RunDir) -> dict[str, Tensor]:
    """The run's motion as two cameras see it, in the format of ``sample``, and its negative as another sample."""
    asset = load_moving_asset(run, "motion", "cpu")
    frames = asset.at(frame_times(FRAMES))
    shot = Shot(frames=FRAMES, num_views=2, size=SIZE, elevation_deg=10.0, raster="cpu", device="cpu")
    cameras = cameras_around(frames, shot)
    seen = [render(frames, [one] * FRAMES, choose("cpu", "cpu"), background=GREY).rgb for one in cameras]
    rgb = to_bytes(torch.stack(seen))
    return {
        "rgb": torch.stack([255 - rgb, rgb]),
        "viewmats": torch.stack([one.viewmat for one in cameras]),
        "Ks": torch.stack([one.K for one in cameras]),
        "background": GREY,
    }


def keep(run: RunDir, tensors: dict[str, Tensor]) -> None:
    metadata = {"prompt": "a walking goat", "seed": "0", "prior_fingerprint": "x", "kind": "video"}
    run.stage("samples").write_result("samples.safetensors", tensors, metadata)
    run.stage("samples").finish(2)


def measure(run: RunDir) -> dict[str, object]:
    asset = load_moving_asset(run, "motion", "cpu")
    return on_samples(run, asset, device="cpu", raster="cpu")["view_agreement"]


def test_by_hand() -> None:
    """A sample of 255s and one of 51s, against 0.1: 0.9 and 0.1; in one of two views 0.3 more."""
    renders = torch.full((2, 1, 2, 2, 3), 0.1)
    videos = torch.full((2, 2, 1, 2, 2, 3), 255, dtype=torch.uint8)
    videos[1, 0], videos[1, 1] = 51, 127
    found = view_agreement(renders, videos)
    assert found.sample == 1 and found.by_view == pytest.approx([0.1, 127 / 255 - 0.1])
    assert found.difference == pytest.approx((0.1 + 127 / 255 - 0.1) / 2)


def test_a_motion_agrees_with_its_own_films(run: RunDir) -> None:
    keep(run, filmed(run))
    found = measure(run)
    assert found["value"] < 0.5 / 255 < found["at_rest"]  # type: ignore[operator]
    assert found["reference"] == "sample 2 of 2: a walking goat"
    assert (found["views"], found["frames"], found["size_px"]) == (2, FRAMES, SIZE)


def test_the_sample_that_was_followed_counts(run: RunDir) -> None:
    """Although another is nearer."""
    keep(run, filmed(run))
    write_json(run.stage("motion").path / "config.json", {"settings": {"match.sample": 1}})
    found = measure(run)
    assert found["value"] > 0.1 and str(found["reference"]).startswith("sample 1 of 2")  # type: ignore[operator]


def test_without_videos_it_says_how(run: RunDir) -> None:
    assert measure(run)["value"] is None and "animus3d sample" in str(measure(run)["unavailable"])
    keep(run, {"latents": torch.zeros(2, 9, 5)})
    assert measure(run)["value"] is None


@pytest.mark.parametrize("name", ["rgb", "viewmats", "Ks", "background"])
def test_refuses_what_does_not_belong_together(run: RunDir, name: str) -> None:
    tensors = filmed(run)
    keep(run, tensors | {name: tensors[name][:1]} if name != "rgb" else tensors | {"rgb": tensors["rgb"].float()})
    with pytest.raises(BadInput, match=r"samples\.safetensors"):
        measure(run)
