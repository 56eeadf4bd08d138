"""What is fetched of a published model, and whether all of it is on this machine. Asks nothing of the network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stages.errors import BadInput
from stages.files import shards_of

INDEX = "model_index.json"
PARTS = (
    "scheduler", "tokenizer", "text_encoder", "image_processor", "image_encoder", "vae", "transformer", "transformer_2",
    "unet",
)  # fmt: skip
"""Folders of a published model that are used; others are not downloaded."""

UNUSED = ("*.bin", "*.fp16.*", "*.msgpack")
"""Other copies of the same weights: pickled, in half precision, for JAX."""

CONFIGS = {
    "scheduler": "scheduler_config.json",
    "tokenizer": "tokenizer_config.json",
    "image_processor": "preprocessor_config.json",
}
"""Files of the parts that have no weights."""

SAVE_AS_SAFETENSORS = "Save the model as safetensors once, with diffusers' save_pretrained, and name that folder."


def wanted(parts: Iterable[str] = PARTS) -> list[str]:
    """Patterns of the files that are fetched for ``parts``, ``UNUSED`` ones aside."""
    return [INDEX, *(f"{part}/*" for part in parts)]


def download_line(name: str, parts: Iterable[str] = PARTS) -> str:
    """The command that fetches what is used of a model of the hub, and nothing else."""
    include = "".join(f' --include "{pattern}"' for pattern in wanted(parts))
    exclude = "".join(f' --exclude "{pattern}"' for pattern in UNUSED)
    return f"hf download {name}{include}{exclude}"


def download_again(name: str, part: str) -> str:
    """What to do about a damaged part: its files are fetched although the cache has some."""
    if Path(name).is_dir():
        return "Download it again."
    return f"Download it again: {download_line(name, (part,))} --force-download"


def parts_of(index: dict[str, Any]) -> list[str]:
    """Those ``PARTS`` that a model has."""
    return [part for part in PARTS if class_of(index, part)[1]]


def class_of(index: Mapping[str, Any], part: str) -> tuple[str, str] | tuple[None, None]:
    """Library and class of a part, as a model's index names them; None where it has no such part.

    Raises:
        BadInput: the index says something else there.
    """
    said = index.get(part)
    if said is None or said == [None, None]:
        return None, None
    if isinstance(said, list) and len(said) == 2 and all(isinstance(word, str) for word in said):
        return said[0], said[1]
    raise BadInput(f"A {INDEX} names no library and class as its {part}, but {str(said)[:100]}.", "Download it again.")


def missing_files(folder: Path) -> list[Path]:
    """Configs and weights that a model's index asks for and its folder does not have; none if the index is damaged."""
    index = _json(folder / INDEX)
    return [file for part in parts_of(index) for file in missing_of_part(folder / part, str(index[part][0]))]


def missing_of_part(folder: Path, library: str) -> list[Path]:
    """Its config and its weights, every shard of them, as far as they are not there.

    Raises:
        BadInput: a shard is named that lies outside the folder.
    """
    needed = [CONFIGS[folder.name]] if folder.name in CONFIGS else ["config.json", *_weights(folder, library)]
    return [folder / name for name in needed if not (folder / name).exists()]


def _weights(folder: Path, library: str) -> list[str]:
    stem = "model" if library == "transformers" else "diffusion_pytorch_model"
    return shards_of(folder / f"{stem}.safetensors.index.json") or [f"{stem}.safetensors"]


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def has_pickles_only(file: Path) -> bool:
    """Whether the weights that are missing are beside it as ``.bin``."""
    return file.suffix == ".safetensors" and any(file.parent.glob("*.bin"))
