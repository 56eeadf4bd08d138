"""Which device a command works on."""

from __future__ import annotations

import pytest
import torch

from animus3d_cli.session import resolve_device
from stages.errors import AnimusError, BadInput, NotAvailable


def with_cards(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("name", "cards", "device"),
    [
        ("auto", 0, "cpu"),
        ("auto", 1, "cuda"),
        ("auto", 2, "cuda"),
        ("cpu", 0, "cpu"),
        ("cpu", 2, "cpu"),
        ("cuda", 1, "cuda"),
        ("cuda:0", 1, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
        ("cuda:01", 2, "cuda:1"),
    ],
)
def test_a_device_that_is_there(name: str, cards: int, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_cards(monkeypatch, cards)
    assert resolve_device(name) == device
    torch.device(device)


@pytest.mark.parametrize(
    ("name", "cards", "kind", "words"),
    [
        ("cuda", 0, NotAvailable, "--device cpu"),
        ("cuda:0", 0, NotAvailable, "--device cpu"),
        ("cuda:1", 1, NotAvailable, "cuda:0"),
        ("cuda:7", 2, NotAvailable, "cuda:0 to cuda:1"),
        ("gpu", 2, BadInput, "'gpu'"),
        ("cuda:x", 2, BadInput, "'cuda:x'"),
        ("cuda:²", 2, BadInput, "'cuda:²'"),
        ("cuda:", 2, BadInput, "'cuda:'"),
        ("cuda:-1", 2, BadInput, "'cuda:-1'"),
        ("cpu:0", 2, BadInput, "'cpu:0'"),
        ("", 2, BadInput, "''"),
    ],
)
def test_a_device_that_is_not(
    name: str, cards: int, kind: type[AnimusError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cards(monkeypatch, cards)
    with pytest.raises(kind) as told:
        resolve_device(name)
    assert words in str(told.value) and "\n" not in str(told.value)
    assert told.value.exit_code == {NotAvailable: 9, BadInput: 3}[kind]
