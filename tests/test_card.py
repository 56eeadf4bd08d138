"""What is found of driver, CUDA and compilers, and what to type where they do not fit: by programs of those names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from stages import card
from stages.errors import NotAvailable

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the programs here are shell scripts")
SMI = """case "$*" in
*query*) echo "NVIDIA GeForce RTX 4090, 550.54.14" ;;
*) echo "| NVIDIA-SMI 550.54.14    Driver Version: 550.54.14    CUDA Version: 12.6 |" ;;
esac"""
NVCC = 'echo "Cuda compilation tools, release {}, V1.2.3"'


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that alone is on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CUDA_HOME", "CXX"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def put(folder: Path, **scripts: str) -> None:
    for name, text in scripts.items():
        file = folder / name.replace("_", "-").replace("gxx", "g++")
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)


def test_a_machine_without_anything_says_what_each_lacks(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    for check, named in ((card.driver, "nvidia-smi"), (card.nvcc, "not found"), (card.compiler, "g++")):
        with pytest.raises(NotAvailable, match=named.replace("+", r"\+")) as found:
            check()
        assert found.value.hint


def test_a_tool_that_fails_counts_as_none(programs: Path) -> None:
    put(programs, nvidia_smi="echo failed to communicate with the driver; exit 9")
    with pytest.raises(NotAvailable):
        card.driver()
    assert card.driver_cuda() is None


def test_driver_nvcc_and_compiler_say_their_versions(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(programs, nvidia_smi=SMI, nvcc=NVCC.format("12.8"), gxx='echo "g++ 12.2.0"; echo more')
    monkeypatch.setattr(torch.version, "cuda", "12.6")
    assert card.driver() == "NVIDIA GeForce RTX 4090, 550.54.14, up to CUDA 12.6"
    assert card.nvcc() == f"{programs / 'nvcc'}, CUDA 12.8"
    assert card.compiler() == "g++ 12.2.0"


def test_a_toolkit_of_another_version_than_torch_is_named_with_the_line(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(programs, nvcc=NVCC.format("11.8"))
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    with pytest.raises(NotAvailable, match=r"CUDA 11\.8, torch of 12\.8") as found:
        card.nvcc()
    assert "cuda-toolkit-12-8" in found.value.hint and "CUDA_HOME=/usr/local/cuda-12.8" in found.value.hint


def test_cuda_home_is_looked_into(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (programs / "toolkit" / "bin").mkdir(parents=True)
    put(programs / "toolkit" / "bin", nvcc=NVCC.format("12.8"))
    monkeypatch.setenv("CUDA_HOME", str(programs / "toolkit"))
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "CUDA 12.8" in card.nvcc()


@pytest.mark.parametrize(
    ("built", "runs", "line"),
    [
        (None, None, "Needs an NVIDIA card"),
        (None, (12, 6), "/cu126 torch"),
        (None, (12, 9), "/cu128 torch"),
        (None, (13, 1), "/cu130 torch"),
        ((13, 0), (12, 8), "/cu128 torch"),  # the driver is older than torch's CUDA
        ((12, 8), None, "nvidia.com/drivers"),
        ((12, 8), (12, 8), "CUDA_VISIBLE_DEVICES"),
        (None, (11, 4), "newer driver"),
    ],
)
def test_the_line_for_torch(built: card.Version | None, runs: card.Version | None, line: str) -> None:
    assert line in card.torch_line(built, runs)


def test_kernels_want_what_compiles_them(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel of PyPI has none."""
    if card.find_spec("gsplat.csrc") is not None:
        pytest.skip("this wheel has its kernels")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    with pytest.raises(NotAvailable, match="not found") as found:
        card.kernels()
    assert "cuda-toolkit-12-8" in found.value.hint
    put(programs, nvcc=NVCC.format("12.8"), gxx="echo 12", ninja="true")
    assert "first used" in card.kernels()
