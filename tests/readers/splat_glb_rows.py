"""Gaussians in glTF, and the Gaussians of other files, in three.js and Babylon.js."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from stages.motion.bones import weights_of
from tests.readers.judge import Figures
from tests.readers.mesh_rows import BABYLON
from tests.readers.outputs import FPS, MOTION, SECONDS, splat_truth
from tests.readers.programs import node, npm_version
from tests.readers.rows import Outputs, Row
from tests.readers.splat_rows import ASIDE, Y_DOWN, truth
from tests.readers.splats import judge_splats, of_gaussians, of_nodes

ALONE = 0.99
"""Of the skin weight of a Gaussian: with so much at one bone it goes where this takes it."""

PROGRAMS = {"three.js": ("three_splats.mjs", "three"), "Babylon.js": ("babylon.mjs", BABYLON)}
AS_STORED: dict[str, Any] = {
    "expected": {"up_deg": 180.0},
    "says": "takes numbers as they stand: turn it, or `--up y`",
}


def _flipbook(program: str, outputs: Outputs) -> Figures:
    """In the middle between one frame and the next it still shows the former."""
    said = _said(program, outputs.flipbook, [second + 0.5 / FPS for second in SECONDS])
    return judge_splats([of_nodes(said, index) for index in range(len(SECONDS))], truth(outputs))


def _rigid(program: str, outputs: Outputs) -> Figures:
    """``skinned``: how far off the motion is for Gaussians that several bones hold."""
    said = _said(program, outputs.rigid, SECONDS)
    asset, frames = splat_truth(outputs.bones)
    assert asset.motion is not None
    alone = (weights_of(asset.motion, asset.gaussians.means).amax(dim=1) > ALONE).numpy()
    assert 0.3 < alone.mean() < 1.0
    there = [of_nodes(said, index) for index in range(len(SECONDS))]
    meant = [of_gaussians(frames.asset_at(index)) for index in range(len(SECONDS))]
    return judge_splats(there, meant, alone) | {"skinned": judge_splats(there, meant)["motion"]}


def _file(program: str, suffix: str, outputs: Outputs) -> Figures:
    there = []
    for file in outputs.sequence(suffix):
        script, package = PROGRAMS[program]
        there.append(of_nodes(node(script, file, "", "[0]", package=package), 0))
    return judge_splats(there, truth(outputs))


def _valid(rigid: bool, outputs: Outputs) -> Figures:
    """What is wrong beside attributes and the name of the extension, which the validator does not know."""
    issues = node("validate.mjs", outputs.rigid if rigid else outputs.flipbook, package="gltf-validator")
    rest = [code for severity, code, place in issues if severity < 2 and "KHR_gaussian_splatting" not in place]
    return {"issues": float(len(rest))}


def _said(program: str, file: Any, seconds: list[float]) -> Any:
    script, package = PROGRAMS[program]
    said = node(script, file, MOTION, json.dumps(seconds), package=package)
    assert said["clips"] == [MOTION]
    return said


def _row(program: str, format: str, measure: Any, **more: Any) -> Row:
    package = PROGRAMS[program][1]
    return Row(format=format, reader=program, version=partial(npm_version, package), measure=measure, **more)


SPLAT_GLB_ROWS = [
    *(
        Row(
            format=f"`splat-glb`, {'bones' if rigid else 'frames'}", reader="glTF validator",
            version=partial(npm_version, "gltf-validator"), measure=partial(_valid, rigid),
            says="does not know the extension",
        )
        for rigid in (False, True)
    ),
    *(_row(program, "`splat-glb`, frames", partial(_flipbook, program)) for program in PROGRAMS),
    *(_row(program, "`splat-glb`, bones", partial(_rigid, program), bars={"shapes": 0.15}) for program in PROGRAMS),
    *(
        _row(program, f"`{suffix}`", partial(_file, program, suffix), **more)
        for program, suffix, more in (
            ("three.js", ".ply", AS_STORED),
            ("three.js", ".splat", AS_STORED),
            ("Babylon.js", ".ply", {"expected": ASIDE}),
            ("Babylon.js", ".compressed.ply", {"expected": ASIDE}),
            ("Babylon.js", ".splat", {"expected": ASIDE}),
            ("Babylon.js", ".spz", {"expected": {"up_deg": 180.0}, "says": Y_DOWN}),
        )
    ),
]  # fmt: skip
