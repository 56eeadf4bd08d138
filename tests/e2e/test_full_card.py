"""A card that is full in the middle of a stage: one line with what to set, and the run goes on to the same result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.files import file_hash
from stages.priors.points.prior import PointsPrior
from tests.e2e.command import animus3d
from tests.priors.points.tiny import save_tiny

ROOT = Path(__file__).parent.parent.parent


def test_memory_that_ends_between_checkpoints_leaves_the_run_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    line = ["--prompt", "a walking deer", "--prior", save_tiny(tmp_path / "prior"), "--steps", 4]
    line += ["--set", "checkpoint_every=2"]
    animus3d("reconstruct", ROOT / "assets/splats/bird.ply", "--run", run)
    animus3d("distill", *line, "--run", whole, "--from", run)

    with monkeypatch.context() as patch:
        patch.setattr(PointsPrior, "observe", full_after(3, PointsPrior.observe))
        printed = animus3d("distill", *line, "--run", run, code=9)
    error = printed.stderr.strip().splitlines()
    assert error[-1].startswith("animus3d: The graphics card has too little memory for this.")
    assert "max_gaussians=" in error[-1]
    assert (run / "motion" / "checkpoints" / "step_000002").is_dir()
    assert not (run / "motion" / "complete.json").exists()

    animus3d("distill", *line, "--run", run)
    assert file_hash(run / "motion" / "motion.safetensors") == file_hash(whole / "motion" / "motion.safetensors")


def full_after(calls: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """``real``, which from the call after ``calls`` on finds the card full."""
    done = []

    def observe(*args: Any, **options: Any) -> Any:
        done.append(None)
        if len(done) > calls:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return real(*args, **options)

    return observe
