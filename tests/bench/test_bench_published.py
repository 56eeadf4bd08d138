"""What ``bench_published`` says, with a tiny model in place of a true one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stages.gaussians.stand_in import stand_in
from stages.priors.load import load_prior
from stages.priors.published import PublishedPrior
from stages.settings import with_settings
from tests.bench.bench_published import add_utilisation, full, sample
from tests.bench.published_stages import WITHOUT_MODEL, measure, preset_configs
from tests.priors.tiny_models import save_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model("modelscope", tmp_path_factory.mktemp("bench") / "model")


def tiny(folder: Path) -> PublishedPrior:
    prior = load_prior(str(folder), num_frames=16, size_px=32)
    assert isinstance(prior, PublishedPrior)
    return prior


def test_minutes_follow_from_the_parts(folder: Path) -> None:
    """Those of a step, as often as the preset takes it; of the static branch for every camera and timestep."""
    found = measure(lambda **_: tiny(folder), stand_in(sample(None), 300), "cpu", 1)
    lora, distilled, refined = (found[stage]["seconds"] for stage in ("fit_lora", "distill", "refine"))
    without = sum(distilled[part] for part in WITHOUT_MODEL)
    step = without + distilled["encode"] + distilled["score"] + distilled["encoder_backward"]
    videos = 2 * (refined["encode"] + 20 * refined["denoise_step"] + refined["decode"]) + refined["render"]
    minutes = found["preset_minutes_extrapolated"]
    assert found["distill"]["share_without_model"] == pytest.approx(without / step, abs=1e-3)
    assert 60 * minutes["fit_lora"] == pytest.approx(8 * lora["view"] + 300 * lora["step"], abs=0.4)
    assert 60 * minutes["distill"] == pytest.approx(8 * 16 * distilled["static_branch"] + 600 * step, abs=0.4)
    assert 60 * minutes["refine"] == pytest.approx(4 * videos + 100 * refined["field_step"], abs=0.4)
    assert found["peak_gib_is_of"] == "the process so far" and found["refine"]["peak_gib"] > 0.1

    add_utilisation(found, {"distill": {"score": 4.0 * distilled["score"]}}, 8.0)
    assert found["distill"]["utilisation"] == {"score": 0.5}


def test_full_runs_the_stages_themselves(folder: Path) -> None:
    configs = preset_configs("cpu")
    for stage in configs:
        configs[stage] = with_settings(configs[stage], {"steps": 1, "views.num_cameras": 1})
    configs["refine"] = replace(configs["refine"], denoise_steps=1)
    minutes = full(lambda **_: tiny(folder), stand_in(sample(None), 300), folder, configs)
    assert set(minutes) == {"fit_lora", "distill", "refine"}
    assert (folder / "run" / "refined" / "motion.safetensors").exists()


def test_samples_as_many_gaussians_as_are_asked_for() -> None:
    assert sample(None).num_gaussians == 4000 and sample(9000).num_gaussians == 9000
