"""What the benchmark of a busy machine makes of its times, and that it leaves no loop behind."""

from __future__ import annotations

import os

from stages.run_dir.lock import alive
from tests.bench import bench_busy


def test_ratios_are_of_the_faster_times_and_what_was_stopped_is_said() -> None:
    limit = bench_busy.LIMIT_S
    found = bench_busy.summary(
        {
            "passive": {"alone": [30.0, 20.0], "busy": [70.0, 50.0]},
            "active": {"alone": [20.0, 25.0], "busy": 2 * [limit]},
        }
    )
    assert found["busy_over_alone"] == {"passive": 2.5, "active": round(limit / 20.0, 2)}
    assert found["meets_bar"] and found["given_up"] == ["active"]
    stopped = {"alone": [limit, limit], "busy": [limit, limit]}
    found = bench_busy.summary({"passive": stopped, "active": stopped})
    assert found["busy_over_alone"] == {"passive": None, "active": None} and not found["meets_bar"]
    slow = {"alone": [10.0, 10.0], "busy": [31.0, 40.0]}
    assert not bench_busy.summary({"passive": slow, "active": slow})["meets_bar"]


def test_the_loops_end_with_the_block() -> None:
    with bench_busy.busy(2) as loops:
        assert len(loops) == 2 and all(alive(loop.pid) and loop.pid != os.getpid() for loop in loops)
    assert all(loop.returncode is not None for loop in loops)
