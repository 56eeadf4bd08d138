"""Which commit this is, on machines that may have neither git nor the repository."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]


def commit(root: Path = ROOT) -> str:
    """``ANIMUS3D_COMMIT``, else the first word of a file ``COMMIT`` in ``root``, else what git says, "-dirty" behind
    it where files other than results differ from it; "unknown" where nobody can tell."""
    said = os.environ.get("ANIMUS3D_COMMIT", "").strip()
    if said:
        return said
    try:
        return (root / "COMMIT").read_text().split()[0]
    except (OSError, IndexError):
        pass
    if not (root / ".git").exists():  # else a repository around the folder would answer
        return "unknown"
    found = _git(root, "rev-parse", "--short", "HEAD")
    if not found:
        return "unknown"
    return found + "-dirty" * bool(_git(root, "status", "--porcelain", "--", ".", ":!tests/bench/results"))


def is_certain(name: str) -> bool:
    """Whether all that is called so is the same: an unknown commit is not, nor is one with changes."""
    return name != "unknown" and not name.endswith("-dirty")


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
