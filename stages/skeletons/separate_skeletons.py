"""Whether a file holds two bodies, each with a skeleton of its own. [ours]

Many files have several skins that are one body: clothes that follow the same joints, feet that hang on the armature, a
sword with a bone. A rider who sits on a horse is taken as one with it. Two animals side by side are not: one root would
carry both.
"""

from __future__ import annotations

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from stages.errors import BadInput
from stages.skeletons.rigged import RiggedFile

MUCH = 0.2
"""Of all skin weight: a skeleton that carries this much is a body's."""

APART = 0.02
"""Of the diagonal: bodies that are nearer than this at one place are one."""


def check_one_body(file: RiggedFile, standing: Tensor) -> None:
    """Raise ``BadInput`` where two skeletons of the file share no joint, carry much of its skin each, and their skins
    are apart.

    Args:
        standing: [V, 3] the vertices where the asset stands, in the file's frame.
    """
    bodies = []
    for tops, joints in _skeletons(file):
        share = file.weights[:, sorted(joints)].sum(dim=1)
        if float(share.sum()) >= MUCH * len(share):
            bodies.append((tops, standing[share > 0.5]))
    diagonal = float((standing.amax(0) - standing.amin(0)).norm())
    for number, (tops, points) in enumerate(bodies):
        for others, there in bodies[:number]:
            if len(points) and len(there) and _gap(points, there) > APART * diagonal:
                first, second = (file.names[min(nodes)] for nodes in (others, tops))
                raise BadInput(
                    f"The file has two skeletons that share no joint, {first} and {second}, each with a body.",
                    "Export one of the bodies alone, and reconstruct that.",
                )


def _skeletons(file: RiggedFile) -> list[tuple[set[int], set[int]]]:
    """Of each skeleton its uppermost nodes, and which of the S joints are its own. Skins that share a joint, or whose
    joints hang on one, have one skeleton."""
    among = {file.joints[joint] for own in file.skins for joint in own}
    found: list[tuple[set[int], set[int]]] = []
    for own in file.skins:
        tops, joints = {_top(file, file.joints[joint], among) for joint in own}, set(own)
        apart = []
        for one in found:
            if one[0] & tops:
                tops, joints = tops | one[0], joints | one[1]
            else:
                apart.append(one)
        found = [*apart, (tops, joints)]
    return found


def _top(file: RiggedFile, node: int, among: set[int]) -> int:
    """The uppermost of ``node`` and its ancestors that is in ``among``."""
    top = node
    while (node := file.parents[node]) >= 0:
        top = node if node in among else top
    return top


def _gap(points: Tensor, others: Tensor) -> float:
    """The least distance between ``points`` [P, 3] and ``others`` [Q, 3]."""
    return float(torch.from_numpy(cKDTree(others.numpy()).query(points.numpy())[0]).min())
