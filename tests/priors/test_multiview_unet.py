"""MV-VDM's network: the released names and shapes, diffusers' own values where gates are closed, and its cost."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch
from diffusers.models.attention_processor import Attention, IPAdapterAttnProcessor2_0
from diffusers.models.unets.unet_motion_model import UNetMotionModel
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from stages.priors.multiview.attention import PictureAttention, SpaceTimeAttention, ViewsAttention, sine_places
from stages.priors.multiview.unet import MultiViewUNetMotionModel, is_trained, on_meta
from tests.priors.tiny_mvvdm import UNET, tiny_unet

NAMES = Path(__file__).with_name("mvvdm_names.txt.gz")
"""Text: ``zcat`` shows it."""


def released() -> dict[str, tuple[tuple[int, ...], bool]]:
    """Name -> shape, and whether it is in the released checkpoint."""
    found = {}
    for paragraph in gzip.decompress(NAMES.read_bytes()).decode().strip().split("\n\n")[1:]:
        where, *lines = paragraph.splitlines()
        for line in lines:
            name, shape, origin = line.split()
            for prefix in where.split():
                whole = name if prefix == "-" else f"{prefix}.{name}"
                found[whole] = tuple(map(int, shape.split(","))), origin == "r"
    return found


def asked(batch: int = 1, views: int = 1, frames: int = 3) -> tuple[Tensor, ...]:
    """Latents, timestep, words, appearance, cameras."""
    generator = torch.Generator().manual_seed(1)
    shapes = ((batch, views, 4, frames, 4, 4), (batch, 5, 32), (batch, views, 16), (batch, views, 16))
    latents, words, appearance, cameras = (torch.randn(shape, generator=generator) for shape in shapes)
    return latents, torch.full((batch,), 300), words, appearance, cameras


def test_has_the_names_and_shapes_of_the_released_model() -> None:
    """1,614: 888 in Animate3D's own file, 726 of MVDream and IP-Adapter, none besides."""
    unet = on_meta()
    have = {name: (tuple(tensor.shape), is_trained(name)) for name, tensor in unet.state_dict().items()}
    assert have == released()
    assert len(have) == 1614 and sum(own for _, own in have.values()) == 888
    counts = [sum(p.numel() for n, p in unet.named_parameters() if is_trained(n) is own) / 1e6 for own in (True, False)]
    assert counts == pytest.approx([642.7, 883.5], abs=0.1)


def test_one_view_with_closed_gates_is_animatediff() -> None:
    """Nothing of frame 0, the temporal branch alone, a camera that says nothing, no picture: diffusers' own values."""
    unet = tiny_unet()
    for module in unet.modules():
        processor = getattr(module, "processor", None)
        if isinstance(processor, ViewsAttention):
            processor.to_out_i2v.weight.zero_()
            processor.to_out_i2v.bias.zero_()
        elif isinstance(processor, SpaceTimeAttention):
            processor.alpha_blender.mix_factor.fill_(-1e4)
        elif isinstance(processor, PictureAttention):
            processor.to_v_ip[0].weight.zero_()
    for parameter in unet.camera_embedding.linear_2.parameters():
        parameter.zero_()
    config = {name: value for name, value in UNET.items() if name != "image_embed_dim"}
    theirs = UNetMotionModel(**config).eval()
    lacking = theirs.load_state_dict(unet.state_dict(), strict=False).missing_keys
    assert all(name.endswith("pos_embed.pe") for name in lacking)
    latents, timestep, words, appearance, cameras = asked()
    with torch.no_grad():
        ours = unet(latents, timestep, words, appearance, cameras)
        expected = theirs(latents[:, 0], timestep, words.repeat_interleave(latents.shape[3], 0)).sample
    torch.testing.assert_close(ours[:, 0], expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 0.01


def test_the_picture_is_read_as_ip_adapter_reads_it() -> None:
    ours, theirs = PictureAttention(16, 32), IPAdapterAttnProcessor2_0(16, 32)
    theirs.load_state_dict(ours.state_dict())
    layers = Attention(16, cross_attention_dim=32, heads=2, dim_head=8)
    x, words, picture = torch.randn(2, 9, 16), torch.randn(2, 5, 32), torch.randn(2, 4, 32)
    with torch.no_grad():
        expected = theirs(layers, x, (words, [picture]))
        torch.testing.assert_close(ours(layers, x, (words, picture)), expected, atol=1e-5, rtol=1e-5)


def test_every_part_of_what_it_is_told_matters_to_every_view() -> None:
    """A change in one view is seen in the others; in a model of one view there are no others."""
    unet, told = tiny_unet(), asked(views=4)
    with torch.no_grad():
        whole = unet(*told)
        changed = told[0].clone()
        changed[:, 1, :, 2] += 1.0
        assert ((unet(changed, *told[1:]) - whole).abs().amax(dim=(0, 2, 3, 4, 5)) > 1e-4).all()
        first = told[0].clone()
        first[:, :, :, 0] += 1.0
        assert ((unet(first, *told[1:]) - whole).abs().amax(dim=(0, 1, 2, 4, 5)) > 1e-4).all()
        for place in (2, 3, 4):
            other = [part + 1.0 if place == index else part for index, part in enumerate(told)]
            assert (unet(*other) - whole).abs().max() > 1e-4
        alone = unet(*(part[:, :1] if part.dim() > 2 and index != 2 else part for index, part in enumerate(told)))
        assert (alone - whole[:, :1]).abs().max() > 1e-4


def test_a_batch_is_its_parts() -> None:
    unet, told = tiny_unet(), asked(batch=2, views=2)
    with torch.no_grad():
        parts = [unet(*(part[i : i + 1] for part in told)) for i in range(2)]
        torch.testing.assert_close(unet(*told), torch.cat(parts), atol=1e-5, rtol=1e-5)


def test_attention_to_frame_0_begins_as_the_base_with_nothing_added() -> None:
    unet = MultiViewUNetMotionModel(**UNET)
    unet.begin_at_base()
    layers = [module for module in unet.modules() if isinstance(getattr(module, "processor", None), ViewsAttention)]
    assert len(layers) == 4
    for layer in layers:
        assert torch.equal(layer.processor.to_q_i2v.weight, layer.to_q.weight)
        assert not any(parameter.any() for parameter in layer.processor.to_out_i2v.parameters())


def test_views_attend_to_one_another_and_to_frame_0() -> None:
    """Written out for one query: over both views of its frame, and over both views of frame 0."""
    processor, layers = ViewsAttention(4), Attention(4, heads=1, dim_head=4)
    torch.nn.init.normal_(processor.to_out_i2v.weight)
    x = torch.randn(1, 2, 3, 5, 4)  # [B, V, F, L, D]
    with torch.no_grad():
        out = processor(layers, x.flatten(0, 2), num_views=2, num_frames=3).view_as(x)
        now, first, query = x[0, :, 2].flatten(0, 1), x[0, :, 0].flatten(0, 1), x[0, 1, 2, 3]

        def read(question: Tensor, of: Tensor) -> Tensor:
            return torch.softmax(layers.to_k(of) @ question / 2.0, dim=0) @ layers.to_v(of)

        seen = read(layers.to_q(query), now) + processor.to_out_i2v(read(processor.to_q_i2v(query), first))
        torch.testing.assert_close(out[0, 1, 2, 3], layers.to_out[0](seen), atol=1e-5, rtol=1e-5)


def test_places_in_a_picture() -> None:
    """Row by row; the last of either side is at 2 pi, in the fastest of the waves."""
    places = sine_places(3, 2, 8, torch.device("cpu")).view(3, 2, 8)
    assert torch.equal(places[:, 0, :4], places[:, 1, :4]) and torch.equal(places[0, :, 4:], places[2, :, 4:])
    torch.testing.assert_close(places[2, 1, [0, 4]], torch.zeros(2), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(places[0, 0, :2], torch.tensor([0.866025, -0.5]), atol=1e-4, rtol=0.0)


def test_costs_26_tflop_at_true_size() -> None:
    """Four views of 16 frames of 256 pixels: matrix products, convolutions and attention."""
    unet = on_meta().eval().requires_grad_(False)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        shapes = ((1, 4, 4, 16, 32, 32), (1,), (1, 77, 768), (1, 4, 1024), (1, 4, 16))
        predicted = unet(*(torch.empty(shape) for shape in shapes))
    assert predicted.shape == shapes[0]
    assert counter.get_total_flops() / 1e12 == pytest.approx(26.0, rel=0.03)
