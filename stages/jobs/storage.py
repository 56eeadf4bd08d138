"""Assets from, and results to, wherever fsspec reaches: s3://, gs://, file://, memory://."""

from __future__ import annotations

import hashlib
import posixpath
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec

from stages.errors import BadInput, CannotWrite, NotAvailable, first_line
from stages.files import part_of, writing

LAST = "complete.json"
"""The file of a run that is put last: where it is, everything is."""


def fetch(url: str, folder: Path) -> Path:
    """The file or folder at ``url``, copied into ``folder`` unless it is there already.

    Raises:
        BadInput: there is nothing at ``url``, or it cannot be read.
        NotAvailable: no package for its protocol is installed.
    """
    name = posixpath.basename(url.rstrip("/"))
    there = folder / hashlib.sha256(url.encode()).hexdigest()[:12] / name
    if there.exists():
        return there
    with _telling(url, BadInput, "Check the address."):
        system, path = fsspec.core.url_to_fs(url)
        if not system.exists(path):
            raise BadInput(f"There is nothing at {url}.", "Check the address.")
        temporary = part_of(there)
        with writing(there):
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(temporary, ignore_errors=True)
        if system.isdir(path):
            system.get(path.rstrip("/") + "/", f"{temporary}/", recursive=True)
        else:
            system.get_file(path, str(temporary))
        with writing(there):
            temporary.replace(there)
    return there


def publish(run: Path, url: str) -> None:
    """Put the files of a run below ``url``; those of the same size as what is there are put again. Nothing hidden goes
    along. Raises ``CannotWrite``, ``NotAvailable``."""
    with _telling(url, CannotWrite, "The same command tries again."):
        system, root = fsspec.core.url_to_fs(url)
        files = [path for path in sorted(run.rglob("*")) if path.is_file() and not _hidden(path.relative_to(run))]
        for path in sorted(files, key=lambda path: path == run / LAST):
            target = f"{root.rstrip('/')}/{path.relative_to(run).as_posix()}"
            system.makedirs(posixpath.dirname(target), exist_ok=True)
            system.put_file(str(path), target)


def published(url: str) -> set[str]:
    """The names of the runs below ``url`` that are there as a whole. Raises ``NotAvailable``, ``CannotWrite``."""
    with _telling(url, CannotWrite, "Check the address."):
        system, root = fsspec.core.url_to_fs(url)
        found = system.glob(f"{root.rstrip('/')}/*/{LAST}")
    return {posixpath.basename(posixpath.dirname(str(path))) for path in found}


def put_text(text: str, url: str) -> None:
    """Write a text file. Raises ``CannotWrite``, ``NotAvailable``."""
    with _telling(url, CannotWrite, "Check the address."):
        system, path = fsspec.core.url_to_fs(url)
        system.makedirs(posixpath.dirname(path), exist_ok=True)
        system.pipe_file(path, text.encode())


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


@contextmanager
def _telling(url: str, kind: type[BadInput] | type[CannotWrite], hint: str) -> Iterator[Any]:
    """What goes wrong with ``url`` as an error of ``kind``."""
    try:
        yield
    except (BadInput, CannotWrite, NotAvailable):
        raise
    except (ImportError, ValueError) as error:  # the package of a protocol is missing, or there is no such protocol
        raise NotAvailable(f"{url} cannot be reached: {first_line(error)}.", "For s3://: pip install s3fs") from None
    except Exception as error:  # every protocol raises its own kinds
        raise kind(f"{url} cannot be used: {first_line(error)}.", hint) from None
