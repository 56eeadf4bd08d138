"""What TensorBoard shows of a stage: written from the events that the stage reports anyway.

A stage knows nothing of it, so that it computes the same with and without.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stages.errors import NotAvailable
from stages.events import Event, Progress, Started, Wrote


class TensorBoardLog:
    """A ``Report`` that writes the scalars and contact sheets of ``command`` into ``folder``.

    Where the command goes on from a checkpoint, so does the log; where it starts anew, the old log goes.

    Raises:
        NotAvailable: the package tensorboard is not installed.
    """

    def __init__(self, folder: Path, command: str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise NotAvailable(
                "--tensorboard needs the package tensorboard.", "Install it: pip install 'animus3d[tensorboard]'"
            ) from None
        self._new_writer = SummaryWriter
        self._folder, self._command, self._step = folder, command, 0
        self._writer: Any = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started) and event.name == self._command:
            if not event.done:
                shutil.rmtree(self._folder, ignore_errors=True)
            self._writer = self._new_writer(str(self._folder), purge_step=event.done + 1)
            self._step = event.done
        elif self._writer is None:
            return
        elif isinstance(event, Progress):
            self._step = event.step
            for name, value in event.metrics.items():
                self._writer.add_scalar(name, value, event.step)
        elif isinstance(event, Wrote) and event.path.with_suffix(".png").exists():
            with Image.open(event.path.with_suffix(".png")) as sheet:
                self._writer.add_image(event.path.stem, np.asarray(sheet), self._step, dataformats="HWC")

    def close(self) -> None:
        """Write what is still held back."""
        if self._writer is not None:
            self._writer.close()
