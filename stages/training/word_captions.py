"""Sentences from which ``build_words`` learns what words say of a motion: the lexicon's own, filled in at random, and
WordNet's, sorted by where the sense of their verb lies.

No sentence or word here is taken from tests/data/paraphrases.csv, by which the result is judged.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.training.wordnet import WordNet

NONE = ""
"""The motion of sentences that name none."""

ROOTS: Mapping[str, Sequence[tuple[str, int]]] = {
    "walk": [("walk", 1), ("walk", 8), ("walk", 10)],
    "run": [("run", 1), ("run", 34), ("run", 2), ("scat", 1), ("rush", 1), ("dash", 1)],
    "jump": [("jump", 1), ("jump", 8)],
    "hop": [("hop", 1), ("hop", 6)],
    "eat": [("eat", 1), ("eat", 2), ("eat", 3), ("drink", 1), ("chew", 1), ("gobble", 1)],
    "attack": [("attack", 1), ("bite", 1), ("bite", 4), ("stab", 1), ("stab", 2), ("hit", 3)],
    "kick": [("kick", 1), ("kick", 3), ("kick", 4)],
    "punch": [("punch", 1)],
    "swim": [("swim", 1)],
    "fly": [("fly", 1), ("hover", 3), ("hover", 4)],
    "slither": [("slither", 1), ("wriggle", 1)],
    "dance": [("dance", 1), ("dance", 2), ("dance", 3)],
    "wave": [("wave", 1), ("greet", 1)],
    "nod": [("nod", 1)],
    "idle": [("idle", 1), ("rest", 1), ("rest", 2), ("wait", 1), ("loiter", 1), ("relax", 1), ("stand", 1)],
    "sit": [("sit", 1), ("sit down", 1)],
    "die": [("die", 1), ("collapse", 1), ("collapse", 2)],
    "flop": [("flail", 1), ("thrash", 1)],
    "hit react": [("flinch", 1), ("startle", 1)],
    "roll": [("roll", 1), ("roll over", 1), ("tumble", 1), ("somersault", 1)],
    "pick up": [("pick up", 1), ("lift", 2), ("gather", 1)],
    "clap": [("clap", 1), ("applaud", 1)],
    "shoot": [("shoot", 1), ("shoot", 3)],
    "stand up": [("stand up", 1)],
    "sway": [("sway", 1), ("sway", 2), ("flutter", 1), ("billow", 1)],
    "land": [("alight", 1), ("land", 2)],
    "crouch": [("crouch", 1), ("crouch", 2)],
    "reach": [("reach", 3), ("stretch", 1)],
    "spin": [("spin", 1), ("revolve", 1), ("twirl", 1)],
    "throw": [("throw", 1)],
    "cast": [("conjure", 1)],
    "block": [("block", 12), ("parry", 1)],
    "cheer": [("cheer", 2), ("celebrate", 2), ("rejoice", 1)],
    "crawl": [("crawl", 1)],
}
"""Motion -> the senses of WordNet 3.1's verbs, as (word, rank), under which verbs say it."""

_BODIES = (
    "man woman boy girl child robot knight soldier wizard king monster dragon horse dog cat bear wolf fox deer bird "
    "eagle fish shark snake frog rabbit elephant lion monkey dinosaur zombie goblin warrior ninja cow sheep goat pig "
    "duck chicken spider crab bee alien astronaut pirate princess ghost skeleton teapot tree flower car ball"
)
BODIES = tuple(_BODIES.split())


@dataclass(frozen=True)
class Example:
    """A sentence and the motion it names; ``verb`` is the word to hold out when a part is kept for judging."""

    sentence: str
    motion: str
    verb: str


def lexicon_examples(
    motions: Mapping[str, Mapping[str, str | list[str]]], inflect: Mapping[str, Sequence[str]], chance: random.Random
) -> list[Example]:
    """Sentences of the lexicon's verbs, idioms and hints."""
    found = []
    for motion, said in motions.items():
        words, hints, phrases = (said[key] for key in ("words", "hints", "phrases"))
        assert isinstance(words, str) and isinstance(hints, str) and isinstance(phrases, list)
        beside = hints.split()
        for verb in words.split():
            for _ in range(8):
                hint = f" {chance.choice(beside)}" if beside and chance.random() < 0.3 else ""
                found.append(Example(f"{_clause(verb, inflect, chance)}{hint}", motion, verb))
        for phrase in phrases:
            for _ in range(4):
                found.append(Example(f"a {chance.choice(BODIES)} {filled(phrase, chance)}", motion, phrase))
        for adjective in str(said.get("adjectives", "")).split():
            found += [Example(f"a {chance.choice(BODIES)} is {adjective}", motion, adjective) for _ in range(6)]
    return found


def wordnet_examples(
    verbs: WordNet, inflect: Mapping[str, Sequence[str]], known: set[str], chance: random.Random
) -> list[Example]:
    """Sentences of WordNet's other verbs: of the motions under whose roots their first sense lies, else of none; with
    the sentences that show the sense."""
    under = {motion: verbs.under(roots) for motion, roots in ROOTS.items()}
    found = []
    for verb in sorted(inflect):
        if verb in known or verb not in verbs.index:
            continue
        first = verbs.index[verb][0]
        named = [motion for motion, senses in under.items() if first in senses]
        if len(named) > 1:
            continue
        motion = named[0] if named else NONE
        for _ in range(8 if named else 3):
            found.append(Example(_clause(verb, inflect, chance), motion, verb))
    for key, sense in verbs.senses.items():
        named = [motion for motion, senses in under.items() if key in senses]
        says_known = any(word in known for word in sense.words)
        if len(named) == 1 or (not named and not says_known):
            motion = named[0] if named else NONE
            found += [Example(text, motion, sense.words[0]) for text in sense.examples]
    return found


def nothing_said(nouns: Sequence[str], chance: random.Random, count: int) -> list[Example]:
    """Sentences without a verb."""
    found = []
    for _ in range(count):
        noun = chance.choice(nouns)
        adjective = chance.choice(["", "red ", "old ", "beautiful ", "small ", "happy ", "wooden ", "big "])
        found.append(Example(chance.choice(["a {}", "the {}", "{}"]).format(adjective + noun), NONE, noun))
    return found


def filled(phrase: str, chance: random.Random) -> str:
    """A pattern with one of the words for each of its places."""
    return " ".join(chance.choice(part.split("|")) for part in phrase.split() if part != "*")


def _clause(verb: str, inflect: Mapping[str, Sequence[str]], chance: random.Random) -> str:
    third, participle, past, _ = inflect.get(verb, (verb, verb, verb, verb))
    body = chance.choice(BODIES)
    wordings = [f"a {body} {third}", f"the {body} is {participle}", f"a {body} {participle}", f"the {body} {past}"]
    sentence = chance.choice(wordings)
    if chance.random() < 0.3:
        sentence += f" the {chance.choice(BODIES)}"
    return sentence
