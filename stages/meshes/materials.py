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
from stages.meshes.paint import REPEAT, Glow, Paint, Picture, read_pixels
from stages.meshes.scene import Primitive

SPECULAR = "KHR_materials_pbrSpecularGlossiness"
TRANSFORM = "KHR_texture_transform"
UNLIT = "KHR_materials_unlit"
STRENGTH = "KHR_materials_emissive_strength"
OTHER_SOURCES = ("EXT_texture_webp", "EXT_texture_avif", "KHR_texture_basisu", "MSFT_texture_dds")
KTX2 = b"\xabKTX 20\xbb"
"""How files of that kind begin."""

USED = {SPECULAR, TRANSFORM, UNLIT, STRENGTH, *OTHER_SOURCES, "KHR_mesh_quantization", "KHR_node_visibility"}
"""Extensions whose effect is seen here. Packed vertices and instances are made plain when a file is opened."""

IN_BYTES = 2.0
"""Factors should lie in [0, 1]. A larger one than this is taken to count from 0 to 255, as some writers have it
(mikedh/trimesh#1971); what lies between is cut to 1. [ours]"""


def tell_extensions(file: GltfFile) -> None:
    """Have ``file.missing`` name the extensions that the file uses and that change nothing here."""
    names = [name for name in file.gltf.extensionsUsed or [] if name not in USED and "gaussian_splatting" not in name]
    if names:
        file.miss(f"{', '.join(names)}, which {'is' if len(names) == 1 else 'are'} not used here")


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
    if mode == "MASK" and factor[3] < cutoff:  # a texture and vertices only make alpha less
        file.tell("A material that its own mask would hide whole is taken as opaque: converters write such by mistake.")
        mode = "OPAQUE"
    return Paint(
        factor=torch.tensor(_in_range(file, factor), dtype=torch.float32),
        tint=tint,
        picture=picture,
        uv=uv,
        cutoff=cutoff if mode == "MASK" else None,
        see_through=mode == "BLEND",
        glow=_glow(file, primitive, faces, material),
        unlit=UNLIT in (material.extensions or {}),
    )


def _glow(file: GltfFile, primitive: Any, faces: Array, material: Any) -> Glow | None:
    """The light that a material sends out by itself (glTF 2.0, 3.9.4); None: it sends none."""
    strength = float(((material.extensions or {}).get(STRENGTH) or {}).get("emissiveStrength", 1.0))
    factor = strength * torch.tensor([float(number) for number in material.emissiveFactor or (0.0,) * 3])
    if not factor.any():
        return None
    info = material.emissiveTexture
    if info is None:
        return Glow(factor=factor)
    picture, uv = _texture(file, primitive, faces, info if isinstance(info, dict) else vars(info))
    return None if picture is None else Glow(factor=factor, picture=picture, uv=uv)


def _in_range(file: GltfFile, factor: list[float]) -> list[float]:
    """A base colour's factor [4] in [0, 1], and a word where it was not."""
    largest = max(factor)
    if largest <= 1.0:
        return factor
    if largest > IN_BYTES:
        file.miss("a base colour beyond 1, which is taken to count to 255")
        return [number / 255.0 for number in factor]
    file.miss("a base colour beyond 1, which is cut to 1")
    return [min(number, 1.0) for number in factor]


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
    if all(source is None for source in sources):
        file.miss("a texture that names no picture")
    return None


def _pixels(file: GltfFile, image_id: int) -> Tensor | None:
    """A picture of the file, [H, W, 4], decoded once; None, and ``file.missing`` says why, where it cannot be read."""
    if image_id not in file.decoded:
        data, pixels = file.picture(image_id), None
        if data is not None:
            try:
                pixels = read_pixels(Image.open(io.BytesIO(data)))
            except Exception:  # Pillow raises whatever its decoders do
                file.miss(_unread(file.gltf.images[image_id], image_id, data))
        file.decoded[image_id] = pixels
    return file.decoded[image_id]


def _unread(image: Any, image_id: int, data: bytes) -> str:
    """What is said of a picture that cannot be read."""
    name = image.name or f"picture {image_id}"
    if data.startswith(KTX2):
        return f"a texture, {name}, packed as KTX2 (KHR_texture_basisu): gltf-transform ktxdecompress IN.glb OUT.glb"
    kind = f" ({image.mimeType})" if image.mimeType else ""
    return f"a texture, {name}{kind}, which cannot be read as a picture"
