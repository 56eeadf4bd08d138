"""Peak memory and work of every stage with published models at true size, on fake tensors: no weights, no GPU.

    python -m tests.bench.bench_memory

Every operation runs for its shapes only; what is alive is counted, storage by storage, as the stages' own functions go.
Fragmentation, kernels' workspaces and the CUDA context (about 1 GiB) come on top. TFLOP are those of matrix products,
convolutions and attention. Clips are those that a model makes unless it is told otherwise: 256 x 256 pixels, or its
only size. The last line is JSON.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode

from stages.objectives.guidance import guided_prediction
from stages.objectives.inversion import ddim_denoise, ddim_invert
from stages.objectives.msd import distillation_loss, static_score
from stages.priors.load import load_prior
from stages.priors.prior import Text
from stages.priors.published import PublishedPrior
from tests.bench.record import finish
from tests.bench.true_models import TRUE_MODELS, Parts, write_configs

GIB = 2**30
REFINED_FRAMES = 31


class Peak(TorchDispatchMode):
    """Within the block: how many bytes of storages made there, or ``count``ed, are alive at most."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in tree_iter(out):
            if isinstance(value, Tensor):
                self.count(value)
        return out

    def count(self, tensor: Tensor) -> None:
        """Reckon with the storage of ``tensor`` until it is freed."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._freed, key, size)

    def _freed(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def main() -> None:
    """Every model and stage: GiB with the 24 GB profile, and what it does in TFLOP."""
    found: dict[str, dict[str, float]] = {}
    work: dict[str, dict[str, float]] = {}
    for name, model in TRUE_MODELS.items():
        found[name] = {"text": round(2 * model.text_encoder / GIB, 2)}
        for stage in (fit_lora, distill, refine):
            mode = FakeTensorMode(allow_non_fake_inputs=True)
            with TemporaryDirectory() as folder:
                with mode:
                    torch.set_default_dtype(torch.bfloat16)
                    parts = model.build()
                    torch.set_default_dtype(torch.float32)
                billions = sum(p.numel() for denoiser in parts.denoisers for p in denoiser.parameters()) / 1e9
                assert abs(billions / model.billions - 1.0) < 0.03, f"{name}: {billions:.2f} billion parameters"
                found[name]["denoiser_billions"] = round(billions, 2)
                write_configs(name, parts, Path(folder))
                prior = load_prior(folder, min_frames=REFINED_FRAMES if stage is refine else None)
                assert isinstance(prior, PublishedPrior)
                with mode:
                    text = prepare(name, prior, parts)
                    found[name][stage.__name__] = peak(prior, parts, text, stage)
                    if stage is distill:
                        work[name] = tflop(prior, text)
        print(name, found[name], work[name], flush=True)
    finish("memory", {"gib": found, "tflop": work, "dtype": "bfloat16", "profile": "24gb", "pixels": 256})


def prepare(name: str, prior: PublishedPrior, parts: Parts) -> Text:
    """Hand a prior its fake parts; an encoded prompt."""
    prior.dtype = torch.bfloat16
    tokens, width = TRUE_MODELS[name].text
    parts.hand_to(prior)
    vae: Any = parts.vae
    if hasattr(vae, "enable_gradient_checkpointing") and vae._supports_gradient_checkpointing:
        vae.enable_gradient_checkpointing()
    states, mask = torch.zeros(1, tokens, width, dtype=prior.dtype), torch.ones(1, tokens, dtype=torch.long)
    return Text(("",), states=states, mask=mask)


def peak(prior: PublishedPrior, parts: Parts, text: Text, stage: Callable[[PublishedPrior, Text], None]) -> float:
    """GiB at most while ``stage`` goes, weights included."""
    gc.collect()
    with Peak() as counter:
        for module in parts.modules():
            for tensor in [*module.parameters(), *module.buffers()]:
                counter.count(tensor.data)
        stage(prior, text)
    return round(counter.most / GIB, 2)


def tflop(prior: PublishedPrior, text: Text) -> dict[str, float]:
    """A forward of the denoiser, the encoder there and back in ``distill``, and a step of ``fit-lora``."""
    frames = _frames(prior).requires_grad_(True)
    with torch.no_grad():
        picture = prior.encode_picture(frames[:1])
    with FlopCounterMode(display=False) as encoding:
        latents = prior.encode(frames)
        distillation_loss(latents, torch.zeros_like(latents)).backward()
    with FlopCounterMode(display=False) as evaluation, torch.no_grad():
        prior.predict(latents, 500, text, picture)
    with FlopCounterMode(display=False) as lora_step:
        fit_lora(prior, text)
    work = {"evaluation": evaluation, "encode_and_back": encoding, "fit_lora_step": lora_step}
    return {part: round(counter.get_total_flops() / 1e12, 3) for part, counter in work.items()}


def _frames(prior: PublishedPrior) -> Tensor:
    return torch.zeros(prior.clip.num_frames, prior.clip.height, prior.clip.width, 3)


def fit_lora(prior: PublishedPrior, text: Text) -> None:
    """A step of the adapter; its own tensors are a few MiB: what counts is the way back through the denoiser."""
    frames = _frames(prior)
    with torch.no_grad():
        still, picture = prior.encode_still(frames[:1]), prior.encode_picture(frames[:1])
    eps = torch.randn_like(still)
    x_t = prior.parameterization.add_noise(still, eps, 500).requires_grad_(True)
    prediction = prior.predict(x_t, 500, text, picture)
    (prediction - prior.parameterization.target(still, eps, 500)).square().mean().backward()


def distill(prior: PublishedPrior, text: Text) -> None:
    """A step of MSD: the static branch, the moving one, and the gradient through the encoder to the frames."""
    frames = _frames(prior).requires_grad_(True)
    with torch.no_grad():
        still, picture = prior.encode_still(frames[:1]), prior.encode_picture(frames[:1])
    static = static_score(prior, still, 500, text, 1, picture, None, False)
    latents = prior.encode(frames)
    with torch.no_grad():  # as in msd_gradient, whose w(t) is a number that fake tensors do not have
        x_t = ddim_invert(prior, latents.detach(), 500, text, 1, picture)
        moving = guided_prediction(prior, x_t, 500, text, text, 7.5, picture)
    distillation_loss(latents, moving - static).backward()


@torch.no_grad()
def refine(prior: PublishedPrior, text: Text) -> None:
    """Encode, denoise with guidance, decode."""
    frames = _frames(prior)
    latents, picture = prior.encode(frames), prior.encode_picture(frames[:1])
    prior.decode(ddim_denoise(prior, latents, 400, text, 2, picture, text, 5.0))


if __name__ == "__main__":
    main()
