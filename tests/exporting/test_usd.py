"""The USD file, opened again by OpenUSD: every frame's positions, rotations and colours are the field's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stages.conventions import frame_times
from stages.errors import NotAvailable
from stages.events import silent
from stages.export import ExportConfig
from stages.export import run as export
from stages.gaussians.sh import eval_sh
from stages.geometry.rotations import quaternion_matrices
from tests.exporting.runs import PROMPT, moments, moving_run, small_splat


@pytest.mark.parametrize(("degree", "suffix"), [(0, "usdc"), (2, "usda")])
def test_every_frame_is_the_fields(tmp_path: Path, degree: int, suffix: str) -> None:
    pxr = pytest.importorskip("pxr")
    from pxr import Usd, UsdGeom, UsdVol

    assert pxr
    run, out = moving_run(tmp_path / "run", small_splat(degree)), tmp_path / f"goat.{suffix}"
    config = ExportConfig(format="usd", frames=4, fps=12, credit="somebody")
    export(run, config, silent, out=out)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [out.name]
    stage = Usd.Stage.Open(str(out))
    assert UsdGeom.GetStageUpAxis(stage) == "Y" and stage.GetTimeCodesPerSecond() == 12
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (0, 3)
    assert stage.GetRootLayer().documentation == f"{PROMPT} - somebody, animated with animus3d"
    prim = next(iter(stage.GetDefaultPrim().GetChildren()))
    assert prim.IsA(UsdVol.ParticleField3DGaussianSplat)
    assert prim.HasAPI("ParticleFieldSphericalHarmonicsAttributeAPI")
    asset, moved = moments(run, frame_times(4))

    def read(name: str, index: int) -> torch.Tensor:
        return torch.from_numpy(np.array(prim.GetAttribute(name).Get(index), dtype=np.float32))

    torch.testing.assert_close(read("opacities", 0), asset.gaussians.opacities)
    assert prim.GetAttribute("radiance:sphericalHarmonicsDegree").Get() == degree
    along = torch.tensor([0.48, 0.6, 0.64])
    for index in range(4):
        torch.testing.assert_close(read("positions", index), moved.means[index])
        torch.testing.assert_close(read("scales", index), moved.scales[index])
        stored = [[q.GetReal(), *q.GetImaginary()] for q in prim.GetAttribute("orientations").Get(index)]
        torch.testing.assert_close(torch.tensor(stored), moved.quats[index], atol=1e-4, rtol=0)
        low, high = read("extent", index)
        assert (low < moved.means[index].amin(0)).all() and (high > moved.means[index].amax(0)).all()
        sh = read("radiance:sphericalHarmonicsCoefficients", index).reshape(60, -1, 3)
        R = quaternion_matrices(moved.rotations[index])
        there = eval_sh(asset.gaussians.sh, R.mT @ along)
        torch.testing.assert_close(eval_sh(sh, along.expand(60, 3)), there, atol=1e-4, rtol=0)


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, out = moving_run(tmp_path / "run", small_splat()), tmp_path / "goat.usd"
    out.write_text("before")
    monkeypatch.setitem(__import__("sys").modules, "pxr", None)
    with pytest.raises(NotAvailable, match="pip install"):
        export(run, ExportConfig(format="usd", frames=2), silent, out=out)
    assert out.read_text() == "before" and len([p for p in tmp_path.iterdir() if p.is_file()]) == 1
