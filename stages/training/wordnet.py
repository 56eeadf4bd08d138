"""A reader of WordNet's database files: senses of words, what lies under them, and sentences that show them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sense:
    """A set of words with one meaning."""

    words: tuple[str, ...]
    kinds: tuple[str, ...]  # keys of the senses right under it
    definition: str
    examples: tuple[str, ...]


class WordNet:
    """One part of speech: ``verb``, ``noun``, ``adj`` or ``adv``."""

    def __init__(self, folder: Path, part: str) -> None:
        self.senses: dict[str, Sense] = {}
        self.index: dict[str, list[str]] = {}  # word -> keys of its senses, the most frequent first
        letters = {"verb": "v", "noun": "n", "adj": "a", "adv": "r"}
        for line in (folder / f"data.{part}").read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):
                continue
            head, _, gloss = line.partition("|")
            fields = head.split()
            end = 4 + 2 * int(fields[3], 16)
            words = tuple(word.partition("(")[0].replace("_", " ") for word in fields[4:end:2])
            pointers = fields[end + 1 : end + 1 + 4 * int(fields[end])]
            kinds = [
                pointers[i + 1]
                for i in range(0, len(pointers), 4)
                if pointers[i] in {"~", "~i"} and pointers[i + 2] == letters[part]
            ]
            examples = tuple(re.findall(r'"([^"]+)"', gloss))
            definition = gloss.partition('"')[0].strip(" ;")
            self.senses[fields[0]] = Sense(words, tuple(kinds), definition, examples)
        for line in (folder / f"index.{part}").read_text(encoding="utf-8").splitlines():
            if not line.startswith("  "):
                fields = line.split()
                self.index[fields[0].replace("_", " ")] = fields[6 + int(fields[3]) :]

    def under(self, roots: Iterable[tuple[str, int]]) -> set[str]:
        """Keys of the given senses, ("walk", 1) being the most frequent one of "walk", and of all under them."""
        waiting = [self.index[word][rank - 1] for word, rank in roots]
        found: set[str] = set()
        while waiting:
            key = waiting.pop()
            if key not in found:
                found.add(key)
                waiting.extend(self.senses[key].kinds)
        return found

    def words(self, keys: set[str], *, ranks: int) -> set[str]:
        """The words one of whose first ``ranks`` senses is among ``keys``."""
        return {word for word, senses in self.index.items() if keys & set(senses[:ranks])}
