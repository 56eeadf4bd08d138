"""A process that reads damaged files, with limits on time and memory, and says what became of each.

It takes numbers of files on its input, a line each, and answers each with a line of JSON. File ``index`` of seed
``seed`` is always the same: the case ``index`` modulo their number, damaged by a generator of both numbers.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import AnimusError
from tests.fuzz.mutate import mutate
from tests.fuzz.readers import CASES, seeds

SECONDS = 10
"""What reading may take."""

BYTES = 2 << 30
"""What it may take of memory beyond what the process has when it begins: the valid files need next to nothing."""

LONGEST_LINE = 2000
"""Characters of an error for people; longer ones repeat a file."""


class Hang(BaseException):
    """Reading took longer than ``SECONDS``."""


def damaged(seed: int, index: int, files: dict[str, bytes], read: str) -> dict[str, bytes]:
    """``files``, one or (rarely) two of them damaged; the one that is ``read`` most often, if it is one."""
    rng = np.random.default_rng([seed, index])
    changed, names = dict(files), list(files)
    for _ in range(2 if rng.random() < 0.1 else 1):
        name = read if read in files and rng.random() < 0.7 else names[int(rng.integers(len(names)))]
        changed[name] = mutate(changed[name], name, rng)
    return changed


def outcome(case: str, folder: Path, read: str) -> dict[str, Any]:
    """Read what lies in ``folder``: ``{"what": "read" | "refused" | "finding", ...}``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # numpy's, which people would see between our lines
            signal.alarm(SECONDS)
            try:
                CASES[case].read(folder / read)
            finally:
                signal.alarm(0)
    except AnimusError as error:
        if hidden := _hidden(error):
            return _finding("memory", hidden)
        if "\n" in str(error) or len(str(error)) > LONGEST_LINE:
            return {"what": "finding", "kind": "line", "error": repr(str(error)[:200])}
        return {"what": "refused", "error": type(error).__name__, "exit_code": error.exit_code, "said": str(error)}
    except Hang as error:
        return _finding("hang", error)
    except BaseException as error:
        return _finding("memory" if isinstance(error, MemoryError) or _hidden(error) else "traceback", error)
    return {"what": "read"}


def _hidden(error: BaseException) -> BaseException | None:
    """The ``MemoryError`` or torch's own word for one from which ``error`` came."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError) or "can't allocate memory" in str(seen):
            return seen
        seen = seen.__context__
    return None


def _finding(kind: str, error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/stages/" in frame.filename] or list(frames)
    place = f"{ours[-1].filename.rpartition('/stages/')[2]}:{ours[-1].name}" if ours else ""
    return {"what": "finding", "kind": kind, "error": f"{type(error).__name__}: {str(error)[:200]}", "place": place}


def _alarm(*_: object) -> None:
    raise Hang


def make_corpus(folder: Path) -> dict[str, tuple[dict[str, bytes], str]]:
    """The valid files of every case."""
    return {name: seeds(case, folder / str(number)) for number, (name, case) in enumerate(CASES.items())}


def limit_memory() -> None:
    """No more than ``BYTES`` beyond what this process has now; ``RLIMIT_AS`` counts what is only reserved, too."""
    pages = int(Path("/proc/self/statm").read_text().split()[5])  # data and stack
    most = pages * resource.getpagesize() + BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def main(seed: int, folder: Path) -> None:
    """Answer on the first standard output; whatever readers print goes to the error stream."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    corpus, names = make_corpus(folder / "corpus"), list(CASES)
    shutil.rmtree(folder / "corpus")
    signal.signal(signal.SIGALRM, _alarm)
    limit_memory()
    for line in sys.stdin:
        index, place = int(line), folder / "files"
        case = names[index % len(names)]
        files, read = corpus[case]
        for name, content in damaged(seed, index, files, read).items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        answer = {"index": index, "case": case} | outcome(case, place, read)
        with contextlib.suppress(OSError):
            shutil.rmtree(place)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
