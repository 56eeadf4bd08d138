"""``ablate --preset skeleton`` on a tiny points prior: one rig an asset, AKD's variants, and what they would show."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from stages.ablate_variant import PRESETS, settings_of
from stages.ablation.variants import FULL, chosen, names_for
from stages.assets import asset_path
from stages.skeletons import physics_simulation
from tests.e2e.command import animus3d
from tests.priors.points.tiny import save_tiny

SMALL = {
    "asset.num_gaussians": 400, "distill.num_timesteps": 4, "evaluate.num_views": 1, "evaluate.size": 32,
    "evaluate.networks.builtin": "false", "track.iterations": 1, "track.knot_hz": 24, "rig.max_bones": 6,
}  # fmt: skip


pytest.importorskip("newton")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """The command, short."""
    folder = tmp_path_factory.mktemp("bones")
    prior = save_tiny(folder / "prior")
    small = [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
    return (
        "ablate", asset_path("rigged", "Fox.glb"), "--prompt", "a walking fox", "--preset", "skeleton", "--prior",
        prior, "--steps", 2, "--seeds", 1, "--out", folder / "study", *small,
    )  # fmt: skip


def test_every_variant_moves_the_bones_of_one_rig_or_a_field(line: tuple[object, ...]) -> None:
    animus3d(*line)
    out = Path(str(line[line.index("--out") + 1]))
    names = names_for(points=True, skeleton=True)
    assert names == [
        FULL, "no-ground-penalty", "no-smoothness", "no-physics", "field-instead-of-skeleton",
        "points-instead-of-skeleton",
    ]  # fmt: skip
    made = json.loads((out / "ablation.json").read_text())
    assert [one["variant"] for one in made["results"]] == names
    assert all(one["metrics"]["motion_amplitude"] is not None for one in made["results"])
    [asset] = out.glob("runs/*/asset")
    [seed] = out.glob("runs/*/seed-0")
    rigs = [run / "rig" / "weights.safetensors" for run in (asset, *sorted(seed.iterdir()))]
    assert len({rig.read_bytes() for rig in rigs}) == 1 and len(rigs) == 7
    assert not list(out.glob("runs/*/*/*/lora/config.json"))  # nothing compares with the asset at rest
    settings = {name: json.loads((seed / name / "motion" / "config.json").read_text())["settings"] for name in names}
    kinds = [settings[name]["motion.kind"] for name in names]
    assert kinds == ["skeleton", "skeleton", "skeleton", "skeleton", "hexplane", "points"]
    assert [(seed / name / "tracked").is_dir() for name in names] == [True, True, True, False, False, False]
    assert all(one["views.ground"] and one["score.objective"] == "sds" for one in settings.values())
    logged = {name: json.loads((seed / name / "motion" / "metrics.jsonl").read_text().split("\n")[0]) for name in names}
    assert {"smooth", "ground"} <= set(logged[FULL])
    assert "ground" not in logged["no-ground-penalty"] and "smooth" not in logged["no-smoothness"]
    claims = {(one["variant"], one["metric"]): one["verdict"] for one in made["orderings"]}
    assert claims["no-smoothness", "jerk"] == "too few"
    assert set(claims.values()) <= {"too few", "not measured"}
    assert "without smoothness the motion jitters" in (out / "table.md").read_text()

    rig, motion = rigs[0].stat().st_mtime_ns, (seed / FULL / "motion" / "motion.safetensors").stat().st_mtime_ns
    animus3d(*line)
    assert rigs[0].stat().st_mtime_ns == rig
    assert (seed / FULL / "motion" / "motion.safetensors").stat().st_mtime_ns == motion


def test_what_an_asset_without_bones_gets(line: tuple[object, ...], tmp_path: Path) -> None:
    """The rig's own error, before anything is distilled."""
    own = [tmp_path / "study" if part == line[line.index("--out") + 1] else part for part in line]
    printed = animus3d(*own, "--set", "rig.skeleton=joints.json", code=3)
    assert "joints.json" in printed.stderr and not list(tmp_path.glob("study/runs/*/seed-0"))


def test_a_variant_that_diverges_is_told_and_the_others_go_on(
    line: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every speed counts as burst here, and only some variants are simulated."""
    monkeypatch.setattr(physics_simulation, "FASTEST_M_S", 1e-6)
    out = tmp_path / "study"
    own = [out if part == line[line.index("--out") + 1] else part for part in line]
    for _ in range(2):  # what has diverged is not tried again
        printed = animus3d(*own, "--variants", "full,no-physics")
        assert re.search(r"Left out: full of .*burst in iteration", " ".join(printed.stdout.split()))
        full, bare = json.loads((out / "ablation.json").read_text())["results"]
        assert "burst" in full["failed"] and not full["metrics"]
        assert "failed" not in bare and bare["metrics"]["jerk"] is not None
        assert "Left out: full of" in (out / "table.md").read_text()
        monkeypatch.setattr(physics_simulation, "FASTEST_M_S", 1e6)
    monkeypatch.setattr(physics_simulation, "FASTEST_M_S", 1e-6)
    printed = animus3d(*own, "--variants", "full", "--force", code=10)
    assert "Every variant" in printed.stderr


@pytest.mark.parametrize("preset", ["skeleton", "akd"])
def test_each_variant_takes_away_what_it_says(preset: str) -> None:
    base = PRESETS[preset]
    names = names_for(points=preset == "skeleton", skeleton=True)
    assert ("no-ground" in names) == (preset == "akd")
    found = {variant.name: settings_of(base, variant) for variant in chosen(names)}
    assert found[FULL] == base.distill and not base.distill.score.compares
    assert base.physics
    assert all(one != base.distill for name, one in found.items() if name not in (FULL, "no-physics"))
    assert found["no-smoothness"].regularizers.smooth_weight == 0.0 < base.distill.regularizers.smooth_weight
    penalty = found["no-ground-penalty"]
    assert penalty.views.ground and penalty.regularizers.over(True).ground_weight == 0.0
    if preset == "akd":
        assert found["no-ground"].regularizers.over(found["no-ground"].views.ground).ground_weight == 0.0
        assert base.distill.prior == "THUDM/CogVideoX-5b"
