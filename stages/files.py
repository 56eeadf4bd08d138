"""Writing files so that a reader, or a crash at any instant, never meets half of one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.errors import CannotWrite, CorruptCheckpoint

IN_A_RUN = "Free space or choose another --run directory."
"""What to do when a file of a run cannot be written."""


@contextmanager
def writing(path: Path, hint: str = IN_A_RUN) -> Iterator[None]:
    """Operating-system errors within the block become ``CannotWrite`` about ``path``."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise CannotWrite(f"Cannot write {path}: {reason}.", hint) from error


@contextmanager
def replacing(path: Path, hint: str = IN_A_RUN) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; on success its content takes ``path``'s place, else it is removed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path, hint):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write JSON in one piece."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, default=str) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in ``path``; None when there is no such file. Raises ``CorruptCheckpoint`` when it is not JSON."""
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise CorruptCheckpoint(f"{path} cannot be read: {error}.", "Remove it, or start again with --force.") from None
    if not isinstance(value, dict):
        raise CorruptCheckpoint(f"{path} is not a JSON object.", "Remove it, or start again with --force.")
    return value


def file_hash(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of a file's content; of safetensors, whose metadata come in any order, with
    the header in one."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if path.suffix == ".safetensors":
            length = int.from_bytes(file.read(8), "little")
            digest.update(_in_order(file.read(min(length, path.stat().st_size))))  # a damaged file may claim any length
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()[:16]


def _in_order(header: bytes) -> bytes:
    """A JSON object with sorted names; bytes that are not one as they are."""
    try:
        return json.dumps(json.loads(header), sort_keys=True).encode()
    except ValueError:
        return header
