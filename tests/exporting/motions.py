"""Motions of rigs made up by chance, and a second reading of skinned files: pygltflib and numpy, by the rules of glTF
2.0, with nothing of the readers in ``stages``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pygltflib
import torch
from torch import Tensor

from stages.geometry.rotations import quaternion_matrices
from stages.meshes.placement import Placement
from stages.skeletons.rig import Joints, Rig, Skin, forward_kinematics
from stages.skeletons.rigged import RiggedFile

Array = np.ndarray[Any, Any]
ASSETS = Path(__file__).parent.parent.parent / "assets"


def some_motion(parents: list[int], heads: Tensor, num_frames: int, seed: int = 0, strength: float = 0.2) -> Tensor:
    """Matrices [T, J, 4, 4]: every joint swings about an axis of its own, and the root goes somewhere."""
    generator = torch.Generator().manual_seed(seed)
    axes, phases = (
        torch.randn(len(parents), 3, generator=generator),
        6.0 * torch.rand(len(parents), generator=generator),
    )
    angles = strength * torch.sin(phases + 2.0 * torch.pi * torch.arange(num_frames)[:, None] / num_frames)  # [T, J]
    half = torch.nn.functional.normalize(axes, dim=-1) * torch.tan(0.5 * angles)[..., None]
    quats = torch.cat([torch.ones(num_frames, len(parents), 1), half], dim=-1)
    size = float((heads.amax(0) - heads.amin(0)).norm())
    shift = 0.2 * size * torch.linspace(0, 1, num_frames)[:, None] * torch.tensor([0.3, 0.1, 1.0])
    return forward_kinematics(parents, heads.double(), quaternion_matrices(quats.double()), shift.double()).float()


def rig_of_file(file: RiggedFile, matrices_rest: Tensor, placement: Placement) -> tuple[list[int], list[int], Tensor]:
    """For each of a file's S joints its owner, and the parents and heads [J, 3] of a rig with the same joints, in the
    asset's frame."""
    nodes = sorted(set(file.joints))
    worlds = matrices_rest.double() @ torch.linalg.inv(file.inverse_bind.double())
    where = {node: k for k, node in enumerate(file.joints)}
    heads = placement.to_asset(torch.stack([worlds[where[node], :3, 3] for node in nodes]).float())
    parents: list[int] = []
    for node in nodes:
        above = file.parents[node]
        while above >= 0 and above not in nodes:
            above = file.parents[above]
        parents.append(nodes.index(above) if above >= 0 else -1 if not parents else 0)
    return [nodes.index(node) for node in file.joints], parents, heads


def arm() -> Rig:
    """Six joints along a bent bar with a twig, in a mesh of 40 vertices; weights are soft, and 5 matter at some."""
    heads = torch.tensor(
        [[0.1, 1.0, 0.0], [0.5, 1.1, 0.1], [1.0, 1.0, 0.0], [1.5, 0.8, 0.0], [2.0, 0.8, 0.3], [1.0, 1.5, 0.2]]
    )
    tails = torch.cat([heads[1:5], torch.tensor([[2.4, 0.8, 0.3], [1.0, 1.9, 0.2]])])
    names = ("hip", "spine one", "spine two", "neck", "head", "spine_one")
    joints = Joints(names=names, parents=(-1, 0, 1, 2, 3, 2), heads=heads, tails=tails, limits_deg=(None,) * 6)
    generator = torch.Generator().manual_seed(3)
    vertices = 2.4 * torch.rand(40, 3, generator=generator)
    order = torch.randperm(40, generator=generator)
    faces = torch.stack([order.roll(k) for k in range(3)], dim=1)  # every vertex has one
    weights = torch.softmax(-8.0 * (vertices[:, None] - heads).square().sum(-1), dim=1)
    return Rig(joints=joints, skin=Skin(vertices=vertices, faces=faces, weights=weights), found="hand")


class Reader:
    """One ``.glb``, read by hand."""

    def __init__(self, data: bytes) -> None:
        gltf = pygltflib.GLTF2.load_from_bytes(data)
        assert gltf is not None
        self.gltf: Any = gltf
        self.blob: bytes = gltf.binary_blob()

    def values(self, accessor_id: int) -> Array:
        """[count, width] as float64."""
        accessor = self.gltf.accessors[accessor_id]
        view = self.gltf.bufferViews[accessor.bufferView]
        kind = {5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}[accessor.componentType]
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor.type]
        item = np.dtype(kind).itemsize
        start, step = (view.byteOffset or 0) + (accessor.byteOffset or 0), view.byteStride or item * width
        rows = np.ndarray((accessor.count, width), kind, self.blob, start, (step, item)).astype(np.float64)
        return rows / {5121: 255, 5123: 65535, 5122: 32767}[accessor.componentType] if accessor.normalized else rows

    def clip(self, name: str) -> Any:
        return next(clip for clip in self.gltf.animations if clip.name == name)

    def locals(self, clip: str | None, second: float) -> list[Array]:
        """Each node's own matrix; times must be keys, or after the last."""
        nodes = [
            {"translation": n.translation, "rotation": n.rotation, "scale": n.scale, "matrix": n.matrix}
            for n in self.gltf.nodes
        ]
        animation: Any = None if clip is None else self.clip(clip)
        for channel in animation.channels if animation else ():
            sampler = animation.samplers[channel.sampler]
            times = self.values(sampler.input)[:, 0]
            key = min(int(np.searchsorted(times, second - 1e-5)), len(times) - 1)
            nodes[channel.target.node][channel.target.path] = self.values(sampler.output)[key]
        return [_matrix(**node) for node in nodes]

    def worlds(self, clip: str | None = None, second: float = 0.0) -> list[Array]:
        own, nodes = self.locals(clip, second), self.gltf.nodes
        above = {child: i for i, node in enumerate(nodes) for child in node.children or []}

        def world(i: int) -> Array:
            return world(above[i]) @ own[i] if i in above else own[i]

        return [world(i) for i in range(len(nodes))]

    def vertices(self, clip: str | None = None, second: float = 0.0) -> Array:
        """All vertices [V, 3] in the world, node by node in the file's order."""
        worlds, found = self.worlds(clip, second), []
        for i, node in enumerate(self.gltf.nodes):
            for part in self.gltf.meshes[node.mesh].primitives if node.mesh is not None else []:
                points = self.values(part.attributes.POSITION)
                points = np.concatenate([points, np.ones((len(points), 1))], axis=1)
                blended = (
                    worlds[i][None].repeat(len(points), 0) if node.skin is None else self._skin(part, node, worlds)
                )
                found.append(np.einsum("vij,vj->vi", blended, points)[:, :3])
        return np.concatenate(found)

    def _skin(self, part: Any, node: Any, worlds: list[Array]) -> Array:
        skin = self.gltf.skins[node.skin]
        bind = self.values(skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
        matrices = np.stack([worlds[joint] @ bind[k] for k, joint in enumerate(skin.joints)])
        sets = [n for n in range(4) if getattr(part.attributes, f"JOINTS_{n}", None) is not None]
        who = np.concatenate([self.values(getattr(part.attributes, f"JOINTS_{n}")) for n in sets], 1).astype(int)
        share = np.concatenate([self.values(getattr(part.attributes, f"WEIGHTS_{n}")) for n in sets], 1)
        share = share / share.sum(axis=1, keepdims=True)
        return np.asarray(np.einsum("vk,vkij->vij", share, matrices[who]))


def _matrix(translation: Any, rotation: Any, scale: Any, matrix: Any) -> Array:
    if matrix is not None:
        return np.array(matrix, float).reshape(4, 4).T
    x, y, z, w = rotation if rotation is not None else (0, 0, 0, 1)
    turn = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    local = np.eye(4)
    local[:3, :3] = turn * np.array(scale if scale is not None else (1, 1, 1), float)
    local[:3, 3] = translation if translation is not None else (0, 0, 0)
    return local
