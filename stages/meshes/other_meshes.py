"""Mesh files other than glTF, taken apart: OBJ by our own reader; PLY, STL and others by trimesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages.meshes.obj import read_obj
from stages.meshes.paint import Part
from stages.meshes.plain_gltf import far_away, said_far


def read_parts(path: Path) -> tuple[list[Part], list[str], list[str]]:
    """The parts of a mesh file that is not glTF; what it names and cannot be used; sentences about how it was read.

    Vertices are in double and near the origin: what lies too far away for single precision is moved there, and said.
    Raises whatever the readers do.
    """
    if path.suffix.lower() == ".obj":
        parts, unused = read_obj(path)
    else:
        from stages.meshes.by_trimesh import read_by_trimesh

        parts, unused = read_by_trimesh(path)
    points = [vertices for vertices, _, _ in parts if len(vertices)]
    shift = far_away(np.concatenate(points)) if points else None
    if shift is None:
        return parts, unused, []
    return [(vertices - shift, faces, paint) for vertices, faces, paint in parts], unused, [said_far(path, shift)]
