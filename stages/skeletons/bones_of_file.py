"""The bones that truly move the mesh of a rigged file, as one tree: its helpers left out, IK feet put under their legs,
bones that move as one merged.

A file's joints are made for an artist's hands: controls and pole targets carry no skin, a foot that inverse kinematics
places is no child of its leg, and twenty bones of an ear wag as one. What the clips do says which joint hangs on which
and which move together; where there are no clips, geometry does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.errors import BadInput
from stages.geometry.rotations import best_rotations
from stages.skeletons.rigged import RiggedFile
from stages.skeletons.skeleton import Skeleton

FRAMES_A_CLIP = 8
"""That are looked at."""

HOLDS = 0.02
"""Of the diagonal: a joint that strays farther than this in its parent's frame is not moved by it. [ours]"""

FAR = 0.2
"""What distance at rest counts beside straying when a parent is searched for. [ours]"""

AS_ONE = 0.0015
"""Of the diagonal: bones whose vertices would go this little astray, on average over the clips, are merged. [ours]"""

CLEARLY = 0.5
"""A joint is given another parent where it strays by less than this share of what it does in its own. [ours]"""

NUM_PROBES = 400
LEAST_WEIGHT = 1e-3
"""Of all skin weight: a joint with less moves nothing."""


@dataclass
class Bones:
    """The moving nodes of a file as a tree.

    Args:
        nodes: of each bone the file's node that it follows; the root first, parents before children.
        parents: of each bone, -1 of the root.
        owners: of each of the file's S skin joints the bone that its skin follows.
    """

    nodes: list[int]
    parents: list[int]
    owners: list[int]


def find_bones(file: RiggedFile, at_rest: Tensor, standing: Tensor, max_bones: int) -> Bones:
    """The tree of at most ``max_bones`` bones that move the mesh.

    Args:
        file: with or without clips.
        at_rest: [J, 4, 4] where each node of the file is in the pose in which the asset stands.
        standing: [V, 3] the vertices there, in the file's frame.

    Raises:
        BadInput: no joint carries any skin, or a bone has no scale, is mirrored, or is scaled unevenly.
    """
    mass = torch.zeros(len(file.parents)).index_add(0, torch.tensor(file.joints), file.weights.sum(dim=0))
    moving = [node for node, share in enumerate((mass / mass.sum().clamp(min=1e-9)).tolist()) if share > LEAST_WEIGHT]
    if not moving or not file.weighted:
        raise BadInput("No joint of the file carries any skin: all weights are zero.", "Try: --skeleton auto")
    _check_scales(file, at_rest, moving)
    moved = _motions(file, at_rest)
    diagonal = float((standing.amax(0) - standing.amin(0)).norm())
    tree = _one_tree(file, at_rest, moved, moving, mass, diagonal)
    merged = _merged(file, tree, moved, standing, diagonal, max_bones)
    return _ordered(file, tree, merged)


def node_matrices(file: RiggedFile, matrices: Tensor) -> Tensor:
    """Where each node of a file is, [J, 4, 4], when its joints' matrices (bind pose to there) are ``matrices``
    [S, 4, 4]; nodes that are no joints are where the file's own transforms have them. Raises ``BadInput``: a bind pose
    that says nothing of where a joint was."""
    places = all_nodes(file).joint_matrices(file.bind_local)[0].clone()
    back, failed = torch.linalg.inv_ex(file.inverse_bind)
    if failed.any():
        name = file.names[file.joints[int(failed.nonzero()[0, 0])]]
        raise BadInput(f"The inverse bind matrix of the joint {name} cannot be inverted.", "Export the file again.")
    places[file.joints] = matrices @ back
    return places


def all_nodes(file: RiggedFile) -> Skeleton:
    """A skeleton whose joints are all nodes, in their own frames."""
    nodes = len(file.parents)
    return Skeleton(
        parents=file.parents, joints=list(range(nodes)), inverse_bind=torch.eye(4).expand(nodes, 4, 4),
        world=torch.eye(4),
    )  # fmt: skip


def _check_scales(file: RiggedFile, at_rest: Tensor, moving: Sequence[int]) -> None:
    """Raise ``BadInput`` where a bone's frame cannot turn without bending what it carries."""
    for node in moving:
        linear = at_rest[node, :3, :3].double()
        lengths = torch.linalg.svdvals(linear)
        name = file.names[node]
        if float(lengths[-1]) < 1e-9:
            raise BadInput(
                f"The bone {name} is scaled to nothing.", "Apply the scales of the armature and export again."
            )
        if float(torch.linalg.det(linear)) < 0.0:
            raise BadInput(f"The bone {name} is mirrored: its scale is negative.", "Apply the scales and export again.")
        if float(lengths[0] / lengths[-1]) > 1.05:
            raise BadInput(
                f"The bone {name} is scaled unevenly ({lengths[0]:.3g} against {lengths[-1]:.3g}).",
                "Apply the scales of the armature and export again.",
            )


def _motions(file: RiggedFile, at_rest: Tensor) -> Tensor:
    """How each node moves from where it is at rest, [F, J, 4, 4], in moments of all clips; F = 0 without clips."""
    skeleton, back = all_nodes(file), torch.linalg.inv_ex(at_rest).inverse  # helpers may be scaled to nothing
    poses = [
        skeleton.joint_matrices(file.pose(clip, file.clip_seconds(clip) * torch.linspace(0.0, 1.0, FRAMES_A_CLIP)))
        for clip, tracks in file.clips.items()
        if tracks
    ]
    return torch.cat(poses) @ back if poses else torch.zeros(0, *at_rest.shape)


def _one_tree(
    file: RiggedFile, at_rest: Tensor, moved: Tensor, moving: Sequence[int], mass: Tensor, diagonal: float
) -> dict[int, int]:
    """Of each moving node its parent among them, -1 of the root: the file's own unless clips say that it strays."""
    heads = at_rest[:, :3, 3]
    among = set(moving)
    tree = {node: _ancestor(file, node, among) for node in moving}
    tops = [node for node, parent in tree.items() if parent < 0]
    root = max(tops, key=lambda top: _carried(tree, mass, top))
    stayed = {root}
    while children := [node for node, parent in tree.items() if parent == root and node not in stayed]:
        main = max(children, key=lambda child: _carried(tree, mass, child))
        if _straying(moved, heads, main, root) <= HOLDS * diagonal:
            break
        tree[root], tree[main], root = main, -1, main  # a root that stays while the body goes moves nothing of it
        stayed.add(root)
    loose = [
        node
        for node, parent in tree.items()
        if node != root and (parent < 0 or _straying(moved, heads, node, parent) > HOLDS * diagonal)
    ]
    for node in sorted(loose, key=lambda node: float(heads[node, 1]), reverse=True):
        others = [other for other in moving if other not in _below(tree, node)]
        straying = {other: _straying(moved, heads, node, other) for other in others}
        best = min(others, key=lambda other: straying[other] + FAR * float((heads[node] - heads[other]).norm()))
        if tree[node] < 0 or straying[best] < CLEARLY * straying[tree[node]]:
            tree[node] = best
    return tree


def _ancestor(file: RiggedFile, node: int, among: set[int]) -> int:
    """The nearest ancestor of ``node`` that is in ``among``, or -1."""
    node = file.parents[node]
    while node >= 0 and node not in among:
        node = file.parents[node]
    return node


def _below(tree: dict[int, int], top: int) -> set[int]:
    """``top`` and all that hangs on it."""
    found = {top}
    while more := {node for node, parent in tree.items() if parent in found and node not in found}:
        found |= more
    return found


def _carried(tree: dict[int, int], mass: Tensor, top: int) -> float:
    """The skin weight of ``top`` and all that hangs on it."""
    return float(sum(mass[node] for node in _below(tree, top)))


def _straying(moved: Tensor, heads: Tensor, node: int, parent: int) -> float:
    """How far the head of ``node`` strays, root mean square over the clips, in the frame of ``parent``; 0 without
    clips."""
    if not len(moved):
        return 0.0
    head = torch.cat([heads[node], torch.ones(1)])
    there, failed = torch.linalg.solve_ex(moved[:, parent], (moved[:, node] @ head)[..., None])
    known = there[failed == 0, :3, 0]  # clips hide things by a scale of 0
    return float((known - heads[node]).square().sum(dim=-1).mean().sqrt()) if len(known) else 0.0


def _merged(
    file: RiggedFile, tree: dict[int, int], moved: Tensor, standing: Tensor, diagonal: float, max_bones: int
) -> dict[int, int]:
    """Of each moving node the one that it is merged into (itself, where it stays), by what that costs: how far the
    vertices that follow it go astray. Twins of left and right are merged together. Changes ``tree``."""
    into = {node: node for node in tree}
    weights = torch.zeros(len(standing), len(file.parents)).index_add(1, torch.tensor(file.joints), file.weights)
    chosen = torch.linspace(0, len(standing) - 1, min(NUM_PROBES, len(standing))).long()
    probes, weights = torch.cat([standing[chosen], torch.ones(len(chosen), 1)], dim=1), weights[chosen]
    twins = _twins(file, tree)
    places = {node: moved[:, node, :3] @ probes.T for node in tree} if len(moved) else {}

    def cost(node: int) -> float:
        """Of merging ``node`` into its parent: how far its vertices go astray, mean over all."""
        share = weights[:, node]
        if places:
            away = (places[node] - places[tree[node]]).norm(dim=1)
            return float((share * away.square().mean(dim=0).sqrt()).mean())
        middle = (share[:, None] * standing[chosen]).sum(dim=0) / share.sum().clamp(min=1e-9)
        return float((share * (standing[chosen] - middle).norm(dim=-1)).mean())  # short bones first

    worth = {node: cost(node) for node, parent in tree.items() if parent >= 0}
    while worth:
        node = min(worth, key=lambda one: max(worth[other] for other in (one, twins.get(one, one)) if other in worth))
        as_one = bool(places) and worth[node] <= AS_ONE * diagonal * float(weights[:, node].mean())
        if len(tree) <= max_bones and not as_one:
            break
        for one in {node, twins.get(node, node)} & set(worth):
            parent = tree.pop(one)
            del worth[one]
            weights[:, parent] += weights[:, one]
            into = {key: parent if value == one else value for key, value in into.items()}
            changed = [child for child, above in tree.items() if above == one]
            tree.update(dict.fromkeys(changed, parent))
            worth |= {other: cost(other) for other in (*changed, parent) if other in worth}
    return into


def _twins(file: RiggedFile, tree: dict[int, int]) -> dict[int, int]:
    """Of nodes whose names differ in left and right alone, each other."""
    by_name = {file.names[node].lower(): node for node in tree}
    return {node: by_name[other] for name, node in by_name.items() if (other := other_side(name)) in by_name}


def other_side(name: str) -> str:
    """The name of the same part on the other side: of "Leg.L" it is "leg.r"; "" of a part in the middle."""
    swapped = {"left": "right", "right": "left", "l": "r", "r": "l"}
    found = re.sub(r"left|right|(?<![a-z])[lr](?![a-z])", lambda match: swapped[match.group(0)], name.lower())
    return found if found != name.lower() else ""


def _ordered(file: RiggedFile, tree: dict[int, int], into: dict[int, int]) -> Bones:
    """The tree with parents before children, and who owns which of the file's joints."""
    nodes: list[int] = [node for node, parent in tree.items() if parent < 0]
    for node in nodes:
        nodes += sorted(child for child, parent in tree.items() if parent == node)
    number = {node: index for index, node in enumerate(nodes)}
    among = set(into)

    def owner(node: int) -> int:
        carries = node if node in among else _ancestor(file, node, among)
        return number[into[carries]] if carries >= 0 else 0

    return Bones(nodes, [number.get(tree[node], -1) for node in nodes], [owner(node) for node in file.joints])


def turns_of(
    file: RiggedFile, clip: str, seconds: Tensor, at_rest: Tensor, nodes: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """How ``nodes`` have turned since rest at ``seconds`` [T] of a clip, [T, B, 3, 3], and where the first of them is,
    [T, 3]; in the file's frame."""
    places = all_nodes(file).joint_matrices(file.pose(clip, seconds))[:, list(nodes)]
    moved = places @ torch.linalg.inv(at_rest[list(nodes)])
    return best_rotations(moved[..., :3, :3]).to(moved), places[:, 0, :3, 3]
