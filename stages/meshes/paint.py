"""The colour of a surface at a point, whatever file it comes from.

glTF 2.0 (3.9.2): a texture's colours are sRGB, factors and vertex colours are linear light, all are multiplied in
linear light, and the product is shown as sRGB. Other formats are brought to the same form when they are read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stages.errors import BadInput
from stages.meshes.surface import SurfaceSamples, sample_surface, triangle_areas

PLAIN = 0.7
"""Grey, as displayed, of a surface without any colour. [ours]"""

INVISIBLE = 0.05
"""What is less solid than this has no Gaussians. [ours]"""

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
class Glow:
    """Light that a surface sends out by itself."""

    factor: Tensor  # [3] linear light
    picture: Picture | None = None
    uv: Tensor | None = None  # [F, 3, 2] places in the picture


@dataclass(frozen=True, kw_only=True)
class Colors:
    """What M points of a surface look like."""

    rgb: Tensor  # [M, 3] displayed
    shown: Tensor  # [M] bool: not cut out
    alpha: Tensor  # [M] how solid, in [0, 1]
    lit: Tensor  # [M] which share of the colour is due to light that falls on it, in [0, 1]

    def select(self, index: Tensor) -> Colors:
        """Those named by ``index``."""
        return Colors(rgb=self.rgb[index], shown=self.shown[index], alpha=self.alpha[index], lit=self.lit[index])


@dataclass(frozen=True, kw_only=True)
class Paint:
    """The colours of some triangles. Without factor, tint and picture they are plain grey."""

    factor: Tensor | None = None  # [4] of all, linear light and alpha
    tint: Tensor | None = None  # [F, 3, 4] at the corners of each triangle, linear light and alpha
    picture: Picture | None = None
    uv: Tensor | None = None  # [F, 3, 2] places in the picture
    cutoff: float | None = None  # what has less alpha is cut out (glTF's alphaMode MASK)
    see_through: bool = False  # alpha says how solid it is (BLEND)
    glow: Glow | None = None
    unlit: bool = False  # shown as it is, whatever light there is

    @property
    def is_plain(self) -> bool:
        """Whether the file says nothing of these triangles' colours."""
        return self.factor is None and self.tint is None and self.picture is None

    def at(self, faces: Tensor, barycentric: Tensor) -> Colors:
        """How points ``barycentric`` [M, 3] of triangles ``faces`` [M] look."""
        num = len(faces)
        shown, alpha, lit = torch.ones(num, dtype=torch.bool), torch.ones(num), torch.ones(num)
        if self.is_plain:
            return Colors(rgb=torch.full((num, 3), PLAIN), shown=shown, alpha=alpha, lit=lit)
        color = torch.ones(num, 4) if self.factor is None else self.factor.expand(num, 4)
        if self.tint is not None:
            color = color * (self.tint[faces] * barycentric[..., None]).sum(dim=1)
        if self.picture is not None and self.uv is not None:
            color = color * self.picture.at((self.uv[faces] * barycentric[..., None]).sum(dim=1))
        color = color.nan_to_num()
        if self.cutoff is not None:
            shown = color[:, 3] >= self.cutoff
        elif self.see_through:
            alpha = color[:, 3].clamp(0.0, 1.0)
            shown = alpha >= INVISIBLE
        light = color[:, :3].clamp(min=0.0)
        if self.unlit:
            lit = torch.zeros(num)
        elif self.glow is not None:
            own = self.glow.factor.expand(num, 3)
            if self.glow.picture is not None and self.glow.uv is not None:
                own = own * self.glow.picture.at((self.glow.uv[faces] * barycentric[..., None]).sum(dim=1))[:, :3]
            reflected, light = light.sum(dim=1), light + own
            lit = reflected / light.sum(dim=1).clamp(min=1e-6)
        return Colors(rgb=displayed(light).clamp(0.0, 1.0), shown=shown, alpha=alpha, lit=lit)


Part = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], Paint]
"""Of a mesh file: vertices [V, 3] in the file's world, faces [F, 3] among them, and their colours."""


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
) -> tuple[SurfaceSamples, Colors]:
    """``num_samples`` points on ``faces`` [F, 3] of ``vertices`` [V, 3], none where it is cut out, and how they look.

    Raises:
        BadInput: everything is cut out; the vertices are not finite, or no triangle has an area.
    """
    area = float(triangle_areas(vertices, faces).sum())
    if not (math.isfinite(area) and area > 0.0):
        raise BadInput("The mesh has no surface there: its triangles have no area, or NaN.", "Export the mesh again.")
    samples = sample_surface(vertices, faces, num_samples, generator)
    colors = _colors(samples, painted)
    share = float(colors.shown.float().mean())
    if share == 1.0:
        return samples, colors
    if share == 0.0:
        raise BadInput("All of the mesh is cut out by the alpha of its material.", "Export it with alphaMode OPAQUE.")
    # sample more in the places of those that fell away, and thin the rest evenly to the number asked for
    samples = sample_surface(vertices, faces, math.ceil(1.1 * num_samples / share) + 16, generator)
    colors = _colors(samples, painted)
    kept = colors.shown.nonzero()[:, 0]
    kept = kept[torch.linspace(0, len(kept) - 1, min(num_samples, len(kept))).long()]
    spacing = samples.spacing * math.sqrt(float(colors.shown.float().mean()) * len(colors.shown) / len(kept))
    return SurfaceSamples(samples.faces[kept], samples.barycentric[kept], spacing), colors.select(kept)


def _colors(samples: SurfaceSamples, painted: Sequence[Painted]) -> Colors:
    """How samples look."""
    colors = Paint().at(samples.faces, samples.barycentric)
    for part in painted:
        chosen = (samples.faces >= part.first) & (samples.faces < part.last)
        if chosen.any():
            own = part.paint.at(samples.faces[chosen] - part.first, samples.barycentric[chosen])
            for name in ("rgb", "shown", "alpha", "lit"):
                getattr(colors, name)[chosen] = getattr(own, name)
    return colors


def read_pixels(image: Image.Image) -> Tensor:
    """A picture, [H, W, 4] in [0, 1]. Grey ones of 16 or 32 bits are brought to this range, which Pillow does not do.
    Raises whatever Pillow's decoders do."""
    if image.mode.startswith(("I", "F")):
        grey = np.asarray(image, dtype=np.float32)
        grey = grey / (1.0 if image.mode == "F" and grey.max(initial=0.0) <= 1.0 else 65535.0)
        grey = np.clip(grey, 0.0, 1.0)
        return torch.from_numpy(np.stack([grey, grey, grey, np.ones_like(grey)], axis=-1))
    pixels = np.asarray(image.convert("RGBA")).astype(np.float32)
    pixels /= np.float32(255.0)  # in place: a large one takes a gigabyte
    return torch.from_numpy(pixels)


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
