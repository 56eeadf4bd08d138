"""The colour of a surface at a point, whatever file it comes from.

glTF 2.0 (3.9.2): a texture's colours are sRGB, factors and vertex colours are linear light, all are multiplied in
linear light, and the product is shown as sRGB. Other formats are brought to the same form when they are read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.errors import BadInput
from stages.meshes.surface import SurfaceSamples, sample_surface, triangle_areas

PLAIN = 0.7
"""Grey, as displayed, of a surface without any colour. [ours]"""

REPEAT, CLAMP, MIRROR = 10497, 33071, 33648
"""How a picture goes on beyond its edges: the numbers of glTF's ``wrapS`` and ``wrapT``."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A texture."""

    pixels: Tensor  # [H, W, 4] sRGB and alpha, in [0, 1]; the first row is the upper one
    wrap: tuple[int, int] = (REPEAT, REPEAT)  # along u, along v

    def at(self, uv: Tensor) -> Tensor:
        """Nearest texels [M, 4] at ``uv`` [M, 2], whose v runs downwards; the colour in linear light."""
        height, width = self.pixels.shape[:2]
        column = (_wrapped(uv[:, 0], self.wrap[0]) * width).long().clamp(0, width - 1)
        row = (_wrapped(uv[:, 1], self.wrap[1]) * height).long().clamp(0, height - 1)
        texels = self.pixels[row, column]
        return torch.cat([linear_light(texels[:, :3]), texels[:, 3:]], dim=1)


@dataclass(frozen=True, kw_only=True)
class Paint:
    """The colours of some triangles. Without any of the four they are plain grey."""

    factor: Tensor | None = None  # [4] of all, linear light and alpha
    tint: Tensor | None = None  # [F, 3, 4] at the corners of each triangle, linear light and alpha
    picture: Picture | None = None
    uv: Tensor | None = None  # [F, 3, 2] places in the picture
    cutoff: float | None = None  # what has less alpha is cut out (glTF's alphaMode MASK)

    @property
    def is_plain(self) -> bool:
        """Whether the file says nothing of these triangles' colours."""
        return self.factor is None and self.tint is None and self.picture is None

    def at(self, faces: Tensor, barycentric: Tensor) -> tuple[Tensor, Tensor]:
        """Displayed colours [M, 3] at points ``barycentric`` [M, 3] of triangles ``faces`` [M], and which of them are
        there, [M]: not cut out."""
        if self.is_plain:
            return torch.full((len(faces), 3), PLAIN), torch.ones(len(faces), dtype=torch.bool)
        color = torch.ones(len(faces), 4) if self.factor is None else self.factor.expand(len(faces), 4)
        if self.tint is not None:
            color = color * (self.tint[faces] * barycentric[..., None]).sum(dim=1)
        if self.picture is not None and self.uv is not None:
            color = color * self.picture.at((self.uv[faces] * barycentric[..., None]).sum(dim=1))
        shown = torch.ones(len(faces), dtype=torch.bool) if self.cutoff is None else color[:, 3] >= self.cutoff
        return displayed(color[:, :3].nan_to_num()).clamp(0.0, 1.0), shown


@dataclass(frozen=True)
class Painted:
    """A run of a mesh's triangles with one paint."""

    first: int
    last: int  # behind the run
    paint: Paint


def sample_painted(
    vertices: Tensor,
    faces: Tensor,
    painted: Sequence[Painted],
    num_samples: int,
    generator: torch.Generator,
) -> tuple[SurfaceSamples, Tensor]:
    """``num_samples`` points on ``faces`` [F, 3] of ``vertices`` [V, 3], none where it is cut out, and their displayed
    colours [M, 3].

    Raises:
        BadInput: everything is cut out; the vertices are not finite, or no triangle has an area.
    """
    area = float(triangle_areas(vertices, faces).sum())
    if not (math.isfinite(area) and area > 0.0):
        raise BadInput("The mesh has no surface there: its triangles have no area, or NaN.", "Export the mesh again.")
    samples = sample_surface(vertices, faces, num_samples, generator)
    colors, shown = _colors(samples, painted)
    share = float(shown.float().mean())
    if share == 1.0:
        return samples, colors
    if share == 0.0:
        raise BadInput("All of the mesh is cut out by the alpha of its texture.", "Export it with alphaMode OPAQUE.")
    # sample more in the places of those that fell away, and thin the rest evenly to the number asked for
    samples = sample_surface(vertices, faces, math.ceil(1.1 * num_samples / share) + 16, generator)
    colors, shown = _colors(samples, painted)
    kept = shown.nonzero()[:, 0]
    kept = kept[torch.linspace(0, len(kept) - 1, min(num_samples, len(kept))).long()]
    spacing = samples.spacing * math.sqrt(float(shown.float().mean()) * len(shown) / len(kept))
    return SurfaceSamples(samples.faces[kept], samples.barycentric[kept], spacing), colors[kept]


def _colors(samples: SurfaceSamples, painted: Sequence[Painted]) -> tuple[Tensor, Tensor]:
    """Displayed colours [M, 3] of samples and which are not cut out [M]."""
    colors = torch.full((len(samples.faces), 3), PLAIN)
    shown = torch.ones(len(samples.faces), dtype=torch.bool)
    for part in painted:
        chosen = (samples.faces >= part.first) & (samples.faces < part.last)
        if chosen.any():
            colors[chosen], shown[chosen] = part.paint.at(
                samples.faces[chosen] - part.first, samples.barycentric[chosen]
            )
    return colors, shown


def displayed(linear: Tensor) -> Tensor:
    """sRGB of linear light (IEC 61966-2-1)."""
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=1e-8) ** (1 / 2.4) - 0.055)


def linear_light(srgb: Tensor) -> Tensor:
    """Linear light of sRGB; the inverse of ``displayed``."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp(min=0.0) + 0.055) / 1.055) ** 2.4)


def _wrapped(coordinate: Tensor, wrap: int) -> Tensor:
    """Coordinates in [0, 1] of those beyond."""
    if wrap == CLAMP:
        return coordinate.clamp(0.0, 1.0)
    if wrap == MIRROR:
        return 1.0 - (coordinate % 2.0 - 1.0).abs()
    return coordinate % 1.0
