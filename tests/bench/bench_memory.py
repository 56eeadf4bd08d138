"""Peak memory and work of every stage with published models at true size, on fake tensors: no weights, no GPU.

    python -m tests.bench.bench_memory [--models MODEL ...]

Every operation runs for its shapes only; what is alive is counted, storage by storage, as the stages' own functions go.
Fragmentation, kernels' workspaces and the CUDA context (about 1 GiB) come on top. TFLOP are those of matrix products,
convolutions and attention. Clips are those that a model makes unless it is told otherwise: 256 x 256 pixels, or its
only size. Sampling is in the steps and with the guidance that the model's makers take. The motion field with its
regularizers is a row of its own: it does not depend on the model, and what bounds it on a card are the bytes that its
kernels read and write, and how many kernels there are. With ``--models`` the rows of the others stay as they were. The
last line is JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode

from stages import distill as distilling
from stages import refine as refining
from stages.conventions import frame_times
from stages.fit_lora import FitLoraConfig
from stages.motion.hexplane import HexPlane
from stages.motion.regularizers import arap, tv3d
from stages.objectives.guidance import guided_prediction
from stages.objectives.inversion import ddim_invert
from stages.objectives.msd import distillation_loss, static_score
from stages.objectives.sampling import ddim_denoise, sample_video
from stages.priors.load import load_prior
from stages.priors.lora import adapter_on, add_adapter
from stages.priors.prior import Condition, Observation, Text
from stages.priors.published import PublishedPrior
from stages.priors.sampling import SamplingDefaults
from tests.bench.record import RESULTS, finish
from tests.bench.true_models import TRUE_MODELS, Parts, write_configs

GIB = 2**30
DISTILLED_FRAMES, REFINED_FRAMES = 16, 31
ADAPTER = FitLoraConfig()
NO_KERNEL = ("empty", "empty_like", "detach", "_unsafe_view")
"""Operations of torch that are neither views nor work."""


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


class Traffic(TorchDispatchMode):
    """Within the block: how many kernels there are, and the bytes that they read and write, each tensor once."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        launches = func.namespace == "aten" and not func.is_view and func.__name__.split(".")[0] not in NO_KERNEL
        if launches:
            self.kernels += 1
            tensors = [value for value in tree_iter((args, kwargs, out)) if isinstance(value, Tensor)]
            self.bytes += sum(min(t.numel() * t.element_size(), t.untyped_storage().nbytes()) for t in tensors)
        return out


def main() -> None:
    """Every model and stage: GiB with the 24 GB profile, and what it does in TFLOP."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", choices=TRUE_MODELS, metavar="MODEL")
    asked = parser.parse_args().models
    recorded = json.loads((RESULTS / "memory.json").read_text()) if asked else {}
    found: dict[str, dict[str, float]] = recorded.get("gib", {})
    work: dict[str, dict[str, float]] = recorded.get("tflop", {})
    for name in asked or TRUE_MODELS:
        model = TRUE_MODELS[name]
        found[name] = {"text": round(2 * model.text_encoder / GIB, 2)}
        for stage in (fit_lora, distill, refine, sample):
            frames = REFINED_FRAMES if stage is refine else None
            with fake_prior(name, min_frames=frames, adapted=stage in (fit_lora, distill)) as (prior, parts, text):
                billions = sum(p.numel() for denoiser in parts.denoisers for p in denoiser.parameters()) / 1e9
                assert abs(billions / model.billions - 1.0) < 0.03, f"{name}: {billions:.2f} billion parameters"
                found[name]["denoiser_billions"] = round(billions, 2)
                found[name][stage.__name__] = peak(prior, parts, text, stage)
                if stage is distill:
                    work[name] = tflop(prior, text)
        print(name, found[name], work[name], flush=True)
    found, work = ({name: rows[name] for name in TRUE_MODELS if name in rows} for rows in (found, work))
    motion = motion_steps()
    print(motion, flush=True)
    command = f"python -m tests.bench.bench_memory --models {' '.join(asked)}" if asked else None
    result = {"gib": found, "tflop": work, **motion, "dtype": "bfloat16", "profile": "24gb", "pixels": 256}
    finish("memory", result, command)


@contextmanager
def fake_prior(
    name: str,
    profile: str = "24gb",
    min_frames: int | None = None,
    size_px: int | None = None,
    *,
    adapted: bool | None = None,
) -> Iterator[tuple[PublishedPrior, Parts, Text]]:
    """A prior of true shape whose tensors have shapes only, as all that is made within the block; an encoded prompt."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with TemporaryDirectory() as folder:
        with mode:
            torch.set_default_dtype(torch.bfloat16)
            parts = TRUE_MODELS[name].build()
            torch.set_default_dtype(torch.float32)
        write_configs(name, parts, Path(folder))
        prior = load_prior(folder, profile=profile, min_frames=min_frames, size_px=size_px)
        assert isinstance(prior, PublishedPrior)
        prior.dtype = torch.bfloat16
        with mode:
            parts.hand_to(prior)
            if min_frames is None if adapted is None else adapted:  # refine and sample have no adapter
                with patch.object(nn.Module, "to", lambda module, *_, **__: module):  # PEFT's; all is where it belongs
                    add_adapter(prior.denoiser, rank=ADAPTER.rank, alpha=ADAPTER.alpha, seed=0)
            tokens, width = TRUE_MODELS[name].text
            states, mask = torch.zeros(1, tokens, width, dtype=prior.dtype), torch.ones(1, tokens, dtype=torch.long)
            yield prior, parts, Text(("",), states=states, mask=mask)


def peak(prior: PublishedPrior, parts: Parts, text: Text, stage: Callable[[PublishedPrior, Text], None]) -> float:
    """GiB at most while ``stage`` goes, weights included."""
    gc.collect()
    with Peak() as counter:
        for module in parts.modules():
            for tensor in [*module.parameters(), *module.buffers()]:
                counter.count(tensor.data)
        stage(prior, text)
    return round(counter.most / GIB, 2)


def tflop(prior: PublishedPrior, text: Text, *, adapted: bool = True) -> dict[str, float]:
    """A forward of denoiser, encoder and decoder, the encoder there and back, and, where the model has its adapter, a
    step of ``fit-lora``."""
    frames = _frames(prior).requires_grad_(True)
    with torch.no_grad():
        still, picture = prior.encode_still(frames[:1]), prior.encode_picture(frames[:1])
    works: dict[str, Callable[[], object]] = {
        "evaluation": torch.no_grad()(lambda: prior.predict(still, 500, Condition(text, picture))),
        "encode": torch.no_grad()(lambda: prior.encode(frames)),
        "encode_and_back": lambda: prior.encode(frames).sum().backward(),
        "decode": lambda: prior.decode(still),
    }
    if adapted:
        works["fit_lora_step"] = lambda: lora_step(prior, text, still, picture)
    done = {}
    for part, work in works.items():
        with FlopCounterMode(display=False) as counter:
            work()
        done[part] = round(counter.get_total_flops() / 1e12, 3)
    how = prior.sampling
    evaluations = how.steps * (1 if how.guidance == 1.0 else 2)
    return done | {"sample": round(evaluations * done["evaluation"] + done["decode"], 1)}


def motion_steps() -> dict[str, dict[str, float]]:
    """A step of the motion field with TV and ARAP, there and back, with as many Gaussians as the presets for published
    models move at most: GiB alive at most, GiB read and written, kernels. The rasterizer is not in it."""
    found: dict[str, dict[str, float]] = {"motion_gib": {}, "motion_traffic_gib": {}, "motion_kernels": {}}
    refined, distilled = refining.PRESETS["published"], distilling.PRESETS["published"]
    for stage, frames, config in (("distill", DISTILLED_FRAMES, distilled), ("refine", REFINED_FRAMES, refined)):
        with FakeTensorMode(), Peak() as counter, Traffic() as traffic:
            count, k = config.max_gaussians, config.regularizers.neighbours
            at_rest = torch.zeros(count, 3)
            near, far = torch.zeros(count, k, dtype=torch.long), torch.zeros(count, k)
            field = HexPlane(distilled.motion.hexplane, torch.zeros(3), torch.ones(3))
            means = field.displacements(at_rest, frame_times(frames)) + at_rest
            anchors = torch.zeros(config.regularizers.arap_anchors, dtype=torch.long)
            (tv3d(means) + arap(means, at_rest, near, far, anchors)).backward()
        found["motion_gib"][stage] = round(counter.most / GIB, 2)
        found["motion_traffic_gib"][stage] = round(traffic.bytes / GIB, 1)
        found["motion_kernels"][stage] = traffic.kernels
    return found


def _frames(prior: PublishedPrior) -> Tensor:
    return torch.zeros(prior.clip.num_frames, prior.clip.height, prior.clip.width, 3)


def fit_lora(prior: PublishedPrior, text: Text) -> None:
    """What a camera shows, and a step of the adapter."""
    frames = _frames(prior)
    with torch.no_grad():
        still, picture = prior.encode_still(frames[:1]), prior.encode_picture(frames[:1])
    lora_step(prior, text, still, picture)


def lora_step(prior: PublishedPrior, text: Text, still: Tensor, picture: Tensor | None) -> None:
    """A step of the adapter, which keeps float32 copies of what it reads for the way back."""
    eps = torch.randn_like(still)
    x_t = prior.parameterization.add_noise(still, eps, 500)
    with adapter_on(prior.denoiser):
        prediction = prior.predict(x_t, 500, Condition(text, picture))
        (prediction - prior.parameterization.target(still, eps, 500)).square().mean().backward()


def distill(prior: PublishedPrior, text: Text) -> None:
    """A step of MSD: the static branch, the moving one, and the gradient through the encoder to the frames."""
    frames = _frames(prior).requires_grad_(True)
    with torch.no_grad():
        still, picture = prior.encode_still(frames[:1]), prior.encode_picture(frames[:1])
    told = Condition(text, picture)
    static = static_score(prior, still, 500, told, inversion_steps=1, own_noise=False)
    latents = prior.encode(frames)
    with torch.no_grad():  # as in msd_gradient, whose w(t) is a number that fake tensors do not have
        x_t = ddim_invert(prior, latents.detach(), 500, told, 1)
        moving = guided_prediction(prior, x_t, 500, told, told, 7.5)
    distillation_loss(Observation(latents), moving - static).backward()


@torch.no_grad()
def refine(prior: PublishedPrior, text: Text) -> None:
    """Encode, denoise with guidance, decode."""
    frames = _frames(prior)
    latents, picture = prior.encode(frames), prior.encode_picture(frames[:1])
    told = Condition(text, picture)
    prior.decode(ddim_denoise(prior, latents, 400, told, 2, negative=told, guidance=5.0))


@torch.no_grad()
def sample(prior: PublishedPrior, text: Text) -> None:
    """The picture, two of the steps with the guidance that the model wants, and the decoder."""
    frames = _frames(prior)
    still, picture = prior.encode_still(frames[:1]), prior.encode_picture(frames[:1])
    told = Condition(text, picture)
    how = SamplingDefaults(steps=2, guidance=prior.sampling.guidance)
    prior.decode(sample_video(prior, told, told, torch.Generator(), like=still, how=how))


if __name__ == "__main__":
    main()
