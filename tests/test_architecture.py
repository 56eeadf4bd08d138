"""The house keeps its plan: imports point down, third parties have one owner, the command line starts light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS: tuple[set[str], ...] = (
    {
        "__init__", "conventions", "errors", "events", "files", "assets", "settings", "assignments", "tables",
        "threads", "memory", "card", "adam",
    },
    {"geometry"},
    {"meshes"},
    {"cameras", "media"},
    {"gaussians"},
    {"raster"},
    {"run_dir", "skeletons", "captures"},
    {"motion", "priors", "zoo", "metrics"},
    {"objectives", "fitting", "moving", "facing", "guides"},
    {"distilling", "training", "exporting", "reporting", "ablation", "evaluating", "viewing", "jobs", "needs"},
    {
        "reconstruct", "reconstruct_photos", "fit_lora", "distill", "distill_videos", "refine", "render", "export",
        "evaluate", "train_prior", "train_points", "train_views", "rig", "track", "sample", "still", "status", "view",
        "doctor", "report",
        "prefer",
    },
    {"ablate_variant", "batch"},
    {"ablate"},
)  # fmt: skip
"""What is in ``stages``, from the ground up. A file imports what lies below it; neighbours do not import each other,
but for the ground, which is one."""
GROUND, STAGES = LAYERS[0], LAYERS[-2]
OWNERS = {
    "gsplat": {"stages/raster/gsplat_cuda.py"},
    "numba": {"stages/raster/cpu.py", "stages/gaussians/deformation_cpu.py"},
    "diffusers": {"stages/priors"},
    "transformers": {"stages/priors", "stages/metrics/pretrained.py", "stages/training/build_words.py"},
    "lemminflect": {"stages/training/build_words.py"},
    "efficientnet_lite_pytorch": {"stages/metrics/builtin.py"},
    "tokenizers": {"stages/priors"},
    "peft": {"stages/priors"},
    "huggingface_hub": {"stages/priors"},
    "plyfile": {"stages/gaussians"},
    "trimesh": {"stages/meshes"},
    "igl": {"stages/geometry/nearest_surface.py", "stages/skeletons"},
    "robust_laplacian": {"stages/skeletons/bone_heat.py"},
    "networkx": {"stages/skeletons"},
    "pygltflib": {"stages/meshes", "stages/exporting/glb.py"},
    "DracoPy": {"stages/meshes/compression.py"},
    "pxr": {"stages/exporting/usd.py", "stages/exporting/usd_skel.py"},
    "zstandard": {"stages/gaussians/formats/spz.py"},
    "cv2": {"stages/guides/pixel_flow.py", "stages/captures/lens.py"},
    "imageio": {"stages/media"},
    "imageio_ffmpeg": {"stages/media"},
    "tensorboard": {"stages/media"},
    "viser": {"stages/view.py"},
    "fsspec": {"stages/jobs/storage.py"},
    "psutil": {"stages/memory.py"},
    "ray": {"stages/jobs/engines/ray.py"},
    "submitit": {"stages/jobs/engines/slurm.py"},
    "jinja2": {"stages/reporting/page.py"},
    "typer": {"animus3d_cli"},
    "rich": {"animus3d_cli/console.py", "animus3d_cli/metrics_table.py", "animus3d_cli/batch_screen.py"},
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


def layer(name: str) -> int:
    """The layer of a file or package of ``stages``; fails for one that is in none."""
    found = [level for level, names in enumerate(LAYERS) if name in names]
    assert len(found) == 1, f"{name} is in {len(found)} layers: put it in one"
    return found[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    where = path.relative_to(ROOT)
    if where.parts[0] == "animus3d_cli":
        return
    assert not any(name.startswith("animus3d_cli") for name in imports(path))
    own = where.parts[1].removesuffix(".py")
    for name in {name.split(".")[1] for name in imports(path) if name.startswith("stages.")} - {own}:
        beside = {name, own} <= GROUND
        assert layer(name) < layer(own) or beside, f"{where} imports {name}, which does not lie below it"


def test_no_file_imports_itself_through_others() -> None:
    """No circle, wherever in a file the import stands; what is imported for types only counts too."""
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in SOURCES}
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    reads = {name: {found for found in imports(path) if found in modules} - {name} for name, path in modules.items()}
    for name in reads:  # a package's own page imports its files: they may be named through it
        package = name.rpartition(".")[0]
        reads[name].discard(package)
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for other in sorted(reads[name]):
                visit(other, (*trail, name))
            done.add(name)

    for name in sorted(reads):
        visit(name, ())


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
    """Weights of feature networks that exist as .pth only, and Animate3D's checkpoint when it is converted, go through
    torch's reader that admits tensors only."""
    for path in SOURCES:
        loads = re.findall(r"torch\.load\(.*", path.read_text())
        if path in (ROOT / "stages/metrics/weights.py", ROOT / "stages/priors/multiview/convert.py"):
            assert loads and all("weights_only=True" in call for call in loads)
        else:
            assert not loads, path
        assert "pickle" not in imports(path), path
