"""What each limb of a body is: legs stand on the ground, the head looks ahead or rises, a tail trails behind."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np

from stages.skeletons.limbs import Facing, Limb, mirror_pair, pairs, resampled, to_fork

Array = np.ndarray[Any, Any]

GROUND = 0.12
"""A foot is no higher than this share of the body's height."""
DROP = 0.15
"""A leg's foot is lower than where it starts by this share of the height."""
SHORT = 0.15
"""A stretch from which a pair of legs or ears hangs is part of these where it is shorter, over the diagonal."""
TALL = 0.2
"""Two legs lift the body by this share of its diagonal, and are steep; what does not is a pair of fins."""
CLOSE = 0.12
"""The tail of an animal lies this near to its middle plane, over the diagonal."""


def root_of(tree: nx.Graph, facing: Facing, low: float, high: float, diagonal: float) -> int:
    """Where the trunk's motion starts: between the back legs, the legs, or in the middle of the body."""
    ends = {}
    for leaf in [node for node in tree if tree.degree[node] == 1]:
        fork = to_fork(tree, leaf)[-1]
        if tree.degree[fork] > 2:
            ends[leaf] = fork
    lines = [(tree.nodes[fork]["at"], tree.nodes[leaf]["at"]) for leaf, fork in ends.items()]
    standing = _standing(lines, low, high, diagonal)
    legs = [
        (float(foot @ facing.forward), fork)
        for (_, foot), fork, is_leg in zip(lines, ends.values(), standing, strict=True)
        if is_leg
    ]
    forks = [node for node in tree if tree.degree[node] > 2]
    if len(legs) in (2, 4):
        hind = [fork for _, fork in sorted(legs)[:2]]
        between = [node for node in nx.shortest_path(tree, *hind) if node in forks]
        return min(between, key=lambda node: abs(facing.side(tree.nodes[node]["at"])))
    middle = _middle(tree)
    away = nx.single_source_shortest_path_length(tree, middle)
    return min(forks, key=lambda node: away[node]) if forks else middle


def _middle(tree: nx.Graph) -> int:
    """The node none of whose sides holds more than half of the body."""
    top = next(iter(tree))
    above = dict(nx.bfs_predecessors(tree, top))
    shares = dict(nx.get_node_attributes(tree, "share"))
    half = 0.5 * sum(shares.values())
    for node in nx.dfs_postorder_nodes(tree, top):
        if shares[node] >= half or node == top:
            return int(node)
        shares[above[node]] += shares[node]
    return int(top)


def _standing(lines: list[tuple[Array, Array]], low: float, high: float, diagonal: float) -> list[bool]:
    """Which of the limbs with these starts and tips stand on the ground."""
    height = high - low
    legs = [tip[1] - low < GROUND * height and start[1] - tip[1] > DROP * height for start, tip in lines]
    if sum(legs) == 2:
        for leg, (start, tip) in zip(legs, lines, strict=True):
            drop, level = start[1] - tip[1], float(np.hypot(*(tip - start)[[0, 2]]))
            if leg and (drop < TALL * diagonal or drop < level):
                return [False] * len(legs)
    return legs


def give_roles(limbs: list[Limb], facing: Facing, diagonal: float, low: float, high: float) -> None:
    """Say of each limb what it is, and make pairs symmetric where the body is."""
    tips = [limb for limb in limbs if limb.tip]
    standing = _standing([(limb.line[0], limb.line[-1]) for limb in tips], low, high, diagonal)
    legs = [limb for limb, is_leg in zip(tips, standing, strict=True) if is_leg]
    leg_pairs = _leg_pairs(legs, facing)
    rest = [limb for limb in tips if not any(limb in pair for pair in leg_pairs)]
    main = _to_head(limbs, rest, facing, diagonal, upright=len(leg_pairs) == 1)
    _dissolve(limbs, main, SHORT * diagonal)
    rest = [limb for limb in rest if limb not in main]
    tail = _tail(limbs, rest, facing, diagonal)
    rest = [limb for limb in rest if limb is not tail]
    others = _ears(rest, main) + pairs(rest, facing, diagonal)
    for number, pair in enumerate(leg_pairs, start=1):
        _name_pair(pair, "leg", number if len(leg_pairs) > 2 else 0)
        if len(leg_pairs) == 2:
            pair[0].place = pair[1].place = ("front", "back")[number - 1]
    _name_others(others, main, legs=len(leg_pairs))
    trail = [limb for limb in _path_to(tail, limbs) if limb not in main] if tail is not None else []
    for limb in trail:
        limb.role = "tail"
    _name_main(main, [*leg_pairs, *others])
    if leg_pairs:  # what stands on legs is known well enough to tell a bump from a limb
        limbs[:] = [limb for limb in limbs if limb.role or not limb.tip or limb.length > SHORT * diagonal]
    number = 0
    for limb in limbs:
        if not limb.role:
            number += 1
            limb.role, limb.number = "limb", number
    if facing.symmetric:
        for left, right in [*leg_pairs, *others]:
            if left.start == right.start:
                mirror_pair(left, right, facing)
        for limb in [*main, *trail]:
            limb.line = facing.flattened(limb.line)


def _leg_pairs(legs: list[Limb], facing: Facing) -> list[tuple[Limb, Limb]]:
    """Legs two by two from the front, the left one first; none where they are not even."""
    if len(legs) % 2:
        return pairs(legs, facing, float(np.ptp([leg.line[-1] for leg in legs], axis=0).max() * 2.0))
    ahead = sorted(legs, key=lambda leg: -float(leg.line[-1] @ facing.forward))
    found = []
    for one, other in zip(ahead[::2], ahead[1::2], strict=True):
        left, right = sorted((one, other), key=lambda leg: -facing.side(leg.line[-1]))
        found.append((left, right))
    return found


def _to_head(limbs: list[Limb], tips: list[Limb], facing: Facing, diagonal: float, upright: bool) -> list[Limb]:
    """The limbs from the root to the head's tip; where nothing looks like a head, none."""
    origin = limbs[0].line[0]

    def ahead(limb: Limb) -> float:
        away = (limb.line[-1] - origin) / diagonal
        level = float(away @ facing.forward)
        return (float(away[1]) if upright else level + 0.15 * float(away[1])) - abs(
            facing.side(limb.line[-1])
        ) / diagonal

    if not tips:
        return [limb for limb in limbs if not limb.tip][:1]
    best = max(tips, key=ahead)
    if ahead(best) <= 0.0:
        best = max(tips, key=lambda limb: limb.length)
    return _path_to(_snout(best, tips, diagonal), limbs)


def _path_to(limb: Limb, limbs: list[Limb]) -> list[Limb]:
    """The limbs from the root to the end of one of them."""
    path = [limb]
    while path[0].start != limbs[0].start:
        path.insert(0, next(limb for limb in limbs if limb.end == path[0].start))
    return path


def _snout(best: Limb, tips: list[Limb], diagonal: float) -> Limb:
    """Of three limbs that start where ``best`` does, the one of which the others, the ears, lie left and right."""
    three = [limb for limb in tips if limb.start == best.start]
    if len(three) != 3:
        return best

    def miss(limb: Limb) -> float:
        ahead, one, other = (
            each.line[-1] - each.line[0] for each in (limb, *(each for each in three if each is not limb))
        )
        left = np.cross([0.0, 1.0, 0.0], ahead)
        left = left / max(float(np.linalg.norm(left)), 1e-12)
        return float(np.linalg.norm(one - 2.0 * (one @ left) * left - other)) + abs(float(one @ left + other @ left))

    found = min(three, key=miss)
    return found if miss(found) < CLOSE * diagonal else best


def _dissolve(limbs: list[Limb], main: list[Limb], most: float) -> None:
    """Let limbs that hang on the trunk by a short stretch of their own start at the trunk."""
    for stretch in [limb for limb in limbs if not limb.tip and limb not in main and limb.length < most]:
        for limb in limbs:
            if limb.start == stretch.end:
                limb.start, limb.radius = stretch.start, stretch.radius
                limb.line = resampled(np.concatenate([stretch.line, limb.line[1:]]))
        limbs.remove(stretch)


def _ears(tips: list[Limb], main: list[Limb]) -> list[tuple[Limb, Limb]]:
    """The two limbs that start with the head's own stretch, left and right of it, wherever it looks; taken out of
    ``tips``."""
    if len(main) < 2:
        return []
    found = [limb for limb in tips if limb.start == main[-1].start]
    head = main[-1].line[-1] - main[-1].line[0]
    left = np.cross([0.0, 1.0, 0.0], head)
    sides = sorted(((float((limb.line[-1] - main[-1].line[0]) @ left), limb) for limb in found), key=lambda s: -s[0])
    if len(sides) != 2 or not sides[0][0] > 0.0 > sides[1][0]:
        return []
    tips[:] = [limb for limb in tips if limb not in found]
    return [(sides[0][1], sides[1][1])]


def _tail(limbs: list[Limb], tips: list[Limb], facing: Facing, diagonal: float) -> Limb | None:
    """What trails behind the root, in the middle."""
    origin = limbs[0].line[0]
    behind = [
        limb
        for limb in tips
        if abs(facing.side(limb.line[-1])) < CLOSE * diagonal
        and float((limb.line[-1] - origin) @ facing.forward) < -0.05 * diagonal
    ]
    return min(behind, key=lambda limb: float(limb.line[-1] @ facing.forward), default=None)


def _name_pair(pair: tuple[Limb, Limb], role: str, number: int) -> None:
    """Say of a pair, the left one first, what it is."""
    for limb, side in zip(pair, (1, -1), strict=True):
        limb.role, limb.pair, limb.number = role, side, number


def _name_others(others: list[tuple[Limb, Limb]], main: list[Limb], legs: int) -> None:
    """Arms of who has two legs; ears, horns and the like of what the head's own stretch starts with."""
    ahead = main[-1].start if len(main) > 1 else None
    found: dict[str, list[tuple[Limb, Limb]]] = {"arm": [], "ear": [], "limb": []}
    for pair in sorted(others, key=lambda pair: -pair[0].length):
        if legs == 1 and not found["arm"]:
            found["arm"].append(pair)
        else:
            found["ear" if legs and pair[0].start == pair[1].start == ahead else "limb"].append(pair)
    for role, of_role in found.items():
        for number, pair in enumerate(of_role, start=1):
            _name_pair(pair, role, number if len(of_role) > 1 else 0)


def _name_main(main: list[Limb], found: list[tuple[Limb, Limb]]) -> None:
    """The trunk is a spine as far as the last legs or arms; then come neck and head."""
    holds = {limb.start for pair in found for limb in pair if limb.role in ("leg", "arm", "limb") and limb.pair}
    spine = max((k + 1 for k, limb in enumerate(main) if limb.end in holds), default=0)
    if len(main) > 1:
        spine = max(spine, 1)
    for k, limb in enumerate(main):
        limb.role = "spine" if k < spine or not found else "neck"
    if main and main[-1].tip and found:
        last = main[-1]
        last.role = "head"
        last.number = 2 if len(main) == 1 else 1 if spine == len(main) - 1 else 0
