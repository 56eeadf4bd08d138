"""Adam takes PyTorch's steps, and imports no compiler."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from stages.adam import Adam
from stages.run_dir.optimiser_state import optimisation_tensors, restore_optimisation


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((5, 3), (4,), (2,))]


def descend(optimiser: Adam | torch.optim.Optimizer, own: list[nn.Parameter], steps: int) -> None:
    for _ in range(steps):
        optimiser.zero_grad()
        (own[0].square().sum() + own[1].sin().sum()).backward()  # the third has no gradient
        optimiser.step()


def groups(own: list[nn.Parameter]) -> list[dict[str, object]]:
    return [{"params": own[:1], "lr": 0.02}, {"params": own[1:]}]


def test_its_steps_are_pytorchs() -> None:
    mine, theirs = parameters(), parameters()
    descend(Adam(groups(mine), betas=(0.9, 0.95)), mine, 7)
    descend(torch.optim.Adam(groups(theirs), betas=(0.9, 0.95)), theirs, 7)
    assert all(torch.equal(one, other) for one, other in zip(mine, theirs, strict=True))
    assert not torch.equal(mine[0], parameters()[0]) and torch.equal(mine[2], parameters()[2])


def test_it_goes_on_from_what_was_kept() -> None:
    whole, cut, again = parameters(), parameters(), parameters()
    descend(Adam(groups(whole)), whole, 6)
    first = Adam(groups(cut))
    descend(first, cut, 4)
    kept = optimisation_tensors(zip("abc", cut, strict=True), first)
    second = Adam(groups(again))
    restore_optimisation(kept, zip("abc", again, strict=True), second)
    descend(second, again, 2)
    assert all(torch.equal(one, other) for one, other in zip(whole, again, strict=True))


def test_no_compiler_is_imported() -> None:
    code = (
        "import sys, torch\nfrom stages.adam import Adam\n"
        "p = torch.nn.Parameter(torch.ones(3)); a = Adam([{'params': [p]}])\n"
        "p.sum().backward(); a.step(); a.zero_grad()\n"
        "assert float(p[0]) < 1.0\nassert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
