"""A mesh file of any kind as a plain binary glTF, with the colours that our own readers see in it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib
import torch
from PIL import Image
from torch import Tensor

from stages.errors import BadInput
from stages.meshes.gltf import understanding
from stages.meshes.other_meshes import read_parts
from stages.meshes.paint import Part, Picture

Array = np.ndarray[Any, Any]
INDICES, VERTICES = pygltflib.ELEMENT_ARRAY_BUFFER, pygltflib.ARRAY_BUFFER


def as_glb(path: Path) -> bytes:
    """A mesh file that is not glTF as a binary glTF. Raises ``BadInput``: it is missing, or cannot be read."""
    if not path.is_file():
        raise BadInput(f"There is no file {path}.", "Check the path.")
    with understanding(path):
        parts, _, _ = read_parts(path)
        writer = _Writer()
        for part in parts:
            writer.add_part(part)
        return writer.to_bytes(path.stem)


class _Writer:
    """A glTF in the making: one node with one mesh, a primitive and a material a part."""

    def __init__(self) -> None:
        self.gltf = pygltflib.GLTF2(asset=pygltflib.Asset(version="2.0"))
        self.blob = bytearray()

    def add_part(self, part: Part) -> None:
        """Vertices, faces, texture coordinates, colours and the material of one part."""
        vertices, faces, paint = part
        per_corner = [vertices[faces].reshape(-1, 3).astype(np.float32)]
        if paint.uv is not None:
            per_corner.append(paint.uv.numpy().reshape(-1, 2).astype(np.float32))
        if paint.tint is not None:
            per_corner.append(paint.tint.numpy().reshape(-1, 4).astype(np.float32))
        rows = np.concatenate([faces.reshape(-1, 1).astype(np.float64), *per_corner[1:]], axis=1)
        # vertices are parted where texture coordinates or colours differ at them, and nowhere else
        _, first, corners = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        attributes = pygltflib.Attributes(POSITION=self._add(per_corner[0][first], "VEC3", VERTICES, bounds=True))
        if paint.uv is not None:
            attributes.TEXCOORD_0 = self._add(per_corner[1][first], "VEC2", VERTICES)
        if paint.tint is not None:
            attributes.COLOR_0 = self._add(per_corner[-1][first], "VEC4", VERTICES)
        primitive = pygltflib.Primitive(attributes=attributes)
        primitive.indices = self._add(corners.reshape(-1).astype(np.uint32), "SCALAR", INDICES)
        if not paint.is_plain:
            primitive.material = len(self.gltf.materials)
            self.gltf.materials.append(self._material(paint))
        if not self.gltf.meshes:
            self.gltf.meshes.append(pygltflib.Mesh(primitives=[]))
        self.gltf.meshes[0].primitives.append(primitive)

    def _material(self, paint: Any) -> pygltflib.Material:
        shading = pygltflib.PbrMetallicRoughness(metallicFactor=0.0)
        if paint.factor is not None:
            shading.baseColorFactor = [float(number) for number in paint.factor]
        if paint.picture is not None:
            shading.baseColorTexture = pygltflib.TextureInfo(index=self._texture(paint.picture))
        material = pygltflib.Material(pbrMetallicRoughness=shading, doubleSided=True, alphaMode="OPAQUE")
        if paint.cutoff is not None:
            material.alphaMode, material.alphaCutoff = "MASK", paint.cutoff
        elif paint.see_through:
            material.alphaMode = "BLEND"
        if paint.glow is not None:
            material.emissiveFactor = [min(1.0, float(number)) for number in paint.glow.factor]
        return material

    def _texture(self, picture: Picture) -> int:
        """The id of a texture with the picture inside the file."""
        stream = io.BytesIO()
        opaque = bool((picture.pixels[..., 3] == 1.0).all())
        Image.fromarray(_bytes(picture.pixels[..., :3] if opaque else picture.pixels)).save(stream, format="PNG")
        self.gltf.images.append(pygltflib.Image(bufferView=self._view(stream.getvalue()), mimeType="image/png"))
        self.gltf.samplers.append(pygltflib.Sampler(wrapS=picture.wrap[0], wrapT=picture.wrap[1]))
        self.gltf.textures.append(
            pygltflib.Texture(source=len(self.gltf.images) - 1, sampler=len(self.gltf.samplers) - 1)
        )
        return len(self.gltf.textures) - 1

    def _view(self, data: bytes, target: int | None = None) -> int:
        self.blob.extend(b"\0" * (-len(self.blob) % 4))
        view = pygltflib.BufferView(buffer=0, byteOffset=len(self.blob), byteLength=len(data), target=target)
        self.blob.extend(data)
        self.gltf.bufferViews.append(view)
        return len(self.gltf.bufferViews) - 1

    def _add(self, values: Array, kind: str, target: int, *, bounds: bool = False) -> int:
        """The accessor of ``values`` [count] or [count, width], floats or 32-bit indices."""
        accessor = pygltflib.Accessor(
            bufferView=self._view(np.ascontiguousarray(values).tobytes(), target),
            componentType=pygltflib.FLOAT if values.dtype == np.float32 else pygltflib.UNSIGNED_INT,
            count=len(values),
            type=kind,
        )
        if bounds:
            accessor.min, accessor.max = values.min(axis=0).tolist(), values.max(axis=0).tolist()
        self.gltf.accessors.append(accessor)
        return len(self.gltf.accessors) - 1

    def to_bytes(self, name: str) -> bytes:
        """The whole file."""
        if self.gltf.meshes:
            self.gltf.nodes.append(pygltflib.Node(name=name, mesh=0))
        self.gltf.scenes.append(pygltflib.Scene(nodes=[0] if self.gltf.meshes else []))
        self.gltf.scene = 0
        if self.blob:
            self.gltf.buffers.append(pygltflib.Buffer(byteLength=len(self.blob)))
            self.gltf.set_binary_blob(bytes(self.blob))
        return b"".join(self.gltf.save_to_bytes())


def _bytes(pixels: Tensor) -> Array:
    return np.asarray((pixels * 255.0).round().to(torch.uint8).numpy())
