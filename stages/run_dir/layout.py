"""What stands where in a run: each stage's folder, the command that fills it, its result, and what it reads. Written
here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass

FORMAT = 2
"""Version of the run directory's format. In format 1 a motion was a ``field.safetensors`` in the file's units, with
rotations that it had learnt; such runs can still be shown, measured and exported."""


@dataclass(frozen=True, kw_only=True)
class StageLayout:
    """One stage with steps and checkpoints."""

    folder: str
    command: str
    result: str
    reads: tuple[str, ...] = ("asset",)  # folders
    optional: tuple[str, ...] = ()  # of those, what it can do without


FIT = StageLayout(folder="reconstruction", command="reconstruct", result="gaussians.safetensors", reads=())
RIG = StageLayout(folder="rig", command="rig", result="weights.safetensors", reads=("asset",))
SAMPLES = StageLayout(folder="samples", command="sample", result="samples.safetensors")
LORA = StageLayout(folder="lora", command="fit-lora", result="adapter.safetensors")
MOTION = StageLayout(
    folder="motion",
    command="distill",
    result="motion.safetensors",
    reads=("asset", "rig", "lora"),
    optional=("rig", "lora"),
)
REFINED = StageLayout(folder="refined", command="refine", result="motion.safetensors", reads=("asset", "motion"))
TRACKED = StageLayout(
    folder="tracked",
    command="track",
    result="motion.safetensors",
    reads=("asset", "motion", "refined"),
    optional=("refined",),
)

PIPELINE = (RIG, LORA, MOTION, REFINED, TRACKED)
"""The stages that start from an asset, in their order."""

BY_FOLDER = {stage.folder: stage for stage in (FIT, SAMPLES, *PIPELINE)}
MADE_BY = {stage.folder: stage.command for stage in PIPELINE}
"""Folder -> the command that fills it, in the order of the pipeline."""

TAKEN_OVER = (RIG, LORA, SAMPLES, MOTION, REFINED, TRACKED)
"""What a run that begins with another takes over, in order."""

MOTIONS = tuple(stage.folder for stage in reversed(PIPELINE) if stage.result == MOTION.result)
"""Folders that hold a motion, the one that later stages prefer first."""

FORMER_NAMES = {MOTION.result: "field.safetensors"}
"""Result -> what it was called in format 1."""
