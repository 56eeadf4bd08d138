"""The dialects of splat PLY: what other trainers and editors write in place of INRIA's fields, or beside them.

==========================  =========================================================================================
red green blue              in place of ``f_dc``: the displayed colour, bytes, or numbers up to 1
alpha                       in place of ``opacity``: the opacity itself, a byte
two scales                  surfels, as 2DGS (Huang et al. 2024) has them: flat along the third axis
one scale                   balls; without ``rot`` too
f_rest of degree 4          and more: the readers keep degree 3
filter_3D                   Mip-Splatting's 3D filter (Yu et al. 2024): a Gaussian to convolve with, see ``_filtered``
==========================  =========================================================================================

Other fields and elements are named once, as not used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from plyfile import PlyData

from stages.errors import BadInput
from stages.events import Caution, Note, Report
from stages.gaussians.formats.checked import Array, logits_of_bytes
from stages.gaussians.sh import C0

POSITION, DC, RGB = ("x", "y", "z"), ("f_dc_0", "f_dc_1", "f_dc_2"), ("red", "green", "blue")
SCALES, QUATS = ("scale_0", "scale_1", "scale_2"), ("rot_0", "rot_1", "rot_2", "rot_3")
NORMALS = {"nx", "ny", "nz"}
"""INRIA's trainer writes them as zeros: nothing is lost without them."""

FLAT = 1e-4
"""How thin a surfel is, as a share of its smaller side."""


def splat_fields(path: Path, ply: PlyData, report: Report) -> dict[str, Array]:
    """What ``checked_gaussians`` takes, of a file whose vertices are splats; ``report`` is told what was understood
    otherwise than INRIA's layout has it, and what is not used.

    Raises:
        BadInput: fields are missing (they are named) or are lists, or the harmonics are not those of whole degrees.
    """
    data = np.asarray(ply["vertex"].data)
    names = list(data.dtype.names or ())
    used: set[str] = set()

    def columns(*fields: str) -> Array:
        for field in fields:
            if field not in names:
                raise BadInput(f"{path} has no field {field}, though it has others of its kind.", "Export it again.")
            if data.dtype[field].kind not in "fiu":
                raise BadInput(f"{path} holds lists in {field}, not one number a Gaussian.", "Export it again.")
        used.update(fields)
        with np.errstate(invalid="ignore"):  # of signalling NaN
            return np.stack([np.asarray(data[field], dtype=np.float64) for field in fields], axis=-1)

    has = set(names).issuperset
    scales = [name for name in SCALES if name in names]
    missing = [name for name in POSITION if name not in names]
    missing += [] if has(RGB) else [name for name in DC if name not in names]
    missing += [] if has({"opacity"}) or has({"alpha"}) else ["opacity"]
    missing += [] if scales == list(SCALES[: len(scales)]) and scales else [n for n in SCALES if n not in names]
    missing += [] if len(scales) == 1 else [name for name in QUATS if name not in names]
    if missing:
        raise BadInput(
            f"{path} is a PLY file without splat fields: {', '.join(missing)} missing.",
            "It looks like a mesh or a point cloud; animus3d needs a Gaussian splat, or a .glb or .obj mesh.",
        )
    num = len(data)
    rgb = columns(*RGB) if not has(DC) else None
    if rgb is not None:
        report(Note(f"{path} has plain colours (red, green, blue) in place of f_dc."))
    dc = columns(*DC) if rgb is None else (rgb / _full(data[RGB[0]]) - 0.5) / C0
    rest = _harmonics(path, names, columns, num)
    double = any(data.dtype[name].itemsize > 4 for name in POSITION)
    fields = {
        "means": _as_floats(columns(*POSITION), double),
        "quats": columns(*QUATS) if has(QUATS) else np.tile([1.0, 0.0, 0.0, 0.0], (num, 1)),
        "log_scales": _three(path, columns(*scales), report),
        "logit_opacities": columns("opacity")[:, 0]
        if has({"opacity"})
        else logits_of_bytes(255.0 / _full(data["alpha"]) * columns("alpha")[:, 0]),
        "sh": np.concatenate([dc[:, None], rest], axis=1),
    }
    if has({"filter_3D"}):
        fields |= _filtered(fields["log_scales"], fields["logit_opacities"], columns("filter_3D"))
        report(Note(f"{path} has Mip-Splatting's filter_3D: Gaussians are widened by it, and fainter to match."))
    _tell_unused(path, ply, [name for name in names if name not in used | NORMALS], report)
    return fields


def _as_floats(values: Array, double: bool) -> Array:
    """In double or single precision; what does not fit becomes infinite, and is counted later."""
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float64 if double else np.float32)


def no_vertex_hint(ply: PlyData) -> str:
    """What to say of a file without vertices that some other layout has."""
    elements = [element.name for element in ply]
    if "codebook_centers" in elements or "vertex_0" in elements:
        return f"It is a quantised splat (elements {', '.join(elements)}): save it as plain .ply, .spz or .sog."
    return "Export it again."


def _full(values: Array) -> float:
    """What a colour or opacity of 1 is in this column: 255 of bytes, 65535 of words, 1 of fractions."""
    if values.dtype.kind in "iu":
        return 255.0 if values.dtype.itemsize == 1 or values.max(initial=0) <= 255 else 65535.0
    return 255.0 if float(np.nanmax(values, initial=0.0)) > 1.0 else 1.0


def _harmonics(path: Path, names: Sequence[str], columns: Callable[..., Array], num: int) -> Array:
    """Coefficients beyond degree 0, [N, K, 3], of whatever degree. They lie channel by channel."""
    count = sum(name.startswith("f_rest_") for name in names)
    if count == 0:
        return np.zeros((num, 0, 3))
    side = math.isqrt(count // 3 + 1)
    if count % 3 or side * side != count // 3 + 1:
        raise BadInput(
            f"{path} has {count} f_rest fields; 0, 9, 24 or 45 are expected (SH degree 0 to 3).",
            "Export it again with all harmonics of a degree, or with none.",
        )
    rest = columns(*(f"f_rest_{i}" for i in range(count)))
    return rest.reshape(num, 3, count // 3).transpose(0, 2, 1)


def _three(path: Path, log_scales: Array, report: Report) -> Array:
    """Logarithms of three scales [N, 3] of one, two or three."""
    if log_scales.shape[1] == 2:
        report(Note(f"{path} has two scales a Gaussian, as 2DGS has: discs, flat along their third axis."))
        return np.concatenate([log_scales, log_scales.min(axis=1, keepdims=True) + math.log(FLAT)], axis=1)
    if log_scales.shape[1] == 1:
        report(Note(f"{path} has one scale a Gaussian: balls."))
        return np.repeat(log_scales, 3, axis=1)
    return log_scales


def _filtered(log_scales: Array, logit_opacities: Array, widths: Array) -> dict[str, Array]:
    """Scales and opacities after the 3D filter of ``widths`` [N, 1] (Yu et al. 2024, equation 9): variances add up, and
    the opacity falls as the volume grows, by sqrt(|S| / |S + f^2 I|)."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        wider = 0.5 * np.logaddexp(2.0 * log_scales, 2.0 * np.log(np.abs(widths)))
        # in logarithms: of the opacity, log sigmoid(l) = -log(1 + exp(-l))
        log_opacity = (log_scales - wider).sum(axis=1) - np.logaddexp(0.0, -logit_opacities)
        logits = log_opacity - np.log(-np.expm1(log_opacity))
    return {"log_scales": wider, "logit_opacities": logits}


def _tell_unused(path: Path, ply: PlyData, fields: list[str], report: Report) -> None:
    """Name the fields and elements that nothing is made of."""
    elements = [element.name for element in ply if element.name != "vertex" and len(element.data)]
    said = [f"the fields {', '.join(fields)}"] if fields else []
    said += [f"the elements {', '.join(elements)}"] if elements else []
    if said:
        report(Caution(f"{path} has {' and '.join(said)}, which are not used."))
