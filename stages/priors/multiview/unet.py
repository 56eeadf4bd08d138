"""MV-VDM's network: AnimateDiff's UNet over V views, told of cameras and pictures (Animate3D, section 3.1).

It is diffusers' ``UNetMotionModel`` with MVDream's camera embedding, IP-Adapter's projection, and the attentions of
``stages.priors.multiview.attention``. Its parameters have the names of the released model on diffusers' classes.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.embeddings import ImageProjection, TimestepEmbedding
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D, UNetMotionModel
from torch import Tensor

from stages.priors.multiview.attention import PictureAttention, SpaceTimeAttention, ViewsAttention

TRAINED = ("motion_modules.", "i2v.")
"""In the names of the parameters that Animate3D trained and released; the others are MVDream's and IP-Adapter's."""


class MultiViewUNetMotionModel(UNetMotionModel):
    """Predicts the noise in V videos of one moving thing. The defaults are the sizes of the released model."""

    @register_to_config
    def __init__(
        self,
        sample_size: int = 32,
        in_channels: int = 4,
        out_channels: int = 4,
        down_block_types: tuple[str, ...] = (*("CrossAttnDownBlockMotion",) * 3, "DownBlockMotion"),
        up_block_types: tuple[str, ...] = ("UpBlockMotion", *("CrossAttnUpBlockMotion",) * 3),
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        norm_num_groups: int = 32,
        cross_attention_dim: int = 768,
        num_attention_heads: int = 8,
        motion_num_attention_heads: int = 8,
        motion_max_seq_length: int = 32,
        camera_dim: int = 16,
        image_embed_dim: int = 1024,
        num_image_tokens: int = 4,
    ) -> None:
        super().__init__(
            sample_size=sample_size,
            in_channels=in_channels,
            out_channels=out_channels,
            down_block_types=down_block_types,
            up_block_types=up_block_types,
            block_out_channels=block_out_channels,
            layers_per_block=layers_per_block,
            norm_num_groups=norm_num_groups,
            cross_attention_dim=cross_attention_dim,
            num_attention_heads=num_attention_heads,
            motion_num_attention_heads=motion_num_attention_heads,
            motion_max_seq_length=motion_max_seq_length,
        )
        width = block_out_channels[0]
        self.time_embedding = TimeAndCamera(width, 4 * width)
        self.camera_embedding = TimestepEmbedding(camera_dim, 4 * width)
        self.encoder_hid_proj = cast(Any, ImageProjection(image_embed_dim, cross_attention_dim, num_image_tokens))
        self._num_views = 1
        for name, module in self.named_modules():
            if isinstance(module, AnimateDiffTransformer3D):
                module.register_forward_pre_hook(self._tell_grid, with_kwargs=True)
            if not isinstance(module, BasicTransformerBlock):
                continue
            block: Any = module
            if "motion_modules" in name:
                block.pos_embed = None  # the attention adds the places itself
                for attention in (block.attn1, block.attn2):
                    attention.set_processor(SpaceTimeAttention(block.dim, motion_max_seq_length))
            else:
                block.attn1.set_processor(ViewsAttention(block.dim))
                block.attn2.set_processor(PictureAttention(block.dim, cross_attention_dim))

    def begin_at_base(self) -> None:
        """Attention to frame 0 begins as MVDream's own attention, and adds nothing at first."""
        for module in self.modules():
            layers: Any = module
            if isinstance(getattr(layers, "processor", None), ViewsAttention):
                layers.processor.to_q_i2v.load_state_dict(layers.to_q.state_dict())

    def forward(
        self,
        latents: Tensor,  # [B, V, C, F, h, w] noisy but for frame 0
        timestep: Tensor,  # [B]
        words: Tensor,  # [B, L, D] states of the sentences
        appearance: Tensor,  # [B, V, D'] what CLIP says of each view's picture
        cameras: Tensor,  # [B, V, 16] see ``stages.priors.multiview.cameras``
    ) -> Tensor:  # [B, V, C, F, h, w] the noise; what it says of frame 0 means nothing
        """The noise in ``latents``."""
        batch, num_views, _, num_frames = latents.shape[:4]
        each = num_views * num_frames
        self._num_views = num_views
        projection: Any = self.encoder_hid_proj
        tokens = projection(appearance.flatten(0, 1)).repeat_interleave(num_frames, dim=0)
        predicted = super().forward(
            latents.flatten(0, 1),
            timestep.repeat_interleave(num_views, dim=0),
            encoder_hidden_states=(words.repeat_interleave(each, dim=0), tokens),
            timestep_cond=self.camera_embedding(cameras.flatten(0, 1)),
            cross_attention_kwargs={"num_views": num_views, "num_frames": num_frames},
            return_dict=False,
        )[0]
        return predicted.unflatten(0, (batch, num_views))

    def _tell_grid(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Motion modules are told by their block of the number of frames only."""
        height, width = args[0].shape[-2:]
        grid = {"num_views": self._num_views, "height": height, "width": width}
        return args[:5], {**kwargs, "cross_attention_kwargs": grid}  # some blocks fill that one by its place, with None


class TimeAndCamera(TimestepEmbedding):
    """Of a timestep; what is known of the camera [B, D] is added, where diffusers would mix in a condition."""

    def forward(self, sample: Tensor, condition: Tensor | None = None) -> Tensor:
        """Embedding [B, D] of ``sample`` [B, D']."""
        embedded = super().forward(sample)
        return embedded if condition is None else embedded + condition


def is_trained(name: str) -> bool:
    """Whether a parameter or a buffer of the network is Animate3D's own."""
    return any(part in name for part in TRAINED)


def on_meta(**config: Any) -> MultiViewUNetMotionModel:
    """The network without its numbers: names and shapes only."""
    with torch.device("meta"):
        return MultiViewUNetMotionModel(**config).to("meta")  # some numbers are made elsewhere
