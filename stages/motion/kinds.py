"""The kinds of motion there are: the one table. A new kind is a file of its own, a line here, and a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from stages.errors import BadInput
from stages.gaussians import Gaussians
from stages.gaussians.normalised import Placement
from stages.gaussians.spread import spread_points
from stages.motion.hexplane import HexPlane, HexPlaneConfig
from stages.motion.interface import Motion
from stages.motion.point_paths import PointPaths, PointPathsConfig
from stages.motion.sequence import MotionSequence
from stages.motion.skeletal import SkeletalMotion, SkeletonConfig
from stages.settings import check
from stages.skeletons.rig import Rig

NORMALISED = "normalised"
"""What metadata of a motion say of its units (``stages.gaussians.normalised``)."""


@dataclass(frozen=True, kw_only=True)
class MotionConfig:
    """Which kind of motion is made, and its sizes."""

    kind: Literal["hexplane", "points", "skeleton"] = "hexplane"
    hexplane: HexPlaneConfig = field(default_factory=HexPlaneConfig)
    points: PointPathsConfig = field(default_factory=PointPathsConfig)
    skeleton: SkeletonConfig = field(default_factory=SkeletonConfig)

    def __post_init__(self) -> None:
        check(self)


def new_motion(
    config: MotionConfig, asset: Gaussians, seed: int, *, cyclic: bool = False, rig: Rig | None = None
) -> Motion:
    """A motion of ``asset`` that does not move it yet, on its device; ``cyclic``: as a loop, which a HexPlane cannot
    promise; ``rig``: of the asset, which a skeleton needs."""
    if config.kind == SkeletalMotion.kind:
        assert rig is not None
        return SkeletalMotion(config.skeleton, rig, cyclic=cyclic).to(asset.means.device)
    if config.kind == PointPaths.kind:
        points = asset.means[spread_points(asset, config.points.num_points, seed)]
        return PointPaths(config.points, points, cyclic=cyclic).to(asset.means.device)
    low, high = asset.bounds()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return HexPlane(config.hexplane, low.cpu(), high.cpu()).to(asset.means.device)


def load_motion(
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    device: str | torch.device,
    placement: Placement | None = None,
) -> Motion:
    """The motion of a result file; of run format 1 it takes the ``placement`` of the asset to read it.

    Raises:
        BadInput: it is of a kind that is not known here.
    """
    kind = metadata.get("kind", HexPlane.kind)
    if is_former(metadata) and placement is not None:
        tensors = without_rotations(tensors, placement)
    if kind == HexPlane.kind:
        return HexPlane.from_tensors(tensors, metadata).to(device)
    if kind == PointPaths.kind:
        return PointPaths.from_tensors(tensors, metadata).to(device)
    if kind == SkeletalMotion.kind:
        return SkeletalMotion.from_tensors(tensors, metadata).to(device)
    if kind == MotionSequence.kind:
        return MotionSequence.from_tensors(tensors, metadata, partial(load_motion, device=device))
    raise BadInput(f"The motion is a {kind!r}, which is not known here.", "Update animus3d.")


def is_former(metadata: Mapping[str, str]) -> bool:
    """Whether a result is of run format 1: in the file's units, with learnt rotations."""
    return metadata.get("units") != NORMALISED


def without_rotations(tensors: Mapping[str, Tensor], placement: Placement) -> dict[str, Tensor]:
    """The tensors of a result of run format 1 as they are now: its field in the units of the normalised asset, and of
    the six numbers that its decoder gave the three that move a point."""
    box = {name: placement.points(tensors[name].to(placement.centre)) for name in ("low", "high")}
    last = {name: tensors[name][:3] for name in ("decoder.2.weight", "decoder.2.bias")}
    return {**tensors, **box, **last}


def checkpoint_tensors(
    motion: Motion, learnt: Mapping[str, Tensor], before: Sequence[Motion] = ()
) -> dict[str, Tensor]:
    """What a checkpoint holds of ``motion``: ``learnt``, the parameters with the optimiser's memory of them
    (``optimisation_tensors``), and as ``fixed/NAME`` what is not learnt; and of those finished ``before`` it
    ``before/NUMBER/NAME``."""
    parameters = {name for name, _ in motion.named_parameters()}
    fixed = {f"fixed/{name}": tensor for name, tensor in motion.tensors().items() if name not in parameters}
    finished = {
        f"before/{number}/{name}": tensor
        for number, other in enumerate(before)
        for name, tensor in other.tensors().items()
    }
    return {**learnt, **fixed, **finished}


def restore_fixed(motion: Motion, tensors: Mapping[str, Tensor]) -> None:
    """Put what is not learnt of ``motion`` back as ``checkpoint_tensors`` holds it."""
    for name, buffer in motion.named_buffers():
        if (kept := tensors.get(f"fixed/{name}")) is not None:
            buffer.copy_(kept)


def checkpoint_state(motion: Motion, before: Sequence[Motion] = ()) -> dict[str, Any]:
    """What goes with ``checkpoint_tensors``."""
    state: dict[str, Any] = {"motion": motion.metadata()}
    return state | {"before": [other.metadata() for other in before]} if before else state


def motions_before(tensors: Mapping[str, Tensor], state: Mapping[str, Any], device: str) -> list[Motion]:
    """The motions that were finished before the one of a checkpoint."""
    found = []
    for number, metadata in enumerate(state.get("before", [])):
        prefix = f"before/{number}/"
        own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        found.append(load_motion(own, metadata, device))
    return found


def motion_of_checkpoint(tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Motion:
    """The motion as it was in a checkpoint whose ``state`` holds its metadata as "motion"."""
    found = {
        name.partition("/")[2]: value for name, value in tensors.items() if name.startswith(("parameter/", "fixed/"))
    }
    return load_motion(found, state["motion"], "cpu")
