"""What ``sample`` has drawn, for matching."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from stages.cameras import Camera
from stages.errors import BadInput, MissingStage
from stages.priors.find import prior_fingerprint
from stages.run_dir import RunDir
from stages.run_dir.layout import SAMPLES


@dataclass(frozen=True)
class Samples:
    """The samples of a run."""

    latents: Tensor  # [B, 3 K, N]
    prompt: str
    seed: int


@dataclass(frozen=True)
class VideoSamples:
    """The samples of a run whose prior makes videos, in the frame of the normalised asset."""

    rgb: Tensor  # uint8 [B, V, T, H, W, 3]
    cameras: list[Camera]  # V
    background: Tensor  # [3]
    prompt: str


VIDEO, PATHS = "video", "paths"
"""What samples are."""


def kind_of_samples(run_dir: RunDir) -> str | None:
    """Whether the samples of a run are videos or paths of points; None where it has none."""
    folder = run_dir.stage(SAMPLES.folder)
    if not folder.is_complete():
        return None
    return folder.read_result(SAMPLES.result)[1].get("kind", PATHS)


def read_video_samples(run_dir: RunDir, *, number: int, prompt: str) -> VideoSamples:
    """The videos that ``sample`` has drawn, of which the ``number``-th is followed. Raises as ``read_samples``."""
    tensors, metadata = _read(run_dir, number, prompt, "rgb")
    height, width = tensors["rgb"].shape[3:5]
    cameras = [
        Camera(viewmat=viewmat, K=K, width=width, height=height)
        for viewmat, K in zip(tensors["viewmats"], tensors["Ks"], strict=True)
    ]
    return VideoSamples(tensors["rgb"], cameras, tensors["background"], metadata["prompt"])


def read_samples(run_dir: RunDir, *, number: int, prompt: str, prior: str) -> Samples:
    """The samples of the run, of which the ``number``-th, from 1 on, is to be followed.

    Args:
        prompt: that they must be of; any where it is empty.
        prior: that must have drawn them.

    Raises:
        MissingStage: there are none.
        BadInput: there is none of this number, or they are of another sentence or prior.
    """
    tensors, metadata = _read(run_dir, number, prompt, "latents")
    latents, drawn_for = tensors["latents"], metadata["prompt"]
    if metadata["prior_fingerprint"] != prior_fingerprint(prior):
        raise BadInput(f"The samples are of another prior than {prior!r}.", "Run: animus3d sample --force")
    return Samples(latents, drawn_for, int(metadata["seed"]))


def _read(run_dir: RunDir, number: int, prompt: str, name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    folder = run_dir.stage(SAMPLES.folder)
    if not folder.is_complete():
        raise MissingStage(f"{run_dir.path} has no samples.", "Run first: animus3d sample")
    tensors, metadata = folder.read_result(SAMPLES.result)
    if name not in tensors:
        raise BadInput("The samples of this run are of another kind of prior.", "Run: animus3d sample --force")
    if number > len(tensors[name]):
        raise BadInput(f"There is no sample {number}: {len(tensors[name])} were drawn.")
    if prompt not in ("", metadata["prompt"]):
        raise BadInput(f"The samples are of {metadata['prompt']!r}, not of {prompt!r}.", "Leave --prompt away.")
    return tensors, metadata
