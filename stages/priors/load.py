"""Load a prior: a shipped one, a local folder, or a hub id, all through the same ``model_index.json``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import DDIMScheduler
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPTextModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from stages.assets import asset_path
from stages.errors import BadInput, NotAvailable, first_line
from stages.priors.autoencoder import PatchAutoencoder
from stages.priors.embedded import CLASSES, PIPELINE, EmbeddedPrior
from stages.priors.families import FAMILIES
from stages.priors.hub import (
    PARTS,
    SAVE_AS_SAFETENSORS,
    UNUSED,
    download_line,
    has_pickles_only,
    missing_files,
    parts_of,
    wanted,
)
from stages.priors.multiview import MVVDMPrior
from stages.priors.multiview.convert import CHECKPOINT, CONVERT, IP_ADAPTER, MVDREAM
from stages.priors.points import PointsPrior
from stages.priors.points.prior import PIPELINE as POINTS_PIPELINE
from stages.priors.prior import Prior
from stages.priors.profiles import PROFILES
from stages.priors.published import PublishedPrior
from stages.priors.transformer import AnimusTransformer3DModel

POINTS, EMBEDDED = "points", "embedded-video"
SHIPPED = {POINTS: "prior_points", EMBEDDED: "prior"}
"""Priors that come with the project, and their folders among its assets."""
FORMER_NAMES = {"embedded": EMBEDDED}
"""What they were called before."""
WHOLE = 64 * 2**20
"""Larger files are told apart by their size and this much at either end, not by every byte."""

_OWN: dict[str, Any] = {
    "AnimusTransformer3DModel": AnimusTransformer3DModel,
    "PatchAutoencoder": PatchAutoencoder,
    "CLIPTextModel": CLIPTextModel,
    "PreTrainedTokenizerFast": PreTrainedTokenizerFast,
    "DDIMScheduler": DDIMScheduler,
}


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
    folder = find_prior(name)
    index = read_index(folder)
    if index.get("_class_name") == PIPELINE:
        prior = _load_embedded(name, folder, index, device)
        if (num_frames or prior.clip.num_frames, size_px or prior.clip.width) != (
            prior.clip.num_frames,
            prior.clip.width,
        ):
            raise BadInput(f"{name} makes clips of {prior.clip.num_frames} frames of {prior.clip.width} pixels only.")
        return prior
    if index.get("_class_name") == POINTS_PIPELINE:
        return load_points(name, folder, index, device)
    family = family_of(name, index)
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


def load_points(name: str, folder: Path, index: dict[str, Any], device: torch.device | str) -> PointsPrior:
    """The points prior in ``folder``.

    Raises:
        BadInput: a part of it is missing or damaged.
    """
    diffusers_logging.set_verbosity_error()
    try:
        return PointsPrior.load(name, folder, index, device)
    except Exception as error:  # safetensors, json and diffusers each raise their own kinds for a damaged file
        raise BadInput(f"The prior {folder} cannot be loaded: {first_line(error)}.") from None


def load_embedded(name: str, device: torch.device | str = "cpu") -> EmbeddedPrior:
    """As ``load_prior``, for what only a prior of this project's own kind can do.

    Raises:
        BadInput: it is another kind.
    """
    folder = find_prior(name)
    index = read_index(folder)
    if index.get("_class_name") != PIPELINE:
        raise BadInput(f"{name} is a {index.get('_class_name')}; train-prior trains a {PIPELINE} only.")
    return _load_embedded(name, folder, index, device)


def kind_of(name: str) -> Literal["points", "video", "published"]:
    """Whether a prior is one of this project's own, which have defaults of their own, or a published model.

    Of a hub id no more than the index is downloaded for that.
    """
    kind = read_index(_find(name, ())).get("_class_name")
    return "points" if kind == POINTS_PIPELINE else "video" if kind == PIPELINE else "published"


def preset_of(name: str) -> str:
    """The preset of ``fit-lora``, ``distill`` and ``refine`` that suits a prior."""
    return {"points": "default", "video": "video", "published": "published"}[kind_of(name)]


def is_points_kind(name: str) -> bool:
    """Whether a prior sees points and not videos. No more than its index is read."""
    return bool(read_index(_find(name, ())).get("_class_name") == POINTS_PIPELINE)


def family_of(name: str, index: dict[str, Any]) -> type[PublishedPrior] | type[MVVDMPrior]:
    """The family of a published model.

    Raises:
        NotAvailable: it is of none that is known here.
    """
    for part in ("transformer", "unet"):
        class_name = (index.get(part) or ["", None])[1]
        if class_name in FAMILIES:
            return FAMILIES[class_name]
    raise NotAvailable(
        f"{name} is a {index.get('_class_name')}, of no family that is known here ({', '.join(FAMILIES)}).",
        "See: animus3d priors",
    )


def read_index(folder: Path) -> dict[str, Any]:
    """A prior's ``model_index.json``.

    Raises:
        BadInput: it is not there, or damaged.
    """
    index_file = folder / "model_index.json"
    try:
        return json.loads(index_file.read_text())
    except FileNotFoundError:
        raise BadInput(
            f"{folder} is not a video prior: it has no model_index.json.", "See: animus3d train-prior --help"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{index_file} cannot be read: {first_line(error)}.") from None


def find_prior(name: str) -> Path:
    """Local folder of a prior, downloading the parts of a hub id that are used when it can be.

    Raises:
        NotAvailable: no such folder, the hub has no such model or cannot be reached, or parts of it are not here.
    """
    folder = _find(name, PARTS)
    if _is_local(name):
        return folder
    missing = missing_files(folder)
    if not missing:
        return folder
    from huggingface_hub import is_offline_mode

    file = missing[0].relative_to(folder)
    if has_pickles_only(missing[0]):
        raise NotAvailable(
            f"{name} has the weights of its {file.parent} as .bin only; nothing is unpickled here.", SAVE_AS_SAFETENSORS
        )
    what = f"{file} of the prior {name} is not on this machine"
    line = download_line(name, parts_of(read_index(folder)))
    if is_offline_mode():
        raise NotAvailable(f"{what}.", f"Where there is a connection: {line}")
    raise NotAvailable(
        f"{what}, and the hub did not give it.",
        f"Fetch it: {line}; or, if the hub has .bin only, which is not unpickled here: {SAVE_AS_SAFETENSORS}",
    )


def _is_local(name: str) -> bool:
    return FORMER_NAMES.get(name, name) in SHIPPED or Path(name).is_dir()


def _find(name: str, parts: tuple[str, ...]) -> Path:
    """Local folder of a prior with the index and ``parts`` of a hub id, downloaded when they can be."""
    if _is_local(name):
        name = FORMER_NAMES.get(name, name)
        return asset_path(SHIPPED[name]) if name in SHIPPED else Path(name)
    if name.lower() == CHECKPOINT.lower():
        raise NotAvailable(
            f"{name} is a pickled checkpoint of a part of a model; it is converted once, to safetensors.",
            f"Fetch it, {MVDREAM} and {IP_ADAPTER}; then: {CONVERT}; then: --prior animate3d (docs/views.md).",
        )
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise NotAvailable(
            f"There is no folder {name}.", f"Give --prior {', '.join(SHIPPED)}, a folder, or a hub id: owner/model."
        )
    from huggingface_hub import is_offline_mode, snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=wanted(parts), ignore_patterns=list(UNUSED)))
    except Exception as error:  # the hub client raises many unrelated classes; all mean "not on this machine"
        asked = "is not asked (offline)" if is_offline_mode() else f"did not give it ({first_line(error)})"
        raise NotAvailable(
            f"The prior {name} is neither a folder nor on this machine, and the hub {asked}.",
            f"Where there is a connection: {download_line(name)} --local-dir MODEL; then here: --prior MODEL.",
        ) from None


def prior_fingerprint(name: str) -> str:
    """A short text that changes when the prior's files do; part of what a stage's result depends on."""
    folder = find_prior(name)
    files = sorted(
        path
        for path in folder.glob("**/*")
        if path.suffix in (".safetensors", ".json")
        and path.relative_to(folder).parts[0] in (*PARTS, "model_index.json")
        and path.is_file()
    )
    return f"{len(files)} files, {sum(path.stat().st_size for path in files)} bytes, {_digest(files)}"


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            if path.stat().st_size <= WHOLE:
                digest.update(file.read())
            else:
                digest.update(file.read(WHOLE))
                file.seek(-WHOLE, 2)
                digest.update(file.read())
    return digest.hexdigest()[:16]


def _load_embedded(name: str, folder: Path, index: dict[str, Any], device: torch.device | str) -> EmbeddedPrior:
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    parts = {part: _load_part(folder, part, index) for part in CLASSES}
    return EmbeddedPrior(name, parts, device, index.get("motions"))


def _load_part(folder: Path, part: str, index: dict[str, Any]) -> Any:
    class_name = (index.get(part) or ["", "nothing"])[1]
    if class_name not in _OWN:
        raise BadInput(f"{folder}/model_index.json names {class_name} as its {part}, which is not known here.")
    try:
        return _OWN[class_name].from_pretrained(folder / part)
    except Exception as error:  # safetensors, json and transformers each raise their own kinds for a damaged file
        raise BadInput(f"The {part} of the prior {folder} cannot be loaded: {first_line(error)}.") from None
