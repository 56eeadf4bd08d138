"""One command on a run at a time: here, after a crash, and on a disk that several machines share."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.errors import CannotWrite, RunLocked
from stages.events import Event, Note, silent
from stages.run_dir import RunDir, lock
from stages.run_dir.lock import alive, lock_holder, read_holder

HOLD = (
    "import sys; from pathlib import Path; from stages.run_dir import RunDir\n"
    "with RunDir(Path(sys.argv[1])).lock('distill'): print('held', flush=True); sys.stdin.readline()"
)


def left_behind(run: Path, *, pid: int, host: str, started: float | None = None) -> None:
    """What a command leaves beside the lock when it is killed."""
    run.mkdir(parents=True, exist_ok=True)
    who = {"command": "distill", "pid": pid, "host": host, "started": started or time.time()}
    (run / ".lock.json").write_text(json.dumps(who))


def no_hard_links(*_: object) -> None:
    raise OSError(errno.EOPNOTSUPP, "no hard links")


def gone() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_killed_command_is_taken_over_with_a_note(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdin is not None and process.stdout.readline() == "held\n"
        holder = lock_holder(tmp_path)
        assert holder is not None and (holder.command, holder.pid) == ("distill", process.pid)
        with pytest.raises(RunLocked, match=rf"distill \(pid {process.pid}\)"), RunDir(tmp_path).lock("refine"):
            pass
        process.kill()
        process.wait()
        process.stdin.close()
    assert process.returncode == -9 and (tmp_path / ".lock.json").exists()
    assert lock_holder(tmp_path) is None
    said: list[Event] = []
    with RunDir(tmp_path).lock("refine", said.append):
        now = lock_holder(tmp_path)
        assert now is not None and now.pid == os.getpid()
    assert [type(event) for event in said] == [Note] and str(process.pid) in said[0].text  # type: ignore[union-attr]
    assert lock_holder(tmp_path) is None and not (tmp_path / ".lock.json").exists()


def test_another_hosts_lock_is_refused_and_its_file_named(tmp_path: Path) -> None:
    left_behind(tmp_path, pid=gone(), host="elsewhere", started=time.time() - 3.2 * 3600)
    holder = lock_holder(tmp_path)
    assert holder is not None and holder.host == "elsewhere"
    with pytest.raises(RunLocked, match="on elsewhere for 3 hours") as told, RunDir(tmp_path).lock("refine"):
        pass
    assert told.value.exit_code == 6 and str(tmp_path / ".lock.json") in told.value.hint
    (tmp_path / ".lock.json").unlink()
    with RunDir(tmp_path).lock("refine"):
        pass


def test_a_process_number_given_to_another_program_holds_nothing(tmp_path: Path) -> None:
    left_behind(tmp_path, pid=os.getppid(), host=socket.gethostname())
    with RunDir(tmp_path).lock("refine"):
        pass
    left_behind(tmp_path, pid=os.getppid(), host=socket.gethostname())
    assert alive(os.getppid()) and lock_holder(tmp_path) is None


@pytest.mark.parametrize("hard_links", [True, False])
def test_of_two_hosts_that_start_together_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hard_links: bool
) -> None:
    """On a mount that keeps the system's locks local both get theirs; the other claims after this one has looked."""

    looks: list[lock.Holder | None] = []

    def look(run: Path) -> lock.Holder | None:
        looks.append(read_holder(run))
        if len(looks) == 1:
            left_behind(run, pid=1, host="elsewhere")
        return looks[-1]

    monkeypatch.setattr(lock, "read_holder", look)
    if not hard_links:
        monkeypatch.setattr(os, "link", no_hard_links)
    with pytest.raises(RunLocked, match="elsewhere"), RunDir(tmp_path).lock("refine"):
        pytest.fail("both went on")
    assert looks[0] is None
    holder = lock_holder(tmp_path)
    assert holder is not None and holder.host == "elsewhere"  # its claim is left alone
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", ".lock.json"]


def test_a_claim_is_whole_from_the_first_instant_and_gone_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", no_hard_links)
    with RunDir(tmp_path).lock("refine"):
        holder = lock_holder(tmp_path)
        assert holder is not None and (holder.command, holder.pid) == ("refine", os.getpid())
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    "answer",
    [NotImplementedError("this file system does not support flock"),
     *(OSError(getattr(errno, name), name) for name in ("ENOLCK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"))],
    ids=str,
)  # fmt: skip
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Exception) -> None:
    """There the lock is a file: the next command of this host removes it when its process is gone."""
    import filelock

    def nothing(*_: object, **__: object) -> None:
        raise answer

    monkeypatch.setattr(filelock.FileLock, "acquire", nothing)
    with RunDir(tmp_path).lock("distill"):
        assert (tmp_path / ".lock.soft").exists()
        with pytest.raises(RunLocked, match="distill"), RunDir(tmp_path).lock("refine"):
            pass
    left_behind(tmp_path, pid=gone(), host=socket.gethostname())
    (tmp_path / ".lock.soft").write_text("")
    with RunDir(tmp_path).lock("refine", silent):
        pass


def test_a_lock_that_cannot_be_had_for_another_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import filelock

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(filelock.FileLock, "acquire", refused)
    with pytest.raises(CannotWrite, match="Input/output error"), RunDir(tmp_path).lock("distill"):
        pass


@pytest.mark.parametrize("text", ["", "{}", "nonsense", '{"command": "distill"}'])
def test_half_a_file_is_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / ".lock.json").write_text(text)
    assert lock_holder(tmp_path) is None
    with RunDir(tmp_path).lock("refine"):
        pass
