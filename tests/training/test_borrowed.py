"""Upright bodies take from each other what their own family does not do."""

from __future__ import annotations

import torch

from stages.training.borrowed import with_borrowed
from stages.training.point_bank import Examples, TrainingBody, rigged_example, training_bodies
from stages.zoo.bodies import read_bodies

FILES = ("man_Casual.glb", "man_Suit.glb", "plat_Character.glb", "khronos_Fox.glb")


def some() -> list[TrainingBody]:
    return training_bodies([entry for entry in read_bodies() if entry.file in FILES])


def test_people_wave_as_characters_do() -> None:
    before, after = ({body.name: body for body in bodies} for bodies in (some(), with_borrowed(some())))
    assert after["khronos_Fox.glb"].motions == before["khronos_Fox.glb"].motions
    waves = [motion for motion in after["man_Casual.glb"].motions if motion.verb == "wave"]
    assert [motion.manner for motion in waves] == ["characters/Wave"]
    own = {motion.verb for motion in before["man_Casual.glb"].motions}
    assert not [motion for motion in after["man_Casual.glb"].motions if motion.poses and motion.verb in own]
    man = after["man_Casual.glb"]
    moved = rigged_example(man, waves[0], False, man.rest(), 400, torch.Generator().manual_seed(0), vary=False)
    assert moved.displacements[..., 1].amax() > 0.4  # a hand: the body is 2 high
    assert torch.isfinite(moved.displacements).all() and float(moved.displacements[0].abs().max()) < 1e-3


def test_what_is_borrowed_makes_no_verb_count() -> None:
    own, more = (Examples(bodies, procedural=False, at_least=2) for bodies in (some(), with_borrowed(some())))
    assert own.verbs == more.verbs and own.left_out == more.left_out
    assert own.seconds == more.seconds and own.cyclic == more.cyclic
    assert {manner.name for manner in own.manners} <= {manner.name for manner in more.manners}
