"""Make the sample splats in ``assets/splats`` from the shipped rigged files, and a bird, in their rest pose.

python -m stages.zoo.samples
"""

from __future__ import annotations

from stages.assets import asset_path
from stages.conventions import step_generator
from stages.gaussians.formats.ply import write_ply
from stages.zoo.clips import rigged_clip
from stages.zoo.rigs import find_rig
from stages.zoo.waves import bird

SAMPLES = {"deer": "Deer.glb", "fox": "Fox.glb", "robot": "Leela.glb", "dolphin": "Dolphin.glb"}
NUM_GAUSSIANS = 4000
BIRD_SEED = 4  # a red one


def main() -> None:
    """Write one splat a sample."""
    splats = {
        name: rigged_clip(find_rig(file), "static", 1, NUM_GAUSSIANS, step_generator(0, 0)).asset
        for name, file in SAMPLES.items()
    }
    splats["bird"] = bird(step_generator(BIRD_SEED, 0), NUM_GAUSSIANS).body.gaussians
    asset_path("splats").mkdir(parents=True, exist_ok=True)
    for name, gaussians in splats.items():
        write_ply(asset_path("splats", f"{name}.ply"), gaussians)
        print(asset_path("splats", f"{name}.ply"))


if __name__ == "__main__":
    main()
