"""Sequences of Gaussians, and splats that others write."""

from __future__ import annotations

from functools import partial
from typing import Any

from stages.gaussians.formats import UP, read_splat
from tests.readers.judge import Figures
from tests.readers.outputs import splat_truth
from tests.readers.programs import npm_version, splat_transform
from tests.readers.rows import Outputs, Row
from tests.readers.splats import Splats, half_turned, judge_splats, of_gaussians, of_ply

PLAYCANVAS = "@playcanvas/splat-transform"


def truth(outputs: Outputs) -> list[Splats]:
    """Every frame."""
    _, frames = splat_truth(outputs.harmonics)
    return [of_gaussians(frames.asset_at(index)) for index in range(frames.num_frames)]


def _read_by_splat_transform(suffix: str, up: str | None, outputs: Outputs) -> Figures:
    """It turns a file into a PLY whose y points down, as it takes splats to be stored: half a turn about z
    has y up for it."""
    there = []
    for file in outputs.sequence(suffix, up):
        back = file.with_name(f"{file.name}.back.ply")
        splat_transform(file, back)
        there.append(half_turned(of_ply(back), "z"))
    return judge_splats(there, truth(outputs))


def _written_by_splat_transform(suffix: str, outputs: Outputs) -> Figures:
    """One frame, which we read; its y points down, and no file says so."""
    (source, *_) = outputs.sequence(".ply")
    file = outputs.folder / f"theirs{suffix}"
    splat_transform(source, file)
    return judge_splats([half_turned(of_gaussians(read_splat(file)), "x")], truth(outputs)[:1])


ASIDE = {"facing_deg": 180.0}
"""Of programs that have y up by half a turn about z, where we take one about x."""

Y_DOWN = "takes `.spz` for y down, against its specification: `--up -y`"


def _row(format: str, measure: Any, **more: Any) -> Row:
    return Row(
        format=format, reader="splat-transform", version=partial(npm_version, PLAYCANVAS), measure=measure, **more
    )


SPLAT_ROWS = [
    *(
        _row(f"`{suffix}`", partial(_read_by_splat_transform, suffix, None), expected=ASIDE)
        for suffix in UP
        if suffix != ".spz"
    ),
    _row(
        "`.spz`", partial(_read_by_splat_transform, ".spz", None), expected={"up_deg": 180.0},
        says=Y_DOWN,
    ),
    _row("`.spz --up -y`", partial(_read_by_splat_transform, ".spz", "-y"), expected=ASIDE),
    *(
        Row(
            format=f"`{suffix}` of splat-transform", reader="animus3d `--up-axis -y`, splat-transform",
            version=partial(npm_version, PLAYCANVAS), measure=partial(_written_by_splat_transform, suffix),
        )
        for suffix in (".ply", ".compressed.ply", ".sog", ".spz")
    ),
]  # fmt: skip
