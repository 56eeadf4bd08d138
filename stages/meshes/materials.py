"""glTF 2.0 materials as paint: base colour (3.9.2), vertex colours, alpha masks, and what extensions change."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stages.meshes.gltf import Array, GltfFile
from stages.meshes.paint import REPEAT, Paint, Picture
from stages.meshes.scene import Primitive

SPECULAR = "KHR_materials_pbrSpecularGlossiness"
TRANSFORM = "KHR_texture_transform"
OTHER_SOURCES = ("EXT_texture_webp", "EXT_texture_avif", "KHR_texture_basisu", "MSFT_texture_dds")


def read_paint(file: GltfFile, part: Primitive) -> Paint:
    """The colours of a primitive's triangles. What they name and cannot be used goes to ``file.missing``."""
    primitive, faces = part.source, part.faces
    tint = _tint(file, primitive, faces)
    if primitive.material is None:
        return Paint(tint=tint, uv=_places(file, primitive, faces))
    material = file.gltf.materials[primitive.material]
    factor, texture = _base(material)
    picture, uv = (None, None) if texture is None else _texture(file, primitive, faces, texture)
    if picture is None:  # a picture may yet be put on it
        uv = _places(file, primitive, faces)
    mode = material.alphaMode or "OPAQUE"
    cutoff = 0.5 if material.alphaCutoff is None else float(material.alphaCutoff)
    see_through = factor[3] < 1.0 or (picture is not None and bool((picture.pixels[..., 3] < 1.0).any()))
    if mode == "BLEND" and see_through:
        file.miss("see-through parts (alphaMode BLEND), which become solid")
    return Paint(
        factor=torch.tensor(factor, dtype=torch.float32),
        tint=tint,
        picture=picture,
        uv=uv,
        cutoff=cutoff if mode == "MASK" else None,
    )


def _base(material: Any) -> tuple[list[float], dict[str, Any] | None]:
    """The base colour's factor [4], linear light and alpha, and its texture's info.

    A material of the old specular-glossiness extension is taken by its diffuse colour unless it says a base colour too:
    files that have both give the second to those who, as we, know no gloss. [ours]
    """
    shading = material.pbrMetallicRoughness
    own = shading is not None and (shading.baseColorTexture is not None or not _is_white(shading.baseColorFactor))
    old = (material.extensions or {}).get(SPECULAR)
    if own or old is None:
        info = None if shading is None else shading.baseColorTexture
        factor = None if shading is None else shading.baseColorFactor
        return _rgba(factor), None if info is None else vars(info)
    return _rgba(old.get("diffuseFactor")), old.get("diffuseTexture")


def _rgba(factor: Any) -> list[float]:
    return [float(number) for number in ([1.0] * 4 if factor is None else factor)]


def _is_white(factor: Any) -> bool:
    return factor is None or _rgba(factor)[:3] == [1.0, 1.0, 1.0]


def _tint(file: GltfFile, primitive: Any, faces: Array) -> Tensor | None:
    """Vertex colours at the corners of ``faces``, [F, 3, 4]: linear light, alpha 1 where they are RGB."""
    colors = file.attribute(primitive, "COLOR_0")
    if colors is None:
        return None
    if np.issubdtype(colors.dtype, np.integer):  # the standard has integers normalised; some writers forget to say so
        colors = colors.astype(np.float32) / np.iinfo(colors.dtype).max
    opaque = np.ones((len(colors), 4), np.float32)
    opaque[:, : colors.shape[1]] = colors
    return torch.from_numpy(opaque[faces])


def _places(file: GltfFile, primitive: Any, faces: Array) -> Tensor | None:
    """The first texture coordinates at the corners of ``faces``, [F, 3, 2]."""
    uv = file.attribute(primitive, "TEXCOORD_0")
    return None if uv is None else torch.from_numpy(uv.astype(np.float32)[faces])


def _texture(
    file: GltfFile, primitive: Any, faces: Array, info: dict[str, Any]
) -> tuple[Picture | None, Tensor | None]:
    """A texture and where it lies at the corners of ``faces``, [F, 3, 2]; neither when one is missing."""
    moved = (info.get("extensions") or {}).get(TRANSFORM) or {}
    place = moved.get("texCoord", info.get("texCoord") or 0)
    uv = file.attribute(primitive, f"TEXCOORD_{place}")
    if uv is None:
        file.miss("a texture without texture coordinates, which is left away")
        return None, None
    picture = _picture(file, file.gltf.textures[info["index"]])
    return (None, None) if picture is None else (picture, torch.from_numpy(_transformed(uv, moved)[faces]))


def _transformed(uv: Array, moved: dict[str, Any]) -> Array:
    """Texture coordinates [V, 2] after KHR_texture_transform: scaled, turned, shifted.

    v runs downwards, so counter-clockwise is (c, s; -s, c): the extension's text and its viewers say so, its listing
    has the sign wrong (KhronosGroup/glTF#1563).
    """
    angle = float(moved.get("rotation", 0.0))
    c, s = math.cos(angle), math.sin(angle)
    turn = np.array([[c, s], [-s, c]])
    placed = uv * np.array(moved.get("scale", (1.0, 1.0))) @ turn.T + np.array(moved.get("offset", (0.0, 0.0)))
    return placed.astype(np.float32)


def _picture(file: GltfFile, texture: Any) -> Picture | None:
    """The pixels of a texture; None, and ``file.missing`` says why, where they cannot be read."""
    extensions = texture.extensions or {}
    sources = [texture.source, *(extensions[name].get("source") for name in OTHER_SOURCES if name in extensions)]
    wrap = (REPEAT, REPEAT)
    if texture.sampler is not None:
        sampler = file.gltf.samplers[texture.sampler]
        wrap = (sampler.wrapS or REPEAT, sampler.wrapT or REPEAT)
    for source in sources:
        pixels = None if source is None else _pixels(file, source)
        if pixels is not None:
            return Picture(pixels=pixels, wrap=wrap)
    if not file.missing:
        file.miss("a texture that names no picture")
    return None


def _pixels(file: GltfFile, image_id: int) -> Tensor | None:
    """A picture of the file, [H, W, 4], decoded once; None, and ``file.missing`` says why, where it cannot be read."""
    if image_id not in file.decoded:
        data, pixels = file.picture(image_id), None
        if data is not None:
            try:
                pixels = torch.from_numpy(np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")) / np.float32(255.0))
            except Exception:  # Pillow raises whatever its decoders do
                name = file.gltf.images[image_id].name or f"picture {image_id}"
                file.miss(f"a texture, {name}, which cannot be read as a picture")
        file.decoded[image_id] = pixels
    return file.decoded[image_id]
