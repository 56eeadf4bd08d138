"""Skeletons: BVH and UsdSkel; and meshes in Blender."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np

from stages.exporting.bones import clip_of, rig_in_file, vertex_colors
from stages.meshes.paint import linear_light
from stages.moving.asset import load_moving_asset
from stages.skeletons.skeleton import skin
from tests.readers.judge import Y_UP, Figures, judge_meshes, judge_points
from tests.readers.outputs import FPS, FRAMES, MOTION, SECONDS, Array, MeshTruth, mesh_truth
from tests.readers.programs import blender, blender_version, node, npm_version
from tests.readers.rows import Outputs, Row
from tests.readers.usd_rows import openusd_skel, openusd_splat, usd_version


def heads(outputs: Outputs) -> dict[str, Array]:
    """Where each joint is, [T, 3]."""
    asset = load_moving_asset(outputs.bones, "auto", "cpu")
    joints = rig_in_file(asset).joints
    moves = clip_of(asset, asset.times(FRAMES), MOTION, FPS).matrices.numpy()
    rest = np.concatenate([joints.heads.double().numpy(), np.ones((len(joints), 1))], axis=1)
    moved = np.einsum("tjab,jb->tja", moves, rest)[..., :3]
    return {name: moved[:, index] for index, name in enumerate(joints.names)}


def stand_in_truth(outputs: Outputs) -> MeshTruth:
    """The skin of the rig as one mesh, in the colours of its Gaussians."""
    asset = load_moving_asset(outputs.bones, "auto", "cpu")
    rig, clip = rig_in_file(asset), clip_of(asset, asset.times(FRAMES), MOTION, FPS)
    moved = skin(rig.skin.vertices.double(), rig.skin.weights.double(), clip.keyed).numpy()
    colors = linear_light(vertex_colors(rig, asset.file_gaussians).clamp(0.0, 1.0)).mean(dim=0)
    return MeshTruth({"Mesh": moved}, {"Mesh": colors.numpy()})


def judge_bones(said: dict[str, Any], outputs: Outputs) -> Figures:
    """Where bones begin; a program may have more, for the tips."""
    truth = heads(outputs)
    there = np.stack([np.array(said["bones"][name]) @ Y_UP[said["up"]].T for name in truth], axis=1)
    return judge_points(there, np.stack(list(truth.values()), axis=1))


def _three_bvh(outputs: Outputs) -> Figures:
    return judge_bones(node("three_bvh.mjs", outputs.bvh, json.dumps(SECONDS), package="three"), outputs)


def _blender(kind: str, outputs: Outputs) -> Figures:
    file = {"glb": outputs.glb, "skinned": outputs.skinned_glb, "bvh": outputs.bvh, "usd": outputs.usd_skel}[kind]
    said = blender("reads.py", file, FPS, FRAMES)
    if kind == "bvh":
        return judge_bones(said, outputs)
    if kind == "usd":
        return judge_meshes(said, stand_in_truth(outputs))
    return judge_meshes(said, mesh_truth(outputs.run if kind == "glb" else outputs.bones))


def _openusd(outputs: Outputs) -> Figures:
    points, color, issues = openusd_skel(outputs.usd_skel)
    truth = stand_in_truth(outputs)
    colors = float(np.abs(color - truth.colors["Mesh"]).max())
    return judge_points(points, truth.flat) | {"colors": colors, "issues": issues}


BONES_ROWS = [
    *(
        Row(format=format, reader="Blender", version=blender_version, measure=partial(_blender, kind))
        for format, kind in (
            ("`glb`", "glb"), ("`glb --skinned`", "skinned"), ("`bvh`", "bvh"), ("`usd --skinned`", "usd"),
        )
    ),
    Row(format="`bvh`", reader="three.js", version=partial(npm_version, "three"), measure=_three_bvh),
    Row(format="`usd --skinned`", reader="OpenUSD", version=usd_version, measure=_openusd, in_ci=True),
    Row(format="`usd`", reader="OpenUSD", version=usd_version, measure=openusd_splat, in_ci=True),
]  # fmt: skip
