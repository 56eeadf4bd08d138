"""The papers' ablations by name: what each takes away, and what the paper says that this does.

``VARIANTS`` are those of Animus3D, and of ours, for motions of any kind; ``SKELETON`` are those of AKD (section 6.5),
for a motion of bones over a ground; ``VIEWS`` those of Animate3D, which follows videos of several views. The papers
show them as pictures and give no settings; how each is done here is [ours], and stands in ``summary``. ``claims`` name
the figures of ``eval`` in which the effect would show, and which way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from stages.errors import BadInput


@dataclass(frozen=True)
class Claim:
    """An ordering: without the part, ``metric`` lies ``direction`` of the full method's."""

    metric: str
    direction: Literal["lower", "higher"]
    text: str


@dataclass(frozen=True)
class Variant:
    """The full method but for one part."""

    name: str
    summary: str
    settings: Mapping[str, Any] = field(default_factory=dict)  # of distill; of following videos, where a study does
    claims: Sequence[Claim] = ()
    refined: bool = False  # refine runs after distill
    physics: bool = True  # a simulated body follows the bones, where the study has physics
    sees: Literal["", "points", "video"] = ""  # the kind of prior that it is for; any
    together: bool = True  # views of a sample are drawn together, where a study follows videos
    clean: bool = True  # 4D-SDS comes after matching, where a study follows videos


FULL = "full"
"""The method as the preset has it, which every other variant is compared with."""

_RANDOM_NOISE = {"score.inversion_steps": 0, "score.start_noise": "fresh", "score.own_noise": True}

VARIANTS = (
    Variant(FULL, "the method as the preset has it"),
    Variant(
        "sds-7.5",
        "score distillation at guidance 7.5",
        {"score.objective": "sds", "score.guidance": 7.5},
        [Claim("motion_amplitude", "lower", "plain SDS at guidance 7.5 hardly moves")],
    ),
    Variant(
        "sds-100",
        "score distillation at guidance 100",
        {"score.objective": "sds", "score.guidance": 100.0},
        [Claim("neighbour_distance_change", "higher", "plain SDS at guidance 100 distorts")],
    ),
    Variant(
        "no-faithful-noise",
        "random noise, drawn in every step, instead of inverted",
        _RANDOM_NOISE,
        [
            Claim("off_object_alpha", "higher", "without faithful noise backgrounds appear"),
            Claim("colour_drift", "higher", "without faithful noise appearance drifts"),
        ],
    ),
    Variant(
        "no-dual-distribution",
        "the inverted noise itself instead of the static branch's prediction is subtracted",
        {"score.static_branch": "none", "score.own_noise": True},
        [Claim("motion_amplitude", "lower", "without the dual distribution there is little motion")],
    ),
    Variant(
        "static-prompt",
        "the static branch is the plain model under the static prompt, without the LoRA",
        {"score.static_branch": "prompt"},
        [
            Claim("motion_amplitude", "lower", "a static prompt instead of the LoRA leaks motion"),
            Claim("neighbour_distance_change", "higher", "a static prompt instead of the LoRA distorts"),
        ],
    ),
    Variant(
        "no-tv",
        "without TV-3D",
        {"regularizers.tv_weight": 0.0},
        [Claim("jerk", "higher", "without TV-3D frames jump")],
        sees="video",
    ),
    Variant(
        "no-arap",
        "without ARAP",
        {"regularizers.arap_weight": 0.0},
        [Claim("neighbour_distance_change", "higher", "without ARAP the body breaks")],
        sees="video",
    ),
    Variant(
        "arap", "with ARAP, which paths of points do without [ours]", {"regularizers.arap_weight": 1.0}, sees="points"
    ),
    Variant(
        "hexplane",
        "a HexPlane field instead of paths of points [ours]",
        {"motion.kind": "hexplane", "motion.hexplane.still_start": 0.0, "learning_rate": 1e-2},
        sees="points",
    ),
    Variant(
        "match",
        "a sample of the prior is followed, and nothing is scored [ours]",
        {"score.weight": 0.0, "match.weight": 1.0, "regularizers.arap_weight": 5.0, "learning_rate": 0.1, "steps": 80},
        sees="points",
    ),
    Variant("refined", "the full method, then refine", refined=True),
    Variant(
        "no-flow", "the score alone, without the embedded prior's flow [ours]", {"pixel_flow.weight": 0.0}, sees="video"
    ),
    Variant(
        "no-score", "the embedded prior's flow alone, without the score [ours]", {"score.weight": 0.0}, sees="video"
    ),
)
"""In the paper's order, and what is ours."""

SKELETON = (
    Variant(
        "no-ground",
        "the prior sees no ground, and nothing keeps the bones above it",
        {"views.ground": False},
        [
            Claim("floating", "higher", "without a ground in sight the body floats"),
            Claim("foot_slide", "higher", "without a ground in sight feet slide"),
        ],
        sees="video",
    ),
    Variant(
        "no-ground-penalty",
        "nothing keeps the bones above the ground",
        {"regularizers.ground_weight": 0.0},
        [Claim("penetration", "higher", "without the ground penalty the body sinks in")],
    ),
    Variant(
        "no-smoothness",
        "controls need not be smooth in time",
        {"regularizers.smooth_weight": 0.0},
        [Claim("jerk", "higher", "without smoothness the motion jitters")],
    ),
    Variant(
        "no-physics",
        "the distilled motion itself, which no simulated body follows",
        claims=[
            Claim("foot_slide", "higher", "without physics feet slide"),
            Claim("penetration", "higher", "without physics the body sinks in"),
            Claim("floating", "higher", "without physics the body floats"),
        ],
        physics=False,
    ),
    Variant(
        "field-instead-of-skeleton",
        "a HexPlane field instead of bones",
        {"motion.kind": "hexplane", "motion.hexplane.still_start": 0.0, "learning_rate": 1e-2},
        [
            Claim("neighbour_distance_change", "higher", "a field instead of bones does not keep its shape"),
            Claim("penetration", "higher", "a field instead of bones sinks in"),
            Claim("judge", "lower", "a field instead of bones moves less as the sentence says"),
        ],
    ),
    Variant(
        "points-instead-of-skeleton",
        "paths of points instead of bones [ours]",
        {"motion.kind": "points", "learning_rate": 1e-1},
        sees="points",
    ),
)
"""What AKD adds, one part at a time. ``judge`` is none of ``eval``'s figures: the judge of motions belongs to the
benchmarks."""

VIEWS = (
    Variant(
        "no-4d-sds",
        "the match alone, without 4D-SDS after it",
        claims=[
            Claim("view_agreement", "higher", "without 4D-SDS renders are farther from the sampled views"),
            Claim("trajectory_ratio", "higher", "without 4D-SDS the motion is farther from the true one"),
        ],
        clean=False,
    ),
    Variant(
        "no-arap-in-match",
        "without ARAP while videos are matched",
        {"regularizers.arap_weight": 0.0},
        [Claim("neighbour_distance_change", "higher", "without ARAP the body breaks")],
    ),
    Variant(
        "single-view",
        "as many views, each drawn without the others",
        claims=[
            Claim("view_agreement", "higher", "views that are drawn alone cannot all be followed"),
            Claim("trajectory_ratio", "higher", "views that are drawn alone lead farther from the true motion"),
        ],
        together=False,
    ),
)
"""What Animate3D's ablations take away (its Table 3b); claims in figures of ``eval`` are [ours]."""

NAMES = tuple(variant.name for variant in (*VARIANTS, *SKELETON, *VIEWS))


def names_for(points: bool, *, skeleton: bool = False, views: bool = False) -> list[str]:
    """The names of the variants for priors that see points, or make videos; of a motion of bones, or of another; of a
    study that follows ``views``."""
    if views:
        return [variant.name for variant in (VARIANTS[0], *VIEWS)]
    suiting = (VARIANTS[0], *SKELETON) if skeleton else VARIANTS
    return [variant.name for variant in suiting if variant.sees in ("", "points" if points else "video")]


def chosen(names: Sequence[str]) -> list[Variant]:
    """The variants of these names, the full method first. Raises ``BadInput`` for a name that none has."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise BadInput(f"There is no variant {unknown[0]!r}.", f"Choose from: {', '.join(NAMES)}.")
    return [variant for variant in (*VARIANTS, *SKELETON, *VIEWS) if variant.name in {FULL, *names}]
