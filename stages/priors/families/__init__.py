"""Families of published video models, one file each, told apart by the class of their denoiser."""

from __future__ import annotations

from typing import Any

from stages.errors import NotAvailable
from stages.priors.families.anyflow import AnyFlowPrior
from stages.priors.families.cogvideox import CogVideoXPrior
from stages.priors.families.ltx import LTXPrior
from stages.priors.families.skyreels import SkyReelsPrior
from stages.priors.families.unet3d import UNet3DPrior
from stages.priors.families.wan import WanPrior
from stages.priors.hub import class_of
from stages.priors.multiview import MVVDMPrior
from stages.priors.published import PublishedPrior

FAMILIES: dict[str, type[PublishedPrior] | type[MVVDMPrior]] = {
    "UNet3DConditionModel": UNet3DPrior,
    "CogVideoXTransformer3DModel": CogVideoXPrior,
    "WanTransformer3DModel": WanPrior,
    "AnyFlowTransformer3DModel": AnyFlowPrior,
    "SkyReelsV2Transformer3DModel": SkyReelsPrior,
    "LTXVideoTransformer3DModel": LTXPrior,
    "MultiViewUNetMotionModel": MVVDMPrior,
}
"""Class of the denoiser in ``model_index.json`` -> family."""


def family_of(name: str, index: dict[str, Any]) -> type[PublishedPrior] | type[MVVDMPrior]:
    """The family of a published model.

    Raises:
        NotAvailable: it is of none that is known here.
    """
    for part in ("transformer", "unet"):
        class_name = class_of(index, part)[1]
        if class_name in FAMILIES:
            return FAMILIES[class_name]
    raise NotAvailable(
        f"{name} is a {index.get('_class_name')}, of no family that is known here ({', '.join(FAMILIES)}).",
        "See: animus3d priors",
    )
