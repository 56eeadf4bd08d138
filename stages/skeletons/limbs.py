"""From the curve skeleton of a body to its limbs: what is a limb, which two are a pair, and where the body mirrors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
from scipy.spatial import cKDTree

Array = np.ndarray[Any, Any]

BUMP = 1.5
"""A branch shorter than this many times the radius of the trunk where it starts is a bump."""
MERGE = 0.8
"""Forks nearer to each other than this share of the radius there are one."""
PAIR = 0.12
"""How far a limb's tip may be from where the mirror shows the tip of its partner, over the body's diagonal."""
MIRRORS = 0.012
"""How far off the mirrored surface may be on average, over the diagonal, for a body that is symmetric."""
AHEAD = 0.8
"""A curve that ends in the middle of something thick goes on by this share of the radius there."""
SAME = 0.06
"""How far a point on one limb may be from where the mirror shows the other limb, over the diagonal."""
FINGER = 0.25
"""A finger is no longer than this share of the diagonal."""
POINTS = 41
"""Of a limb's line."""


@dataclass(frozen=True)
class Facing:
    """The body's own axes, and the plane between its left and right.

    Args:
        forward, left: [3] level unit vectors.
        middle: where the plane lies along ``left``.
        symmetric: whether the surface mirrors in it.
    """

    forward: Array
    left: Array
    middle: float
    symmetric: bool

    def mirrored(self, points: Array) -> Array:
        """Points [..., 3] on the other side."""
        return points - 2.0 * (points @ self.left - self.middle)[..., None] * self.left

    def flattened(self, points: Array) -> Array:
        """Points [..., 3] moved into the plane."""
        return points - (points @ self.left - self.middle)[..., None] * self.left

    def side(self, point: Array) -> float:
        """How far to the left of the plane a point lies."""
        return float(point @ self.left) - self.middle


@dataclass(eq=False)
class Limb:
    """A stretch of the curve from a fork, or the root, to the next fork or to a tip.

    Args:
        start, end: nodes of the curve.
        line: [M, 3] from the one to the other.
        radius: of the body where it starts.
        tip: whether it ends at one.
        role: what it is, once that is known: "leg", "arm", "head" ...
        pair: -1 on the right, 1 on the left, 0 of no pair.
        number: which of several of its role, from 1; 0 where there is one.
        place: "front" or "back" of legs of which there are four.
    """

    start: int
    end: int
    line: Array
    radius: float
    tip: bool
    role: str = ""
    pair: int = 0
    number: int = 0
    place: str = ""

    @property
    def length(self) -> float:
        """Along the line."""
        return float(np.linalg.norm(np.diff(self.line, axis=0), axis=1).sum())


def facing_of(surface: Array, facing_deg: float) -> Facing:
    """The axes of a body that faces ``facing_deg`` about +y from +z towards +x, from points [U, 3] of its surface.

    The plane is where the surface mirrors best, among places around its middle.
    """
    angle = math.radians(facing_deg)
    forward = np.array([math.sin(angle), 0.0, math.cos(angle)])
    left = np.array([math.cos(angle), 0.0, -math.sin(angle)])
    across = surface @ left
    lookup = cKDTree(surface)
    some = surface[:: max(1, len(surface) // 1500)]
    diagonal = float(np.linalg.norm(np.ptp(surface, axis=0)))

    def off(middle: float) -> float:
        facing = Facing(forward, left, middle, False)
        return float(lookup.query(facing.mirrored(some))[0].mean()) / diagonal

    centre, reach = 0.5 * (across.min() + across.max()), 0.1 * float(np.ptp(across))
    tried = sorted({float(np.median(across)), *np.linspace(centre - reach, centre + reach, 21).tolist()})
    misses = [off(middle) for middle in tried]
    best = tried[int(np.argmin(misses))]
    if misses[tried.index(min(tried, key=lambda m: abs(m - centre)))] <= 1.05 * min(misses):
        best = float(centre)
    return Facing(forward, left, best, min(misses) <= MIRRORS)


def prune(tree: nx.Graph, least: float, facing: Facing) -> None:
    """Take out the branches that do not stand out of the body by ``least``, the shortest first; then merge forks.

    The branch farthest ahead stays: a blunt head is a head. So does one whose partner on the other side stands out.
    """
    leaves = [node for node in tree if tree.degree[node] == 1]
    head = max(leaves, key=lambda node: float(tree.nodes[node]["at"] @ facing.forward))
    partners = _partners(tree, leaves, facing)
    while True:
        paths = {leaf: to_fork(tree, leaf) for leaf in tree if tree.degree[leaf] == 1}
        if any(tree.degree[path[-1]] < 3 for path in paths.values()):
            return  # a line
        lengths = {leaf: path_length(tree, path) for leaf, path in paths.items()}
        bumps = set()
        for leaf, length in lengths.items():
            radius = tree.nodes[paths[leaf][-1]]["radius"]
            if leaf != head and (length - radius < least or length < BUMP * radius):
                bumps.add(leaf)
        alone = [leaf for leaf in bumps if partners.get(leaf, leaf) not in lengths.keys() - bumps]
        if not alone:
            break
        *branch, fork = paths[min(alone, key=lambda leaf: lengths[leaf])]
        tree.nodes[fork]["share"] += sum(tree.nodes[node]["share"] for node in branch)
        tree.remove_nodes_from(branch)
    while (near := _nearest_forks(tree)) is not None:
        _merge(tree, near)


def _partners(tree: nx.Graph, leaves: list[int], facing: Facing) -> dict[int, int]:
    """Of a symmetric body's tips, those that show each other in the mirror."""
    if not facing.symmetric:
        return {}
    at = np.array([tree.nodes[leaf]["at"] for leaf in leaves])
    away, other = cKDTree(at).query(facing.mirrored(at))
    near = SAME * float(np.linalg.norm(np.ptp(at, axis=0)))
    return {
        leaf: leaves[k]
        for i, (leaf, k) in enumerate(zip(leaves, other, strict=True))
        if away[i] <= near and k != i and other[k] == i
    }


def to_fork(tree: nx.Graph, start: int, onward: int | None = None) -> list[int]:
    """The nodes from ``start`` (by way of ``onward``) to the next fork or tip."""
    path = [start, onward if onward is not None else next(iter(tree[start]))]
    while tree.degree[path[-1]] == 2:
        path.append(next(node for node in tree[path[-1]] if node != path[-2]))
    return path


def path_length(tree: nx.Graph, path: list[int]) -> float:
    """Along the nodes of ``path``."""
    at = np.array([tree.nodes[node]["at"] for node in path])
    return float(np.linalg.norm(np.diff(at, axis=0), axis=1).sum())


def _nearest_forks(tree: nx.Graph) -> list[int] | None:
    """The path between two forks that are one; None where there are none."""
    for fork in [node for node in tree if tree.degree[node] > 2]:
        for onward in tree[fork]:
            path = to_fork(tree, fork, onward)
            radius = max(tree.nodes[fork]["radius"], tree.nodes[path[-1]]["radius"])
            if tree.degree[path[-1]] > 2 and path_length(tree, path) < MERGE * radius:
                return path
    return None


def _merge(tree: nx.Graph, path: list[int]) -> None:
    """Make one node, in their middle, of those of ``path``."""
    kept = path[0]
    values = tree.nodes[kept]
    values["at"] = 0.5 * (values["at"] + tree.nodes[path[-1]]["at"])
    values["radius"] = max(tree.nodes[node]["radius"] for node in path)
    values["share"] = sum(tree.nodes[node]["share"] for node in path)
    beyond = [node for node in tree[path[-1]] if node not in path]
    tree.remove_nodes_from(path[1:])
    tree.add_edges_from((kept, node) for node in beyond)


def without_fingers(tree: nx.Graph, facing: Facing, diagonal: float) -> None:
    """Let hands and feet end in one tip: a fork beside the middle plane, with a limb where the mirror shows it, keeps
    its longest branch, unless what its partners on the other side hang on is no such fork."""
    while True:
        hands = _hands(tree, facing, diagonal)
        fingers = {path[-1] for tips in hands for path in tips}
        leaves = [node for node in tree if tree.degree[node] == 1]
        partners = _partners(tree, leaves, facing)
        hands = [tips for tips in hands if all(partners.get(path[-1], path[-1]) in fingers for path in tips)]
        if not hands:
            return
        for tips in hands:
            for path in tips[:-1]:
                tree.remove_nodes_from(path[1:])


def _hands(tree: nx.Graph, facing: Facing, diagonal: float) -> list[list[list[int]]]:
    """Of each fork that may be a hand or a foot, the paths to its tips, the shortest first."""
    curve = cKDTree([tree.nodes[node]["at"] for node in tree])
    hands = []
    for fork in [node for node in tree if tree.degree[node] > 2]:
        at = tree.nodes[fork]["at"]
        if abs(facing.side(at)) < max(tree.nodes[fork]["radius"], 0.5 * SAME * diagonal):
            continue
        if curve.query(facing.mirrored(at))[0] > SAME * diagonal:
            continue
        paths = [to_fork(tree, fork, onward) for onward in tree[fork]]
        tips = sorted((p for p in paths if tree.degree[p[-1]] == 1), key=lambda p: path_length(tree, p))
        if len(tips) == len(paths) - 1 and path_length(tree, tips[-2]) <= FINGER * diagonal:
            hands.append(tips)
    return hands


def limbs_from(tree: nx.Graph, root: int) -> list[Limb]:
    """All stretches of the curve, those nearer to ``root`` first."""
    limbs: list[Limb] = []
    waiting: list[tuple[int, int]] = [(root, node) for node in tree[root]]
    while waiting:
        start, onward = waiting.pop(0)
        path = to_fork(tree, start, onward)
        end = path[-1]
        line = np.array([tree.nodes[node]["at"] for node in path])
        if tree.degree[end] == 1:
            line = _to_the_end(line, tree.nodes[end])
        line = resampled(line)
        limbs.append(Limb(start, end, line, tree.nodes[start]["radius"], tree.degree[end] == 1))
        waiting += [(end, node) for node in tree[end] if node != path[-2]]
    return limbs


def _to_the_end(line: Array, tip: dict[str, Any]) -> Array:
    """A line that ends in the middle of its limb's end; one that ends in something thick goes on to its surface."""
    if "end" in tip:
        inwards = np.linalg.norm(tip["end"] - tip["at"])
        keep = np.linalg.norm(line - tip["at"], axis=1) > inwards
        keep[0] = True
        line = np.concatenate([line[keep], tip["end"][None]])
    along = line[-1] - line[max(0, len(line) - 6)]
    beyond = AHEAD * tip["radius"] * along / max(float(np.linalg.norm(along)), 1e-12)
    return np.concatenate([line, (line[-1] + beyond)[None]])


def resampled(line: Array, num: int = POINTS) -> Array:
    """``num`` points evenly along a line [M, 3]."""
    along = np.concatenate([[0.0], np.linalg.norm(np.diff(line, axis=0), axis=1).cumsum()])
    even = np.linspace(0.0, along[-1], num)
    return np.stack([np.interp(even, along, line[:, axis]) for axis in range(3)], axis=1)


def pairs(limbs: list[Limb], facing: Facing, diagonal: float) -> list[tuple[Limb, Limb]]:
    """Limbs that mirror each other, the left one first; the pair that does so best comes first."""
    found: list[tuple[Limb, Limb]] = []
    misses = sorted(
        (float(np.linalg.norm(facing.mirrored(one.line[-1]) - other.line[-1])), i, k)
        for i, one in enumerate(limbs)
        for k, other in enumerate(limbs)
        if facing.side(one.line[-1]) > 0.02 * diagonal and facing.side(other.line[-1]) < -0.02 * diagonal
    )
    taken: set[int] = set()
    for miss, i, k in misses:
        if miss <= PAIR * diagonal and not taken & {i, k}:
            taken |= {i, k}
            found.append((limbs[i], limbs[k]))
    return found


def mirror_pair(left: Limb, right: Limb, facing: Facing) -> None:
    """Make the lines of a pair mirror each other."""
    line = 0.5 * (resampled(left.line) + facing.mirrored(resampled(right.line)))
    left.line, right.line = line, facing.mirrored(line)
