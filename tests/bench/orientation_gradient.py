"""Whether gradients through the orientation help: ``python -m tests.bench.orientation_gradient`` (15 minutes).

A HexPlane is fitted to the pixels of a true clip from 8 cameras, with gradients through the centres alone, as in all of
this project, and with gradients through turns and stretched scales too. Prints for both the distance to the true
positions over that of the body at rest, and the PSNR of all pixels. ``docs/orientation.md`` gives the figures.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import Tensor

from stages.conventions import frame_times
from stages.gaussians import Frames, Gaussians, deformation
from stages.geometry.rotations import quaternion_matrices, quaternion_multiply
from stages.motion.kinds import MotionConfig, new_motion
from stages.raster import choose, render
from stages.raster.film import Shot, cameras_around
from stages.zoo.clips import rigged_clip
from stages.zoo.rigs import rigs

NUM_GAUSSIANS, NUM_FRAMES = 1000, 16
SHOT = Shot(frames=NUM_FRAMES, num_views=8, size=64, elevation_deg=15.0, raster=None, device="cpu")
CLIPS = (("Deer.glb", "jump"), ("Deer.glb", "walk"))
SEEDS = (0, 1)
LEARNING_RATE, LOSS_WEIGHT, DAMPING = 1e-2, 1e2, 1e-3


class BestTurn(torch.autograd.Function):
    """Quaternions [..., 4] of the best rotations R for B [..., 3, 3], with the derivative: ``dR = R [w]`` where
    ``(tr H - H) w = vee(R^T dB - dB^T R)`` and ``H = R^T B``, for R^T B stays symmetric."""

    @staticmethod
    def forward(ctx: Any, B: Tensor, quats: Tensor) -> Tensor:
        """``quats`` are those of R, known already."""
        ctx.save_for_backward(B, quats)
        return quats.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        B, quats = ctx.saved_tensors
        R, identity = quaternion_matrices(quats), torch.eye(3).to(B)
        H = R.mT @ B
        trace = H.diagonal(dim1=-2, dim2=-1).sum(dim=-1)[..., None, None]
        pure = torch.nn.functional.pad(identity, (1, 0))  # [3, 4]
        spins = [quaternion_multiply(quats, axis.expand_as(quats)) for axis in pure]
        v_spin = torch.stack([0.5 * (spin * grads[0]).sum(dim=-1) for spin in spins], dim=-1)
        system = trace * identity - 0.5 * (H + H.mT) + DAMPING * trace.abs().clamp(min=1e-12) * identity
        x, y, z = torch.linalg.solve(system, v_spin[..., None])[..., 0].unbind(dim=-1)
        zero = torch.zeros_like(x)
        rows = [torch.stack(row, dim=-1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
        return R @ torch.stack(rows, dim=-2), None


def with_gradients(asset: Gaussians, means: Tensor) -> Frames:
    """The same frames, differentiable in turns and scales; weights, and axes within the body, are held."""
    around = asset.neighbourhoods
    known = Frames(asset, means.detach())
    P, X = asset.means[around.indices] - asset.means[:, None], means[:, around.indices] - means[:, :, None]
    WP, VP = (
        around.weights_of(P, X.detach(), kept)[..., None] * P for kept in (deformation.KEPT, deformation.KEPT_STRETCH)
    )
    turns = BestTurn.apply(X.mT @ WP, known.rotations)
    S = deformation.best_stretches(quaternion_matrices(turns).mT @ X.mT @ VP, P.mT @ VP)
    R_rest = quaternion_matrices(asset.quats)
    half = R_rest.mT @ S @ R_rest * asset.scales[:, None]
    inverse = torch.tensor([1.0, -1.0, -1.0, -1.0])
    turned = quaternion_multiply(known.rotations, asset.quats.expand_as(known.quats))
    within = quaternion_multiply(turned * inverse, known.quats)
    scales = (half.mT @ quaternion_matrices(within)).norm(dim=-2)
    quats = quaternion_multiply(quaternion_multiply(turns, asset.quats.expand_as(turns)), within)
    return Frames(asset, means, (known.rotations, quats, scales))


def fit(truth: Frames, steps: int, seed: int, through: bool) -> tuple[float, float]:
    """Distance ratio and PSNR after ``steps``, one camera a step."""
    asset, rasterizer, white = truth.asset, choose("cpu"), torch.ones(3)
    views = [[camera] * NUM_FRAMES for camera in cameras_around(truth, SHOT)]
    pictures = [render(truth, view, rasterizer, background=white).rgb for view in views]
    motion, times = new_motion(MotionConfig(), asset, seed), frame_times(NUM_FRAMES)
    optimiser = torch.optim.Adam(motion.parameter_groups(LEARNING_RATE))
    for step in range(steps):
        frames = motion.at(asset, times)
        if through:
            frames = with_gradients(asset, frames.means)
        index = step % len(views)
        seen = render(frames, views[index], rasterizer, background=white).rgb
        optimiser.zero_grad()
        (LOSS_WEIGHT * (seen - pictures[index]).square().mean()).backward()
        optimiser.step()
    with torch.no_grad():
        frames = Frames(asset, motion.at(asset, times).means)
        pairs = zip(views, pictures, strict=True)
        error = torch.stack(
            [
                (render(frames, view, rasterizer, background=white).rgb - picture).square().mean()
                for view, picture in pairs
            ]
        ).mean()
        away = [(means - truth.means).norm(dim=-1).mean() for means in (frames.means, asset.means)]
    return float(away[0] / away[1]), float(-10.0 * error.log10())


def main() -> None:
    """Every clip and seed, both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150)
    steps = parser.parse_args().steps
    by_file = {rig.file: rig for rig in rigs()}
    for (file, verb), seed in ((clip, seed) for clip in CLIPS for seed in SEEDS):
        truth = rigged_clip(by_file[file], verb, NUM_FRAMES, NUM_GAUSSIANS, torch.Generator().manual_seed(0))
        figures = [fit(truth, steps, seed, through) for through in (False, True)]
        print(file, verb, seed, *("{}: ratio {:.3f}, {:.2f} dB".format(*row) for row in
              (("without", *figures[0]), ("with", *figures[1]))), sep="; ", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
