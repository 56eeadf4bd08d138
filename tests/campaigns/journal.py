"""What became of every try, a line of JSON each, so that a campaign goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Answer = dict[str, Any]
"""What became of a try: ``{"well": bool, ...}``; "why" says what went wrong."""


class Journal:
    """Answers by the keys of their tries."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, Answer] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                try:
                    answer = json.loads(line)
                    self.known[answer.pop("key")] = answer
                except (ValueError, KeyError):
                    continue  # the last line of a process that was killed
            if not path.read_text().endswith("\n"):
                path.write_text("".join(json.dumps({"key": key, **known}) + "\n" for key, known in self.known.items()))
        path.parent.mkdir(parents=True, exist_ok=True)

    def answer(self, key: str, find: Callable[[], Answer]) -> Answer:
        """The answer of try ``key``: what is known, else what ``find`` finds, which is kept and, if bad, printed."""
        if key not in self.known:
            self.known[key] = find()
            with self.path.open("a") as file:
                file.write(json.dumps({"key": key, **self.known[key]}) + "\n")
            if not self.known[key]["well"]:
                print(f"{key}: {self.known[key]}", flush=True)
        return self.known[key]


def summary(answers: dict[str, Answer]) -> dict[str, Any]:
    """How many tries there were, how many went well, and the others."""
    bad = [{"try": key, **answer} for key, answer in answers.items() if not answer["well"]]
    return {"tries": len(answers), "well": len(answers) - len(bad), "findings": bad}
