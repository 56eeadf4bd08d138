"""Captioned clips: which body makes which motion, and the sentences that say so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from stages.assets import asset_path
from stages.gaussians.sh import rgb_to_sh0, sh0_to_rgb
from stages.zoo.procedural import ProceduralBody, biped, bird, fish, quadruped
from stages.zoo.rigged import RiggedFile, read_rigged
from stages.zoo.skeleton import Clip

NUM_GAUSSIANS = (1000, 1800)
"""Range of Gaussians in a training body: about one a pixel at 64 px."""

INFLECTIONS = {
    "walk": ("walks", "walking"),
    "run": ("runs", "running"),
    "jump": ("jumps", "jumping"),
    "eat": ("eats", "eating"),
    "nod": ("nods", "nodding"),
    "swim": ("swims", "swimming"),
    "fly": ("flies", "flying"),
    "wave": ("waves", "waving"),
    "dance": ("dances", "dancing"),
}
"""Verbs of the small world; "static" is told by its own sentences."""

SYNONYMS = {
    "run": ("gallop", "gallops", "galloping"),
    "jump": ("leap", "leaps", "leaping"),
    "eat": ("graze", "grazes", "grazing"),
}

STATIC_SENTENCES = (
    "low motion, static statue, not moving, no motion, {noun}",
    "low motion, static statue, not moving, no motion",
    "a static {noun}",
    "a {noun} statue, not moving",
    "a {noun} standing still",
)

ADJECTIVES = ("small", "big", "young", "old", "brown", "grey", "white", "red", "green", "blue", "cute", "happy")
NOUNS = {
    "quadruped": ("animal", "horse", "goat", "cow", "sheep", "dog", "cat", "deer", "wolf", "fox", "donkey", "lion"),
    "biped": ("person", "man", "woman", "robot", "toy", "child", "monster", "character"),
    "bird": ("bird", "eagle", "crow", "seagull", "parrot", "duck"),
    "fish": ("fish", "carp", "trout", "salmon"),
}


@dataclass(frozen=True)
class Rig:
    """A shipped file: what to call it, and for every verb the clip and how many cycles of it fill the frames."""

    file: str
    nouns: tuple[str, ...]
    verbs: dict[str, tuple[str, float]]
    rest: str | None = None  # clip whose first frame is the rest pose; the bind pose when None
    stride: float = 0.0  # where in its cycle the walk begins, so that every body swings its left hind leg at one time
    gain: float = 1.0  # exaggerates the motion


def _animal(jump: str = "Jump_ToIdle") -> dict[str, tuple[str, float]]:
    return {
        "walk": ("AnimalArmature|Walk", 1.0),
        "run": ("AnimalArmature|Gallop", 2.0),
        "eat": ("AnimalArmature|Eating", 1.0),
        "jump": (f"AnimalArmature|{jump}", 1.0),
    }


def _dinosaur(name: str) -> dict[str, tuple[str, float]]:
    prefix = f"Armature|{name}_"
    return {"walk": (prefix + "Walk", 1.0), "run": (prefix + "Run", 1.5), "jump": (prefix + "Jump", 1.0)}


_ROBOT = {
    "walk": ("Walk", 1.0),
    "run": ("Run", 1.0),
    "jump": ("Jump", 1.0),
    "dance": ("Dance", 1.0),
    "wave": ("Hello", 1.0),
}
_IDLE = "AnimalArmature|Idle"

RIGS = (
    Rig("Deer.glb", ("deer", "fawn", "goat"), _animal("Jump_toIdle"), _IDLE, stride=0.915),
    Rig("Horse.glb", ("horse", "pony", "donkey"), _animal("Jump_toIdle"), _IDLE, stride=0.923),
    Rig("Wolf.glb", ("wolf", "dog"), _animal(), _IDLE, stride=0.582),
    Rig("ShibaInu.glb", ("dog", "shiba", "puppy"), _animal(), _IDLE, stride=0.581),
    Rig("Fox.glb", ("fox",), {"walk": ("Walk", 1.0), "run": ("Run", 1.0)}, "Survey", stride=0.565),
    Rig(
        "Stegosaurus.glb",
        ("stegosaurus", "dinosaur"),
        _dinosaur("Stegosaurus"),
        "Armature|Stegosaurus_Idle",
        stride=0.695,
    ),
    Rig(
        "Parasaurolophus.glb",
        ("parasaurolophus", "dinosaur"),
        _dinosaur("Parasaurolophus"),
        "Armature|Parasaurolophus_Idle",
        stride=0.717,
    ),
    Rig("Frog.glb", ("frog", "toad"), {"jump": ("FrogArmature|Frog_Jump", 1.0)}, "FrogArmature|Frog_Idle"),
    Rig("Leela.glb", ("robot", "mech"), _ROBOT, "Idle", stride=0.226),
    Rig("Dolphin.glb", ("dolphin", "whale"), {"swim": ("Armature|Swim", 1.0)}, gain=1.5),
    Rig("Shark.glb", ("shark", "fish"), {"swim": ("Armature|Swim", 1.0)}, gain=2.0),
)

BUILDERS: dict[str, Callable[[torch.Generator, int], ProceduralBody]] = {
    "quadruped": quadruped,
    "biped": biped,
    "bird": bird,
    "fish": fish,
}
PROCEDURAL_VERBS = {
    "quadruped": ("walk", "run", "jump", "eat", "nod"),
    "biped": ("walk", "run", "jump", "wave", "nod"),
    "bird": ("fly",),
    "fish": ("swim",),
}
CYCLES = {"walk": 1.0, "run": 2.0, "fly": 1.5, "swim": 1.0}
"""Cycles of a procedural motion in a clip; motions that are not here run through once."""

SHARES = {
    "walk": 0.32,
    "jump": 0.2,
    "eat": 0.13,
    "nod": 0.05,
    "swim": 0.12,
    "fly": 0.1,
    "static": 0.08,
}
"""How often a verb is drawn: walking is the hard one. Running, waving and dancing wait for a larger prior."""


@lru_cache(maxsize=32)
def rigged_file(name: str) -> RiggedFile:
    """A shipped rigged file, read once."""
    return read_rigged(asset_path("rigged", name))


def rigged_clip(rig: Rig, verb: str, num_frames: int, num_gaussians: int, generator: torch.Generator) -> Clip:
    """The clip of a shipped body for ``verb`` ("static": the rest pose repeated), entered from the rest pose."""
    file = rigged_file(rig.file)
    rest = file.bind_local if rig.rest is None else file.pose(rig.rest, torch.zeros(1))
    body = file.body(rest, num_gaussians, generator)
    if verb == "static":
        return body.animate(rest.repeat(num_frames))
    name, cycles = rig.verbs[verb]
    seconds = file.clip_seconds(name)
    start = rig.stride if verb == "walk" else 0.0
    cycle = start + torch.linspace(0.0, cycles, num_frames)
    cycle = cycle % 1.0 if start else cycle % (1.0 + 1e-4)  # a motion that runs through once ends in its last pose
    return body.from_rest(file.pose(name, cycle * seconds), gain=rig.gain)


def procedural_clip(kind: str, verb: str, num_frames: int, num_gaussians: int, generator: torch.Generator) -> Clip:
    """A random body of ``kind`` making ``verb``, entered from the rest pose."""
    body = BUILDERS[kind](generator, num_gaussians)
    if verb == "static":
        return body.body.animate(body.body.rest.repeat(num_frames))
    amplitude = 0.8 + 0.4 * float(torch.rand((), generator=generator))
    phase = torch.linspace(0.0, CYCLES.get(verb, 1.0), num_frames)
    return body.body.from_rest(body.pose(verb, phase, amplitude))


def sample_training_clips(generator: torch.Generator, count: int, num_frames: int) -> Iterator[Clip]:
    """``count`` captioned clips of random bodies, verbs, looks and proportions."""
    verbs = list(SHARES)
    shares = torch.tensor([SHARES[verb] for verb in verbs])
    for _ in range(count):
        verb = verbs[int(torch.multinomial(shares, 1, generator=generator))]
        rigs = [rig for rig in RIGS if verb == "static" or verb in rig.verbs]
        kinds = [kind for kind in BUILDERS if verb == "static" or verb in PROCEDURAL_VERBS[kind]]
        size = int(torch.randint(*NUM_GAUSSIANS, (), generator=generator))
        use_rig = bool(rigs) and (not kinds or float(torch.rand((), generator=generator)) < 0.6)
        if use_rig:
            rig = _pick(rigs, generator)
            clip, nouns = rigged_clip(rig, verb, num_frames, size, generator), rig.nouns
        else:
            kind = _pick(kinds, generator)
            clip, nouns = procedural_clip(kind, verb, num_frames, size, generator), NOUNS[kind]
        yield replace(
            _vary(clip, generator, recolor=use_rig), caption=caption(verb, _pick(nouns, generator), generator)
        )


def caption(verb: str, noun: str, generator: torch.Generator) -> str:
    """A sentence that says ``noun`` does ``verb``, in one of several wordings."""
    if verb == "static":
        return _pick(STATIC_SENTENCES, generator).format(noun=noun)
    third, participle = INFLECTIONS[verb]
    if verb in SYNONYMS and float(torch.rand((), generator=generator)) < 0.25:
        _, third, participle = SYNONYMS[verb]
    if float(torch.rand((), generator=generator)) < 0.3:
        noun = f"{_pick(ADJECTIVES, generator)} {noun}"
    wordings = (
        "a {participle} {noun}",
        "a {noun} {third}",
        "a {noun} is {participle}",
        "the {noun} {third}",
        "a {noun} {participle}",
    )
    return _pick(wordings, generator).format(noun=noun, third=third, participle=participle)


def vocabulary() -> list[str]:
    """Every word that a caption can contain."""
    sentences = [" ".join((verb, *forms)) for verb, forms in INFLECTIONS.items()]
    sentences += [" ".join(forms) for forms in SYNONYMS.values()]
    sentences += [sentence.format(noun="") for sentence in STATIC_SENTENCES]
    sentences += [" ".join(ADJECTIVES), "a an the is are"]
    sentences += [" ".join(nouns) for nouns in NOUNS.values()] + [" ".join(rig.nouns) for rig in RIGS]
    return sorted({word.strip(",.") for sentence in sentences for word in sentence.split()})


def _vary(clip: Clip, generator: torch.Generator, *, recolor: bool) -> Clip:
    """Other proportions, and for shipped bodies other colours."""
    stretch = 0.85 + 0.3 * torch.rand(3, generator=generator)
    sh = clip.gaussians.sh
    if recolor:
        rgb = sh0_to_rgb(sh[:, 0])
        gain = 0.7 + 0.8 * torch.rand(3, generator=generator)
        sh = rgb_to_sh0((rgb ** (0.6 + 0.6 * float(torch.rand((), generator=generator))) * gain).clamp(0.0, 1.0))[
            :, None
        ]
    gaussians = replace(clip.gaussians, means=clip.gaussians.means * stretch, sh=sh)
    return replace(clip, gaussians=gaussians, means=clip.means * stretch)


def _pick(options, generator: torch.Generator):  # type: ignore[no-untyped-def]
    return options[int(torch.randint(0, len(options), (), generator=generator))]
