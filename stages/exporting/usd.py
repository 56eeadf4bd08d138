"""Animated USD: a ``ParticleField3DGaussianSplat`` with a time sample a frame (OpenUSD 26.03 and newer).

The schema's fields: ``positions``, ``orientations`` and linear ``scales`` for each frame, ``opacities`` once, and
``radiance:sphericalHarmonicsCoefficients`` Gaussian by Gaussian in the order of Kerbl et al. 2023. USD keeps harmonics
in the prim's own frame, so those of an asset above degree 0 get a sample a frame too, turned with their Gaussians.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from stages.errors import NotAvailable
from stages.exporting.recording import Recording

REACH = 3.0
"""Standard deviations of a Gaussian that count as part of it where the extent is computed."""


def write_usd(path: Path, recording: Recording) -> None:
    """Write ``recording`` to ``path`` (.usd and .usdc binary, .usda text), y up, one time code a frame.

    Raises:
        NotAvailable: usd-core is not installed, or older than the schema.
    """
    Gf, Usd, UsdGeom, UsdVol, Vt = _pxr()
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetStartTimeCode(0)
    stage.SetEndTimeCode(recording.frames.num_frames - 1)
    stage.SetTimeCodesPerSecond(recording.fps)
    stage.SetFramesPerSecond(recording.fps)
    root = UsdGeom.Xform.Define(stage, "/Asset")
    stage.SetDefaultPrim(root.GetPrim())
    stage.GetRootLayer().documentation = " - ".join(text for text in (recording.title, recording.credit) if text)
    splat = UsdVol.ParticleField3DGaussianSplat.Define(stage, "/Asset/Splat")
    prim, asset = splat.GetPrim(), recording.frames.asset

    def attribute(name: str) -> Any:
        return prim.GetAttribute(name)

    attribute("opacities").Set(Vt.FloatArray.FromNumpy(_numpy(asset.opacities)))
    attribute("radiance:sphericalHarmonicsDegree").Set(asset.sh_degree)
    harmonics = attribute("radiance:sphericalHarmonicsCoefficients")
    if asset.sh_degree == 0:
        harmonics.Set(Vt.Vec3fArray.FromNumpy(_numpy(asset.sh.flatten(0, 1))))
    for index in range(recording.frames.num_frames):
        frame = recording.frames.asset_at(index)
        scales = recording.frames.scales[index]
        reach = REACH * scales.amax(dim=-1, keepdim=True)
        attribute("scales").Set(Vt.Vec3fArray.FromNumpy(_numpy(scales)), index)
        attribute("positions").Set(Vt.Vec3fArray.FromNumpy(_numpy(frame.means)), index)
        attribute("orientations").Set(Vt.QuatfArray.FromNumpy(_numpy(frame.quats.roll(-1, dims=-1))), index)  # xyzw
        if asset.sh_degree:
            harmonics.Set(Vt.Vec3fArray.FromNumpy(_numpy(frame.sh.flatten(0, 1))), index)
        corners = [(frame.means - reach).amin(dim=0), (frame.means + reach).amax(dim=0)]
        attribute("extent").Set(Vt.Vec3fArray([Gf.Vec3f(*corner.tolist()) for corner in corners]), index)
    stage.GetRootLayer().Export(str(path))


def _pxr() -> tuple[Any, ...]:
    """The modules of usd-core that are needed."""
    advice = "Install it: pip install 'animus3d[usd]'"
    try:
        from pxr import Gf, Usd, UsdGeom, UsdVol, Vt
    except ImportError:
        raise NotAvailable("USD files need the package usd-core, which is not installed.", advice) from None
    if not hasattr(UsdVol, "ParticleField3DGaussianSplat"):
        raise NotAvailable("This usd-core is too old: it has no schema for Gaussians.", advice)
    return Gf, Usd, UsdGeom, UsdVol, Vt


def _numpy(values: Tensor) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(values.detach().cpu().float().numpy())
