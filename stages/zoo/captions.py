"""Sentences that say which body makes which motion, and the words in them that say it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

Option = TypeVar("Option")

INFLECTIONS = {
    "walk": ("walks", "walking"),
    "run": ("runs", "running"),
    "jump": ("jumps", "jumping"),
    "eat": ("eats", "eating"),
    "attack": ("attacks", "attacking"),
    "swim": ("swims", "swimming"),
    "fly": ("flies", "flying"),
    "dance": ("dances", "dancing"),
    "wave": ("waves", "waving"),
    "nod": ("nods", "nodding"),
    "slither": ("slithers", "slithering"),
    "sway": ("sways", "swaying"),
    "idle": ("idles", "idling"),
}
"""Verbs of the small world; "static" is told by its own sentences."""

SYNONYMS = {
    "walk": (("march", "marches", "marching"), ("stroll", "strolls", "strolling")),
    "run": (("gallop", "gallops", "galloping"), ("sprint", "sprints", "sprinting")),
    "jump": (("leap", "leaps", "leaping"), ("hop", "hops", "hopping")),
    "eat": (("graze", "grazes", "grazing"), ("feed", "feeds", "feeding")),
    "attack": (
        ("bite", "bites", "biting"),
        ("strike", "strikes", "striking"),
        ("fight", "fights", "fighting"),
        ("punch", "punches", "punching"),
    ),
    "fly": (("flap", "flaps", "flapping"),),
    "slither": (("crawl", "crawls", "crawling"),),
    "sway": (("flutter", "flutters", "fluttering"), ("swing", "swings", "swinging")),
    "idle": (("breathe", "breathes", "breathing"), ("rest", "rests", "resting")),
}

STATIC_SENTENCES = (
    "low motion, static statue, not moving, no motion, {noun}",
    "low motion, static statue, not moving, no motion",
    "a static {noun}",
    "a {noun} statue, not moving",
    "a {noun} standing still",
)
STILLNESS = ("static", "still", "statue", "motionless")

PACES = {"slowly": 0.6, "quickly": 1.5, "fast": 1.5}
"""Adverbs, and the pace of a motion that they say."""

ADJECTIVES = ("small", "big", "young", "old", "brown", "grey", "white", "red", "green", "blue", "cute", "happy")


def caption(verb: str, noun: str, generator: torch.Generator, adverb: str = "") -> str:
    """A sentence that says ``noun`` does ``verb``, in one of several wordings."""
    if verb == "static":
        return pick(STATIC_SENTENCES, generator).format(noun=noun)
    third, participle = INFLECTIONS[verb]
    if verb in SYNONYMS and uniform(0.0, 1.0, generator) < 0.3:
        _, third, participle = pick(SYNONYMS[verb], generator)
    if uniform(0.0, 1.0, generator) < 0.3:
        noun = f"{pick(ADJECTIVES, generator)} {noun}"
    if adverb:
        wordings: Sequence[str] = (
            "a {noun} {third} {adverb}",
            "a {noun} is {participle} {adverb}",
            "a {participle} {noun}, {adverb}",
            "the {noun} {third} {adverb}",
        )
    else:
        wordings = (
            "a {participle} {noun}",
            "a {noun} {third}",
            "a {noun} is {participle}",
            "the {noun} {third}",
            "a {noun} {participle}",
        )
    return pick(wordings, generator).format(noun=noun, third=third, participle=participle, adverb=adverb)


def motion_words() -> dict[str, list[str]]:
    """Verb -> the words that say it in a caption."""
    words = {
        verb: [verb, *forms, *(form for synonym in SYNONYMS.get(verb, ()) for form in synonym)]
        for verb, forms in INFLECTIONS.items()
    }
    return words | {"stand still": list(STILLNESS)}


def pick(options: Sequence[Option], generator: torch.Generator) -> Option:
    """One of ``options``."""
    return options[int(torch.randint(0, len(options), (), generator=generator))]


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """A number between ``low`` and ``high``."""
    return low + (high - low) * float(torch.rand((), generator=generator))
