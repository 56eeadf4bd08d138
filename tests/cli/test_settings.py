"""``--set`` is typed and strict."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from animus3d_cli.settings import build_config
from stages.distill import PRESETS, DistillConfig
from stages.distilling.score import ScoreConfig
from stages.errors import BadInput
from stages.evaluate import EvaluateConfig
from stages.motion.hexplane import HexPlaneConfig
from stages.motion.regularizers import RegularizerConfig
from stages.reconstruct_photos import PhotosConfig
from stages.train_points import TrainPointsConfig
from stages.training.video import TrainPriorConfig


def build(*assignments: str, **flags: object) -> DistillConfig:
    return build_config(PRESETS, "default", flags, assignments)


def test_flags_and_assignments_override_in_order() -> None:
    config = build(
        "score.guidance=3", "motion.features=8", "hexplane.multires=1,2,4", "raster=none",
        **{"score.guidance": 9.0, "steps": None, "seed": 5},
    )  # fmt: skip
    assert config.score.guidance == 3.0 and isinstance(config.score.guidance, float)
    assert config.motion.hexplane.features == 8 and config.motion.hexplane.multires == (1, 2, 4)
    assert config.raster is None and config.seed == 5 and config.steps == PRESETS["default"].steps


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("inversion_step=3", r"no setting 'inversion_step'. Did you mean score\.inversion_steps"),
        ("feature=3", r"Did you mean motion\.hexplane\.features"),
        ("guidance=3", r"several settings 'guidance'.*score\.guidance, match\.guidance, pixel_flow\.guidance"),
        ("hexplane=3", "no setting 'hexplane'"),
        ("steps.x=3", "no setting"),
        ("steps=many", "steps must be a whole number, not 'many'"),
        ("checkpoint_every=0", "checkpoint_every must be at least 1, not 0"),
        ("num_cameras=-3", "num_cameras must be at least 1"),
        ("score.guidance=nan", "guidance must be a number"),
        ("objective=vsd", "Choose one of: msd, sds"),
        ("steps", "has no value"),
    ],
)
def test_wrong_assignments(assignment: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        build(assignment)


def test_unknown_preset() -> None:
    with pytest.raises(BadInput, match="Choose one of: default"):
        build_config(PRESETS, "fastest", {}, [])


@pytest.mark.parametrize(
    "make",
    [
        lambda: DistillConfig(steps=0),
        lambda: ScoreConfig(objective="vsd"),  # type: ignore[arg-type]
        lambda: ScoreConfig(start_noise="fresh", own_noise=False),
        lambda: RegularizerConfig(arap_weight=float("nan")),
        lambda: HexPlaneConfig(multires=()),
        lambda: PhotosConfig(size_px=0),
        lambda: PhotosConfig(num_gaussians=3),
        lambda: TrainPriorConfig(batch_size=0),
        lambda: EvaluateConfig(frames=1),
    ],
)
def test_a_program_gets_the_same_errors(make: Callable[[], object]) -> None:
    """Settings check themselves when they are made, whoever makes them."""
    with pytest.raises(BadInput):
        make()


@pytest.mark.parametrize(
    ("config", "settings", "words"),
    [
        (TrainPriorConfig, {"fine_width": 16}, "at least 32"),
        (TrainPriorConfig, {"patch_size": 5}, "patches of 5"),
        (TrainPriorConfig, {"patch_size": 0}, "at least 1"),
        (TrainPriorConfig, {"latent_channels": 500}, "no more than 48"),
        (TrainPriorConfig, {"num_frames": 1}, "at least 2"),
        (TrainPointsConfig, {"width": 100}, "multiple of 32"),
        (TrainPointsConfig, {"num_layers": 0}, "at least 1"),
    ],
)
def test_sizes_of_which_no_network_can_be_made(config: type, settings: dict[str, int], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        config(**settings)
