"""The numba kernels against their readable twin: images and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from stages.raster import cpu, torch_reference
from tests.raster.scenes import BACKGROUND, KINDS, SIZE, image_and_gradients, relative_error, scene


@pytest.mark.parametrize("kind", KINDS)
def test_float32_equals_the_float64_reference(kind: str) -> None:
    """Relative error below 1e-4; what remains (about 1e-6) is the rounding of inputs and outputs to float32.

    The inputs are rounded first, so that both sides decide alike at the thresholds of alpha and transmittance.
    """
    arguments = {key: value.float().double() for key, value in scene(kind).items()}
    truth = image_and_gradients(torch_reference.rasterize, arguments, torch.float64)
    mine = image_and_gradients(cpu.rasterize, arguments, torch.float32)
    errors = {key: relative_error(mine[key], truth[key]) for key in truth}
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.parametrize("rasterize", [cpu.rasterize, torch_reference.rasterize], ids=["cpu", "reference"])
def test_gradcheck(rasterize) -> None:  # type: ignore[no-untyped-def]
    """On Gaussians so wide that no pixel sits at the alpha threshold."""
    arguments = scene("soft", frames=1, count=4)
    arguments["scales"] = arguments["scales"] * 8.0
    arguments["opacities"] = 0.3 + 0.4 * arguments["opacities"]
    names = ("means", "quats", "scales", "opacities", "colors")
    inputs = [arguments[key].requires_grad_() for key in names]

    def image(*tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = rasterize(*tensors, arguments["viewmats"], arguments["Ks"], 6, 5, BACKGROUND)
        return out.rgb, out.alpha

    arguments["Ks"] = arguments["Ks"] * torch.tensor([0.25, 0.25, 1.0], dtype=torch.float64)[:, None]
    assert torch.autograd.gradcheck(image, inputs, eps=1e-6, atol=1e-6, rtol=1e-4)


def test_frames_and_threads_do_not_change_a_bit() -> None:
    arguments = scene("soft", frames=4)
    alone = image_and_gradients(cpu.rasterize, arguments, torch.float32)
    torch.set_num_threads(3)
    try:
        threaded = image_and_gradients(cpu.rasterize, arguments, torch.float32)
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(alone[key], threaded[key]) for key in alone)


def test_shared_colours_get_the_sum_of_the_frames_gradients() -> None:
    arguments = scene("soft", frames=3)
    arguments["colors"] = arguments["colors"][:1].expand(3, -1, -1)
    per_frame = image_and_gradients(cpu.rasterize, arguments, torch.float64)["colors"].sum(dim=0)
    arguments["colors"] = arguments["colors"][0]
    torch.testing.assert_close(image_and_gradients(cpu.rasterize, arguments, torch.float64)["colors"], per_frame)


def test_shared_scales_get_the_sum_of_the_frames_gradients() -> None:
    """And scales of each frame are that frame's."""
    arguments = scene("soft", frames=3)
    shared = image_and_gradients(cpu.rasterize, arguments, torch.float64)
    arguments["scales"] = arguments["scales"].expand(3, -1, -1)
    per_frame = image_and_gradients(cpu.rasterize, arguments, torch.float64)
    assert torch.equal(per_frame["rgb"], shared["rgb"]) and per_frame["scales"].shape == (3, 60, 3)
    torch.testing.assert_close(per_frame["scales"].sum(dim=0), shared["scales"])
    arguments["scales"] = torch.stack([arguments["scales"][0] * size for size in (1.0, 0.5, 1.0)])
    smaller = image_and_gradients(cpu.rasterize, arguments, torch.float64)["rgb"]
    assert torch.equal(smaller[[0, 2]], shared["rgb"][[0, 2]]) and not torch.equal(smaller[1], shared["rgb"][1])


@pytest.mark.parametrize("kind", KINDS)
def test_scales_and_pictures_of_every_frame_equal_the_reference(kind: str) -> None:
    arguments = scene(kind)
    drawn = torch.tensor([[1.4, 1.0, 0.7], [0.6, 1.2, 1.0]], dtype=torch.float64)
    arguments["scales"] = arguments["scales"] * drawn[:, None]
    arguments = {key: value.float().double() for key, value in arguments.items()}
    shape = (2, SIZE[1], SIZE[0], 3)
    behind = torch.rand(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    truth = image_and_gradients(torch_reference.rasterize, arguments, torch.float64, SIZE, behind)
    mine = image_and_gradients(cpu.rasterize, arguments, torch.float32, SIZE, behind)
    errors = {key: relative_error(mine[key], truth[key]) for key in truth}
    assert max(errors.values()) < 1e-4, errors


def test_a_picture_of_one_colour_is_that_colour() -> None:
    arguments = scene("soft")
    picture = BACKGROUND.expand(2, SIZE[1], SIZE[0], 3)
    images = [
        cpu.rasterize(**arguments, width=SIZE[0], height=SIZE[1], background=b).rgb for b in (picture, BACKGROUND)
    ]
    assert torch.equal(*images)


def test_nothing_in_view_is_background() -> None:
    arguments = scene("soft", frames=1)
    arguments["means"] = arguments["means"] + arguments["viewmats"][0, 2, :3] * -50.0
    out = cpu.rasterize(**arguments, width=SIZE[0], height=SIZE[1], background=BACKGROUND)
    assert torch.equal(out.rgb, BACKGROUND.expand_as(out.rgb)) and out.alpha.max() == 0.0


def test_no_gaussians_at_all() -> None:
    empty = {key: value[:, :0] if value.dim() == 3 else value[:0] for key, value in scene("soft").items()}
    empty["viewmats"], empty["Ks"] = scene("soft")["viewmats"], scene("soft")["Ks"]
    values = image_and_gradients(cpu.rasterize, empty, torch.float32)
    assert values["alpha"].max() == 0.0 and values["means"].shape == (2, 0, 3)


def test_a_quaternion_of_zeros_is_no_rotation() -> None:
    """As in the reference; an unfinished file or an optimiser's stray step must not stop a run."""
    arguments = scene("soft")
    identity = {**arguments, "quats": arguments["quats"].clone()}
    identity["quats"][:, 3] = torch.tensor([1.0, 0.0, 0.0, 0.0])
    arguments["quats"][:, 3] = 0.0
    for rasterize in (cpu.rasterize, torch_reference.rasterize):
        images = [rasterize(**a, width=SIZE[0], height=SIZE[1]).rgb for a in (arguments, identity)]
        torch.testing.assert_close(images[0], images[1])


def test_kernels_compile_where_nothing_can_be_cached() -> None:
    """A function without a file has no cache either, like a read-only install of a user without a home."""
    names: dict[str, Any] = {}
    exec("def twice(x): return 2.0 * x", names)
    assert cpu._kernel(names["twice"])(1.5) == 3.0


def test_only_first_derivatives_are_offered() -> None:
    arguments = scene("soft", frames=1)
    arguments["means"].requires_grad_()
    out = cpu.rasterize(**arguments, width=SIZE[0], height=SIZE[1])
    (gradient,) = torch.autograd.grad(out.rgb.square().sum(), arguments["means"], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_changing_the_image_in_place_does_not_change_its_gradients() -> None:
    """The kernels keep their own copy, also when no conversion of type forces one."""
    arguments = scene("soft", frames=1)
    clean = image_and_gradients(cpu.rasterize, arguments, torch.float64)["means"]

    def scribble(**kwargs):  # type: ignore[no-untyped-def]
        out = cpu.rasterize(**kwargs)
        kept = type(out)(rgb=out.rgb * 1.0, alpha=out.alpha * 1.0)
        out.rgb.data.zero_()
        return kept

    assert torch.equal(image_and_gradients(scribble, arguments, torch.float64)["means"], clean)


def test_one_gaussian_against_hand_computed_values() -> None:
    """Centre pixel and a neighbour of an isotropic Gaussian, from the formulas on paper."""
    K = torch.tensor([[[10.0, 0.0, 2.5], [0.0, 10.0, 2.5], [0.0, 0.0, 1.0]]])
    out = cpu.rasterize(
        torch.tensor([[[0.0, 0.0, 2.0]]]), torch.tensor([[[1.0, 0.0, 0.0, 0.0]]]), torch.full((1, 3), 0.2),
        torch.tensor([0.8]), torch.ones(1, 3), torch.eye(4)[None], K, 5, 5,
    )  # fmt: skip
    variance = (10.0 / 2.0 * 0.2) ** 2 + 0.3
    expected = [0.8, 0.8 * np.exp(-0.5 / variance)]
    np.testing.assert_allclose(out.alpha[0, 2, 2:4, 0].numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(out.rgb[0, 2, 2:4, 1].numpy(), expected, rtol=1e-6)
