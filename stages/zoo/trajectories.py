"""Bodies in motion as points: where 512 points of a body's surface go, for the points prior to learn from.

One example is a body at rest, facing +z, its box scaled to [-1, 1]; a verb; and the coefficients of the trajectories of
its points (``stages.geometry.trajectories`` says in which functions: they are given here as matrices, so that nothing
here knows of priors). More bodies are made of each: bone lengths and thicknesses varied alike on the left and the
right with the rotations of joints kept, stretched, mirrored, turned a little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.meshes.surface import sample_surface
from stages.skeletons.rigged import RiggedFile
from stages.skeletons.skeleton import Pose, skin, transform_matrices
from stages.zoo.captions import uniform

POOL = 4096
"""Points of a body that examples draw theirs from."""

ENTER_FRAMES = 4
"""In which a motion that runs through once leaves the rest pose."""

TURN_DEG = 11.0
"""Largest turn away from +z."""


@dataclass(frozen=True)
class Trajectories:
    """Points of a body at rest and where they go."""

    rest: Tensor  # [N, 3], box in [-1, 1]
    displacements: Tensor  # [T, N, 3] from rest
    rigid: Tensor  # [N] largest skin weight: how much a point belongs to one bone


@dataclass(frozen=True)
class Variation:
    """How a body differs from its file."""

    bones: float = 0.0  # deviation of the logarithm of bone sizes
    stretch: float = 0.0  # deviation of the logarithm of each axis
    mirrored: bool = False
    turn_deg: float = 0.0


AS_IT_IS = Variation()


class PointBody:
    """A rigged file as a pool of surface points with skin weights.

    Args:
        file: the body, which faces +z.
        generator: draws the points.
    """

    def __init__(self, file: RiggedFile, generator: torch.Generator) -> None:
        self.file, self.skeleton = file, file.skeleton
        samples = sample_surface(file.vertices, file.faces, POOL, generator)
        self.bind = samples.interpolate(file.vertices[file.faces])
        self.weights = samples.interpolate(file.weights[file.faces])
        self.twins = _twins(file)
        self.free = _free_bones(file)

    def move(self, rest: Pose, poses: Pose, points: Tensor, how: Variation, generator: torch.Generator) -> Trajectories:
        """The points numbered ``points`` [N] of the pool in ``poses`` of T frames, relative to ``rest``."""
        sizes = self.sizes(how.bones, generator)
        both = Pose(*(torch.cat(pair) for pair in zip(_fields(rest), _fields(poses), strict=True)))
        weights = self.weights[points]
        where = skin(self.bind[points], weights, self._matrices(both, sizes))  # [1 + T, N, 3]
        angle = math.radians(how.turn_deg)
        c, s = math.cos(angle), math.sin(angle)
        place = torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
        place = place * torch.exp(how.stretch * torch.randn(3, generator=generator))[:, None]
        if how.mirrored:
            place = place * torch.tensor([-1.0, 1.0, 1.0])[:, None]
        where = where @ place.T
        low, high = where[0].amin(dim=0), where[0].amax(dim=0)
        scale = 2.0 / float((high - low).max().clamp(min=1e-12))
        return Trajectories(
            scale * (where[0] - 0.5 * (low + high)), scale * (where[1:] - where[0]), weights.amax(dim=1)
        )

    def sizes(self, deviation: float, generator: torch.Generator) -> Tensor:
        """Sizes [J] of the nodes' bones, alike on both sides."""
        drawn = torch.exp(deviation * torch.randn(len(self.twins), generator=generator))
        drawn = drawn[self.twins]
        return torch.where(self.free, drawn, torch.ones(()))

    def _matrices(self, pose: Pose, sizes: Tensor) -> Tensor:
        """Bind pose to file coordinates, [T, S, 4, 4], bones of ``sizes``: a child's offset is scaled by its parent's
        size, what hangs on a bone by its own."""
        skeleton = self.skeleton
        parents = torch.tensor(skeleton.parents)
        offset = torch.where(parents < 0, torch.ones(()), sizes[parents.clamp(min=0)])
        local = transform_matrices(Pose(pose.translations * offset[:, None], pose.rotations, pose.scales))
        nodes: list[Tensor] = []
        for node, parent in enumerate(skeleton.parents):
            nodes.append(local[:, node] if parent < 0 else nodes[parent] @ local[:, node])
        joints = torch.tensor(skeleton.joints)
        world = torch.stack([nodes[j] for j in skeleton.joints], dim=1)
        size = torch.cat([sizes[joints][:, None].expand(-1, 3), torch.ones(len(joints), 1)], dim=1)
        return world @ (size[:, :, None] * skeleton.inverse_bind)


def clip_poses(file: RiggedFile, clip: str, times: Tensor, cyclic: bool, phase: float = 0.0) -> Pose:
    """``clip`` at ``times`` [T] of its length; a loop begins at ``phase``."""
    seconds = file.clip_seconds(clip)
    moments = (times.double() + phase) % 1.0 if cyclic else times.double()
    return file.pose(clip, moments * seconds)


def entered(rest: Pose, poses: Pose) -> Pose:
    """``poses`` entered from ``rest``: frame 0 is the rest pose."""
    frames = poses.translations.shape[0]
    ramp = (torch.arange(frames) / ENTER_FRAMES).clamp(max=1.0)
    return rest.repeat(frames).blend(poses, ramp * ramp * (3.0 - 2.0 * ramp))


def stay(displacements: Tensor, cyclic: bool, *, travels: bool) -> Tensor:
    """``displacements`` [T, N, 3] on the spot: the body's way over the ground is taken out where it ``travels``."""
    if not travels:
        return displacements
    way = displacements.mean(dim=1, keepdim=True) * torch.tensor([1.0, 0.0, 1.0])
    if cyclic:  # only what does not come back within the cycle: a straight line
        frames = len(way)
        step = (way[-1] - way[0]) / (frames - 1)
        way = step * torch.arange(frames)[:, None, None]
    return displacements - way


def random_variation(generator: torch.Generator, *, bones: float, stretch: float) -> Variation:
    """A random one: half are mirrored."""
    return Variation(
        bones=bones,
        stretch=stretch,
        mirrored=uniform(0.0, 1.0, generator) < 0.5,
        turn_deg=uniform(-TURN_DEG, TURN_DEG, generator),
    )


def _fields(pose: Pose) -> tuple[Tensor, Tensor, Tensor]:
    return pose.translations, pose.rotations, pose.scales


def _places(file: RiggedFile) -> Tensor:
    """Where nodes are, [J, 3], in the file's coordinates."""
    local = transform_matrices(file.bind_local)[0]
    nodes: list[Tensor] = []
    for node, parent in enumerate(file.parents):
        nodes.append(local[node] if parent < 0 else nodes[parent] @ local[node])
    return torch.stack(nodes)[:, :3, 3]


def _twins(file: RiggedFile) -> Tensor:
    """For every node [J] the number that it shares with its mirror image; its own where there is none."""
    places = _places(file)
    span = (places.amax(dim=0) - places.amin(dim=0)).norm().clamp(min=1e-9)
    mirrored = places * torch.tensor([-1.0, 1.0, 1.0])
    away = torch.cdist(mirrored, places)
    nearest = away.argmin(dim=1)
    own = torch.arange(len(places))
    paired = (away.amin(dim=1) < 0.02 * span) & (nearest[nearest] == own)
    return torch.where(paired, torch.minimum(own, nearest), own)


def _free_bones(file: RiggedFile) -> Tensor:
    """Which nodes [J] may be resized: not those whose skin is shared with a bone that is neither parent nor child, as
    of feet that hang on a handle of their own; nor their parents, whose size would move them."""
    parents, joints = file.parents, file.joints
    shared = (file.weights > 0.1).float()
    touching = (shared.T @ shared) > 0  # [S, S]
    free = torch.ones(len(parents), dtype=torch.bool)

    def related(a: int, b: int) -> bool:
        def above(node: int) -> list[int]:
            found = [node]
            while parents[found[-1]] >= 0 and len(found) < 4:
                found.append(parents[found[-1]])
            return found

        return bool(set(above(a)) & set(above(b)))

    for first, second in touching.nonzero().tolist():
        a, b = joints[first], joints[second]
        if a < b and not related(a, b):
            for node in (a, b):
                while node >= 0:
                    free[node] = False
                    node = parents[node]
    return free
