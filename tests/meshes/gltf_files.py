"""Small glTF files written by hand, with plain json and struct: a square, and what a test wants of it."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
UV = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)  # v runs downwards: the picture stands upright
CORNERS = np.array([0, 1, 2, 0, 2, 3], np.uint16)
TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
COMPONENTS = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}


class Gltf:
    """A glTF file in the making: ``json`` is open to any change."""

    def __init__(self) -> None:
        self.json: dict[str, Any] = {
            "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
            "meshes": [{"primitives": [{"attributes": {}}]}], "accessors": [], "bufferViews": [],
        }  # fmt: skip
        self.blob = b""

    @classmethod
    def square(cls) -> Gltf:
        """Two triangles from (0, 0, 0) to (1, 1, 0) with texture coordinates."""
        made = cls()
        made.attribute("POSITION", SQUARE)
        made.attribute("TEXCOORD_0", UV)
        made.primitive["indices"] = made.accessor(CORNERS)
        return made

    @property
    def primitive(self) -> dict[str, Any]:
        """The first primitive."""
        primitive: dict[str, Any] = self.json["meshes"][0]["primitives"][0]
        return primitive

    def view(self, data: bytes) -> int:
        """A buffer view of ``data``."""
        self.blob += b"\0" * (-len(self.blob) % 4)
        self.json["bufferViews"].append({"buffer": 0, "byteOffset": len(self.blob), "byteLength": len(data)})
        self.blob += data
        return len(self.json["bufferViews"]) - 1

    def accessor(self, values: Any, **more: Any) -> int:
        """An accessor of ``values`` [count] or [count, width]."""
        array = np.ascontiguousarray(values)
        width = 1 if array.ndim == 1 else array.shape[1]
        entry = {"bufferView": self.view(array.tobytes()), "componentType": COMPONENTS[array.dtype.name]}
        self.json["accessors"].append(entry | {"count": len(array), "type": TYPES[width]} | more)
        return len(self.json["accessors"]) - 1

    def attribute(self, name: str, values: Any, **more: Any) -> None:
        """Give the first primitive an attribute."""
        self.primitive["attributes"][name] = self.accessor(values, **more)

    def material(self, material: dict[str, Any]) -> None:
        """Give the first primitive a material."""
        self.json["materials"] = [material]
        self.primitive["material"] = 0

    def textured(self, pixels: Any, *, info: Any = None, sampler: Any = None, **shading: Any) -> None:
        """Give the first primitive a material with the picture ``pixels`` [H, W, 3 or 4] inside the file."""
        self.json["images"] = [{"bufferView": self.view(png(pixels)), "mimeType": "image/png"}]
        self.json["textures"] = [{"source": 0} | ({"sampler": 0} if sampler else {})]
        self.json["samplers"] = [sampler or {}]
        self.material({"pbrMetallicRoughness": {"baseColorTexture": {"index": 0} | (info or {}), **shading}})

    def write_glb(self, path: Path) -> Path:
        """As one binary file."""
        self.json["buffers"] = [{"byteLength": len(self.blob)}]
        text, blob = json.dumps(self.json).encode(), self.blob
        text, blob = text + b" " * (-len(text) % 4), blob + b"\0" * (-len(blob) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(blob), b"BIN\0") + blob
        path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
        return path

    def write_gltf(self, path: Path, uri: str, name: str | None = None) -> Path:
        """As JSON, whose buffer is the file ``name`` beside it, or in ``uri`` itself."""
        self.json["buffers"] = [{"byteLength": len(self.blob), "uri": uri}]
        path.write_text(json.dumps(self.json))
        if name is not None:
            (path.parent / name).write_bytes(self.blob)
        return path


def png(pixels: Any) -> bytes:
    """An encoded picture."""
    stream = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(stream, format="PNG")
    return stream.getvalue()
