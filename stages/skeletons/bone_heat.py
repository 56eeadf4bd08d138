"""Skin weights from joints and a surface: bone heat (Baran and Popovic 2007, section 4).

Bone ``i`` is warm, the others are cold, and the surface conducts. The weights of bone ``i`` solve
``(L + H) w_i = H p_i``. ``L`` is the Laplacian of the surface. ``p_i`` is 1 where ``i`` is the nearest bone that the
vertex sees through the inside of the body. ``H = c / d^2``, ``d`` the distance to that bone; 0 where it sees none.

Deviations from the paper: ``c`` is 2 [ours: nearer the weights of artists than its 1]; the Laplacian is that of Sharp
and Crane 2020, which copes with meshes that are not manifold; what is inside is where the winding number says so.
"""

from __future__ import annotations

from typing import Any

import igl
import numpy as np
import robust_laplacian
import scipy.sparse
import torch
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree
from torch import Tensor

from stages.errors import BadInput
from stages.skeletons.rig import Joints

Array = np.ndarray[Any, Any]

CONDUCTION = 2.0
"""``c``."""
SAMPLES = 7
"""Points between a vertex and a bone that must be inside for the one to see the other."""
SMALLEST = 1e-3
"""Weights below this are none."""
TOUCH = 1e-4
"""A bone this near to the surface, over the diagonal, touches it, as the tips of limbs do."""
TIE = 1e-4
"""Bones whose distances differ by less than this share are equally near: both ends of a joint, as a rule."""


def bone_heat(vertices: Tensor, faces: Tensor, joints: Joints) -> Tensor:
    """Skin weights [V, J] of a surface ``vertices`` [V, 3], ``faces`` [F, 3]; rows sum to 1.

    A bone is the segment from a joint's head to its tail; a joint without length is a point. Vertices at one place
    count as one, so a mesh may be split along its hard edges. A part of the surface that sees no bone, such as an eye
    set into the head, follows the bones nearest to it.

    Raises:
        BadInput: there is no face, no joint, or a number that is not finite.
    """
    if not len(joints):
        raise BadInput("A rig needs a joint.", "Give at least one.")
    points, corners = checked_mesh(vertices, faces)
    heads, tails = (ends.detach().cpu().double().numpy() for ends in (joints.heads, joints.tails))
    if not (np.isfinite(heads).all() and np.isfinite(tails).all()):
        raise BadInput("A joint's place is not a finite number.", "Check the rig.")
    places, which, triangles = weld(points, corners)
    distances, nearest = _to_bones(places, heads, tails)  # [U, J], [U, J, 3]
    sees = _nearest_seen(places, triangles, distances, nearest)
    weights = _equilibrium(places, triangles, sees, distances)
    weights = _tidy(weights, distances)
    return torch.from_numpy(_everywhere(weights, places, points, which)).to(vertices.device, torch.float32)


def checked_mesh(vertices: Tensor, faces: Tensor) -> tuple[Array, Array]:
    """A mesh as arrays: float64 [V, 3], int64 [F, 3].

    Raises ``BadInput``: no face, a face that names no vertex, or a number that is not finite.
    """
    points, corners = vertices.detach().cpu().double().numpy(), faces.detach().cpu().numpy().astype(np.int64)
    if not len(corners):
        raise BadInput("The mesh has no face.", "Give one with a surface.")
    if not np.isfinite(points).all():
        raise BadInput("The mesh has a vertex that is not a finite number.", "Repair the file.")
    if corners.min() < 0 or corners.max() >= len(points):
        raise BadInput("The mesh has a face that names no vertex.", "Repair the file.")
    return points, corners


def weld(points: Array, corners: Array) -> tuple[Array, Array, Array]:
    """One vertex a place: places [U, 3], of each vertex its place [V] or -1, and the faces [F', 3] that have an area.

    Vertices of no face have no place.
    """
    size = float(np.linalg.norm(np.ptp(points[np.unique(corners)], axis=0))) or 1.0
    cells = np.round(points / (1e-6 * size)).astype(np.int64)
    _, first, which = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    which = which.reshape(-1)
    triangles = which[corners]
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (c != a)]
    if not len(triangles):
        raise BadInput("All faces of the mesh are without area.", "Give one with a surface.")
    used = np.unique(triangles)
    order = np.full(len(first), -1)
    order[used] = np.arange(len(used))
    return points[first[used]], order[which], order[triangles]


def _to_bones(places: Array, heads: Array, tails: Array) -> tuple[Array, Array]:
    """Distance [U, J] of each place to each bone, and the bone's point [U, J, 3] that is so near."""
    along = tails - heads
    length = np.maximum((along**2).sum(1), 1e-300)
    share = np.clip(((places[:, None] - heads) * along).sum(-1) / length, 0.0, 1.0)
    nearest = heads + share[..., None] * along
    return np.linalg.norm(places[:, None] - nearest, axis=-1), nearest


def _nearest_seen(places: Array, triangles: Array, distances: Array, nearest: Array) -> Array:
    """Of each place the bones [U, J] that are the nearest of those which it sees: one, more that are as near, or none.

    Bones are tried from the nearest on, so most places need few tries.
    """
    num, num_bones = distances.shape
    order = np.argsort(distances, axis=1, kind="stable")
    found = np.full(num, -1)
    for rank in range(num_bones):
        left = np.flatnonzero(found < 0)
        if not len(left):
            break
        bone = order[left, rank]
        seen = _inside_between(places[left], nearest[left, bone], places, triangles)
        found[left[seen]] = bone[seen]
    component = _components(len(places), triangles)
    blind = np.bincount(component, weights=found >= 0)[component] == 0
    found[blind] = order[blind, 0]
    reach = np.where(found >= 0, distances[np.arange(num), found] * (1.0 + TIE), -1.0)
    return np.asarray((distances <= reach[:, None]) & (distances >= reach[:, None] * (1.0 - 3 * TIE)))


def _inside_between(starts: Array, ends: Array, places: Array, triangles: Array) -> Array:
    """Whether [P] the points between ``starts`` [P, 3] on the surface and ``ends`` [P, 3] lie inside it.

    Either way round: a mesh whose faces look inwards has winding number -1 inside.
    """
    shares = (np.arange(SAMPLES) + 1.0) / (SAMPLES + 1.0)
    between = starts[:, None] + shares[:, None] * (ends - starts)[:, None]
    touches = np.linalg.norm(ends - starts, axis=1) <= TOUCH * float(np.linalg.norm(np.ptp(places, axis=0)))
    winding = igl.fast_winding_number(places, triangles, np.ascontiguousarray(between.reshape(-1, 3)))
    return np.asarray((np.abs(winding).reshape(-1, SAMPLES) > 0.5).all(axis=1) | touches)


def _components(num: int, triangles: Array) -> Array:
    """The connected part [U] of the surface to which each place belongs."""
    rows, columns = triangles.reshape(-1), np.roll(triangles, 1, axis=1).reshape(-1)
    graph = scipy.sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), (num, num))
    return np.asarray(connected_components(graph, directed=False)[1])


def _equilibrium(places: Array, triangles: Array, sees: Array, distances: Array) -> Array:
    """The weights [U, J] at which heat flows no more; one factorisation serves all bones."""
    laplacian, mass = robust_laplacian.mesh_laplacian(places, triangles)
    floor = TOUCH * float(np.linalg.norm(np.ptp(places, axis=0)))
    heat = np.where(sees, CONDUCTION / np.maximum(distances, floor) ** 2, 0.0)
    heat *= mass.diagonal()[:, None]
    system = (laplacian + scipy.sparse.diags(heat.sum(axis=1))).tocsc()
    solve = splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}).solve
    return np.asarray(solve(heat))


def _tidy(weights: Array, distances: Array) -> Array:
    """Without tiny weights, rows sum to 1. A row that came to nothing follows its nearest bone."""
    weights = np.where(np.isfinite(weights) & (weights >= SMALLEST), weights, 0.0)
    lost = weights.sum(axis=1) <= 0.0
    weights[lost, distances[lost].argmin(axis=1)] = 1.0
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _everywhere(weights: Array, places: Array, points: Array, which: Array) -> Array:
    """The weights [V, J] of all vertices from those of the places; a vertex of no face takes the nearest place's."""
    loose = which < 0
    if loose.any():
        which = which.copy()
        which[loose] = cKDTree(places).query(points[loose])[1]
    return np.asarray(weights[which])
