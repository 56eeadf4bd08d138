"""Materials of Wavefront .mtl files as paint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from stages.errors import first_line
from stages.meshes.beside import find_beside
from stages.meshes.paint import CLAMP, REPEAT, Glow, Paint, Picture, linear_light, read_pixels

ONE_WORD = ("-blendu", "-blendv", "-boost", "-cc", "-clamp", "-imfchan", "-texres", "-type", "-bm")
NUMBERS = {"-o": 3, "-s": 3, "-t": 3, "-mm": 2}
"""Options of a map: how many words follow them, at most so many where they are numbers."""


@dataclass(frozen=True)
class Map:
    """A picture that a material names."""

    name: str
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    clamp: bool = False


@dataclass(frozen=True)
class Material:
    """What of a material is used."""

    color: tuple[float, ...] | None = None  # Kd, displayed
    alpha: float = 1.0  # d, or 1 - Tr
    map_color: Map | None = None
    map_alpha: Map | None = None
    glow: tuple[float, ...] = ()  # Ke, displayed


class MtlFiles:
    """The materials of an .obj, and what they name that cannot be used (``missing``)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.materials: dict[str, Material] = {}
        self.missing: list[str] = []
        self._pictures: dict[str, Tensor | None] = {}

    def read(self, names: str) -> None:
        """Read the file, or the files, of a ``mtllib`` line: names may hold spaces, and stand beside each other."""
        whole = find_beside(self.folder, names)
        for name in [names] if whole is not None or not names.split() else names.split():
            path = whole or find_beside(self.folder, name)
            if path is None:
                self.miss(f"a reference to {names if len(names.split()) == 1 else name}, which is not there")
            else:
                self.materials.update(parse_mtl(path.read_text(encoding="utf-8-sig", errors="replace")))

    def miss(self, what: str) -> None:
        """Remember once what could not be used."""
        if what not in self.missing:
            self.missing.append(what)

    def paint(self, name: str | None, uv: Tensor | None, tint: Tensor | None) -> Paint:
        """The paint of faces with the material ``name``; ``uv`` [F, 3, 2] runs upwards, ``tint`` is [F, 3, 4]."""
        material = None if name is None else self.materials.get(name)
        down = None if uv is None else torch.stack([uv[..., 0], 1.0 - uv[..., 1]], dim=-1)
        if name is not None and material is None:
            self.miss(f"a material {name}, which no .mtl of it describes")
        if material is None:
            return Paint(tint=tint, uv=down)
        picture = uv_there = None
        if material.map_color is not None and uv is not None:
            picture, uv_there = self._picture(material.map_color, material.map_alpha), _placed(uv, material.map_color)
        elif material.map_color is not None:
            self.miss(f"a texture {material.map_color.name}, and does not say where it lies")
        factor = torch.ones(4)
        if material.color is not None and picture is None:  # beside a picture, many writers leave Kd at some default
            factor[:3] = linear_light(torch.tensor(material.color))
        if material.alpha <= 0.0:
            self.miss(f"a material {name} that cannot be seen at all (d 0), which is taken as solid")
        elif material.alpha < 1.0:
            factor[3] = material.alpha
        glow = None
        if any(material.glow):
            glow = Glow(factor=linear_light(torch.tensor(material.glow)))
        return Paint(
            factor=factor,
            tint=tint,
            picture=picture,
            uv=down if uv_there is None or picture is None else uv_there,
            cutoff=0.5 if material.map_alpha is not None and picture is not None else None,
            see_through=0.0 < material.alpha < 1.0,
            glow=glow,
        )

    def _picture(self, color: Map, alpha: Map | None) -> Picture | None:
        """A texture, with another's brightness as its alpha."""
        pixels = self._pixels(color.name)
        if pixels is None:
            return None
        mask = None if alpha is None else self._pixels(alpha.name)
        pixels = pixels.clone()
        if mask is None:
            pixels[..., 3] = 1.0
        elif alpha is not None and alpha.name != color.name:
            if mask.shape != pixels.shape:
                rows = torch.linspace(0, mask.shape[0] - 1, pixels.shape[0]).round().long()
                columns = torch.linspace(0, mask.shape[1] - 1, pixels.shape[1]).round().long()
                mask = mask[rows][:, columns]
            own = bool((mask[..., 3] < 1.0).any())
            pixels[..., 3] = mask[..., 3] if own else mask[..., :3].mean(dim=-1)
        wrap = CLAMP if color.clamp else REPEAT
        return Picture(pixels=pixels, wrap=(wrap, wrap))

    def _pixels(self, name: str) -> Tensor | None:
        """A picture, read once; None, and ``missing`` says why, where it cannot be."""
        if name not in self._pictures:
            path, pixels = find_beside(self.folder, name), None
            if path is None:
                self.miss(f"a reference to {name}, which is not there")
            else:
                try:
                    pixels = read_pixels(Image.open(path))
                except Exception as error:  # Pillow raises whatever its decoders do
                    self.miss(f"a texture, {name}, which cannot be read as a picture ({first_line(error)})")
            self._pictures[name] = pixels
        return self._pictures[name]


def _placed(uv: Tensor, place: Map) -> Tensor:
    """Texture coordinates [F, 3, 2], which run upwards, scaled and shifted, so that v runs downwards."""
    moved = uv * torch.tensor(place.scale) + torch.tensor(place.offset)
    return torch.stack([moved[..., 0], 1.0 - moved[..., 1]], dim=-1)


def parse_mtl(text: str) -> dict[str, Material]:
    """The materials of a file, by name. Lines that are not understood are passed over, as every reader does."""
    found: dict[str, Material] = {}
    name: str | None = None
    for line in text.replace("\\\n", " ").splitlines():
        key, _, rest = line.strip().replace("\t", " ").partition(" ")
        key, rest = key.lower(), rest.strip()
        if key == "newmtl":
            name = rest
            found[name] = Material()
        if name is None or not rest:
            continue
        own = found[name]
        if key == "kd":
            own = replace(own, color=_color(rest) or own.color)
        elif key == "ke":
            own = replace(own, glow=_color(rest) or ())
        elif key in ("d", "tr"):
            number = _floats(rest.removeprefix("-halo"))[:1]
            if number:
                own = replace(own, alpha=number[0] if key == "d" else 1.0 - number[0])
        elif key == "map_kd":
            own = replace(own, map_color=parse_map(rest))
        elif key in ("map_d", "map_opacity"):
            own = replace(own, map_alpha=parse_map(rest))
        found[name] = own
    return found


def parse_map(text: str) -> Map:
    """The picture of a ``map_Kd`` line and where it lies: options may stand before its name, which may hold spaces."""
    rest, found = text.strip(), Map("")
    while rest.startswith("-"):
        option, _, after = rest.partition(" ")
        if option.lower() in ONE_WORD:
            word, _, rest = after.strip().partition(" ")
            if option.lower() == "-clamp":
                found = replace(found, clamp=word.lower() == "on")
        elif option.lower() in NUMBERS:
            values: list[float] = []
            rest = after.strip()
            while len(values) < NUMBERS[option.lower()]:
                word, _, behind = rest.partition(" ")
                if not behind or not _floats(word):
                    break
                values += _floats(word)
                rest = behind.strip()
            if option.lower() == "-o":
                found = replace(found, offset=_pair(values, 0.0))
            elif option.lower() == "-s":
                found = replace(found, scale=_pair(values, 1.0))
        else:
            break
        rest = rest.strip()
    return replace(found, name=rest)


def _pair(values: list[float], otherwise: float) -> tuple[float, float]:
    """The first two numbers, or what stands for those that are not there."""
    return (*values, otherwise, otherwise)[0], (*values, otherwise, otherwise)[1]


def _color(text: str) -> tuple[float, ...] | None:
    """Three numbers, or one for all of them; None for spectra and what else is not understood."""
    numbers = _floats(text)
    if len(numbers) == 1:
        numbers *= 3
    return tuple(min(max(number, 0.0), 1.0) for number in numbers[:3]) if len(numbers) >= 3 else None


def _floats(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split()]
    except ValueError:
        return []
