"""MSD, SDS and match on the exact prior of points, several seeds: ``python -m tests.bench.bench_exact_points``.

Its last line is JSON: of each objective the median ratio (the distance of the distilled motion to the nearest-phase
true clip over that of the static asset), the ratios, and the seconds of one run; and of MSD without one part each.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from statistics import median
from typing import Any

from stages.settings import with_settings
from tests.bench.exact_points import build_points_world, distil_points, exact_points_config
from tests.bench.record import finish

SEEDS = range(5)
VARIANTS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "msd": ("msd", {}),
    "sds": ("sds", {}),
    "sds at guidance 7.5": ("sds", {"score.guidance": 7.5}),
    "match": ("match", {}),
    "msd, random noise": ("msd", {"score.inversion_steps": 0, "score.start_noise": "fresh", "score.own_noise": True}),
    "msd, one inversion step": ("msd", {"score.inversion_steps": 1}),
    "msd, no static branch": ("msd", {"score.static_branch": "none", "score.own_noise": True}),
    "msd, ARAP": ("msd", {"regularizers.arap_weight": 1.0}),
    "msd, HexPlane": ("msd", {"motion.kind": "hexplane", "motion.hexplane.still_start": 0.0, "learning_rate": 1e-2}),
}


def main() -> None:
    """Run every variant on every seed."""
    ratios: dict[str, list[float]] = {name: [] for name in VARIANTS}
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for seed in SEEDS:
        world = build_points_world(seed)
        for name, (objective, changed) in VARIANTS.items():
            config = replace(with_settings(exact_points_config(objective), changed), seed=seed)
            start = time.perf_counter()
            ratios[name].append(round(distil_points(world, config), 4))
            seconds[name].append(round(time.perf_counter() - start, 2))
            print(f"seed {seed}  {name:24s} ratio {ratios[name][-1]:.3f}  {seconds[name][-1]:.1f} s", flush=True)
    finish(
        "exact_points",
        {
            "ratio_median": {name: median(found) for name, found in ratios.items()},
            "seconds_median": {name: median(found) for name, found in seconds.items()},
            "ratios": ratios,
            "bank": 32,
            "steps": exact_points_config().steps,
        },
        "make bench-exact-points",
    )


if __name__ == "__main__":
    main()
