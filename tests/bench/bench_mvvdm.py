"""Work and peak memory of MV-VDM at true size, four views of 16 frames of 256 pixels, on fake tensors.

    python -m tests.bench.bench_mvvdm

Counted as in ``bench_memory``, in bfloat16 with the profile "24gb": GiB that are alive at most, weights included, and
TFLOP of matrix products, convolutions and attention. ``sample`` is what ``sample_views`` holds: pictures encoded and
read by CLIP, two guided steps of two rounds of FreeInit, all frames decoded. The last line is JSON.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from stages.objectives import sample_views as sampling
from stages.priors.load import load_prior
from stages.priors.multiview import MVVDMPrior
from stages.priors.multiview.folder import CLASSES, PIPELINE, ddim_scheduler
from stages.priors.multiview.unet import MultiViewUNetMotionModel, on_meta
from stages.priors.prior import Text
from tests.bench.bench_memory import GIB, Peak
from tests.bench.record import finish
from tests.bench.true_models import CLIP_H_PICTURES, _sd_vae

TEXT_ENCODER = 123_060_480
"""Parameters of CLIP ViT-L/14's text encoder."""


def main() -> None:
    """Count, and write ``results/mvvdm.json``."""
    with fake_mvvdm() as (prior, modules):
        parameters = {name: round(count(module) / 1e9, 3) for name, module in modules.items()}
        gib = {name: peak(prior, modules, stage) for name, stage in STAGES.items()}
    works = tflop()
    works["sample"] = 2 * sampling.STEPS * works["evaluation"]
    works["sample_with_freeinit"] = sampling.FREEINIT * works["sample"]
    works = {name: round(value, 1) for name, value in works.items()}
    gib["text"] = round(2 * TEXT_ENCODER / GIB, 2)
    finish(
        "mvvdm",
        {"gib": gib, "tflop": works, "billions": parameters, "dtype": "bfloat16", "profile": "24gb", "pixels": 256},
        "python -m tests.bench.bench_mvvdm",
    )


def count(module: nn.Module) -> int:
    """Parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


@contextmanager
def fake_mvvdm() -> Iterator[tuple[MVVDMPrior, dict[str, nn.Module]]]:
    """The prior with parts of true shape whose tensors have shapes only, as all that is made within the block."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with TemporaryDirectory() as name:
        with mode:
            modules = true_parts()
        prior = load_prior(folder_for(modules, Path(name)))
        assert isinstance(prior, MVVDMPrior)
        with mode:
            fill(prior, modules)
            with patch.object(Tensor, "cpu", lambda tensor: tensor):
                yield prior, modules


def true_parts() -> dict[str, Any]:
    """The network, the autoencoder and CLIP's image encoder, at true size in bfloat16, on torch's default device."""
    eyes = CLIPVisionConfig(**{**CLIP_H_PICTURES.to_dict(), "projection_dim": 1024})
    torch.set_default_dtype(torch.bfloat16)
    try:
        return {
            "unet": MultiViewUNetMotionModel(),
            "vae": _sd_vae(),
            "image_encoder": CLIPVisionModelWithProjection(eyes),
        }
    finally:
        torch.set_default_dtype(torch.float32)


def folder_for(modules: dict[str, Any], folder: Path) -> str:
    """Write what a prior reads before weights; returns the folder's name."""
    for part in ("unet", "vae"):
        modules[part].save_config(folder / part)
    ddim_scheduler().save_config(folder / "scheduler")
    index = {"_class_name": PIPELINE, **{part: list(names) for part, names in CLASSES.items()}}
    (folder / "model_index.json").write_text(json.dumps(index))
    return str(folder)


def fill(prior: MVVDMPrior, modules: dict[str, Any]) -> None:
    """Give ``prior`` its parts."""
    prior.dtype = torch.bfloat16
    for module in modules.values():
        module.eval().requires_grad_(False)
    size = modules["image_encoder"].config.image_size
    pixels = torch.zeros(prior.num_views, 3, size, size, device=prior.device)
    given = {"denoiser": prior.prepared(modules["unet"]), "vae": modules["vae"]}
    prior.__dict__.update(given | {"image_encoder": modules["image_encoder"], "_pixels": lambda _: pixels})


def text() -> Text:
    """An encoded prompt."""
    return Text(("a deer walks",), states=torch.zeros(1, 77, 768))


def pictures(prior: MVVDMPrior) -> Tensor:
    """[V, H, W, 3]."""
    return torch.zeros(prior.num_views, prior.clip.height, prior.clip.width, 3)


def sample(prior: MVVDMPrior) -> None:
    """See the module."""
    told = prior.given(text(), pictures(prior), torch.zeros(prior.num_views, 4, 4))
    latents = sampling.sample_views(prior, told, told, torch.Generator(), steps=2, freeinit=2)
    prior.decode_views(latents)


def match_step(prior: MVVDMPrior) -> None:
    """The clean estimate of what is seen, and the gradient of its distance to the frames (4D-SDS)."""
    frames = pictures(prior)[:, None].repeat(1, prior.clip.num_frames, 1, 1, 1).requires_grad_(True)
    told = prior.given(text(), pictures(prior), torch.zeros(prior.num_views, 4, 4))
    latents = prior.encode(frames)
    with torch.no_grad():
        said = sampling.guided_prediction(prior, latents, 100, told, told, 6.0)
        clean = prior.parameterization.to_x0(said, latents, 100)
    (latents - clean).square().sum().backward()


STAGES: dict[str, Callable[[MVVDMPrior], None]] = {"sample": sample, "refine_4d_sds": match_step}


def peak(prior: MVVDMPrior, modules: dict[str, nn.Module], stage: Callable[[MVVDMPrior], None]) -> float:
    """GiB at most while ``stage`` goes, weights included."""
    gc.collect()
    with Peak() as counter:
        for module in modules.values():
            for tensor in [*module.parameters(), *module.buffers()]:
                counter.count(tensor.data)
        stage(prior)
    return round(counter.most / GIB, 2)


def tflop() -> dict[str, float]:
    """An evaluation of the network, and all frames through the autoencoder there and back; on the meta device, where
    attention is counted too (the operation that fake tensors of a CPU take for it is not)."""
    views, frames, size = 4, 16, 32
    with torch.device("meta"):
        vae: Any = _sd_vae().to("meta").eval()
        asked = [torch.empty(s) for s in ((1, views, 4, frames, size, size), (1,), (1, 77, 768), (1, views, 1024))]
        cameras = torch.empty(1, views, 16)
        images, latents = torch.empty(4, 3, 8 * size, 8 * size), torch.empty(4, 4, size, size)
    unet = on_meta().eval()
    fours = views * frames / 4
    return {
        "evaluation": work(lambda: unet(*asked, cameras)),
        "encode": fours * work(lambda: vae.encode(images)),
        "decode": fours * work(lambda: vae.decode(latents)),
    }


@torch.no_grad()
def work(of: Callable[[], object]) -> float:
    """TFLOP."""
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        of()
    return counter.get_total_flops() / 1e12


if __name__ == "__main__":
    main()
