"""Bodies that no training has seen, what they are asked to do, and what is measured of the answer."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean

import torch
from torch import Tensor

from stages.cameras import Camera, fitting_radius, orbit_camera
from stages.gaussians import Frames, Gaussians
from stages.gaussians.neighbours import nearest_neighbours
from stages.metrics.image import colour_drift
from stages.motion.regularizers import arap
from stages.raster import choose, render
from stages.zoo.clips import rigged_clip
from stages.zoo.rigs import Rig, read_manifest

NUM_GAUSSIANS, NUM_FRAMES, SIZE_PX = 2000, 16, 64
AZIMUTHS = (20.0, 70.0, 110.0, 160.0, 250.0, 340.0)
FOV_DEG = 35.0

HELD_OUT = read_manifest("held_out")


@dataclass(frozen=True)
class Case:
    """One body and what it is to do."""

    rig: Rig
    verb: str
    prompt: str

    @property
    def name(self) -> str:
        """As in "cow-run"."""
        return f"{self.rig.file.removesuffix('.glb').lower()}-{self.verb}"

    def truth(self) -> Frames:
        """The file's own clip; its ``asset`` is the static one."""
        return rigged_clip(self.rig, self.verb, NUM_FRAMES, NUM_GAUSSIANS, torch.Generator().manual_seed(0))


CASES = [Case(rig, verb, gait.prompt) for rig in HELD_OUT for verb, gait in rig.verbs.items()]


def cameras_around(asset: Gaussians, size_px: int = SIZE_PX) -> list[Camera]:
    """The six views that the judge looks from."""
    low, high = asset.bounds()
    return [
        orbit_camera(
            azimuth_deg=azimuth, elevation_deg=12.0, radius=fitting_radius(low, high, FOV_DEG), fov_deg=FOV_DEG,
            width=size_px, height=size_px, target=0.5 * (low + high),
        )
        for azimuth in AZIMUTHS
    ]  # fmt: skip


@torch.no_grad()
def film(frames: Frames, camera: Camera) -> Tensor:
    """Pictures [T, H, W, 3] of a moving asset on white."""
    cameras = [camera] * frames.num_frames
    return render(frames, cameras, choose("cpu"), background=torch.ones(3)).rgb.clamp(0.0, 1.0)


def measure(frames: Frames, truth: Frames) -> dict[str, float]:
    """How far limbs and torso go, how the body holds together and keeps its colours; same for any clip of the body.

    Limbs are the fifth of the Gaussians that goes farthest in the *true* clip when the mean motion of the body is taken
    away, the torso is the half that goes least. Distances are means over them of the largest over frames, as shares of
    the box's diagonal. Colour drift is half the L1 distance between the colour histograms (4 x 4 x 4 bins, weighted by
    how much of a pixel the body covers) of every frame and the first, averaged over frames and four cameras.
    """
    rest, means = frames.asset.means, frames.means
    diagonal = float((rest.amax(dim=0) - rest.amin(dim=0)).norm())
    true_moves = truth.means - rest
    apart = (true_moves - true_moves.mean(dim=1, keepdim=True)).norm(dim=-1).amax(dim=0)
    limbs, torso = apart >= apart.quantile(0.8), apart <= apart.quantile(0.5)
    moves = means - rest
    relative = moves - moves[:, torso].mean(dim=1, keepdim=True)
    neighbours, distances = nearest_neighbours(rest, 24)
    return {
        "limbs": float(moves[:, limbs].norm(dim=-1).amax(dim=0).mean()) / diagonal,
        "torso": float(moves[:, torso].norm(dim=-1).amax(dim=0).mean()) / diagonal,
        "limbs_to_torso": float(relative[:, limbs].norm(dim=-1).amax(dim=0).mean()) / diagonal,
        "arap": float(arap(means, rest, neighbours, distances)),
        "colour_drift": drift_of_colours(frames),
    }


@torch.no_grad()
def drift_of_colours(frames: Frames) -> float:
    """See ``measure``."""
    drifts = []
    for camera in cameras_around(frames.asset)[:4]:
        images = render(frames, [camera] * frames.num_frames, choose("cpu"), background=torch.zeros(3))
        drifts.append(colour_drift(images.rgb, images.alpha[..., 0], background=0.0))
    return mean(drifts)
