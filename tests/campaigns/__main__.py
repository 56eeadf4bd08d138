"""``python -m tests.campaigns NAME|all [--count N] [--seed S] [--jobs J]``: run a campaign, or all that there are.

A campaign is a module with ``COUNT``, its usual number of tries (None: as many as there are), and
``run(journal, count, seed)``, which gives its summary: a dictionary with "tries", "well" and "findings". It is kept in
tests/bench/results/campaign_NAME.json with commit, machine and command. Answers of single tries are kept in a journal
under ``--out``: the same command goes on where it was stopped, ``--again`` forgets them.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from tests.bench.record import finish
from tests.campaigns.journal import Journal

CAMPAIGNS = {
    "kill": "tests.campaigns.kill",
    "disk_full": "tests.campaigns.disk_full",
    "flips": "tests.campaigns.flips",
    "model_folder": "tests.campaigns.model_folder",
    "race": "tests.campaigns.race",
    "environment": "tests.campaigns.environment",
    "hostile_pages": "tests.campaigns.hostile_pages",
    "memory": "tests.campaigns.memory",
    "batch": "tests.campaigns.batch",
}
"""Name -> module."""


def main() -> None:
    """See the file's head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[*CAMPAIGNS, "all"])
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build") / "campaigns")
    parser.add_argument("--again", action="store_true", help="forget what is known")
    parser.add_argument("--jobs", type=int, help="in each batch of the campaign `batch`")
    options = parser.parse_args()
    failed = False
    for name in CAMPAIGNS if options.name == "all" else [options.name]:
        campaign = importlib.import_module(CAMPAIGNS[name])
        path = options.out / f"{name}_seed_{options.seed}.jsonl"
        if options.again:
            path.unlink(missing_ok=True)
        count = options.count or campaign.COUNT
        if name == "batch" and options.jobs:
            campaign.JOBS = options.jobs
        result = campaign.run(Journal(path), count, options.seed)
        command = f"python -m tests.campaigns {name}" + (f" --count {count}" if count else "")
        if name == "batch":
            command += f" --jobs {campaign.JOBS}"
        finish(f"campaign_{name}", {"seed": options.seed, **result}, f"{command} --seed {options.seed}")
        failed |= bool(result["findings"])
    sys.exit(failed)


if __name__ == "__main__":
    main()
