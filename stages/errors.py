"""Errors for people: each says what is wrong, where, and what to type next.

::

    AnimusError                 1
    ├── BadInput                3   a file or value that cannot be used (missing, truncated, NaN, wrong fields)
    ├── MissingStage            4   a stage was run before the one it reads from
    ├── SettingsDiffer          5   the run holds this stage with other settings or inputs
    ├── RunLocked               6   another command is working on the run directory
    ├── CannotWrite             7   disk full, read-only, no permission
    ├── CorruptCheckpoint       8   a checkpoint or result in the run cannot be read
    ├── NotAvailable            9   a backend, package, model or memory that is not on this machine
    ├── NotFinite              10   a result holds NaN or infinity
    └── SomeFailed             11   some jobs of a batch have failed; the others are done

The number is the exit code of the command line. 0 is success, 2 a usage error, 130 an interruption (Ctrl-C, SIGTERM).
"""

from __future__ import annotations

MOST_SAID = 1000
"""Characters of a ``BadInput``: some quote values of a file, which may be of any length."""


class AnimusError(Exception):
    """Base of all errors meant for the person at the terminal.

    Args:
        what: what is wrong and where, one sentence without a line break.
        hint: what to type or do next, or "".
    """

    exit_code = 1

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(f"{what} {hint}".strip())
        self.what = what
        self.hint = hint


class BadInput(AnimusError):
    """A file or value that cannot be used. What it quotes of a file stays one line that can be read."""

    exit_code = 3

    def __init__(self, what: str, hint: str = "") -> None:
        what = " ".join(what.splitlines())
        super().__init__(what if len(what) <= MOST_SAID else f"{what[:MOST_SAID]}...", hint)


class MissingStage(AnimusError):
    """A stage was run before the one it reads from."""

    exit_code = 4


class SettingsDiffer(AnimusError):
    """The run already holds this stage with other settings or other inputs."""

    exit_code = 5


class RunLocked(AnimusError):
    """Another command holds the run directory."""

    exit_code = 6


class CannotWrite(AnimusError):
    """The run directory or an output cannot be written (disk full, read-only, permissions)."""

    exit_code = 7


class CorruptCheckpoint(AnimusError):
    """A checkpoint or a stage's result cannot be read."""

    exit_code = 8


class NotAvailable(AnimusError):
    """A backend, package, model or as much memory is not on this machine."""

    exit_code = 9


class NotFinite(AnimusError):
    """A stage has made NaN or infinity, which never counts as done."""

    exit_code = 10


class SomeFailed(AnimusError):
    """Some jobs of a batch have failed; the others are done."""

    exit_code = 11


LONGEST = 300
"""Characters of what another library says that are told: some repeat the whole file."""


def first_line(error: Exception) -> str:
    """What an error of another library or of the system says, in one line without a full stop or colon at its end: the
    one way in which such errors are told."""
    said = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    line = str(said).splitlines()[0].rstrip(".: ")
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."


def error_of(code: int, what: str, hint: str) -> AnimusError:
    """The error of that exit code, as it was raised in another process."""
    kinds = (kind for kind in AnimusError.__subclasses__() if kind.exit_code == code)
    return next(kinds, AnimusError)(what, hint)
