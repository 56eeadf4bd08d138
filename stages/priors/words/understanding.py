"""Which motion a sentence asks for: by the lexicon where it knows the words, else by their meaning.

    understand("a horse at full tilt", ["walk", "run"]).verb == "run"

An idiom with a verb, or a verb where a verb stands, is trusted most; then an idiom without one ("on all fours"), a verb
used as an adjective ("a running deer"), a verb used as a noun ("a jump"). The first of the most trusted decides, the
others are listed. Where there is none, the meaning of all words decides (``vectors``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stages.priors.words.hits import ADJECTIVE, DENIED, IDIOM, LIGHT, NOUN, PARTICIPLE, VERB, Hit, find_hits
from stages.priors.words.lexicon import OTHER, Lexicon, load_lexicon
from stages.priors.words.tokens import PREPOSITIONS, Token, split
from stages.priors.words.typos import corrected
from stages.priors.words.vectors import load_vectors

TRUST = {VERB: 0.97, IDIOM: 0.9, LIGHT: 0.9, PARTICIPLE: 0.95, ADJECTIVE: 0.9, NOUN: 0.7, DENIED: 0.6}
"""Confidence in what was said so."""

STAND_IN_TRUST = 0.7
"""Factor of the confidence where a prior knows no kick, only an attack."""


@dataclass(frozen=True)
class Understood:
    """What a sentence asks for, in the words of a prior."""

    verb: str | None  # of those known; None where the sentence names none of them
    confidence: float  # [0, 1] in ``verb``, or in ``nearest`` where there is none
    nearest: str  # the nearest known verb; ``verb`` itself where there is one
    meant: str | None = None  # the motion that the sentence names, whether the prior knows it or not
    said: str = ""  # the words that decided; "" where none did
    others: tuple[str, ...] = ()  # known verbs of further motions, in order
    pace: float = 1.0  # of the motion; 1 where nothing is said of it
    noun: str | None = None  # what moves, where it is named


def understand(sentence: str, known: Sequence[str]) -> Understood:
    """The verb of ``known`` that a sentence asks for.

    Args:
        sentence: what a user types.
        known: the prior's verbs, at least one: motions of the lexicon, words for them ("gallop"), or any other verbs.

    Raises:
        ValueError: nothing is known.
    """
    if not known:
        raise ValueError("A prior that knows no verb understands no sentence.")
    lexicon, vectors = load_lexicon(), load_vectors()
    tokens = [corrected(word, lexicon, vectors.rows) for word in split(sentence)]
    names = motion_names(known, lexicon)
    own = {motion: motion for motion in names if motion not in lexicon.motions}
    hits = find_hits(tokens, lexicon, own)
    chances = vectors.chances(tokens)
    others: list[str] = []
    if hits:
        best = max(hits, key=lambda hit: (hit.trust, hit.motion != OTHER))
        meant, confidence, said = best.motion or None, TRUST[best.trust], best.places
        others = [hit.motion for hit in hits if hit is not best and hit.trust >= min(best.trust, LIGHT)]
    else:
        meant = chances.best()
        confidence, said = chances.of(meant or ""), () if chances.place is None else (chances.place,)
    near = (lambda motion: vectors.alike(meant, motion)) if meant else chances.of
    nearest = max(names, key=near)
    chosen = meant if meant in names else lexicon.stand_ins.get(meant or "")
    if chosen not in names:
        chosen, confidence = None, chances.of(nearest)
    elif chosen != meant:
        confidence *= STAND_IN_TRUST
    return Understood(
        verb=names[chosen] if chosen else None,
        confidence=round(confidence, 3),
        nearest=names[chosen or nearest],
        meant=meant,
        said=" ".join(tokens[place].text for place in said) if meant else "",
        others=tuple(dict.fromkeys(names[motion] for motion in others if motion in names and motion != chosen)),
        pace=_pace(tokens, lexicon),
        noun=_noun(tokens, hits),
    )


def motion_names(known: Sequence[str], lexicon: Lexicon) -> dict[str, str]:
    """Motion of the lexicon -> what the prior calls it; a verb that is not in the lexicon is a motion of its own."""
    names: dict[str, str] = {}
    for name in known:
        names.setdefault(name if name in lexicon.motions else _motion_of(name, lexicon), name)
    return names


def _motion_of(name: str, lexicon: Lexicon) -> str:
    tokens = [lexicon.vocabulary.token(word) for word in split(name.replace("_", " "))]
    joined = " ".join(token.text for token in tokens)
    if joined in lexicon.motions:
        return joined
    hits = find_hits(tokens, lexicon, {})
    return max(hits, key=lambda hit: hit.trust).motion or name if hits else name


def _pace(tokens: Sequence[Token], lexicon: Lexicon) -> float:
    """The pace of the first adverb that says one; "very" before it strengthens it."""
    for place, token in enumerate(tokens):
        if token.text in lexicon.paces:
            degree = lexicon.degrees.get(tokens[place - 1].text, 1.0) if place else 1.0
            return round(float(lexicon.paces[token.text] ** degree), 3)
    return 1.0


def _noun(tokens: Sequence[Token], hits: Sequence[Hit]) -> str | None:
    """The first name of a body, the last word of it ("basketball player")."""
    said = {place for hit in hits if hit.trust >= PARTICIPLE for place in hit.places}
    for place, token in enumerate(tokens):
        if token.text in PREPOSITIONS and place:
            return None
        if token.noun and place not in said:
            after = tokens[place + 1] if place + 1 < len(tokens) else None
            if after is None or not after.noun or place + 1 in said:
                return token.noun
    return None
