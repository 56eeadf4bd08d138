"""``--set`` is typed and strict."""

from __future__ import annotations

import pytest

from animus3d_cli.settings import build_config
from stages.distill import PRESETS, DistillConfig
from stages.errors import BadInput


def build(*assignments: str, **flags: object) -> DistillConfig:
    return build_config(PRESETS, "default", flags, assignments)


def test_flags_and_assignments_override_in_order() -> None:
    config = build(
        "guidance=3", "field.features=8", "field.multires=1,2,4", "raster=none", guidance=9.0, steps=None, seed=5
    )
    assert config.guidance == 3.0 and isinstance(config.guidance, float)
    assert config.field.features == 8 and config.field.multires == (1, 2, 4)
    assert config.raster is None and config.seed == 5 and config.steps == DistillConfig().steps


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("guidence=3", "no setting 'guidence'. Did you mean guidance"),
        ("field.feature=3", r"Did you mean field\.features"),
        ("field=3", "no setting 'field'"),
        ("steps.x=3", "no setting"),
        ("steps=many", "steps must be a whole number, not 'many'"),
        ("checkpoint_every=0", "checkpoint_every must be at least 1, not 0"),
        ("num_cameras=-3", "num_cameras must be at least 1"),
        ("guidance=nan", "guidance must be a number"),
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
