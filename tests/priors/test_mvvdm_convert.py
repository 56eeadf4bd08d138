"""The converter of Animate3D's checkpoint, on tiny ones of the same form; and files that it must not read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.errors import BadInput, NotAvailable
from stages.events import Event, Note
from stages.priors.catalogue import ANIMATE3D, CHECKPOINT_FILE
from stages.priors.find import kind_of
from stages.priors.load import load_prior
from stages.priors.multiview import MVVDMPrior
from stages.priors.multiview.attention import PictureAttention
from stages.priors.multiview.convert import ADAPTER_FILE, EYES, Sources, convert
from stages.priors.multiview.unet import is_trained, on_meta
from tests.bench.record import RESULTS
from tests.e2e.command import animus3d
from tests.priors.tiny_models import TOKENIZER
from tests.priors.tiny_mvvdm import UNET, tiny_parts, tiny_unet


def quiet(_: Event) -> None:
    """Report nothing."""


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is fetched: a checkpoint as training leaves it, MVDream's folder, IP-Adapter's."""
    at = tmp_path_factory.mktemp("originals")
    unet, parts = tiny_unet(), tiny_parts()
    tensors = unet.state_dict()
    own = {f"module.{name}": tensor for name, tensor in tensors.items() if is_trained(name)}
    torch.save({"state_dict": own, "epoch": 20, "global_step": 7}, at / CHECKPOINT_FILE)
    for part in ("vae", "text_encoder"):
        parts[part].save_pretrained(at / "mvdream" / part)
    TOKENIZER.save_pretrained(at / "mvdream" / "tokenizer")
    adapter, base = {}, {}
    layers = [name for name, module in unet.named_modules() if isinstance(module, PictureAttention)]
    for name, tensor in tensors.items():
        if name.startswith("encoder_hid_proj."):
            adapter[
                name.replace("encoder_hid_proj.image_embeds", "image_proj.proj").replace(
                    "encoder_hid_proj", "image_proj"
                )
            ] = tensor
        elif "_ip." in name:
            place, kind = name.removesuffix(".0.weight").rsplit(".", 1)
            adapter[f"ip_adapter.{2 * layers.index(place) + 1}.{kind}.weight"] = tensor
        elif not is_trained(name):
            base[name] = tensor
    (at / "mvdream" / "unet").mkdir()
    save_file(base, at / "mvdream" / "unet" / "diffusion_pytorch_model.safetensors")
    config = {
        name: value for name, value in UNET.items() if "attention_heads" not in name and name != "image_embed_dim"
    }
    for name in ("down_block_types", "up_block_types"):
        config[name] = [kind.replace("BlockMotion", "Block2D") for kind in config[name]]
    config |= {"attention_head_dim": 2, "in_channels": 4, "out_channels": 4, "camera_embedding_dim": 16}
    (at / "mvdream" / "unet" / "config.json").write_text(json.dumps(config))
    parts["image_encoder"].save_pretrained(at / "ip" / EYES)
    save_file(adapter, at / "ip" / ADAPTER_FILE)
    return at


@pytest.fixture
def fetched(originals: Path, tmp_path: Path) -> Path:
    shutil.copytree(originals, tmp_path / "fetched")
    return tmp_path / "fetched"


def sources(at: Path) -> Sources:
    return Sources(checkpoint=at / CHECKPOINT_FILE, mvdream=at / "mvdream", ip_adapter=at / "ip")


def test_makes_a_prior_of_the_three(originals: Path, tmp_path: Path) -> None:
    """Every tensor in its place; the counts are said; nothing in the folder is pickled."""
    notes: list[str] = []
    out = convert(
        sources(originals),
        tmp_path / "prior",
        lambda event: notes.append(event.text) if isinstance(event, Note) else None,
    )
    expected = tiny_unet().state_dict()
    own = sum(map(is_trained, expected))
    assert f"{own} tensors of Animate3D, {len(expected) - own} of MVDream and IP-Adapter, 0 unexpected." in notes
    written = load_file(out / "unet" / "diffusion_pytorch_model.safetensors")
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in expected.items())
    assert not [path for path in out.rglob("*") if path.suffix in (".bin", ".ckpt", ".pt", ".pkl")]
    assert kind_of(str(out)) == "published"
    prior = load_prior(str(out), num_frames=2, size_px=8)
    assert isinstance(prior, MVVDMPrior) and prior.num_views == 4
    given = prior.given(prior.encode_text(["a deer"]), torch.rand(4, 8, 8, 3), torch.eye(4).repeat(4, 1, 1))
    with torch.no_grad():
        assert prior.predict(torch.randn(1, 4, 4, 2, 4, 4), 500, given).isfinite().all()


def test_ip_adapter_counts_down_then_up_then_the_middle() -> None:
    """Its 16 layers are numbered as diffusers lists them: 1 to 11 down, 13 to 29 up, 31 in the middle."""
    layers = [name for name, module in on_meta().named_modules() if isinstance(module, PictureAttention)]
    assert len(layers) == 16
    assert [layers[i].split(".attentions")[0] for i in (0, 5, 6, 14, 15)] == [
        "down_blocks.0", "down_blocks.2", "up_blocks.1", "up_blocks.3", "mid_block",
    ]  # fmt: skip


class Runs:
    """What a pickle can do when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        return os.system, (f"touch {self.path}",)


def test_a_checkpoint_that_would_run_a_program_is_refused(fetched: Path, tmp_path: Path) -> None:
    """With one clear line, and the program has not run."""
    touched = tmp_path / "touched"
    torch.save({"state_dict": Runs(touched)}, fetched / CHECKPOINT_FILE)
    with pytest.raises(BadInput, match="holds more than tensors") as refused:
        convert(sources(fetched), tmp_path / "out", quiet)
    assert CHECKPOINT_FILE in refused.value.what and "\n" not in str(refused.value)
    assert not touched.exists() and not (tmp_path / "out").exists()


def _without_camera(at: Path) -> None:
    file = at / "mvdream" / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: t for name, t in load_file(file).items() if not name.startswith("camera")}, file)


def _other_shape(at: Path) -> None:
    file = at / "ip" / ADAPTER_FILE
    tensors = load_file(file)
    tensors["image_proj.norm.weight"] = torch.ones(3)
    save_file(tensors, file)


def _changed(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def damage(at: Path) -> None:
        found = torch.load(at / CHECKPOINT_FILE, weights_only=True)
        change(found["state_dict"])
        torch.save(found, at / CHECKPOINT_FILE)

    return damage


FIRST = "module.down_blocks.0.motion_modules.0.norm.bias"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_changed(lambda tensors: tensors.pop(FIRST)), "lacks down_blocks.0.motion_modules.0.norm.bias: 1 of"),
        (_changed(lambda tensors: tensors.update(more=torch.ones(1))), "holds more, for which"),
        (_changed(lambda tensors: tensors.update({FIRST: torch.ones(2)})), r"of shape \[2\], not \[16\]"),
        (lambda at: (at / CHECKPOINT_FILE).unlink(), "There is no checkpoint"),
        (lambda at: (at / CHECKPOINT_FILE).write_bytes(b"nothing"), CHECKPOINT_FILE),
        (_without_camera, "knows no cameras"),
        (_other_shape, r"image_proj|encoder_hid_proj.norm.weight of shape \[3\]"),
        (lambda at: (at / "ip" / ADAPTER_FILE).unlink(), ADAPTER_FILE),
        (lambda at: (at / "mvdream" / "vae" / "diffusion_pytorch_model.safetensors").unlink(), "vae"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(fetched: Path, tmp_path: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(fetched)
    with pytest.raises(BadInput, match=says):
        convert(sources(fetched), tmp_path / "out", quiet)
    assert not (tmp_path / "out").exists()


def test_from_the_command_line(originals: Path, tmp_path: Path) -> None:
    line = [
        "priors",
        "--convert",
        originals / CHECKPOINT_FILE,
        "--mvdream",
        originals / "mvdream",
        "--out",
        tmp_path / "prior",
    ]
    animus3d(*line, code=2)
    animus3d(*line, "--ip-adapter", originals / "ip")
    assert (tmp_path / "prior" / "model_index.json").exists()
    assert "is there already" in animus3d(*line, "--ip-adapter", originals / "ip", code=3).stderr
    animus3d("priors", "--out", tmp_path, code=2)


def test_the_name_on_the_hub_says_how_to_get_there() -> None:
    with pytest.raises(NotAvailable, match="priors --convert"):
        load_prior("yanqinJiang/animate3d")
    shown = " ".join(animus3d("priors").stdout.split())
    assert "yanqinJiang/animate3d is Animate3D" in shown and "hf download yanqinJiang/animate3d" in shown


def test_the_memory_that_is_said_is_the_memory_that_was_computed() -> None:
    """At true size, sampling fits 7 GiB."""
    recorded = json.loads((RESULTS / "mvvdm.json").read_text())
    assert ANIMATE3D.sample_gib == recorded["gib"]["sample"] <= 7.0
    assert ANIMATE3D.refine_gib == recorded["gib"]["refine_4d_sds"]
    assert recorded["tflop"]["evaluation"] == pytest.approx(26.0, rel=0.03)
