"""Words with a slip of the finger: "galoping", "swiming"."""

from __future__ import annotations

from collections.abc import Container, Iterator
from string import ascii_lowercase

from stages.priors.words.lexicon import Lexicon
from stages.priors.words.tokens import Token, singular

SHORTEST = 5
"""Letters from which on a word is corrected; shorter ones are too near to others."""


def corrected(word: str, lexicon: Lexicon, vocabulary: Container[str]) -> Token:
    """The word, or the form of a verb of the lexicon that is one slip away where no such word is known."""
    token = lexicon.vocabulary.token(word)
    is_known = token.forms or token.noun or token.adjective or token.adverb
    is_known = is_known or any(one in vocabulary or one in lexicon.patterns.words for one in (word, singular(word)))
    if is_known or len(word) < SHORTEST or "-" in word:
        return token
    for near in slips(word):
        other = lexicon.vocabulary.token(near)
        if near[0] == word[0] and any(verb in lexicon.verbs for verb, _ in other.forms):
            return other
    return token


def slips(word: str) -> Iterator[str]:
    """All words from which ``word`` is one letter left out, doubled, swapped or mistaken, the likelier first."""
    parts = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    for left, right in parts:
        if len(right) > 1:
            yield left + right[1] + right[0] + right[2:]
    for left, right in parts:
        if left:
            yield left + left[-1] + right
    for left, right in parts:
        if right:
            yield left + right[1:]
    for left, right in parts:
        for letter in ascii_lowercase:
            yield left + letter + right
            if right:
                yield left + letter + right[1:]
