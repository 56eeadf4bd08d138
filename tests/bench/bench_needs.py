"""What each stage needs of the main memory once it has begun, beside what it estimates itself (``stages.needs``).

    python -m tests.bench.bench_needs [--only STAGE ...]

Every command runs in a process of its own, with one thread; counted is how far the pages of the process grow (VmHWM,
which a quota counts), and its private data (VmData, which ``ulimit -d`` counts). The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

from stages.assets import asset_path
from stages.gaussians import Gaussians
from stages.gaussians.formats.ply import read_ply, write_ply
from tests.bench.record import RESULTS, finish

ROOT = Path(__file__).parent.parent.parent

SIZES = {"10k": (10_000, 0), "100k": (100_000, 0), "100k-sh3": (100_000, 3)}
"""Name -> how many Gaussians, of which SH degree."""
SPLATS = (
    "reconstruct {asset}",
    "sample --prompt walk --count 2",
    "distill --prompt walk",
    "refine --steps 2",
    "render out.mp4 --frames 8 --size 64",
    "export --format html --frames 8 --out out.html",
    "export --format ply-sequence --frames 4 --out seq/out.ply",
    "export --format usd --frames 8 --out out.usd",
    "distill --prompt walk --steps 3 --set max_gaussians=100000 --force",
)
OTHERS = {
    "video": (
        "reconstruct {deer}",
        "fit-lora --prior embedded-video --steps 3",
        "distill --prior embedded-video --prompt walk --steps 3",
        "refine --prior embedded-video --steps 3",
        "sample --prior embedded-video --prompt walk --count 1",
        "render out.mp4 --frames 8 --size 64",
        "render out.mp4 --frames 40 --size 1024",
        "render out.gif --frames 40 --size 1024",
        "eval",
    ),
    "photos": (
        "reconstruct {photos} --steps 12",
        "reconstruct {photos} --steps 12 --set size_px=512 --num-gaussians 20000 --force",
    ),
    "bones": (
        "reconstruct {fox}",
        "rig",
        "distill --motion skeleton --prompt walk",
        "track --iterations 2",
        "export --format glb --skinned --out out.glb",
    ),
}


def probe(line: list[str]) -> None:
    """Run ``animus3d LINE`` in this process and print what it needed once it had asked whether that is there. Never
    returns."""
    from animus3d_cli.main import main
    from stages import needs

    torch.set_num_threads(1)
    seen = {"before_mb": 0, "estimate_mb": 0, "data_before": 0, "data": 0}
    done = threading.Event()

    def asked(stage: str, needed: float, *_: object, **__: object) -> None:
        seen["estimate_mb"], seen["before_mb"] = round(needed / 1e6), status("VmRSS")
        seen["data"] = seen["data_before"] = status("VmData")
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew

    def watch() -> None:
        while not done.wait(0.01):
            seen["data"] = max(seen["data"], status("VmData"))

    vars(needs)["check_memory"] = asked
    watcher = threading.Thread(target=watch)
    watcher.start()
    sys.argv = ["animus3d", *line]
    code: object = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    done.set()
    watcher.join()
    found = {"code": code or 0, "before_mb": seen["before_mb"], "pages_mb": status("VmHWM") - seen["before_mb"]}
    found |= {"data_mb": seen["data"] - seen["data_before"], "estimate_mb": seen["estimate_mb"]}
    print(json.dumps(found), flush=True)
    os._exit(0)


def status(name: str) -> int:
    """A line of /proc/self/status, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) // 1000
    raise RuntimeError(f"/proc/self/status has no {name}.")


def grown(asset: Gaussians, count: int, degree: int) -> Gaussians:
    """``count`` Gaussians around those of ``asset``, with colours of that SH degree."""
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(0, asset.num_gaussians, (count,), generator=generator)
    more = 0.05 * torch.randn(count, (degree + 1) ** 2 - 1, 3, generator=generator)
    return Gaussians(
        means=asset.means[index] + 0.01 * torch.randn(count, 3, generator=generator),
        quats=asset.quats[index],
        log_scales=asset.log_scales[index] - torch.tensor(count / asset.num_gaussians).log() / 3.0,
        logit_opacities=asset.logit_opacities[index],
        sh=torch.cat([asset.sh[index][:, :1], more], dim=1),
    )


def measure(name: str, lines: tuple[str, ...], files: dict[str, str], only: list[str]) -> dict[str, dict[str, int]]:
    """What each of ``lines`` needs, in one run."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for line in lines:
            words = [*line.format(**files).split(), "--run", str(Path(folder) / "run")]
            began = time.monotonic()
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-m", "tests.bench.bench_needs", "--probe", *words],
                capture_output=True, text=True, env=environment, check=False, cwd=folder,
            )  # fmt: skip
            answer = json.loads(done.stdout.splitlines()[-1])
            if answer["code"]:
                raise RuntimeError(f"{line}: {done.stderr.splitlines()[-1]}")
            answer["seconds"] = round(time.monotonic() - began, 1)
            if not only or line.split()[0] in only:
                found[f"{name}: {line}"] = answer
                print(f"{name}: {line}  {answer}", flush=True)
    return found


def main() -> None:
    """See the module."""
    if sys.argv[1:2] == ["--probe"]:
        probe(sys.argv[2:])
    from tests.e2e.test_photos import write_capture  # not in the processes that are measured

    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_needs")
    parser.add_argument("--only", nargs="*", default=[], help="stages whose figures are taken anew")
    only = parser.parse_args().only
    path = RESULTS / "needs.json"
    rows = json.loads(path.read_text())["rows"] if only and path.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        asset = read_ply(asset_path("splats", "deer.ply"))
        for name, (count, degree) in SIZES.items():
            file = Path(folder) / f"{name}.ply"
            write_ply(file, grown(asset, count, degree))
            rows |= measure(name, SPLATS, {"asset": str(file)}, only)
        files = {"deer": str(asset_path("splats", "deer.ply")), "fox": str(asset_path("rigged", "Fox.glb"))}
        files["photos"] = str(write_capture(Path(folder) / "photos", True, 24, 512, 512))
        for name, lines in OTHERS.items():
            rows |= measure(name, lines, files, only)
    finish("needs", {"rows": rows}, "python -m tests.bench.bench_needs")


if __name__ == "__main__":
    main()
