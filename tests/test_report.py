"""report: whatever runs hold, one page tells it, loads nothing, and a failure leaves no trace."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from stages.errors import AnimusError, BadInput, CannotWrite, CorruptCheckpoint, MissingStage
from stages.events import Event, Wrote, silent
from stages.report import run as report
from stages.run_dir import RunDir
from tests.exporting.runs import PROMPT
from tests.exporting.test_player import small_splat
from tests.reporting.runs import filmed, measured, run_with

LOADS = r'https?:|//[a-z]|\bsrc="(?!data:)|@import|url\(|fetch\(|XMLHttpRequest|import\('


def page_of(folder: Path, *runs: RunDir, tables: tuple[str, ...] = ()) -> str:
    report([run.path for run in runs], silent, out=folder / "p.html", tables=[folder / name for name in tables])
    return (folder / "p.html").read_text(encoding="utf-8")


def hints(page: str) -> list[str]:
    found = re.findall(r'<p class="hint">(.*?): <code>(.*?)</code>', page)
    return [f"{text}: {html.unescape(command)}" for text, command in found]


def test_complete_runs_have_everything_and_no_hint(tmp_path: Path) -> None:
    runs = [filmed(measured(run_with(tmp_path / name, seed=seed), jerk=2.0 + seed)) for seed, name in enumerate("ab")]
    told: list[Event] = []
    out = report([run.path for run in runs], told.append, out=tmp_path / "deep" / "p.html", tables=[tmp_path / "t.md"])
    page = out.read_text(encoding="utf-8")
    assert hints(page) == [] and page.count("<video") == 2 and page.count("<polyline") == 4
    assert page.count('class="best"') == 1 and page.count('alt="frame') == 12  # 6 frames: a sheet has all of them
    assert [(event.path.name, event.what) for event in told if isinstance(event, Wrote)] == [
        ("t.md", "1 rows"), ("p.html", f"2 runs, {out.stat().st_size / 1e6:.1f} MB")
    ]  # fmt: skip
    assert "**2**" in (tmp_path / "t.md").read_text()


def test_the_page_loads_nothing_and_no_text_breaks_out(tmp_path: Path) -> None:
    run = filmed(measured(run_with(tmp_path / "a<h1>", prompt=PROMPT), jerk=1.0))
    page = page_of(tmp_path, run)
    clips = re.findall(r'<script type="text/plain" id="clip0" data-mime="video/mp4">[\w+/=]+</script>', page)
    code = re.sub(r"data:image/webp;base64,[\w+/=]+", "data:", page.replace(clips[0], ""))
    assert len(clips) == 1 and not re.search(LOADS, code)
    assert page.count("<script") == page.count("</script") == 2
    title = re.search("<title>(.*?)</title>", page)
    assert title and html.unescape(title[1]) == PROMPT and "<" not in title[1]
    assert "<b>a&lt;h1&gt;</b>" in page and page.count("<h1>") == 1


def test_what_is_missing_is_shown_with_its_command(tmp_path: Path) -> None:
    bare = RunDir(tmp_path / "bare one")
    bare.put_asset(small_splat(), "goat.ply", force=True)
    unmeasured = run_with(tmp_path / "unmeasured")
    page = page_of(tmp_path, bare, unmeasured)
    assert hints(page) == [
        f"It has no motion yet: animus3d distill --prompt \"...\" --run '{bare.path}'",
        f"It is not measured yet: animus3d eval --run {unmeasured.path}",
        f"It has no video yet: animus3d render --run {unmeasured.path}",
    ]
    assert "<video" not in page and "Nothing is measured yet" in page


def test_the_result_of_another_motion_is_told(tmp_path: Path) -> None:
    run = filmed(measured(run_with(tmp_path / "a"), jerk=1.0))
    for name in ("renders/motion.mp4", "eval/metrics.json"):
        os.utime(run.path / name, (0, 0))
    assert [hint.split(":")[0] for hint in hints(page_of(tmp_path, run))] == [
        "It was measured before its motion was made again",
        "renders/motion.mp4 was rendered before its motion was made again",
    ]
    filmed(run, name="motion/preview.mp4")  # better than nothing
    assert page_of(tmp_path, run).count("<video") == 1
    measured(run, jerk=1.0)
    shutil.copytree(run.path / "motion", run.path / "refined")
    assert "measured on its “motion”, not on its “refined”" in hints(page_of(tmp_path, run))[0]


def test_a_video_that_is_none_gives_way_to_the_preview(tmp_path: Path) -> None:
    run = filmed(measured(run_with(tmp_path / "a"), jerk=1.0), name="motion/preview.mp4")
    (run.path / "renders").mkdir()
    for content in (b"", b"no video at all", (run.path / "motion/preview.mp4").read_bytes()[:700]):
        (run.path / "renders" / "motion.mp4").write_bytes(content)
        page = page_of(tmp_path, run)
        assert page.count("<video") == 1 and "renders/motion.mp4 is not a video that can be read" in hints(page)[0]


def test_an_unfinished_run_is_shown(tmp_path: Path) -> None:
    run = run_with(tmp_path / "a")
    (run.path / "motion" / "complete.json").unlink()
    measured(run, jerk=1.0)  # of a motion before
    page = page_of(tmp_path, run)
    assert "interrupted" in page and page.count("<polyline") == 2 and "Nothing is measured yet" in page
    assert hints(page) == [f"It has no motion yet: animus3d status --run {run.path}"]


@pytest.mark.parametrize(
    ("error", "code", "match"),
    [
        (MissingStage, 4, "There is no run directory"),
        (BadInput, 3, "is not a run"),
        (BadInput, 3, "named twice"),
        (CorruptCheckpoint, 8, r"metrics\.json cannot be read"),
        (CorruptCheckpoint, 8, "does not hold metrics with values"),
        (CorruptCheckpoint, 8, r"settings in .* is not an object"),
        (BadInput, 3, r"End it in \.html"),
        (BadInput, 3, r"cannot be written as \.doc"),
        (CannotWrite, 7, "Cannot write .*Choose another path"),
    ],
)
def test_errors_are_one_line_and_write_nothing(tmp_path: Path, error: type[AnimusError], code: int, match: str) -> None:
    run = measured(run_with(tmp_path / "a"), jerk=1.0)
    paths, out, tables = [run.path], tmp_path / "out" / "p.html", [tmp_path / "out" / "t.md"]
    evaluation, config = run.path / "eval" / "metrics.json", run.path / "motion" / "config.json"
    if "no run directory" in match:
        paths.append(tmp_path / "nowhere")
    elif "not a run" in match:
        paths.append(tmp_path)
    elif "twice" in match:
        paths.append(tmp_path / "a" / ".." / "a")
    elif "cannot be read" in match:
        evaluation.write_text('{"metrics": ')
    elif "values" in match:
        evaluation.write_text(json.dumps({"metrics": {"jerk": {"value": "high"}}}))
    elif "object" in match:
        config.write_text('{"settings": 3}')
    elif "End it" in match:
        out = tmp_path / "out" / "p.txt"
    elif "doc" in match:
        tables.append(tmp_path / "out" / "t.doc")
    else:
        (tmp_path / "out").write_text("a file where a folder should be")
    with pytest.raises(error, match=match) as raised:
        report(paths, silent, out=out, tables=tables)
    assert raised.value.exit_code == code and "\n" not in str(raised.value)
    assert not (tmp_path / "out").is_dir()


def test_what_was_there_stays_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_with(tmp_path / "a")
    out = tmp_path / "p.html"
    out.write_text("before")

    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(CannotWrite, match="No space left"):
        report([run.path], silent, out=out, tables=[])
    assert out.read_text() == "before" and sorted(path.name for path in tmp_path.iterdir()) == ["a", "p.html"]
