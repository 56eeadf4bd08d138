"""Moving Gaussians as one ``.glb`` with KHR_gaussian_splatting (ratified; see ``gaussians.formats.splat_glb``).

The extension stores splats as points of a primitive and says nothing of how single ones move: it has no morph targets
or skins for rotations, scales and harmonics. What moves in glTF are nodes, so there are two forms:

1. Where a skeleton carries the motion, a node for each bone with the Gaussians that it holds most, turned and shifted
   by an animation. The bend at a joint becomes a fold.
2. Else a node for each frame with all Gaussians as they are then. An animation of scales shows one at a time: nodes of
   scale zero are not drawn, which "provides a mechanism to animate visibility" (glTF 2.0, 3.5.2). Exact, and large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.exporting.bones import clip_of, rig_in_file
from stages.exporting.glb_file import GlbFile
from stages.exporting.recording import Recording
from stages.gaussians import Gaussians
from stages.gaussians.formats.checked import Array, as_bytes
from stages.gaussians.formats.splat_glb import DISPLAY, NAME
from stages.gaussians.sh import sh0_to_rgb
from stages.geometry.rotations import continuous_quaternions, matrix_quaternions
from stages.motion.bones import rig_of, weights_of
from stages.moving.asset import MovingAsset

SHORT = 32767.0


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A file of rigid parts, and how far its Gaussians are from where the skin has them, as shares of the asset's
    size: averaged over Gaussians and frames, and the largest."""

    data: bytes
    count: int
    off_usual: float
    off_worst: float


def flipbook(recording: Recording) -> bytes:
    """A file with a node a frame, of which one at a time is shown; the first where nothing plays."""
    file, frames = _begin(recording), recording.frames
    num = frames.num_frames
    still: dict[str, int] = {}
    for index in range(num):
        mesh = _mesh(file, frames.asset_at(index), still)
        hidden = {} if index == 0 else {"scale": [0.0, 0.0, 0.0]}
        _node(file, {"name": f"frame {index}", "mesh": mesh, **hidden})
    if num > 1:
        samplers, channels = [], []
        for index in range(num):
            keys = [(0.0, float(index == 0)), (index / recording.fps, 1.0), ((index + 1) / recording.fps, 0.0)]
            keys = keys[1:] if index == 0 else keys
            keys[-1] = (keys[-1][0], float(index == num - 1))  # the last stays until the clip begins again
            times, shown = (np.array(column, dtype=np.float32) for column in zip(*keys, strict=True))
            channels.append({"sampler": index, "target": {"node": index, "path": "scale"}})
            samplers.append(
                {
                    "input": file.add(times, "SCALAR", bounds=True),
                    "output": file.add(np.repeat(shown[:, None], 3, axis=1), "VEC3"),
                    "interpolation": "STEP",
                }
            )
        file.content["animations"] = [{"name": recording.title, "samplers": samplers, "channels": channels}]
    return file.to_bytes()


def parts_of_bones(asset: MovingAsset, times: Tensor, recording: Recording) -> Parts | None:
    """A file with a node a bone, at ``times`` [T] of ``asset``; None where no skeleton carries its motion."""
    if rig_of(asset.motion) is None:
        return None
    assert asset.motion is not None
    rig, gaussians = rig_in_file(asset), asset.file_gaussians
    clip = clip_of(asset, times, recording.title, recording.fps)
    owners = weights_of(asset.motion, asset.gaussians.means).argmax(dim=1).cpu()
    heads, matrices = rig.joints.heads.detach().cpu().double(), clip.keyed
    file = _begin(recording)
    samplers: list[dict[str, Any]] = []
    channels: list[dict[str, Any]] = []
    moments = file.add(clip.times, "SCALAR", bounds=True)
    for joint in owners.unique().tolist():
        held = gaussians.select(owners == joint)
        part = Gaussians(
            means=held.means - heads[joint].to(held.means), quats=held.quats, log_scales=held.log_scales,
            logit_opacities=held.logit_opacities, sh=held.sh,
        )  # fmt: skip
        content = {"name": rig.joints.names[joint], "mesh": _mesh(file, part, {}), "translation": heads[joint].tolist()}
        node = _node(file, content)
        moved = matrices[:, joint]
        shifts = moved[:, :3, :3] @ heads[joint] + moved[:, :3, 3]
        turns = continuous_quaternions(matrix_quaternions(moved[:, :3, :3]))[:, [1, 2, 3, 0]]
        for path, values, kind in (("translation", shifts, "VEC3"), ("rotation", turns, "VEC4")):
            channels.append({"sampler": len(samplers), "target": {"node": node, "path": path}})
            samplers.append({"input": moments, "output": file.add(_floats(values), kind), "interpolation": "LINEAR"})
    file.content["animations"] = [{"name": clip.name, "samplers": samplers, "channels": channels}]
    own = matrices[: len(times), owners]  # [T, N, 4, 4]
    rigid = torch.einsum("tnij,nj->tni", own[..., :3, :3], gaussians.means.double()) + own[..., :3, 3]
    off = (rigid - recording.frames.means.double()).norm(dim=-1)
    low, high = gaussians.bounds()
    size = max(float((high - low).max()), 1e-30)
    return Parts(
        data=file.to_bytes(), count=len(channels) // 2, off_usual=float(off.mean()) / size,
        off_worst=float(off.max()) / size,
    )  # fmt: skip


def _begin(recording: Recording) -> GlbFile:
    about = {"version": "2.0", "generator": "animus3d", "copyright": recording.credit}
    content: dict[str, Any] = {"asset": about, "extensionsUsed": [NAME], "scene": 0, "scenes": [{"nodes": []}]}
    return GlbFile({**content, "nodes": [], "meshes": []}, bytearray())


def _node(file: GlbFile, content: dict[str, Any]) -> int:
    """Add a node to the scene."""
    file.content["nodes"].append(content)
    number = len(file.content["nodes"]) - 1
    file.content["scenes"][0]["nodes"].append(number)
    return number


def _mesh(file: GlbFile, gaussians: Gaussians, shared: dict[str, int]) -> int:
    """Add a mesh of ``gaussians``. What does not change from one call to the next is kept in ``shared`` and not written
    again: opacities and plain colours."""
    sh = gaussians.sh.detach().cpu()
    turns = np.rint(SHORT * gaussians.quats[:, [1, 2, 3, 0]].detach().cpu().double().numpy()).astype(np.int16)
    if not shared:
        alpha = gaussians.opacities[:, None]
        seen = torch.cat([sh0_to_rgb(sh[:, 0]), alpha.cpu()], dim=1)
        shared["COLOR_0"] = _normalised(file, as_bytes(255.0 * _floats(seen)), "VEC4")
        shared[f"{NAME}:OPACITY"] = file.add(_floats(alpha[:, 0]), "SCALAR")
        shared[f"{NAME}:SH_DEGREE_0_COEF_0"] = file.add(_floats(sh[:, 0]), "VEC3")
    attributes = {
        "POSITION": file.add(_floats(gaussians.means), "VEC3", bounds=True),
        f"{NAME}:ROTATION": _normalised(file, turns, "VEC4"),
        f"{NAME}:SCALE": file.add(_floats(gaussians.scales), "VEC3"),
        **shared,
    }
    for degree in range(1, gaussians.sh_degree + 1):
        for n in range(2 * degree + 1):
            name = f"{NAME}:SH_DEGREE_{degree}_COEF_{n}"
            attributes[name] = file.add(_floats(sh[:, degree * degree + n]), "VEC3")
    about = {"kernel": "ellipse", "colorSpace": DISPLAY, "sortingMethod": "cameraDistance", "projection": "perspective"}
    primitive = {"attributes": attributes, "mode": 0, "extensions": {NAME: about}}
    file.content["meshes"].append({"primitives": [primitive]})
    return len(file.content["meshes"]) - 1


def _normalised(file: GlbFile, values: Array, kind: str) -> int:
    accessor = file.add(values, kind)
    file.content["accessors"][accessor]["normalized"] = True
    return accessor


def _floats(values: Tensor) -> Array:
    return np.ascontiguousarray(values.detach().cpu().float().numpy())
