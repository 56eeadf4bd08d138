"""Several processes that train one model together: each takes a part of every batch, and gradients are averaged (gloo).

On a few CPU cores, one process with one thread a core is faster than one process with all threads.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing import get_context


@dataclass(frozen=True)
class Team:
    """Who this process is among ``size`` that train together; alone by default."""

    rank: int = 0
    size: int = 1

    def part(self, items: Tensor | Sequence[Any]) -> Any:
        """Every ``size``-th of a batch's items: this process's."""
        return items[self.rank :: self.size]

    def agree(self, tensors: Iterable[Tensor]) -> None:
        """Give everybody the first process's values."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """The mean of all processes' gradients in each of them."""
        if self.size > 1:
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            dist.all_reduce(flat)
            sizes = [gradient.numel() for gradient in gradients]
            for gradient, mean in zip(gradients, (flat / self.size).split(sizes), strict=True):
                gradient.copy_(mean.view_as(gradient))


@contextmanager
def assembled(size: int, helper: Callable[..., None], *arguments: Any) -> Iterator[Team]:
    """A team of ``size`` whose first member is this process; the others run ``helper(team, *arguments)``.

    They share the cores evenly, and are stopped when the block ends, however it does.
    """
    if size == 1:
        yield Team()
        return
    threads = torch.get_num_threads()
    each = max(1, threads // size)
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        context = get_context("spawn")
        helpers = [
            context.Process(target=_join, args=(Team(rank, size), meeting, each, helper, arguments), daemon=True)
            for rank in range(1, size)
        ]
        try:
            torch.set_num_threads(each)
            for process in helpers:
                process.start()
            team = Team(0, size)
            _meet(team, meeting)
            yield team
        finally:
            for process in helpers:
                process.terminate()
                process.join()
            if dist.is_initialized():
                dist.destroy_process_group()
            torch.set_num_threads(threads)


def _join(team: Team, meeting: Path, threads: int, helper: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(threads)
    _meet(team, meeting)
    helper(team, *arguments)


def _meet(team: Team, meeting: Path) -> None:
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this machine, whatever its name resolves to
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=team.rank, world_size=team.size)
