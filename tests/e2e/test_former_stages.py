"""Stages of a run of format 1: told in one line, and done again with --force."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from stages import distill, fit_lora, refine
from stages.distilling.viewpoints import ViewsConfig
from stages.errors import SettingsDiffer
from stages.events import Event, Note, silent
from stages.run_dir import RunDir
from tests.gaussians.test_ply import splat
from tests.priors.test_embedded import tiny_prior

Stage = Callable[..., None]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, dict[str, Stage]]:
    """A finished run, and its stages by folder; each takes ``report`` and ``force``."""
    folder = tmp_path_factory.mktemp("former")
    tiny_prior().save(folder / "prior")
    asset = splat(1, count=40)
    run = RunDir(folder / "run")
    run.put_asset(replace(asset, log_scales=asset.log_scales - 3.0), "asset.ply", force=False)
    prior, views = str(folder / "prior"), ViewsConfig(num_cameras=1)
    lora = fit_lora.FitLoraConfig(prior=prior, steps=1, views=views)
    motion = distill.DistillConfig(prior=prior, prompt="walking", steps=1, views=views)
    refined = refine.RefineConfig(prior=prior, steps=1, views=views, denoise_steps=1, num_frames=5)

    def stage(module: object, config: object) -> Stage:
        def go(report: Callable[[Event], None] = silent, *, force: bool = False) -> None:
            module.run(run, config, report, force=force)  # type: ignore[attr-defined]

        return go

    by_folder = {"lora": stage(fit_lora, lora), "motion": stage(distill, motion), "refined": stage(refine, refined)}
    for go in by_folder.values():
        go()
    return run, by_folder


@pytest.mark.parametrize("name", ["lora", "motion", "refined"])
def test_a_stage_of_format_1_is_refused_in_one_line_and_done_again_with_force(
    stages: tuple[RunDir, dict[str, Stage]], name: str
) -> None:
    run, by_folder = stages
    folder, go = run.stage(name), by_folder[name]
    said: list[Event] = []
    go(said.append)
    assert [type(event) for event in said] == [Note]  # nothing to do
    config = json.loads((folder.path / "config.json").read_text())
    assert config.pop("format") == 2 and config.pop("seal")
    (folder.path / "config.json").write_text(json.dumps(config))
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}

    with pytest.raises(SettingsDiffer) as told:
        go()
    assert told.value.exit_code == 5 and "--force" in told.value.hint
    assert str(folder.path) in told.value.what and "\n" not in str(told.value)
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before

    go(force=True)
    assert folder.is_complete() and json.loads((folder.path / "config.json").read_text())["format"] == 2
    said.clear()
    go(said.append)
    assert [type(event) for event in said] == [Note]
