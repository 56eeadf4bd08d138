"""Published families, tiny but real: shapes, schedules, pictures, adapters, and the model's own ODE there and back."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.pipelines.ltx.pipeline_ltx import calculate_shift
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode

from stages.errors import BadInput, NotAvailable
from stages.objectives.inversion import ddim_invert
from stages.objectives.sampling import ddim_denoise
from stages.priors.load import load_prior
from stages.priors.lora import adapter_on, add_adapter
from stages.priors.prior import Condition
from stages.priors.published import PublishedPrior
from stages.priors.sampling import SamplingDefaults
from tests.priors.tiny_models import MODELS, SEES_PICTURE, save_model, small_clips

KINDS = {"modelscope": "epsilon", "cogvideox": "v_prediction"} | dict.fromkeys(
    ("wan", "fastwan", "anyflow", "skyreels", "ltx"), "flow"
)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: save_model(name, tmp_path_factory.mktemp(name)) for name in MODELS}


def tiny(folders: dict[str, Path], name: str, profile: str = "24gb") -> PublishedPrior:
    prior = load_prior(str(folders[name]), profile=profile, **small_clips(name))
    assert isinstance(prior, PublishedPrior)
    return prior


def some_frames(prior: PublishedPrior) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    still = torch.rand(1, prior.clip.height // 4, prior.clip.width // 4, 3, generator=generator)
    still = still.repeat_interleave(4, 1).repeat_interleave(4, 2)
    return (still + 0.2 * torch.linspace(0.0, 1.0, prior.clip.num_frames)[:, None, None, None]).clamp(0.0, 1.0)


@pytest.mark.parametrize("name", MODELS)
def test_predicts_from_words_and_picture(folders: dict[str, Path], name: str) -> None:
    prior = tiny(folders, name)
    assert prior.parameterization.kind == KINDS[name.split("-")[0]]
    frames = some_frames(prior)
    with torch.no_grad():
        latents = prior.encode(frames)
        assert prior.decode(latents).shape == frames.shape
        assert prior.encode_still(frames[:1]).shape == latents.shape
        picture = prior.encode_picture(frames[:1])
    assert (picture is not None) == (name in SEES_PICTURE) == prior.sees_picture
    walk, jump = prior.encode_text(["a deer walks", "a deer jumps"]).split()
    x_t = prior.parameterization.add_noise(latents, torch.randn_like(latents), 700)
    with torch.no_grad():
        walks, jumps = (
            prior.predict(x_t, 700, Condition(walk, picture)),
            prior.predict(x_t, 700, Condition(jump, picture)),
        )
        later = prior.predict(x_t, 300, Condition(walk, picture))
        both = prior.predict(x_t.expand(2, -1, -1, -1, -1), 700, Condition(walk.stack([walk, jump]), picture))
    assert walks.shape == latents.shape and walks.isfinite().all()
    assert (walks - jumps).abs().max() > 1e-6 < (walks - later).abs().max()
    torch.testing.assert_close(both, torch.cat([walks, jumps]), atol=1e-4, rtol=1e-4)
    if picture is not None:
        with torch.no_grad():
            other = prior.predict(x_t, 700, Condition(walk, prior.encode_picture(1.0 - frames[:1])))
        assert (other - walks)[:, :, -1].abs().max() > 1e-6


@pytest.mark.parametrize("name", MODELS)
def test_the_first_frame_of_a_given_picture_is_that_picture(folders: dict[str, Path], name: str) -> None:
    """Models that are handed the picture as their first latent frame estimate exactly it there."""
    prior = tiny(folders, name)
    if name not in ("wan-ti2v", "fastwan-ti2v", "ltx"):
        return
    frames = some_frames(prior)
    with torch.no_grad():
        latents, picture = prior.encode(frames), prior.encode_picture(frames[:1])
        x_t = prior.parameterization.add_noise(latents, torch.randn_like(latents), 700)
        x0 = prior.parameterization.to_x0(
            prior.predict(x_t, 700, Condition(prior.encode_text(["a deer"]), picture)), x_t, 700
        )
    assert picture is not None
    torch.testing.assert_close(x0[:, :, 0], picture, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_inverting_then_denoising_returns_the_clip(folders: dict[str, Path], name: str) -> None:
    """The model's own ODE there and back; more steps bring it nearer."""
    prior = tiny(folders, name)
    frames = some_frames(prior)
    text = prior.encode_text(["a deer walks"])
    with torch.no_grad():
        latents, picture = prior.encode(frames), prior.encode_picture(frames[:1])
        scale = latents.std()  # random autoencoders give latents of any size
        latents, picture = latents / scale, None if picture is None else picture / scale
        errors = []
        for steps in (4, 32):
            noisy = ddim_invert(prior, latents, 600, Condition(text, picture), steps)
            back = ddim_denoise(prior, noisy, 600, Condition(text, picture), steps)
            errors.append(float((back - latents).square().mean() / latents.square().mean()))
    assert errors[1] < 0.1 and errors[1] < errors[0]


@pytest.mark.parametrize("name", MODELS)
def test_an_adapter_that_is_off_changes_no_bit(folders: dict[str, Path], name: str) -> None:
    prior = tiny(folders, name)
    x = torch.randn(prior.encode(some_frames(prior)).shape)
    text = prior.encode_text(["a deer walks"])
    with torch.no_grad():
        before = prior.predict(x, 500, Condition(text))
        parameters = add_adapter(prior.denoiser, rank=2, alpha=2.0, seed=0)
        for _, parameter in parameters:
            torch.nn.init.normal_(parameter, std=0.1)
        assert torch.equal(prior.predict(x, 500, Condition(text)), before)
        with adapter_on(prior.denoiser):
            assert (prior.predict(x, 500, Condition(text)) - before).abs().max() > 1e-6
        assert torch.equal(prior.predict(x, 500, Condition(text)), before)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_reach_pixels_and_adapter_the_same_with_checkpoints(folders: dict[str, Path], name: str) -> None:
    found = []
    for profile in ("80gb", "24gb"):
        prior = tiny(folders, name, profile)
        frames = some_frames(prior).requires_grad_(True)
        latents = prior.encode(frames)
        (latents * torch.linspace(-1, 1, latents.numel()).view_as(latents)).sum().backward()
        text = prior.encode_text(["a deer walks"])
        parameters = add_adapter(prior.denoiser, rank=2, alpha=2.0, seed=0)
        picture = prior.encode_picture(frames[:1].detach())
        with adapter_on(prior.denoiser):
            for timestep in (500, 100):  # of two experts each is asked once
                prior.predict(latents.detach(), timestep, Condition(text, picture)).square().sum().backward()
        assert frames.grad is not None and frames.grad.abs().max() > 0.0
        found.append([frames.grad, *(p.grad for _, p in parameters if p.grad is not None)])
        assert len(found[-1]) == len(parameters) + 1
    for plain, again in zip(*found, strict=True):
        assert (plain - again).norm() <= 1e-3 * plain.norm()  # the order of sums differs


@pytest.mark.parametrize("name", MODELS)
def test_checkpoints_work_the_encoder_out_again_once(folders: dict[str, Path], name: str) -> None:
    """Forward, forward again and back: three times a forward's work, and less where layers' inputs are at hand."""
    prior = tiny(folders, name)
    frames = some_frames(prior).requires_grad_(True)
    with FlopCounterMode(display=False) as there, torch.no_grad():
        prior.encode(frames)
    with FlopCounterMode(display=False) as there_and_back:
        prior.encode(frames).sum().backward()
    assert there_and_back.get_total_flops() < 3.1 * there.get_total_flops()


def test_the_text_encoder_is_dropped_and_prompts_are_kept(folders: dict[str, Path]) -> None:
    prior = tiny(folders, "wan")
    text = prior.encode_text(["a deer walks", "a deer"])
    assert not any(isinstance(value, torch.nn.Module) for value in vars(prior).values())  # nothing is loaded yet
    (folders["wan"] / "text_encoder" / "config.json").rename(folders["wan"] / "hidden.json")
    try:
        again = prior.encode_text(["a deer"])
    finally:
        (folders["wan"] / "hidden.json").rename(folders["wan"] / "text_encoder" / "config.json")
    assert text.states is not None and again.states is not None
    assert torch.equal(again.states[0], text.states[1])


@pytest.mark.parametrize(("name", "frames", "nearest"), [("cogvideox", 16, "9 or 17"), ("ltx", 31, "25 or 33")])
def test_refuses_lengths_it_cannot_make(folders: dict[str, Path], name: str, frames: int, nearest: str) -> None:
    with pytest.raises(BadInput, match=f"not {frames}. Nearest: {nearest}"):
        load_prior(str(folders[name]), num_frames=frames, size_px=32)
    with pytest.raises(BadInput, match="multiple of"):
        load_prior(str(folders[name]), num_frames=17, size_px=33)


def test_says_which_part_is_missing(tmp_path: Path) -> None:
    folder = save_model("wan-i2v", tmp_path / "wan-i2v")
    frame = torch.full((1, 32, 32, 3), 0.5)
    (folder / "image_encoder").rename(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match=r"wan-i2v/image_encoder/config\.json is missing.*Download it again"):
        load_prior(str(folder), **small_clips("wan-i2v")).encode_picture(frame)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"image_encoder": [None, None]}))
    with pytest.raises(BadInput, match="names no image_encoder"):
        load_prior(str(folder), **small_clips("wan-i2v")).encode_picture(frame)


def test_makes_clips_of_the_size_whose_places_it_has_learnt(folders: dict[str, Path]) -> None:
    folder = str(folders["cogvideox-5b-i2v"])
    clip = load_prior(folder).clip
    assert (clip.num_frames, clip.height, clip.width) == (17, 32, 48)
    for asked in ({"size_px": 32}, {"num_frames": 25}, {"min_frames": 18}):
        with pytest.raises(BadInput, match=r"at most 17 frames of 48 x 32: it makes none of"):
            load_prior(folder, **asked)


def test_fewer_frames_have_the_places_learnt_for_the_first_ones(folders: dict[str, Path]) -> None:
    """Not computed ones, which the module by itself would take."""
    prior = tiny(folders, "cogvideox-5b-i2v")
    assert prior.clip.num_frames == 9
    latents, text = torch.randn(1, 4, 3, 4, 6), prior.encode_text(["a deer"])
    tokens, patches = prior.max_tokens, 2 * 3 * 3
    learnt = prior._load("transformer").patch_embed.pos_embedding
    places: Any = prior.denoiser.patch_embed  # type: ignore[union-attr]
    assert learnt.shape[1] == tokens + 2 * 3 * 5
    torch.testing.assert_close(places.pos_embedding, learnt[:, : tokens + patches])
    with torch.no_grad():
        before = prior.predict(latents, 500, Condition(text))
        places.pos_embedding += torch.randn(places.pos_embedding.shape)
        assert (prior.predict(latents, 500, Condition(text)) - before).abs().max() > 1e-3


def test_each_expert_is_asked_on_its_side_of_the_boundary(folders: dict[str, Path]) -> None:
    """And a LoRA changes both."""
    prior = tiny(folders, "wan-2.2-t2v")
    experts: Any = prior.denoiser
    latents, text = torch.randn(1, 16, 2, 4, 4), prior.encode_text(["a deer"])
    below = max(t for t, level in enumerate(prior.noise_levels) if level < 500.0)
    names = [name for name, _ in add_adapter(experts, rank=2, alpha=2.0, seed=0)]
    assert {name.split(".")[0] for name in names} == {"high", "low"}
    with torch.no_grad():
        before = [prior.predict(latents, timestep, Condition(text)) for timestep in (below, below + 1)]
        experts["low"].proj_out.weight.zero_()
        after = [prior.predict(latents, timestep, Condition(text)) for timestep in (below, below + 1)]
    assert (before[0] - after[0]).abs().max() > 1e-3 and torch.equal(before[1], after[1])


def test_the_picture_is_given_to_wan_i2v_and_nothing_else(folders: dict[str, Path]) -> None:
    """Of the clip beside the noisy one the first frame counts, and only where there is a picture."""
    prior = tiny(folders, "wan-i2v")
    frame, latents = some_frames(prior)[:1], torch.randn(2, 16, 2, 4, 4)
    with torch.no_grad():
        picture = prior.encode_picture(frame)
        assert picture is not None and picture.shape == (1, 16 * 2 * 4 * 4 + 5 * 16)
        beside, tokens = prior._beside(latents, picture.expand(2, -1))  # type: ignore[attr-defined]
        nothing, none = prior._beside(latents, None)  # type: ignore[attr-defined]
        grey = prior.encode(torch.cat([frame, torch.full((4, 32, 32, 3), 0.5)]))
    assert beside.shape == (2, 20, 2, 4, 4) and tokens.shape == (2, 5, 16)
    assert (beside[:, :4, 0] == 1).all() and (beside[:, :4, 1] == 0).all()
    torch.testing.assert_close(beside[:, 4:], grey.expand(2, -1, -1, -1, -1))
    assert not nothing.any() and not none.any()


def test_rounds_up_to_a_length_it_can_make(folders: dict[str, Path]) -> None:
    lengths = {
        name: load_prior(str(folders[name]), size_px=32, min_frames=31).clip.num_frames
        for name in ("modelscope", "cogvideox", "wan", "ltx")
    }
    assert lengths["modelscope"] == 16 and lengths["ltx"] == lengths["wan"] == lengths["cogvideox"] == 33


def test_says_what_it_cannot_run(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = save_model("wan", tmp_path / "wan")
    index = (folder / "model_index.json").read_text()
    (folder / "model_index.json").write_text(index.replace("WanTransformer3DModel", "NoSuchTransformer"))
    with pytest.raises(NotAvailable, match="no family that is known"):
        load_prior(str(folder))
    (folder / "model_index.json").write_text(index)
    config = folder / "transformer" / "config.json"
    says = json.loads(config.read_text())
    for more in ({"in_channels": 48}, {"in_channels": 36, "pos_embed_seq_len": 514}):  # control, first and last frame
        config.write_text(json.dumps(says | more))
        with pytest.raises(NotAvailable, match="more than a sentence and a picture"):
            load_prior(str(folder))
    config.write_text(json.dumps(says))
    (folder / "vae" / "config.json").unlink()
    with pytest.raises(BadInput, match=r"vae/config\.json is missing"):
        load_prior(str(folder))


def test_says_how_its_makers_sample(folders: dict[str, Path], tmp_path: Path) -> None:
    """By family; by the pipeline that it was distilled for; or as the folder itself says."""
    found = {name: tiny(folders, name).sampling for name in MODELS}
    assert (found["modelscope"].guidance, found["cogvideox"].guidance, found["wan"].guidance) == (9.0, 6.0, 5.0)
    assert (found["skyreels-i2v"].steps, found["skyreels-i2v"].shift) == (50, 5.0)
    assert (found["anyflow"].steps, found["anyflow"].guidance, found["anyflow"].renoise) == (4, 1.0, False)
    few = SamplingDefaults.few(1000.0, 757.0, 522.0, renoise=True)
    assert found["fastwan-ti2v"] == few and few.guidance == 1.0
    assert not any(one.renoise for name, one in found.items() if name != "fastwan-ti2v")
    folder = save_model("wan-i2v", tmp_path / "own")
    file = folder / "model_index.json"
    index = json.loads(file.read_text())
    file.write_text(json.dumps(index | {"sampling": {"noise_levels": [1000, 937.5, 833.3, 625], "renoise": True}}))
    clip = small_clips("wan-i2v")
    assert load_prior(str(folder), **clip).sampling == SamplingDefaults.few(  # type: ignore[attr-defined]
        1000.0, 937.5, 833.3, 625.0, renoise=True
    )
    for wrong in ("four", {"step": 4}, {"noise_levels": [500, 1000]}, {"noise_levels": 4}, {"guidance": "much"}):
        file.write_text(json.dumps(index | {"sampling": wrong}))
        with pytest.raises(BadInput, match=r"model_index\.json: 'sampling'"):
            load_prior(str(folder), **clip)


def test_ltx_steps_are_shifted_as_in_its_pipeline(folders: dict[str, Path], tmp_path: Path) -> None:
    """More, the more latent pixels there are."""
    folder = save_model("ltx", tmp_path / "ltx")
    file = folder / "scheduler" / "scheduler_config.json"
    says = {"use_dynamic_shifting": True, "base_shift": 0.95, "max_shift": 2.05}
    says |= {"base_image_seq_len": 1024, "max_image_seq_len": 4096}
    file.write_text(json.dumps(json.loads(file.read_text()) | says))
    prior = load_prior(str(folder), num_frames=9, size_px=64)
    pixels = 2 * (64 // prior._shrink) ** 2  # type: ignore[attr-defined]
    mu = calculate_shift(pixels, 1024, 4096, 0.95, 2.05)
    assert prior.sampling.shift == pytest.approx(math.exp(mu))  # type: ignore[attr-defined]
    assert tiny(folders, "ltx").sampling.shift is None


def test_refuses_few_step_models_of_other_kinds(tmp_path: Path) -> None:
    """Those that go from piece to piece, those of sparse attention, and SkyReels' diffusion forcing."""
    wan = save_model("wan", tmp_path / "wan")
    index = (wan / "model_index.json").read_text()
    (wan / "model_index.json").write_text(index.replace("WanPipeline", "WanCausalDMDPipeline"))
    with pytest.raises(NotAvailable, match="WanCausalDMDPipeline"):
        load_prior(str(wan), **small_clips("wan"))
    (wan / "model_index.json").write_text(index.replace("WanPipeline", "WanDMDPipeline"))
    weights = wan / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    for gate, message in ((0.0, None), (1.0, "sparse attention")):
        save_file(tensors | {"blocks.0.to_gate_compress.weight": torch.full((24, 24), gate)}, weights)
        prior = load_prior(str(wan), **small_clips("wan"))
        if message is None:
            assert prior.denoiser is not None
            continue
        with pytest.raises(NotAvailable, match=message):
            _ = prior.denoiser
    forcing = save_model("skyreels-i2v", tmp_path / "skyreels")
    config = forcing / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"inject_sample_info": True}))
    with pytest.raises(NotAvailable, match="diffusion forcing"):
        load_prior(str(forcing), **small_clips("skyreels-i2v"))


CARD = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize(
    ("device", "dtype", "most"),
    [
        ("cpu", torch.bfloat16, 0.05),
        pytest.param("cuda", torch.float32, 0.01, marks=CARD),
        pytest.param("cuda", torch.bfloat16, 0.1, marks=CARD),
    ],
)
@pytest.mark.parametrize("name", MODELS)
def test_says_the_same_elsewhere_and_in_bfloat16(
    folders: dict[str, Path], name: str, device: str, dtype: torch.dtype, most: float
) -> None:
    """As in float32 on a CPU, to the rounding of ``dtype``."""
    answers = []
    for prior, at, of in ((tiny(folders, name), "cpu", torch.float32), (tiny(folders, name), device, dtype)):
        prior.device, prior.dtype = torch.device(at), of
        frames = some_frames(prior).to(at)
        with torch.no_grad():
            latents = prior.encode(frames)
            noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(latents)
            x_t = prior.parameterization.add_noise(latents, noise, 700)
            text, picture = prior.encode_text(["a deer walks"]), prior.encode_picture(frames[:1])
            answers.append(prior.predict(x_t, 700, Condition(text, picture)).cpu())
    exact, other = answers
    assert other.dtype == torch.float32
    assert (other - exact).norm() < most * exact.norm()


@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler itself
def test_compiled_it_says_the_same_with_the_adapter_on_and_off(folders: dict[str, Path]) -> None:
    """One graph each, whatever the timestep."""
    plain, compiled = (
        load_prior(str(folders["ltx"]), num_frames=9, size_px=32, compiled=compiled) for compiled in (False, True)
    )
    assert isinstance(plain, PublishedPrior)
    frames = some_frames(plain)
    with torch.no_grad():
        latents, picture = plain.encode(frames), plain.encode_picture(frames[:1])
    for prior in (plain, compiled):
        assert prior.denoiser is not None
        for _, weight in add_adapter(prior.denoiser, rank=4, alpha=4.0, seed=0):
            torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(0))
    torch._dynamo.utils.counters.clear()
    for timestep in (700, 300, 12):
        found = []
        for prior in (plain, compiled):
            text = prior.encode_text(["a deer walks"])
            with torch.no_grad():
                bare = prior.predict(latents, timestep, Condition(text, picture))
                with adapter_on(prior.denoiser):
                    found.append(torch.stack([bare, prior.predict(latents, timestep, Condition(text, picture))]))
        torch.testing.assert_close(found[1], found[0], atol=1e-4, rtol=1e-4)
        assert (found[0][0] - found[0][1]).abs().max() > 1e-3
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2


def test_without_a_compiler_it_says_so(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NotAvailable, match="C\\+\\+ compiler"):
        load_prior(str(folders["ltx"]), num_frames=9, size_px=32, compiled=True)
