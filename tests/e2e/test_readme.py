"""Everything that the README says to type: it parses, and (slow) it runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from animus3d_cli.main import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\S*)([^\n]*)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
PAGES = ["README.md", *(str(page.relative_to(ROOT)) for page in sorted(ROOT.glob("docs/**/*.md")))]
PAST = ("docs/log/",)
"""Pages whose commands are those of their day."""
RUNNABLE = [
    line for kind, marks, text in BLOCKS if kind == "sh" and not marks.strip() for line in text.splitlines() if line
]
"""Shell lines in their order, without the blocks that are marked *card* or *hub*."""

FEW = {
    "reconstruct assets/photos": "--steps 8 --set num_gaussians=300",
    "fit-lora": "--steps 2",
    "distill": "--steps 3",
    "train-prior": "--steps 2 --set num_examples=20 --set batch_size=2",
    "eval": "--set num_views=1 --set frames=4",
    "render": "--frames 4 --size 48",
    "export": "--frames 3",
}
"""What makes a command quick, by how it begins."""


def test_every_line_is_run_or_marked() -> None:
    """A block with commands is ``sh``, and then ``card`` or ``hub`` where it needs them."""
    for kind, marks, text in BLOCKS:
        if re.search(r"^animus3d ", text, flags=re.MULTILINE):
            assert kind == "sh" and set(marks.split()) <= {"card", "hub"}, text


def quick(line: str) -> str:
    """A line of the README with few steps."""
    for start, options in FEW.items():
        if line.startswith(f"animus3d {start}"):
            names = re.findall(r"--\S+", options)
            for name in set(names) - {"--set"}:  # an option that the line has is replaced
                line = re.sub(rf" {name} \S+", "", line)
            return f"{line} {options}"
    return line


def test_it_is_a_front_page() -> None:
    assert len(README.splitlines()) <= 200
    assert re.search(r"!\[[^\]]*\]\(docs/\S+\)", "\n".join(README.splitlines()[:30]))
    assert "make demo" in README and "make test" in README


@pytest.mark.parametrize("page", PAGES)
def test_what_is_linked_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    missing = [target for target in targets if not ((ROOT / page).parent / target).exists()]
    assert not missing, f"{page} links {missing}"


def commands(page: str) -> list[str]:
    """Lines of the page's blocks that begin with ``animus3d``, those that go on after a backslash in one."""
    text = (ROOT / page).read_text()
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("animus3d ")]


def parse(line: str) -> None:
    """Have the program's own parser read the line; nothing is run. Raises what it raises."""
    name, *words = shlex.split(line, comments=True)[1:]
    group = typer.main.get_command(app)
    command = group.commands[name]  # type: ignore[attr-defined]
    command.make_context(name, words).close()


@pytest.mark.parametrize("page", [page for page in PAGES if not page.startswith(PAST)])
def test_every_command_parses(page: str) -> None:
    for line in commands(page):
        parse(line)


@pytest.mark.parametrize(
    ("line", "culprit"),
    [
        ("animus3d distill --no-such 3", "--no-such"),
        ("animus3d render --frames many", "integer"),
        ("animus3d dance", "dance"),
    ],
)
def test_what_the_program_does_not_know_does_not_parse(line: str, culprit: str) -> None:
    with pytest.raises(Exception, match=culprit):
        parse(line)


def test_the_page_of_commands_is_current() -> None:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import make_commands
    finally:
        sys.path.pop(0)
    assert (ROOT / "docs" / "commands.md").read_text() == make_commands.page(), "run: python docs/make_commands.py"


@pytest.mark.slow
def test_every_line_runs(tmp_path: Path) -> None:
    """In the order in which they stand, in a folder with the shipped assets."""
    assert len(RUNNABLE) > 15
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    for line in RUNNABLE:
        typed = quick(line)
        words = typed.replace("animus3d ", f"{sys.executable} -m animus3d_cli ", 1) if "animus3d " in typed else typed
        done = subprocess.run(["bash", "-c", words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{typed}\n{done.stdout[-500:]}\n{done.stderr[-2000:]}"
    for made in ("fox_runs.glb", "frames/playbot_0000.ply", "cow_jumps.usd", "bird.html", "bird.webm", "report.html"):
        assert (tmp_path / made).stat().st_size > 1000, made
