"""A sentence as words, each with what it can be a form of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


DETERMINERS = word_set("a an the his her its my your their our some this that these those one's")
CLAUSE_ENDS = word_set(", ; . : and then while but before after until when as or")
AUXILIARIES = word_set(
    "is are was were be been being am has have had does do did will would can could may might must shall should to "
    "gets get got getting keeps keep kept starts start started begins begin began goes"
)
PASSIVES = word_set("is are was were be been being am gets get got getting")
PREPOSITIONS = word_set(
    "of for with in on at from into by through over under across along around about like as onto near behind past "
    "without towards toward up down off inside against between beneath above below upon after before"
)
PRONOUNS = word_set("he she it they we i you who which everyone someone nobody everybody it's")
NEGATIONS = word_set("not no never without neither nor cannot")


@dataclass(frozen=True)
class Token:
    """A word of a sentence."""

    text: str
    forms: tuple[tuple[str, str], ...] = ()  # (verb, tense): "" for the verb itself, "s", "ing", "past", "participle"
    noun: str = ""  # the singular, where the word can name a body
    adjective: bool = False
    adverb: bool = False

    @property
    def names(self) -> frozenset[str]:
        """All that a pattern may call this word by."""
        return frozenset(
            [self.text, *(verb for verb, _ in self.forms), *filter(None, [self.noun, singular(self.text)])]
        )

    def tenses(self, verb: str) -> frozenset[str]:
        """The tenses of ``verb`` that this word can be."""
        return frozenset(tense for name, tense in self.forms if name == verb)


@dataclass(frozen=True)
class Vocabulary:
    """What is known of single words."""

    forms: Mapping[str, tuple[tuple[str, str], ...]]  # every form of a verb -> (verb, tense)
    bodies: frozenset[str]  # nouns of what can be animated
    adjectives: frozenset[str]
    adverbs: frozenset[str]

    def token(self, text: str) -> Token:
        """``text`` with all that it can be."""
        one = singular(text)
        noun = text if text in self.bodies else one if one in self.bodies else ""
        return Token(text, self.forms.get(text, ()), noun, text in self.adjectives, text in self.adverbs)


def split(sentence: str) -> list[str]:
    """Words and commas of a sentence in lower case; "doesn't" is two words, "dog's" one."""
    text = sentence.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    text = re.sub(r"\bcan'?t\b|\bcannot\b", "can not", text)
    text = re.sub(r"\bwon't\b", "will not", text)
    text = re.sub(r"n't\b", " not", text)
    text = re.sub(r"'(s|re|ll|ve|d|m)\b", "", text)
    return re.findall(r"[^\W\d_]+(?:-[^\W\d_]+)*|\d+|[,;.:]", text)


def singular(noun: str) -> str:
    """A guess at the singular of a regular plural; other words as they are."""
    if len(noun) > 4 and noun.endswith("ies"):
        return noun[:-3] + "y"
    if len(noun) > 4 and noun.endswith(("ches", "shes", "sses", "xes", "zes")):
        return noun[:-2]
    if len(noun) > 3 and noun.endswith("s") and not noun.endswith(("ss", "us", "is")):
        return noun[:-1]
    return noun
