"""A preference study: its questions, the key that tells which clip is which, and the count of what people answered."""

from __future__ import annotations

import csv
import json
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from stages.errors import BadInput, first_line
from stages.tables import Cell, Table, Value

QUESTIONS = {
    "text_alignment": "Which one does what the sentence says best?",
    "motion_quality": "Whose motion looks the most natural: smooth, without jitter, nothing torn or sliding?",
    "motion_magnitude": "Which one moves the most?",
    "appearance": "Which one keeps looking most like the object at rest?",
    "overall": "Which one do you prefer, all in all?",
}
"""What is asked about every set of clips: what the paper's study compares, in words of ours."""

FIXED_LAST = "overall"
"""The question that comes last for everybody; the others come in any order."""

COLUMNS = ("page", "participant", "prompt", "question", "shown", "chosen", "answered")
"""Of the CSV that the page saves: ``shown`` are clips from left to right, with spaces between."""

FORMAT = 1


@dataclass(frozen=True)
class StudyVideo:
    """What a clip is."""

    run: str  # the folder
    name: str  # what sets the run apart from the others of its set: the same name in another set counts together


@dataclass(frozen=True)
class VideoSet:
    """Clips that are compared with each other."""

    prompt: str
    clips: Mapping[str, StudyVideo]  # by random name


@dataclass(frozen=True)
class Key:
    """Which clip of a page is which."""

    page: str  # the page's random name
    sets: list[VideoSet]

    def as_json(self) -> dict[str, Any]:
        """What ``read_key`` reads."""
        return {"format": FORMAT, **asdict(self)}


@dataclass(frozen=True)
class Answer:
    """One choice of one participant."""

    participant: str
    question: str
    chosen: str  # a clip's random name
    answered: str  # when


@dataclass(frozen=True)
class Answers:
    """All choices, each question of each set at most once a participant."""

    key: Key
    answers: list[Answer]

    @property
    def participants(self) -> int:
        """How many people answered anything."""
        return len({answer.participant for answer in self.answers})


@dataclass(frozen=True)
class Share:
    """How often a run was chosen, of the times that it could be."""

    question: str
    name: str
    won: int
    shown: int
    low: float  # 95 % Wilson score interval of won / shown
    high: float

    @property
    def share(self) -> float:
        """Part of the times that it was chosen."""
        return self.won / self.shown


def new_key(sets: Sequence[tuple[str, Sequence[str], Sequence[Path]]]) -> Key:
    """Random names for the clips of ``sets``: (prompt, names, folders) of each."""
    made = []
    for prompt, names, paths in sets:
        clips = (StudyVideo(str(path), name) for name, path in zip(names, paths, strict=True))
        made.append(VideoSet(prompt, {secrets.token_hex(6): clip for clip in clips}))
    return Key(secrets.token_hex(4), made)


def read_key(path: Path) -> Key:
    """The key in ``path``. Raises ``BadInput`` when there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}")
        sets = [
            VideoSet(str(one["prompt"]), {name: StudyVideo(**clip) for name, clip in one["clips"].items()})
            for one in content["sets"]
        ]
        return Key(str(content["page"]), sets)
    except OSError as error:
        raise BadInput(f"The key {path} cannot be read: {first_line(error)}.", "Give --key PAGE.key.json.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadInput(f"{path} is not a key that animus3d prefer has made.", "Give --key PAGE.key.json.") from None


def read_answers(files: Sequence[Path], key: Key) -> Answers:
    """The choices in CSV files of the page of ``key``; of a question that someone answered again, the last.

    Raises:
        BadInput: a file cannot be read, is not of that page, or holds what the page never writes; names the line.
    """
    sets = {name: index for index, one in enumerate(key.sets) for name in one.clips}
    last: dict[tuple[str, int, str], Answer] = {}
    for path in files:
        for where, row in _rows(path):
            if row["page"] != key.page:
                raise BadInput(f"{where} is an answer to another page ({row['page']!r}).", "Give that page's --key.")
            if row["question"] not in QUESTIONS or row["chosen"] not in sets:
                raise BadInput(f"{where} holds a question or a clip that the page does not have.", "Leave it out.")
            answer = Answer(row["participant"], row["question"], row["chosen"], row["answered"])
            place = (answer.participant, sets[answer.chosen], answer.question)
            if place not in last or last[place].answered <= answer.answered:
                last[place] = answer
    if not last:
        raise BadInput("There are no answers to count.", "Name the CSV files that the page has saved.")
    return Answers(key, list(last.values()))


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Where each row is, and what it holds."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not set(COLUMNS) <= set(reader.fieldnames or ()):
                raise BadInput(
                    f"{path} is not a CSV that the page has saved.", f"Its columns are {', '.join(COLUMNS)}."
                )
            for row in reader:
                if any(row[name] is None for name in COLUMNS):
                    raise BadInput(f"Line {reader.line_num} of {path} is cut short.", "Leave it out.")
                yield f"Line {reader.line_num} of {path}", row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} cannot be read: {first_line(error)}.") from None


def shares(answers: Answers) -> list[Share]:
    """How often each run was chosen for each question; runs of one name in several sets count together."""
    clips = {name: clip for one in answers.key.sets for name, clip in one.clips.items()}
    rivals = {name: one.clips.values() for one in answers.key.sets for name in one.clips}
    won: Counter[tuple[str, str]] = Counter()
    shown: Counter[tuple[str, str]] = Counter()
    for answer in answers.answers:
        won[answer.question, clips[answer.chosen].name] += 1
        shown.update((answer.question, clip.name) for clip in rivals[answer.chosen])
    names = dict.fromkeys(clip.name for clip in clips.values())
    found = []
    for question in QUESTIONS:
        for name in names:
            if times := shown[question, name]:
                interval = binomtest(won[question, name], times).proportion_ci(0.95, method="wilson")
                low, high = float(interval.low), float(interval.high)
                found.append(Share(question, name, won[question, name], times, low, high))
    return found


def shares_table(answers: Answers) -> Table:
    """A row for each question and run; the most chosen of each question is marked as the best."""
    found = shares(answers)
    rows: list[list[Cell | Value]] = []
    for one in found:
        others = [other.share for other in found if other.question == one.question and other is not one]
        best = all(one.share > share for share in others)
        percent = [Cell(value, f"{100 * value:.0f} %") for value in (one.low, one.high)]
        share = Cell(one.share, f"{100 * one.share:.0f} %", best=best)
        rows.append([one.question.replace("_", " "), one.name, one.won, one.shown, share, *percent])
    sizes = [len(one.clips) for one in answers.key.sets]
    chance = f"{100 / max(sizes):.0f}" + (f" to {100 / min(sizes):.0f}" if len(set(sizes)) > 1 else "")
    notes = [
        f"{answers.participants} participants; by chance a run would win {chance} %.",
        "low, high: 95 % Wilson score interval, which takes all answers as independent of each other.",
    ]
    return Table(("question", "run", "won", "of", "share", "low", "high"), rows, notes)
