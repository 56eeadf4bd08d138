"""The page's own mathematics, run by node: what it unpacks and derives is what Python unpacks and derives."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.exporting import Recording
from stages.exporting.player import decode, encode
from stages.exporting.player.page import ENGINE, script
from stages.gaussians import Frames
from stages.gaussians.neighbours import nearest_neighbours
from tests.exporting.runs import moments, moving_run, small_splat

NODE = shutil.which("node") or shutil.which("nodejs")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed: nothing here can run the page's script")

TAIL = """
(async () => {
  const { header, payload, points } = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const list = (array) => array && Array.from(array);
  if (points) {
    const found = nearestNeighbours(Float64Array.from(points), 24);
    return console.log(JSON.stringify({ k: found.k, indices: list(found.indices), distances: list(found.distances) }));
  }
  const answers = [];
  await produce(header, Buffer.from(payload, "base64"), (message) => {
    const arrays = message.rest || message;
    const listed = ([key, value]) => [key, key === "frame" ? value : list(value)];
    answers.push(Object.fromEntries(Object.entries(arrays).map(listed)));
  }, () => null);
  console.log(JSON.stringify(answers));
})();
"""


def engine(folder: Path, question: dict[str, Any]) -> Any:
    """What the page's engine answers."""
    (folder / "engine.js").write_text(script(ENGINE) + TAIL, encoding="utf-8")
    done = subprocess.run(
        [str(NODE), str(folder / "engine.js")], input=json.dumps(question), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def derived(folder: Path, clip: Recording) -> tuple[dict[str, Any], list[dict[str, np.ndarray[Any, Any]]], Frames]:
    """What the page knows of the clip at rest, what it derives of each frame, and the same by Python."""
    header, payload = encode(clip)
    rest, *frames = engine(folder, {"header": header, "payload": base64.b64encode(payload).decode()})
    assert [frame.pop("frame") for frame in frames] == list(range(clip.frames.num_frames))
    shapes = {"positions": (-1, 3), "quats": (-1, 4), "scales": (-1, 3), "turns": (-1, 4)}
    tables = [
        {name: np.array(values).reshape(shapes[name]) for name, values in frame.items() if values} for frame in frames
    ]
    return rest, tables, decode(header, payload).lattice_frames


def bent(degree: int, count: int = 200, frames: int = 7) -> Frames:
    """Gaussians on a sheet, which is rolled up, drawn out, and of which a half does not move in the first frames."""
    asset = small_splat(degree, count)
    generator = torch.Generator().manual_seed(3)
    flat = torch.rand(count, 3, generator=generator) * torch.tensor([2.0, 0.02, 1.0])
    asset = type(asset)(**{**vars(asset), "means": flat})
    time = torch.linspace(0.0, 1.0, frames)[:, None]
    angle = 2.5 * time * (flat[:, 0] - 1.0).clamp(min=0.0) ** 2
    x, y, z = flat.T
    means = torch.stack([x + angle.sin() * y, y + angle * x, z * (1.0 + 0.4 * angle)], dim=-1)
    return Frames(asset, means)


@pytest.mark.parametrize("degree", [0, 2])
def test_turns_axes_and_stretches_are_pythons(tmp_path: Path, degree: int) -> None:
    clip = Recording(frames=bent(degree), fps=16, title="")
    rest, tables, ours = derived(tmp_path, clip)
    moved = (ours.rotations[..., 0].abs() < 1.0).float().mean(dim=1)
    assert 0.2 < moved[-1] < 0.9 and moved[0] == 0.0  # some turn, some never move: both are tried
    assert float((ours.scales / ours.scales[:1]).log().abs().max()) > 0.2
    for t, table in enumerate(tables):
        for name, wanted in (("quats", ours.quats[t]), ("turns", ours.rotations[t])):
            if name == "turns" and not degree:
                assert "turns" not in table  # colours that are the same from everywhere need none
                continue
            same = np.abs(table[name] - wanted.numpy()).max()
            assert same < 1e-6, (t, name)  # signs too: what is between frames is interpolated
        assert np.abs(np.log(table["scales"] / ours.scales[t].numpy())).max() < 1e-6, t
    assert np.allclose(np.array(rest["opacities"]), ours.asset.opacities.numpy(), atol=1e-6)


def test_a_field_in_a_run_is_derived_alike(tmp_path: Path) -> None:
    _, frames = moments(moving_run(tmp_path / "run", small_splat(1, 90)), torch.linspace(0.0, 1.0, 5))
    _, tables, ours = derived(tmp_path, Recording(frames=frames, fps=16, title=""))
    for t, table in enumerate(tables):
        assert np.abs(table["quats"] - ours.quats[t].numpy()).max() < 1e-6
        assert np.abs(table["turns"] - ours.rotations[t].numpy()).max() < 1e-6


def test_what_does_not_move_stays_as_it_is(tmp_path: Path) -> None:
    asset = small_splat(0, 40)
    _, tables, _ = derived(tmp_path, Recording(frames=Frames.at_rest(asset, 3), fps=16, title=""))
    for table in tables[1:]:
        for name in table:
            assert (table[name] == tables[0][name]).all(), name


@pytest.mark.parametrize("count", [1, 2, 3, 30])
def test_few_gaussians_on_a_line(tmp_path: Path, count: int) -> None:
    """Neighbourhoods that say nothing of a turn keep what they had, in the page too."""
    asset = small_splat(0, count)
    means = torch.linspace(0.0, 1.0, count)[:, None] * torch.tensor([1.0, 2.0, 3.0])
    asset = type(asset)(**{**vars(asset), "means": means})
    moves = torch.linspace(0.0, 1.0, 4)[:, None, None] * means.roll(1, dims=1)
    _, tables, ours = derived(tmp_path, Recording(frames=Frames(asset, means + moves), fps=16, title=""))
    for t, table in enumerate(tables):
        assert np.abs(table["quats"] - ours.quats[t].numpy()).max() < 1e-6


def test_neighbours_are_the_nearest(tmp_path: Path) -> None:
    """Clusters, a line, points that coincide, and one far away; scipy finds the same distances."""
    generator = torch.Generator().manual_seed(0)
    cloud = torch.randn(300, 3, generator=generator, dtype=torch.float64)
    line = torch.linspace(0.0, 1.0, 60, dtype=torch.float64)[:, None].expand(60, 3)
    points = torch.cat([cloud, 0.01 * cloud[:150] + 3.0, line, torch.full((30, 3), 7.0), torch.tensor([[1e4, 0, 0]])])
    found = engine(tmp_path, {"points": points.flatten().tolist()})
    indices = np.array(found["indices"]).reshape(-1, 24)
    _, distances = nearest_neighbours(points, 24)
    assert np.allclose(np.array(found["distances"]).reshape(-1, 24), distances.numpy(), rtol=1e-9, atol=1e-12)
    assert all(len(set(row)) == 24 and place not in row for place, row in enumerate(indices.tolist()))
