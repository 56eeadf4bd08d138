"""Meshes that move: morph targets, joints."""

from __future__ import annotations

import json
from functools import partial

from tests.readers.judge import Figures, judge_meshes
from tests.readers.outputs import MOTION, SECONDS, mesh_truth
from tests.readers.programs import node, npm_version
from tests.readers.rows import Outputs, Row

BABYLON = "@babylonjs/loaders"


def _read(script: str, package: str, skinned: bool, outputs: Outputs) -> Figures:
    file = outputs.skinned_glb if skinned else outputs.glb
    said = node(script, file, MOTION, json.dumps(SECONDS), package=package)
    return judge_meshes(said, mesh_truth(outputs.bones if skinned else outputs.run))


def _valid(skinned: bool, outputs: Outputs) -> Figures:
    """Errors and warnings; remarks do not count."""
    issues = node("validate.mjs", outputs.skinned_glb if skinned else outputs.glb, package="gltf-validator")
    return {"issues": float(sum(severity < 2 for severity, _, _ in issues))}


MESH_ROWS = [
    row
    for skinned, format in ((False, "`glb`"), (True, "`glb --skinned`"))
    for row in (
        Row(
            format=format, reader="glTF validator", version=partial(npm_version, "gltf-validator"),
            measure=partial(_valid, skinned),
        ),
        Row(
            format=format, reader="three.js", version=partial(npm_version, "three"),
            measure=partial(_read, "three_glb.mjs", "three", skinned),
        ),
        Row(
            format=format, reader="Babylon.js", version=partial(npm_version, BABYLON),
            measure=partial(_read, "babylon.mjs", BABYLON, skinned),
        ),
    )
]  # fmt: skip
