"""The embedded prior's denoiser: a small hourglass space-time transformer, conditioned on the asset's own picture.

Two resolutions. *Fine* blocks work on every latent pixel (a leg is one or two of them wide) with a 3x3 convolution in
space and attention over time; *core* blocks work on 2x2 patches with attention over space, over time and over the
words. Timestep and sentence modulate every block (adaLN-single, PixArt-alpha), and the words are attended to as well.
The picture of the static asset enters beside every noisy frame, with a channel that says whether it is there
(``image_latents=None`` runs from text alone).

What is denoised is the *difference from that picture*: with ``y = x_0 - picture`` and ``y_t = x_t - alpha picture``,
a pixel that does not move is pure noise, and the best linear guess of v is taken outside the network (preconditioning
as in Karras et al. 2022, derived for v in ``precondition``). Without it a network this small spends its training on
copying the picture at every noise level: 700 steps gave blurs where the same network now draws.

And the network does not have to paint what moves: it also says where every pixel of the picture goes (``stages.priors.
warp``), and what is denoised is the difference from the picture *warped* by that. At high noise, where sentence and
picture are all there is to go by, limbs that are moved stay limbs; painted ones come out as smears.

Attention is diffusers' ``Attention`` with its plain processor: on CPUs its backward pass is several times faster than
fused attention, and its ``to_q``, ``to_k``, ``to_v``, ``to_out.0`` are the names LoRA adapters look for.
"""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.attention_processor import Attention, AttnProcessor
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from stages.priors.autoencoder import PatchAutoencoder
from stages.priors.warp import carry

FLOW_PX = 4.0
"""Pixels of displacement that one unit of the network's output means."""


def _attention(width: int, head_dim: int, text_dim: int | None = None) -> Attention:
    return Attention(
        query_dim=width,
        cross_attention_dim=text_dim,
        heads=width // head_dim,
        dim_head=head_dim,
        processor=AttnProcessor(),
    )


def _modulate(norm: nn.LayerNorm, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm of ``x`` [B, T, H, W, D], shifted and scaled by [B, 1, 1, 1, D]."""
    return norm(x) * (1.0 + scale) + shift


class _Modulation(nn.Module):
    """Per-block table added to a shared projection of the condition: ``num`` vectors [B, 1, 1, 1, D]."""

    def __init__(self, num: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(num, width) / width**0.5)

    def forward(self, shared: Tensor) -> tuple[Tensor, ...]:  # [B, num, D]
        return tuple(m[:, None, None, None] for m in (shared + self.table).unbind(dim=1))


class FineBlock(nn.Module):
    """3x3 convolution in space, then attention over the frames of each latent pixel."""

    def __init__(self, width: int, head_dim: int) -> None:
        super().__init__()
        self.modulation = _Modulation(6, width)
        self.norm_space = nn.LayerNorm(width, elementwise_affine=False)
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.mix = nn.Linear(width, width)
        self.norm_time = nn.LayerNorm(width, elementwise_affine=False)
        self.time = _attention(width, head_dim)

    def forward(self, x: Tensor, shared: Tensor) -> Tensor:
        batch, frames, height, width, dim = x.shape
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(shared)
        h = _modulate(self.norm_space, x, shift1, scale1).reshape(batch * frames, height, width, dim)
        h = self.conv(h.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        h = self.mix(nn.functional.gelu(h)).reshape(x.shape)
        x = x + gate1 * h
        h = _modulate(self.norm_time, x, shift2, scale2)
        return x + gate2 * _over_time(self.time, h)


class CoreBlock(nn.Module):
    """Attention over space, over time and over the words, then a feed-forward layer."""

    def __init__(self, width: int, head_dim: int, text_dim: int, mlp_ratio: int) -> None:
        super().__init__()
        self.modulation = _Modulation(9, width)
        self.norm_space = nn.LayerNorm(width, elementwise_affine=False)
        self.space = _attention(width, head_dim)
        self.norm_time = nn.LayerNorm(width, elementwise_affine=False)
        self.time = _attention(width, head_dim)
        self.norm_words = nn.LayerNorm(width)
        self.words = _attention(width, head_dim, text_dim)
        self.norm_mlp = nn.LayerNorm(width, elementwise_affine=False)
        self.mlp = nn.Sequential(
            nn.Linear(width, mlp_ratio * width), nn.GELU(approximate="tanh"), nn.Linear(mlp_ratio * width, width)
        )

    def forward(self, x: Tensor, shared: Tensor, text: Tensor) -> Tensor:
        batch, frames, height, width, dim = x.shape
        shift1, scale1, gate1, shift2, scale2, gate2, shift3, scale3, gate3 = self.modulation(shared)
        h = _modulate(self.norm_space, x, shift1, scale1).reshape(batch * frames, height * width, dim)
        x = x + gate1 * self.space(h).reshape(x.shape)
        x = x + gate2 * _over_time(self.time, _modulate(self.norm_time, x, shift2, scale2))
        h = self.norm_words(x).reshape(batch, -1, dim)
        x = x + self.words(h, encoder_hidden_states=text).reshape(x.shape)
        return x + gate3 * self.mlp(_modulate(self.norm_mlp, x, shift3, scale3))


def _over_time(attention: Attention, x: Tensor) -> Tensor:
    """Self-attention over the frames of every position of ``x`` [B, T, H, W, D]."""
    batch, frames, height, width, dim = x.shape
    h = x.permute(0, 2, 3, 1, 4).reshape(batch * height * width, frames, dim)
    return attention(h).reshape(batch, height, width, frames, dim).permute(0, 3, 1, 2, 4)


class AnimusTransformer3DModel(ModelMixin, ConfigMixin):
    """Denoiser of latent clips ``[B, C, T, H, W]``; see the module's text. H and W must be even."""

    @register_to_config
    def __init__(
        self,
        in_channels: int = 12,
        num_frames: int = 16,
        sample_size: int = 16,
        fine_width: int = 64,
        width: int = 192,
        head_dim: int = 32,
        num_fine_layers: int = 2,
        num_layers: int = 6,
        mlp_ratio: int = 3,
        cross_attention_dim: int = 128,
        patch_size: int = 4,
        residual_std: float = 0.35,
        beta_schedule: str = "squaredcos_cap_v2",
    ) -> None:
        super().__init__()
        abar = DDIMScheduler(beta_schedule=beta_schedule).alphas_cumprod
        self.alphas: Tensor
        self.sigmas: Tensor
        self.register_buffer("alphas", abar.sqrt(), persistent=False)
        self.register_buffer("sigmas", (1.0 - abar).sqrt(), persistent=False)
        self.pixels = PatchAutoencoder(patch_size, in_channels)  # a copy: what a latent looks like
        half = sample_size // 2
        self.patch_in = nn.Linear(2 * in_channels + 1, fine_width)
        self.fine_position = nn.Parameter(0.02 * torch.randn(1, num_frames, 1, 1, fine_width))
        self.core_time = nn.Parameter(0.02 * torch.randn(1, num_frames, 1, 1, width))
        self.core_space = nn.Parameter(0.02 * torch.randn(1, 1, half, half, width))
        self.time_proj = Timesteps(width, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(width, width)
        self.text_embedding = nn.Sequential(
            nn.LayerNorm(cross_attention_dim), nn.Linear(cross_attention_dim, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.fine_condition = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * fine_width))
        self.core_condition = nn.Sequential(nn.SiLU(), nn.Linear(width, 9 * width))
        self.fine_in = nn.ModuleList(FineBlock(fine_width, head_dim) for _ in range(num_fine_layers))
        self.down = nn.Linear(4 * fine_width, width)
        self.core = nn.ModuleList(CoreBlock(width, head_dim, cross_attention_dim, mlp_ratio) for _ in range(num_layers))
        self.up = nn.Linear(width, 4 * fine_width)
        self.fine_out = nn.ModuleList(FineBlock(fine_width, head_dim) for _ in range(num_fine_layers))
        self.norm_out = nn.LayerNorm(fine_width)
        self.patch_out = nn.Linear(fine_width, in_channels)
        self.flow_out = nn.Linear(fine_width, 2 * patch_size**2)
        for head in (self.patch_out, self.flow_out):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(
        self,
        sample: Tensor,  # [B, C, T, H, W] noisy latents
        timestep: Tensor,  # [B] integers
        encoder_hidden_states: Tensor,  # [B, L, D] words
        pooled_text: Tensor,  # [B, D] the sentence
        image_latents: Tensor | None = None,  # [B, C, H, W] the static asset from the same camera
        image_mask: Tensor | None = None,  # [B] 1 where image_latents is to be seen; all ones when None
    ) -> Tensor:  # [B, C, T, H, W]
        """The prediction of v."""
        v, _ = self.predict_with_flow(sample, timestep, encoder_hidden_states, pooled_text, image_latents, image_mask)
        return v

    def predict_with_flow(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        pooled_text: Tensor,
        image_latents: Tensor | None = None,
        image_mask: Tensor | None = None,
        *,
        flow_alone: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """v [B, C, T, H, W], and how far each pixel of the picture goes, [B, 2, T, p H, p W] as (x, y) in pixels.

        With ``flow_alone`` the flow takes no gradient from v.
        """
        batch, _channels, frames, height, width = sample.shape
        seen = sample.new_ones(batch) if image_mask is None else image_mask.to(sample)
        if image_latents is None:
            image_latents, seen = torch.zeros_like(sample[:, :, 0]), torch.zeros_like(seen)
        flag = seen.view(batch, 1, 1, 1, 1)
        image = (image_latents[:, :, None] * flag).expand(-1, -1, frames, -1, -1)
        timestep = timestep.expand(batch)
        alpha, sigma, c_in, c_skip, c_out = self.precondition(timestep, seen)
        difference = sample - alpha * image
        x = torch.cat([c_in * difference, image, flag.expand(-1, 1, frames, height, width)], dim=1)
        x, flow = self._network(x.permute(0, 2, 3, 4, 1), timestep, encoder_hidden_states, pooled_text)
        flow = FLOW_PX * nn.functional.pixel_shuffle(flow.float().permute(0, 1, 4, 2, 3), self.config.patch_size)
        warped = flag * self._warped(
            image_latents.float(), flow.detach() if flow_alone else flow
        )  # expected difference, before the noisy clip is seen
        c_warp = sigma * c_in.square()
        v = c_skip * difference + c_out * x.permute(0, 4, 1, 2, 3).float() - sigma * image - c_warp * warped
        return v, flow.transpose(1, 2)

    def compile_network(self) -> None:
        """Compile what is trained, for the steps of training: without gradients it runs as before."""
        plain, compiled = self._network, torch.compile(self._network)
        self._network = lambda *inputs: (compiled if torch.is_grad_enabled() else plain)(*inputs)  # type: ignore[method-assign]

    def _warped(self, image_latents: Tensor, flow: Tensor) -> Tensor:
        """Latents of the picture carried along ``flow`` [B, T, 2, H, W], less those of the picture: [B, C, T, h, w]."""
        batch, frames = flow.shape[:2]
        change = carry(self.pixels.decode(image_latents), flow)
        return self.pixels.encode_change(change.flatten(0, 1)).unflatten(0, (batch, frames)).transpose(1, 2)

    def precondition(self, timestep: Tensor, seen: Tensor) -> tuple[Tensor, ...]:
        """``alpha, sigma, c_in, c_skip, c_out`` [B, 1, 1, 1, 1] for timesteps [B] and picture flags [B].

        The difference y from the picture has deviation s (1 where there is no picture). With ``q = alpha^2 s^2 +
        sigma^2`` the variance of ``y_t = alpha y + sigma eps``, the best linear guess of ``v = alpha eps - sigma y`` is
        ``alpha sigma (1 - s^2) / q  y_t``, and what it leaves has variance ``s^2 / q``. Where y is expected to be w and
        not 0, that guess changes by ``-sigma / q  w``; ``c_in^2`` is ``1 / q``.
        """
        alpha, sigma = self.alphas[timestep], self.sigmas[timestep]
        s = torch.where(seen > 0, self.config.residual_std, 1.0)
        q = alpha**2 * s**2 + sigma**2
        values = (alpha, sigma, q.rsqrt(), alpha * sigma * (1 - s**2) / q, s * q.rsqrt())
        return tuple(value.view(-1, 1, 1, 1, 1) for value in values)

    def _network(
        self, x: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, pooled_text: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``x`` [B, T, H, W, 2 C + 1] to what is left of v [B, T, H, W, C] and the flow [B, T, H, W, 2 p p]."""
        frames, height, width = x.shape[1:4]

        condition = self.time_embedding(self.time_proj(timestep).to(x.dtype))
        condition = condition + self.text_embedding(pooled_text)
        fine_shared = self.fine_condition(condition).unflatten(1, (6, -1))
        core_shared = self.core_condition(condition).unflatten(1, (9, -1))

        x = self.patch_in(x) + self.fine_position[:, :frames]
        for block in self.fine_in:
            x = block(x, fine_shared)
        h = x.unflatten(3, (width // 2, 2)).unflatten(2, (height // 2, 2)).permute(0, 1, 2, 4, 3, 5, 6).flatten(4)
        h = self.down(h) + self.core_time[:, :frames] + self.core_space
        for block in self.core:
            h = block(h, core_shared, encoder_hidden_states)
        h = self.up(h).unflatten(4, (2, 2, -1)).permute(0, 1, 2, 4, 3, 5, 6).flatten(4, 5).flatten(2, 3)
        x = x + h
        for block in self.fine_out:
            x = block(x, fine_shared)
        x = self.norm_out(x)
        return self.patch_out(x), self.flow_out(x)
