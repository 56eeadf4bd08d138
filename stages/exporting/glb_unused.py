"""What nothing in a ``.glb`` refers to any more goes: numbers of animations, skins and vertices that were replaced."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stages.exporting.glb_file import GlbFile

UNDERSTOOD = ("KHR_materials_", "KHR_texture_", "EXT_texture_", "KHR_lights_", "KHR_mesh_quantization")
"""How the names of those extensions begin that refer to numbers only by way of textures, or not at all."""

Slot = tuple[dict[str, Any], str]
"""Where a number stands that says which accessor, or which view, is meant."""


def without_unused(file: GlbFile) -> GlbFile:
    """The file without the accessors and buffer views that nothing refers to, and without their bytes.

    As it is where an extension is used of which it is not known what it refers to.
    """
    content = file.content
    if not all(name.startswith(UNDERSTOOD) for name in content.get("extensionsUsed", [])):
        return file
    _renumber(content, "accessors", list(_to_accessors(content)))
    _renumber(content, "bufferViews", list(_to_views(content)))
    blob = bytearray()
    for view in content.get("bufferViews", []):
        start = view.get("byteOffset", 0)
        blob.extend(b"\0" * (-len(blob) % 4))
        view["byteOffset"] = len(blob)
        blob.extend(file.blob[start : start + view["byteLength"]])
    return GlbFile(content, blob)


def _renumber(content: dict[str, Any], kind: str, slots: list[Slot]) -> None:
    """Keep those entries of ``content[kind]`` that ``slots`` name, in their order."""
    used = sorted({place[key] for place, key in slots})
    new = {old: number for number, old in enumerate(used)}
    for place, key in slots:
        place[key] = new[place[key]]
    if kind in content:
        content[kind] = [content[kind][old] for old in used]


def _to_accessors(content: dict[str, Any]) -> Iterator[Slot]:
    for mesh in content.get("meshes", []):
        for primitive in mesh["primitives"]:
            for attributes in (primitive["attributes"], *primitive.get("targets", [])):
                yield from ((attributes, name) for name in attributes)
            yield from _where(primitive, "indices")
    for skin in content.get("skins", []):
        yield from _where(skin, "inverseBindMatrices")
    for animation in content.get("animations", []):
        for sampler in animation["samplers"]:
            yield from ((sampler, key) for key in ("input", "output"))


def _to_views(content: dict[str, Any]) -> Iterator[Slot]:
    for accessor in content.get("accessors", []):
        sparse = accessor.get("sparse", {})
        for place in (accessor, sparse.get("indices", {}), sparse.get("values", {})):
            yield from _where(place, "bufferView")
    for image in content.get("images", []):
        yield from _where(image, "bufferView")


def _where(place: dict[str, Any], key: str) -> list[Slot]:
    return [(place, key)] if key in place else []
