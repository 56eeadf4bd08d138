"""Splats in glTF: primitives with ``KHR_gaussian_splatting``, plain or packed as SPZ, in ``.glb`` and ``.gltf``.

A point primitive has ``POSITION`` and, each with the prefix ``KHR_gaussian_splatting:``, ``ROTATION`` (xyzw),
``SCALE`` (linear), ``OPACITY`` (0..1) and ``SH_DEGREE_l_COEF_n``, in colours as displayed (``srgb_rec709_display``) or
in linear light (``lin_rec709_scene``). glTF is y up. Nodes place them. Drafts had the prefix ``_``, colours in
``COLOR_0``, and for a time logarithms of scales, which are told by their being negative.
Source: KHR_gaussian_splatting, ratified, and KHR_gaussian_splatting_compression_spz_2, github.com/KhronosGroup/glTF.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation, Slerp

from stages.errors import BadInput
from stages.events import Caution, Note, Report, silent
from stages.gaussians.asset import Gaussians, joined
from stages.gaussians.formats.checked import Array, checked_gaussians, log_scales_of
from stages.gaussians.formats.spz import parse_spz
from stages.gaussians.sh import C0, rgb_to_sh0, sh0_to_rgb
from stages.gaussians.transform import place
from stages.meshes.gltf import GltfFile, open_gltf, understanding
from stages.meshes.paint import displayed
from stages.meshes.scene import shown_nodes, world_matrices

NAME = "KHR_gaussian_splatting"
LINEAR, DISPLAY = "lin_rec709_scene", "srgb_rec709_display"
OURS = {NAME, "KHR_mesh_quantization", "KHR_materials_unlit", "EXT_meshopt_compression", "KHR_meshopt_compression"}
"""Extensions whose presence needs no word."""


def holds_splats(path: Path) -> bool:
    """Whether a ``.glb`` or ``.gltf`` has a primitive of Gaussians. False for what cannot be read at all."""
    try:
        with path.open("rb") as file:
            head = file.read(20)
            binary = head[:4] == b"glTF"
            length = min(int.from_bytes(head[12:16], "little"), path.stat().st_size)  # it may promise gigabytes
            text = file.read(length) if binary else head + file.read()
        if NAME.encode() not in text and b"gaussian_splats" not in text:
            return False
        meshes = json.loads(text.decode("utf-8-sig")).get("meshes", [])
        return any(_is_splat(primitive.get("extensions")) for mesh in meshes for primitive in mesh["primitives"])
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError):
        return False


def _is_splat(extensions: dict[str, Any] | None) -> bool:
    return any(name == NAME or "gaussian_splats" in name for name in extensions or {})


def read_splat_glb(path: Path, report: Report = silent, *, seconds: float | None = None) -> Gaussians:
    """The Gaussians of a file's default scene, where its nodes place them, y up.

    Args:
        seconds: the moment of the first animation to take; at rest when None. Nodes of scale zero are not shown then.

    Raises:
        BadInput: the file cannot be read, has no Gaussians in its scene, or they are packed in a way not known here.
    """
    file = open_gltf(path)
    with understanding(path):
        if seconds is not None:
            _move(file, seconds)
        worlds, shown = world_matrices(file), sorted(shown_nodes(file))
        parts, hidden, others = [], 0, 0
        _tell(path, file, report, seconds)
        for node_id in shown:
            mesh_id = file.gltf.nodes[node_id].mesh
            for primitive in [] if mesh_id is None else file.gltf.meshes[mesh_id].primitives:
                if not _is_splat(primitive.extensions):
                    others += 1
                elif abs(np.linalg.det(worlds[node_id][:3, :3])) < 1e-30:
                    hidden += 1
                else:
                    parts.append(place(_primitive(path, file, primitive, report), torch.tensor(worlds[node_id])))
    if not parts:
        raise BadInput(f"{path} has no Gaussians in its scene.", "Export it again.")
    if others:
        report(Caution(f"{path} also holds {others} meshes, which are not used."))
    if hidden:
        report(Note(f"{path} holds {hidden} splats that are not shown at that moment (scale 0)."))
    return joined(parts)


def _tell(path: Path, file: GltfFile, report: Report, seconds: float | None) -> None:
    """Name what the file has and is not used."""
    clips = file.gltf.animations or []
    if clips and seconds is None:
        report(Note(f"{path} has {len(clips)} animations; it is taken as it stands without them."))
    used = file.gltf.extensionsUsed or []
    unknown = [name for name in used if name not in OURS and "gaussian_splat" not in name]
    if unknown:
        report(Caution(f"{path} uses {', '.join(unknown)}, which is not used."))


def _primitive(path: Path, file: GltfFile, primitive: Any, report: Report) -> Gaussians:
    """The Gaussians of a primitive, in the frame of its mesh."""
    about = primitive.extensions.get(NAME) or {}
    packed = {**primitive.extensions, **(about.get("extensions") or {})}
    for name, content in packed.items():
        if name != NAME and "spz" in name:
            return _colored(parse_spz(path, file.view(content["bufferView"]), report), about)
    if unknown := [name for name in about.get("extensions") or {} if "compression" in name]:
        raise BadInput(f"{path} is packed by {', '.join(unknown)}, which is not read.", "Export it without, or as SPZ.")
    for key, known in (("kernel", "ellipse"), ("projection", "perspective"), ("sortingMethod", "cameraDistance")):
        if about.get(key, known) != known:
            report(Caution(f"{path} has {key} {about[key]!r}, which is taken for {known!r}."))

    def values(name: str) -> Array | None:
        for prefix in (f"{NAME}:", "_"):
            accessor_id = getattr(primitive.attributes, prefix + name, None)
            if accessor_id is not None:
                return file.accessor(accessor_id).astype(np.float64)
        return None

    means, color = file.attribute(primitive, "POSITION"), file.attribute(primitive, "COLOR_0")
    quats, scales, opacity, dc = (values(name) for name in ("ROTATION", "SCALE", "OPACITY", "SH_DEGREE_0_COEF_0"))
    if dc is None and color is not None:
        dc = (color[:, :3].astype(np.float64) - 0.5) / C0
    if opacity is None and color is not None and color.shape[1] == 4:
        opacity = color[:, 3:].astype(np.float64)
    named = {"POSITION": means, "ROTATION": quats, "SCALE": scales, "OPACITY": opacity, "SH_DEGREE_0_COEF_0": dc}
    if missing := [name for name, found in named.items() if found is None]:
        raise BadInput(f"{path} has Gaussians without {', '.join(missing)}.", "Export it again.")
    assert means is not None and quats is not None and scales is not None and opacity is not None and dc is not None
    if (scales < 0.0).any():
        report(Note(f"{path} has negative scales: taken for logarithms, as a draft of {NAME} had them."))
    with np.errstate(divide="ignore", invalid="ignore"):
        logits = np.log(opacity) - np.log1p(-opacity)
    rest = []
    for degree in (1, 2, 3):
        found = [values(f"SH_DEGREE_{degree}_COEF_{n}") for n in range(2 * degree + 1)]
        if any(one is None for one in found):
            break
        rest += [one[:, None, :3] for one in found if one is not None]
    gaussians = checked_gaussians(
        path,
        means=means,
        quats=quats[:, [3, 0, 1, 2]],
        log_scales=scales if (scales < 0.0).any() else log_scales_of(scales),
        logit_opacities=logits[:, 0],
        sh=np.concatenate([dc[:, None], *rest], axis=1),
        report=report,
    )
    return _colored(gaussians, about, report)


def _colored(gaussians: Gaussians, about: dict[str, Any], report: Report = silent) -> Gaussians:
    """Colours as displayed, of a file that has them so or in linear light. There the harmonics beyond degree 0 are
    scaled as the curve is steep at the plain colour: exact for small ones."""
    if about.get("colorSpace", DISPLAY) != LINEAR:
        return gaussians
    report(Note("Its colours are in linear light, and become those of a display."))
    linear = sh0_to_rgb(gaussians.sh[:, 0]).clamp(min=0.0)
    step = 1e-3
    slope = (displayed(linear + step) - displayed(linear)) / step
    sh = torch.cat([rgb_to_sh0(displayed(linear))[:, None], slope[:, None] * gaussians.sh[:, 1:]], dim=1)
    return replace(gaussians, sh=sh)


def _move(file: GltfFile, seconds: float) -> None:
    """Put the nodes where the first animation has them at ``seconds``; its ends hold (glTF 2.0, 3.11)."""
    clips = file.gltf.animations or []
    for channel in clips[0].channels if clips else []:
        sampler = clips[0].samplers[channel.sampler]
        times, values = file.accessor(sampler.input)[:, 0], file.accessor(sampler.output).astype(np.float64)
        if channel.target.node is None or channel.target.path == "weights":
            continue
        if sampler.interpolation == "CUBICSPLINE":
            values = values[1::3]  # at the keys; between them as if they were linear
        node = file.gltf.nodes[channel.target.node]
        moment = min(max(seconds, float(times[0])), float(times[-1]))
        before = int(np.searchsorted(times, moment, side="right")) - 1
        if sampler.interpolation == "STEP" or before == len(times) - 1:
            value = values[before]
        elif channel.target.path == "rotation":
            pair = Rotation.from_quat(values[before : before + 2])
            value = Slerp(times[before : before + 2], pair)(moment).as_quat()
        else:
            share = (moment - times[before]) / (times[before + 1] - times[before])
            value = (1.0 - share) * values[before] + share * values[before + 1]
        setattr(node, channel.target.path, value.tolist())
