"""USD, read by OpenUSD itself and checked by all of its validators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.readers.judge import Figures
from tests.readers.outputs import FRAMES, Array
from tests.readers.programs import NotInstalled
from tests.readers.rows import Outputs
from tests.readers.splat_rows import truth
from tests.readers.splats import SH0, Splats, covariances, judge_splats

PLAIN = 1
"""Harmonics of degree 0 of a Gaussian."""


def usd_version() -> str:
    """Of usd-core."""
    from importlib.metadata import version

    return version("usd-core")


def opened(path: Path) -> tuple[Any, float]:
    """The stage, which has y up, and how many complaints validators have."""
    try:
        from pxr import Usd, UsdGeom, UsdValidation
    except ImportError:
        raise NotInstalled("run: pip install 'animus3d[usd]'") from None
    stage = Usd.Stage.Open(str(path))
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    assert len(validators) > 20
    return stage, float(len(UsdValidation.ValidationContext(validators).Validate(stage)))


def openusd_splat(outputs: Outputs) -> Figures:
    """The fields of the schema for Gaussians."""
    stage, issues = opened(outputs.usd)
    (prim,) = stage.GetDefaultPrim().GetChildren()

    def values(name: str, frame: int) -> Array:
        return np.array(prim.GetAttribute(name).Get(frame), float)

    frames = []
    for frame in range(FRAMES):
        turns = [[q.GetReal(), *q.GetImaginary()] for q in prim.GetAttribute("orientations").Get(frame)]
        opacities = values("opacities", frame)
        sh = values("radiance:sphericalHarmonicsCoefficients", frame).reshape(len(opacities), -1, 3)
        frames.append(
            Splats(
                means=values("positions", frame),
                covariances=covariances(np.array(turns), values("scales", frame)),
                opacities=opacities,
                colors=0.5 + SH0 * sh[:, 0],
                harmonics=sh[:, PLAIN:],
            )
        )
    return judge_splats(frames, truth(outputs)) | {"issues": issues}


def openusd_skel(path: Path) -> tuple[Array, Array, float]:
    """The points of the skinned mesh [T, V, 3] by UsdSkel, the mean of its colours [3], and complaints."""
    stage, issues = opened(path)
    from pxr import Usd, UsdGeom, UsdSkel

    root, skeleton = UsdSkel.Root(stage.GetDefaultPrim()), UsdSkel.Skeleton.Get(stage, "/Asset/Skeleton")
    mesh, cache = UsdGeom.Mesh.Get(stage, "/Asset/Mesh"), UsdSkel.Cache()
    cache.Populate(root, Usd.PrimDefaultPredicate)
    skeletons, skins = cache.GetSkelQuery(skeleton), cache.GetSkinningQuery(mesh.GetPrim())
    moved = []
    for frame in range(FRAMES):
        points = mesh.GetPointsAttr().Get()
        assert skins.ComputeSkinnedPoints(skeletons.ComputeSkinningTransforms(frame), points, frame)
        moved.append(np.array(points, float))
    return np.stack(moved), np.array(mesh.GetDisplayColorPrimvar().Get()).mean(axis=0), issues
