"""The house keeps its plan: imports point down, third parties have one owner, the command line starts light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BASE = {"conventions", "errors", "events", "rotations", "assets", "tables"}
BLOCKS = {
    "gaussians", "cameras", "raster", "motion", "priors", "objectives", "zoo", "metrics", "media", "exporting",
    "reporting", "ablation", "captures", "fitting", "run_dir",
}  # fmt: skip
ORCHESTRATOR = "ablate"
"""The one that runs other stages, each in a run of its own."""
STAGES = {
    ORCHESTRATOR, "reconstruct", "reconstruct_photos", "fit_lora", "distill", "refine", "render", "export", "evaluate",
    "train_prior", "status", "view", "doctor", "report", "prefer",
}  # fmt: skip
BETWEEN_BLOCKS = {
    "raster": {"gaussians", "cameras"},
    "objectives": {"priors"},
    "zoo": {"gaussians", "cameras"},
    "captures": {"cameras"},
    "fitting": {"gaussians", "cameras", "captures", "raster", "metrics"},  # renders are compared with photos
    "motion": {"gaussians"},  # the field is applied to an asset
    "exporting": {"gaussians"},  # every format is of an asset in frames
    "reporting": {"run_dir", "media"},  # pages are about runs, and show their videos
    "run_dir": {"gaussians"},  # the run keeps the canonical asset
}
OWNERS = {
    "gsplat": {"stages/raster/gsplat_cuda.py"},
    "numba": {"stages/raster/cpu.py"},
    "diffusers": {"stages/priors"},
    "transformers": {"stages/priors", "stages/metrics/pretrained.py"},
    "efficientnet_lite_pytorch": {"stages/metrics/builtin.py"},
    "tokenizers": {"stages/priors"},
    "peft": {"stages/priors"},
    "huggingface_hub": {"stages/priors"},
    "plyfile": {"stages/gaussians"},
    "trimesh": {"stages/gaussians"},
    "pygltflib": {"stages/zoo", "stages/exporting/glb.py"},
    "pxr": {"stages/exporting/usd.py"},
    "zstandard": {"stages/gaussians/spz.py"},
    "imageio": {"stages/media"},
    "imageio_ffmpeg": {"stages/media"},
    "tensorboard": {"stages/media"},
    "viser": {"stages/view.py"},
    "jinja2": {"stages/reporting/page.py"},
    "typer": {"animus3d_cli"},
    "rich": {"animus3d_cli/console.py", "animus3d_cli/metrics_table.py"},
}


def imports(path: Path) -> set[str]:
    """All modules a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


SOURCES = sorted([*ROOT.glob("stages/**/*.py"), *ROOT.glob("animus3d_cli/**/*.py")])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    where = path.relative_to(ROOT)
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("stages.") and name.count(".") >= 1}
    if where.parts[0] == "animus3d_cli":
        return
    assert not any(name.startswith("animus3d_cli") for name in imports(path))
    own = where.parts[1].removesuffix(".py")
    if own == ORCHESTRATOR:
        return
    if own in STAGES:
        assert not (ours & STAGES) - {own}, "a stage imports another stage"
    elif own in BLOCKS:
        allowed = BASE | {own} | BETWEEN_BLOCKS.get(own, set())
        assert ours <= allowed, f"{where} imports {ours - allowed}"
    elif own in BASE:
        assert ours <= BASE


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_third_parties_have_one_owner(path: Path) -> None:
    where = str(path.relative_to(ROOT))
    for package in {name.split(".")[0] for name in imports(path)} & OWNERS.keys():
        assert any(where.startswith(owner) for owner in OWNERS[package]), f"{where} imports {package}"


def test_help_is_light_and_quick() -> None:
    """``--help`` imports neither torch nor what would take long."""
    code = (
        "import sys; sys.argv = ['animus3d', '--help']\n"
        "from animus3d_cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'diffusers')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "fit-lora" in done.stdout


def test_nothing_is_unpickled() -> None:
    """Weights of feature networks that exist as .pth only go through torch's reader that admits tensors only."""
    for path in SOURCES:
        loads = re.findall(r"torch\.load\(.*", path.read_text())
        if path == ROOT / "stages/metrics/weights.py":
            assert loads and all("weights_only=True" in call for call in loads)
        else:
            assert not loads, path
        assert "pickle" not in imports(path), path
