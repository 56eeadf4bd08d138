"""The shipped words: which verbs and idioms name which motion (``assets/words/lexicon.json``, written by hand), and the
forms of English verbs (``assets/words/forms.json``, made by ``stages.training.build_words``)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from stages.assets import asset_path
from stages.priors.words.inflection import unpacked
from stages.priors.words.patterns import Patterns
from stages.priors.words.tokens import Vocabulary

STATIC = "static"
"""The motion of what does not move."""

OTHER = ""
"""What a pattern names that says none of the motions: "taking a photo"."""

TENSES = ("s", "ing", "past", "participle")


@dataclass(frozen=True)
class Lexicon:
    """What words say."""

    motions: tuple[str, ...]
    verbs: Mapping[str, tuple[str, ...]]  # verb -> the motions it can name, the usual one first
    hints: Mapping[str, frozenset[str]]  # motion -> words beside a verb of several motions that speak for it
    adjectives: Mapping[str, str]  # "motionless" -> motion
    patterns: Patterns
    paces: Mapping[str, float]
    degrees: Mapping[str, float]  # "very" -> the power to which it raises a pace
    stand_ins: Mapping[str, str]  # motion -> one that holds it, for priors that do not tell them apart
    vocabulary: Vocabulary


@cache
def load_lexicon() -> Lexicon:
    """The lexicon; read once."""
    content = _read("lexicon.json")
    motions = content["motions"]
    verbs: dict[str, list[str]] = defaultdict(list)
    for motion, said in motions.items():
        for verb in said["words"].split():
            verbs[verb].append(motion)
    patterns = [(text, motion) for motion, said in motions.items() for text in said["phrases"]]
    return Lexicon(
        motions=tuple(motions),
        verbs={verb: tuple(named) for verb, named in verbs.items()},
        hints={motion: frozenset(said["hints"].split()) for motion, said in motions.items()},
        adjectives={word: motion for motion, said in motions.items() for word in said.get("adjectives", "").split()},
        patterns=Patterns([*patterns, *((text, OTHER) for text in content["others"])]),
        paces=content["paces"],
        degrees=content["degrees"],
        stand_ins=content["stand_ins"],
        vocabulary=_vocabulary(_read("forms.json")),
    )


def _vocabulary(content: Mapping[str, Any]) -> Vocabulary:
    forms: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for verb, inflected in unpacked(content["verbs"]).items():
        forms[verb].append((verb, ""))
        for tense, variants in zip(TENSES, inflected.split(), strict=True):
            for form in variants.split("/"):
                forms[form].append((verb, tense))
    return Vocabulary(
        forms={form: tuple(meanings) for form, meanings in forms.items()},
        bodies=frozenset(content["bodies"].split()),
        adjectives=frozenset(content["adjectives"].split()),
        adverbs=frozenset(content["adverbs"].split()),
    )


def _read(name: str) -> Any:
    return json.loads(asset_path("words", name).read_text(encoding="utf-8"))
