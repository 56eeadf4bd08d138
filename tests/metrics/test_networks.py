"""Feature networks: that their features are those of the code they come from, and what is said of wrong files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchmetrics.functional.multimodal import clip_score
from transformers import AutoTokenizer, CLIPModel, ViTModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from stages.errors import AnimusError, BadInput, NotAvailable
from stages.metrics.builtin import (
    EFFICIENTNET_WEIGHTS,
    LPIPS_WEIGHTS,
    EfficientNetLite0,
    ShiftTolerantLpips,
    packaged,
)
from stages.metrics.inception import Inception
from stages.metrics.pretrained import ClipEncoder, Dino
from stages.metrics.scripted import I3D, Amt, Raft
from stages.metrics.video import is_dynamic, mean_cosine, smoothness
from stages.metrics.weights import fill, read_weights
from tests.metrics import tiny_networks as tiny


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def vit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_vit(tmp_path_factory.mktemp("vit"))


def pictures(count: int = 3, side: int = 64) -> Tensor:
    return torch.stack([tiny.rings(5 * index, side) for index in range(count)])


def test_clips_features_are_transformers(clip_folder: Path) -> None:
    clip, model = ClipEncoder(str(clip_folder), "cpu"), CLIPModel.from_pretrained(clip_folder).eval()
    images = pictures(20)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    prepared = processor(images=[image.numpy() for image in images], return_tensors="pt")
    tokens = AutoTokenizer.from_pretrained(clip_folder)("a walking goat", return_tensors="pt")
    with torch.no_grad():
        expected = model(input_ids=tokens["input_ids"], **prepared)
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(clip.images(images), expected.image_embeds).min() > 0.9999  # transformers rounds to 8 bits in between
    assert cosine(clip.text("a walking goat"), expected.text_embeds[0], dim=0) == pytest.approx(1.0, abs=1e-5)
    assert clip.images(images[None]).shape == (1, 20, 24)
    assert clip.backbone == f"CLIP ViT 32/8 at 32 px, {clip_folder.name}"


def test_clip_score_equals_torchmetrics(clip_folder: Path) -> None:
    clip, images = ClipEncoder(str(clip_folder), "cpu"), pictures()

    class OurFeatures(nn.Module):
        """Our features, by the names that torchmetrics asks for."""

        config = SimpleNamespace()

        def get_image_features(self, pixels: Tensor) -> Tensor:
            return clip.images(pixels.movedim(1, -1))

        def get_text_features(self, ids: Tensor, mask: Tensor) -> Tensor:
            return clip.text("a walking goat").expand(len(ids), -1)

    def processor(images: list[Tensor] | None = None, text: list[str] | None = None, **_: Any) -> dict[str, Tensor]:
        ids = torch.zeros(len(text or []), 1)
        return {"pixel_values": torch.stack(images)} if images else {"input_ids": ids, "attention_mask": ids}

    score = clip_score(
        list(images.movedim(-1, 1)), ["a walking goat"] * 3, model_name_or_path=lambda: (OurFeatures(), processor)
    )
    own = 100 * mean_cosine(clip.images(images), clip.text("a walking goat"))
    assert own == pytest.approx(float(score), rel=1e-5)


def test_a_long_sentence_is_cut(clip_folder: Path) -> None:
    assert ClipEncoder(str(clip_folder), "cpu").text("a walking goat " * 40).isfinite().all()


def test_dinos_feature_is_the_class_token(vit_folder: Path) -> None:
    dino, model = Dino(str(vit_folder), "cpu"), ViTModel.from_pretrained(vit_folder, add_pooling_layer=False).eval()
    images = pictures(2, side=32)  # nothing to resize
    pixels = images.movedim(-1, 1) / 255.0
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = model((pixels - mean) / std).last_hidden_state[:, 0]
    torch.testing.assert_close(dino.images(images), expected)
    assert not dino.is_vbench and "32/8" in dino.backbone


def test_inception_equals_torch_fidelitys(tmp_path: Path) -> None:
    """Golden: torch-fidelity 0.4.0's ``FeatureExtractorInceptionV3`` with the same weights on the same picture."""
    save_file(tiny.inception_weights(), tmp_path / "inception.safetensors")
    inception = Inception(tmp_path / "inception.safetensors", "cpu")
    # it takes (x - 128) / 128 where pytorch-fid takes 2 x / 255 - 1
    same = ((tiny.rings(0, 299).float() - 128.0) / 128.0 + 1.0) / 2.0
    features = inception._look(same.movedim(-1, 0)[None])[0].double()
    golden = [0.4703187, 0.0, 1.6320618, 0.0, 0.0, 1.3614746]
    assert features[:6].tolist() == pytest.approx(golden, abs=2e-4)
    assert float(features.norm()) == pytest.approx(45.28899, rel=1e-4)


def test_shift_tolerant_lpips_equals_its_packages(tmp_path: Path) -> None:
    """Golden: stlpips-pytorch 0.0.2's own code, trunk "alex", on the same pictures."""
    path = packaged(LPIPS_WEIGHTS)
    assert path is not None, "pip install 'animus3d[metrics]'"
    lpips = ShiftTolerantLpips(path, "cpu")
    found = lpips.distances(torch.stack([tiny.rings(shift) for shift in (0, 1, 4, 16)]), tiny.rings(0))
    assert found.tolist() == pytest.approx([0.0, 0.007734109, 0.095297486, 0.422311366], abs=1e-5)
    assert lpips.distances(torch.zeros(1, 32, 32, 3, dtype=torch.uint8), tiny.rings(0, 32)).isfinite().all()


def test_efficientnet_knows_a_picture_again() -> None:
    path = packaged(EFFICIENTNET_WEIGHTS)
    assert path is not None, "pip install 'animus3d[metrics]'"
    network = EfficientNetLite0(path, "cpu")
    features = network.images(torch.stack([tiny.rings(0), tiny.rings(1), tiny.rings(30)]))
    assert features.shape == (3, 1280)
    cosine = [mean_cosine(features[i][None, None], features[0]) for i in range(3)]
    assert cosine[0] == pytest.approx(1.0) and cosine[0] > cosine[1] > cosine[2]


def body_on_white(x: int, side: int = 128) -> Tensor:
    frame = torch.full((side, side, 3), 255, dtype=torch.uint8)
    frame[40:70, x : x + 30] = 20
    return frame


def test_scripts_see_a_known_shift(tmp_path: Path) -> None:
    """A body that goes 4 px a frame: 4 px of flow, dynamic, and its middle frame is not the mean of its neighbours."""
    film = torch.stack([body_on_white(10 + 4 * frame) for frame in range(12)])
    still = film[:1].expand(12, -1, -1, -1)
    raft = Raft(tiny.save_script(tmp_path / "raft.pt", tiny.Centroid()), "cpu")
    flow = raft.flow(film)
    assert flow.shape == (11, 128, 128, 2)
    torch.testing.assert_close(flow[0, 50, 25], torch.tensor([4.0, 0.0]), atol=1e-3, rtol=0)
    assert is_dynamic(flow) and not is_dynamic(raft.flow(still))
    amt = Amt(tiny.save_script(tmp_path / "amt.pt", tiny.Mean()), "cpu")
    odd = film[1:-1:2].float() / 255.0
    assert amt.between(film[::2]).shape == odd.shape
    # the mean of two frames 8 px apart is half dark where one of them is: 8 columns of 30 px on either side
    expected = 1.0 - 2 * 8 * 30 * 0.5 * (235 / 255) / 128**2
    assert smoothness(odd, amt.between(film[::2])) == pytest.approx(expected, abs=1e-5)
    assert smoothness(still[1:-1:2].float() / 255.0, amt.between(still[::2])) == pytest.approx(1.0)
    i3d = I3D(tiny.save_script(tmp_path / "i3d.pt", tiny.TinyI3D()), "cpu")
    features = i3d.videos(torch.stack([film, still]))
    assert features.shape == (2, 12) and features[0, 9] > 0.0 and features[1, 9] == 0.0
    white = i3d.videos(torch.full((1, 12, 16, 24, 3), 255, dtype=torch.uint8))
    torch.testing.assert_close(white[0, :3], torch.ones(3))  # [0, 255] became [-1, 1], and the middle was cut out


@pytest.mark.parametrize(
    ("load", "kind", "words"),
    [
        (lambda at: ClipEncoder("nowhere", "cpu"), NotAvailable, "There is no folder nowhere"),
        (lambda at: ClipEncoder("nobody/nothing", "cpu"), NotAvailable, "hf download nobody/nothing"),
        (lambda at: ClipEncoder(str(tiny.save_vit(at / "vit")), "cpu"), BadInput, "vit model, and --clip needs a clip"),
        (lambda at: Dino(str(tiny.save_clip(at / "clip")), "cpu"), BadInput, "is a clip model, and --dino needs a vit"),
        (lambda at: ClipEncoder(str(at), "cpu"), BadInput, "cannot be loaded for --clip"),
        (lambda at: Inception(at / "none.pth", "cpu"), BadInput, "There is no file"),
        (lambda at: Inception(_file(at, b"junk"), "cpu"), BadInput, "cannot be read as weights"),
        (lambda at: Inception(_tensors(at, "fc.weight"), "cpu"), BadInput, "has no Conv2d_1a_3x3.conv.weight"),
        (lambda at: Inception(_tensors(at, "Conv2d_1a_3x3.conv.weight"), "cpu"), BadInput, "FID's Inception"),
        (lambda at: I3D(_file(at, b"junk"), "cpu"), BadInput, "is not an I3D as TorchScript"),
        (lambda at: _ask_wrongly(at), BadInput, "does not take what is asked of it"),
        (lambda at: _small(at), BadInput, "--set size=256"),
        (lambda at: _short(at), BadInput, "I3D needs 10 frames"),
    ],
)  # fmt: skip
def test_wrong_files_are_one_line(tmp_path: Path, load: Any, kind: type[AnimusError], words: str) -> None:
    with pytest.raises(kind) as caught:
        load(tmp_path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_missing_weights_are_not_made_up(tmp_path: Path) -> None:
    folder = tiny.save_clip(tmp_path)
    model = CLIPModel.from_pretrained(folder)
    save_file(
        {name: value for name, value in model.state_dict().items() if "visual_projection" not in name},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(BadInput, match=r"no weights for visual_projection\.weight"):
        ClipEncoder(str(folder), "cpu")


def test_a_pickle_with_code_is_refused(tmp_path: Path) -> None:
    torch.save({"a": Evil(tmp_path / "written")}, tmp_path / "evil.pth")
    with pytest.raises(BadInput, match="cannot be read as weights"):
        Inception(tmp_path / "evil.pth", "cpu")
    assert not (tmp_path / "written").exists()


class Evil:
    """What would write a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def _file(folder: Path, content: bytes) -> Path:
    (folder / "file.pt").write_bytes(content)
    return folder / "file.pt"


def _tensors(folder: Path, *names: str) -> Path:
    save_file({name: torch.zeros(2, 2) for name in names}, folder / "some.safetensors")
    return folder / "some.safetensors"


def _ask_wrongly(folder: Path) -> None:
    I3D(tiny.save_script(folder / "mean.pt", tiny.Mean()), "cpu").videos(pictures(10)[None])


def _small(folder: Path) -> None:
    Raft(tiny.save_script(folder / "raft.pt", tiny.Centroid()), "cpu").flow(pictures())


def _short(folder: Path) -> None:
    I3D(tiny.save_script(folder / "i3d.pt", tiny.TinyI3D()), "cpu").videos(pictures(3)[None])


@pytest.mark.parametrize("kind", [torch.uint8, torch.complex64])
def test_weights_that_are_no_floating_point_numbers_are_named(tmp_path: Path, kind: torch.dtype) -> None:
    tensors = {name: tensor.to(kind) for name, tensor in nn.Linear(2, 3).state_dict().items()}
    with pytest.raises(BadInput, match=r"a\.pth .*has a (weight|bias) of"):
        fill(nn.Linear(2, 3), tensors, tmp_path / "a.pth", "a layer")
    folder = tiny.save_vit(tmp_path / "vit")
    path = folder / "model.safetensors"
    save_file({name: tensor.to(kind) for name, tensor in load_file(path).items()}, path, {"format": "pt"})
    with pytest.raises(BadInput, match="floating-point"):
        Dino(str(folder), "cpu")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_that_are_not_finite_are_named(tmp_path: Path, suffix: str) -> None:
    path, tensors = tmp_path / f"a{suffix}", {"weight": torch.ones(2, 3), "bias": torch.tensor([0.0, float("nan")])}
    if suffix == ".pth":
        torch.save(tensors, path)
    else:
        save_file(tensors, path)
    with pytest.raises(BadInput, match=r"NaN or infinity in bias"):
        read_weights(path)


def test_a_folder_of_transformers_whose_weights_are_not_finite_is_named(tmp_path: Path) -> None:
    folder = tiny.save_vit(tmp_path)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = min(tensors)
    tensors[name].view(-1)[0] = float("inf")
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(BadInput, match="not finite, in "):
        Dino(str(folder), "cpu")
