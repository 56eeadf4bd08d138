"""Clips for those who have none: upright bodies take what their family does not do from a family that does it.

What no body of a family does in training hardly carries over to it otherwise: a person waves only if people wave.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from stages.skeletons.skeleton import Pose
from stages.training.point_bank import Motion, TrainingBody
from stages.zoo.retarget import Retargeting, Upright
from stages.zoo.trajectories import clip_poses

KINDS = ("biped",)
"""Of bodies that borrow and lend."""


def with_borrowed(bodies: Sequence[TrainingBody]) -> list[TrainingBody]:
    """``bodies``, those with the bones of a person with more motions: of each verb that none of their family makes, the
    clips of the family in which most such bodies make it. The manner stays the lender's."""
    upright = {
        body.name: found for body in bodies if body.kind in KINDS and (found := Upright.of(body.file, body.rest()))
    }
    makes: dict[str, dict[str, list[TrainingBody]]] = defaultdict(lambda: defaultdict(list))  # verb, family
    for body in bodies:
        if body.name in upright:
            for verb in {motion.verb for motion in body.motions}:
                makes[verb][_family(body)].append(body)
    lenders = {verb: max(families.values(), key=len)[0] for verb, families in makes.items()}

    def more(body: TrainingBody) -> tuple[Motion, ...]:
        if body.name not in upright:
            return ()
        return tuple(
            _borrowed(motion, upright[lender.name], upright[body.name])
            for verb, lender in sorted(lenders.items())
            if _family(body) not in makes[verb]
            for motion in lender.motions
            if motion.verb == verb
        )

    return [replace(body, motions=body.motions + more(body)) for body in bodies]


def _family(body: TrainingBody) -> str:
    return body.motions[0].manner.partition("/")[0]


def _borrowed(motion: Motion, lender: Upright, body: Upright) -> Motion:
    carried = Retargeting(lender, body)

    def poses(times: Tensor, phase: float) -> Pose:
        return carried(clip_poses(lender.file, motion.clip, times, motion.cyclic, phase))

    return replace(motion, poses=poses)
