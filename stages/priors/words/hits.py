"""Where a sentence says a motion that the lexicon knows, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.priors.words.lexicon import OTHER, STATIC, Lexicon
from stages.priors.words.patterns import Found
from stages.priors.words.tokens import (
    AUXILIARIES,
    DETERMINERS,
    NEGATIONS,
    PASSIVES,
    PREPOSITIONS,
    PRONOUNS,
    Token,
    word_set,
)

VERB, IDIOM, LIGHT, PARTICIPLE, ADJECTIVE, NOUN, DENIED = 7, 6, 5, 4, 3, 2, 1
"""How a motion was said, from the most trusted on. ``LIGHT`` is standing or waiting, which most do beside something
else, ``IDIOM`` one without a verb; of what is ``DENIED`` ("not running") the opposite is meant: nothing moves."""

LIGHT_MOTION = "idle"
SUFFERED = frozenset(["attack", "kick", "punch", "shoot"])
"""Motions that, said in the passive, somebody else makes."""
HIT_REACT = "hit react"

BEFORE_A_MOTION = frozenset(["for", "into", "with", "of"])
"""Prepositions before a motion that is a noun: "goes for a run", not "in spring"."""

EMPTY_VERBS = word_set("have take make do give go perform begin start keep come get try let be see show")
"""Verbs that say nothing beside a motion that is a noun."""


@dataclass(frozen=True)
class Hit:
    """A motion that words of a sentence name."""

    places: tuple[int, ...]
    motion: str
    trust: int


def find_hits(tokens: Sequence[Token], lexicon: Lexicon, own: Mapping[str, str]) -> list[Hit]:
    """All motions that are said, in order.

    Args:
        tokens: the sentence.
        lexicon: verbs and idioms.
        own: verbs that a prior knows beside the lexicon's, to the motion.
    """
    hits: list[Hit] = []
    taken: set[int] = set()
    for found in lexicon.patterns.find(tokens):
        if found.motion == OTHER and any(verb in own for place in found.places for verb, _ in tokens[place].forms):
            continue
        taken |= set(found.places)
        if found.motion not in {OTHER, STATIC} and _denied(tokens, found.places[0]):
            hits.append(Hit(found.places, STATIC, DENIED))
        else:
            hits.append(Hit(found.places, found.motion, _trust(tokens, found)))
    for place, token in enumerate(tokens):
        if place in taken:
            continue
        options = _options(token, lexicon, own)
        if options and _denied(tokens, place):
            hits.append(Hit((place,), STATIC, DENIED))
        elif options:
            verb, motions = options
            hit = _verb_hit(tokens, place, verb, _of_several(motions, tokens, lexicon))
            if hit:
                hits.append(hit)
        elif token.text in lexicon.adjectives:
            hits.append(Hit((place,), lexicon.adjectives[token.text], ADJECTIVE))
    if _says_another(tokens, lexicon):
        hits = [hit for hit in hits if hit.trust > NOUN]
    return sorted(hits, key=lambda hit: hit.places)


def stands_as(tokens: Sequence[Token], place: int, tenses: frozenset[str]) -> int:
    """How the word at ``place``, a verb's form of ``tenses``, stands in the sentence; 0 where it names a body."""
    token = tokens[place]
    before = tokens[place - 1] if place else None
    after = tokens[place + 1] if place + 1 < len(tokens) else None
    attribute = _after_determiner(tokens, place)
    if "ing" in tenses:
        is_noun_ahead = after is not None and (bool(after.noun) or after.adjective) and not after.forms
        return PARTICIPLE if attribute or (before is None and is_noun_ahead) else VERB
    if token.noun and (attribute or _subject(tokens, place)):
        return 0
    if attribute:
        return NOUN
    if before is not None and before.text in PREPOSITIONS and not tenses & {"past", "participle"}:
        return NOUN if before.text in BEFORE_A_MOTION else 0
    return VERB


def _says_another(tokens: Sequence[Token], lexicon: Lexicon) -> bool:
    """Whether a verb stands in a sentence that names no motion, as "burn" in "a fire burning"."""
    return any(
        token.text not in AUXILIARIES
        and not any(verb in lexicon.verbs or verb in EMPTY_VERBS for verb, _ in token.forms)
        and stands_as(tokens, place, frozenset(tense for _, tense in token.forms)) == VERB
        and (place == 0 or tokens[place - 1].text not in PREPOSITIONS)
        and (token.text.endswith("ing") or not (token.adjective or (token.noun and place == 0)))
        for place, token in enumerate(tokens)
        if token.forms
    )


def _verb_hit(tokens: Sequence[Token], place: int, verb: str, motion: str) -> Hit | None:
    tenses = tokens[place].tenses(verb)
    trust = stands_as(tokens, place, tenses)
    if not trust:
        return None
    if motion in SUFFERED and "participle" in tenses and _passive(tokens, place):
        return Hit((place,), HIT_REACT, VERB)
    return Hit((place,), motion, min(trust, LIGHT) if motion == LIGHT_MOTION else trust)


def _options(token: Token, lexicon: Lexicon, own: Mapping[str, str]) -> tuple[str, tuple[str, ...]] | None:
    """The verb that a word can be a form of, and the motions that this names."""
    for verb in dict.fromkeys([*(verb for verb, _ in token.forms), token.text]):
        if verb in own:
            return verb, (own[verb],)
        if verb in lexicon.verbs:
            return verb, lexicon.verbs[verb]
    return None


def _of_several(motions: tuple[str, ...], tokens: Sequence[Token], lexicon: Lexicon) -> str:
    """The motion that most words beside speak for; the usual one where none does."""
    said: frozenset[str] = frozenset().union(*(token.names for token in tokens))
    return max(motions, key=lambda motion: (len(said & lexicon.hints.get(motion, frozenset())), -motions.index(motion)))


def _trust(tokens: Sequence[Token], found: Found) -> int:
    if found.motion == LIGHT_MOTION:
        return LIGHT
    is_verb = any(
        tokens[place].forms and stands_as(tokens, place, frozenset(tense for _, tense in tokens[place].forms)) == VERB
        for place in found.places
    )
    return VERB if found.motion == STATIC or (is_verb and tokens[found.places[0]].text not in PREPOSITIONS) else IDIOM


def _passive(tokens: Sequence[Token], place: int) -> bool:
    """Whether a form of "be" or "get" stands before, adverbs between."""
    while place > 0 and (tokens[place - 1].adverb or tokens[place - 1].text in NEGATIONS):
        place -= 1
    return place > 0 and tokens[place - 1].text in PASSIVES


def _denied(tokens: Sequence[Token], place: int) -> bool:
    """Whether a "not", or "without", stands before, auxiliaries and adverbs between."""
    for before in reversed(tokens[max(0, place - 3) : place]):
        if before.text in NEGATIONS or before.text == "without":
            return True
        if not (before.adverb or before.text in AUXILIARIES or before.text in DETERMINERS):
            return False
    return False


def _after_determiner(tokens: Sequence[Token], place: int) -> bool:
    """Whether an article or possessive stands before, nothing but adjectives between."""
    for before in reversed(tokens[max(0, place - 3) : place]):
        if before.text in DETERMINERS or before.text.isdigit() or before.text in {"two", "three", "four", "five"}:
            return True
        if before.noun or before.text in PRONOUNS or not before.adjective:
            return False
    return False


def _subject(tokens: Sequence[Token], place: int) -> bool:
    """Whether a word that can be a noun begins the sentence, a verb next."""
    rest = [token for token in tokens[place + 1 : place + 4] if not token.adverb]
    return place == 0 and (not rest or bool(rest[0].forms) or rest[0].text in AUXILIARIES)
