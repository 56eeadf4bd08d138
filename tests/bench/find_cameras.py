"""Is the camera of a picture found? Renders of the shipped assets at random cameras, cut out as videos are.

    python -m tests.bench.find_cameras [CAMERAS AN ASSET]

The bar: azimuth and elevation within 5 degrees in 9 of 10.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator

import torch

from stages.assets import asset_path
from stages.cameras import Camera, fitting_radius, orbit_camera
from stages.cameras.file import OrbitNumbers
from stages.conventions import step_generator
from stages.errors import BadInput
from stages.events import Caution, Event
from stages.gaussians import Gaussians
from stages.gaussians.formats import read_splat
from stages.gaussians.normalised import normalised
from stages.guides.cutout import cut_out
from stages.guides.find_camera import find_camera
from stages.raster import choose, render
from stages.zoo.clips import rigged_clip
from stages.zoo.rigs import rigs
from tests.bench.record import finish

SIDE_PX, NOISE, NEAR_DEG = 256, 0.01, 5.0
BACKGROUND = torch.tensor([0.2, 0.75, 0.35])


def assets() -> Iterator[tuple[str, Gaussians]]:
    """The splats, and the rigged bodies as they stand."""
    for path in sorted(asset_path("splats").glob("*.ply")):
        yield path.name, normalised(read_splat(path))
    for rig in rigs():
        clip = rigged_clip(rig, next(iter(rig.verbs)), 2, 4000, step_generator(0, 0))
        yield rig.file, normalised(clip.asset)


def random_camera(asset: Gaussians, generator: torch.Generator) -> Camera:
    """Azimuth all around, elevation -10 to 60, fov 20 to 60, the asset off-centre and between half and all of the
    picture."""

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    low, high = asset.bounds()
    fov, shift = uniform(20.0, 60.0), 0.08 * float((high - low).norm())
    return orbit_camera(
        azimuth_deg=uniform(0.0, 360.0),
        elevation_deg=uniform(-10.0, 60.0),
        radius=fitting_radius(low, high, fov, uniform(0.5, 0.95)),
        fov_deg=fov,
        width=SIDE_PX,
        height=SIDE_PX,
        target=0.5 * (low + high) + torch.tensor([uniform(-shift, shift) for _ in range(3)]),
    )


@torch.no_grad()
def main(cameras: int) -> None:
    """Print a line a picture, and record all of them."""
    rasterizer, rows = choose("cpu"), []
    for number, (name, asset) in enumerate(assets()):
        low, high = asset.bounds()
        for index in range(cameras):
            generator = step_generator(number, index)
            camera = random_camera(asset, generator)
            true = OrbitNumbers.of(camera, 0.5 * (low + high))
            picture = render(asset, [camera], rasterizer, background=BACKGROUND).rgb
            picture = (picture + NOISE * torch.randn(picture.shape, generator=generator)).clamp(0.0, 1.0)
            told: list[Event] = []
            began = time.perf_counter()
            row: dict[str, object] = {
                "asset": name,
                "azimuth": round(true.azimuth_deg, 1),
                "elevation": round(true.elevation_deg, 1),
                "fov": round(true.fov_deg, 1),
            }
            try:
                cut = cut_out(picture)
                found = find_camera(asset, cut.rgb[0], cut.mask[0], rasterizer, told.append, background=cut.background)
                numbers = OrbitNumbers.of(found, 0.5 * (low + high))
                off = (numbers.azimuth_deg - true.azimuth_deg + 180.0) % 360.0 - 180.0
                row |= {
                    "azimuth_off": round(off, 2),
                    "elevation_off": round(numbers.elevation_deg - true.elevation_deg, 2),
                    "fov_off": round(numbers.fov_deg - true.fov_deg, 1),
                    "rival": any(isinstance(event, Caution) for event in told),
                }
                row["off"] = round(max(abs(off), abs(numbers.elevation_deg - true.elevation_deg)), 2)
                row["near"] = float(str(row["off"])) <= NEAR_DEG
            except BadInput as error:
                row |= {"refused": error.what, "near": False}
            row["seconds"] = round(time.perf_counter() - began, 1)
            rows.append(row)
            print(row, flush=True)
    near = sum(bool(row["near"]) for row in rows)
    off = [float(str(row["off"])) for row in rows if "off" in row]
    fov_off = [abs(float(str(row["fov_off"]))) for row in rows if "off" in row]
    finish(
        "find_cameras",
        {
            "pictures": len(rows),
            "near": near,
            "share": round(near / len(rows), 3),
            "refused": sum("refused" in row for row in rows),
            "rivals": sum(bool(row.get("rival")) for row in rows),
            "degrees_off": {"median": round(statistics.median(off), 2), "worst": max(off)},
            "fov_off": {"median": round(statistics.median(fov_off), 1), "worst": max(fov_off)},
            "median_seconds": statistics.median(float(str(row["seconds"])) for row in rows),
            "misses": [row for row in rows if not row["near"]],
        },
        "python -m tests.bench.find_cameras",
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
