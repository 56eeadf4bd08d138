"""What ``distill`` refuses before it writes anything."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stages import distill
from stages.distilling.score import ScoreConfig
from stages.distilling.static_lora import warn_of_other_ground
from stages.errors import BadInput
from stages.events import Caution, Event, silent
from stages.files import write_json
from stages.gaussians import Gaussians
from stages.run_dir import RunDir


def test_an_asset_without_extent(tmp_path: Path) -> None:
    asset = Gaussians(
        means=torch.ones(1, 3),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        log_scales=torch.full((1, 3), -3.0),
        logit_opacities=torch.ones(1),
        sh=torch.zeros(1, 1, 3),
    )
    run = RunDir(tmp_path / "run")
    run.put_asset(asset, "one.ply", force=False)
    config = distill.DistillConfig(prompt="walking", score=ScoreConfig(objective="sds"))
    with pytest.raises(BadInput, match="at one place"):
        distill.run(run, config, silent)
    assert not (run.path / "motion" / "config.json").exists()


@pytest.mark.parametrize("fitted", [None, False, True])
@pytest.mark.parametrize("wanted", [False, True])
def test_a_lora_fitted_over_another_ground(tmp_path: Path, fitted: bool | None, wanted: bool) -> None:
    """A LoRA of a program that knew no ground has none."""
    run = RunDir(tmp_path / "run")
    folder = run.stage("lora").path
    folder.mkdir(parents=True)
    write_json(folder / "config.json", {"settings": {} if fitted is None else {"views.ground": fitted}})
    said: list[Event] = []
    warn_of_other_ground(run, wanted, said.append)
    assert [type(event) for event in said] == ([] if bool(fitted) == wanted else [Caution])
