"""What the families hand to a model is what diffusers' own pipelines hand to it, for the same words and picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer

from stages.priors.load import load_prior
from stages.priors.prior import Condition
from stages.priors.published import PublishedPrior
from tests.priors.test_families import some_frames
from tests.priors.tiny_models import save_model, small_clips

PROMPT = "a deer walks"
PIPELINES = {
    "modelscope": "TextToVideoSDPipeline",
    "cogvideox": "CogVideoXPipeline",
    "cogvideox-i2v": "CogVideoXImageToVideoPipeline",
    "cogvideox-5b-i2v": "CogVideoXImageToVideoPipeline",
    "wan": "WanPipeline",
    "wan-ti2v": "WanImageToVideoPipeline",
    "wan-i2v": "WanImageToVideoPipeline",
    "wan-2.2-t2v": "WanPipeline",
    "wan-2.2-i2v": "WanImageToVideoPipeline",
    "fastwan-ti2v": "WanImageToVideoPipeline",
    "anyflow": "AnyFlowPipeline",
    "skyreels-i2v": "SkyReelsV2ImageToVideoPipeline",
    "ltx": "LTXImageToVideoPipeline",
}


class Asked(Exception):
    """Raised in place of the model's answer, with what it was asked."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.kwargs = kwargs | dict(zip(("sample", "timestep"), args, strict=False))


def ask(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    raise Asked(args, kwargs)


def pipeline_of(name: str, folder: Path, prior: PublishedPrior) -> Any:
    """Diffusers' pipeline of the same weights."""
    text_encoder = prior._load("text_encoder")
    parts = {
        "vae": prior.vae,
        "text_encoder": text_encoder,
        "tokenizer": AutoTokenizer.from_pretrained(folder / "tokenizer", model_max_length=prior.max_tokens),
        "scheduler": getattr(diffusers, prior.index["scheduler"][1]).from_pretrained(folder / "scheduler"),
        **dict(zip((prior.denoiser_part, "transformer_2"), denoisers_of(prior), strict=False)),
    }
    if "image_encoder" in prior.index:
        parts["image_encoder"] = prior._load("image_encoder")
        parts["image_processor"] = AutoImageProcessor.from_pretrained(folder / "image_processor")
    more = {key: prior.index[key] for key in ("expand_timesteps", "boundary_ratio") if key in prior.index}
    pipeline = getattr(diffusers, PIPELINES[name])(**parts, **more)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def denoisers_of(prior: PublishedPrior) -> list[torch.nn.Module]:
    """The one, or the expert for high noise and that for low."""
    return list(prior.denoiser.values()) if isinstance(prior.denoiser, torch.nn.ModuleDict) else [prior.denoiser]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(PIPELINES.keys() - {"anyflow"}))  # which is asked of whole steps
def test_asks_what_the_pipeline_asks(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some pipelines draw the picture's latents where the project takes their mean: here they take the mean too."""
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())
    folder = save_model(name, tmp_path / name)
    prior = load_prior(str(folder), profile="80gb", **small_clips(name))
    assert isinstance(prior, PublishedPrior)
    pipeline = pipeline_of(name, folder, prior)
    frames = (255.0 * some_frames(prior)).round() / 255.0  # as a file has them
    with torch.no_grad():
        latents, picture = torch.randn(prior.encode(frames).shape), prior.encode_picture(frames[:1])
    for denoiser in denoisers_of(prior):
        denoiser.register_forward_pre_hook(ask, with_kwargs=True)
    call: dict[str, Any] = {
        "prompt": PROMPT,
        "negative_prompt": None,
        "height": prior.clip.height,
        "width": prior.clip.width,
        "num_frames": prior.clip.num_frames,
        "num_inference_steps": 2,
        "guidance_scale": 1.0,
    }
    call |= {} if name == "modelscope" else {"max_sequence_length": prior.max_tokens}
    if "ltx" in name:
        call |= {"frame_rate": 24, "image": frames[:1].permute(0, 3, 1, 2)}
    elif picture is not None:
        call |= {"image": frames[:1].permute(0, 3, 1, 2)}
    if name in ("wan-i2v", "skyreels-i2v"):  # which CLIP reads in whole numbers
        call["image"] = Image.fromarray((255 * frames[0]).round().byte().numpy())
    if name.startswith(("wan-", "fastwan", "skyreels")):  # those pipelines want ftfy to read a prompt
        call |= {"prompt": None, "prompt_embeds": prior.encode_text([PROMPT]).states}
    torch.manual_seed(0)
    if "ltx" not in name:  # that pipeline mixes the picture in itself, and wants it mixed when latents are given
        call["latents"] = latents.transpose(1, 2).clone() if name.startswith("cogvideox") else latents.clone()
    with pytest.raises(Asked) as theirs:
        pipeline(**call)
    asked = theirs.value.kwargs
    if "ltx" in name:
        latents = asked["hidden_states"].transpose(1, 2).reshape(latents.shape)
    time = float(torch.as_tensor(asked["timestep"]).float().max())
    if prior.parameterization.kind == "flow":
        timestep = int((torch.tensor(prior.noise_levels) - time).abs().argmin())
        prior.noise_levels[timestep] = time  # between two of our levels
    else:
        timestep = int(time)
    with pytest.raises(Asked) as ours, torch.no_grad():
        prior.predict(latents, timestep, Condition(prior.encode_text([PROMPT]), picture))
    compare(asked, ours.value.kwargs)


@pytest.mark.filterwarnings("ignore")
def test_asks_the_expert_that_the_pipeline_asks(tmp_path: Path) -> None:
    """At every noise level of a whole denoising."""
    name = "wan-2.2-t2v"
    prior = load_prior(str(save_model(name, tmp_path / name)), profile="80gb", **small_clips(name))
    assert isinstance(prior, PublishedPrior)
    pipeline, asked = pipeline_of(name, tmp_path / name, prior), []
    experts = denoisers_of(prior)

    def record(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        asked.append((float(kwargs["timestep"].max()), experts.index(module)))

    hooks = [expert.register_forward_pre_hook(record, with_kwargs=True) for expert in experts]
    states = prior.encode_text([PROMPT]).states
    latents = torch.randn(1, 16, 2, 4, 4)
    pipeline(prompt_embeds=states, latents=latents, height=32, width=32, num_frames=5, num_inference_steps=12,
             guidance_scale=1.0, output_type="latent")  # fmt: skip
    theirs = asked.copy()
    assert {expert for _, expert in theirs} == {0, 1}
    asked.clear()
    with torch.no_grad():
        for time, _ in theirs:
            prior.noise_levels[0] = time
            prior.predict(latents, 0, Condition(prior.encode_text([PROMPT])))
    assert asked == theirs
    for hook in hooks:
        hook.remove()


def compare(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """Everything that says something is there on both sides, and the same."""
    quiet = ("return_dict", "attention_kwargs", "cross_attention_kwargs")

    def said(kwargs: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in kwargs.items() if key not in quiet and value is not None}

    theirs, ours = said(theirs), said(ours)
    assert theirs.keys() == ours.keys()
    for key, value in theirs.items():
        if key == "timestep":
            value, ours[key] = (torch.as_tensor(time).float().expand(1, -1) if torch.as_tensor(time).dim() else
                                torch.as_tensor(time).float().view(1, 1) for time in (value, ours[key]))  # fmt: skip
            value, ours[key] = torch.broadcast_tensors(value, ours[key])
        if isinstance(value, (tuple, list)):
            for one, other in zip(value, ours[key], strict=True):
                torch.testing.assert_close(torch.as_tensor(one), torch.as_tensor(other), atol=1e-4, rtol=1e-4)
        else:
            other = torch.as_tensor(ours[key])
            torch.testing.assert_close(torch.as_tensor(value).to(other.dtype), other, atol=1e-3, rtol=1e-3)
