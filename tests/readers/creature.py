"""An animal of boxes and balls that looks different from every side, with every kind of colour that glTF has: what it
is made of is known here, without a reader of files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from PIL import Image

from stages.skeletons.write_glb import glb_bytes

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A node of the file.

    Args:
        vertices: [V, 3] in its own frame.
        faces: [F, 3].
        world_node: [4, 4].
        factor: of its material, linear.
        colors: [V, 3] of its vertices, linear; None: it has none.
        textured: whether the upper half of ``picture`` is on it.
    """

    name: str
    vertices: Array
    faces: Array
    world_node: Array
    factor: tuple[float, float, float] = (1.0, 1.0, 1.0)
    colors: Array | None = None
    textured: bool = False

    @property
    def placed(self) -> Array:
        """The vertices in the world, [V, 3]."""
        return np.asarray(self.vertices @ self.world_node[:3, :3].T + self.world_node[:3, 3])

    @property
    def color(self) -> Array:
        """Mean of its vertices, [3], linear."""
        shade = np.ones(3) if self.colors is None else self.colors.mean(axis=0)
        if self.textured:
            shade = shade * linear(np.array(BLUE) / 255.0)
        return np.asarray(shade * self.factor)


BLUE, RED = (40, 90, 220), (230, 20, 30)


def linear(display: Array) -> Array:
    """Light of colours as displayed (IEC 61966-2-1)."""
    return np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)


def picture() -> bytes:
    """A PNG of 16 x 16: its upper half blue, its lower half red."""
    pixels = np.empty((16, 16, 3), np.uint8)
    pixels[:8], pixels[8:] = BLUE, RED
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _box(extents: tuple[float, float, float], place: tuple[float, float, float]) -> tuple[Array, Array]:
    box = trimesh.creation.box(extents).subdivide()
    return np.array(box.vertices) + place, np.array(box.faces)


def _node(place: tuple[float, float, float], angle: float, scale: tuple[float, float, float]) -> Array:
    """A turn about a slanted axis and a stretch, at ``place``."""
    world = trimesh.transformations.rotation_matrix(angle, (0.3, 1.0, 0.2))
    world[:3, :3] = world[:3, :3] @ np.diag(scale)
    world[:3, 3] = place
    return np.asarray(world)


def parts() -> list[Part]:
    """It stands on four legs, looks to +z, and has one ear, on its left, which is +x."""
    still = np.eye(4)
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.35)
    round_, faces = np.array(ball.vertices), np.array(ball.faces)
    greens = np.stack([0.1 + 0.0 * round_[:, 0], 0.5 + round_[:, 1], 0.15 + 0.2 * (round_[:, 2] + 0.35)], axis=1)
    made = [
        Part(name="body", **_of(_box((0.6, 0.6, 2.0), (0, 0.9, 0))), world_node=still, factor=(0.6, 0.1, 0.05)),
        Part(
            name="head", vertices=round_, faces=faces, world_node=_node((0, 1.7, 1.1), 0.4, (1, 1.1, 1.4)),
            colors=greens,
        ),
        Part(
            name="ear", vertices=round_, faces=faces, world_node=_node((0.35, 2.2, 0.9), 0.9, (0.3, 1.0, 0.2)),
            factor=(0.9, 0.8, 0.2), colors=0.6 + 0.0 * round_,
        ),
        Part(name="tail", **_of(_box((0.2, 0.9, 0.2), (0, 1.3, -1.05))), world_node=still, textured=True),
    ]  # fmt: skip
    legs = _box((0.2, 0.7, 0.2), (0, 0.35, 0))
    for name, x, z in (("leg_fl", 0.17, 0.8), ("leg_fr", -0.17, 0.8), ("leg_bl", 0.17, -0.8), ("leg_br", -0.17, -0.8)):
        made.append(Part(name=name, **_of(legs), world_node=_node((x, 0, z), 0.0, (1, 1, 1)), factor=(0.2, 0.2, 0.5)))
    return made


def _of(mesh: tuple[Array, Array]) -> dict[str, Array]:
    return {"vertices": mesh[0], "faces": mesh[1]}


def creature_glb() -> bytes:
    """The file, written by hand."""
    blob, views, accessors = bytearray(), [], []

    def add(data: bytes, target: int | None) -> int:
        blob.extend(b"\0" * (-len(blob) % 4))
        views.append(
            {"buffer": 0, "byteOffset": len(blob), "byteLength": len(data)} | ({"target": target} if target else {})
        )
        blob.extend(data)
        return len(views) - 1

    def accessor(values: Array, kind: str, target: int, **more: Any) -> int:
        component = 5126 if values.dtype.kind == "f" else 5125
        data = values.astype("<f4" if component == 5126 else "<u4").tobytes()
        accessors.append(
            {"bufferView": add(data, target), "componentType": component, "count": len(values), "type": kind} | more
        )
        return len(accessors) - 1

    nodes, meshes, materials = [], [], []
    image = add(picture(), None)
    for number, part in enumerate(parts()):
        vertices = part.vertices.astype(np.float32)
        normals = np.array(trimesh.Trimesh(part.vertices, part.faces, process=False).vertex_normals)
        bounds = {"min": vertices.min(axis=0).tolist(), "max": vertices.max(axis=0).tolist()}
        attributes = {
            "POSITION": accessor(vertices, "VEC3", 34962, **bounds),
            "NORMAL": accessor(normals, "VEC3", 34962),
        }
        if part.colors is not None:
            attributes["COLOR_0"] = accessor(part.colors, "VEC3", 34962)
        shading: dict[str, Any] = {"baseColorFactor": [*part.factor, 1.0], "metallicFactor": 0.0}
        if part.textured:  # the upper part of the picture: v grows downwards in glTF
            uv = 0.1 + 0.3 * (vertices[:, :2] - vertices.min(0)[:2]) / np.ptp(vertices, axis=0)[:2]
            attributes["TEXCOORD_0"] = accessor(uv, "VEC2", 34962)
            shading["baseColorTexture"] = {"index": 0}
        materials.append({"name": part.name, "pbrMetallicRoughness": shading})
        indices = accessor(part.faces.reshape(-1).astype(np.uint32), "SCALAR", 34963)
        meshes.append({"primitives": [{"attributes": attributes, "indices": indices, "material": number}]})
        nodes.append({"name": part.name, "mesh": number, "matrix": part.world_node.T.reshape(-1).tolist()})
    content = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes)))}],
        "nodes": nodes, "meshes": meshes, "materials": materials, "accessors": accessors, "bufferViews": views,
        "images": [{"bufferView": image, "mimeType": "image/png"}],
        "textures": [{"source": 0}],
        "buffers": [{"byteLength": len(blob)}],
    }  # fmt: skip
    return glb_bytes(content, bytes(blob))
