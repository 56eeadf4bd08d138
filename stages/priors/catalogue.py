"""Published models that the families here can run: terms, sizes, and the graphics memory that each stage needs.

Memory is what is alive at most at 256 x 256 pixels (CogVideoX-5b-I2V: 720 x 480, all it makes) in bfloat16 with the
profile "24gb", worked out on fake tensors, not measured on a card (``tests/bench/results/memory.json``); a CUDA context
and fragmentation add a gigabyte or two.

Downloads are counts of parameters (``tests/bench/true_models.py``) times the bytes of each in the files of the hub.
These bytes are from memory, not looked up; where they are not known two are counted, and more may come.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stages.priors.hub import INDEX, missing_files


@dataclass(frozen=True, kw_only=True)
class Published:
    """A model on the hub."""

    name: str
    licence: str
    billions: float  # parameters of the denoiser, or of both experts
    text_gib: float  # of the text encoder, which leaves before the others come
    fit_lora_gib: float
    distill_gib: float
    refine_gib: float
    other_billions: float  # parameters of the autoencoder, and of CLIP's image encoder
    stored_bytes: int | None = None  # a parameter in the files of the hub; None: not known

    @property
    def download_gb(self) -> float:
        """Of the parts that are used; the least that it can be where ``stored_bytes`` is not known."""
        text_billions = self.text_gib * 2**30 / 2e9
        return (self.stored_bytes or 2) * (self.billions + text_billions + self.other_billions)


CATALOGUE = (
    Published(
        name="ali-vilab/text-to-video-ms-1.7b", licence="CC-BY-NC-4.0", billions=1.41,
        text_gib=0.63, fit_lora_gib=6.48, distill_gib=4.3, refine_gib=3.45,
        other_billions=0.08, stored_bytes=4,
    ),
    Published(
        name="THUDM/CogVideoX-2b", licence="Apache-2.0", billions=1.69,
        text_gib=8.87, fit_lora_gib=5.0, distill_gib=6.85, refine_gib=6.63,
        other_billions=0.22, stored_bytes=2,
    ),
    Published(
        name="THUDM/CogVideoX-5b", licence="CogVideoX", billions=5.57,
        text_gib=8.87, fit_lora_gib=11.97, distill_gib=13.82, refine_gib=13.6,
        other_billions=0.22, stored_bytes=2,
    ),
    Published(
        name="THUDM/CogVideoX-5b-I2V", licence="CogVideoX", billions=5.57,
        text_gib=8.87, fit_lora_gib=17.43, distill_gib=27.17, refine_gib=26.06,
        other_billions=0.22, stored_bytes=2,
    ),
    Published(
        name="Wan-AI/Wan2.1-T2V-1.3B-Diffusers", licence="Apache-2.0", billions=1.42,
        text_gib=10.58, fit_lora_gib=3.36, distill_gib=9.59, refine_gib=3.54,
        other_billions=0.13, stored_bytes=4,
    ),
    Published(
        name="Wan-AI/Wan2.2-TI2V-5B-Diffusers", licence="Apache-2.0", billions=5.0,
        text_gib=10.58, fit_lora_gib=10.9, distill_gib=13.55, refine_gib=11.32,
        other_billions=0.71,
    ),
    Published(
        name="Wan-AI/Wan2.1-I2V-14B-480P-Diffusers", licence="Apache-2.0", billions=16.39,
        text_gib=10.58, fit_lora_gib=33.09, distill_gib=38.83, refine_gib=32.61,
        other_billions=0.76,
    ),
    Published(
        name="Wan-AI/Wan2.2-I2V-A14B-Diffusers", licence="Apache-2.0", billions=28.58,
        text_gib=10.58, fit_lora_gib=54.64, distill_gib=60.39, refine_gib=54.13,
        other_billions=0.13,
    ),
    Published(
        name="Lightricks/LTX-Video", licence="LTXV", billions=1.92,
        text_gib=8.87, fit_lora_gib=4.51, distill_gib=4.73, refine_gib=4.63,
        other_billions=0.42,
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A model whose weights are converted before they can be named."""

    name: str
    licence: str
    download_gb: float  # of all that is fetched
    sample_gib: float
    refine_gib: float
    how: str


ANIMATE3D = Converted(
    name="yanqinJiang/animate3d", licence="Apache-2.0; OpenRAIL", download_gb=9.5, sample_gib=6.24, refine_gib=6.3,
    how="hf download yanqinJiang/animate3d animate3d_motion_modules.ckpt --local-dir . && "
    "hf download yanqinJiang/mvdream-sd1.5-diffusers --local-dir MVDREAM && "
    'hf download h94/IP-Adapter --include "models/ip-adapter_sd15.safetensors" "models/image_encoder/*" '
    "--local-dir IP-ADAPTER && animus3d priors --convert animate3d_motion_modules.ckpt --mvdream MVDREAM "
    "--ip-adapter IP-ADAPTER --out animate3d; then --prior animate3d.",
)  # fmt: skip
"""Animate3D (``stages.priors.multiview``). Its parts are MVDream's, to be treated as OpenRAIL, and IP-Adapter's. Memory
is computed (``tests/bench/results/mvvdm.json``), the download counted at four bytes a parameter."""


def hub_cache() -> Path:
    """Where models of the hub are kept on this machine; it need not exist."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def is_here(name: str) -> bool:
    """Whether the hub's cache on this machine holds every part of a model; nothing is asked of the network."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, INDEX)
    return isinstance(found, str) and Path(found).exists() and not missing_files(Path(found).parent)
