"""What makes a video a bad guide: the object leaves the picture, it is cut, the camera moves. Said with the frame."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from stages.errors import BadInput
from stages.events import Caution, Report
from stages.guides.guide import Guide
from stages.guides.pixel_flow import consistency, pixel_flow

LEAVES = 0.1
"""Of the square root of the object's area: how much of the border it may cover. [ours]"""

JUMP, JUMP_USUAL = 0.08, 3.0
"""A cut changes the object's pixels by this much on average, and so many times as much as the median step. [ours]"""

FOLLOWED = 0.35
"""Share of the object that pixel flow follows over a step that is no cut. [ours]"""

ZOOM = 0.2
"""Relative change of the object's size, all of it alike, that looks like a camera that zooms: walks and runs on the
spot reach .15. [ours]"""

PAIRS = 2000
SHIFT = 0.03
"""Of the shorter side: how far a background may move before it is told. [ours]"""


def find_faults(guide: Guide, frames: Tensor, numbers: list[int], report: Report) -> None:
    """Tell what is wrong with ``guide``.

    Args:
        frames: [T, H, W, 3] the same with what was behind the object in the video.
        numbers: of the frames in the video, for the person.

    Raises:
        BadInput: the video is cut.
    """
    leaves = [number for number, mask in zip(numbers, guide.mask, strict=True) if _touches(mask)]
    if leaves:
        report(Caution(f"The object leaves the picture in {_spans(leaves)} of the video: what is not seen is guessed."))
    forward, backward = pixel_flow(guide.rgb)
    cut = find_cut(guide.rgb, guide.mask, forward, backward)
    if cut is not None:
        raise BadInput(
            f"The video is cut between its frames {numbers[cut - 1]} and {numbers[cut]}.",
            "Give only the part before, or after, the cut.",
        )
    moved = background_shift(frames, guide.mask)
    limit = SHIFT * min(guide.camera.width, guide.camera.height)
    far = next((index for index, shift in enumerate(moved) if float(shift.norm()) > limit), None)
    if far is not None:
        report(
            Caution(
                f"The camera moves: by frame {numbers[far]} the background has gone {moved[far].norm():.0f} pixels."
            )
        )
        return
    for index, size in enumerate(sizes(guide.mask, forward, backward)):
        if abs(float(size) - 1.0) > ZOOM:
            report(
                Caution(
                    f"All of the object is {float(size):.2f} times as large by frame {numbers[index]}: if the camera "
                    "came nearer, ask for a video with a static camera."
                )
            )
            return


def find_cut(rgb: Tensor, mask: Tensor, forward: Tensor, backward: Tensor) -> int | None:
    """The first frame after a cut, None where there is none: many pixels change, and pixel flow does not follow.

    Args:
        rgb: [T, H, W, 3]; mask: [T, H, W]; forward, backward: their pixel flow, [T - 1, H, W, 2].
    """
    changes = []
    for (a, b), (m, n) in zip(pairwise(rgb), pairwise(mask), strict=True):
        either = torch.maximum(m, n)
        changes.append(float(((a - b).abs().mean(dim=-1) * either).sum() / either.sum().clamp(min=1.0)))
    if not changes:
        return None
    usual = float(torch.tensor(changes).median())
    for step, change in enumerate(changes):
        if change < JUMP or change < JUMP_USUAL * usual:
            continue
        sure = consistency(forward[step], backward[step]) > 0.5
        followed = float((sure * mask[step]).sum() / mask[step].sum().clamp(min=1.0))
        if followed < FOLLOWED:
            return step + 1
    return None


def background_shift(frames: Tensor, mask: Tensor) -> Tensor:
    """How far the background of ``frames`` [T, H, W, 3] has gone since the first, in pixels, [T, 2]: nothing where it
    has no texture to see it by."""
    total = torch.zeros(len(frames), 2)
    behind = mask < 0.05
    texture = frames.mean(dim=-1).diff(dim=1)[:, :, :-1].abs() + frames.mean(dim=-1).diff(dim=2)[:, :-1].abs()
    seen = behind[:, :-1, :-1] & (texture > 0.04)
    if int(seen[0].sum()) < 0.02 * seen[0].numel():
        return total
    forward, _ = pixel_flow(frames)
    for step, flow in enumerate(forward):
        here = seen[step] & behind[step + 1, :-1, :-1]
        if bool(here.any()):
            total[step + 1] = total[step] + flow[:-1, :-1][here].median(dim=0).values.cpu()
        else:
            total[step + 1] = total[step]
    return total


def sizes(mask: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
    """How large all of the object is in every frame, relative to the first, [T].

    Of each step it is the median ratio of the distances of pairs of pixels after and before, as in the tracker of Kalal
    et al. (2010, "Forward-Backward Error", section 3): limbs that move do not count. Pairs beside and above each other
    are taken apart, and the one that changes less is taken: a body that turns gets narrower, not lower.
    """
    found = torch.ones(2, len(mask))
    generator = torch.Generator().manual_seed(0)
    for step in range(len(mask) - 1):
        sure = (mask[step] > 0.9) & (consistency(forward[step], backward[step]) > 0.5)
        places = sure.nonzero().flip(-1).float()  # (x, y)
        found[:, step + 1] = found[:, step]
        if len(places) < 50:
            continue
        moves = forward[step][sure].cpu()
        some, others = torch.randint(len(places), (2, PAIRS), generator=generator)
        before = places[some] - places[others]
        after = before + moves[some] - moves[others]
        reach = before.abs().amax(dim=0)
        for axis in (0, 1):
            far = before[:, axis].abs() > 0.3 * reach[axis]
            found[axis, step + 1] *= (after[far, axis] / before[far, axis]).median()
    x, y = found
    same_way = (x - 1.0) * (y - 1.0) > 0
    return torch.where(same_way, torch.where((x - 1.0).abs() < (y - 1.0).abs(), x, y), 1.0)


def _touches(mask: Tensor) -> bool:
    """Whether more than a little of the border of the picture is covered by the object, [H, W]."""
    border = torch.cat([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return float(border.sum()) > LEAVES * float(mask.sum().sqrt())


def _spans(numbers: list[int]) -> str:
    """ "frame 3" or "frames 3 to 7" or "frames 3 to 9, with gaps"."""
    first, last = numbers[0], numbers[-1]
    if first == last:
        return f"frame {first}"
    return f"frames {first} to {last}" + ("" if last - first + 1 == len(numbers) else ", not in all")
