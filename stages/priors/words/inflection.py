"""Forms of English verbs, and how ``assets/words/forms.json`` keeps them: rules for the regular ones, a table for the
rest. What the rules do not give to the letter stands in the table, so nothing is lost.

The forms of a verb are one string, as in "goes going went gone": third person, -ing, past, participle; variants are
separated by "/".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VOWELS = "aeiou"


def regular(verb: str, *, doubled: bool = False) -> str:
    """The forms of ``verb`` (two letters or more) by rule; ``doubled``: with its last consonant twice, as in
    "stopped"."""
    ends_in_y = verb[-1] == "y" and verb[-2] not in VOWELS
    stem = verb + verb[-1] if doubled else verb
    if verb.endswith(("s", "x", "z", "ch", "sh", "o")):
        third = f"{verb}es"
    else:
        third = f"{verb[:-1]}ies" if ends_in_y else f"{verb}s"
    if verb.endswith("ie"):
        progressive = f"{verb[:-2]}ying"
    elif verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        progressive = f"{verb[:-1]}ing"
    else:
        progressive = f"{stem}ing"
    otherwise = f"{verb[:-1]}ied" if ends_in_y else f"{stem}ed"
    past = f"{verb}d" if verb.endswith("e") else otherwise
    return f"{third} {progressive} {past} {past}"


def packed(inflected: Mapping[str, str]) -> dict[str, Any]:
    """``inflected`` (verb -> its forms) as the file keeps it."""
    plain = [verb for verb, forms in inflected.items() if forms == regular(verb)]
    doubled = [verb for verb, forms in inflected.items() if forms == regular(verb, doubled=True) != regular(verb)]
    ruled = {*plain, *doubled}
    return {
        "regular": " ".join(plain),
        "doubled": " ".join(doubled),
        "irregular": {verb: forms for verb, forms in inflected.items() if verb not in ruled},
    }


def unpacked(content: Mapping[str, Any]) -> dict[str, str]:
    """Verb -> its forms, by the alphabet; the inverse of ``packed``."""
    found = {verb: regular(verb) for verb in content["regular"].split()}
    found |= {verb: regular(verb, doubled=True) for verb in content["doubled"].split()}
    return dict(sorted({**found, **content["irregular"]}.items()))
