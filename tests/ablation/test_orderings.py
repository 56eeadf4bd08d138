"""Means, intervals and verdicts: on numbers whose answer is known."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stages.ablation.orderings import interval, orderings, summary, units
from stages.ablation.result_tables import everything, means, verdicts
from stages.ablation.variants import FULL, NAMES, Claim, Variant, chosen
from stages.errors import BadInput
from stages.tables import as_text

WITHOUT = Variant("without", "", claims=[Claim("jerk", "higher", "without it frames jump")])


def results(shift: float, num_tasks: int = 8, noise: float = 0.1) -> list[dict[str, Any]]:
    """Tasks differ much, seeds and variants little; the variant lies ``shift`` above the full method."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for task in range(num_tasks):
        for seed in range(3):
            for variant, offset in ((FULL, 0.0), ("without", shift)):
                value = 10.0 * task + offset + noise * float(torch.randn((), generator=generator))
                made.append({"task": f"t{task}", "seed": seed, "variant": variant, "metrics": {"jerk": value}})
    return made


def verdict_of(made: list[dict[str, Any]]) -> str:
    variants = [Variant(FULL, ""), WITHOUT]
    return str(orderings(summary(made, variants, ["jerk"]), variants)[0]["verdict"])


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    """Samples of six from N(0, 1)."""
    generator = torch.Generator().manual_seed(1)
    inside = 0
    for sample in torch.randn(1000, 6, generator=generator).tolist():
        _, low, high = interval(sample)
        inside += low <= 0.0 <= high
    assert 0.93 <= inside / 1000 <= 0.97


def test_an_interval_of_equal_values_is_that_value() -> None:
    assert interval([2.5] * 6) == (2.5, 2.5, 2.5)


def test_tasks_are_the_units_and_seeds_are_averaged() -> None:
    assert units(results(1.0, noise=0.0), "without", "jerk") == {f"t{task}": 10.0 * task + 1.0 for task in range(8)}
    assert len(units(results(1.0, num_tasks=2), "without", "jerk")) == 6  # too few tasks: every run counts


def test_differences_are_paired() -> None:
    """Tasks differ a hundred times more than the variants do, and the ordering is seen all the same."""
    assert verdict_of(results(0.5)) == "holds"
    assert verdict_of(results(-0.5)) == "does not hold"
    assert verdict_of(results(0.0)) == "undecided"


def test_few_units_decide_nothing_and_an_absent_metric_is_said() -> None:
    assert verdict_of(results(0.5, num_tasks=1)) == "too few"
    made = results(0.5)
    for result in made:
        result["metrics"] = {"jerk": None} if result["variant"] == "without" else result["metrics"]
    assert verdict_of(made) == "not measured"


def test_tables_hold_what_was_found() -> None:
    variants = [Variant(FULL, ""), WITHOUT]
    table = summary(results(0.5), variants, ["jerk"])
    found = orderings(table, variants)
    text = as_text(means(table, ["jerk", "absent"]), ".md")
    assert "without" in text and f"{table['without']['jerk']['mean']:.3g}" in text
    assert "without it frames jump" in as_text(verdicts(found), ".md")
    lines = as_text(everything(table), ".csv").splitlines()
    assert len(lines) == 3 and float(lines[2].split(",")[2]) == table["without"]["jerk"]["mean"]


def test_variants_are_chosen_by_name_and_compared_with_the_full_method() -> None:
    assert [variant.name for variant in chosen(["no-arap", "sds-100"])] == [FULL, "sds-100", "no-arap"]
    assert tuple(variant.name for variant in chosen(NAMES)) == NAMES
    with pytest.raises(BadInput, match="sds-1000"):
        chosen(["sds-1000"])
