"""The commands as typed, on a tiny real prior: end to end, again, interrupted, refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from plyfile import PlyData

from animus3d_cli.main import main
from stages.distill import DistillConfig
from stages.gaussians.formats.ply import read_ply, write_ply
from tests.gaussians.test_ply import splat
from tests.media.test_video import read_video
from tests.priors.test_embedded import tiny_prior

ROOT = Path(__file__).parent.parent.parent


def animus3d(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The program in its own process, on one thread."""
    return subprocess.run(
        [sys.executable, "-m", "animus3d_cli", *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an asset and a prior in it."""
    folder = tmp_path_factory.mktemp("work")
    asset = splat(1, count=80)
    write_ply(folder / "asset.ply", replace(asset, log_scales=asset.log_scales - 3.0))
    tiny_prior().save(folder / "prior")
    return folder


@pytest.fixture(scope="module")
def finished(workplace: Path) -> Path:
    """The user's own lines, and the rest of the pipeline, all in ./run."""
    for line in (
        "fit-lora asset.ply --prior prior --steps 3",
        "distill --prompt=walking --prior prior --steps 4 --set spatial_resolution=6 --set checkpoint_every=2",
        "refine --prior prior --steps 2 --set denoise_steps=2",
        "render --frames 5 --size 48 out.mp4",
        "eval --set size=32 --set num_views=2 --json metrics.json",
    ):
        done = animus3d(*line.split(), cwd=workplace)
        assert done.returncode == 0, done.stderr
    return workplace


def test_every_stage_leaves_its_result(finished: Path) -> None:
    run = finished / "run"
    for name in ("asset/canonical.ply", "lora/adapter.safetensors", "lora/preview.mp4", "motion/motion.safetensors",
                 "motion/preview.png", "refined/motion.safetensors", "eval/metrics.json", "run.json"):  # fmt: skip
        assert (run / name).exists(), name
    assert json.loads((finished / "metrics.json").read_text())["metrics"]["motion_amplitude"]["value"] > 0
    assert read_video(finished / "out.mp4", 48, 48).shape == (5, 48, 48, 3)
    assert len((run / "motion" / "metrics.jsonl").read_text().splitlines()) == 4


def test_doing_it_again_does_nothing_and_says_so(finished: Path) -> None:
    before = (finished / "run/motion/motion.safetensors").stat().st_mtime_ns
    line = ["distill", "--prompt=walking", "--prior", "prior", "--steps", "4", "--set", "spatial_resolution=6"]
    done = animus3d(*line, cwd=finished)
    assert done.returncode == 0 and "nothing to do" in done.stdout
    assert (finished / "run/motion/motion.safetensors").stat().st_mtime_ns == before
    for contradiction, said in (
        (("own_noise=false",), "--set start_noise=fixed"),
        (("inversion_steps=0", "start_noise=none"), "start_noise=fresh"),
        (("own_noise=false", "start_noise=fixed", "static_branch=none"), "--set own_noise=true"),
    ):
        refused = animus3d(*line, *(word for value in contradiction for word in ("--set", value)), cwd=finished)
        assert refused.returncode == 3 and said in refused.stderr and refused.stderr.count("\n") == 1
    other = animus3d(*line, "--guidance", "9", cwd=finished)
    assert (
        other.returncode == 5
        and f"guidance: {DistillConfig().score.guidance} -> 9.0" in other.stderr
        and other.stderr.count("\n") == 1
    )


@pytest.mark.parametrize("suffix", ["gif", "png", "ply"])
def test_other_formats(finished: Path, suffix: str) -> None:
    background = [] if suffix == "ply" else ["--background", "transparent"]
    shot = ["render", "--frames", "3", "--size", "32x24", "--orbit", "90", f"shots/clip.{suffix}"]
    done = animus3d(*shot, *background, cwd=finished)
    assert done.returncode == 0, done.stderr
    if suffix == "gif":
        with Image.open(finished / "shots/clip.gif") as gif:
            assert gif.n_frames == 3 and gif.size == (32, 24) and "transparency" in gif.info
    elif suffix == "png":
        frames = [np.asarray(Image.open(path)) for path in sorted((finished / "shots").glob("clip_*.png"))]
        assert len(frames) == 3 and frames[0].shape == (24, 32, 4) and frames[0][..., 3].min() == 0
    else:
        paths = sorted((finished / "shots").glob("clip_*.ply"))
        assert [path.name for path in paths] == ["clip_0000.ply", "clip_0001.ply", "clip_0002.ply"]
        assert len(PlyData.read(str(paths[0]))["vertex"].data.dtype.names) == 62
        rest, moved = read_ply(finished / "run/asset/canonical.ply"), [read_ply(path) for path in paths]
        assert torch.equal(moved[0].means, rest.means) and not torch.equal(moved[2].means, rest.means)


def test_a_camera_path_a_loop_and_a_comparison(finished: Path) -> None:
    (finished / "path.json").write_text('{"keyframes": [{"time": 0, "azimuth": 0}, {"time": 1, "azimuth": 90}]}')
    line = "render --frames 3 --size 32 --camera path.json --loop --compare --background transparent seen/clip.png"
    done = animus3d(*line.split(), cwd=finished)
    assert done.returncode == 0 and "64 x 32" in done.stdout, done.stderr
    frames = [np.asarray(Image.open(path)).astype(int) for path in sorted((finished / "seen").glob("clip_*.png"))]
    assert len(frames) == 3 and frames[0].shape == (32, 64, 4)
    assert np.abs(frames[0] - frames[2]).max() > 20  # the camera has travelled


def test_says_when_a_prompt_names_no_motion_it_knows(finished: Path) -> None:
    for prompt, warned in (("a goat plays the piano", True), ("a WALKING goat", False)):
        line = [*_distill(finished, "outside" if warned else "inside")[:-2], "--steps", "1", "--prompt", prompt]
        done = animus3d(*line, cwd=finished)
        assert done.returncode == 0, done.stderr
        assert (
            "warning:" in done.stdout and "names no motion" in done.stdout and "It knows: walk." in done.stdout
        ) == warned


def test_a_preview_needs_no_lora(finished: Path) -> None:
    made = animus3d("reconstruct", "asset.ply", "--run", "quick", cwd=finished)
    assert made.returncode == 0, made.stderr
    line = "distill --run quick --prompt=walking --prior prior --preset preview --steps 3 --set spatial_resolution=6"
    done = animus3d(*line.split(), cwd=finished)
    assert done.returncode == 0, done.stderr
    (last,) = [json.loads(text) for text in (finished / "quick/motion/metrics.jsonl").read_text().splitlines()][-1:]
    assert "pixel_flow" in last and "score" not in last


def _distill(folder: Path, run: str, *extra: str) -> list[str]:
    return ["distill", "--prompt=walking", "--prior", "prior", "--run", run, "--from", "run", "--steps", "30",
            "--set", "checkpoint_every=3", "--set", "preview_every=0",
            "--set", "spatial_resolution=6", *extra]  # fmt: skip


SAME = ("asset/canonical.ply", "motion/config.json", "motion/metrics.jsonl", "motion/motion.safetensors",
        "motion/checkpoints/step_000030/state.safetensors", "motion/checkpoints/step_000030/state.json")  # fmt: skip
"""Files of a run that hold no times: the same bytes however often it was interrupted."""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_interrupted_and_resumed_is_the_same_bytes(finished: Path, how: signal.Signals) -> None:
    straight, broken = f"straight{how}", f"broken{how}"
    assert animus3d(*_distill(finished, straight), cwd=finished).returncode == 0
    command = [sys.executable, "-m", "animus3d_cli", *_distill(finished, broken)]
    with subprocess.Popen(
        command, cwd=finished, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        checkpoints = finished / broken / "motion/checkpoints"
        while process.poll() is None and not list(checkpoints.glob("step_*")):
            time.sleep(0.002)
        process.send_signal(how)
        message = process.communicate()[1]
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    assert how == signal.SIGKILL or b"the same command goes on" in message
    assert not (finished / broken / "motion/complete.json").exists()
    resumed = animus3d(*_distill(finished, broken), cwd=finished)
    assert resumed.returncode == 0, resumed.stderr
    for name in SAME:
        assert (finished / straight / name).read_bytes() == (finished / broken / name).read_bytes(), name


def test_a_corrupt_checkpoint_is_stepped_over_and_without_another_it_is_one_line(finished: Path) -> None:
    run = "damaged"
    assert animus3d(*_distill(finished, run), cwd=finished).returncode == 0
    (finished / run / "motion/complete.json").unlink()
    *_, last = sorted((finished / run / "motion/checkpoints").iterdir())
    (last / "state.safetensors").write_bytes(b"nonsense")
    again = [*_distill(finished, run)]
    again[again.index("30")] = "33"
    done = animus3d(*again, cwd=finished)
    assert done.returncode == 0 and str(last.name) in done.stdout
    (finished / run / "motion/complete.json").unlink()
    for folder in (finished / run / "motion/checkpoints").iterdir():
        (folder / "state.safetensors").write_bytes(b"nonsense")
    done = animus3d(*again, cwd=finished)
    assert done.returncode == 8 and "checkpoints" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("fit-lora nowhere.ply --run fresh", 3, "There is no file or folder nowhere.ply"),
        ("fit-lora short.ply --run fresh", 3, "cut short"),
        ("fit-lora points.ply --run fresh", 3, "without splat fields: f_dc_0"),
        ("fit-lora nan.ply --run fresh", 3, "NaN or infinite"),
        ("fit-lora none.ply --run fresh", 3, "zero Gaussians"),
        ("reconstruct photo.jpg --run fresh", 3, "neither a splat nor a mesh"),
        ("distill", 3, "needs a sentence"),
        ("distill --prompt=walking --run fresh", 4, "no run directory fresh"),
        ("distill --prompt=walking --prior prior --run only", 4, "Run first: animus3d fit-lora"),
        (
            "distill --prompt=walking --prior prior --set score.weight=0 --set pixel_flow.weight=0",
            3,
            "--set score.weight=1",
        ),
        ("refine --run only", 4, "Run first: animus3d distill"),
        ("render --run only", 4, "no motion yet"),
        ("eval --run fresh", 4, "no run directory"),
        ("distill --prompt=walking --set guidence=3", 3, "Did you mean score.guidance or"),
        ("distill --prompt=walking --prior ./nothing", 9, "There is no folder ./nothing"),
        ("distill --prompt=walking --device cuda", 9, "no CUDA device"),
        ("render --raster gsplat out.mp4", 9, "needs a CUDA device"),
        ("render out.avi", 3, "no format this command writes"),
        ("render --background transparent out.mp4", 3, "mp4 cannot be transparent"),
        ("render --compare out.ply", 3, "cannot be compared"),
        ("render --camera nowhere.json out.mp4", 3, "nowhere.json cannot be read"),
        ("render --camera run/run.json out.mp4", 3, "neither keyframes nor frames"),
        ("render --camera run/run.json --orbit 90 out.mp4", 3, "both move the camera"),
        ("status fresh", 4, "no run directory fresh"),
        ("view fresh", 4, "has no asset"),
        ("view --port 70000", 3, "no port 70000"),
        ("view --host 203.0.113.7", 3, "Cannot listen on 203.0.113.7"),
        ("render --background pinkish out.mp4", 3, "no background"),
        ("render --size big out.mp4", 3, "not a size"),
        ("render --size 32 /dev/null/x.mp4", 7, "Cannot write"),
        ("fit-lora asset.ply --run /dev/null/run", 7, "Cannot write"),
        ("fit-lora other.ply", 5, "already holds another asset"),
        ("render --frames many out.mp4", 2, "valid integer"),
    ],
)
def test_bad_input_is_one_line_with_a_code(
    finished: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    code: int,
    words: str,
) -> None:
    """In this process: the program is the same, and starting it forty times would take minutes."""
    _bad_files(finished)
    if "--device cuda" in line and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    if (finished / "fresh").exists():
        shutil.rmtree(finished / "fresh")
    monkeypatch.chdir(finished)
    monkeypatch.setattr(sys, "argv", ["animus3d", *line.split()])
    with pytest.raises(SystemExit) as stopped:
        main()
    message = capsys.readouterr().err
    assert stopped.value.code == code, message
    assert words in message
    assert code == 2 or (message.count("\n") == 1 and "Traceback" not in message)
    assert not (finished / "fresh" / "asset" / "canonical.ply").exists()


def _bad_files(folder: Path) -> None:
    if (folder / "only").exists():
        return
    asset = (folder / "asset.ply").read_bytes()
    (folder / "short.ply").write_bytes(asset[:-100])
    (folder / "points.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 1\n"
        + "".join(f"property float {axis}\n" for axis in "xyz")
        + "end_header\n0 0 0\n"
    )
    broken = splat(0)
    broken.means[:, 1] = float("nan")
    write_ply(folder / "nan.ply", broken)
    write_ply(folder / "none.ply", splat(0, count=0))
    write_ply(folder / "other.ply", splat(0))
    (folder / "photo.jpg").write_bytes(b"jpeg")
    assert animus3d("reconstruct", "asset.ply", "--run", "only", cwd=folder).returncode == 0


def test_two_commands_on_one_run(finished: Path) -> None:
    from stages.run_dir import RunDir

    with RunDir(finished / "run").lock("test"):
        done = animus3d("render", "--size", "32", "x.mp4", cwd=finished)
    assert done.returncode == 6 and "is in use by animus3d test" in done.stderr
