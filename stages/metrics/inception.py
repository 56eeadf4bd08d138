"""The Inception v3 of FID: its 2048 pooled features, with the weights that FID code shares.

Those weights came from TensorFlow and differ from the usual Inception v3 in how it pools: averages leave the padding
out, and the last block takes a maximum (Szegedy et al. 2015; Heusel et al. 2017). Names of the parts are those of the
weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from stages.metrics.pixels import in_batches
from stages.metrics.weights import fill, read_weights

INCEPTION_PX = 299


class Inception:
    """Pool3 features by the weights in ``path``, of pytorch-fid or torch-fidelity. Raises ``BadInput``."""

    backbone: str

    def __init__(self, path: Path, device: str) -> None:
        with torch.device("meta"):
            network = InceptionPool3()
        network = network.to_empty(device="cpu")
        self._network = fill(network, read_weights(path), path, "FID's Inception").to(device)
        self._device, self.backbone = device, f"Inception v3 pool3, {path.name}"

    def images(self, images: Tensor) -> Tensor:
        """Features [..., 2048] of uint8 [..., H, W, 3]: bilinear to 299 x 299 without a low-pass, in [-1, 1]."""
        return in_batches(self._look, images, self._device)

    def _look(self, images: Tensor) -> Tensor:
        size = (INCEPTION_PX, INCEPTION_PX)
        resized = nn.functional.interpolate(images, size, mode="bilinear", align_corners=False)
        return self._network(2.0 * resized - 1.0)


class _Convolution(nn.Module):
    """Convolution, normalisation, ReLU."""

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: int | tuple[int, int] = 1,
        *,
        stride: int = 1,
        pad: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, pad, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(x)))


def _mean3(x: Tensor) -> Tensor:
    return nn.functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _max3(x: Tensor) -> Tensor:
    return nn.functional.max_pool2d(x, 3, stride=1, padding=1)


class _Branches(nn.Module):
    """Chains of convolutions side by side, their outputs joined; a chain's parts are named by ``chains``."""

    chains: tuple[tuple[str, ...], ...]
    """A chain is the names of its convolutions in order."""

    def _run(self, x: Tensor) -> list[Tensor]:
        outputs = []
        for chain in self.chains:
            y = x
            for name in chain:
                y = getattr(self, name)(y)
            outputs.append(y)
        return outputs


class _BlockA(_Branches):
    """35 x 35."""

    chains = (("branch1x1",), ("branch5x5_1", "branch5x5_2"), ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"))

    def __init__(self, channels: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Convolution(channels, 64)
        self.branch5x5_1 = _Convolution(channels, 48)
        self.branch5x5_2 = _Convolution(48, 64, 5, pad=2)
        self.branch3x3dbl_1 = _Convolution(channels, 64)
        self.branch3x3dbl_2 = _Convolution(64, 96, 3, pad=1)
        self.branch3x3dbl_3 = _Convolution(96, 96, 3, pad=1)
        self.branch_pool = _Convolution(channels, pooled)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([*self._run(x), self.branch_pool(_mean3(x))], dim=1)


class _BlockB(_Branches):
    """35 x 35 to 17 x 17."""

    chains = (("branch3x3",), ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"))

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3 = _Convolution(channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = _Convolution(channels, 64)
        self.branch3x3dbl_2 = _Convolution(64, 96, 3, pad=1)
        self.branch3x3dbl_3 = _Convolution(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([*self._run(x), nn.functional.max_pool2d(x, 3, stride=2)], dim=1)


class _BlockC(_Branches):
    """17 x 17, with kernels of 1 x 7 and 7 x 1."""

    chains = (
        ("branch1x1",),
        ("branch7x7_1", "branch7x7_2", "branch7x7_3"),
        ("branch7x7dbl_1", "branch7x7dbl_2", "branch7x7dbl_3", "branch7x7dbl_4", "branch7x7dbl_5"),
    )

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        across, down = {"kernel": (1, 7), "pad": (0, 3)}, {"kernel": (7, 1), "pad": (3, 0)}
        self.branch1x1 = _Convolution(channels, 192)
        self.branch7x7_1 = _Convolution(channels, inner)
        self.branch7x7_2 = _Convolution(inner, inner, **across)  # type: ignore[arg-type]
        self.branch7x7_3 = _Convolution(inner, 192, **down)  # type: ignore[arg-type]
        self.branch7x7dbl_1 = _Convolution(channels, inner)
        self.branch7x7dbl_2 = _Convolution(inner, inner, **down)  # type: ignore[arg-type]
        self.branch7x7dbl_3 = _Convolution(inner, inner, **across)  # type: ignore[arg-type]
        self.branch7x7dbl_4 = _Convolution(inner, inner, **down)  # type: ignore[arg-type]
        self.branch7x7dbl_5 = _Convolution(inner, 192, **across)  # type: ignore[arg-type]
        self.branch_pool = _Convolution(channels, 192)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([*self._run(x), self.branch_pool(_mean3(x))], dim=1)


class _BlockD(_Branches):
    """17 x 17 to 8 x 8."""

    chains = (("branch3x3_1", "branch3x3_2"), ("branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4"))

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = _Convolution(channels, 192)
        self.branch3x3_2 = _Convolution(192, 320, 3, stride=2)
        self.branch7x7x3_1 = _Convolution(channels, 192)
        self.branch7x7x3_2 = _Convolution(192, 192, (1, 7), pad=(0, 3))
        self.branch7x7x3_3 = _Convolution(192, 192, (7, 1), pad=(3, 0))
        self.branch7x7x3_4 = _Convolution(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([*self._run(x), nn.functional.max_pool2d(x, 3, stride=2)], dim=1)


class _BlockE(_Branches):
    """8 x 8, where chains fork at their end."""

    chains = (
        ("branch1x1",),
        ("branch3x3_1", "branch3x3_2a"),
        ("branch3x3_1", "branch3x3_2b"),
        ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3a"),
        ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3b"),
    )

    def __init__(self, channels: int, *, maximum: bool) -> None:
        super().__init__()
        self._pool = _max3 if maximum else _mean3
        self.branch1x1 = _Convolution(channels, 320)
        self.branch3x3_1 = _Convolution(channels, 384)
        self.branch3x3_2a = _Convolution(384, 384, (1, 3), pad=(0, 1))
        self.branch3x3_2b = _Convolution(384, 384, (3, 1), pad=(1, 0))
        self.branch3x3dbl_1 = _Convolution(channels, 448)
        self.branch3x3dbl_2 = _Convolution(448, 384, 3, pad=1)
        self.branch3x3dbl_3a = _Convolution(384, 384, (1, 3), pad=(0, 1))
        self.branch3x3dbl_3b = _Convolution(384, 384, (3, 1), pad=(1, 0))
        self.branch_pool = _Convolution(channels, 192)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([*self._run(x), self.branch_pool(self._pool(x))], dim=1)


class InceptionPool3(nn.Module):
    """[B, 3, 299, 299] in [-1, 1] -> [B, 2048]."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = _Convolution(32, 64, 3, pad=1)
        self.Conv2d_3b_1x1 = _Convolution(64, 80)
        self.Conv2d_4a_3x3 = _Convolution(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _BlockA(192, 32), _BlockA(256, 64), _BlockA(288, 64)
        self.Mixed_6a = _BlockB(288)
        self.Mixed_6b, self.Mixed_6c = _BlockC(768, 128), _BlockC(768, 160)
        self.Mixed_6d, self.Mixed_6e = _BlockC(768, 160), _BlockC(768, 192)
        self.Mixed_7a = _BlockD(768)
        self.Mixed_7b, self.Mixed_7c = _BlockE(1280, maximum=False), _BlockE(2048, maximum=True)

    def forward(self, x: Tensor) -> Tensor:
        shrink = nn.functional.max_pool2d
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(shrink(x, 3, stride=2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(shrink(x, 3, stride=2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean(dim=(2, 3))
