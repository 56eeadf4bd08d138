"""Feature networks in small: transformers' own classes with random weights, saved as a hub's folders are; TorchScript
files with the signatures of I3D, RAFT and AMT; weights of Inception by formula."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    ViTConfig,
    ViTModel,
)

from stages.metrics.inception import InceptionPool3
from stages.priors.text import build_tokenizer

SMALL = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
WORDS = ("a", "walking", "jumping", "goat", "deer")


def save_clip(folder: Path) -> Path:
    """A CLIP of 32 px in ``folder``."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer(WORDS)
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), max_position_embeddings=16, eos_token_id=tokenizer.eos_token_id, **SMALL
    )
    vision = CLIPVisionConfig(image_size=32, patch_size=8, **SMALL)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=24)
    model = CLIPModel(config).eval()
    for parameter in model.parameters():  # the usual start leaves pictures hard to tell apart
        nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_vit(folder: Path) -> Path:
    """A vision transformer of 32 px in ``folder``."""
    torch.manual_seed(1)
    model = ViTModel(ViTConfig(image_size=32, patch_size=8, **SMALL), add_pooling_layer=False).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder


def inception_weights() -> dict[str, Tensor]:
    """Tensors by name as in the file that FID code shares, with waves in place of what was learnt."""
    found = {}
    with torch.device("meta"):
        shapes = InceptionPool3().state_dict()
    for index, (name, like) in enumerate(shapes.items()):
        wave = torch.sin(0.7 * index + 1.618 * torch.arange(like.numel(), dtype=torch.float64)).reshape(like.shape)
        if name.endswith("conv.weight"):
            wave = wave * math.sqrt(4 / like[0].numel())
        elif name.endswith("running_var"):
            wave = 1 + 0.5 * wave
        elif name.endswith("bn.weight"):
            wave = 1 + 0.2 * wave
        else:
            wave = 0.1 * wave
        found[name] = wave.to(like.dtype)
    return found | {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}


class TinyI3D(nn.Module):
    """Means and deviations over all pixels, of the clip and of its steps: 12 features of a video."""

    def forward(
        self, videos: Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False
    ) -> Tensor:
        assert not rescale and not resize and return_features
        steps = videos[:, :, 1:] - videos[:, :, :-1]
        parts = [
            videos.mean(dim=(2, 3, 4)),
            videos.std(dim=(2, 3, 4)),
            steps.mean(dim=(2, 3, 4)),
            steps.std(dim=(2, 3, 4)),
        ]
        return torch.cat(parts, dim=1)


class Centroid(nn.Module):
    """A flow that is right for one dark body on white: all of it goes as its middle does. One flow an iteration."""

    def forward(self, first: Tensor, second: Tensor) -> list[Tensor]:
        flow = self.middle(second) - self.middle(first)  # [B, 2]
        dark = (first.mean(dim=1, keepdim=True) < 0.9).to(first.dtype)
        whole = flow[:, :, None, None] * dark
        return [0.5 * whole, whole]

    def middle(self, pictures: Tensor) -> Tensor:
        dark = (1.0 - pictures.mean(dim=1)).clamp(min=0.0)
        total = dark.sum(dim=(1, 2)).clamp(min=1e-6)
        x = torch.arange(dark.shape[2], device=dark.device).to(dark.dtype)
        y = torch.arange(dark.shape[1], device=dark.device).to(dark.dtype)
        return torch.stack([(dark.sum(dim=1) * x).sum(dim=1), (dark.sum(dim=2) * y).sum(dim=1)], dim=1) / total[:, None]


class Mean(nn.Module):
    """The frame between two frames: their mean."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return 0.5 * (first + second)


def save_script(path: Path, network: nn.Module) -> Path:
    """``network`` as a TorchScript archive."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch prefers its newer kind of archive
        torch.jit.script(network.eval()).save(str(path))
    return path


def rings(shift: int = 0, side: int = 64) -> Tensor:
    """A picture, uint8 [side, side, 3], of waves around a point ``shift`` pixels further right."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    radius = ((x - 20 - shift) ** 2 + (y - 30) ** 2).float().sqrt()
    waves = [127 + 100 * torch.sin(radius / length) for length in (2.0, 3.0, 5.0)]
    return torch.stack(waves, dim=-1).round().to(torch.uint8)
