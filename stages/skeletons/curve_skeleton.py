"""The curve skeleton of a body: a tree of points along the middle of its trunk and limbs.

By TEASAR (Sato, Bitter, Bender, Kaufman and Nakajima 2000) on the voxels that the body fills. Steps near the surface
are dear, those in the middle are cheap. The first curve is the cheapest path from the thickest place to the voxel
farthest from it. What lies around it is done; the farthest voxel that is left comes next. Nothing is drawn by chance:
the same body gives the same curves.

Deviation from the paper: a step costs its length over the square of the distance to the surface [ours], which keeps to
the middle of thin limbs as well as of thick ones.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import networkx as nx
import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from stages.errors import BadInput
from stages.skeletons.reference_mesh import enclosed

Array = np.ndarray[Any, Any]

MOST_ALONG, FEWEST_ALONG = 112, 48
"""Voxels along the longest side."""
MOST_VOXELS = 60_000
"""That a body may fill: thick ones have larger voxels."""
MOST_OF_IT = 0.6
"""Of what is filled, in one piece; with less there are several bodies."""
CRUMB = 0.01
"""A piece apart that fills less than this share is left out."""
NEAR, SAME = 0.04, 0.06
"""Pieces this near to the body, over its diagonal, are part of it, and so are those farther away that have a partner
where the mirror shows them. [ours]"""
FIELD = "A field suits it better: animus3d distill without --motion skeleton."
MARGIN = 2
"""Empty voxels around the body."""
AROUND = (1.4, 2.0)
"""A path is done with what lies within this many times its distance to the surface, and so many voxels more."""
JOINS = 0.8
"""A path that comes this near to another, in distances to the surface, joins it: two do not run side by side."""
MOST_PATHS = 200
SMOOTH = 5
"""Points over which a curve is smoothed; a path through voxels is jagged."""


def curve_skeleton(places: Array, triangles: Array, mirrored: Callable[[Array], Array] | None = None) -> nx.Graph:
    """The tree of a welded surface ``places`` [U, 3], ``triangles`` [F, 3].

    Its nodes have ``at`` [3], ``radius``, how far the surface is from there, and ``share``, how much of the body's
    volume is nearest to them; tips have an ``end`` [3], the middle of the limb's end. Parts of the surface may stand in
    each other; those that stand apart, as a robot's arms may, hang on what is nearest: where they nearly touch it, or
    where ``mirrored``, which shows points [..., 3] on the body's other side, finds a partner there.

    Raises ``BadInput``: the surface is in several pieces, none of which is most of it.
    """
    filled, origin, step = solid(places, triangles, mirrored)
    depth = ndimage.distance_transform_edt(filled)
    cells = np.argwhere(filled)
    depths = depth[filled]
    graph = _steps(filled, cells)
    tree = _teasar(graph, cells, depths)
    if len(tree) < 2:
        raise BadInput("The surface is a point or a ball: there is nothing to bend.", FIELD)
    _smooth(tree)
    _ends(tree, cells, depths)
    nodes = list(tree)
    at = np.array([tree.nodes[node]["at"] for node in nodes])
    nearest = cKDTree(at).query(cells)[1]
    shares = np.bincount(nearest, minlength=len(nodes)) / len(cells)
    for node, share in zip(nodes, shares, strict=True):
        values = tree.nodes[node]
        values.update(at=origin + step * values["at"], radius=step * float(depths[node]), share=float(share))
        if "end" in values:
            values["end"] = origin + step * values["end"]
    return tree


def solid(
    places: Array, triangles: Array, mirrored: Callable[[Array], Array] | None = None
) -> tuple[Array, Array, float]:
    """The voxels [X, Y, Z] that a body fills, in one piece, the centre [3] of voxel 0, 0, 0 and their size.

    Raises ``BadInput``: the largest piece is not most of it.
    """
    filled, origin, step = _filled(places, triangles, FEWEST_ALONG)
    along = FEWEST_ALONG * (MOST_VOXELS / filled.sum()) ** (1 / 3)
    filled, origin, step = _filled(places, triangles, min(max(FEWEST_ALONG, along), MOST_ALONG))
    parts, _ = ndimage.label(filled, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.reshape(-1))[1:]
    if sizes.max() < MOST_OF_IT * sizes.sum():
        raise BadInput(
            f"The surface is {len(sizes)} separate pieces, none of which is most of it.",
            "A skeleton needs one body: join the pieces, or animate with a field (distill without --motion skeleton).",
        )
    show = (lambda points: (mirrored(origin + step * points) - origin) / step) if mirrored is not None else None
    diagonal = float(np.linalg.norm(np.ptp(places, axis=0))) / step
    return _joined(parts, sizes, show, diagonal), origin, step


def _joined(parts: Array, sizes: Array, mirrored: Callable[[Array], Array] | None, diagonal: float) -> Array:
    """The largest of the ``parts`` [X, Y, Z], numbered from 1, and the others that belong to it, the nearest first,
    each by a bridge where it comes nearest. ``mirrored`` and ``diagonal`` are in voxels."""
    body = parts == 1 + sizes.argmax()
    large = [np.argwhere(parts == 1 + part) for part in np.flatnonzero(sizes >= CRUMB * sizes.sum())]
    apart = [cells for cells in large if not body[tuple(cells[0])]]
    middles = np.array([cells.mean(axis=0) for cells in apart]).reshape(-1, 3)
    paired = np.zeros(len(apart), bool)
    if mirrored is not None and len(apart):
        paired = cKDTree(middles).query(mirrored(middles))[0] <= SAME * diagonal
    waiting = list(range(len(apart)))
    while waiting:
        cells = np.argwhere(body)
        lookup = cKDTree(cells)
        found = {k: lookup.query(apart[k]) for k in waiting}
        nearest = min(waiting, key=lambda k: float(found[k][0].min()))
        waiting.remove(nearest)
        away, onto = found[nearest]
        gap = float(away.min())
        if not paired[nearest] and gap > NEAR * diagonal:
            continue
        piece = apart[nearest]
        steps = np.linspace(piece[away.argmin()], cells[onto[away.argmin()]], 2 * int(np.ceil(gap)) + 1)
        bridge = np.zeros_like(body)
        bridge[tuple(np.round(steps).astype(np.int64).T)] = True
        body |= ndimage.binary_dilation(bridge, np.ones((3, 3, 3)))
        body[tuple(piece.T)] = True
    return body


def _filled(places: Array, triangles: Array, along: float) -> tuple[Array, Array, float]:
    """The voxels that a body fills, ``along`` of them on its longest side. Sheets have no inside: what they touch
    counts. What is enclosed counts too, so a surface may have holes or face inwards."""
    step = float(np.ptp(places, axis=0).max()) / along
    origin = places.min(axis=0) - MARGIN * step
    shape = tuple(np.ceil(np.ptp(places, axis=0) / step).astype(int) + 2 * MARGIN + 1)
    return enclosed(_touched(places, triangles, origin, step, shape)), origin, step


def _touched(places: Array, triangles: Array, origin: Array, step: float, shape: tuple[int, ...]) -> Array:
    """The voxels in which the surface lies: its triangles are split until they are smaller than voxels."""
    filled = np.zeros(shape, bool)
    corners = places[triangles]  # [F, 3, 3]
    while len(corners):
        points = np.concatenate([corners.mean(axis=1), corners.reshape(-1, 3)])
        filled[tuple(np.round((points - origin) / step).astype(np.int64).T)] = True
        middles = 0.5 * (corners + np.roll(corners, -1, axis=1))
        large = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2).max(axis=1) > step
        (a, b, c), (ab, bc, ca) = corners[large].transpose(1, 0, 2), middles[large].transpose(1, 0, 2)
        corners = np.concatenate(
            [np.stack(part, axis=1) for part in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
        )
    return filled


def _steps(filled: Array, cells: Array) -> coo_matrix:
    """Lengths of the steps between neighbouring filled voxels [X, X], in voxels."""
    number = np.full(filled.shape, -1)
    number[filled] = np.arange(len(cells))
    rows, columns, lengths = [], [], []
    for direction in product((-1, 0, 1), repeat=3):
        if direction > (0, 0, 0):
            onward = number[tuple((cells + direction).T)]  # the margin keeps this within the grid
            here = np.flatnonzero(onward >= 0)
            rows.append(here)
            columns.append(onward[here])
            lengths.append(np.full(len(here), float(np.linalg.norm(direction))))
    size = (len(cells), len(cells))
    return coo_matrix((np.concatenate(lengths), (np.concatenate(rows), np.concatenate(columns))), size)


def _teasar(steps: coo_matrix, cells: Array, depths: Array) -> nx.Graph:
    """The tree of paths; its nodes are numbers of voxels, ``at`` is in voxels."""
    source = int(depths.argmax())
    along = 0.5 * (depths[steps.row] + depths[steps.col])
    costs = coo_matrix((steps.data / along**2, (steps.row, steps.col)), steps.shape).tocsr()
    away = dijkstra(steps.tocsr(), directed=False, indices=source)
    before = dijkstra(costs, directed=False, indices=source, return_predecessors=True)[1]
    lookup = cKDTree(cells)
    left = np.isfinite(away)
    joins = np.full(len(cells), -1)  # of each voxel the point of the tree to which a path that comes by is joined
    joins[source] = source
    tree = nx.Graph()
    tree.add_node(source, at=cells[source].astype(np.float64))
    for _ in range(MOST_PATHS):
        if not left.any():
            break
        node = int(np.where(left, away, -1.0).argmax())
        path = [node]
        while joins[path[-1]] < 0:
            path.append(int(before[path[-1]]))
        if joins[path[-1]] != path[-1]:
            path.append(int(joins[path[-1]]))
        for voxel in path[:-1]:
            tree.add_node(voxel, at=cells[voxel].astype(np.float64))
        nx.add_path(tree, path)
        _claim(joins, lookup, cells, path, JOINS * depths[path] + 1.0)
        times, more = AROUND
        for own in lookup.query_ball_point(cells[path], times * depths[path] + more):
            left[own] = False
        left[path] = False
    return tree


def _claim(joins: Array, lookup: cKDTree, cells: Array, path: list[int], reach: Array) -> None:
    """Give the voxels within ``reach`` [P] of a new path's points to these, unless they have a point already."""
    near = lookup.query_ball_point(cells[path], reach)
    around = np.unique(np.concatenate([np.array(own, dtype=np.int64) for own in near]))
    free = around[joins[around] < 0]
    joins[free] = np.array(path)[cKDTree(cells[path]).query(cells[free])[1]]
    joins[path] = path


def _ends(tree: nx.Graph, cells: Array, depths: Array) -> None:
    """Give each tip, a corner of a hoof as a rule, its ``end``: the middle of the limb's end."""
    lookup = cKDTree(cells)
    for leaf in [node for node in tree if tree.degree[node] == 1]:
        path, reach = [leaf], float(depths[leaf])
        while len(path) < 2.0 * reach + 2.0:  # as far as the limb is thick
            onward = [node for node in tree[path[-1]] if node not in path[-2:]]
            if len(onward) != 1:
                break
            path.append(onward[0])
            reach = max(reach, float(depths[path[-1]]))
        own = lookup.query_ball_point(cells[leaf], reach + 1.0)
        tree.nodes[leaf]["end"] = cells[own].mean(axis=0)


def _smooth(tree: nx.Graph) -> None:
    """Take the jags out of the curves; tips stay where they are."""
    for _ in range(SMOOTH):
        at = {node: tree.nodes[node]["at"] for node in tree}
        for node in tree:
            if tree.degree[node] > 1:
                around = np.mean([at[other] for other in tree[node]], axis=0)
                tree.nodes[node]["at"] = 0.5 * (at[node] + around)
