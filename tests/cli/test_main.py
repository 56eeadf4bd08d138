"""The program around the commands: help, errors, interruption, and what a terminal or a pipe gets to see."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
import torch

from animus3d_cli import main as program
from animus3d_cli.console import Console
from stages.errors import AnimusError, BadInput
from stages.events import Finished, Note, Progress, Started, Wrote

COMMANDS = [
    "animate", "reconstruct", "fit-lora", "rig", "sample", "still", "distill", "refine", "track", "render", "export",
    "eval", "report", "prefer", "ablate", "batch", "status", "view", "doctor", "priors", "train-prior",
]  # fmt: skip


def raising(error: BaseException, monkeypatch: pytest.MonkeyPatch, *extra: str) -> int:
    """Exit code of the program when its command raises ``error``."""

    def app(arguments: list[str], standalone_mode: bool) -> None:
        assert "--verbose" not in arguments
        raise error

    monkeypatch.setattr(program, "app", app)
    monkeypatch.setattr(sys, "argv", ["animus3d", "distill", *extra])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as exit_:
        program.main()
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def test_exit_codes_are_those_of_the_tree_and_documented() -> None:
    codes = {kind.exit_code for kind in (AnimusError, *AnimusError.__subclasses__())}
    assert len(codes) == 1 + len(AnimusError.__subclasses__())
    for code in codes | {0, 2, 130}:
        assert f"{code} " in program.EPILOG


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (BadInput("No goat here.", "Bring one."), 3, "animus3d: No goat here. Bring one.\n"),
        (KeyboardInterrupt(), 130, "animus3d: interrupted; the same command goes on from the last checkpoint.\n"),
        (OSError(errno.ENOSPC, "No space left", "a.mp4"), 7, "animus3d: Cannot write a.mp4: No space left.\n"),
        (
            ValueError("one\ntwo"),
            1,
            "animus3d: unexpected ValueError: one. The same command with --verbose shows where.\n",
        ),
    ],
)
def test_an_error_is_one_line_and_a_code(
    error: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raising(error, monkeypatch) == code
    captured = capsys.readouterr()
    assert captured.err == line and captured.out == ""


def test_a_full_graphics_card_says_what_to_try(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(name: str) -> bool:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr("stages.priors.catalogue.is_here", full)
    monkeypatch.setattr(sys, "argv", ["animus3d", "priors"])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit, match="9"):
        program.main()
    error = capsys.readouterr().err
    assert error.startswith("animus3d: The graphics card has too little memory for this. Try --profile 24gb")
    assert "--set size_px=" in error and "--set max_gaussians=" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_a_full_memory_is_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    another = ValueError("some library's own word for it")
    another.__cause__ = error
    assert raising(error, monkeypatch) == 9
    assert raising(another, monkeypatch) == 9
    told = capsys.readouterr().err
    assert len(set(told.splitlines())) == 1 and told.count("\n") == 2
    assert told.startswith("animus3d: There was too little memory for this. Close other programs, or ")


def test_an_interruption_inside_a_command_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("stages.priors.catalogue.is_here", interrupted)
    monkeypatch.setattr(sys, "argv", ["animus3d", "priors"])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit, match="130"):
        program.main()
    assert capsys.readouterr().err.startswith("animus3d: interrupted")


def test_verbose_works_behind_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(BadInput("No goat here."), monkeypatch, "--verbose") == 3
    error = capsys.readouterr().err
    assert error.startswith("Traceback") and error.endswith("animus3d: No goat here.\n")


def run(*arguments: str, columns: int = 80) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": str(columns), "PYTHONPATH": str(Path(program.__file__).parent.parent)}
    command = [sys.executable, "-m", "animus3d_cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_these_are_all_commands() -> None:
    assert [command.name for command in program.app.registered_commands] == COMMANDS


def test_help_lists_the_pipeline_in_order_on_80_columns() -> None:
    shown = run("--help")
    bare = run()
    assert shown.returncode == 0 and shown.stdout in (bare.stdout, bare.stderr)
    table = shown.stdout.split("\nCommands:")[1]
    places = [table.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)
    assert "..." not in table and max(map(len, shown.stdout.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_writes_and_gives_an_example(name: str) -> None:
    shown = run(name, "--help").stdout
    assert f"Example: animus3d {name}" in shown and "rites" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_usage_errors_have_code_2() -> None:
    for arguments in (["nonsense"], ["distill", "--nonsense"], ["reconstruct"], ["fit-lora", "--steps", "0"]):
        done = run(*arguments)
        assert done.returncode == 2 and "Traceback" not in done.stderr


def test_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console(Started("distill", 1000, 200))
    for step in range(201, 1001):
        console(Progress(step, {"loss": 1.0 / step}))
    console(Finished("distill"))
    console(Note("a [bold] note"))
    console(Wrote(Path("run/x[1].mp4"), "a video"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "distill: going on from step 200"
    assert lines[1].startswith("distill 1000/1000  eta 0:00  loss 0.001")  # quick steps make one line, not 800
    assert lines[2].startswith("distill: done in ")
    assert lines[3:] == ["a [bold] note", "  run/x[1].mp4  (a video)"]


def test_a_terminal_of_80_columns_gets_a_bar_with_whole_counters() -> None:
    code = (
        "from animus3d_cli.console import Console; from stages.events import *; c = Console()\n"
        "c(Started('distill', 1200, 300))\n"
        "c(Progress(900, {'score': 0.0123, 'tv': 0.00134, 'arap': 1.2e-05, 'loss': 0.0134}))\n"
        "c(Finished('distill'))"
    )
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(Path(program.__file__).parent.parent)}
    environment.pop("COLUMNS", None)
    subprocess.run([sys.executable, "-c", code], env=environment, stdout=theirs, check=True)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    bar = next(line for line in shown.splitlines()[::-1] if "900/1200" in line)
    assert "eta" in bar and "score 0.0123" in bar and "…" not in bar


def test_a_terminal_that_does_not_know_the_letters_gets_escapes(tmp_path: Path) -> None:
    (tmp_path / "rün").mkdir()
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "animus3d_cli", "status", "rün"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0 and b"r\\xfcn" in done.stdout and not done.stderr
