"""eval as typed: what each metric says of motions whose value is known, several runs, sets, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPModel

from animus3d_cli.main import main
from stages.evaluate import EvaluateConfig
from stages.evaluate import run as evaluate
from stages.evaluating.feature_networks import NetworkPlaces, load_networks
from stages.evaluating.network_metrics import by_networks
from stages.events import silent
from stages.gaussians.normalised import normalised
from stages.media.contact_sheet import write_png
from stages.media.video import write_mp4
from stages.metrics.catalogue import CATALOGUE
from stages.motion.hexplane import HexPlane
from stages.run_dir import RunDir
from tests.exporting.runs import moving_run, small_splat
from tests.metrics import tiny_networks as tiny
from tests.motion.test_hexplane import CONFIG

SMALL = ("--set", "size=32", "--set", "num_views=2", "--set", "frames=10")
BARE = EvaluateConfig(size=32, num_views=2, frames=10, networks=NetworkPlaces(builtin=False))


def shifted_run(folder: Path, shift: float) -> RunDir:
    """A run whose asset jumps aside, by ``shift`` halves of its longest side, over the first fifth of the clip."""
    run = moving_run(folder, small_splat(), prompt="a jumping goat")
    field = HexPlane(CONFIG, *normalised(small_splat()).bounds())
    field.decoder[-1].bias.data[0] = shift  # type: ignore[union-attr,operator,index]
    motion = run.stage("motion")
    motion.write_result("motion.safetensors", field.tensors(), field.metadata() | {"prompt": "a goat"})
    motion.finish(1)
    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs, two of them moving, and tiny networks."""
    folder = tmp_path_factory.mktemp("eval")
    moving_run(folder / "one", small_splat(), prompt="a walking goat")
    shifted_run(folder / "two", 1.0)
    shifted_run(folder / "still", 0.0)
    tiny.save_clip(folder / "clip")
    tiny.save_vit(folder / "vit")
    torch.manual_seed(4)
    save_file({"weight": torch.randn(1, 24), "bias": torch.tensor([5.0])}, folder / "head.safetensors")
    save_file({"weight": torch.randn(1, 8), "bias": torch.zeros(1)}, folder / "narrow.safetensors")
    tiny.save_script(folder / "i3d.pt", tiny.TinyI3D())
    tiny.save_script(folder / "amt.pt", tiny.Mean())
    return folder


def command(place: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit code of ``animus3d eval`` in ``place``."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["animus3d", "eval", *arguments])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    try:
        main()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def values(result: dict[str, Any]) -> dict[str, float | None]:
    return {name: entry["value"] for name, entry in result["metrics"].items()}


def test_a_run_that_stands_still(place: Path) -> None:
    found = values(evaluate(RunDir(place / "still"), BARE, silent))
    assert found["motion_amplitude"] == found["tv3d"] == found["dynamic_degree_gaussians"] == 0.0
    assert found["jerk"] == pytest.approx(0.0, abs=1e-3)
    assert found["smoothness_gaussians"] == pytest.approx(1.0) and found["canonical_ssim"] == pytest.approx(1.0)
    assert found["canonical_psnr"] == 100.0


def test_a_known_shift(place: Path) -> None:
    """One half of the longest side: rigid, so neighbours keep their distances, and fast, so it is dynamic."""
    found = values(evaluate(RunDir(place / "two"), BARE, silent))
    low, high = small_splat().bounds()
    amplitude = 100 * 0.5 * float((high - low).max() / (high - low).norm())
    assert found["motion_amplitude"] == pytest.approx(amplitude, rel=1e-3)
    assert found["neighbour_distance_change"] == pytest.approx(0.0, abs=1e-3)
    assert found["smoothness_gaussians"] < 1.0  # type: ignore[operator]
    assert found["dynamic_degree_gaussians"] == 1.0  # it is on its way in two steps, which is a quarter of 10 frames


def test_without_networks_nothing_is_made_up(place: Path) -> None:
    result = evaluate(RunDir(place / "one"), BARE, silent)
    assert list(result["metrics"]) == list(CATALOGUE)
    for name, entry in result["metrics"].items():
        assert entry["definition"] and {"unit", "better"} <= entry.keys()
        assert (entry["value"] is None) == ("unavailable" in entry), name
    missing = {name for name, entry in result["metrics"].items() if entry["value"] is None}
    assert {"clip_image", "i2v_subject", "fid", "fvd", "lpips_static", "trajectory_error"} <= missing
    assert "--clip" in result["metrics"]["clip_image"]["unavailable"]
    assert (
        "--i3d" in result["metrics"]["fvd"]["unavailable"] and "--reference" in result["metrics"]["fvd"]["unavailable"]
    )
    assert json.loads((place / "one/eval/metrics.json").read_text()) == json.loads(json.dumps(result))


def test_videophy_says_why_it_is_not_measured(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its weights and without them, one line; a folder that is not there is a mistake."""
    (place / "weights").mkdir(exist_ok=True)
    for more in ((), ("--videophy", "weights")):
        capsys.readouterr()
        assert command(place, monkeypatch, "one", *more, *SMALL) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert said.count("videophy sa, videophy pc: not measured: ") == 1
        result = json.loads((place / "one/eval/metrics.json").read_text())
        assert values(result)["videophy_sa"] is values(result)["videophy_pc"] is None
    assert command(place, monkeypatch, "one", "--videophy", "nowhere", *SMALL) == 3
    assert "nowhere" in capsys.readouterr().err


def test_several_runs_with_networks_a_set_and_a_truth(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    networks = (
        "--clip",
        "clip",
        "--aesthetic",
        "head.safetensors",
        "--dino",
        "vit",
        "--i3d",
        "i3d.pt",
        "--amt",
        "amt.pt",
    )
    line = ("one", "two", "still", *networks, "--reference", "one", "--truth", "one", "--json", "all.json", *SMALL)
    line += ("--set", "networks.builtin=false")
    assert command(place, monkeypatch, *line) == 0
    one, two, still = json.loads((place / "all.json").read_text())
    assert [run["run"] for run in (one, two, still)] == ["one", "two", "still"]
    assert json.loads((place / "two/eval/metrics.json").read_text()) == two
    zero = ("fvd", "trajectory_error", "cd_3d", "cd_4d", "cd_m")
    for name, same, best in (*((each, 0.0, min) for each in zero), ("trajectory_cosine", 1.0, max)):
        compared = [values(run)[name] for run in (one, two, still)]
        assert compared[0] == pytest.approx(same, abs=1e-6) and compared[0] == best(compared) and len(set(compared)) > 1
    assert values(still)["trajectory_ratio"] == pytest.approx(1.0)
    for name in ("clip_image", "i2v_subject", "motion_smoothness"):
        assert values(still)[name] == pytest.approx(1.0, abs=1e-6) and values(one)[name] < 1.0 - 1e-5  # type: ignore[operator]
    assert -100.0 <= values(one)["clip_text"] <= 100.0  # type: ignore[operator]
    fvd = one["metrics"]["fvd"]
    assert fvd["reference"] == "run one, motion: 2 views of 10 frames" and "I3D" in fvd["backbone"]
    assert (fvd["samples"], fvd["reference_samples"], fvd["dimensions"]) == (2, 2, 12) and "far from exact" in fvd[
        "warning"
    ]
    assert "another ViT" in one["metrics"]["i2v_subject"]["warning"]
    aesthetic = one["metrics"]["aesthetic"]
    assert aesthetic["head"] == "head.safetensors" and "ViT-L/14" in aesthetic["warning"]
    assert 0.0 < aesthetic["value"] < 10.0 and aesthetic["value"] != values(still)["aesthetic"]
    assert one["metrics"]["clip_image"]["size_px"] == 32 and one["metrics"]["clip_image"]["views"] == 2
    _check_screen(capsys.readouterr().out)


def _check_screen(said: str) -> None:
    table = said[said.rindex("A  one:") :].splitlines()
    assert all(len(line) <= 80 for line in table), max(table, key=len)
    heads = [line[:1] for line in table[:3]]
    assert heads == ["A", "B", "C"]
    rows = {line.split("  ")[0]: line for line in table}
    assert rows["trajectory error"].count("*") == 1 and rows["jerk"].count("*") >= 1
    assert rows["motion amplitude"].count("*") == 0  # neither way is better
    assert any(line.startswith("* best; in so many lines: A ") for line in table)
    assert "C hardly moves" in said and "dynamic degree: --raft FILE" in said


def test_the_aesthetic_score_is_the_plain_sum(place: Path) -> None:
    """Of pictures that are as large as CLIP wants them, by CLIP itself and the head's one product."""
    frames = torch.randint(0, 256, (2, 3, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    places = NetworkPlaces(clip=str(place / "clip"), aesthetic=str(place / "head.safetensors"), builtin=False)
    found = by_networks(load_networks(places, "cpu"), None, frames, frames[:, 0], "a goat")["aesthetic"]
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    pixels = ((frames.flatten(0, 1).float() / 255.0 - mean) / std).permute(0, 3, 1, 2)
    model, head = CLIPModel.from_pretrained(place / "clip").eval(), load_file(place / "head.safetensors")
    with torch.no_grad():
        seen = model.visual_projection(model.vision_model(pixels).pooler_output)
    plain = nn.functional.normalize(seen, dim=-1) @ head["weight"][0] + head["bias"]
    assert found["value"] == pytest.approx(float(plain.mean()), abs=1e-5)
    assert found["views"] == 2 and found["frames"] == 3


def test_a_folder_of_videos(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = place / "videos"
    (videos / "frames").mkdir(parents=True)
    generator = torch.Generator().manual_seed(0)
    for name, count in (("a", 11), ("b", 10), ("short", 3)):
        write_mp4(videos / f"{name}.mp4", torch.rand(count, 32, 48, 3, generator=generator), 8)
    for index in range(10):
        write_png(videos / "frames" / f"{index:02d}.png", torch.rand(32, 32, 4, generator=generator))
    line = ("--run", "two", "--reference", "videos", "--i3d", "i3d.pt", "--json", "set.json", *SMALL)
    assert command(place, monkeypatch, *line, "--set", "networks.builtin=false") == 0
    fvd = json.loads((place / "set.json").read_text())["metrics"]["fvd"]
    assert fvd["reference"] == "videos: 4 videos" and fvd["reference_samples"] == 3 and fvd["value"] > 0


def test_the_packaged_networks_and_a_folder_of_pictures(place: Path) -> None:
    (place / "pictures").mkdir()
    for index in range(2):
        write_png(place / "pictures" / f"{index}.png", tiny.rings(9 * index) / 255.0)
    config = EvaluateConfig(size=32, num_views=1, frames=3, reference=str(place / "pictures"))
    found = evaluate(RunDir(place / "one"), config, silent)["metrics"]
    assert 0.0 < found["image_efficientnet_lite0"]["value"] < 1.0 and found["lpips_static"]["value"] > 0.0
    fid = found["fid_efficientnet_lite0"]
    assert (fid["samples"], fid["reference_samples"], fid["dimensions"]) == (3, 2, 1280) and fid["value"] > 0.0
    assert "far from exact" in fid["warning"] and fid["reference"].endswith("pictures: 2 pictures")
    assert found["fid"]["value"] is None  # the stand-in is never shown as FID


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("one nowhere", 4, "nowhere has no asset"),
        ("nowhere", 4, "There is no run directory nowhere"),
        ("one --run two", 3, "Runs are named twice"),
        ("one --aesthetic head.safetensors", 3, "--clip openai/clip-vit-large-patch14"),
        ("one --clip clip --aesthetic narrow.safetensors", 3, "reads 8 features"),
        ("one --clip clip --aesthetic nowhere.pth", 3, "There is no file nowhere.pth"),
        ("one --clip clip --aesthetic i3d.pt", 3, "i3d.pt"),
        ("one --clip nowhere", 9, "There is no folder nowhere"),
        ("one --clip vit", 3, "--clip needs a clip"),
        ("one --inception amt.pt", 3, "amt.pt"),
        ("one --i3d all.txt", 3, "There is no file all.txt"),
        ("one --reference nowhere", 3, "no folder nowhere"),
        ("one --reference clip", 3, "holds neither a run nor videos"),
        ("one --reference damaged --i3d i3d.pt", 3, "cannot be read as a video"),
        ("one --truth other", 3, "has another asset"),
        ("one --truth photo.jpg", 3, "no true motion"),
        ("one --source nothing", 3, "no source"),
        ("one --set frames=1", 3, "frames must be at least 2"),
        ("one --set frames=100000000", 3, "more than fit into memory"),
        ("one --set network.clip=x", 3, "networks.clip"),
    ],
)
def test_bad_input_is_one_line_and_leaves_what_was_there(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, code: int, words: str
) -> None:
    (place / "damaged").mkdir(exist_ok=True)
    (place / "damaged" / "a.mp4").write_bytes(b"not a video")
    if not (place / "other").exists():
        moving_run(place / "other", small_splat(count=40))
    (place / "one" / "eval").mkdir(exist_ok=True)
    (place / "one" / "eval" / "metrics.json").write_text("{}")
    assert (
        command(place, monkeypatch, *line.split(), "--json", "bad.json", *SMALL[:4], "--set", "networks.builtin=false")
        == code
    )
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1, said
    assert (place / "one/eval/metrics.json").read_text() == "{}" and not (place / "bad.json").exists()
