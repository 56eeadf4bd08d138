"""What a stage reports is what TensorBoard reads, also across an interruption."""

from __future__ import annotations

import warnings
from pathlib import Path

from stages.events import Finished, Progress, Started, Wrote
from stages.media.preview import write_preview
from stages.media.tensorboard import TensorBoardLog
from tests.media.test_video import moving_square

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def train(folder: Path, start: int, stop: int, loss: float) -> None:
    log = TensorBoardLog(folder, "distill")
    log(Started("warming up", 3))
    log(Progress(1, {"loss": 99.0}))
    log(Started("distill", 10, start))
    for step in range(start + 1, stop + 1):
        log(Progress(step, {"loss": loss * step, "tv": 1.0}))
    log(Finished("distill"))
    log.close()


def test_scalars_and_sheets_are_read_back(tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path / "tb", "distill")
    log(Started("distill", 2))
    log(Progress(1, {"loss": 0.5, "arap": 0.25}))
    log(Wrote(write_preview(tmp_path / "preview", moving_square(8, 32), fps=8), "the motion"))
    log(Wrote(tmp_path / "metrics.json", "no picture"))
    log(Progress(2, {"loss": 0.125, "arap": 0.0}))
    log.close()
    found = read(tmp_path / "tb")
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(1, 0.5), (2, 0.125)]
    assert found.Tags()["scalars"] == ["loss", "arap"] and found.Tags()["images"] == ["preview"]
    (sheet,) = found.Images("preview")
    assert (sheet.step, sheet.width, sheet.height) == (1, 8 * 64, 64)


def test_going_on_replaces_what_comes_after_the_checkpoint_and_a_new_start_everything(tmp_path: Path) -> None:
    train(tmp_path, 0, 6, loss=1.0)
    train(tmp_path, 4, 8, loss=10.0)
    assert [event.value for event in read(tmp_path).Scalars("loss")] == [1, 2, 3, 4, 50, 60, 70, 80]
    train(tmp_path, 0, 2, loss=1.0)
    assert [event.value for event in read(tmp_path).Scalars("loss")] == [1, 2]


def test_a_stage_with_nothing_to_do_leaves_the_log(tmp_path: Path) -> None:
    train(tmp_path, 0, 2, loss=1.0)
    TensorBoardLog(tmp_path, "distill").close()
    assert len(read(tmp_path).Scalars("loss")) == 2
