"""Captioned clips: which body makes which motion, how it looks and what sentence says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from stages.assets import asset_path
from stages.gaussians import Frames
from stages.gaussians.sh import rgb_to_sh0, sh0_to_rgb
from stages.skeletons.rigged import RiggedFile, read_rigged
from stages.skeletons.skeleton import Body, Pose
from stages.zoo.builder import ProceduralBody
from stages.zoo.captions import PACES, caption, pick, uniform
from stages.zoo.clip import Clip
from stages.zoo.rigs import Rig, rigs
from stages.zoo.walkers import biped, quadruped, theropod
from stages.zoo.waves import bird, fish, flag, insect, plant, snake

NUM_GAUSSIANS = (1000, 1800)
"""Range of Gaussians in a training body: about one a pixel at 64 px."""

_NOUNS = {
    "quadruped": "animal horse goat cow sheep dog cat deer wolf fox donkey lion",
    "biped": "person man woman robot toy child monster character doll knight",
    "theropod": "dinosaur raptor tyrannosaurus hen ostrich monster kangaroo",
    "bird": "bird eagle crow seagull parrot duck bat butterfly dragon",
    "insect": "insect wasp bee fly mosquito beetle dragonfly",
    "fish": "fish carp trout salmon goldfish",
    "snake": "snake worm python lizard",
    "plant": "plant flower tree bush rose sunflower",
    "flag": "flag banner cloth sail",
}
NOUNS = {kind: tuple(nouns.split()) for kind, nouns in _NOUNS.items()}
"""What procedural bodies are called."""


BUILDERS: dict[str, Callable[[torch.Generator, int], ProceduralBody]] = {
    "quadruped": quadruped,
    "biped": biped,
    "theropod": theropod,
    "bird": bird,
    "insect": insect,
    "fish": fish,
    "snake": snake,
    "plant": plant,
    "flag": flag,
}
PROCEDURAL_VERBS = {
    "quadruped": ("walk", "run", "jump", "eat", "attack", "nod"),
    "biped": ("walk", "run", "jump", "attack", "dance", "wave", "nod"),
    "theropod": ("walk", "run", "jump", "attack", "eat", "nod"),
    "bird": ("fly", "attack"),
    "insect": ("fly", "attack"),
    "fish": ("swim", "attack"),
    "snake": ("slither", "attack"),
    "plant": ("sway",),
    "flag": ("sway",),
}
CYCLES = {"run": 2.0, "fly": 1.5}
"""Cycles of a procedural motion in a clip; others run through once."""

CYCLIC = ("walk", "run", "swim", "fly", "slither", "sway")
"""Motions that may be fast or slow, and that may begin in any pose, if the picture shows that pose."""

SHARES = {
    "walk": 0.2,
    "run": 0.11,
    "jump": 0.11,
    "eat": 0.07,
    "attack": 0.11,
    "swim": 0.08,
    "fly": 0.09,
    "dance": 0.06,
    "wave": 0.05,
    "nod": 0.03,
    "slither": 0.025,
    "sway": 0.025,
    "idle": 0.01,
    "static": 0.03,
}
"""How often a verb is drawn: walking is the hard one."""

RIG_SHARE, MOVING_START, PACED = 0.45, 0.12, 0.15
"""How often a body is a shipped one, where a verb has some; a cyclic motion begins in the middle; is fast or slow."""


@dataclass(frozen=True)
class How:
    """The manner of a motion."""

    amplitude: float = 1.0
    pace: float = 1.0
    start: float = 0.0  # share of a cycle that has passed when the clip begins
    adverb: str = ""


PLAIN = How()


@lru_cache(maxsize=32)
def rigged_file(name: str, folder: str = "rigged") -> RiggedFile:
    """A shipped rigged file, read once."""
    return read_rigged(asset_path(folder, name))


def rigged_clip(
    rig: Rig, verb: str, num_frames: int, num_gaussians: int, generator: torch.Generator, how: How = PLAIN
) -> Frames:
    """A shipped body making ``verb`` ("static": the rest pose repeated), entered from the rest pose."""
    body, poses = rigged_motion(rig, verb, num_frames, num_gaussians, generator, how)
    return body.animate(poses)


def rigged_motion(
    rig: Rig, verb: str, num_frames: int, num_gaussians: int, generator: torch.Generator, how: How = PLAIN
) -> tuple[Body, Pose]:
    """The body of ``rigged_clip``, at rest as there, and its poses."""
    file = rigged_file(rig.file, rig.folder)
    rest = file.bind_local if rig.rest is None else file.pose(rig.rest, torch.zeros(1))
    body = file.body(rest, num_gaussians, generator)
    if verb == "static":
        return body, rest.repeat(num_frames)
    gait = rig.verbs[verb]
    cycle = gait.start + how.start + torch.linspace(0.0, gait.cycles * how.pace, num_frames)
    loops = verb in CYCLIC or gait.start
    cycle = cycle % 1.0 if loops else cycle % (1.0 + 1e-4)  # a motion that runs through once ends in its last pose
    motion = file.pose(gait.clip, cycle * file.clip_seconds(gait.clip))
    return _enter(body, motion, how, gain=rig.gain * how.amplitude)


def procedural_clip(
    kind: str, verb: str, num_frames: int, num_gaussians: int, generator: torch.Generator, how: How = PLAIN
) -> Frames:
    """A random body of ``kind`` making ``verb``, entered from the rest pose."""
    body = BUILDERS[kind](generator, num_gaussians)
    if verb == "static":
        return body.body.animate(body.body.rest.repeat(num_frames))
    phase = how.start + torch.linspace(0.0, CYCLES.get(verb, 1.0) * how.pace, num_frames)
    entered, poses = _enter(body.body, body.pose(verb, phase, how.amplitude), how)
    return entered.animate(poses)


def _enter(body: Body, motion: Pose, how: How, gain: float = 1.0) -> tuple[Body, Pose]:
    """From rest into ``motion``, or at once if it starts in the middle: then its first pose is what is at rest."""
    if not how.start:
        return body, body.enter(motion, gain=gain)
    motion = body.rest.repeat(motion.translations.shape[0]).blend(motion, torch.full((len(motion.scales),), gain))
    return body.standing(motion.frame(0)), motion


def sample_training_clips(
    generator: torch.Generator, count: int, num_frames: int, amplitudes: tuple[float, float] = (0.8, 1.2)
) -> Iterator[Clip]:
    """``count`` captioned clips of random bodies, verbs, looks and proportions."""
    verbs = list(SHARES)
    shares = torch.tensor([SHARES[verb] for verb in verbs])
    for _ in range(count):
        verb = verbs[int(torch.multinomial(shares, 1, generator=generator))]
        bodies = [rig for rig in rigs() if verb == "static" or verb in rig.verbs]
        kinds = [kind for kind in BUILDERS if verb == "static" or verb in PROCEDURAL_VERBS[kind]]
        size = int(torch.randint(*NUM_GAUSSIANS, (), generator=generator))
        use_rig = bool(bodies) and (not kinds or uniform(0.0, 1.0, generator) < RIG_SHARE)
        how = random_manner(verb, amplitudes, generator)
        if use_rig:
            rig = pick(bodies, generator)
            frames, nouns = rigged_clip(rig, verb, num_frames, size, generator, how), rig.nouns
        else:
            kind = pick(kinds, generator)
            frames, nouns = procedural_clip(kind, verb, num_frames, size, generator, how), NOUNS[kind]
        frames = vary(frames, generator, recolor=use_rig)
        yield Clip(frames, caption(verb, pick(nouns, generator), generator, how.adverb), verb)


def random_manner(verb: str, amplitudes: tuple[float, float], generator: torch.Generator) -> How:
    """Amplitude, and for cyclic motions now and then another pace, which the caption says, or a start in the middle."""
    how = replace(PLAIN, amplitude=uniform(*amplitudes, generator))
    if verb not in CYCLIC:
        return how
    if uniform(0.0, 1.0, generator) < MOVING_START:
        how = replace(how, start=uniform(0.05, 0.95, generator))
    if uniform(0.0, 1.0, generator) < PACED:
        adverb, pace = pick(list(PACES.items()), generator)
        how = replace(how, adverb=adverb, pace=pace)
    return how


def vary(frames: Frames, generator: torch.Generator, *, recolor: bool) -> Frames:
    """Other proportions, for shipped bodies other colours, and now and then stripes or spots."""
    stretch = 1.3 ** (2.0 * torch.rand(3, generator=generator) - 1.0)
    asset = frames.asset
    sh = asset.sh
    if recolor:
        rgb = sh0_to_rgb(sh[:, 0])
        gain = 0.7 + 0.8 * torch.rand(3, generator=generator)
        sh = rgb_to_sh0((rgb ** uniform(0.6, 1.2, generator) * gain).clamp(0.0, 1.0))[:, None]
    if uniform(0.0, 1.0, generator) < 0.3:
        sh = rgb_to_sh0(_patterned(sh0_to_rgb(sh[:, 0]), asset.means, generator))[:, None]
    return Frames(replace(asset, means=asset.means * stretch, sh=sh), frames.means * stretch)


def _patterned(rgb: Tensor, means: Tensor, generator: torch.Generator) -> Tensor:
    """Colours [N, 3] with stripes across a random axis of the body, or with spots, in a random second colour."""
    waves = 3.0 + 9.0 * torch.rand(3, generator=generator)
    height = torch.sin(waves * means + 6.28 * torch.rand(3, generator=generator))
    stripes = uniform(0.0, 1.0, generator) < 0.5
    axis = int(torch.randint(0, 3, (), generator=generator))
    share = ((height[:, axis] if stripes else height.prod(dim=1) * 2.0) * 6.0).sigmoid()[:, None]
    second = torch.rand(3, generator=generator) * uniform(0.3, 1.0, generator)
    strength = uniform(0.3, 0.9, generator)
    return (rgb + strength * share * (second - rgb)).clamp(0.0, 1.0)
