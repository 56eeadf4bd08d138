"""Animate3D's released checkpoint, MVDream and IP-Adapter, made into one folder that ``load_prior`` reads; done once.

The checkpoint is a pickle of tensors. It goes through torch's reader that admits nothing else; all that comes out of it
is written as safetensors. It holds what Animate3D trained (888 tensors); the other 726 are MVDream's UNet and
IP-Adapter's, which are read from their own safetensors.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from stages.errors import BadInput, first_line
from stages.events import Note, Report, Wrote
from stages.priors.catalogue import CHECKPOINT, CHECKPOINT_FILE, MVDREAM
from stages.priors.hub import SAVE_AS_SAFETENSORS, has_pickles_only, missing_of_part
from stages.priors.multiview.attention import PictureAttention
from stages.priors.multiview.folder import write_folder
from stages.priors.multiview.unet import MultiViewUNetMotionModel, is_trained, on_meta
from stages.priors.published import read_json

ADAPTER_FILE, EYES = "models/ip-adapter_sd15.safetensors", "models/image_encoder"
SAME = ("layers_per_block", "norm_num_groups", "cross_attention_dim", "in_channels", "out_channels")
"""Entries of MVDream's config that mean the same here."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What is made into one. Folders are as ``hf download --local-dir`` leaves them."""

    checkpoint: Path
    mvdream: Path
    ip_adapter: Path


def convert(sources: Sources, out: Path, report: Report) -> Path:
    """Write the folder ``out``; returns it.

    Raises:
        BadInput: ``out`` is there already; a file is missing, holds anything but tensors, or holds tensors of another
            model.
    """
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise BadInput(f"{out} is there already.", "Name another folder: --out FOLDER")
    copied = {part: Copied(sources.mvdream / part, "transformers" if part == "text_encoder" else "diffusers")
              for part in ("vae", "text_encoder")}  # fmt: skip
    copied["image_encoder"] = Copied(sources.ip_adapter / EYES, "transformers")
    tokenizer = Copied(sources.mvdream / "tokenizer", "transformers")
    for one in (*copied.values(), tokenizer):
        one.must_be_whole()
    unet = on_meta(**unet_config(sources))
    tensors = {**base_tensors(sources, unet), **own_tensors(sources.checkpoint, unet, report)}
    must_fit(tensors, unet, sources)
    unet.load_state_dict(tensors, assign=True)
    size = read_json(sources.ip_adapter / EYES / "config.json", str(sources.ip_adapter))["image_size"]
    write_folder(out, {"unet": unet, **copied}, tokenizer, picture_px=size)
    report(Wrote(out, "the prior, for --prior"))
    return out


@dataclass(frozen=True)
class Copied:
    """A part that is taken as it is."""

    folder: Path
    library: str

    def must_be_whole(self) -> None:
        """Raises ``BadInput``: files of it are not there."""
        for file in missing_of_part(self.folder, self.library):
            hint = SAVE_AS_SAFETENSORS if has_pickles_only(file) else "Download it again."
            raise BadInput(f"{file} is missing.", hint)

    def save_pretrained(self, to: Path) -> None:
        """Copy it, without other forms of its weights."""
        shutil.copytree(self.folder, to, ignore=shutil.ignore_patterns("*.bin", "*.fp16.*", "*.msgpack"))


def unet_config(sources: Sources) -> dict[str, Any]:
    """The network's config, after MVDream's and the image encoder's."""
    theirs = read_json(sources.mvdream / "unet" / "config.json", str(sources.mvdream))
    eyes = read_json(sources.ip_adapter / EYES / "config.json", str(sources.ip_adapter))
    config = {name: theirs[name] for name in SAME}
    for name in ("down_block_types", "up_block_types"):
        config[name] = tuple(kind.replace("Block2D", "BlockMotion") for kind in theirs[name])
    config["block_out_channels"] = tuple(theirs["block_out_channels"])
    # diffusers' first models call the number of heads attention_head_dim
    config["num_attention_heads"] = theirs.get("num_attention_heads") or theirs["attention_head_dim"]
    return config | {"sample_size": theirs["sample_size"], "image_embed_dim": eyes["projection_dim"]}


def base_tensors(sources: Sources, unet: MultiViewUNetMotionModel) -> dict[str, Tensor]:
    """MVDream's UNet, and IP-Adapter's tensors under their names in ``unet``."""
    unet_part = Copied(sources.mvdream / "unet", "diffusers")
    unet_part.must_be_whole()
    tensors: dict[str, Tensor] = {}
    for file in sorted(unet_part.folder.glob("diffusion_pytorch_model*.safetensors")):
        if ".fp16." not in file.name:
            tensors |= read_safetensors(file)
    if not any(name.startswith("camera_embedding.") for name in tensors):
        raise BadInput(f"{unet_part.folder} knows no cameras: it is not MVDream's UNet.", f"Fetch {MVDREAM}.")
    adapter = read_safetensors(sources.ip_adapter / ADAPTER_FILE)
    layers = [n for n, m in unet.named_modules() if isinstance(m, PictureAttention)]
    renamed = {f"ip_adapter.{2 * i + 1}": name for i, name in enumerate(layers)}  # every other one is self-attention
    for name, tensor in adapter.items():
        place, _, kind = name.removesuffix(".weight").rpartition(".")
        if place in renamed:
            tensors[f"{renamed[place]}.{kind}.0.weight"] = tensor
        else:
            name = name.replace("image_proj.proj.", "encoder_hid_proj.image_embeds.")
            tensors[name.replace("image_proj.norm.", "encoder_hid_proj.norm.")] = tensor
    return tensors


def own_tensors(path: Path, unet: MultiViewUNetMotionModel, report: Report) -> dict[str, Tensor]:
    """What Animate3D trained; a checkpoint of the whole model is taken whole.

    Raises:
        BadInput: it cannot be read, lacks some of it, or holds what the network has no place for.
    """
    tensors = read_checkpoint(path)
    places = unet.state_dict()
    own = {name for name in places if is_trained(name)}
    lacking, unexpected = sorted(own - tensors.keys()), sorted(tensors.keys() - places.keys())
    if lacking:
        raise BadInput(
            f"{path} lacks {lacking[0]}: {len(lacking)} of {len(own)} tensors of Animate3D.", f"Fetch {CHECKPOINT}."
        )
    if unexpected:
        raise BadInput(
            f"{path} holds {unexpected[0]}, for which the network has no place ({len(unexpected)} such).",
            f"Fetch {CHECKPOINT}.",
        )
    report(Note(f"{len(own)} tensors of Animate3D, {len(places) - len(own)} of MVDream and IP-Adapter, 0 unexpected."))
    return tensors


def must_fit(tensors: Mapping[str, Tensor], unet: MultiViewUNetMotionModel, sources: Sources) -> None:
    """Raises ``BadInput``: not every place of ``unet`` is filled with a tensor of its shape, or there are more."""
    places = unet.state_dict()
    for name in (*places, *tensors):
        where = sources.checkpoint if is_trained(name) else _origin(name, sources)
        if name not in tensors:
            raise BadInput(f"{where} lacks {name}.", "Download it again.")
        if name not in places:
            raise BadInput(f"{where} holds {name}, for which the network has no place.", "Name another.")
        if tensors[name].shape != places[name].shape:
            shapes = f"{list(tensors[name].shape)}, not {list(places[name].shape)}"
            raise BadInput(f"{where} holds {name} of shape {shapes}.", "Name another.")


def _origin(name: str, sources: Sources) -> Path:
    adapter = any(part in name for part in ("_ip.", "encoder_hid_proj.", "ip_adapter.", "image_proj."))
    return sources.ip_adapter / ADAPTER_FILE if adapter else sources.mvdream / "unet"


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a pickled checkpoint, without the prefix that training on several cards leaves.

    Raises:
        BadInput: no such file; damaged; or it holds anything but tensors and plain containers.
    """
    if not path.is_file():
        raise BadInput(f"There is no checkpoint {path}.", f"Fetch it: hf download {CHECKPOINT} {CHECKPOINT_FILE}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and zip raise their own kinds
        if type(error).__name__ == "UnpicklingError":
            said = f"{path} is not read: it holds more than tensors, and such a file can run programs, or is damaged."
            raise BadInput(said, f"Fetch {CHECKPOINT}.") from None
        raise BadInput(f"{path} cannot be read: {first_line(error)[:160]}.", "Fetch it again.") from None
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise BadInput(f"{path} is not a collection of weights.", f"Fetch {CHECKPOINT}.")
    return {name.removeprefix("module."): tensor for name, tensor in found.items()}


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors. Raises ``BadInput``: no such file, or damaged."""
    if not path.is_file():
        raise BadInput(f"{path} is missing.", "Download it again.")
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own kind
        raise BadInput(f"{path} cannot be read: {first_line(error)}.", "Download it again.") from None
