"""Writing files so that a reader, or a crash at any instant, never meets half of one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.errors import AnimusError, BadInput, CannotWrite, CorruptCheckpoint, NotFinite, first_line

IN_A_RUN = "Free space or choose another --run directory."
"""What to do when a file of a run cannot be written."""


PART = ".part"
"""In the names of files that are not whole yet."""


def to_disk(path: Path) -> None:
    """Have the system put what was written to a file, or the names in a folder, on the disk; systems that do not let
    folders be opened keep their names by themselves. Windows does so for files only that are open for writing."""
    try:
        handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except OSError:
        if path.is_dir():
            return
        raise
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(handle)


@contextmanager
def writing(path: Path, hint: str = IN_A_RUN) -> Iterator[None]:
    """Operating-system errors within the block become ``CannotWrite`` about ``path``."""
    try:
        yield
    except OSError as error:
        reason = first_line(error)
        raise CannotWrite(f"Cannot write {path}: {reason}.", hint) from error


LONGEST_STEM = 80
"""Bytes of a file's name that are in the name of what will replace it: a name has 255 at most."""


def part_of(path: Path) -> Path:
    """Where this process writes what will take the place of ``path``: beside it, hidden, of the same suffix. Removes
    what a killed process of this machine has left there."""
    host = hashlib.sha256(f"{socket.gethostname()}/".encode() + os.fsencode(path.name)).hexdigest()[:8]
    stem = os.fsencode(path.stem)[:LONGEST_STEM].decode(errors="ignore")
    before, after = f".{stem}.{host}.", f"{PART}{path.suffix}"
    try:
        names = os.listdir(path.parent)
    except OSError:  # not there yet
        names = []
    for name in names:
        if name.startswith(before) and name.endswith(after):
            pid = name[len(before) : -len(after)]
            if pid.isdecimal() and not alive(int(pid)):
                path.with_name(name).unlink(missing_ok=True)
    return path.with_name(f"{before}{os.getpid()}{after}")


def alive(pid: int) -> bool:
    """Whether a process of this number is on this machine."""
    if os.name == "nt":
        import ctypes

        kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
        handle = kernel.OpenProcess(0x1000, False, pid)  # to be asked about, no more
        return bool(handle and kernel.CloseHandle(handle))
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's, or no number of a process
        return True
    return True


def readable(text: str) -> str:
    """``text`` as UTF-8 can hold it: half a surrogate pair, as stands for a byte of a file's name that is no UTF-8,
    becomes the sign for what cannot be shown."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@contextmanager
def replacing(path: Path, hint: str = IN_A_RUN) -> Iterator[Path]:
    """Yields a temporary path beside ``path``, of the same suffix; on success its content takes ``path``'s place,
    safely on the disk, else it is removed."""
    with writing(path, hint):
        temporary = part_of(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            to_disk(temporary)
            temporary.replace(path)
            to_disk(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


SEAL = "seal"
"""The key under which a JSON file keeps a short hash of its other content."""


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """``value`` with its seal."""
    plain = {key: item for key, item in value.items() if key != SEAL}
    text = json.dumps(json.loads(json.dumps(plain, default=str)), sort_keys=True)
    return {**plain, SEAL: hashlib.sha256(text.encode()).hexdigest()[:16]}


def write_json(path: Path, value: Mapping[str, Any] | Sequence[Any], *, seal: bool = False) -> None:
    """Write JSON in one piece; with ``seal`` an object whose damage ``read_json`` will find. Raises ``NotFinite`` for a
    NaN or an infinity in it."""
    try:
        if seal and isinstance(value, Mapping):
            value = sealed(value)
        text = json.dumps(value, indent=2, default=str, allow_nan=False)
    except ValueError:
        raise NotFinite(f"{path} would hold a value that is NaN or infinite; it was not written.") from None
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_tensors(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write ``tensors`` and ``metadata`` as safetensors, the same bytes whenever they are the same: the library itself
    puts metadata in a random order, here the header's names are sorted. Not in one piece: use ``replacing``."""
    from safetensors.torch import save

    told = {name: readable(text) for name, text in (metadata or {}).items()}  # a prompt may hold anything
    data = save({name: tensor.contiguous() for name, tensor in tensors.items()}, told)
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.write(memoryview(data)[8 + length :])


def check_kinds(folder: Path) -> None:
    """Raise ``ValueError`` where the safetensors files of ``folder`` hold anything but floating-point numbers and int64
    that are no weights or biases (tables of places): libraries would take integers as they are, and half of what is
    complex. Raises what safetensors raises of damaged files."""
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118
                kind = file.get_slice(name).get_dtype()
                places = kind == "I64" and name.rpartition(".")[2] not in ("weight", "bias")
                if not (kind.startswith(("F", "BF")) or places):
                    raise ValueError(f"{name} in {path.name} is of {kind}, no floating-point numbers")


def shards_of(index: Path) -> list[str]:
    """The files that an index of weights names; none where it is not there or damaged. Raises ``BadInput``: one of them
    lies elsewhere."""
    try:
        found = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    shards = found.get("weight_map") if isinstance(found, dict) else None
    names = list(shards.values()) if isinstance(shards, dict) else []
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or "\\" in name:
            raise BadInput(f"{index} names weights that are no file beside it: {str(name)[:200]!r}.", "Do not use it.")
    return sorted(set(names))


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in ``path``; None when there is no such file. Raises ``CorruptCheckpoint`` when it is not JSON, or not
    what its seal says, if it has one."""
    try:
        must_end(path)
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptCheckpoint(
            f"{path} cannot be read: {first_line(error)}.", "Remove it, or start again with --force."
        ) from None
    if not isinstance(value, dict):
        raise CorruptCheckpoint(f"{path} is not a JSON object.", "Remove it, or start again with --force.")
    if SEAL in value and sealed(value)[SEAL] != value[SEAL]:
        raise CorruptCheckpoint(
            f"{path} is damaged: it is not what was written.",
            f'Remove it, or start again with --force; if you have edited it, remove its "{SEAL}".',
        )
    return value


@contextmanager
def as_stored(what: str, hint: str = "Make it again with --force.") -> Iterator[None]:
    """A context in which ``what``, a result whose file could be read, is understood: whatever goes wrong with its
    content (missing names, other shapes, JSON that is none) becomes ``CorruptCheckpoint``."""
    try:
        yield
    except AnimusError:
        raise
    except Exception as error:
        reason = f"{first_line(error)} is missing" if isinstance(error, KeyError) else first_line(error)[:200]
        raise CorruptCheckpoint(f"{what} cannot be understood: {reason}.", hint) from None


def must_end(path: Path) -> None:
    """Raise ``OSError`` where ``path`` is a pipe or a device, whose end a reader may never see; what is not there
    passes."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file")


def all_must_end(folder: Path) -> None:
    """Raise ``BadInput`` where a pipe, a device or a link to nothing is in ``folder``, which somebody has given."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and not os.path.exists(path):
            raise BadInput(f"{path} is a link that leads nowhere.", "Remove it, or fetch the folder again.")
        try:
            must_end(path)
        except OSError:
            raise BadInput(
                f"{path} is a pipe or a device, not a file.", "Remove it, or fetch the folder again."
            ) from None


def file_hash(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of a file's content. Raises ``OSError``: it is not there, or has no end."""
    must_end(path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()[:16]


def content_hash(path: Path, role: str) -> str:
    """Of a file, or of all files of a folder. Raises ``BadInput``: it is not there."""
    if path.is_dir():
        return " ".join(file_hash(file) for file in sorted(path.iterdir()) if file.is_file())
    if not path.is_file():
        raise BadInput(f"The {role} {path} is not there.")
    return file_hash(path)


def strip_local_path(config_file: Path) -> None:
    """Take the folder that a part was loaded from out of its config."""
    if config_file.exists():
        config = json.loads(config_file.read_text(encoding="utf-8"))
        if config.pop("_name_or_path", None) is not None:
            config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
