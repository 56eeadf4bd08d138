"""``python -m tests.bench.gpu``: every part on the CPU at tiny size, and what happens when a part goes wrong."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.bench.gpu import __main__ as command
from tests.bench.gpu import checks, kernels, models, parts, results
from tests.bench.gpu.commit import ROOT, commit, is_certain


@pytest.fixture
def certain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANIMUS3D_COMMIT", "abc123")


def done(part: str, folder: Path) -> dict[str, Any]:
    """The result of ``part`` after it ran here, at tiny size."""
    assert parts.run_part(part, folder, "cpu", True, "a test") == 0, results.read(part, folder)
    found = results.read(part, folder)
    assert found["done"] and found["torch"] == torch.__version__ and found["cores"] == os.cpu_count()
    return found


def test_checks(tmp_path: Path) -> None:
    assert done("build", tmp_path)["backend"] == "cpu"
    findings = {finding["name"]: finding["state"] for finding in done("doctor", tmp_path)["findings"]}
    assert findings["raster cpu"] == "ok"
    found = done("tests", tmp_path)
    assert "tests/raster/test_gsplat.py" in found["files"] and found["failed"] == 0
    if not torch.cuda.is_available():
        assert found["passed"] == 0 and found["skipped"] > 3


def test_kernels_are_compared_in_values_and_gradients(tmp_path: Path) -> None:
    found = done("kernels", tmp_path)
    assert len(found["compared"]) == 3
    for case in found["compared"].values():
        assert set(case["errors"]) == {"rgb", "alpha", "means", "quats", "scales", "opacities", "colors"}
        assert all(0.0 < error["max"] < 1e-6 for error in case["errors"].values())


def test_four_views_are_sampled(tmp_path: Path) -> None:
    found = done("views", tmp_path)
    assert found["views"] == 4 and found["finite"] and found["seconds_of_a_guided_step"] > 0.0
    assert found["seconds_of_a_sample_with_freeinit"] > 2.0 * found["seconds_of_a_sample"]


def test_a_wrong_kernel_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ignores that scales differ from frame to frame."""
    choose = kernels.choose

    def wrong(device: str, name: str) -> Any:
        right = choose(device, name)

        def same_scales(means: Any, quats: Any, scales: Any, *rest: Any, **more: Any) -> Any:
            return right(means, quats, scales[:1].expand_as(means) if scales.dim() == 3 else scales, *rest, **more)

        def called(**given: Any) -> Any:
            return same_scales(given.pop("means"), given.pop("quats"), given.pop("scales"), **given)

        return right if name == "reference" else called

    monkeypatch.setattr(kernels, "choose", wrong)
    assert parts.run_part("kernels", tmp_path, "cpu", True, "a test") == 1
    error = results.read("kernels", tmp_path)["error"]
    assert "scales_per_frame_colour_behind: rgb" in error and "scales_shared" not in error


def test_published_model(tmp_path: Path) -> None:
    """The same path as at true size: random weights in bfloat16, counted work over a peak."""
    found = done("published", tmp_path)
    assert found["matmul_tflops_measured"] > 0.0 and found["peak_tflops"] == found["matmul_tflops_measured"]
    assert set(found["preset_minutes_extrapolated"]) == {"fit_lora", "distill", "refine", "all"}
    for stage in ("fit_lora", "distill", "refine"):
        assert found[stage]["dtype"] == "torch.bfloat16" and found[stage]["pixels"] == [32, 32]
        assert set(found[stage]["utilisation"]) == set(found["tflop"][stage])
    assert found["distill"]["step_seconds"] > 0.0 and found["raster"] == "cpu"


def test_default_prior(tmp_path: Path) -> None:
    stages = done("default", tmp_path)["stages"]
    for stage in ("fit_lora", "distill"):
        assert stages[stage]["steps"] == 2 and stages[stage]["steps_per_second"] > 0.0
        assert stages[stage]["seconds"] > 2 / stages[stage]["steps_per_second"]


def test_without_a_card_one_line_and_exit_code_9(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command.main(["--results", str(tmp_path)]) == 9
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "--device cpu" in said and not list(tmp_path.iterdir())
    monkeypatch.setattr(command, "is_there", lambda package: package != "torch")
    assert command.main(["--device", "cpu"]) == 9
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "pip install -c constraints.txt torch" in said and "pip download" in said


def test_a_missing_package_is_named_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "is_there", lambda package: package not in ("peft", "gsplat"))
    monkeypatch.setattr(command, "run_child", lambda *_: "")
    assert command.main(["build", "--device", "cpu", "--tiny", "--results", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("Missing: peft;") and "pip install" in said
    assert set(command.missing("cuda")) == {"gsplat", "peft"}


def test_a_result_of_this_commit_is_not_made_again(
    tmp_path: Path, certain: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    def child(part: str, *_: Any) -> str:
        ran.append(part)
        return ""

    monkeypatch.setattr(command, "run_child", child)
    made = results.header("cpu", True, "a test")
    results.write("build", tmp_path, made | {"done": True})
    results.write("kernels", tmp_path, made | {"done": True, "commit": "another"})
    results.write("tests", tmp_path, made | {"done": False, "error": "stopped"})
    results.write("default", tmp_path, made | {"done": True, "tiny": False})
    again = ["build", "kernels", "tests", "default", "--tiny", "--device", "cpu", "--results", str(tmp_path)]
    assert command.main(again) == 0 and ran == ["kernels", "tests", "default"]
    ran.clear()
    assert command.main([*again, "--again"]) == 0 and ran[0] == "build"
    ran.clear()
    monkeypatch.setenv("ANIMUS3D_COMMIT", "unknown")
    assert command.main(again) == 0 and ran[0] == "build"


def test_parts_for_which_no_time_is_left_are_not_begun(
    tmp_path: Path, certain: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "run_child", lambda *_: pytest.fail("it began"))
    assert command.main(["build", "--minutes", "0.01", "--device", "cpu", "--results", str(tmp_path)]) == 1
    assert "build" in capsys.readouterr().out.splitlines()[-1]


def options(folder: Path) -> argparse.Namespace:
    return argparse.Namespace(device="cpu", tiny=True, results=folder)


def test_a_part_in_a_process_of_its_own(tmp_path: Path, certain: None) -> None:
    """It says the commit that it was told; one that is stopped keeps what it had, and says that it was stopped."""
    assert command.run_child("build", options(tmp_path), 120.0) == ""
    assert results.is_done("build", tmp_path, "cpu", True) and results.read("build", tmp_path)["commit"] == "abc123"
    error = command.run_child("default", options(tmp_path), 1.0)
    found = results.read("default", tmp_path)
    assert "1 s" in error and found["error"] == error and not found["done"] and found["commit"] == "abc123"


def test_a_process_that_dies_is_the_result_of_its_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of an error inside a kernel, which no ``except`` sees."""
    there = tmp_path / "dies" / "sitecustomize.py"
    there.parent.mkdir()
    there.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr(command, "environment", lambda: {"PYTHONPATH": str(there.parent)})
    assert "signal 11" in command.run_child("build", options(tmp_path), 60.0)
    assert "signal 11" in results.read("build", tmp_path)["error"]


def test_a_part_that_fails_says_why_and_keeps_what_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(job: parts.Job) -> None:
        job.keep({"before": 1})
        raise ValueError("no such thing\nand more")

    monkeypatch.setattr(checks, "build", fails)
    assert parts.run_part("build", tmp_path, "cpu", True, "a test") == 1
    found = results.read("build", tmp_path)
    assert found["error"] == "ValueError: no such thing" and found["before"] == 1 and not found["done"]


def test_failed_tests_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_one.py").write_text(
        "import pytest\n"
        "@pytest.mark.gpu\ndef test_wrong():\n    assert 1 == 2, 'one is not two'\n"
        "@pytest.mark.gpu\ndef test_right():\n    pass\n"
        "@pytest.mark.gpu\n@pytest.mark.skip\ndef test_not():\n    pass\n"
    )
    (folder / "test_other.py").write_text("raise ImportError\n")
    (file,) = checks.marked_files(folder)
    report = tmp_path / "report.xml"
    run = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        f"--junitxml={report}",
        str(file),
    ]
    subprocess.run(run, cwd=tmp_path, capture_output=True, check=False)
    counts, failures = checks.verdict(report)
    assert counts == {"passed": 1, "failed": 1, "skipped": 1}
    assert len(failures) == 1 and "test_wrong" in failures[0] and "one is not two" in failures[0]


def test_the_commit_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANIMUS3D_COMMIT", raising=False)
    assert commit(tmp_path) == "unknown" and not is_certain("unknown") and not is_certain("abc-dirty")
    (tmp_path / ".git").write_text("gitdir: elsewhere")
    assert commit(tmp_path) == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit(ROOT) == "unknown"
    (tmp_path / "COMMIT").write_text("feed42\n")
    assert commit(tmp_path) == "feed42" and is_certain("feed42")
    monkeypatch.setenv("ANIMUS3D_COMMIT", "abc123")
    assert commit(tmp_path) == "abc123"


def test_the_card_fallback_when_kernels_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of models are still made, and say which rasterizer they hold."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    kept: dict[str, Any] = {}
    job = parts.Job(device="cuda", tiny=True, keep=kept.update)
    assert parts.rasterizer_for(job) == "cpu" and kept["raster"] == "cpu" and kept["raster_because"]


def test_the_matrix_product_is_counted() -> None:
    assert 0.0 < models.matmul_tflops("cpu", 64) < 1000.0
