"""What feature networks say of an asset's pictures, alone and against a reference set."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from stages.evaluating.feature_networks import Networks
from stages.evaluating.reference import ReferenceSet
from stages.metrics import catalogue
from stages.metrics.builtin import LPIPS_PX
from stages.metrics.catalogue import Entry, measured, missing
from stages.metrics.frechet import frechet_distance
from stages.metrics.video import i2v_subject, is_dynamic, mean_cosine, smoothness


class ImageNetwork(Protocol):
    """A network that looks at pictures."""

    backbone: str

    def images(self, images: Tensor) -> Tensor:
        """uint8 [..., H, W, 3] -> [..., D]."""


def by_networks(
    networks: Networks,
    reference: ReferenceSet | None,
    frames: Tensor,  # uint8 [V, T, H, W, 3]
    stills: Tensor,  # uint8 [V, H, W, 3] the asset at rest, from the same cameras
    prompt: str,
) -> dict[str, Entry]:
    """Every metric that needs a network; those whose network is not here say how to get it."""
    where = {"views": frames.shape[0], "frames": frames.shape[1], "size_px": frames.shape[2]}
    return (
        _clip(networks, frames, stills, prompt, where)
        | _vbench(networks, frames, stills, where)
        | {name: missing(name, catalogue.VIDEOPHY) for name in ("videophy_sa", "videophy_pc")}
        | _builtin(networks, frames, stills, where)
        | _against(networks, reference, frames, where)
    )


def _clip(networks: Networks, frames: Tensor, stills: Tensor, prompt: str, where: dict[str, Any]) -> dict[str, Entry]:
    if networks.clip is None:
        return {name: missing(name, catalogue.CLIP) for name in ("clip_image", "clip_text")} | {
            "aesthetic": missing("aesthetic", catalogue.AESTHETIC)
        }
    clip, where = networks.clip, {"backbone": networks.clip.backbone} | where
    seen = clip.images(frames)
    return {
        "clip_image": measured("clip_image", mean_cosine(seen, clip.images(stills)[:, None]), **where),
        "clip_text": measured("clip_text", 100.0 * mean_cosine(seen, clip.text(prompt)), **where)
        if prompt
        else missing("clip_text", catalogue.PROMPT),
        "aesthetic": _aesthetic(networks, seen, where),
    }


def _aesthetic(networks: Networks, seen: Tensor, where: dict[str, Any]) -> Entry:
    """Of CLIP's features [V, T, D] of the frames."""
    head, clip = networks.aesthetic, networks.clip
    if head is None or clip is None:
        return missing("aesthetic", catalogue.AESTHETIC)
    other = {} if clip.is_large else {"warning": "LAION's aesthetic heads are for CLIP ViT-L/14, this was another."}
    return measured("aesthetic", float(head.scores(seen).double().mean()), head=head.name, **where, **other)


def _vbench(networks: Networks, frames: Tensor, stills: Tensor, where: dict[str, Any]) -> dict[str, Entry]:
    entries = {
        "i2v_subject": missing("i2v_subject", catalogue.DINO),
        "motion_smoothness": missing("motion_smoothness", catalogue.AMT),
        "dynamic_degree": missing("dynamic_degree", catalogue.RAFT),
    }
    if (dino := networks.dino) is not None:
        value = i2v_subject(dino.images(frames), dino.images(stills))
        other = (
            {} if dino.is_vbench else {"warning": "I2V subject of VBench is by DINO ViT-B/16, this was another ViT."}
        )
        entries["i2v_subject"] = measured("i2v_subject", value, backbone=dino.backbone, **where, **other)
    if (raft := networks.raft) is not None:
        moves = [float(is_dynamic(raft.flow(clip))) for clip in frames]
        entries["dynamic_degree"] = measured("dynamic_degree", _mean(moves), backbone=raft.backbone, **where)
    if (amt := networks.amt) is not None and frames.shape[1] < 3:
        entries["motion_smoothness"] = missing("motion_smoothness", catalogue.MORE_FRAMES)
    elif amt is not None:
        smooth = [smoothness(_odd(clip), amt.between(clip[::2])) for clip in frames]
        entries["motion_smoothness"] = measured("motion_smoothness", _mean(smooth), backbone=amt.backbone, **where)
    return entries


def _odd(clip: Tensor) -> Tensor:
    """Frames 1, 3, ... of uint8 [T, H, W, 3] that have a frame on either side, in [0, 1]."""
    return clip[1 : len(clip) - 1 : 2].float() / 255.0


def _builtin(networks: Networks, frames: Tensor, stills: Tensor, where: dict[str, Any]) -> dict[str, Entry]:
    names = "lpips_static", "image_efficientnet_lite0"
    entries = {name: missing(name, catalogue.EXTRA) for name in names}
    if (lpips := networks.lpips) is not None and frames.shape[2] < LPIPS_PX:
        entries[names[0]] = missing(names[0], f"--set size={LPIPS_PX} or more")
    elif lpips is not None:
        away = torch.cat([lpips.distances(clip, still) for clip, still in zip(frames, stills, strict=True)])
        entries[names[0]] = measured(names[0], float(away.double().mean()), backbone=lpips.backbone, **where)
    if (network := networks.efficientnet) is not None:
        value = mean_cosine(network.images(frames), network.images(stills)[:, None])
        entries[names[1]] = measured(names[1], value, backbone=network.backbone, **where)
    return entries


def _against(
    networks: Networks, reference: ReferenceSet | None, frames: Tensor, where: dict[str, Any]
) -> dict[str, Entry]:
    """FID and FVD, and FID's stand-in."""
    entries = {}
    images: tuple[tuple[str, ImageNetwork | None, str], ...] = (
        ("fid", networks.inception, catalogue.INCEPTION),
        ("fid_efficientnet_lite0", networks.efficientnet, catalogue.EXTRA),
    )
    for name, network, how in images:
        if network is None or reference is None:
            entries[name] = missing(name, _needs(network, how, reference))
            continue
        entries[name] = _frechet(
            name, network.backbone, network.images(frames).flatten(0, 1),
            reference.frame_features(name, network.images), reference, where,
        )  # fmt: skip
    i3d = networks.i3d
    if i3d is None or reference is None:
        return entries | {"fvd": missing("fvd", _needs(i3d, catalogue.I3D, reference))}
    there = reference.video_features("fvd", i3d.videos, frames.shape[1])
    return entries | {"fvd": _frechet("fvd", i3d.backbone, i3d.videos(frames), there, reference, where)}


def _needs(network: object, how: str, reference: ReferenceSet | None) -> str:
    wanted = ([how] if network is None else []) + ([catalogue.REFERENCE] if reference is None else [])
    return "; and ".join(wanted)


def _frechet(
    name: str, backbone: str, here: Tensor, there: Tensor, reference: ReferenceSet, where: dict[str, Any]
) -> Entry:
    """The distance of two sets of features, with how many there were, and a warning where that is few."""
    kind = "videos long enough" if name == "fvd" else "pictures"
    fewest, dimensions = min(len(here), len(there)), here.shape[1]
    where = {"backbone": backbone, "reference": reference.name} | where
    where |= {"samples": len(here), "reference_samples": len(there), "dimensions": dimensions}
    if fewest < 2:
        return missing(name, f"at least 2 {kind} on either side, not {len(here)} and {len(there)}", **where)
    if fewest < dimensions:
        where["warning"] = (
            f"{name.replace('_', ' ')} from {fewest} {kind.split()[0]} is far from exact: with fewer than the "
            f"{dimensions} dimensions of its features, compare it only between equal numbers."
        )
    return measured(name, frechet_distance(here, there), **where)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
