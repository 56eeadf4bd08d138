"""Published models, tiny but real, through fit-lora, distill and refine as typed, and what a user may get wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from animus3d_cli.main import main
from stages.gaussians.formats.ply import write_ply
from stages.priors.catalogue import CATALOGUE, is_here
from stages.priors.hub import missing_files
from tests.bench.record import RESULTS
from tests.bench.true_models import TRUE_MODELS
from tests.gaussians.test_ply import splat
from tests.priors.tiny_models import MODELS, save_model, small_clips

LARGE = {
    "THUDM/CogVideoX-5b-I2V", "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers", "Wan-AI/Wan2.2-I2V-A14B-Diffusers",
}  # fmt: skip
"""Not for a card of 24 GB."""
ROOT = Path(__file__).parent.parent.parent
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
FETCH = (
    'Where there is a connection: hf download some/model --include "model_index.json" --include "scheduler/*" '
    '--include "tokenizer/*" --include "text_encoder/*" --include "vae/*" --include "unet/*" '
    '--exclude "*.bin" --exclude "*.fp16.*" --exclude "*.msgpack"\n'
)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    asset = splat(1, count=60)
    write_ply(tmp_path / "asset.ply", replace(asset, log_scales=asset.log_scales - 3.0))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


def animus3d(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Exit code of the program, in this process."""
    monkeypatch.setattr("sys.argv", ["animus3d", *line.split()])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.mark.parametrize("name", MODELS)
def test_every_family_runs_every_stage(workplace: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    save_model(name, workplace / "model")
    small = small_clips(name)
    clip = "--prior model " + " ".join(f"--set {key}={value}" for key, value in small.items())
    quick = "--set num_cameras=2 --set num_timesteps=2 --set inversion_steps=1 --set spatial_resolution=6"
    assert animus3d(f"fit-lora asset.ply --steps 1 --set num_cameras=2 {clip}", monkeypatch) == 0
    assert animus3d(f"distill --prompt=walking --steps 2 {quick} {clip}", monkeypatch) == 0
    size = f"--set size_px={small['size_px']}" if "size_px" in small else ""
    refine = f"refine --prior model {size} --set num_frames=7 --set num_cameras=1 --steps 1"
    assert animus3d(f"{refine} --set denoise_steps=2", monkeypatch) == 0
    found = [load_file(workplace / "run" / part / "motion.safetensors") for part in ("motion", "refined")]
    assert any((found[0][key] != found[1][key]).any() for key in found[0])
    assert all(value.isfinite().all() for tensors in found for value in tensors.values())


def test_the_preset_follows_the_prior(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A published model gets the settings for such models unless others are asked for."""
    save_model("modelscope", workplace / "model")
    clip = "--prior model --set size_px=32 --set num_frames=4 --set num_cameras=1"
    assert animus3d(f"fit-lora asset.ply --steps 1 {clip}", monkeypatch) == 0
    assert '"learning_rate": 0.0001' in (workplace / "run/lora/config.json").read_text()
    assert animus3d(f"fit-lora asset.ply --run other --preset default --steps 1 {clip}", monkeypatch) == 0
    assert '"learning_rate": 0.001' in (workplace / "other/lora/config.json").read_text()


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("fit-lora asset.ply --offline --prior nobody/nothing", 9, "and the hub is not asked (offline). Where"),
        ("fit-lora asset.ply --offline --prior nobody/nothing", 9, 'hf download nobody/nothing --include "model_index'),
        ("fit-lora asset.ply --offline --prior nobody/nothing", 9, '--exclude "*.msgpack" --local-dir MODEL; then'),
        ("fit-lora asset.ply --prior model --set num_frames=6", 3, "not 6. Nearest: 1 or 9"),
        ("fit-lora asset.ply --prior model --set size_px=44", 3, "multiple of 8, not 44"),
        ("fit-lora asset.ply --prior model --profile 12gb", 3, "Choose one of: 24gb, 48gb, 80gb"),
        ("train-prior --kind video --out out --init model", 3, "train-prior trains a AnimusVideoPipeline only"),
    ],
)
def test_one_line_for_every_mistake(
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
    code: int,
    says: str,
) -> None:
    save_model("ltx", workplace / "model")
    capsys.readouterr()  # transformers may draw a bar when it saves
    assert animus3d(line, monkeypatch) == code
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1, error


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:1000])


def drop_a_tensor(file: Path) -> None:
    tensors = load_file(file)
    del tensors[min(tensors)]
    save_file(tensors, file, {"format": "pt"})


def without(file: Path, key: str) -> None:
    config = json.loads(file.read_text())
    del config[key]
    file.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda at: (at / WEIGHTS).unlink(), f"{WEIGHTS} is missing; the model's folder is incomplete. Download it"),
        (lambda at: cut(at / WEIGHTS), "The unet of the prior model cannot be loaded: "),
        (lambda at: drop_a_tensor(at / WEIGHTS), "its weights lack conv_in.bias (1 missing in all). "),
        (lambda at: drop_a_tensor(at / "text_encoder/model.safetensors"), "The text_encoder of the prior model cannot"),
        (lambda at: shutil.rmtree(at / "text_encoder"), "text_encoder/config.json is missing; "),
        (lambda at: (at / WEIGHTS).rename(at / "unet" / "pytorch.bin"), "model/unet has its weights as .bin only; "),
        (lambda at: (at / "unet/config.json").write_text("{"), "model/unet/config.json cannot be read: "),
        (lambda at: (at / "unet/config.json").write_text("[]"), "model/unet/config.json is not a config"),
        (lambda at: without(at / "vae/config.json", "block_out_channels"), "config.json lacks 'block_out_channels'. "),
    ],
)
def test_a_damaged_folder_is_one_line(
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    damage: Callable[[Path], object],
    says: str,
) -> None:
    damage(save_model("modelscope", workplace / "model"))
    capfd.readouterr()
    line = "fit-lora asset.ply --steps 1 --set size_px=32 --set num_frames=4 --set num_cameras=1 --prior model"
    assert animus3d(line, monkeypatch) == 3
    error = capfd.readouterr().err
    assert says in error and error.count("\n") == 1 and ".." not in error, error
    assert "Download it again.\n" in error or "Save the model as safetensors once" in error


@pytest.mark.parametrize("stage", ["fit-lora asset.ply", "distill --prompt x --set objective=sds", "refine"])
def test_the_rasterizer_is_asked_for_before_weights_are_read(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], stage: str
) -> None:
    whole = save_model("modelscope", workplace / "whole")
    small = "--steps 1 --set size_px=32"
    assert animus3d("reconstruct asset.ply --run run", monkeypatch) == 0
    made = f"distill --run run --prompt x --set objective=sds --set num_frames=4 --prior {whole} {small}"
    assert animus3d(made, monkeypatch) == 0
    model = save_model("modelscope", workplace / "model")
    (model / "unet/config.json").write_text("{")
    capfd.readouterr()
    assert animus3d(f"{stage} --run run --force --raster gsplat --prior model {small}", monkeypatch) == 9
    assert "The gsplat rasterizer needs a CUDA device." in capfd.readouterr().err


@pytest.fixture
def cached(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the hub's cache keeps a tiny ``some/model``."""
    at = workplace / "home" / "hub" / "models--some--model"
    (at / "refs").mkdir(parents=True)
    (at / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(workplace / "home" / "hub"))
    return save_model("modelscope", at / "snapshots" / "abc")


CACHED = (
    "fit-lora asset.ply --steps 1 --set size_px=32 --set num_frames=4 --set num_cameras=1 --offline --prior some/model"
)


def test_a_hub_id_comes_from_the_cache(workplace: Path, cached: Path) -> None:
    """As typed, without a connection."""
    environment = {**os.environ, "HF_HOME": str(workplace / "home"), "PYTHONPATH": str(ROOT)}
    environment = {key: value for key, value in environment.items() if key not in ("HF_HUB_OFFLINE", "HF_HUB_CACHE")}
    command = [sys.executable, "-m", "animus3d_cli", *CACHED.split()]
    found = subprocess.run(command, env=environment, cwd=workplace, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert is_here("some/model") and (workplace / "run/lora/adapter.safetensors").exists()


@pytest.mark.parametrize(
    ("damage", "code", "says", "hint"),
    [
        (lambda at: (at / WEIGHTS).unlink(), 9, f"{WEIGHTS} of the prior some/model is not on this machine. ", FETCH),
        (lambda at: shutil.rmtree(at / "vae"), 9, "vae/config.json of the prior some/model is not on this", FETCH),
        (lambda at: (at / WEIGHTS).rename(at / "unet" / "pytorch.bin"), 9, "its unet as .bin only", "Save the model"),
        (lambda at: cut(at / WEIGHTS), 3, "The unet of the prior", '--include "unet/*" --exclude "*.bin"'),
    ],
)
def test_a_cache_that_holds_a_part_of_a_model(
    workplace: Path,
    cached: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    damage: Callable[[Path], object],
    code: int,
    says: str,
    hint: str,
) -> None:
    """What is missing of it, and the exact command that fetches it."""
    damage(cached)
    capfd.readouterr()
    assert is_here("some/model") == (code == 3)
    assert animus3d(CACHED, monkeypatch) == code
    error = capfd.readouterr().err
    assert says in error and hint in error and error.count("\n") == 1, error
    assert "HF_HUB_OFFLINE" not in error


def test_a_part_that_the_hub_does_not_give(
    cached: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not offline, and nobody answers."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    (cached / WEIGHTS).unlink()
    capsys.readouterr()
    assert animus3d(CACHED.replace("--offline ", ""), monkeypatch) == 9
    error = capsys.readouterr().err.splitlines()[-1]
    assert (
        f"{WEIGHTS} of the prior some/model is not on this machine, and the hub did not give it. Fetch it: hf" in error
    )
    assert error.endswith("diffusers' save_pretrained, and name that folder.")


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        (CACHED.replace("asset.ply", "goat.ply"), 3, "goat.ply"),
        (f"{CACHED} --set speed=2", 3, "speed"),
    ],
)
def test_mistakes_are_said_before_the_weights_are_fetched(
    cached: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    line: str,
    code: int,
    says: str,
) -> None:
    """The index alone says which preset suits a model."""
    shutil.rmtree(cached / "unet")
    capfd.readouterr()
    assert animus3d(line, monkeypatch) == code
    assert says in capfd.readouterr().err


def test_every_shard_has_to_be_here(tmp_path: Path) -> None:
    folder = save_model("modelscope", tmp_path / "model")
    assert missing_files(folder) == []
    shards = {"a": "diffusion_pytorch_model-1.safetensors", "b": "diffusion_pytorch_model-2.safetensors"}
    index = {"weight_map": shards}
    (folder / WEIGHTS).with_suffix(".safetensors.index.json").write_text(json.dumps(index))
    (folder / WEIGHTS).rename(folder / "unet" / shards["a"])
    assert missing_files(folder) == [folder / "unet" / shards["b"]]


def test_lists_what_can_be_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A line each on a usual terminal, whole names even on a narrow one; memory as recorded, downloads as counted."""
    monkeypatch.setenv("COLUMNS", "80")
    assert animus3d("priors", monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    count = len(CATALOGUE) + 2
    second = next(number for number, line in enumerate(lines) if line.startswith("GiB; seconds"))
    assert [line.split()[0] for line in lines[3 : count + 1]] == [one.name for one in CATALOGUE]
    for one, line in zip(CATALOGUE, lines[second + 3 :], strict=False):
        name, *figures = line.split()
        assert one.name.endswith(f"/{name}") and len(figures) == 6, line
        assert (figures[-1] == "-") == (one.name in LARGE), line
    monkeypatch.setenv("COLUMNS", "60")
    assert animus3d("priors", monkeypatch) == 0
    shown = capsys.readouterr().out
    memory = json.loads((RESULTS / "memory.json").read_text())
    recorded, recorded_work = memory["gib"], memory["tflop"]
    assert {one.name for one in CATALOGUE} == set(recorded)
    for one in CATALOGUE:
        assert one.name in shown
        found = recorded[one.name]
        expected = [found[part] for part in ("text", "fit_lora", "distill", "refine", "sample", "denoiser_billions")]
        listed = (one.text_gib, one.fit_lora_gib, one.distill_gib, one.refine_gib, one.sample_gib, one.billions)
        assert list(listed) == expected
        assert one.sample_tflop == recorded_work[one.name]["sample"]
        if one.name not in LARGE:
            assert one.sample_seconds("RTX 4090") == pytest.approx(one.sample_tflop / 66.0)
        assert max(expected) < 20.0 or one.name in LARGE
        true = TRUE_MODELS[one.name]
        with torch.device("meta"):
            others = [true.vae(), *([] if true.image_encoder is None else [true.image_encoder()])]
        parameters = sum(p.numel() for module in others for p in module.parameters()) + true.text_encoder
        billions = parameters / 1e9 + one.billions
        assert one.download_gb == pytest.approx((one.stored_bytes or 2) * billions, abs=0.06)
    assert "does not fit one of 24 GB" in " ".join(shown.split())
