"""From sentences to motions: what is understood, what is not, and how often, by sets written for it."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from stages.assets import asset_path
from stages.priors.words import understand
from stages.priors.words.inflection import packed, unpacked
from stages.priors.words.lexicon import load_lexicon
from stages.priors.words.patterns import Patterns
from stages.priors.words.tokens import split, word_set
from stages.priors.words.typos import corrected

DATA = Path(__file__).parent.parent / "data"
KNOWN = load_lexicon().motions
SMALL_WORLD = ("walk", "run", "jump", "eat", "attack", "swim", "fly", "dance", "idle", "static")


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open() as file:
        return list(csv.DictReader(file))


def share(name: str) -> tuple[float, float]:
    """Of the sentences with a motion, those understood; of those without, those for which none is named."""
    right: dict[bool, list[bool]] = {True: [], False: []}
    for row in rows(name):
        right[bool(row["verb"])].append(understand(row["sentence"], KNOWN).verb == (row["verb"] or None))
    return tuple(sum(of) / len(of) for of in right.values())  # type: ignore[return-value]


@pytest.mark.parametrize(
    "forms",
    ["abates abating abated abated", "tries trying tried tried", "stops stopping stopped stopped",
     "goes going went gone", "sees seeing saw seen", "dies dying died died", "plays playing played played"],
)  # fmt: skip
def test_forms_of_verbs_come_back_as_they_were(forms: str) -> None:
    verb = {"ab": "abate", "tr": "try", "st": "stop", "go": "go", "se": "see", "di": "die", "pl": "play"}[forms[:2]]
    kept = packed({verb: forms})
    assert unpacked(kept) == {verb: forms}
    assert (verb in kept["irregular"]) == (verb in ("go", "see"))
    assert kept["doubled"] == ("stop" if verb == "stop" else "")


def test_the_set_is_as_large_and_as_far_from_the_verbs_as_it_says() -> None:
    data = rows("paraphrases.csv")
    named = [row for row in data if row["verb"]]
    assert len(named) == 200 and len(data) == 240 and {row["verb"] for row in named} <= set(KNOWN)
    vocabulary = load_lexicon().vocabulary
    plain = word_set(
        "gallop trot sprint leap graze feed drink bite headbutt slash stab strike flap hover agree refuse stand "
        "breathe rest wait collapse flinch hit march stroll fight"
    ) | set(KNOWN)
    far = [
        row
        for row in named
        if not any(verb in plain for word in split(row["sentence"]) for verb, _ in vocabulary.forms.get(word, ()))
    ]
    assert len(far) >= 150


def test_paraphrases_are_understood() -> None:
    understood, cautioned = share("paraphrases.csv")
    assert understood >= 0.95 and cautioned >= 0.9


@pytest.mark.parametrize(
    ("name", "understood", "cautioned"), [("paraphrases_dev.csv", 0.95, 0.9), ("paraphrases_second.csv", 0.93, 0.9)]
)
def test_what_the_lexicon_was_worked_on_stays_understood(name: str, understood: float, cautioned: float) -> None:
    found = share(name)
    assert found[0] >= understood and found[1] >= cautioned


def test_new_sentences_are_mostly_understood() -> None:
    understood, cautioned = share("paraphrases_third.csv")
    assert understood >= 0.85 and cautioned >= 0.85


@pytest.mark.parametrize("verb", ["walk", "run", "jump", "swim", "throw", "sit", "die", "shoot", "fly"])
def test_every_tense_of_a_verb_names_it(verb: str) -> None:
    vocabulary = load_lexicon().vocabulary
    forms = [form for form, said in vocabulary.forms.items() if any(of == verb for of, _ in said)]
    assert len(forms) >= 4
    for form in forms:
        assert understand(f"the robot {form}", KNOWN).verb == verb


def test_of_two_motions_the_first_decides_and_the_other_is_listed() -> None:
    found = understand("a robot walks to the door and then jumps", KNOWN)
    assert (found.verb, found.others, found.said, found.noun) == ("walk", ("jump",), "walks", "robot")


@pytest.mark.parametrize(
    "sentence", ["a deer, not moving", "a deer without moving", "a static deer", "the deer is not running", "no motion"]
)
def test_negations_say_static(sentence: str) -> None:
    assert understand(sentence, KNOWN).verb == "static"


def test_a_negated_motion_beside_another_is_left_out() -> None:
    found = understand("a deer that is not walking but running", KNOWN)
    assert found.verb == "run" and "walk" not in found.others


def test_adverbs_say_the_pace() -> None:
    slow, plain, fast = (understand(f"a dog walks {how}", KNOWN).pace for how in ("slowly", "", "quickly"))
    assert slow < plain == 1.0 < fast
    assert understand("a dog walks very slowly", KNOWN).pace < slow


def test_a_noun_that_could_be_a_verb_is_no_motion() -> None:
    assert understand("a fly walks", KNOWN).verb == "walk"
    assert understand("the seal", KNOWN).verb is None
    assert understand("the duck swims", KNOWN).noun == "duck"


def test_a_blow_that_is_suffered_is_no_blow_that_is_dealt() -> None:
    assert understand("the orc attacks", KNOWN).verb == "attack"
    assert understand("the orc is attacked", KNOWN).verb == "hit react"


def test_a_slip_of_the_finger_is_forgiven() -> None:
    assert understand("a galoping horse", KNOWN).verb == "run"
    assert understand("a dog wlaking", KNOWN).verb == "walk"


def test_a_prior_is_answered_in_its_own_words() -> None:
    assert understand("a horse at full tilt", ["walk", "gallop"]).verb == "gallop"
    assert understand("a deer", ["stand still", "walk"]).verb is None
    assert understand("a motionless deer", ["stand still", "walk"]).verb == "stand still"
    assert understand("a woman knits", ["knit", "walk"]).verb == "knit"


def test_a_prior_that_tells_no_kick_from_an_attack_is_asked_for_an_attack() -> None:
    kick = understand("the horse kicks", SMALL_WORLD)
    assert (kick.verb, kick.meant) == ("attack", "kick")
    assert kick.confidence < understand("the horse attacks", SMALL_WORLD).confidence


@pytest.mark.parametrize("sentence", ["the man claps", "a teapot doing taxes", "", "...", "42", "ünïcödé"])
def test_what_is_not_known_names_the_nearest(sentence: str) -> None:
    found = understand(sentence, SMALL_WORLD)
    assert found.verb is None and found.nearest in SMALL_WORLD and 0.0 <= found.confidence <= 1.0


def test_known_but_not_to_this_prior_is_said() -> None:
    found = understand("the man claps", SMALL_WORLD)
    assert found.meant == "clap" and found.said == "claps"


def test_a_prior_that_knows_nothing_is_refused() -> None:
    with pytest.raises(ValueError):
        understand("a dog walks", [])


def test_patterns_take_gaps_within_a_clause_only() -> None:
    vocabulary = load_lexicon().vocabulary
    patterns = Patterns([("pick * up", "pick up")])

    def finds(sentence: str) -> bool:
        return bool(patterns.find([vocabulary.token(word) for word in split(sentence)]))

    assert finds("he picked the heavy box up")
    assert not finds("he picks a card and looks up")
    assert not finds("he picks one two three four up")


def test_corrections_change_unknown_words_only() -> None:
    lexicon = load_lexicon()
    assert corrected("swiming", lexicon, {}).text == "swimming"
    assert corrected("knees", lexicon, {"knee"}).text == "knees"


def test_the_table_is_small() -> None:
    files = sorted(asset_path("words").iterdir())
    assert [file.name for file in files] == ["forms.json", "lexicon.json", "vectors.safetensors"]
    assert sum(file.stat().st_size for file in files) <= 4_000_000


def test_every_verb_of_the_lexicon_has_its_forms_and_one_usual_motion() -> None:
    lexicon = load_lexicon()
    assert all(verb in lexicon.vocabulary.forms for verb in lexicon.verbs if re.fullmatch("[a-z]+", verb))
    assert set(lexicon.stand_ins) | set(lexicon.stand_ins.values()) <= set(lexicon.motions)
