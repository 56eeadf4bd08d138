"""Programs that draw in a browser: PlayCanvas, and Babylon.js where it needs one."""

from __future__ import annotations

import base64
from functools import partial
from typing import Any

import numpy as np

from tests.readers.judge import Figures
from tests.readers.mesh_rows import BABYLON
from tests.readers.outputs import FPS, FRAMES, MOTION, splat_truth
from tests.readers.pictures import page, psnr, show
from tests.readers.programs import npm_version
from tests.readers.rows import Outputs, Row
from tests.readers.splat_glb_rows import AS_STORED
from tests.readers.splat_rows import ASIDE, truth
from tests.readers.splats import Splats, judge_splats, of_columns

LAST = FRAMES - 1


def _playcanvas(suffix: str, outputs: Outputs) -> Figures:
    """Numbers of all frames, and a picture of the last after half a turn about x."""
    there: list[Splats] = []
    _, frames = splat_truth(outputs.harmonics)
    files = outputs.sequence(suffix)
    with page("playcanvas.html", "playcanvas", outputs.folder) as shown:
        for file in files:
            columns = shown.evaluate("(url) => read(url)", f"/files/{file.name}")
            there.append(of_columns({name: _floats(data) for name, data in columns.items()}))
        shown.evaluate("([url, show]) => picture(url, show)", [f"/files/{files[LAST].name}", show()])
        figures = {"picture_db": psnr(shown, frames, LAST)}
    return judge_splats(there, truth(outputs)) | figures


def _floats(data: str) -> Any:
    return np.frombuffer(base64.b64decode(data), "<f4")


def _flipbook(outputs: Outputs) -> Figures:
    _, frames = splat_truth(outputs.harmonics)
    with page("babylon.html", BABYLON, outputs.folder) as shown:
        moment = [f"/files/{outputs.flipbook.name}", MOTION, (LAST + 0.5) / FPS, show()]
        shown.evaluate("([url, clip, seconds, show]) => read(url, clip, seconds, show)", moment)
        return {"picture_db": psnr(shown, frames, LAST)}


def _sog(outputs: Outputs) -> Figures:
    """It faces away, so it is looked at from behind."""
    _, frames = splat_truth(outputs.harmonics)
    file = outputs.sequence(".sog")[LAST]
    with page("babylon.html", BABYLON, outputs.folder) as shown:
        shown.evaluate("([url, show]) => read(url, '', 0, show)", [f"/files/{file.name}", show(behind=True)])
        return ASIDE | {"up_deg": 0.0, "picture_db": psnr(shown, frames, LAST)}


BROWSER_ROWS = [
    *(
        Row(
            format=f"`{suffix}`", reader="PlayCanvas", version=partial(npm_version, "playcanvas"),
            measure=partial(_playcanvas, suffix), **AS_STORED,
        )
        for suffix in (".ply", ".compressed.ply", ".sog")
    ),
    Row(
        format="`splat-glb`, frames", reader="Babylon.js, drawn", version=partial(npm_version, BABYLON),
        measure=_flipbook,
    ),
    Row(
        format="`.sog`", reader="Babylon.js, drawn", version=partial(npm_version, BABYLON), measure=_sog,
        expected=ASIDE,
    ),
]  # fmt: skip
