"""Axes, units, names and shape letters that every block shares.

World frame
    Right-handed, y up, units of the asset. An asset faces +z where it has a face.
Camera frame
    OpenCV and gsplat: x right, y down, z forward. A ``viewmat`` is camera-from-world, ``[4, 4]``.
Quaternions
    wxyz, unit length. ``R_world_cam`` maps camera coordinates to world coordinates: the frame is in the name.
Stored spaces
    ``log_scales`` and ``logit_opacities`` are stored; ``scales`` and ``opacities`` are always linear.
Images
    float32 in [0, 1], channels last ``[..., H, W, 3]``. Latents are ``[B, C, T, H, W]``.
Shape letters
    N Gaussians, K spherical-harmonic coefficients, T frames, B batch, V views, H W pixels, C channels, J joints.
Clocks
    ``step`` counts optimiser steps, ``timestep`` is the diffusion clock, ``frame_time`` in [0, 1] is the animation's.
Names
    ``num_`` for counts, ``_deg`` and ``_px`` for units.
"""

from __future__ import annotations

import torch

UP_AXIS = 1
"""Index of the world's up axis (y)."""

DEFAULT_NUM_FRAMES = 16
"""Frames of a clip: what the paper and its video model use."""


def frame_times(num_frames: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Evenly spaced ``frame_time`` values, ``[T]`` in [0, 1], both ends included (a single frame sits at 0)."""
    return torch.linspace(0.0, 1.0, num_frames, device=device)


def step_generator(seed: int, step: int, stream: int = 0) -> torch.Generator:
    """A CPU random generator that depends only on ``(seed, step, stream)``.

    Every random draw of an optimisation loop comes from one of these, so that a resumed run draws exactly what an
    uninterrupted run would have drawn and no random state has to be stored. ``stream`` separates independent uses.
    """
    mixed = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + stream * 0x94D049BB133111EB) % (2**63 - 1)
    mixed ^= mixed >> 31
    return torch.Generator().manual_seed(mixed)
