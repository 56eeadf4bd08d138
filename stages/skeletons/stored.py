"""A rig as the tensors and metadata of a result file."""

from __future__ import annotations

import json
from collections.abc import Mapping

from torch import Tensor

from stages.skeletons.rig import Joints, Rig, Skin


def rig_tensors(rig: Rig) -> dict[str, Tensor]:
    """Everything of it that is numbers."""
    return {
        "heads": rig.joints.heads, "tails": rig.joints.tails, "vertices": rig.skin.vertices, "faces": rig.skin.faces,
        "weights": rig.skin.weights,
    }  # fmt: skip


def rig_metadata(rig: Rig) -> dict[str, str]:
    """The rest."""
    joints = rig.joints
    return {
        "joints": json.dumps(joints.names),
        "parents": json.dumps(joints.parents),
        "limits_deg": json.dumps(joints.limits_deg),
        "rig": rig.found,
    }


def rig_of_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Rig:
    """The rig of ``rig_tensors`` and ``rig_metadata``."""
    joints = Joints(
        names=tuple(json.loads(metadata["joints"])),
        parents=tuple(json.loads(metadata["parents"])),
        heads=tensors["heads"],
        tails=tensors["tails"],
        limits_deg=tuple(json.loads(metadata["limits_deg"])),
    )
    skin = Skin(vertices=tensors["vertices"], faces=tensors["faces"], weights=tensors["weights"])
    return Rig(joints=joints, skin=skin, found=metadata["rig"])
