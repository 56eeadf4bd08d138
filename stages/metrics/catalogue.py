"""What every metric of ``eval`` means: one line each, from which its entry in ``metrics.json`` is made.

A metric that was measured has a value; one that could not be has None and says how to get it. A variant of our own of
someone else's metric has a name of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

Better = Literal["higher", "lower"] | None
Entry = dict[str, Any]
"""``value, unit, definition, better``; ``unavailable`` where the value is None; and what it was measured on."""

CLIP = "--clip FOLDER, or a hub id such as openai/clip-vit-base-patch32"
AESTHETIC = "--aesthetic FILE, LAION's head of linear layers, with --clip openai/clip-vit-large-patch14"
DINO = "--dino FOLDER, or the hub id facebook/dino-vitb16"
INCEPTION = "--inception FILE, the Inception weights of pytorch-fid or torch-fidelity"
I3D = "--i3d FILE, the TorchScript I3D of StyleGAN-V's and most other FVD code"
RAFT = "--raft FILE, torchvision's raft_large as TorchScript"
AMT = "--amt FILE, the interpolation network AMT-S as TorchScript"
VIDEOPHY = (
    "not measured: transformers holds no mPLUG-owl-video, which VideoPhy's judge is (videocon_physics, 7 billion "
    "parameters)"
)

EXTRA = "pip install 'animus3d[metrics]', with networks.builtin=true as by default"
REFERENCE = "--reference RUN, or a folder of videos or frames"
TRUTH = "--truth FILE.glb#Clip, or --truth RUN with the same asset"
VIDEOS = "animus3d sample with a prior of videos"
MORE_FRAMES = "--set frames=3 or more"
LOOPS = "a motion that begins at rest; this one is a loop"
PROMPT = "a run that was distilled from a sentence"
BONES = "a motion of bones: animus3d rig, then animus3d distill --motion skeleton"
GROUND = "a motion in which a point touches the ground in two frames running"
HEIGHT = "an asset that has a height"


@dataclass(frozen=True)
class Definition:
    """What a metric is, and which way it should go."""

    unit: str
    text: str
    better: Better = None


CATALOGUE = {
    # on the Gaussians
    "motion_amplitude": Definition(
        "% of diagonal", "mean over Gaussians of the largest distance from rest [ours]"
    ),
    "tv3d": Definition("% of diagonal", "mean L1 step between frames (Animus3D, Eq. 13)"),
    "jerk": Definition(
        "diagonals / clip^3", "mean length of the third difference over frames [ours]", "lower"
    ),
    "arap_residual": Definition("1e-6 diagonal^2", "Animus3D, Eq. 14, over the nearest neighbours", "lower"),
    "neighbour_distance_change": Definition(
        "%", "mean relative change of the distance to the nearest neighbours [ours]", "lower"
    ),
    # on the ground, which is the lowest point of the body at rest, and of the bones
    "foot_slide": Definition(
        "heights / s",
        "mean horizontal speed of points that are within 1 % of the body's height of the ground in two frames running; "
        "of a loop, which walks on the spot, less the one velocity that makes it least; a motion whose length is not "
        "known is taken to last 2 s [ours]",
        "lower",
    ),
    "penetration": Definition(
        "% of height",
        "how deep the lowest point is below the ground, mean over frames; `most`: in the deepest [ours]",
        "lower",
    ),
    "floating": Definition(
        "% of height", "how high the lowest point is above the ground, mean over frames; jumps do [ours]"
    ),
    "contact_share": Definition(
        "%", "share of frames in which a point is within 1 % of the body's height of the ground, or below [ours]"
    ),
    "bone_length_error": Definition(
        "%", "mean change of the distance from joint to parent; 0 for bones that are turned alone [ours]", "lower"
    ),
    # on renders
    "off_object_alpha": Definition(
        "%", "opacity farther than 0.04 image sides from every solid Gaussian [ours]", "lower"
    ),
    "colour_drift": Definition(
        "of 1",
        "half the L1 distance between the body's colour histograms (4 x 4 x 4 bins) in every frame and in the first, "
        "mean over frames [ours]",
        "lower",
    ),
    "canonical_psnr": Definition("dB", "frame 0 against the static asset; at most 100 [ours]", "higher"),
    "canonical_ssim": Definition("", "frame 0 against the static asset (Wang et al. 2004) [ours]", "higher"),
    "smoothness_gaussians": Definition(
        "of 1",
        "motion smoothness of VBench, but with every odd frame rendered from Gaussians halfway between its neighbours' "
        "instead of interpolated by AMT: 1 - mean abs difference [ours]",
        "higher",
    ),
    "dynamic_degree_gaussians": Definition(
        "of 1",
        "dynamic degree of VBench, but on the flow of the Gaussians themselves instead of RAFT's: share of views in "
        "which a quarter of the steps between frames move their fastest 5 % of pixels more than 6 * side / 256 px, the "
        "camera fixed, the clip taken at 8 frames a second [ours]",
        "higher",
    ),
    # with networks
    "clip_image": Definition(
        "cosine", "mean cosine between renders of the static and the moving asset, same camera, all frames", "higher"
    ),
    "clip_text": Definition("100 cosine", "100 * cosine of frames and prompt, mean over frames", "higher"),
    "aesthetic": Definition(
        "of 10",
        "LAION's aesthetic predictor: linear layers on CLIP ViT-L/14's features of a picture, scaled to length 1; mean "
        "over frames and views",
        "higher",
    ),
    "i2v_subject": Definition(
        "of 1",
        "VBench: 0.4 max similarity to the input (the static render) + 0.3 mean + 0.3 min of consecutive similarity, "
        "mean over views",
        "higher",
    ),
    "motion_smoothness": Definition(
        "of 1", "VBench: drop odd frames, interpolate by AMT, (255 - mean abs difference) / 255", "higher"
    ),
    "dynamic_degree": Definition(
        "of 1",
        "VBench: RAFT flow; share of views in which a quarter of the steps between frames move their fastest 5 % of "
        "pixels more than 6 * side / 256 px, the camera fixed, the clip taken at 8 frames a second",
        "higher",
    ),
    "videophy_sa": Definition(
        "of 1", "SA of VideoPhy (Bansal et al. 2024): how probably the video shows what the prompt says", "higher"
    ),
    "videophy_pc": Definition(
        "of 1", "PC of VideoPhy: how probably the video follows the physics of everyday life", "higher"
    ),
    "lpips_static": Definition(
        "",
        "mean shift-tolerant LPIPS (Ghildyal and Liu 2022, AlexNet) between the static and the moving render of a "
        "camera; not the LPIPS of Zhang et al.: other weights",
        "lower",
    ),
    "image_efficientnet_lite0": Definition(
        "cosine", "as clip_image, with the pooled ImageNet features of EfficientNet-Lite0; not CLIP", "higher"
    ),
    # against a set of videos or frames
    "fid": Definition("", "Frechet distance of Inception pool3 features, frames resized as by pytorch-fid", "lower"),
    "fvd": Definition(
        "", "Frechet distance of I3D-Kinetics400 features, 224 px, frames evenly spaced over each video", "lower"
    ),
    "fid_efficientnet_lite0": Definition(
        "", "Frechet distance of pooled ImageNet features of EfficientNet-Lite0; not FID", "lower"
    ),
    # against the videos that were sampled
    "view_agreement": Definition(
        "of 1",
        "mean absolute difference of pixels between renders of the motion and the videos that were sampled, from their "
        "cameras, over their background, all frames and views; of several samples the one that was followed, else the "
        "nearest; `at_rest`: of the asset standing still [ours]",
        "lower",
    ),
    # against the true motion
    "trajectory_error": Definition(
        "% of diagonal",
        "mean distance of every Gaussian in every frame from where it truly is; the smallest over cyclic shifts where "
        "the true motion is a loop [ours]",
        "lower",
    ),
    "trajectory_ratio": Definition(
        "",
        "trajectory error over that of the asset at rest: 0 is the truth, 1 as far off as standing still [ours]",
        "lower",
    ),
    "trajectory_cosine": Definition(
        "cosine",
        "cosine of all displacements from rest with the true ones, at the phase of the trajectory error [ours]",
        "higher",
    ),
    "amplitude_ratio": Definition("", "motion amplitude over that of the true motion: 1 is right [ours]"),
    "cd_3d": Definition(
        "half boxes",
        "CD-3D of ActionBench (Sabathier et al. 2026): Chamfer distance (mean distance to the nearest point, both "
        "ways, summed) of the body's points, each frame aligned by itself, mean over frames; the box of all true "
        "frames has a longest side of 2; at the phase of the trajectory error",
        "lower",
    ),
    "cd_4d": Definition(
        "half boxes", "CD-4D of ActionBench: as CD-3D, all frames aligned as the first frame asks for", "lower"
    ),
    "cd_m": Definition(
        "half boxes",
        "CD-M of ActionBench: so aligned, mean distance over frames of points that are nearest in the first frame, "
        "both ways, summed",
        "lower",
    ),
}  # fmt: skip
"""In the order in which they are shown."""

NOT_MOVING = 1.0
"""Motion amplitude, in per cent of the diagonal, below which an asset hardly moves: what counts against motion (jerk,
ARAP) is then best by standing still. [ours]"""


def measured(name: str, value: float, **where: Any) -> Entry:
    """The entry of a metric; ``where`` says on what: backbone, views, frames, size_px, reference, samples, ..."""
    if not math.isfinite(value):
        return missing(name, "other weights: what these give is not a number", **where)
    return {"value": value} | _said(name) | where


def missing(name: str, how: str, **where: Any) -> Entry:
    """The entry of a metric that could not be measured here, and ``how`` to get it."""
    return {"value": None} | _said(name) | {"unavailable": how} | where


def _said(name: str) -> Entry:
    said = CATALOGUE[name]
    return {"unit": said.unit, "definition": said.text, "better": said.better}
