"""Sequences of Gaussians, and splats that others write."""

from __future__ import annotations

from functools import partial

from stages.gaussians.formats import UP, read_splat
from tests.readers.judge import Figures
from tests.readers.outputs import splat_truth
from tests.readers.programs import npm_version, splat_transform
from tests.readers.rows import Outputs, Row
from tests.readers.splats import Splats, judge_splats, of_gaussians, of_ply, y_up

PLAYCANVAS = "@playcanvas/splat-transform"


def truth(outputs: Outputs) -> list[Splats]:
    """Every frame."""
    _, frames = splat_truth(outputs.harmonics)
    return [of_gaussians(frames.asset_at(index)) for index in range(frames.num_frames)]


def _read_by_splat_transform(suffix: str, up: str | None, outputs: Outputs) -> Figures:
    """It turns a file into a PLY whose y points down, as it takes all splats to be stored."""
    there = []
    for file in outputs.sequence(suffix, up):
        back = file.with_name(f"{file.name}.back.ply")
        splat_transform(file, back)
        there.append(y_up(of_ply(back)))
    return judge_splats(there, truth(outputs))


def _written_by_splat_transform(suffix: str, outputs: Outputs) -> Figures:
    """One frame, which we read; its y points down, and no file says so."""
    (source, *_) = outputs.sequence(".ply")
    file = outputs.folder / f"theirs{suffix}"
    splat_transform(source, file)
    return judge_splats([y_up(of_gaussians(read_splat(file)))], truth(outputs)[:1])


ROUNDED = {"shapes": 0.1}
UPSIDE_DOWN = {"up_deg": 180.0}

SPLAT_ROWS = [
    *(
        Row(
            format=f"`{suffix}`", reader="splat-transform", version=partial(npm_version, PLAYCANVAS),
            measure=partial(_read_by_splat_transform, suffix, None),
        )
        for suffix in UP
        if suffix != ".spz"
    ),
    Row(
        format="`.spz`", reader="splat-transform", version=partial(npm_version, PLAYCANVAS),
        measure=partial(_read_by_splat_transform, ".spz", None), bars=UPSIDE_DOWN,
        says="takes `.spz` for y down, against its specification: `--up -y`",
    ),
    Row(
        format="`.spz --up -y`", reader="splat-transform", version=partial(npm_version, PLAYCANVAS),
        measure=partial(_read_by_splat_transform, ".spz", "-y"),
    ),
    *(
        Row(
            format=f"its `{suffix}`, read by us", reader="splat-transform", version=partial(npm_version, PLAYCANVAS),
            measure=partial(_written_by_splat_transform, suffix),
        )
        for suffix in (".ply", ".compressed.ply", ".sog", ".spz")
    ),
]  # fmt: skip
