"""Runs as the stages leave them, made without optimising anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from stages.media.video import write_mp4
from stages.run_dir import RunDir
from tests.exporting.runs import moving_run, small_splat

METRICS = {
    "jerk": {"unit": "x", "definition": "third difference", "better": "lower"},
    "psnr": {"unit": "dB", "definition": "against rest", "better": "higher"},
    "amplitude": {"unit": "%", "definition": "how far"},
}


def run_with(folder: Path, prompt: str = "a walking goat", *, seed: int = 0, count: int = 40) -> RunDir:
    """A finished ``distill`` with settings and a log."""
    run = moving_run(folder, small_splat(0, count), prompt=prompt)
    stage = run.stage("motion")
    settings = {"prompt": prompt, "seed": seed, "steps": 9, "device": "cpu", "field.multires": [1, 2]}
    (stage.path / "config.json").write_text(json.dumps({"settings": settings, "inputs": {"asset": run.asset_hash()}}))
    for step in range(1, 10):
        stage.log_metrics(step, loss=1.0 / step, tv=0.1 * step)
    stage.finish(9)
    return run


def measured(run: RunDir, **values: float | None) -> RunDir:
    """The run as ``eval`` leaves it."""
    metrics: dict[str, Any] = {name: {"value": value, **METRICS.get(name, {})} for name, value in values.items()}
    (run.path / "eval").mkdir(exist_ok=True)
    found = {"run": str(run.path), "source": "motion", "prompt": "", "frames": 4, "views": 2, "metrics": metrics}
    (run.path / "eval" / "metrics.json").write_text(json.dumps(found))
    return run


def filmed(run: RunDir, frames: int = 6, name: str = "renders/motion.mp4", fps: int = 6) -> RunDir:
    """The run with a video: a blue square that goes right."""
    clip = torch.ones(frames, 48, 64, 3)
    for index in range(frames):
        left = 4 + 40 * index // frames
        clip[index, 10:30, left : left + 16] = torch.tensor([0.1, 0.3, 0.8])
    (run.path / name).parent.mkdir(exist_ok=True)
    write_mp4(run.path / name, clip, fps)
    return run
