"""Model folders that lie are refused in one line; nothing in them is unpickled, nothing outside them is read."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.errors import BadInput
from stages.priors.load import load_prior
from stages.priors.published import PublishedModel
from tests.priors.points.tiny import save_tiny
from tests.priors.test_embedded import tiny_prior
from tests.priors.tiny_models import save_model, small_clips


class Trap:
    """Whoever unpickles it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


def lay_trap(folder: Path, stem: str, trap: Path) -> None:
    """Take the weights away and put pickles in their place."""
    for path in folder.glob("*.safetensors"):
        path.unlink()
    for name in (f"{stem}.bin", "model.bin", "weights.pkl"):
        (folder / name).write_bytes(pickle.dumps(Trap(trap)))
    pickle.loads(pickle.dumps(Trap(trap.with_name("sprung"))))
    assert trap.with_name("sprung").exists()  # it would


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def reshape(path: Path) -> None:
    """The first tensor in another shape."""
    tensors = load_file(path)
    name = next(iter(sorted(tensors)))
    tensors[name] = torch.zeros(3, 5, 7)
    save_file(tensors, path, {"format": "pt"})


def load(family: str, folder: Path) -> None:
    """Read all of a prior."""
    prior = load_prior(str(folder), **(small_clips("wan") if family == "wan" else {}))
    if isinstance(prior, PublishedModel):
        assert prior.denoiser is not None
        prior.encode_text(["a deer"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    save_tiny(folder / "points")
    tiny_prior().save(folder / "video")
    save_model("wan", folder / "wan")
    return {name: folder / name for name in ("points", "video", "wan")}


@pytest.fixture
def copied(whole: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda family: Path(shutil.copytree(whole[family], tmp_path / family))


@pytest.mark.parametrize("family", ["points", "video", "wan"])
def test_whole_folders_are_read(copied: Callable[[str], Path], family: str) -> None:
    load(family, copied(family))


@pytest.mark.parametrize(
    ("family", "part", "stem"),
    [
        ("video", "transformer", "diffusion_pytorch_model"),
        ("video", "text_encoder", "pytorch_model"),
        ("wan", "transformer", "diffusion_pytorch_model"),
        ("wan", "text_encoder", "pytorch_model"),
    ],
)
def test_nothing_is_unpickled(copied: Callable[[str], Path], tmp_path: Path, family: str, part: str, stem: str) -> None:
    folder = copied(family)
    lay_trap(folder / part, stem, tmp_path / "caught")
    with pytest.raises(BadInput, match=part):
        load(family, folder)
    assert not (tmp_path / "caught").exists()


@pytest.mark.parametrize("family", ["video", "wan"])
def test_weights_of_other_shapes(copied: Callable[[str], Path], family: str) -> None:
    folder = copied(family)
    reshape(next((folder / "transformer").glob("*.safetensors")))
    with pytest.raises(BadInput, match="transformer"):
        load(family, folder)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int32, torch.complex64])
@pytest.mark.parametrize(
    ("family", "part"), [("points", "points"), ("video", "text_encoder"), ("video", "vae"), ("wan", "transformer")]
)
def test_weights_that_are_no_floating_point_numbers(
    copied: Callable[[str], Path], family: str, part: str, kind: torch.dtype
) -> None:
    folder = copied(family)
    path = next((folder / part).glob("*.safetensors"))
    save_file({name: tensor.to(kind) for name, tensor in load_file(path).items()}, path, {"format": "pt"})
    with pytest.raises(BadInput, match="floating-point"):
        load(family, folder)


@pytest.mark.parametrize("family", ["video", "wan"])
def test_words_beyond_those_of_the_text_encoder(copied: Callable[[str], Path], family: str) -> None:
    folder = copied(family)
    edit(folder / "tokenizer" / "tokenizer.json", lambda value: value["model"]["vocab"].update({"<pad>": 2**20}))
    with pytest.raises(BadInput, match="text encoder knows"):
        load_prior(str(folder), **(small_clips("wan") if family == "wan" else {})).encode_text(["a deer"])


def test_a_tokenizer_that_is_not_whole(copied: Callable[[str], Path]) -> None:
    folder = copied("video")
    (folder / "tokenizer" / "tokenizer_config.json").unlink()
    with pytest.raises(BadInput, match="tokenizer"):
        load_prior(str(folder)).encode_text(["a deer"])


def test_a_schedule_that_is_none(copied: Callable[[str], Path]) -> None:
    folder = copied("video")
    edit(folder / "scheduler" / "scheduler_config.json", lambda value: value.update(beta_schedule=2**31))
    with pytest.raises(BadInput, match="video"):
        load("video", folder)


def test_nothing_but_the_error_is_said(copied: Callable[[str], Path], capfd: pytest.CaptureFixture[str]) -> None:
    folder = copied("video")
    next((folder / "vae").glob("*.safetensors")).unlink()
    with pytest.raises(BadInput, match="vae"):
        load("video", folder)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("part", ["text_encoder", "transformer", "vae"])
def test_shards_elsewhere_in_a_folder_of_ours(copied: Callable[[str], Path], tmp_path: Path, part: str) -> None:
    folder = copied("video")
    weights = next((folder / part).glob("*.safetensors"))
    names = list(load_file(weights))
    weights.rename(tmp_path / "outside.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "../../outside.safetensors")}
    weights.with_name(f"{weights.name}.index.json").write_text(json.dumps(index))
    with pytest.raises(BadInput, match="no file beside it"):
        load("video", folder)


@pytest.mark.parametrize("family", ["points", "wan"])
def test_links_that_lead_nowhere(copied: Callable[[str], Path], family: str) -> None:
    folder = copied(family)
    weights = next(folder.rglob("*.safetensors"))
    weights.unlink()
    for target in (weights.with_name("nothing"), weights):
        weights.symlink_to(target)
        with pytest.raises(BadInput, match="leads nowhere"):
            load(family, folder)
        weights.unlink()


@pytest.mark.parametrize("shard", ["../../secret.safetensors", "/secret.safetensors", "a\\b.safetensors", 3, None, []])
def test_shards_that_are_no_files_of_the_folder(copied: Callable[[str], Path], shard: object) -> None:
    folder = copied("wan")
    index = folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"a": shard}}))
    with pytest.raises(BadInput, match=index.name):
        load("wan", folder)


@pytest.mark.parametrize("said", ["x", 3, ["diffusers"], {"a": 1}, ["diffusers", 3], ["diffusers", "logging"]])
def test_classes_that_are_none(copied: Callable[[str], Path], said: object) -> None:
    folder = copied("wan")
    edit(folder / "model_index.json", lambda index: index.update(text_encoder=said))
    with pytest.raises(BadInput, match=r"model_index\.json|text_encoder"):
        load("wan", folder)


@pytest.mark.parametrize("text", ["[]", "3", "null", '"x"'])
def test_an_index_that_is_no_object(copied: Callable[[str], Path], text: str) -> None:
    folder = copied("points")
    (folder / "model_index.json").write_text(text)
    with pytest.raises(BadInput, match="model_index"):
        load("points", folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("family", ["points", "wan"])
def test_what_may_never_end_is_not_read(copied: Callable[[str], Path], family: str) -> None:
    folder = copied(family)
    path = next(folder.glob("*/config.json"))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BadInput, match="pipe"):
        load(family, folder)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(BadInput, match="device"):
        load(family, folder)
