"""What ``sample`` has drawn, for matching."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from stages.errors import BadInput, MissingStage
from stages.priors.load import prior_fingerprint
from stages.run_dir import RunDir
from stages.run_dir.layout import SAMPLES


@dataclass(frozen=True)
class Samples:
    """The samples of a run."""

    latents: Tensor  # [B, 3 K, N]
    prompt: str
    seed: int


def read_samples(run_dir: RunDir, *, number: int, prompt: str, prior: str) -> Samples:
    """The samples of the run, of which the ``number``-th, from 1 on, is to be followed.

    Args:
        prompt: that they must be of; any where it is empty.
        prior: that must have drawn them.

    Raises:
        MissingStage: there are none.
        BadInput: there is none of this number, or they are of another sentence or prior.
    """
    folder = run_dir.stage(SAMPLES.folder)
    if not folder.is_complete():
        raise MissingStage(f"{run_dir.path} has no samples.", "Run first: animus3d sample")
    tensors, metadata = folder.read_result(SAMPLES.result)
    latents, drawn_for = tensors["latents"], metadata["prompt"]
    if number > len(latents):
        raise BadInput(f"There is no sample {number}: {len(latents)} were drawn.")
    if prompt not in ("", drawn_for):
        raise BadInput(f"The samples are of {drawn_for!r}, not of {prompt!r}.", "Leave --prompt away.")
    if metadata["prior_fingerprint"] != prior_fingerprint(prior):
        raise BadInput(f"The samples are of another prior than {prior!r}.", "Run: animus3d sample --force")
    return Samples(latents, drawn_for, int(metadata["seed"]))
