"""A clip with few keys: those moments of it without which the body would be elsewhere."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from stages.geometry.rotations import continuous_quaternions
from stages.meshes.gltf import Array
from stages.skeletons.rigged import RiggedFile
from stages.skeletons.skeleton import Pose, Skeleton, skin

FEW_KEYS, MOST_KEYS = 24, 64
"""[ours]"""

FINE, COARSE = 0.0015, 0.003
"""A clip is given another key while a vertex is farther than this from where the source has it, as a share of the
body's diagonal: the first while it has ``FEW_KEYS`` at most, then the second. [ours]"""

NUM_PROBES = 250
"""Vertices by which keys are chosen. [ours]"""

STILL_TURN, STILL_SHIFT, STILL_SCALE = 8e-4, 1e-4, 5e-4
"""Changes below these are none: in quaternion components, shares of the body's diagonal, and factors. [ours]"""


@dataclass(frozen=True)
class KeyedTrack:
    """One animated property of one node."""

    node: int
    path: str  # translation, rotation or scale
    values: Array  # [K, 3] float32, or [K, 4] xyzw for a rotation; K = 1 where it holds still


@dataclass(frozen=True, kw_only=True)
class KeyedClip:
    """A clip from 0 seconds on, all of whose moving tracks have the same keys."""

    name: str
    times: Array  # [K] float32 seconds, from 0
    tracks: tuple[KeyedTrack, ...]


@dataclass(frozen=True)
class Probes:
    """Some vertices of a body, to see what its motion does."""

    skeleton: Skeleton
    points: Tensor  # [P, 3] bind pose
    weights: Tensor  # [P, S]
    diagonal: float  # of the body's box at rest

    def at(self, pose: Pose) -> Tensor:
        """Where they are in T frames, [T, P, 3]."""
        return skin(self.points, self.weights, self.skeleton.joint_matrices(pose))


def probe(file: RiggedFile, rest: Pose) -> Probes:
    """Vertices of a file that are far from each other in pose ``rest``, which sets its size: each the farthest from
    those before it."""
    standing = skin(file.vertices, file.weights, file.skeleton.joint_matrices(rest))[0]
    diagonal = float((standing.amax(0) - standing.amin(0)).norm())
    away = (standing - standing.mean(0)).norm(dim=-1)
    chosen: list[int] = []
    for _ in range(min(NUM_PROBES, len(standing))):
        chosen.append(int(away.argmax()))
        distance = (standing - standing[chosen[-1]]).norm(dim=-1)
        away = distance if len(chosen) == 1 else torch.minimum(away, distance)
    used = file.weights[chosen].sum(0) > 0
    skeleton = replace(
        file.skeleton,
        joints=[joint for joint, taken in zip(file.joints, used.tolist(), strict=True) if taken],
        inverse_bind=file.inverse_bind[used],
    )
    return Probes(skeleton, file.vertices[chosen], file.weights[chosen][:, used], diagonal)


Part = tuple[float, float]
"""From which second of a clip to which; all of it where there is None."""


def clip_times(file: RiggedFile, clip: str, part: Part | None = None) -> Array:
    """The moments [T] at which any track of ``clip`` has a key, in the file's seconds, at least two."""
    times = np.unique(np.round(np.concatenate([track.times for track in file.clips[clip]]), 4))
    if part is not None:
        times = np.unique([part[0], *times[(times > part[0]) & (times < part[1])], part[1]])
    return times if len(times) > 1 else np.array([times[0], times[0] + 1.0])


@dataclass(frozen=True)
class Wanted:
    """A clip of a source, and what it becomes."""

    clip: str  # as the source calls it
    name: str
    part: Part | None = None


def key_clip(file: RiggedFile, wanted: Wanted, probes: Probes, turn: Callable[[Pose], Pose]) -> KeyedClip:
    """A clip of ``file`` with up to ``MOST_KEYS`` keys; ``turn`` turns poses to face where they shall.

    Starting from its two ends, the moment of largest error becomes a key until the clip is near enough.
    """
    clip, name = wanted.clip, wanted.name
    times = clip_times(file, clip, wanted.part)
    full = file.pose(clip, torch.from_numpy(times))
    truth = probes.at(full)
    keys = [0, len(times) - 1]
    error = torch.zeros(len(times))

    def measure(first: int, last: int) -> None:
        """Errors between two neighbouring keys."""
        if last - first > 1:
            between = slice(first + 1, last)
            error[between] = (probes.at(_between(full, times, first, last)) - truth[between]).norm(dim=-1).amax(1)

    measure(*keys)
    while len(keys) < min(MOST_KEYS, len(times)):
        worst = int(error.argmax())
        if float(error[worst]) < (FINE if len(keys) < FEW_KEYS else COARSE) * probes.diagonal:
            break
        place = bisect(keys, worst)
        keys.insert(place, worst)
        error[worst] = 0.0
        measure(keys[place - 1], worst)
        measure(worst, keys[place + 1])
    return _keyed(file, name, times[keys] - times[0], turn(_at(full, keys)), turn(file.bind_local), probes.diagonal)


def _at(pose: Pose, keys: list[int]) -> Pose:
    """Some frames of a pose."""
    return Pose(pose.translations[keys], pose.rotations[keys], pose.scales[keys])


def _between(full: Pose, times: Array, first: int, last: int) -> Pose:
    """What a reader makes of the frames between ``first`` and ``last`` of ``full`` when these two are keys."""
    share = torch.from_numpy((times[first + 1 : last] - times[first]) / (times[last] - times[first])).float()
    num = len(share)
    return full.frame(first).repeat(num).blend(full.frame(last).repeat(num), share)


def _keyed(file: RiggedFile, name: str, times: Array, keys: Pose, bind: Pose, diagonal: float) -> KeyedClip:
    """The tracks that differ from the pose ``bind``, which a file's nodes have by themselves."""
    tracks = []
    reach = _sizes(file)
    for node in range(len(file.parents)):
        turns = continuous_quaternions(keys.rotations[:, node])
        own = bind.rotations[0, node]
        own = own if float((own * turns[0]).sum()) >= 0 else -own
        for path, values, default, still in (
            (
                "translation",
                keys.translations[:, node],
                bind.translations[0, node],
                STILL_SHIFT * diagonal / reach[node],
            ),
            ("rotation", turns, own, STILL_TURN),
            ("scale", keys.scales[:, node], bind.scales[0, node], STILL_SCALE),
        ):
            if float((values - values[0]).abs().amax()) < still:
                values = values[:1]
                if float((values[0] - default).abs().amax()) < still:
                    continue
            values = values[:, [1, 2, 3, 0]] if path == "rotation" else values
            tracks.append(KeyedTrack(node, path, values.numpy().astype(np.float32)))
    return KeyedClip(name=name, times=times.astype(np.float32), tracks=tuple(tracks))


def _sizes(file: RiggedFile) -> list[float]:
    """How long in the file's space a step of length 1 in each node's parent is."""
    scales: list[float] = []
    for node, parent in enumerate(file.parents):
        above = 1.0 if parent < 0 else scales[parent]
        scales.append(above * max(1e-9, float(file.bind_local.scales[0, node].abs().amax())))
    return [1.0 if parent < 0 else scales[parent] for parent in file.parents]
