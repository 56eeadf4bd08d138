"""``python -m tests.fuzz --count 10000 --seed 0``: damaged files for every reader, and what became of them.

It goes on where it was stopped: answers are kept, a line each, in a journal under the system's temporary folder (or
``--journal``). ``--replay INDEX --keep FOLDER`` writes one damaged file again and reads it, with its traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fuzz.readers import CASES
from tests.fuzz.worker import SECONDS, damaged, make_corpus

PATIENCE = 20
"""Seconds after which a process that does not answer is ended: compiled code hears no alarm."""


class Reader:
    """A worker, started anew whenever it has died."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        self.process: subprocess.Popen[str] | None = None

    def read(self, index: int) -> dict[str, Any]:
        """What became of file ``index``."""
        if self.process is None:
            shutil.rmtree(self.folder)
            self.folder.mkdir()
            command = [sys.executable, "-m", "tests.fuzz.worker", str(self.seed), str(self.folder)]
            quiet = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
            self.process = subprocess.Popen(command, text=True, env=environment, **quiet)  # type: ignore[call-overload]
            patience = PATIENCE + 120  # it makes the valid files first
        else:
            patience = PATIENCE
        assert self.process is not None and self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{index}\n")
        self.process.stdin.flush()
        if select.select([self.process.stdout], [], [], patience)[0]:
            line = self.process.stdout.readline()
            if line:
                return dict(json.loads(line))
            kind, error = "died", f"exit code {self.process.wait()}"
        else:
            kind, error = "hang", f"no answer within {patience} s"
        self.end()
        case = list(CASES)[index % len(CASES)]
        return {"index": index, "case": case, "what": "finding", "kind": kind, "error": error, "place": ""}

    def end(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()  # closes its pipes, too
            self.process = None

    def close(self) -> None:
        """End it and remove its files."""
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)


def campaign(count: int, seed: int, journal: Path, first: int = 0) -> list[dict[str, Any]]:
    """Answers about the files ``first`` to ``first + count - 1``: those in ``journal``, and the others, added to it."""
    known: dict[int, dict[str, Any]] = {}
    if journal.exists():
        for line in journal.read_text().splitlines():
            try:
                answer = json.loads(line)
                known[answer["index"]] = answer
            except (ValueError, KeyError):
                continue  # the last line of a process that was killed
    reader = Reader(seed)
    try:
        with journal.open("a") as file:
            for index in range(first, first + count):
                if index in known:
                    continue
                known[index] = reader.read(index)
                file.write(json.dumps(known[index]) + "\n")
                file.flush()
                if known[index]["what"] == "finding":
                    print(json.dumps(known[index]), flush=True)
                elif len(known) % 500 == 0:
                    print(f"{len(known)} files", flush=True)
    finally:
        reader.close()
    return [known[index] for index in range(first, first + count)]


def summary(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts by reader, and the findings."""
    readers: dict[str, Counter[str]] = {case.reader: Counter() for case in CASES.values()}
    for answer in answers:
        counts = readers[CASES[answer["case"]].reader]
        counts["tried"] += 1
        counts[answer["what"]] += 1
    names = ("tried", "read", "refused", "finding")
    by_reader = {reader: {name: counts[name] for name in names} for reader, counts in readers.items()}
    codes = Counter(str(answer["exit_code"]) for answer in answers if answer["what"] == "refused")
    totals = {name: sum(counts[name] for counts in by_reader.values()) for name in names}
    return {**totals, "exit_codes": dict(codes), "readers": by_reader}


def replay(seed: int, index: int, folder: Path) -> None:
    """Write file ``index`` into ``folder`` and read it, without limits."""
    case = list(CASES)[index % len(CASES)]
    with tempfile.TemporaryDirectory() as corpus:
        files, read = make_corpus(Path(corpus) / "corpus")[case]
    for name, content in damaged(seed, index, files, read).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    print(f"{case}: {folder / read}", flush=True)
    print(CASES[case].read(folder / read))


def main() -> None:
    """See the file's head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--journal", type=Path)
    parser.add_argument("--again", action="store_true", help="forget the journal")
    parser.add_argument("--replay", type=int, metavar="INDEX")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "fuzz_replay")
    options = parser.parse_args()
    if options.replay is not None:
        replay(options.seed, options.replay, options.keep)
        return
    journal = options.journal or Path(tempfile.gettempdir()) / f"fuzz_seed_{options.seed}.jsonl"
    if options.again:
        journal.unlink(missing_ok=True)
    from tests.bench.record import finish

    answers = campaign(options.count, options.seed, journal)
    findings = [answer for answer in answers if answer["what"] == "finding"]
    about = {"seed": options.seed, "seconds_allowed": SECONDS, "gibibytes_allowed": 2}
    finish(
        "fuzz",
        {**about, **summary(answers), "findings": findings},
        f"make fuzz COUNT={options.count} SEED={options.seed}",
    )
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
