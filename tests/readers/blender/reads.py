"""What Blender sees of a file, in its own axes (z up): run by a Python that has ``bpy`` (PyPI).

python reads.py FILE.{glb,bvh,usdc} FPS FRAMES -> one JSON: meshes with vertices and colours, bones with heads
"""

from __future__ import annotations

import json
import sys
from typing import Any

import bpy
import numpy as np


def main(path: str, fps: int, frames: int) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps = fps
    first = 0
    if path.endswith(".bvh"):
        first = 1  # it cannot begin earlier
        bpy.ops.import_anim.bvh(filepath=path, frame_start=first, axis_forward="-Z", axis_up="Y")
    elif path.endswith(".glb"):
        bpy.ops.import_scene.gltf(filepath=path)
    else:
        bpy.ops.wm.usd_import(filepath=path)
    used = {slot.material for thing in scene.objects for slot in thing.material_slots}
    meshes = [thing for thing in scene.objects if thing.type == "MESH" and (thing.material_slots or not used)]
    bones = [(thing, bone.name) for thing in scene.objects if thing.type == "ARMATURE" for bone in thing.pose.bones]
    moments, heads = [], []
    for frame in range(frames):
        scene.frame_set(first + frame)
        graph = bpy.context.evaluated_depsgraph_get()
        moments.append([placed(thing.evaluated_get(graph)) for thing in meshes])
        heads.append([head(thing.evaluated_get(graph), name) for thing, name in bones])
    said = {
        "version": bpy.app.version_string,
        "up": "z",
        "actions": sorted(action.name for action in bpy.data.actions),
        "meshes": [
            {"name": thing.name, "vertices": [at[k] for at in moments], "look": look(thing)}
            for k, thing in enumerate(meshes)
        ],
        "bones": {name: [at[k] for at in heads] for k, (_, name) in enumerate(bones)},
    }
    print(json.dumps(said))


def placed(thing: Any) -> list[float]:
    """Moved vertices in the world, flat."""
    points = np.array([vertex.co for vertex in thing.to_mesh().vertices])
    world = np.array(thing.matrix_world)
    return (points @ world[:3, :3].T + world[:3, 3]).reshape(-1).tolist()


def head(thing: Any, bone: str) -> list[float]:
    """Where a bone begins in the world."""
    return list(thing.matrix_world @ thing.pose.bones[bone].head)


def look(thing: Any) -> dict[str, Any]:
    """The mean of the base colour over its corners, linear: of its material, or of its vertices where it has none."""
    if not thing.material_slots:
        return {"factor": vertex_color(thing, None), "vertexColor": None, "picture": None}
    tree = thing.material_slots[0].material.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    factor = value(shader.inputs["Base Color"], thing)
    return {"factor": np.asarray(factor).tolist(), "vertexColor": None, "picture": None}


def value(socket: Any, thing: Any) -> Any:
    """What comes into a socket: a constant, a picture, the vertices' colours, or a product of these."""
    if not socket.is_linked:
        return np.array(socket.default_value[:3])
    node = socket.links[0].from_node
    if node.type == "TEX_IMAGE":
        return of_picture(node.image, thing)
    if node.type in ("VERTEX_COLOR", "ATTRIBUTE"):
        return np.array(vertex_color(thing, getattr(node, "layer_name", "") or getattr(node, "attribute_name", "")))
    if node.type == "MIX" and node.blend_type == "MULTIPLY":
        sockets = [one for one in node.inputs if one.type == "RGBA"]
        return value(sockets[0], thing) * value(sockets[1], thing)
    raise RuntimeError(f"a node {node.type}")


def vertex_color(thing: Any, name: str | None) -> list[float]:
    """The mean of an attribute, or of the only one."""
    attribute = thing.data.color_attributes[name] if name else thing.data.color_attributes[0]
    colors = np.array([one.color[:3] for one in attribute.data])
    if attribute.domain == "CORNER":  # as many as corners: the mean over vertices is asked for
        vertices = np.array([loop.vertex_index for loop in thing.data.loops])
        colors = colors[np.unique(vertices, return_index=True)[1]]
    return colors.mean(axis=0).tolist()


def of_picture(image: Any, thing: Any) -> Any:
    """The mean of a picture, whose rows go upwards, at the corners of the mesh."""
    width, height = image.size
    pixels = np.array(image.pixels).reshape(height, width, -1)[..., :3]
    if image.colorspace_settings.name == "sRGB":
        pixels = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
    uv = np.array([one.uv for one in thing.data.uv_layers[0].data])
    return pixels[(uv[:, 1] * height).astype(int) % height, (uv[:, 0] * width).astype(int) % width].mean(axis=0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
