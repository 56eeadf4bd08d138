"""What Blender sees of a ``.glb``: run by a Python that has ``bpy`` (PyPI), see ``test_other_programs.py``.

python blender_reads.py FILE.glb ANIMATION FPS FRAMES OUT.npz
"""

from __future__ import annotations

import sys

import bpy
import numpy as np

FROM_BLENDER = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], float)
"""Blender's axes, z up, to those of glTF."""


def main(path: str, animation: str, fps: int, frames: int, out: str) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps = fps
    bpy.ops.import_scene.gltf(filepath=path)
    armature = next(thing for thing in scene.objects if thing.type == "ARMATURE")
    meshes = [thing for thing in scene.objects if any(modifier.type == "ARMATURE" for modifier in thing.modifiers)]
    action = bpy.data.actions[animation]
    armature.animation_data_create()
    for track in armature.animation_data.nla_tracks:
        track.mute = True
    armature.animation_data.action = action
    armature.animation_data.action_slot = action.slots[0]
    vertices, poses = [], []
    for frame in range(frames):
        scene.frame_set(frame)
        graph = bpy.context.evaluated_depsgraph_get()
        found = []
        for thing in meshes:
            moved = thing.evaluated_get(graph)
            world = FROM_BLENDER @ np.array(moved.matrix_world)
            points = np.array([vertex.co for vertex in moved.to_mesh().vertices])
            found.append(points @ world[:3, :3].T + world[:3, 3])
        vertices.append(np.concatenate(found))
        world = FROM_BLENDER @ np.array(armature.evaluated_get(graph).matrix_world)
        poses.append([world @ np.array(bone.matrix) for bone in armature.evaluated_get(graph).pose.bones])
    np.savez(
        out,
        vertices=np.array(vertices),  # [T, V, 3]
        poses=np.array(poses),  # [T, B, 4, 4] world of each bone
        bones=np.array([bone.name for bone in armature.pose.bones]),
        range=np.array(action.frame_range),
        actions=np.array(sorted(action.name for action in bpy.data.actions)),
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
