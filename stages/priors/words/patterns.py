"""Idioms of several words, as patterns.

A pattern is words with spaces between: ``take * step`` is "take", up to three other words, "step". A word stands for
all its forms, ``a|b`` for either. Articles and possessives count neither in patterns nor in sentences, and no gap
reaches over the end of a clause.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stages.priors.words.tokens import CLAUSE_ENDS, DETERMINERS, NEGATIONS, Token

GAP = 3
"""Words that a ``*`` may stand for, at most."""


@dataclass(frozen=True)
class Pattern:
    """An idiom and the motion that it names; "" for none of them."""

    words: tuple[frozenset[str], ...]
    gaps: tuple[bool, ...]  # whether others may stand before the word
    motion: str


@dataclass(frozen=True)
class Found:
    """A pattern in a sentence: the places of its words."""

    places: tuple[int, ...]
    motion: str


class Patterns:
    """Many patterns, found at once."""

    def __init__(self, patterns: Iterable[tuple[str, str]]) -> None:
        self._by_first: dict[str, list[Pattern]] = defaultdict(list)
        self.words: set[str] = set()
        for text, motion in patterns:
            pattern = parse(text, motion)
            for word in pattern.words[0]:
                self._by_first[word].append(pattern)
            self.words.update(*pattern.words)

    def find(self, tokens: Sequence[Token]) -> list[Found]:
        """The patterns in a sentence, none of which shares a word with another: those of more words win, then those
        that begin with a verb, then the denser, then the earlier. Those of one motion that share a word are joined."""
        places = [i for i, token in enumerate(tokens) if token.text not in DETERMINERS]
        names = [tokens[i].names for i in places]
        found = []
        for start in range(len(places)):
            candidates = {id(pattern): pattern for name in names[start] for pattern in self._by_first.get(name, ())}
            for pattern in candidates.values():
                where = _match(pattern, names, start)
                if where:
                    found.append(Found(tuple(places[i] for i in where), pattern.motion))
        found.sort(key=lambda one: _rank(one, tokens))
        kept: list[Found] = []
        for one in found:
            beside = [i for i, other in enumerate(kept) if set(other.places) & set(one.places)]
            if not beside:
                kept.append(one)
            elif len(beside) == 1 and kept[beside[0]].motion == one.motion:
                kept[beside[0]] = Found(tuple(sorted({*kept[beside[0]].places, *one.places})), one.motion)
        return sorted(kept, key=lambda one: one.places)


def _rank(found: Found, tokens: Sequence[Token]) -> tuple[int, bool, int, int, str]:
    places = found.places
    begins_well = bool(tokens[places[0]].forms) or tokens[places[0]].text in NEGATIONS
    return -len(places), not begins_well, places[-1] - places[0], places[0], found.motion


def parse(text: str, motion: str) -> Pattern:
    """A pattern of its text; one without words has none."""
    words, gaps, gap = [], [], False
    for part in text.lower().split():
        if part == "*":
            gap = True
            continue
        options = frozenset(part.split("|")) - DETERMINERS
        if options:
            words.append(options)
            gaps.append(gap)
            gap = False
    if not words:
        raise ValueError(f"no word in the pattern {text!r}")
    return Pattern(tuple(words), tuple(gaps), motion)


def _match(pattern: Pattern, names: Sequence[frozenset[str]], start: int) -> tuple[int, ...] | None:
    """The places of the pattern's words from ``start`` on, the nearest for each; None where it does not fit."""
    places, at = [start], start + 1
    for options, gap in zip(pattern.words[1:], pattern.gaps[1:], strict=True):
        for place in range(at, min(len(names), at + (GAP if gap else 0) + 1)):
            if names[place] & options:
                break
            if names[place] & CLAUSE_ENDS:
                return None
        else:
            return None
        places.append(place)
        at = place + 1
    return tuple(places)
