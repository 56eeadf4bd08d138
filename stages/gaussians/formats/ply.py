"""INRIA's ``.ply`` layout of Gaussians, read and written with plyfile.

``x y z [nx ny nz] f_dc_0..2 f_rest_0..M opacity scale_0..2 rot_0..3`` with 0, 9, 24 or 45 ``f_rest`` values, stored
channel by channel; opacities as logits, scales as logarithms, rotations wxyz.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from plyfile import PlyData, PlyElement

from stages.errors import BadInput
from stages.files import replacing
from stages.gaussians.asset import Gaussians
from stages.gaussians.formats.checked import IN_PLACE
from stages.gaussians.formats.compressed_ply import PACKED, unpack_ply
from stages.gaussians.formats.ply_file import open_ply

REQUIRED = (
    "x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2",
    "rot_0", "rot_1", "rot_2", "rot_3",
)  # fmt: skip
_REST_COUNTS = {0: 0, 9: 1, 24: 2, 45: 3}


def read_ply(path: Path) -> Gaussians:
    """Read and check a splat file, PlayCanvas's compressed layout included; quaternions come out normalised.

    Raises:
        BadInput: the file is missing, not a PLY, cut short, has no splat fields (they are named), no Gaussians, values
            that are not finite, or rotations of length zero.
    """
    ply = open_ply(path)
    if "vertex" not in ply:
        raise BadInput(f"{path} has no vertex element.")
    data = np.asarray(ply["vertex"].data)
    names = set(data.dtype.names or ())
    if PACKED[0] in names:
        return unpack_ply(path, ply)
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise BadInput(
            f"{path} is a PLY file without splat fields: {', '.join(missing)} missing.",
            "It looks like a mesh or a point cloud; animus3d needs a Gaussian splat, or a .glb or .obj mesh.",
        )
    if len(data) == 0:
        raise BadInput(f"{path} holds zero Gaussians.", "Export it again, or give another file.")
    num_rest = sum(name.startswith("f_rest_") for name in names)
    if num_rest not in _REST_COUNTS:
        raise BadInput(
            f"{path} has {num_rest} f_rest fields; 0, 9, 24 or 45 are expected (SH degree 0 to 3).",
            "Export it again with all harmonics of a degree, or with none.",
        )
    rest_names = [f"f_rest_{i}" for i in range(num_rest)]
    table = _finite_table(path, data, [*REQUIRED, *rest_names])

    def columns(*fields: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([table[field] for field in fields], axis=-1))

    quats = columns("rot_0", "rot_1", "rot_2", "rot_3")
    lengths = quats.norm(dim=-1, keepdim=True)
    if (lengths == 0).any():
        raise BadInput(
            f"{path} holds {int((lengths == 0).sum())} rotations of length zero.",
            "Remove those Gaussians in an editor.",
        )
    dc = columns("f_dc_0", "f_dc_1", "f_dc_2")[:, None]
    rest = columns(*rest_names) if num_rest else torch.zeros(len(dc), 0)
    return Gaussians(
        means=columns("x", "y", "z"),
        quats=quats / lengths,
        log_scales=columns("scale_0", "scale_1", "scale_2"),
        logit_opacities=columns("opacity")[:, 0],
        sh=torch.cat([dc, rest.reshape(len(dc), 3, num_rest // 3).permute(0, 2, 1)], dim=1),
    )


def _finite_table(path: Path, data: np.ndarray[Any, Any], fields: list[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Every field as float32 [N]; one error names all fields that hold NaN or infinity, and how many."""
    table: dict[str, np.ndarray[Any, Any]] = {}
    bad: dict[str, int] = {}
    for field in fields:
        if field not in (data.dtype.names or ()):
            raise BadInput(f"{path} has no field {field}, though it has others of its kind.", "Export it again.")
        if data.dtype[field].kind not in "fiu":
            raise BadInput(f"{path} holds lists in {field}, not one number a Gaussian.", "Export it again.")
        with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, and is reported as such
            table[field] = np.asarray(data[field], dtype=np.float32)
        count = int((~np.isfinite(table[field])).sum())
        if count:
            bad[field] = count
    if bad:
        named = ", ".join(f"{field} ({count})" for field, count in bad.items())
        raise BadInput(
            f"{path} holds {sum(bad.values())} values that are NaN or infinite, in {named}.",
            "Remove those Gaussians in an editor.",
        )
    return table


def write_ply(path: Path, gaussians: Gaussians, *, pad_sh_degree: int | None = None) -> None:
    """Write INRIA's layout, normals zero, in one piece.

    ``pad_sh_degree`` fills the harmonics with zeros up to a degree: 3 gives the 62 floats a Gaussian that every tool
    for splats reads. Raises ``CannotWrite``.
    """
    num = gaussians.num_gaussians
    sh = gaussians.sh.detach().cpu().float()
    if pad_sh_degree is not None and sh.shape[1] < (pad_sh_degree + 1) ** 2:
        sh = torch.cat([sh, torch.zeros(num, (pad_sh_degree + 1) ** 2 - sh.shape[1], 3)], dim=1)
    rest = sh[:, 1:].permute(0, 2, 1).flatten(1)
    columns = {
        **dict(zip("xyz", gaussians.means.detach().cpu().T, strict=True)),
        **{name: torch.zeros(num) for name in ("nx", "ny", "nz")},
        **{f"f_dc_{i}": sh[:, 0, i] for i in range(3)},
        **{f"f_rest_{i}": rest[:, i] for i in range(rest.shape[1])},
        "opacity": gaussians.logit_opacities.detach().cpu(),
        **{f"scale_{i}": gaussians.log_scales[:, i].detach().cpu() for i in range(3)},
        **{f"rot_{i}": gaussians.quats[:, i].detach().cpu() for i in range(4)},
    }
    table = np.empty(num, dtype=[(name, "f4") for name in columns])
    for name, values in columns.items():
        table[name] = values.numpy()
    with replacing(path, IN_PLACE) as temporary:
        PlyData([PlyElement.describe(table, "vertex")], byte_order="<").write(str(temporary))
