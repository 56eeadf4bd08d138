"""The table of readers: a row is a format and a program that reads it, and how that is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from stages.exporting.sequence import numbered
from stages.run_dir import RunDir
from tests.readers.judge import BARS, LEAST_DB, Figures
from tests.readers.outputs import FRAMES, creature_run, creature_with_bones, exported


@dataclass(frozen=True)
class Outputs:
    """What is exported, each once, into a folder."""

    folder: Path

    @cached_property
    def run(self) -> RunDir:
        """A general motion."""
        return creature_run(self.folder / "general")

    @cached_property
    def bones(self) -> RunDir:
        """The same creature, moved by bones."""
        return creature_with_bones(self.folder / "bones")

    @cached_property
    def harmonics(self) -> RunDir:
        """The general motion of Gaussians with harmonics of degree 1."""
        return creature_run(self.folder / "harmonics", degree=1)

    @cached_property
    def glb(self) -> Path:
        """Morph targets."""
        return exported(self.run, self.folder / "morphs.glb", "glb")

    @cached_property
    def skinned_glb(self) -> Path:
        """Joints and a skin."""
        return exported(self.bones, self.folder / "skinned.glb", "glb", skinned=True)

    @cached_property
    def bvh(self) -> Path:
        """Joints alone."""
        return exported(self.bones, self.folder / "bones.bvh", "bvh")

    @cached_property
    def usd(self) -> Path:
        """Gaussians with a sample a frame."""
        return exported(self.harmonics, self.folder / "splat.usdc", "usd")

    @cached_property
    def usd_skel(self) -> Path:
        """The skin of the rig, and its joints."""
        return exported(self.bones, self.folder / "skel.usdc", "usd", skinned=True)

    @cached_property
    def flipbook(self) -> Path:
        """Gaussians in glTF, a node a frame."""
        return exported(self.harmonics, self.folder / "flipbook.glb", "splat-glb")

    @cached_property
    def rigid(self) -> Path:
        """Gaussians in glTF, a node a bone."""
        return exported(self.bones, self.folder / "rigid.glb", "splat-glb")

    def sequence(self, suffix: str, up: str | None = None) -> list[Path]:
        """The files of a general motion of Gaussians with harmonics."""
        out = self.folder / f"splats{up or ''}{suffix}"
        if not numbered(out, 0).exists():
            exported(self.harmonics, out, "splat-sequence", up=up)
        return [numbered(out, index) for index in range(FRAMES)]


@dataclass(frozen=True, kw_only=True)
class Row:
    """``measure`` gives figures, those in ``BARS`` are to be near 0, or near what ``expected`` says where a program
    turns what it reads. ``bars`` are wider where a format leaves something out; ``says`` is a word for the table."""

    format: str
    reader: str
    version: Callable[[], str]
    measure: Callable[[Outputs], Figures]
    bars: dict[str, float] = field(default_factory=dict)
    expected: dict[str, float] = field(default_factory=dict)
    says: str = ""
    in_ci: bool = False  # needs nothing but what the tests need

    @property
    def name(self) -> str:
        """For tests."""
        return f"{self.format} in {self.reader}"

    def missed(self, figures: Figures) -> dict[str, Any]:
        """The figures that do not keep their bars."""
        bars = BARS | self.bars
        off = {key: abs(figures[key] - self.expected.get(key, 0.0)) for key in figures if key in bars}
        missed = {key for key in off if not off[key] <= bars[key]}
        missed |= {"picture_db"} if figures.get("picture_db", LEAST_DB) < LEAST_DB else set()
        return {key: figures[key] for key in figures if key in missed}
