"""Folders of priors whose configuration says sizes that their weights have not: found by the campaign in tests/fuzz."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.errors import BadInput
from stages.priors.load import load_prior
from tests.priors.points.tiny import save_tiny
from tests.priors.test_embedded import tiny_prior

HOLD = "more than its weights hold"


@pytest.mark.parametrize(
    ("part", "key", "value", "said"),
    [
        ("points", "width", 10**6, HOLD),
        ("points", "num_octaves", 4000, "num_octaves 4000, more than"),
        ("points", "width", 4000, "has width 4000, and its weights 32"),
        ("points", "num_layers", 10**12, HOLD),
        ("transformer", "num_layers", 999_999_999_999, HOLD),
        ("transformer", "num_layers", None, "its weights lack"),
        ("text_encoder", "vocab_size", 2**32, HOLD),
    ],
)
def test_sizes_that_cannot_be_are_refused_before_anything_is_built(
    tmp_path: Path, part: str, key: str, value: int | None, said: str
) -> None:
    """None: the setting is gone, and what is usual then has more weights than the file."""
    if part == "points":
        save_tiny(tmp_path)
    else:
        tiny_prior().save(tmp_path)
    config = tmp_path / part / "config.json"
    told = json.loads(config.read_text())
    told[key] = value
    if value is None:
        del told[key]
    config.write_text(json.dumps(told))
    with pytest.raises(BadInput, match=said) as caught:
        load_prior(str(tmp_path))
    assert "cannot be loaded" in caught.value.what and "\n" not in str(caught.value)
