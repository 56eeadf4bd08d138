"""The three attentions that MV-VDM puts in place of AnimateDiff's (Animate3D, section 3.1 and its figure 3).

========================  ====================================================================================
where                     what attends to what
========================  ====================================================================================
``ViewsAttention``        pixels of one frame to those of all views, and to those of all views at frame 0
``PictureAttention``      pixels to the sentence, and to what CLIP says of the view's picture (IP-Adapter)
``SpaceTimeAttention``    pixels to themselves at other times, and to those of all views at their own time
========================  ====================================================================================

Each is a processor of diffusers' ``Attention``, whose layers it shares; names of its own layers are those of the
released weights. Shapes: V views, F frames, L = h w pixels, D channels. What the released code leaves to xformers is
torch's attention here. Its ``IPAdapter...`` class is chosen by an exact comparison of types there, which misses the
class that diffusers takes with torch 2; here nothing is told apart by class.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from diffusers.models.resnet import AlphaBlender
from torch import Tensor, nn
from torch.nn import functional


class ViewsAttention(nn.Module):
    """Self-attention over all views (MVDream), plus attention to frame 0, the picture that is given.

    ``out(attend(q x, k x, v x) + out_i2v(attend(q_i2v x, k x_0, v x_0)))``, where x are all views of a frame and x_0
    all views of frame 0. ``out_i2v`` begins at zero: then it is MVDream's attention.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_q_i2v = nn.Linear(width, width, bias=False)
        self.to_out_i2v = nn.Linear(width, width)
        nn.init.zeros_(self.to_out_i2v.weight)
        nn.init.zeros_(self.to_out_i2v.bias)

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,  # [B V F, L, D]
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        num_views: int = 1,
        num_frames: int = 1,
    ) -> Tensor:  # [B V F, L, D]
        """See the class."""
        assert encoder_hidden_states is None and attention_mask is None
        frames = hidden_states.unflatten(0, (-1, num_views, num_frames)).transpose(1, 2)  # [B, F, V, L, D]
        x = frames.flatten(0, 1).flatten(1, 2)  # [B F, V L, D]
        key, value = attn.to_k(x), attn.to_v(x)
        seen = attend(attn.to_q(x), key, value, attn.heads)
        first_key, first_value = (of_first_frame(part, num_frames) for part in (key, value))
        seen = seen + self.to_out_i2v(attend(self.to_q_i2v(x), first_key, first_value, attn.heads))
        out = attn.to_out[1](attn.to_out[0](seen))
        return out.unflatten(1, (num_views, -1)).unflatten(0, (-1, num_frames)).transpose(1, 2).flatten(0, 2)


class PictureAttention(nn.Module):
    """Cross-attention to a sentence, plus attention to a picture's tokens with keys and values of their own
    (IP-Adapter, Ye et al. 2023, Eq. 5, scale 1)."""

    def __init__(self, width: int, picture_width: int) -> None:
        super().__init__()
        self.to_k_ip = nn.ModuleList([nn.Linear(picture_width, width, bias=False)])
        self.to_v_ip = nn.ModuleList([nn.Linear(picture_width, width, bias=False)])

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,  # [B V F, L, D]
        encoder_hidden_states: tuple[Tensor, Tensor],  # states of words, tokens of pictures: [B V F, ., .]
        attention_mask: Tensor | None = None,
        num_views: int = 1,
        num_frames: int = 1,
    ) -> Tensor:  # [B V F, L, D]
        """See the class."""
        assert attention_mask is None
        words, picture = encoder_hidden_states
        query = attn.to_q(hidden_states)
        seen = attend(query, attn.to_k(words), attn.to_v(words), attn.heads)
        seen = seen + attend(query, self.to_k_ip[0](picture), self.to_v_ip[0](picture), attn.heads)
        return attn.to_out[1](attn.to_out[0](seen))


class SpaceTimeAttention(nn.Module):
    """AnimateDiff's attention over time, blended with attention over space and views (Animate3D, Eq. 2).

    ``(1 - s(mix)) temporal(x + p_t) + s(mix) spatial(x + p_xy)``: s the sigmoid, p_t the places in time and p_xy those
    in the picture. Both read the same normalised input. At mix = -infinity it is AnimateDiff's.
    """

    def __init__(self, width: int, max_frames: int = 32) -> None:
        super().__init__()
        self.to_q_sp = nn.Linear(width, width, bias=False)
        self.to_k_sp = nn.Linear(width, width, bias=False)
        self.to_v_sp = nn.Linear(width, width, bias=False)
        self.to_out_sp = nn.Linear(width, width)
        self.time_pos_embed = SinusoidalPositionalEmbedding(width, max_seq_length=max_frames)
        self.alpha_blender = AlphaBlender(alpha=0.0, merge_strategy="learned")

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,  # [B V L, F, D]
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        num_views: int = 1,
        height: int = 1,
        width: int = 1,
    ) -> Tensor:  # [B V L, F, D]
        """See the class."""
        assert encoder_hidden_states is None and attention_mask is None
        return self.alpha_blender(
            self.over_space(attn, hidden_states, num_views, height, width), self.over_time(attn, hidden_states)
        )

    def over_time(self, attn: Any, x: Tensor) -> Tensor:
        """Each pixel's own frames."""
        x = self.time_pos_embed(x)
        seen = attend(attn.to_q(x), attn.to_k(x), attn.to_v(x), attn.heads)
        return attn.to_out[1](attn.to_out[0](seen))

    def over_space(self, attn: Any, x: Tensor, num_views: int, height: int, width: int) -> Tensor:
        """All pixels of all views at each frame."""
        num_frames, places = x.shape[1], sine_places(height, width, x.shape[2], x.device).to(x)
        x = x.unflatten(0, (-1, num_views, height * width)) + places[:, None]  # [B, V, L, F, D]
        x = x.permute(0, 3, 1, 2, 4).flatten(2, 3).flatten(0, 1)  # [B F, V L, D]
        seen = self.to_out_sp(attend(self.to_q_sp(x), self.to_k_sp(x), self.to_v_sp(x), attn.heads))
        return seen.unflatten(0, (-1, num_frames)).transpose(1, 2).flatten(0, 1)


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Softmax attention in ``heads`` heads: [B, L, D] from queries [B, L, D], keys and values [B, S, D]."""
    parts = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
    return functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)


def of_first_frame(x: Tensor, num_frames: int) -> Tensor:
    """[B F, S, D] with every frame replaced by frame 0."""
    frames = x.unflatten(0, (-1, num_frames))
    return frames[:, :1].expand_as(frames).flatten(0, 1)


def sine_places(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Places in a picture [h w, D]: sines and cosines of y in the first half of the channels, of x in the second,
    both scaled to end at 2 pi (Carion et al. 2020, appendix A.4, as the released code counts them: from 1)."""
    half = channels // 2
    rates = 10_000.0 ** (2.0 * (torch.arange(half, device=device) // 2) / half)
    ends = [2.0 * math.pi * torch.arange(1, n + 1, device=device) / (n + 1e-6) for n in (height, width)]
    waves = []
    for places in ends:
        angles = places[:, None] / rates
        waves.append(torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=2).flatten(1))
    y, x = waves
    return torch.cat([y[:, None].expand(-1, width, -1), x[None].expand(height, -1, -1)], dim=2).flatten(0, 1)
