"""A wrong command, and the one that puts it right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.test_published import animus3d, workplace
from tests.priors.tiny_models import save_model

__all__ = ["workplace"]

CLIP = "--prior model --set num_frames=9 --set size_px=32 --set num_cameras=1"


def test_a_refused_size_does_not_bind(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model("modelscope", workplace / "model")
    assert animus3d(f"fit-lora asset.ply --steps 1 {CLIP} --set size_px=42", monkeypatch) == 3
    assert animus3d(f"fit-lora asset.ply --steps 1 {CLIP}", monkeypatch) == 0


def test_a_lora_of_another_model_is_refused_by_name(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though it would fit: ModelScope and ZeroScope have the same layers."""
    save_model("modelscope", workplace / "model")
    save_model("modelscope", workplace / "other")
    index = workplace / "other" / "model_index.json"
    index.write_text(index.read_text() + "\n")
    assert animus3d(f"fit-lora asset.ply --steps 1 {CLIP}", monkeypatch) == 0
    distill = f"distill --prompt walking --steps 1 --set num_timesteps=1 {CLIP}"
    capsys.readouterr()
    assert animus3d(distill.replace("--prior model", "--prior other"), monkeypatch) == 3
    error = capsys.readouterr().err
    assert "was made for the prior 'model', not for 'other'. Run: animus3d fit-lora --prior other --force" in error
    assert animus3d(distill, monkeypatch) == 0


def test_more_memory_or_less_is_no_other_result(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that did not fit goes on with a smaller profile, and with the model somewhere else."""
    save_model("modelscope", workplace / "model")
    assert animus3d(f"fit-lora asset.ply --steps 1 {CLIP} --profile 80gb", monkeypatch) == 0
    (workplace / "model").rename(workplace / "moved")
    again = f"fit-lora asset.ply --steps 2 {CLIP} --profile 24gb".replace("--prior model", "--prior moved")
    assert animus3d(again, monkeypatch) == 0
