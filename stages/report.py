"""report: runs side by side on one page, and their metrics as a table.

    animus3d report runs/walk runs/jump --out page.html --table numbers.md
    animus3d report results --out page.html                # a batch: every job with its video, or why it has none

1. Read what each run's folder tells; a run that lacks something is shown with the command that makes it.
2. Compare: metrics, settings, what made them.
3. Write the page, which loads nothing, and the tables.
"""

from __future__ import annotations

import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from stages.errors import BadInput
from stages.events import Report, Wrote
from stages.files import replacing
from stages.jobs.folder import BatchFolder
from stages.jobs.standing import status_of
from stages.reporting import curves
from stages.reporting.batch_page import Shown, batch_page
from stages.reporting.comparison import ARROWS, measures, metrics_table, provenance_rows, setting_rows
from stages.reporting.page import ELSEWHERE, PAGES, fill, write_tables
from stages.reporting.record import RunRecord, read_records
from stages.tables import Table


def run(paths: list[Path], report: Report, *, out: Path, tables: list[Path]) -> Path:
    """Write the page ``out`` and each of ``tables``, whose suffix says what it is. Returns ``out``.

    Raises:
        BadInput: a folder is not a run or named twice, or no such page or table can be written.
        MissingStage: a folder is not there.
        CorruptCheckpoint: a file in a run is damaged.
        CannotWrite: an output cannot be written; what was there before is kept.
    """
    if out.suffix.lower() not in PAGES:
        raise BadInput(f"{out} is not a name for a page.", "End it in .html.")
    if any(BatchFolder.is_one(path) for path in paths):
        return _batch(paths, tables, report, out=out)
    records = read_records(paths)
    table = metrics_table(records)
    text = page(records)
    write_tables(table, tables, report)
    with replacing(out, ELSEWHERE) as temporary:
        temporary.write_text(text, encoding="utf-8")
    report(Wrote(out, f"{_count(records)}, {len(text.encode()) / 1e6:.1f} MB"))
    return out


def _batch(paths: list[Path], tables: list[Path], report: Report, *, out: Path) -> Path:
    """The page about a batch, and its jobs as tables."""
    if len(paths) > 1:
        raise BadInput("A page is about one batch, or about runs.", "Name one folder of a batch, or runs in its jobs/.")
    found = status_of(paths[0])
    jobs = [
        Shown(
            name=job.name,
            asset=job.asset,
            prompt=job.prompt,
            settings=", ".join(f"{name} {text}" for name, text in job.settings.items()),
            state=job.state,
            why=f"{job.stage}: {job.why}" if job.stage and job.why else job.why or job.stage,
            run=Path(job.run),
        )
        for job in found.jobs
    ]
    title = f"{paths[0].absolute().name}: {len(jobs)} jobs"
    text = batch_page(title, dict(found.counts), jobs, today=time.strftime("%F %R UTC", time.gmtime()), out=out)
    heads = ("job", "asset", "sentence", "state", "seconds", "why")
    rows = [
        (job.name, job.asset, job.prompt, job.state, one.seconds, job.why)
        for job, one in zip(jobs, found.jobs, strict=True)
    ]
    write_tables(Table(heads, rows), tables, report)
    with replacing(out, ELSEWHERE) as temporary:
        temporary.write_text(text, encoding="utf-8")
    report(Wrote(out, f"{len(jobs)} jobs, {len(text.encode()) / 1e6:.1f} MB"))
    return out


def page(records: list[RunRecord]) -> str:
    """The page about ``records``, with everything in it."""
    found = measures(records)
    prompts = dict.fromkeys(record.prompt for record in records if record.prompt)
    return fill(
        "report.html",
        records=records,
        title=" · ".join(prompts) if 0 < len(prompts) < 4 else _count(records),
        today=time.strftime("%F %R UTC", time.gmtime()),
        version=_version(),
        clips={record.path: record.footage.path.read_bytes() for record in records if record.footage},
        available=[one for one in found if one.available],
        lacking=[one for one in found if not one.available],
        arrows=ARROWS,
        charts=curves.charts(records),
        size=(curves.WIDTH, curves.HEIGHT),
        plot=(curves.LEFT, curves.WIDTH - curves.RIGHT),
        differing=setting_rows(records, differing=True),
        settings=setting_rows(records, differing=False),
        provenance=provenance_rows(records),
    )


def _count(records: list[RunRecord]) -> str:
    return "1 run" if len(records) == 1 else f"{len(records)} runs"


def _version() -> str:
    try:
        return version("animus3d")
    except PackageNotFoundError:
        return "from its source"
