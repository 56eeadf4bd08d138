"""How much memory a container leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.memory import memory_bytes


@pytest.mark.parametrize(("name", "text"), [("memory.max", "1000\n"), ("memory/memory.limit_in_bytes", "1000\n")])
def test_the_quota_of_a_container_counts(tmp_path: Path, name: str, text: str) -> None:
    whole = memory_bytes(tmp_path)
    assert whole is not None and whole > 2**20
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert memory_bytes(tmp_path) == 1000
    (tmp_path / name).write_text("max\n")
    assert memory_bytes(tmp_path) == whole
