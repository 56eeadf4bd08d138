"""What the stages after ``distill`` start from: the asset of a run and the motion it has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stages.conventions import frame_times
from stages.errors import BadInput, MissingStage
from stages.events import Caution, Note, Report, silent
from stages.files import as_stored
from stages.gaussians import Frames, Gaussians
from stages.gaussians.normalised import Placement
from stages.motion.bones import PosedBones, blended, pose_of, rig_of, weights_of
from stages.motion.interface import Motion
from stages.motion.kinds import is_former, load_motion
from stages.motion.timing import USUAL_SECONDS, Timing
from stages.raster.ground import Ground
from stages.run_dir import RunDir
from stages.run_dir.layout import BY_FOLDER, MOTIONS
from stages.skeletons.rig import forward_kinematics
from stages.skeletons.skeleton import skin

LOOP_OVERLAP = 0.25
"""Share of the clip over which a loop's end is cross-faded into its beginning. [ours]"""

USUAL_FRAMES = 31
"""Of a motion whose seconds are not known: two for each of the 16 that priors are trained on, the repeated end less."""

SOURCES = ("auto", *MOTIONS, "static")


@dataclass(frozen=True)
class MovingAsset:
    """An asset, normalised, and, unless it is asked for at rest, its motion."""

    gaussians: Gaussians  # normalised
    motion: Motion | None
    source: str  # which stage the motion is from
    prompt: str
    loop: bool = False  # whether the motion ends where it begins
    placement: Placement | None = None  # in its file; None: it lies there as here
    original: Gaussians | None = None  # in its file's units; None: as here
    timing: Timing | None = None  # how long the motion lasts, where that is known
    stands_at: float | None = None  # y of the ground that the motion was made for, normalised; None: as at rest
    travel: Tensor | None = None  # [3] how far the body goes in that time beside its motion on the spot, normalised

    def times(self, num_frames: int) -> Tensor:
        """``frame_time`` values [T] of ``num_frames`` frames; the last of a loop is the one before the first."""
        device = self.gaussians.means.device
        if self.loop or self.closes:
            return torch.arange(num_frames, device=device) / num_frames
        return frame_times(num_frames, device)

    def num_frames(self, asked: int | None, fps: int) -> int:
        """``asked``; where nothing is asked, as many as the motion lasts at ``fps``, or ``USUAL_FRAMES``."""
        if asked is not None:
            return asked
        return USUAL_FRAMES if self.timing is None else max(2, round(self.timing.seconds * fps))

    @property
    def seconds(self) -> float:
        """How long the motion lasts, or such motions usually do."""
        return USUAL_SECONDS if self.timing is None else self.timing.seconds

    @property
    def ground(self) -> Ground:
        """What the body stands on, normalised."""
        ground = Ground.under(self.gaussians)
        return ground if self.stands_at is None else replace(ground, height=self.stands_at)

    @property
    def file_ground(self) -> Ground:
        """What the body stands on, in its file's units."""
        ground = Ground.under(self.file_gaussians)
        if self.stands_at is None or self.placement is None:
            return ground
        return replace(ground, height=self.placement.size * self.stands_at + float(self.placement.centre[1]))

    @property
    def starts_at_rest(self) -> bool:
        """Whether the motion begins with the asset as it stands."""
        return self.motion is None or self.motion.metadata().get("starts_at_rest", "true") == "true"

    @property
    def closes(self) -> bool:
        """Whether the motion is a loop by itself: it does not begin at rest then."""
        return self.motion is not None and self.motion.metadata().get("cyclic") == "true"

    @torch.no_grad()
    def at(self, times: Tensor) -> Frames:
        """The asset at ``times`` [T] in [0, 1]."""
        if self.motion is None:
            return Frames.at_rest(self.gaussians, len(times))
        return Frames(self.gaussians, self.gaussians.means + self.displacements(self.gaussians.means, times))

    @property
    def file_gaussians(self) -> Gaussians:
        """The asset at rest in its file's units."""
        return self.gaussians if self.original is None else self.original

    @torch.no_grad()
    def in_file(self, frames: Frames) -> Frames:
        """``frames`` of the normalised asset in its file's units."""
        return frames if self.placement is None else self.placement.file_frames(frames, self.file_gaussians)

    @torch.no_grad()
    def file_displacements(self, points: Tensor, times: Tensor) -> Tensor:
        """As ``displacements``, of points in the file's units, in these units."""
        if self.placement is None:
            return self.displacements(points, times)
        return self.placement.size * self.displacements(self.placement.points(points), times)

    def displacements(self, points: Tensor, times: Tensor) -> Tensor:
        """How far ``points`` [P, 3] of the asset go at ``times`` [T], [T, P, 3]; it must have a motion."""
        on_the_spot = self._on_the_spot(points, times)
        return on_the_spot if self.travel is None else on_the_spot + times[:, None, None] * self.travel

    @torch.no_grad()
    def _on_the_spot(self, points: Tensor, times: Tensor) -> Tensor:
        """As ``displacements``, of a body that does not travel.

        A loop leaves out the first ``LOOP_OVERLAP`` of the clip; its end is cross-faded into that skipped part, so that
        time 1 is time 0 again, at the same speed. Bodies go on walking, where a motion played to and fro would have
        them walk backwards. A motion that ``closes`` is a loop as it is.
        """
        assert self.motion is not None
        if rig_of(self.motion) is not None:
            return skin(points, weights_of(self.motion, points), replace(self, travel=None).matrices(times)) - points
        if self.closes:
            cycles = 1 if self.timing is None else self.timing.cycles
            return self.motion.displacements(points, (times * cycles) % 1.0 if cycles > 1 else times)
        if not self.loop:
            return self.motion.displacements(points, times)
        late, early, share = _overlap(times)
        ends, begins = (self.motion.displacements(points, moments) for moments in (late, early))
        return torch.lerp(ends, begins, share[:, None, None])

    @torch.no_grad()
    def matrices(self, times: Tensor) -> Tensor:
        """How each bone has moved since rest at ``times`` [T], [T, J, 4, 4], in normalised units; the motion must be
        made of bones."""
        rig = rig_of(self.motion)
        assert rig is not None
        return forward_kinematics(rig.joints.parents, rig.joints.heads, *self.pose(times))

    @torch.no_grad()
    def pose(self, times: Tensor) -> PosedBones:
        """Rotations [T, J, 3, 3] of the joints in their parents' axes and the shift [T, 3] of the root at ``times``
        [T], in normalised units; the motion must be made of bones. As ``displacements`` has loops."""
        assert self.motion is not None
        if self.closes:
            cycles = 1 if self.timing is None else self.timing.cycles
            pose = pose_of(self.motion, (times * cycles) % 1.0 if cycles > 1 else times)
        elif not self.loop:
            pose = pose_of(self.motion, times)
        else:
            late, early, share = _overlap(times)
            pose = blended(pose_of(self.motion, late), pose_of(self.motion, early), share)
        return pose if self.travel is None else (pose[0], pose[1] + times[:, None] * self.travel)

    @torch.no_grad()
    def box(self) -> tuple[Tensor, Tensor]:
        """``(low, high)``, each [3], of all that the means of the body pass through."""
        times = torch.linspace(0.0, 1.0, 16, device=self.gaussians.means.device)
        means = self.at(times).means[:, self.gaussians.body]
        return means.amin(dim=(0, 1)), means.amax(dim=(0, 1))


def _overlap(times: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of a loop at ``times`` [T] the moments of the motion near its end and near its beginning, and the share of the
    latter."""
    late = LOOP_OVERLAP + times * (1.0 - LOOP_OVERLAP)
    early = (late - (1.0 - LOOP_OVERLAP)).clamp(min=0.0)  # 0 until the overlap begins
    share = early / LOOP_OVERLAP
    return late, early, share * share * (3.0 - 2.0 * share)


def load_moving_asset(run: RunDir, source: str, device: str, report: Report = silent) -> MovingAsset:
    """The asset of ``run`` with the motion of ``source``; "auto" takes the last stage's whose inputs are still those it
    was made from, and needs one.

    Raises:
        MissingStage: the run lacks the asset or the motion.
        BadInput: no such source, or a motion of an unknown kind.
        CorruptCheckpoint: the motion cannot be read.
    """
    if source not in SOURCES:
        raise BadInput(f"There is no source {source!r}.", f"Choose one of: {', '.join(SOURCES)}.")
    in_file = run.load_asset().to(device)
    placement = Placement.of(in_file)
    gaussians = placement.normalised(in_file)
    if source == "static":
        return MovingAsset(gaussians, None, "static", "", placement=placement, original=in_file)
    if source == "auto":
        source = latest_motion(run, report)
    tensors, metadata = run.require(source).read_result(BY_FOLDER[source].result)
    if is_former(metadata):
        report(Note(f"{run.path / source} is of an earlier animus3d: the rotations that it learnt are ignored."))
    with as_stored(f"The motion in {run.path / source}"):
        return MovingAsset(
            gaussians,
            load_motion(tensors, metadata, device, placement),
            source,
            metadata.get("prompt", ""),
            placement=placement,
            original=in_file,
            timing=Timing.of(metadata),
            stands_at=float(metadata["ground"]) if "ground" in metadata else None,
            travel=_travel(metadata, device),
        )


def _travel(metadata: Mapping[str, str], device: str) -> Tensor | None:
    """What a result says of how far the body goes; None where it stays."""
    return torch.tensor(json.loads(metadata["travel"]), device=device) if "travel" in metadata else None


def latest_motion(run: RunDir, report: Report, without: Sequence[str] = ()) -> str:
    """The folder of the last motion that is still valid, or, where none is, of the first; ``without`` some of them.
    Raises ``MissingStage``."""
    there = [folder for folder in MOTIONS if run.stage(folder).is_complete() and folder not in without]
    if not there:
        raise MissingStage(
            f"{run.path} has no motion yet.", "Run first: animus3d distill --prompt ..., or use --source static."
        )
    for folder in there[:-1]:
        changed = run.changed_inputs(folder)
        if not changed:
            return folder
        report(Caution(f"{run.path / folder} was made from another {' and '.join(changed)} and is skipped."))
    return there[-1]
