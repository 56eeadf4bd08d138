"""A rig, its skin and its motions as USD (UsdSkel): a skinned mesh, a skeleton, and one ``SkelAnimation`` a motion.

``/Asset`` is a ``SkelRoot`` with ``Mesh``, ``Skeleton``, and under that the motions, of which it plays the first.
Joints have the axes of the world at rest, as in a rig, so that bind and rest transforms are shifts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.errors import BadInput, NotAvailable
from stages.exporting.joint_tracks import SkinnedClip, check_clips, local_poses
from stages.exporting.skinned_stand_in import influences, joint_nodes, joint_worlds
from stages.meshes.gltf import Array
from stages.meshes.paint import linear_light
from stages.meshes.surface import vertex_normals
from stages.skeletons.rig import Joints, Rig
from stages.skeletons.skeleton import Pose, skin


def write_usd_skel(
    path: Path,
    rig: Rig,
    colors: Tensor,
    clips: Sequence[SkinnedClip],
    *,
    title: str = "",
    credit: str = "",
) -> None:
    """Write ``path`` (.usd and .usdc binary, .usda text), y up, one time code a frame; see ``usd_skel_stage``."""
    stage = usd_skel_stage(rig, colors, clips, title=title, credit=credit)  # its layer is gone when it is
    stage.GetRootLayer().Export(str(path))


def usd_skel_stage(
    rig: Rig,
    colors: Tensor,
    clips: Sequence[SkinnedClip],
    *,
    title: str = "",
    credit: str = "",
) -> Any:
    """A ``Usd.Stage`` in memory.

    Args:
        rig: in the units of the asset's file.
        colors: [V, 3] of the vertices, as displayed (sRGB), in [0, 1].
        clips: the motions, all with the same frames a second.
        title: what is shown; with ``credit``, who made it, the documentation of the file.

    Raises:
        BadInput: no clips, not of this rig, or with different frames a second.
        NotAvailable: usd-core is not installed.
    """
    Gf, Tf, Usd, UsdGeom, UsdSkel, Vt = _pxr()
    check_clips(clips, len(rig.joints))
    if len({clip.fps for clip in clips}) > 1:
        raise BadInput("A USD file has one number of frames a second, and these motions differ in it.")
    assert colors.shape == (len(rig.skin.vertices), 3)
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetStartTimeCode(0)
    stage.SetEndTimeCode(max(len(clip.times) for clip in clips) - 1)
    stage.SetTimeCodesPerSecond(clips[0].fps)
    stage.SetFramesPerSecond(clips[0].fps)
    stage.GetRootLayer().documentation = " - ".join(text for text in (title, credit) if text)
    root = UsdSkel.Root.Define(stage, "/Asset")
    stage.SetDefaultPrim(root.GetPrim())
    _write_extents(root.CreateExtentAttr(), rig, clips[0], Vt)

    skeleton = UsdSkel.Skeleton.Define(stage, "/Asset/Skeleton")
    paths = joint_paths(rig.joints, Tf.MakeValidIdentifier)
    nodes = joint_nodes(rig.joints)
    skeleton.CreateJointsAttr(Vt.TokenArray(paths))
    skeleton.CreateJointNamesAttr(Vt.TokenArray(list(rig.joints.names)))
    skeleton.CreateBindTransformsAttr(_shifts(rig.joints.heads, Gf, Vt))
    skeleton.CreateRestTransformsAttr(_shifts(nodes.own.translations[0], Gf, Vt))

    taken: list[str] = []
    for clip in clips:
        taken.append(_free(Tf.MakeValidIdentifier(clip.name), taken))
        animation = UsdSkel.Animation.Define(stage, f"/Asset/Skeleton/{taken[-1]}")
        animation.CreateJointsAttr(Vt.TokenArray(paths))
        _write_motion(animation, local_poses(nodes, joint_worlds(rig.joints, clip)), Vt)
    binding = UsdSkel.BindingAPI.Apply(skeleton.GetPrim())
    binding.CreateAnimationSourceRel().SetTargets([f"/Asset/Skeleton/{taken[0]}"])

    mesh = UsdGeom.Mesh.Define(stage, "/Asset/Mesh")
    _write_mesh(mesh, rig, colors, UsdGeom, Vt)
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    binding.CreateSkeletonRel().SetTargets(["/Asset/Skeleton"])
    which, shares = influences(rig.skin.weights)
    count = which.shape[1]
    binding.CreateJointIndicesPrimvar(False, count).Set(Vt.IntArray.FromNumpy(which.int().reshape(-1).numpy()))
    binding.CreateJointWeightsPrimvar(False, count).Set(Vt.FloatArray.FromNumpy(_numpy(shares.reshape(-1))))
    binding.CreateGeomBindTransformAttr(Gf.Matrix4d(1.0))
    return stage


def joint_paths(joints: Joints, valid: Any) -> list[str]:
    """Each joint as UsdSkel names it, from the root on: "hip/spine/neck". ``valid`` makes a name an identifier. No two
    last names are alike either: programs such as Blender know joints by these."""
    names: list[str] = []
    paths: list[str] = []
    for name, parent in zip(joints.names, joints.parents, strict=True):
        names.append(_free(valid(name), names))
        paths.append(names[-1] if parent < 0 else f"{paths[parent]}/{names[-1]}")
    return paths


def _free(name: str, taken: Sequence[str]) -> str:
    """``name``, with a number when it is ``taken``."""
    free, number = name, 2
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def _shifts(points: Tensor, Gf: Any, Vt: Any) -> Any:
    """Matrices that shift by ``points`` [J, 3]; USD multiplies rows from the left."""
    rows = points.detach().cpu().double().tolist()
    return Vt.Matrix4dArray([Gf.Matrix4d(1.0).SetTranslate(Gf.Vec3d(*row)) for row in rows])


def _write_motion(animation: Any, local: Pose, Vt: Any) -> None:
    """What the joints do, relative to their parents; what no joint does in any frame is written once."""
    translations, rotations = animation.CreateTranslationsAttr(), animation.CreateRotationsAttr()
    animation.CreateScalesAttr(Vt.Vec3hArray.FromNumpy(_numpy(local.scales[0]).astype(np.float16)))
    for frame in range(len(local.rotations)):
        xyzw = _numpy(local.rotations[frame].roll(-1, dims=-1))
        rotations.Set(Vt.QuatfArray.FromNumpy(xyzw), frame)
        translations.Set(Vt.Vec3fArray.FromNumpy(_numpy(local.translations[frame])), frame)


def _write_mesh(mesh: Any, rig: Rig, colors: Tensor, UsdGeom: Any, Vt: Any) -> None:
    """The skin at rest, with normals and colours in linear light."""
    vertices, faces = rig.skin.vertices.detach().cpu().float(), rig.skin.faces.detach().cpu()
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(_numpy(vertices)))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(faces), 3, dtype=np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(faces.int().reshape(-1).numpy()))
    mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(_numpy(vertex_normals(vertices, faces))))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateDoubleSidedAttr(True)
    mesh.CreateExtentAttr(_corners(vertices, Vt))
    primvar = mesh.CreateDisplayColorPrimvar(UsdGeom.Tokens.vertex)
    primvar.Set(Vt.Vec3fArray.FromNumpy(_numpy(linear_light(colors.clamp(0.0, 1.0)))))


def _write_extents(attribute: Any, rig: Rig, clip: SkinnedClip, Vt: Any) -> None:
    """The box of the moved skin in every frame."""
    vertices, weights = rig.skin.vertices.detach().cpu().double(), rig.skin.weights.detach().cpu().double()
    for frame, matrices in enumerate(clip.keyed):
        attribute.Set(_corners(skin(vertices, weights, matrices[None])[0], Vt), frame)


def _corners(points: Tensor, Vt: Any) -> Any:
    return Vt.Vec3fArray.FromNumpy(_numpy(torch.stack([points.amin(dim=0), points.amax(dim=0)])))


def _pxr() -> tuple[Any, ...]:
    """The modules of usd-core that are needed."""
    try:
        from pxr import Gf, Tf, Usd, UsdGeom, UsdSkel, Vt
    except ImportError:
        advice = "Install it: pip install 'animus3d[usd]'"
        raise NotAvailable("USD files need the package usd-core, which is not installed.", advice) from None
    return Gf, Tf, Usd, UsdGeom, UsdSkel, Vt


def _numpy(values: Tensor) -> Array:
    return np.ascontiguousarray(values.detach().cpu().float().numpy())
