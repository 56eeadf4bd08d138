"""A user's own animated ``.glb`` files as bodies for the points prior: a folder with ``captions.csv``
(``stages.zoo.folder`` says what stands in it)."""

from __future__ import annotations

from functools import partial

import torch

from stages.errors import BadInput
from stages.priors.words import understand
from stages.priors.words.lexicon import load_lexicon
from stages.priors.words.understanding import motion_names
from stages.skeletons.rigged import RiggedFile, read_rigged
from stages.training.point_bank import Motion, TrainingBody
from stages.zoo.body_measures import moves_away, posed, size
from stages.zoo.folder import TABLE, FolderClips, Line

CLOSES = 0.02
"""A clip repeats whose last frame is within this share of its body's size of the first, on average. [ours]"""


def own_bodies(clips: FolderClips) -> list[TrainingBody]:
    """The bodies of a folder, each with its clips. Raises ``BadInput``: a sentence names no motion."""
    found = []
    for name in dict.fromkeys(line.file for line in clips.lines()):
        lines = [line for line in clips.lines() if line.file == name]
        path = clips.folder / name
        file = read_rigged(path)
        motions = {line.clip: _motion(file, line, clips) for line in lines}
        rests = dict.fromkeys([*(f"{line.rest}@0" for line in lines if line.rest), "rest"])
        found.append(TrainingBody(name, "own", partial(read_rigged, path), tuple(rests), tuple(motions.values())))
    return found


def _motion(file: RiggedFile, line: Line, clips: FolderClips) -> Motion:
    seconds = file.clip_seconds(line.clip)
    frames = posed(file, file.pose(line.clip, torch.tensor([0.0, 0.5, 1.0]).double() * seconds))
    closes = float((frames[-1] - frames[0]).norm(dim=-1).mean()) < CLOSES * size(frames)
    travels = moves_away(frames, size(frames))
    return Motion(line.clip, _verb(line, clips), closes, seconds, f"{line.file}/{line.clip}", travels)


def _verb(line: Line, clips: FolderClips) -> str:
    """One word for the motion of a line: the lexicon's where it knows it, else the line's own."""
    lexicon = load_lexicon()
    if line.motion:
        return next(iter(motion_names([line.motion.lower()], lexicon)))
    verb = understand(line.caption, lexicon.motions).verb
    if verb is None:
        raise BadInput(
            f"{clips.folder / TABLE}: no word of {line.caption!r} names a motion.", "Say which: in the column motion."
        )
    return verb
