"""Load a video prior: the embedded one, a local folder, or a hub id, all through the same ``model_index.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPTextModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from stages.assets import asset_path
from stages.errors import BadInput, NotAvailable
from stages.priors.autoencoder import PatchAutoencoder
from stages.priors.embedded import CLASSES, PIPELINE, EmbeddedPrior
from stages.priors.transformer import AnimusTransformer3DModel

EMBEDDED = "embedded"
_KNOWN: dict[str, Any] = {
    "AnimusTransformer3DModel": AnimusTransformer3DModel,
    "PatchAutoencoder": PatchAutoencoder,
    "CLIPTextModel": CLIPTextModel,
    "PreTrainedTokenizerFast": PreTrainedTokenizerFast,
    "DDIMScheduler": DDIMScheduler,
}


def load_prior(name: str, device: torch.device | str = "cpu") -> EmbeddedPrior:
    """The prior called ``name``: "embedded", a folder, or a hub id ``owner/model``.

    Raises:
        NotAvailable: no such folder, and the hub has no such model or cannot be reached.
        BadInput: the folder is not a prior, or a part of it is missing, damaged or of an unknown class.
    """
    folder = find_prior(name)
    index_file = folder / "model_index.json"
    try:
        index = json.loads(index_file.read_text())
    except FileNotFoundError:
        raise BadInput(
            f"{folder} is not a video prior: it has no model_index.json.", "See: animus3d train-prior --help"
        ) from None
    except (OSError, json.JSONDecodeError) as error:
        raise BadInput(f"{index_file} cannot be read: {error}.") from None
    if index.get("_class_name") != PIPELINE:
        raise NotAvailable(
            f"{name} is a {index.get('_class_name')}; this version runs priors of class {PIPELINE} only.",
            "Use --prior embedded, or a folder made by animus3d train-prior.",
        )
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    parts = {part: _load_part(folder, part, index) for part in CLASSES}
    return EmbeddedPrior(name, parts, device, index.get("motions"), index.get("reach"))


def find_prior(name: str) -> Path:
    """Local folder of a prior, downloading a hub id when it can be."""
    if name == EMBEDDED:
        return asset_path("prior")
    if Path(name).is_dir():
        return Path(name)
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise NotAvailable(
            f"There is no folder {name}.", "Give --prior a folder, a hub id such as owner/model, or 'embedded'."
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name))
    except Exception as error:  # the hub client raises many unrelated classes; all mean "not on this machine"
        reason = str(error).splitlines()[0]
        raise NotAvailable(
            f"The prior {name} is neither a folder nor on this machine, and the hub did not give it ({reason}).",
            "Download it elsewhere and pass its folder to --prior.",
        ) from None


def prior_fingerprint(name: str) -> str:
    """A short text that changes when the prior's files do; part of what a stage's result depends on."""
    folder = find_prior(name)
    files = sorted(
        path
        for path in folder.glob("**/*")
        if path.suffix in (".safetensors", ".json")
        and path.relative_to(folder).parts[0] != "training"
        and path.is_file()
    )
    return f"{len(files)} files, {sum(path.stat().st_size for path in files)} bytes, {_weights_digest(files)}"


def _weights_digest(files: list[Path]) -> str:
    import hashlib

    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _load_part(folder: Path, part: str, index: dict[str, Any]) -> Any:
    class_name = (index.get(part) or ["", "nothing"])[1]
    if class_name not in _KNOWN:
        raise BadInput(f"{folder}/model_index.json names {class_name} as its {part}, which is not known here.")
    try:
        return _KNOWN[class_name].from_pretrained(folder / part)
    except Exception as error:  # safetensors, json and transformers each raise their own kinds for a damaged file
        reason = str(error).splitlines()[0]
        raise BadInput(f"The {part} of the prior {folder} cannot be loaded: {reason}.") from None
