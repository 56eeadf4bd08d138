"""MSD and SDS on the exact prior, several seeds: ``python -m tests.bench.bench_exact``.

Prints one JSON object as its last line: ``msd_ratio_median``, ``sds_ratio_median`` (distance of the distilled motion to
the nearest-phase true clip over that of the static asset), ``steps``, and everything a reader needs to judge them.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from tests.bench.exact import build_world, distil, exact_config, sds
from tests.bench.record import finish

SEEDS = range(5)


def main() -> None:
    """Run both objectives on every seed with the same budget."""
    config = exact_config()
    ratios: dict[str, list[float]] = {"msd": [], "sds": []}
    traces: dict[str, list[list[tuple[int, float]]]] = {"msd": [], "sds": []}
    for seed in SEEDS:
        seeded = replace(config, seed=seed)
        world = build_world(seeded)
        for name, settings in (("msd", seeded), ("sds", sds(seeded))):
            ratio, trace = distil(world, settings, every=100)
            ratios[name].append(round(ratio, 4))
            traces[name].append([(step, round(value, 4)) for step, value in trace])
            print(f"seed {seed}  {name}  ratio {ratio:.3f}", flush=True)
    finish(
        "exact",
        {
            "msd_ratio_median": median(ratios["msd"]),
            "sds_ratio_median": median(ratios["sds"]),
            "steps": config.steps,
            "msd_ratios": ratios["msd"],
            "sds_ratios": ratios["sds"],
            "traces": traces,
            "guidance": config.score.guidance,
            "inversion_steps": config.score.inversion_steps,
            "arap_weight": config.regularizers.arap_weight,
            "tv_weight": config.regularizers.tv_weight,
        },
    )


if __name__ == "__main__":
    main()
