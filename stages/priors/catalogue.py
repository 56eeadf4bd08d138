"""Published models that the families here can run: terms, sizes, graphics memory of each stage, the work of a sample.

Memory is what is alive at most at 256 x 256 pixels (CogVideoX-5b-I2V: 720 x 480, all it makes) in bfloat16 with the
profile "24gb", worked out on fake tensors, not measured on a card (``tests/bench/results/memory.json``); a CUDA context
and fragmentation add a gigabyte or two. Work is that of one clip of that size, in the steps and with the guidance that
the model's makers take; seconds are that work at 40 % of a card's peak.

Downloads are counts of parameters (``tests/bench/true_models.py``) times the bytes of each in the files of the hub.
These bytes are from memory, not looked up; where they are not known two are counted, and more may come.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stages.priors.hub import INDEX, missing_files

PEAK_TFLOPS = {"H100": 989.0, "RTX 4090": 165.0}
"""Dense bfloat16, by the makers' sheets."""
UTILISATION = 0.4
"""Share of the peak that is reckoned with. [ours]: no card has been measured."""
FITS_GIB = {"H100": 76.0, "RTX 4090": 22.0}
"""Of the cards' 80 and 24 GB, what is left for tensors."""


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
    sample_gib: float
    sample_tflop: float  # of a whole clip, decoded
    other_billions: float  # parameters of the autoencoder, and of CLIP's image encoder
    stored_bytes: int | None = None  # a parameter in the files of the hub; None: not known

    def sample_seconds(self, card: str) -> float | None:
        """Of one clip on a card, computed; None where the model does not fit it."""
        if max(self.sample_gib, self.text_gib) > FITS_GIB[card]:
            return None
        return self.sample_tflop / (UTILISATION * PEAK_TFLOPS[card])

    @property
    def download_gb(self) -> float:
        """Of the parts that are used; the least that it can be where ``stored_bytes`` is not known."""
        text_billions = self.text_gib * 2**30 / 2e9
        return (self.stored_bytes or 2) * (self.billions + text_billions + self.other_billions)


CATALOGUE = (
    Published(
        name="ali-vilab/text-to-video-ms-1.7b", licence="CC-BY-NC-4.0", billions=1.41,
        text_gib=0.63, fit_lora_gib=6.48, distill_gib=4.3, refine_gib=3.45,
        sample_gib=3.45, sample_tflop=484.2, other_billions=0.08, stored_bytes=4,
    ),
    Published(
        name="THUDM/CogVideoX-2b", licence="Apache-2.0", billions=1.69,
        text_gib=8.87, fit_lora_gib=5.0, distill_gib=6.85, refine_gib=6.63,
        sample_gib=6.62, sample_tflop=421.1, other_billions=0.22, stored_bytes=2,
    ),
    Published(
        name="THUDM/CogVideoX-5b", licence="CogVideoX", billions=5.57,
        text_gib=8.87, fit_lora_gib=11.97, distill_gib=13.82, refine_gib=13.6,
        sample_gib=13.58, sample_tflop=1454.3, other_billions=0.22, stored_bytes=2,
    ),
    Published(
        name="THUDM/CogVideoX-5b-I2V", licence="CogVideoX", billions=5.57,
        text_gib=8.87, fit_lora_gib=17.43, distill_gib=27.17, refine_gib=26.06,
        sample_gib=25.99, sample_tflop=6747.6, other_billions=0.22, stored_bytes=2,
    ),
    Published(
        name="Wan-AI/Wan2.1-T2V-1.3B-Diffusers", licence="Apache-2.0", billions=1.42,
        text_gib=10.58, fit_lora_gib=3.36, distill_gib=9.59, refine_gib=3.54,
        sample_gib=3.52, sample_tflop=345.1, other_billions=0.13, stored_bytes=4,
    ),
    Published(
        name="Wan-AI/Wan2.2-TI2V-5B-Diffusers", licence="Apache-2.0", billions=5.0,
        text_gib=10.58, fit_lora_gib=10.9, distill_gib=13.55, refine_gib=11.32,
        sample_gib=11.3, sample_tflop=363.2, other_billions=0.71,
    ),
    Published(
        name="FastVideo/FastWan2.2-TI2V-5B-FullAttn-Diffusers", licence="Apache-2.0", billions=5.0,
        text_gib=10.58, fit_lora_gib=10.9, distill_gib=13.55, refine_gib=11.32,
        sample_gib=11.31, sample_tflop=31.1, other_billions=0.71,
    ),
    Published(
        name="Wan-AI/Wan2.1-I2V-14B-480P-Diffusers", licence="Apache-2.0", billions=16.39,
        text_gib=10.58, fit_lora_gib=33.09, distill_gib=38.83, refine_gib=32.61,
        sample_gib=32.59, sample_tflop=3397.9, other_billions=0.76,
    ),
    Published(
        name="Wan-AI/Wan2.2-I2V-A14B-Diffusers", licence="Apache-2.0", billions=28.58,
        text_gib=10.58, fit_lora_gib=54.64, distill_gib=60.39, refine_gib=54.13,
        sample_gib=54.11, sample_tflop=3289.7, other_billions=0.13,
    ),
    Published(
        name="nvidia/AnyFlow-Wan2.1-T2V-1.3B-Diffusers", licence="NVIDIA's own", billions=1.42,
        text_gib=10.58, fit_lora_gib=3.37, distill_gib=9.68, refine_gib=3.54,
        sample_gib=3.53, sample_tflop=23.0, other_billions=0.13,
    ),
    Published(
        name="Skywork/SkyReels-V2-I2V-1.3B-540P-Diffusers", licence="Skywork", billions=1.56,
        text_gib=10.58, fit_lora_gib=4.82, distill_gib=11.03, refine_gib=4.98,
        sample_gib=4.97, sample_tflop=352.6, other_billions=0.76,
    ),
    Published(
        name="Lightricks/LTX-Video", licence="LTXV", billions=1.92,
        text_gib=8.87, fit_lora_gib=4.51, distill_gib=4.73, refine_gib=4.63,
        sample_gib=4.5, sample_tflop=71.6, other_billions=0.42,
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


CHECKPOINT, MVDREAM, IP_ADAPTER = "yanqinJiang/animate3d", "yanqinJiang/mvdream-sd1.5-diffusers", "h94/IP-Adapter"
"""Where Animate3D's three parts are on the hub, by its README and configs."""
CHECKPOINT_FILE = "animate3d_motion_modules.ckpt"
CONVERT = f"animus3d priors --convert {CHECKPOINT_FILE} --mvdream MVDREAM --ip-adapter IP-ADAPTER --out animate3d"
"""The command that converts, with names to fill in."""
ANIMATE3D = Converted(
    name=CHECKPOINT, licence="Apache-2.0; OpenRAIL", download_gb=9.5, sample_gib=6.24, refine_gib=6.3,
    how=f"hf download {CHECKPOINT} {CHECKPOINT_FILE} --local-dir . && "
    f"hf download {MVDREAM} --local-dir MVDREAM && "
    f'hf download {IP_ADAPTER} --include "models/ip-adapter_sd15.safetensors" "models/image_encoder/*" '
    f"--local-dir IP-ADAPTER && {CONVERT}; then --prior animate3d.",
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
