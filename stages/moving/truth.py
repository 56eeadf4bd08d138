"""Where the Gaussians of an asset truly go: by a clip of the ``.glb`` it was made from, or by another run of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from stages.conventions import frame_times, step_generator
from stages.errors import BadInput
from stages.meshes.gltf import SUFFIXES
from stages.meshes.placement import Placement, find_placement
from stages.meshes.surface import sample_surface
from stages.moving.asset import load_moving_asset
from stages.run_dir import RunDir
from stages.skeletons.rigged import RiggedFile, read_rigged
from stages.skeletons.skeleton import Pose, skin, unskin

SAME = 1e-5
"""Of the diagonal: how far the same Gaussian may lie in two runs of one asset."""

SAMPLES = 40_000
"""Points of the surface among which each Gaussian finds the bones that it follows."""

CERTAIN = 0.5
"""Of the distance between those points: points *on* a surface lie 0.47 of it from the nearest one (the median, for
random points: sqrt(ln 2 / pi)). A pose whose surface is this near is the asset's, and no other is tried."""


@dataclass(frozen=True)
class TrueMotion:
    """Where every Gaussian is in every frame."""

    means: Tensor  # [T, N, 3]
    name: str  # what it was read from


def true_motion(
    truth: str,
    rest: Tensor,  # [N, 3] the asset
    num_frames: int,
    *,
    pose: str | None = None,
    cycles: float = 1.0,
) -> TrueMotion:
    """What ``truth``, ``FILE.glb#Clip`` or a run directory, says of the asset at ``rest``.

    Of a ``.glb``, ``pose`` is the one that the asset was made in, as of ``reconstruct --pose``: without it the poses
    that clips begin with are tried. The frames span ``cycles`` times the clip, both ends included.

    Raises:
        BadInput: no such file, clip or pose; the file's surface, or the run's asset, is not this asset; no clip named
            where there are several; a ``cycles`` that is not positive.
        MissingStage: the run has no motion.
    """
    path, clip = split_clip(truth)
    if path.is_dir():
        return _of_run(path, rest, num_frames)
    if path.suffix.lower() not in SUFFIXES:
        raise BadInput(f"There is no true motion in {path}.", "Give --truth a .glb with clips, or a run directory.")
    if not cycles > 0.0:
        raise BadInput(f"truth_cycles must be positive, not {cycles:g}.")
    return _of_clip(path, clip, rest, num_frames, pose, cycles)


def split_clip(truth: str) -> tuple[Path, str]:
    """A path, and what is behind its last #, unless a file is really called so."""
    whole, (before, _, clip) = Path(truth), truth.rpartition("#")
    return (whole, "") if whole.exists() or not before else (Path(before), clip)


def _of_run(path: Path, rest: Tensor, num_frames: int) -> TrueMotion:
    other = load_moving_asset(RunDir(path), "auto", "cpu")
    there = other.file_gaussians.means
    if there.shape != rest.shape or float((there - rest).abs().max()) > SAME * float(
        (rest.amax(0) - rest.amin(0)).norm()
    ):
        raise BadInput(
            f"{path} has another asset ({len(there)} Gaussians, here {len(rest)}), whose motion says nothing of this.",
            "Name a run that began with the same asset.",
        )
    return TrueMotion(other.in_file(other.at(frame_times(num_frames))).means, f"run {path}, {other.source}")


@dataclass(frozen=True)
class FileClip:
    """A clip of a rigged file that an asset was made from, and how the asset's Gaussians follow its bones."""

    file: RiggedFile
    clip: str
    placement: Placement
    bind: Tensor  # [N, 3] the Gaussians in the file's pose of binding
    weights: Tensor  # [N, S]

    @property
    def seconds(self) -> float:
        """How long the clip lasts."""
        return self.file.clip_seconds(self.clip)

    @property
    def short_name(self) -> str:
        """As people call the clip."""
        return self.clip.rpartition("|")[2]

    def means(self, seconds: Tensor) -> Tensor:
        """Where the Gaussians are at ``seconds`` [T] of the clip, [T, N, 3] in the asset's units."""
        matrices = self.file.skeleton.joint_matrices(self.file.pose(self.clip, seconds))
        return self.placement.to_asset(skin(self.bind, self.weights, matrices))


def find_clip(path: Path, clip: str, rest: Tensor, pose: str | None = None, option: str = "--truth") -> FileClip:
    """The ``clip`` ("": the only one) of the file at ``path`` for the asset at ``rest`` [N, 3]; ``option`` is what the
    person typed it after. Raises ``BadInput`` as ``true_motion``."""
    file = read_rigged(path)
    if not clip and len(file.clips) != 1:
        known = ", ".join(name.rpartition("|")[2] for name in file.clips) or "none"
        raise BadInput(f"{path} has {len(file.clips)} clips.", f"Name one: {option} {path}#CLIP, of {known}.")
    clip = file.find_clip(clip) if clip else next(iter(file.clips))
    if file.morphs_in(clip):
        raise BadInput(f"{path}: the clip {clip} moves morph targets, which no truth is read from.", "Name another.")
    if pose is not None:
        file = file.shaped(pose)
    where = find_asset(file, rest, pose, clip)
    if where is None:
        tried = f"the pose {pose}" if pose else "a pose that its clips begin with"
        raise BadInput(
            f"{path} is not the file of this asset, or not in {tried}: its surface is not where the Gaussians are.",
            "If another pose was taken: --set truth_pose=CLIP@SECONDS." if option == "--truth" else "",
        )
    placement, matrices, weights = where
    file_rest = placement.moves_to_file(rest - (placement.offset if placement.offset is not None else 0.0))
    return FileClip(file, clip, placement, unskin(file_rest, weights, matrices), weights)


def _of_clip(path: Path, clip: str, rest: Tensor, num_frames: int, pose: str | None, cycles: float) -> TrueMotion:
    found = find_clip(path, clip, rest, pose)
    length = found.seconds
    seconds = cycles * length * frame_times(num_frames).double()
    seconds = torch.where(seconds > 1.0001 * length, seconds % length, seconds)
    times = "" if cycles == 1.0 else f", {cycles:g} times"
    return TrueMotion(found.means(seconds), f"{path.name}#{found.short_name}{times}")


def find_asset(
    file: RiggedFile,
    rest: Tensor,  # [N, 3]
    pose: str | None = None,  # as of ``reconstruct --pose``; those that clips begin with are tried when None
    clip: str = "",  # the likeliest
) -> tuple[Placement, Tensor, Tensor] | None:
    """How the file lies in the asset's frame, the joints' matrices [S, 4, 4] in the pose that the asset was made in,
    and the skin weights [N, S] of its Gaussians; None when it is in none of the poses that are tried."""
    best, nearest = None, float("inf")
    for matrices in _poses(file, clip, pose):
        standing = skin(file.vertices, file.weights, matrices[None])[0]
        placement = find_placement(standing, file.faces, rest)
        if placement is None:
            continue
        weights, away = _weights(file, placement.to_asset(standing), rest)
        if away < nearest:
            best, nearest = (placement, matrices, weights), away
        if nearest < CERTAIN:
            break
    return best


def _poses(file: RiggedFile, clip: str, pose: str | None) -> Iterator[Tensor]:
    """Joints' matrices [S, 4, 4] of the poses that an asset may have been made in, the likeliest first."""
    skeleton = file.skeleton

    def matrices(local: Pose) -> Tensor:
        return skeleton.joint_matrices(local)[0]

    if pose is not None:
        yield matrices(file.named_pose(pose))
        return
    at_bind = matrices(file.bind_local)
    yield at_bind
    idle = sorted(file.clips, key=lambda name: ("idle" not in name.lower(), name != clip, len(name)))
    for name in idle:
        yield matrices(file.pose(name, torch.zeros(1)))
    yield at_bind[:1].expand(len(file.joints), 4, 4)  # the mesh as it is in the file, where the first joint takes it


def _weights(file: RiggedFile, vertices: Tensor, means: Tensor) -> tuple[Tensor, float]:
    """Skin weights [N, S] of ``means`` [N, 3], those of the surface where it is nearest, and how near that is: the
    median, over the distance between the surface's samples. ``vertices`` [V, 3] are in the asset's frame."""
    samples = sample_surface(vertices, file.faces, SAMPLES, step_generator(0, 0))
    away, nearest = cKDTree(samples.interpolate(vertices[file.faces]).numpy()).query(means.numpy())
    weights = samples.interpolate(file.weights[file.faces])[torch.from_numpy(nearest)]
    return weights, float(torch.from_numpy(away).median()) / samples.spacing
