"""The aesthetic head: both of LAION's forms against plain sums, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stages.errors import BadInput
from stages.metrics.aesthetic import AestheticHead


class Published(nn.Module):
    """As LAION's second head is saved: layers numbered with dropouts between them, ten behind two in the alphabet."""

    def __init__(self) -> None:
        super().__init__()
        linear = [nn.Linear(8, 7), nn.Linear(7, 6), nn.Linear(6, 5), nn.Linear(5, 3), nn.Linear(3, 1)]
        self.layers = nn.Sequential(linear[0], nn.Dropout(0.2), linear[1], nn.Dropout(0.2), linear[2], nn.Dropout(0.1),
                                    linear[3], *(nn.Dropout(0.0) for _ in range(3)), linear[4])  # fmt: skip


def test_linear_head_by_hand(tmp_path: Path) -> None:
    """Features of length 5 count as (0.6, 0.8)."""
    weights = {"weight": torch.tensor([[2.0, 1.0]]), "bias": torch.tensor([3.0])}
    torch.save(weights, tmp_path / "head.pth")
    save_file(weights, tmp_path / "head.safetensors")
    for name in ("head.pth", "head.safetensors"):
        head = AestheticHead(tmp_path / name)
        assert head.width == 2 and head.name == name
        scores = head.scores(torch.tensor([[[3.0, 4.0]], [[-30.0, 40.0]]]))
        torch.testing.assert_close(scores, torch.tensor([[3.0 + 1.2 + 0.8], [3.0 - 1.2 + 0.8]]))


def test_five_layers_as_the_published_module(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Published().eval()
    assert "layers.10.weight" in module.state_dict()
    torch.save(module.state_dict(), tmp_path / "head.pth")
    features = torch.randn(4, 3, 8)
    expected = module.layers(nn.functional.normalize(features, dim=-1))[..., 0]
    torch.testing.assert_close(AestheticHead(tmp_path / "head.pth").scores(features), expected)


@pytest.mark.parametrize(
    "tensors",
    [
        {"weight": torch.ones(2, 4), "bias": torch.ones(2)},
        {"weight": torch.ones(1, 4)},
        {"weight": torch.ones(1, 4, 1), "bias": torch.ones(1)},
        {"0.weight": torch.ones(3, 4), "0.bias": torch.ones(3), "1.weight": torch.ones(1, 2), "1.bias": torch.ones(1)},
        {"mean": torch.ones(1)},
        {"weight": torch.ones(1, 4, dtype=torch.uint8), "bias": torch.ones(1)},
    ],
)
def test_refuses_what_is_no_head(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(BadInput, match=r"other\.safetensors is no aesthetic head"):
        AestheticHead(tmp_path / "other.safetensors")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"There is no file .*absent\.pth"):
        AestheticHead(tmp_path / "absent.pth")
