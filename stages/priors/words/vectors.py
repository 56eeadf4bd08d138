"""What words mean, for sentences whose verb the lexicon does not hold: a small table of word vectors and a head.

Every word has a vector, distilled from a sentence encoder (``stages.training.build_words``); a word that is not in the
table has the sum of the vectors of its runs of three to five letters. The vectors of a sentence are averaged, each with
a learnt weight, and a head of one hidden layer gives the chance of every motion and of none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from stages.assets import asset_path
from stages.priors.words.hits import PARTICIPLE, stands_as
from stages.priors.words.tokens import AUXILIARIES, DETERMINERS, NEGATIONS, PRONOUNS, Token, singular

Floats = NDArray[np.float32]
ROLES = ("verb", "body", "other")


@dataclass(frozen=True)
class Chances:
    """How likely each motion is what a sentence means; what is left is the chance of none of them."""

    motions: tuple[str, ...]
    probabilities: Floats  # [M + 1], the last of none
    place: int | None  # of the word that weighed most
    threshold: float

    def of(self, motion: str) -> float:
        """The chance of one motion; 0 for one that the head does not know."""
        return float(self.probabilities[self.motions.index(motion)]) if motion in self.motions else 0.0

    def best(self) -> str | None:
        """The likeliest motion; None where it is too unlikely."""
        best = int(np.argmax(self.probabilities[:-1]))
        return self.motions[best] if self.probabilities[best] >= self.threshold else None


@dataclass(frozen=True)
class Vectors:
    """The table and the head."""

    rows: Mapping[str, int]  # key of a word -> row
    table: NDArray[np.int8]  # [V, D]
    scales: Floats  # [V] of the rows
    letters: NDArray[np.int8]  # [H, D] of hashed runs of letters
    letter_scales: Floats  # [H]
    head: Mapping[str, Floats]
    motions: tuple[str, ...]
    likeness: Floats  # [M, M] of motions
    threshold: float

    def vector(self, key: str) -> Floats:
        """The vector [D] of a word."""
        row = self.rows.get(key)
        if row is not None:
            return self.table[row] * self.scales[row]
        runs = letter_runs(key, len(self.letters))
        return (self.letters[runs] * self.letter_scales[runs, None]).sum(0) / len(runs)

    def chances(self, tokens: Sequence[Token]) -> Chances:
        """What a sentence means."""
        keys, roles, places = content_keys(tokens)
        if not keys:
            nothing = np.zeros(len(self.motions) + 1, np.float32)
            nothing[-1] = 1.0
            return Chances(self.motions, nothing, None, self.threshold)
        words = np.stack([self.vector(key) for key in keys])
        weights = _softmax(words @ self.head["query"] + self.head["roles"][roles])
        hidden = np.maximum(self.head["hidden.weight"] @ (weights @ words) + self.head["hidden.bias"], 0.0)
        logits = self.head["out.weight"] @ hidden + self.head["out.bias"]
        return Chances(self.motions, _softmax(logits), places[int(np.argmax(weights))], self.threshold)

    def alike(self, motion: str, other: str) -> float:
        """How alike two motions are, in [-1, 1]; -1 where the head does not know one."""
        if motion not in self.motions or other not in self.motions:
            return -1.0
        return float(self.likeness[self.motions.index(motion), self.motions.index(other)])


def content_keys(tokens: Sequence[Token]) -> tuple[list[str], list[int], list[int]]:
    """The words that mean something: the key of each in the table, its role, its place. A verb's key is its form in
    -ing: "duck" the animal and "ducking" have vectors of their own."""
    keys, roles, places = [], [], []
    for place, token in enumerate(tokens):
        if token.text in DETERMINERS | AUXILIARIES | PRONOUNS | NEGATIONS or not token.text[0].isalpha():
            continue
        verb = token.forms[0][0] if token.forms else ""
        if verb and stands_as(tokens, place, token.tenses(verb)) >= PARTICIPLE:
            key, role = verb_key(verb), 0
        else:
            key, role = token.noun or token.text, 1 if token.noun else 2
        keys.append(key)
        roles.append(role)
        places.append(place)
    return keys, roles, places


def verb_key(verb: str) -> str:
    """The key of a verb in the table."""
    return f"to {verb}"


def letter_runs(word: str, num_rows: int) -> list[int]:
    """Rows of the runs of three to five letters in ``word``, its ends marked."""
    marked = f"<{singular(word.removeprefix('to '))}>"
    runs = {marked[i : i + n] for n in (3, 4, 5) for i in range(max(1, len(marked) - n + 1))}
    return sorted(crc32(run.encode()) % num_rows for run in runs)


@cache
def load_vectors() -> Vectors:
    """The shipped table; read once."""
    with safe_open(asset_path("words", "vectors.safetensors"), framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        said = file.metadata()
    head = {
        name.removeprefix("head."): tensors[name].astype(np.float32) for name in tensors if name.startswith("head.")
    }
    return Vectors(
        rows={word: row for row, word in enumerate(json.loads(said["words"]))},
        table=tensors["table"],
        scales=tensors["scales"].astype(np.float32),
        letters=tensors["letters"],
        letter_scales=tensors["letter_scales"].astype(np.float32),
        head=head,
        motions=tuple(json.loads(said["motions"])),
        likeness=tensors["likeness"].astype(np.float32),
        threshold=float(said["threshold"]),
    )


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()
