"""``ablate --preset animate3d`` on the exact prior: one part of Animate3D left out at a time."""

from __future__ import annotations

import json
from pathlib import Path

from stages.ablation.variants import FULL, names_for
from stages.assets import asset_path
from tests.e2e.command import animus3d

SMALL = {
    "asset.num_gaussians": 300, "sample.size_px": 24, "refine.size_px": 24, "refine.steps": 2, "follow.steps": 3,
    "refine.clean.num_azimuths": 1, "evaluate.num_views": 1, "evaluate.size": 32, "evaluate.networks.builtin": "false",
    "asset.pose": "Survey@0",
}  # fmt: skip


def test_every_variant_leaves_out_its_part(tmp_path: Path) -> None:
    fox = asset_path("rigged", "Fox.glb")
    table = tmp_path / "tasks.csv"
    table.write_text(f"asset,prompt,truth\n{fox},a walking fox,{fox}#Walk\n")
    small = [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
    line = (
        "ablate", "--tasks", table, "--preset", "animate3d", "--prior", "exact-views", "--seeds", 1,
        "--out", tmp_path / "study", *small,
    )  # fmt: skip
    animus3d(*line)
    names = names_for(points=False, views=True)
    assert names == [FULL, "no-4d-sds", "no-arap-in-match", "single-view"]
    made = json.loads((tmp_path / "study" / "ablation.json").read_text())
    found = {one["variant"]: one["metrics"] for one in made["results"]}
    assert list(found) == names
    assert all(one["view_agreement"] is not None and one["trajectory_ratio"] is not None for one in found.values())
    [runs] = (tmp_path / "study").glob("runs/*/seed-0")
    assert [(runs / name / "refined").is_dir() for name in names] == [True, False, True, True]

    def bytes_of(name: str, file: str) -> bytes:
        return (runs / name / file).read_bytes()

    def settings(name: str, stage: str) -> dict[str, object]:
        return dict(json.loads((runs / name / stage / "config.json").read_text())["settings"])

    samples, motion = "samples/samples.safetensors", "motion/motion.safetensors"
    assert bytes_of(FULL, motion) == bytes_of("no-4d-sds", motion) != bytes_of("no-arap-in-match", motion)
    assert bytes_of(FULL, samples) == bytes_of("no-arap-in-match", samples) != bytes_of("single-view", samples)
    assert settings("no-arap-in-match", "motion")["regularizers.arap_weight"] == 0.0
    assert not settings("single-view", "samples")["together"]
    before = (runs / FULL / motion).stat().st_mtime_ns
    animus3d(*line)
    assert (runs / FULL / motion).stat().st_mtime_ns == before
