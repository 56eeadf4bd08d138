"""view: the asset and its motion in a browser, also while a stage is still working on it.

    animus3d view
    animus3d view demo --port 8090

1. Serve a page with the splat, a time slider, and a choice between the asset at rest, moving, and refined; where the
   run has a rig, its bones, at rest and with a motion of bones.
2. Look again and again for a newer checkpoint or result; neither takes the lock nor writes anything.
"""

from __future__ import annotations

import contextlib
import io
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from stages.errors import BadInput, CorruptCheckpoint, MissingStage, NotAvailable, first_line
from stages.events import Note, Report
from stages.files import read_json
from stages.gaussians import Gaussians
from stages.gaussians.normalised import Placement
from stages.gaussians.sh import sh0_to_rgb
from stages.geometry.rotations import quaternion_matrices
from stages.motion.bones import rig_of
from stages.motion.kinds import load_motion, motion_of_checkpoint
from stages.moving.asset import MovingAsset
from stages.moving.rig import load_rig
from stages.raster.ground import Ground
from stages.run_dir import RunDir
from stages.run_dir.layout import BY_FOLDER, MOTIONS, RIG
from stages.run_dir.lock import lock_holder
from stages.skeletons.rig import Joints
from stages.viewing.bones import BonesOnPage

CLIP_S = 2.0
"""Seconds that a clip takes: 16 frames at the 8 a second of the previews."""

LOOK_S = 1.0
"""Seconds between two looks for something newer."""

THROUGH = 0.1
"""Share of its opacity that the asset keeps while bones are seen, which lie inside it."""

CHOICES = dict(zip((*MOTIONS, "static"), ("simulated", "refined", "moving", "at rest"), strict=True))
"""Source -> what the page calls it; the best comes first."""


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """Settings of ``view``."""

    host: str = "127.0.0.1"
    port: int = 8080
    fps: int = 20  # of the page
    ground: bool = False  # a grid under the asset


def run(run: RunDir, config: ViewConfig, report: Report, *, going: Callable[[], bool] = lambda: True) -> None:
    """Serve the page until ``going`` says no or Ctrl-C is pressed.

    Raises:
        MissingStage: the run has no asset.
        NotAvailable: viser is not installed.
        BadInput: no such port, or no such address on this machine.
    """
    viewer = Viewer(run, config)
    report(Note(f"{run.path} is at http://{config.host}:{viewer.port}  (Ctrl-C ends it)"))
    try:
        while going():
            if viewer.watched:
                viewer.tick(time.monotonic())
            time.sleep(1.0 / config.fps)
    except KeyboardInterrupt:
        pass  # the way to end it
    finally:
        viewer.stop()


class Viewer:
    """A page and what it shows; ``tick`` brings it up to date."""

    def __init__(self, run: RunDir, config: ViewConfig) -> None:
        in_file = run.load_asset()
        self.run, self.placement = run, Placement.of(in_file)
        self.asset = self.placement.normalised(in_file)
        self.moving: dict[str, Moment] = {}
        self._looked = self._ticked = -LOOK_S
        self._shown: Any = None  # what the page shows: (motion, its version, time, loop; rig; which boxes are ticked)
        self.joints: Joints | None = None  # of the run's rig, normalised
        self._rig_version = ""
        self._kept = 1.0  # of the asset's opacity
        self._chosen = False  # the person has chosen what to see
        self.server = _serve(config)
        self.port = self.server.get_port()
        low, high = self.asset.bounds()
        middle, size = 0.5 * (low + high), float((high - low).norm())
        self.server.scene.set_up_direction("+y")
        self.server.initial_camera.look_at = tuple(middle.tolist())
        self.server.initial_camera.position = tuple((middle + size * torch.tensor([0.8, 0.35, 1.0])).tolist())
        self.ground = self._grid() if config.ground else None
        gui = self.server.gui
        self.show = gui.add_dropdown("show", [CHOICES["static"]])
        self.playing = gui.add_checkbox("play", True)
        self.loop = gui.add_checkbox("loop", False, hint="pass from the end into the beginning")
        self.slider = gui.add_slider("time", min=0.0, max=1.0, step=0.001, initial_value=0.0)
        self.bones = BonesOnPage(self.server)
        self.says = gui.add_markdown("")
        self.show.on_update(self._choose)
        self.splats = self.server.scene.add_gaussian_splats(
            "/asset",
            centers=self.asset.means.numpy(),
            covariances=covariances(self.asset.quats, self.asset.scales).numpy(),
            rgbs=(sh0_to_rgb(self.asset.sh[:, 0]).clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).numpy(),
            opacities=self.asset.opacities[:, None].numpy(),
        )
        self.look()

    def _grid(self) -> Any:
        """A grid under the asset."""
        ground = Ground.under(self.asset)
        return self.server.scene.add_grid(
            "/ground",
            width=50 * ground.tile,
            height=50 * ground.tile,
            plane="xz",
            cell_size=ground.tile,
            section_size=5 * ground.tile,
            position=(0.0, ground.height, 0.0),
        )

    @property
    def watched(self) -> bool:
        """Whether a browser is looking: without one there is nothing to bring up to date."""
        return bool(self.server.get_clients())

    def stop(self) -> None:
        """End the server."""
        with _silence():
            self.server.stop()

    def tick(self, now: float) -> None:
        """Advance the time to ``now`` (seconds) and show it; look for something newer from time to time."""
        if now - self._looked >= LOOK_S:
            self._looked = now
            self.look()
        passed, self._ticked = min(max(0.0, now - self._ticked), 0.5), now
        if self.playing.value and self.source != "static":
            self.slider.value = (float(self.slider.value) + passed / CLIP_S) % 1.0
        self.draw()

    @property
    def source(self) -> str:
        """What is shown: "refined", "motion" or "static"."""
        return next(source for source, text in CHOICES.items() if text == self.show.value)

    def look(self) -> None:
        """Take over a newer motion, if there is one, and say what is shown."""
        for source in reversed(MOTIONS):
            try:
                moment = newest(self.run, source, self.asset, self.placement, self.moving.get(source))
            except (CorruptCheckpoint, OSError):
                continue  # replaced while it was read: the next look finds the newer one
            if moment is None:
                self.moving.pop(source, None)
            else:
                self.moving[source] = moment
        self._look_for_rig()
        options = tuple(text for source, text in CHOICES.items() if source in self.moving or source == "static")
        if options != tuple(self.show.options):
            kept = self.show.value if self._chosen and self.show.value in options else options[0]
            self.show.options = options
            self.show.value = kept
        self.says.content = self.caption()

    def _look_for_rig(self) -> None:
        """Take over the bones of a newer rig, or none where there is none now."""
        version = str(read_json(self.run.path / RIG.folder / "complete.json"))
        if version == self._rig_version:
            return
        try:
            self.joints = load_rig(self.run).normalised(self.placement).joints
        except MissingStage:
            self.joints = None
        except (CorruptCheckpoint, OSError):
            return  # being replaced
        self._rig_version = version

    def caption(self) -> str:
        """One or two lines about what is shown and what is going on."""
        moment = self.moving.get(self.source)
        lines = [f"**{self.asset.num_gaussians:,} Gaussians**" + (f", {moment.says}" if moment else ", at rest")]
        holder = lock_holder(self.run.path)
        if holder is not None:
            lines.append(f"`{holder.command}` is running")
        return "\n\n".join(lines)

    def draw(self) -> None:
        """Put the splats, and the bones where there are some, where they are at the slider's time."""
        moment = self.moving.get(self.source)
        motion = (self.source, moment.version, self.slider.value, self.loop.value) if moment else None
        shown = (motion, self._rig_version, self.bones.wanted)
        if shown == self._shown:
            return
        asset = replace(moment.asset, loop=self.loop.value) if moment else MovingAsset(self.asset, None, "static", "")
        times = torch.tensor([float(self.slider.value)])
        frames = asset.at(times)
        self.splats.centers = frames.means[0].numpy()
        self.splats.covariances = covariances(frames.quats[0], frames.scales[0]).numpy()
        rig = rig_of(asset.motion)
        if self.bones.show(
            rig.joints if rig else self.joints if moment is None else None,
            asset.matrices(times)[0].detach() if rig else None,
        ):
            self._opaque(THROUGH)
        else:
            self._opaque(1.0)
        self._shown = shown

    def _opaque(self, share: float) -> None:
        """Let the asset keep ``share`` of its opacity."""
        if share != self._kept:
            self.splats.opacities = share * self.asset.opacities[:, None].numpy()
            self._kept = share

    def _choose(self, event: Any) -> None:
        self._chosen = self._chosen or event.client is not None


@dataclass(frozen=True)
class Moment:
    """A motion as it was found."""

    asset: MovingAsset
    version: str  # tells it from an earlier or later one
    says: str


def newest(run: RunDir, source: str, gaussians: Gaussians, placement: Placement, known: Moment | None) -> Moment | None:
    """The motion of the stage folder ``source``: its latest checkpoint, or its result when that is as new; ``known``
    itself when nothing has changed, None when there is no motion. Raises ``CorruptCheckpoint``."""
    folder = run.stage(source)
    complete = read_json(folder.path / "complete.json")
    step, steps = folder.last_checkpoint(), int((complete or {}).get("steps", 0))
    if complete is None and step == 0:
        return None
    version = f"{source} {step} {complete}"
    if known is not None and known.version == version:
        return known
    if complete is not None and steps >= step:
        tensors, metadata = folder.read_result(BY_FOLDER[source].result)
        motion, says = load_motion(tensors, metadata, "cpu", placement), f"{CHOICES[source]}, complete ({steps} steps)"
    else:
        _, tensors, state = folder.load_checkpoint(step)
        motion, says = motion_of_checkpoint(tensors, state), f"{CHOICES[source]}, after {step} steps"
    return Moment(MovingAsset(gaussians, motion, source, ""), version, says)


def covariances(quats: Tensor, scales: Tensor) -> Tensor:
    """[N, 3, 3] in world units, of Gaussians with axes ``quats`` [N, 4] and ``scales`` [N, 3]."""
    halves = quaternion_matrices(quats) * scales[:, None, :]
    return halves @ halves.mT


def _silence() -> contextlib.AbstractContextManager[Any]:
    """viser prints a banner and a farewell whatever it is told; our note says it already."""
    return contextlib.redirect_stdout(io.StringIO())


def _serve(config: ViewConfig) -> Any:
    """A viser server on the port, or on the next one that is free."""
    if not 0 < config.port < 65536:
        raise BadInput(f"There is no port {config.port}.", "Use --port with a number from 1 to 65535.")
    try:
        import viser
    except ImportError:
        raise NotAvailable("view needs the package viser.", "Install it: pip install 'animus3d[view]'") from None
    try:  # viser tries port after port, for ever where no port can be had
        socket.create_server((config.host, 0)).close()
    except OSError as error:
        raise BadInput(f"Cannot listen on {config.host}: {first_line(error)}.", "Choose another --host.") from None
    with _silence():
        return viser.ViserServer(host=config.host, port=config.port, label="animus3d", verbose=False)
