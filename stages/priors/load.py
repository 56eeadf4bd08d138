"""Load a prior: a shipped one, a local folder, or a hub id, all through the same ``model_index.json``.

Each kind is imported when it is asked for: the default prior needs neither diffusers nor transformers, and importing
them takes longer than drawing a sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from stages.errors import AnimusError, BadInput, first_line
from stages.priors.find import EMBEDDED_PIPELINE, POINTS_PIPELINE, find_prior, prior_fingerprint, read_index
from stages.priors.lora import remove_adapter
from stages.priors.points import PointsPrior
from stages.priors.prior import Prior
from stages.priors.profiles import PROFILES

_kept: dict[str, tuple[tuple[Any, ...], Prior]] | None = None
"""By device, the arguments with which the last prior was loaded, and that prior; None: none is kept."""


def keep_priors() -> None:
    """From now on this process keeps the last prior that it has loaded on each device, for the next who asks for the
    same: a worker does many jobs. A compiled one is not kept."""
    global _kept
    _kept = {} if _kept is None else _kept


def load_prior(
    name: str,
    device: torch.device | str = "cpu",
    *,
    num_frames: int | None = None,
    size_px: int | None = None,
    min_frames: int | None = None,
    profile: str = "24gb",
    compiled: bool = False,
) -> Prior:
    """The prior called ``name``: a shipped one, a folder, or a hub id ``owner/model``.

    ``num_frames`` and ``size_px`` ask a published model for clips of another shape than its family's own;
    ``min_frames`` asks for the shortest valid clip of at least so many, of models that join frames to latent ones.
    ``profile`` says how much memory it may use, ``compiled`` whether it is compiled before it is used.

    Raises:
        NotAvailable: no such folder, and the hub has no such model or cannot be reached; a model of no known family; or
            it is to be compiled and there is no compiler.
        BadInput: the folder is not a prior, a part of it is missing, damaged or of an unknown class, or the shape of
            the clips is not one that this model makes.
    """
    if profile not in PROFILES:
        raise BadInput(f"There is no profile {profile!r}.", f"Choose one of: {', '.join(PROFILES)}.")
    if _kept is None or compiled:
        return _load(name, device, num_frames, size_px, min_frames, profile, compiled)
    asked = (name, num_frames, size_px, min_frames, profile, prior_fingerprint(name))
    known, prior = _kept.pop(str(device), (None, None))
    if prior is None or known != asked:
        del prior  # before the next one needs the memory
        prior = _load(name, device, num_frames, size_px, min_frames, profile, compiled)
    elif prior.denoiser is not None:
        remove_adapter(prior.denoiser)
    _kept[str(device)] = asked, prior
    return prior


def _load(
    name: str,
    device: torch.device | str,
    num_frames: int | None,
    size_px: int | None,
    min_frames: int | None,
    profile: str,
    compiled: bool,
) -> Prior:
    """See ``load_prior``."""
    folder = find_prior(name)
    index = read_index(folder)
    if index.get("_class_name") == POINTS_PIPELINE:
        return load_points(name, folder, index, device)
    if index.get("_class_name") == EMBEDDED_PIPELINE:
        from stages.priors.embedded import EmbeddedPrior

        with _as_given(folder):
            prior = EmbeddedPrior.load(name, folder, index, device)
        clip = prior.clip
        if (num_frames or clip.num_frames, size_px or clip.width) != (clip.num_frames, clip.width):
            raise BadInput(f"{name} makes clips of {clip.num_frames} frames of {clip.width} pixels only.")
        return prior
    from stages.priors.families import family_of

    family = family_of(name, index)
    with _as_given(folder):
        return family(
            name,
            folder,
            device,
            num_frames=num_frames,
            size_px=size_px,
            min_frames=min_frames,
            profile=profile,
            compiled=compiled,
        )


@contextmanager
def _as_given(folder: Path) -> Iterator[None]:
    """A context in which what the files of ``folder`` say is understood: whatever goes wrong becomes ``BadInput``."""
    try:
        yield
    except (AnimusError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:  # safetensors, json, torch and both libraries each raise their own kinds
        reason = f"{first_line(error)} is missing" if isinstance(error, KeyError) else first_line(error)
        raise BadInput(f"The prior {folder} cannot be loaded: {reason}.") from None


def load_points(name: str, folder: Path, index: dict[str, Any], device: torch.device | str) -> PointsPrior:
    """The points prior in ``folder``.

    Raises:
        BadInput: a part of it is missing or damaged.
    """
    with _as_given(folder):
        return PointsPrior.load(name, folder, index, device)
