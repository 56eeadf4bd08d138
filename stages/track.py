"""track: a simulated body follows the motion of the bones: its feet stand, nothing sinks (AKD, section 4.5).

    animus3d track

1. Take the latest motion of the bones; where it is a walk on the spot, have it travel as its feet push.
2. In every iteration a body of one rigid part a bone, with motors in its joints, is simulated under gravity on the
   ground; targets of the motors and the speeds at the start follow the gradient of the distance from the motion.
3. Write what the best of them did as a motion, and what makes it as ``controls.safetensors``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from stages.errors import BadInput, CorruptCheckpoint
from stages.events import Finished, Note, Progress, Report, Started, Wrote
from stages.gaussians import Frames
from stages.media.preview import write_preview
from stages.motion.bones import rig_of
from stages.motion.skeletal import SkeletalMotion, SkeletonConfig
from stages.motion.timing import Timing
from stages.moving.asset import MovingAsset, latest_motion, load_moving_asset
from stages.moving.travel import travel_of
from stages.needs import require
from stages.raster import choose, render
from stages.raster.film import Shot, cameras_around
from stages.raster.ground import Ground, ground_layer
from stages.run_dir import RunDir
from stages.run_dir.layout import BY_FOLDER, TRACKED
from stages.settings import check
from stages.skeletons.physics import TrackConfig as PhysicsConfig
from stages.skeletons.physics import Tracked, Tracker
from stages.skeletons.physics_simulation import Controls

CONTROLS = "controls.safetensors"
PREVIEW_PX, PREVIEW_FPS = 192, 16
CONTROL_HZ = 48.0
"""Controls of the motion a second, as many as the motors have."""

RUN_ON_S = 0.25
"""For so long the body goes on after the end, a loop as it began, another motion in its last pose: a body that has
nothing to do afterwards lets itself fall at the end. [ours]"""


@dataclass(frozen=True, kw_only=True)
class TrackConfig:
    """Settings of ``track``."""

    source: str = "auto"  # motion or refined; auto: the latest
    physics: PhysicsConfig = field(default_factory=PhysicsConfig)
    device: str = "cpu"
    checkpoint_every: int = 20

    def __post_init__(self) -> None:
        check(self, checkpoint_every=1)


PRESETS = {"default": TrackConfig()}


def run(run_dir: RunDir, config: TrackConfig, report: Report, *, force: bool = False) -> None:
    """Write ``tracked/motion.safetensors`` into the run.

    Raises:
        MissingStage: the run has no motion.
        BadInput: its motion is not one of bones, or too short.
        NotAvailable: the simulator is not installed.
        NotFinite: the simulated body has burst.
    """
    require(run_dir, TRACKED, force=force)
    # 1.
    source = config.source
    if source == "auto":
        source = latest_motion(run_dir, report, without=(TRACKED.folder,))
    if source not in BY_FOLDER or source == TRACKED.folder:
        raise BadInput(f"track cannot follow {source!r}.", "Choose --source motion or refined.")
    asset = load_moving_asset(run_dir, source, "cpu", report)
    rig = rig_of(asset.motion)
    if rig is None:
        raise BadInput(
            "This motion is not carried by a skeleton, which physics needs.",
            "Run: animus3d rig, then animus3d distill --motion skeleton",
        )
    folder = run_dir.stage(TRACKED.folder)
    inputs = {"asset": run_dir.asset_hash(), source: run_dir.stage(source).result_hash(BY_FOLDER[source].result)}
    steps = config.physics.iterations
    begin = folder.begin(
        config=asdict(config),
        defaults=asdict(TrackConfig()),
        inputs=inputs,
        total_steps=steps,
        force=force,
        report=report,
    )
    if begin.done:
        report(Note("track is already done with these settings; nothing to do (--force does it again)."))
        return
    asset, seconds = with_travel(asset, run_dir.facing().used_deg), asset.seconds
    frames = 1 + max(4, round(CONTROL_HZ * seconds))
    times = torch.arange(frames + round(CONTROL_HZ * RUN_ON_S)) / (frames - 1)
    rotations, shift = asset.pose(times if asset.closes else times.clamp(max=1.0))

    # 2.
    tracker = Tracker(rig, rotations, shift, float(times[-1]) * seconds, config.physics, config.device)
    start = begin.resume_step
    if start:
        tracker.restore(folder.load_checkpoint()[1])
    report(Started("track", steps, start))
    for iteration in range(start, steps):
        metrics = tracker.step(iteration)
        done = iteration + 1
        report(Progress(done, metrics))
        folder.log_metrics(done, **metrics)
        if done % config.checkpoint_every == 0 or done == steps:
            folder.save_checkpoint(done, tracker.state(), {})

    # 3.
    best = tracker.best()
    motion = SkeletalMotion(SkeletonConfig(frames=frames, free_start=True), rig, cyclic=False)
    motion.set_pose(best.rotations[:frames], best.shift[:frames])
    report(Note(words(best)))
    folder.write_result(CONTROLS, *stored_controls(best.controls))
    told = {"prompt": asset.prompt, "ground": f"{best.controls.ground:.6g}"} | Timing(seconds).metadata()
    folder.write_result(TRACKED.result, motion.tensors(), motion.metadata() | told)
    moments = torch.linspace(0.0, 1.0, round(PREVIEW_FPS * seconds) + 1)
    with torch.no_grad():
        video = on_ground(motion.at(asset.gaussians, moments), best.controls.ground)
    report(Wrote(write_preview(folder.path / "preview", video, fps=PREVIEW_FPS), "what the simulated body did"))
    folder.finish(steps)
    report(Finished("track"))


def with_travel(asset: MovingAsset, facing_deg: float) -> MovingAsset:
    """The asset on its way: a walk on the spot would slide over the ground."""
    if asset.travel is not None:
        return asset
    travel = travel_of(asset, "auto", facing_deg)
    return replace(asset, travel=travel) if bool(travel.any()) else asset


@torch.no_grad()
def on_ground(frames: Frames, height: float) -> Tensor:
    """Pictures [T, H, W, 3] of a body on the ground ``y = height``, from a camera that sees all of its way."""
    shot = Shot(frames=frames.num_frames, num_views=8, size=PREVIEW_PX, elevation_deg=12.0, raster=None, device="cpu")
    cameras = [cameras_around(frames, shot)[1]] * frames.num_frames
    ground = replace(Ground.under(frames.asset), height=height)
    layer = ground_layer(frames, cameras, ground, torch.ones(3))
    return render(frames, cameras, choose("cpu"), background=layer).rgb


def words(best: Tracked) -> str:
    """What came out, in a line."""
    ratio = best.tracking / max(best.first_tracking, 1e-12)
    alone = "" if math.isnan(ratio) else f"Distance from the motion: {100.0 * ratio:.1f} % of what motors alone leave. "
    return f"{alone}The torque that keeps it upright is {100.0 * best.upright:.1f} % of its weight times its height."


def stored_controls(controls: Controls) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What a simulation needs to be run again, as tensors and metadata."""
    values = vars(controls)
    tensors = {name: value for name, value in values.items() if torch.is_tensor(value)}
    return tensors, {"numbers": json.dumps({name: value for name, value in values.items() if name not in tensors})}


def controls_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Controls:
    """The controls of ``stored_controls``. Raises ``CorruptCheckpoint``: something is missing."""
    try:
        values: dict[str, Any] = {**tensors, **json.loads(metadata["numbers"])}
        return Controls(**values)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise CorruptCheckpoint(f"{CONTROLS} lacks what a simulation needs.", "Run: animus3d track --force") from None
