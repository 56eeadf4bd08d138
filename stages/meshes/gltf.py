"""A glTF 2.0 file opened: its JSON, its buffers and pictures wherever they lie, and the numbers in its accessors."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from stages.errors import AnimusError, BadInput, first_line
from stages.meshes.compression import DTYPES
from stages.meshes.plain_gltf import load_uri, plain_gltf

SUFFIXES = (".glb", ".gltf")
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class GltfFile:
    """The parsed file in its plain form (``plain_gltf``). ``gltf`` is a ``pygltflib.GLTF2``; ``blob`` are all its
    buffers in one, which the buffer views of ``gltf`` refer to; ``data`` is the whole file in that form."""

    path: Path
    gltf: Any
    blob: bytes
    data: bytes
    told: list[str] = field(default_factory=list)  # whole sentences about what was done to read it
    missing: list[str] = field(default_factory=list)  # what it names and that cannot be used, and why
    decoded: dict[int, Any] = field(default_factory=dict)  # pictures that have been decoded, by their id

    def accessor(self, accessor_id: int) -> Array:
        """Values [count, width] of an accessor; see ``read_accessor``."""
        return read_accessor(self.gltf, self.blob, accessor_id)

    def attribute(self, primitive: Any, name: str) -> Array | None:
        """Values [V, width] of an attribute of a primitive, such as "POSITION"; None when it has none."""
        accessor_id = getattr(primitive.attributes, name, None)
        return None if accessor_id is None else self.accessor(accessor_id)

    def picture(self, image_id: int) -> bytes | None:
        """The encoded picture; None when it is in a file that is not there, which ``missing`` then names."""
        image = self.gltf.images[image_id]
        if image.bufferView is not None:
            return self.view(image.bufferView)
        try:
            return load_uri(image.uri or "", self.path.parent)
        except FileNotFoundError:
            name = image.uri or f"picture {image_id}"
            self.miss(f"a reference to {unquote(name)}, which is not there")
            return None

    def view(self, view_id: int) -> bytes:
        """The bytes of a buffer view."""
        view = self.gltf.bufferViews[view_id]
        return self.blob[view.byteOffset or 0 :][: view.byteLength]

    def miss(self, what: str) -> None:
        """Remember once what could not be used."""
        if what not in self.missing:
            self.missing.append(what)

    def tell(self, sentence: str) -> None:
        """Remember once what to say of how it was read."""
        if sentence not in self.told:
            self.told.append(sentence)


def open_gltf(path: Path) -> GltfFile:
    """Open a ``.glb`` or ``.gltf``, whichever its first bytes say.

    Raises:
        BadInput: the file, or a buffer that it names, is missing; it is not glTF.
    """
    if not path.is_file():
        raise BadInput(f"There is no file {path}.", "Check the path.")
    with understanding(path):
        return parse_gltf(path, path.read_bytes())


def parse_gltf(path: Path, data: bytes) -> GltfFile:
    """The content ``data`` of a ``.glb`` or ``.gltf`` that lies at ``path``, or would.

    Raises:
        BadInput: a buffer that it names is missing; what is packed in it cannot be unpacked.
        NotAvailable: it is packed by Draco, and DracoPy is not installed.
        ValueError: it is not glTF; json, struct and pygltflib raise others.
    """
    from pygltflib import GLTF2  # takes as long to import as a small file to read

    content, blob, plain, told = plain_gltf(data, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # chunks of extensions that are not used here
        gltf = GLTF2.gltf_from_json(json.dumps(content))
    for node, own in zip(gltf.nodes, content.get("nodes", []), strict=True):
        node.weights = own.get("weights")  # of morph targets: pygltflib knows those of meshes only
    return GltfFile(path, gltf, blob, plain, told)


def has_splats(gltf: Any) -> bool:
    """Whether a file, as pygltflib holds it, has Gaussians in it (KHR_gaussian_splatting)."""
    return any("gaussian_splatting" in name for name in gltf.extensionsUsed or [])


class understanding:
    """A context in which whatever goes wrong with a file becomes one ``BadInput`` line about it: parsers raise what
    json and struct do, and indices in the file may point anywhere."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, Exception) or isinstance(error, AnimusError):
            return
        raise BadInput(f"{self.path} cannot be read as a mesh: {first_line(error)}.", "Export it again.") from None


def read_accessor(gltf: Any, blob: bytes | bytearray, accessor_id: int) -> Array:
    """Values [count, width] of an accessor of a ``pygltflib.GLTF2`` whose buffers are one ``blob``.

    Normalised integers become floats, the smallest -1 (glTF 2.0, 3.11); what a sparse accessor replaces is replaced,
    and one without a buffer view begins with zeros (3.6.2.3).
    """
    accessor = gltf.accessors[accessor_id]
    dtype, width = np.dtype(DTYPES[accessor.componentType]), WIDTHS[accessor.type]
    if accessor.bufferView is None:
        values: Array = np.zeros((accessor.count, width), dtype)
    else:
        values = _rows(gltf, blob, accessor.bufferView, accessor.byteOffset, dtype, accessor.count, width)
    if accessor.sparse is not None:
        some, replaced = accessor.sparse, accessor.sparse.indices
        kind = np.dtype(DTYPES[replaced.componentType])
        where = _rows(gltf, blob, replaced.bufferView, replaced.byteOffset, kind, some.count, 1)[:, 0]
        values = values.copy()
        values[where] = _rows(gltf, blob, some.values.bufferView, some.values.byteOffset, dtype, some.count, width)
    if accessor.normalized:
        values = np.maximum(values.astype(np.float32) / np.iinfo(dtype.str).max, -1.0)
    return values


def _rows(
    gltf: Any, blob: bytes | bytearray, view_id: int, offset: int | None, dtype: np.dtype[Any], count: int, width: int
) -> Array:
    """``count`` rows of ``width`` numbers in a buffer view, which may lie apart (``byteStride``)."""
    view, row = gltf.bufferViews[view_id], dtype.itemsize * width
    if count == 0:
        return np.zeros((0, width), dtype)
    stride = view.byteStride or row
    first = (view.byteOffset or 0) + (offset or 0)
    raw = np.frombuffer(blob, np.uint8, count=stride * (count - 1) + row, offset=first)
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(raw, (count, row), (stride, 1))).view(dtype)
