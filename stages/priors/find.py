"""Which folder a prior's name stands for, which kind of prior is in it, and whether it is still the same.

A name is that of a shipped prior, a local folder, or a hub id ``owner/model``. Weights are not read here.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from stages.assets import asset_path
from stages.errors import BadInput, NotAvailable, first_line
from stages.files import all_must_end
from stages.priors.catalogue import CHECKPOINT, CONVERT, IP_ADAPTER, MVDREAM
from stages.priors.hub import (
    INDEX,
    PARTS,
    SAVE_AS_SAFETENSORS,
    UNUSED,
    download_line,
    has_pickles_only,
    missing_files,
    parts_of,
    wanted,
)

POINTS, EMBEDDED = "points", "embedded-video"
SHIPPED = {POINTS: "prior_points", EMBEDDED: "prior"}
"""Priors that come with the project, and their folders among its assets."""
FORMER_NAMES = {"embedded": EMBEDDED}
"""What they were called before."""
EXACT_VIEWS = "exact-views"
"""What ``--prior`` calls that of a bank of clips."""
POINTS_PIPELINE, EMBEDDED_PIPELINE = "AnimusPointsPipeline", "AnimusVideoPipeline"
"""``_class_name`` of the indexes of this project's own priors."""
WHOLE = 64 * 2**20
"""Larger files are told apart by their size and this much at either end, not by every byte."""


def kind_of(name: str) -> Literal["points", "video", "published"]:
    """Whether a prior is one of this project's own, which have defaults of their own, or a published model.

    Of a hub id no more than the index is downloaded for that.
    """
    kind = read_index(_find(name, ())).get("_class_name")
    return "points" if kind == POINTS_PIPELINE else "video" if kind == EMBEDDED_PIPELINE else "published"


def preset_of(name: str) -> str:
    """The preset of ``fit-lora``, ``distill`` and ``refine`` that suits a prior."""
    return {"points": "default", "video": "video", "published": "published"}[kind_of(name)]


def is_points_kind(name: str) -> bool:
    """Whether a prior sees points and not videos. No more than its index is read."""
    return bool(read_index(_find(name, ())).get("_class_name") == POINTS_PIPELINE)


def read_index(folder: Path) -> dict[str, Any]:
    """A prior's ``model_index.json``.

    Raises:
        BadInput: it is not there, or damaged.
    """
    index_file = folder / INDEX
    try:
        found = json.loads(index_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(
            f"{folder} is not a video prior: it has no model_index.json.", "See: animus3d train-prior --help"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{index_file} cannot be read: {first_line(error)}.") from None
    if not isinstance(found, dict):
        raise BadInput(f"{index_file} is not an index: it holds no names and values.")
    return found


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
        if name in SHIPPED:
            return asset_path(SHIPPED[name])
        all_must_end(Path(name))
        return Path(name)
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
        and path.relative_to(folder).parts[0] in (*PARTS, INDEX)
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
