"""INRIA's ``.ply`` layout of Gaussians, read and written with plyfile.

``x y z [nx ny nz] f_dc_0..2 f_rest_0..M opacity scale_0..2 rot_0..3`` with 0, 9, 24 or 45 ``f_rest`` values, stored
channel by channel; opacities as logits, scales as logarithms, rotations wxyz. Other programs' dialects of it are read
too, see ``ply_fields``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from plyfile import PlyData, PlyElement

from stages.errors import BadInput
from stages.events import Report, silent
from stages.files import replacing
from stages.gaussians.asset import Gaussians
from stages.gaussians.formats.checked import IN_PLACE, checked_gaussians
from stages.gaussians.formats.compressed_ply import PACKED, unpack_ply
from stages.gaussians.formats.ply_fields import no_vertex_hint, splat_fields
from stages.gaussians.formats.ply_file import UP, open_ply, up_comments
from stages.gaussians.transform import lay, turn_upright
from stages.geometry.rotations import UPRIGHT


def read_ply(path: Path, report: Report = silent) -> Gaussians:
    """Read and check a splat file, of any dialect (see ``ply_fields``) and PlayCanvas's compressed layout included.

    A file of ours that says which of its axes points up comes back y up.

    Raises:
        BadInput: the file is missing, not a PLY, cut short, has no splat fields (they are named), no Gaussians, or most
            of them hold no numbers.
    """
    ply = open_ply(path)
    if "vertex" not in ply:
        raise BadInput(f"{path} has no vertex element.", no_vertex_hint(ply))
    names = set(ply["vertex"].data.dtype.names or ())
    if PACKED[0] in names:
        gaussians = unpack_ply(path, ply, report)
    else:
        gaussians = checked_gaussians(path, **splat_fields(path, ply, report), report=report)
    ups = [comment.removeprefix(UP).strip() for comment in ply.comments if comment.startswith(UP)]
    return turn_upright(gaussians, ups[0]) if ups and ups[0] in UPRIGHT else gaussians


def write_ply(path: Path, gaussians: Gaussians, *, pad_sh_degree: int | None = None, up: str = "y") -> None:
    """Write INRIA's layout, normals zero, in one piece.

    ``pad_sh_degree`` fills the harmonics with zeros up to a degree: 3 gives the 62 floats a Gaussian that every tool
    for splats reads. ``up`` is the axis of the file that shall point up; a comment says so where it is not y. Raises
    ``CannotWrite``.
    """
    gaussians = lay(gaussians, up)
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
        elements = [PlyElement.describe(table, "vertex")]
        PlyData(elements, byte_order="<", comments=up_comments(up)).write(str(temporary))
