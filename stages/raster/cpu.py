"""The CPU backend: numba kernels, one frame a thread.

A frame is composited Gaussian by Gaussian, front to back, each touching only the pixels inside its own ellipse: at the
sizes of this project the image fits into the first-level cache, so no tiles and no lists per tile are needed. Every
pixel keeps its transmittance. The backward pass walks the *same* way, so that it takes the same decisions: what lies
behind a Gaussian at a pixel is the final colour minus what was composited so far, and nothing has to be stored.

All arithmetic is float64 whatever the inputs: projecting in float32 errs by 1e-2 on needle-shaped Gaussians, and the
kernels are bound by the exponential. Gradients of tensors that frames share are summed in frame order, so results do
not depend on the number of threads.

Formulas: Zwicker et al. 2001 (EWA splatting), Kerbl et al. 2023; rules of gsplat 1.5.3 (see ``torch_reference``).
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from stages.raster.interface import Rendered
from stages.raster.rules import ALPHA_MAX, ALPHA_MIN, FRUSTUM_MARGIN, LOW_PASS_PX2, NEAR, TRANSMITTANCE_MIN

QUATERNION_MIN = 1e-12
"""Quaternions are divided by at least this, as ``torch.nn.functional.normalize`` does."""


def _kernel(function: Any) -> Any:
    """Compile ``function``; the code is cached beside this file or in the user's cache, whichever can be written.

    With numpy's error model a zero divides to infinity and the Gaussian is culled, instead of an exception in a thread.
    """
    try:
        return njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # no place to write (read-only install, no home): every process compiles anew
        return njit(nogil=True, error_model="numpy")(function)


def rasterize(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    background: Tensor | None = None,
) -> Rendered:
    """See ``stages.raster.interface.Rasterizer``. Differentiable in the first five arguments; any float dtype."""
    frames = means.shape[0]
    colors = colors.expand(frames, -1, -1) if colors.dim() == 2 else colors
    backdrop = torch.zeros(3) if background is None else background
    rgb, alpha = _Rasterize.apply(means, quats, scales, opacities, colors, viewmats, Ks, width, height, backdrop)  # type: ignore[no-untyped-call]
    return Rendered(rgb=rgb, alpha=alpha)


class _Rasterize(torch.autograd.Function):
    """Glue between autograd and the kernels; saved tensors are float64 numpy arrays."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, Tensor]:
        tensors, (width, height, backdrop) = args[:7], args[7:]
        means, quats, scales, opacities, colors, viewmats, Ks = (_array(t) for t in tensors)
        frames = means.shape[0]
        background = np.broadcast_to(_array(backdrop), (frames, height, width, 3))
        scales = np.broadcast_to(scales, means.shape)
        alphas = list(opacities) if opacities.ndim == 2 else [opacities] * frames
        rgb = np.empty((frames, height, width, 3))
        transmittance = np.empty((frames, height, width))

        def one(t: int) -> tuple[Any, Any, Any]:
            xy, conics, depths = _project(means[t], quats[t], scales[t], alphas[t], viewmats[t], Ks[t], width, height)
            order = np.argsort(depths, kind="stable")[: int(np.isfinite(depths).sum())]
            _composite(order, xy, conics, alphas[t], colors[t], background[t], rgb[t], transmittance[t])
            return xy, conics, order

        ctx.projected = _each_frame(one, frames)
        ctx.arrays = (means, quats, scales, alphas, colors, viewmats, Ks, rgb, transmittance)
        ctx.options = [{"device": t.device, "dtype": t.dtype} for t in tensors[:5]]
        ctx.shared_scales, ctx.shared_opacities = tensors[2].dim() == 2, tensors[3].dim() == 1
        like = tensors[0]
        # the kernels keep rgb for the backward pass, so a float64 caller gets a copy
        return torch.tensor(rgb).to(like), torch.from_numpy(1.0 - transmittance)[..., None].to(like)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        means, quats, scales, alphas, colors, viewmats, Ks, rgb, transmittance = ctx.arrays
        v_rgb, v_alpha = _array(grads[0]), _array(grads[1])[..., 0]
        frames, count = means.shape[:2]
        v_means, v_quats, v_colors = np.zeros_like(means), np.zeros_like(quats), np.zeros(colors.shape)
        v_scales, v_opacities = np.zeros((frames, count, 3)), np.zeros((frames, count))

        def one(t: int) -> None:
            xy, conics, order = ctx.projected[t]
            v_xy, v_conics = np.zeros_like(xy), np.zeros_like(conics)
            _composite_backward(
                order, xy, conics, alphas[t], colors[t], rgb[t], transmittance[t], v_rgb[t],
                v_alpha[t], v_xy, v_conics, v_opacities[t], v_colors[t],
            )  # fmt: skip
            _project_backward(
                order, means[t], quats[t], scales[t], viewmats[t], Ks[t], rgb.shape[2], rgb.shape[1], conics, v_xy,
                v_conics, v_means[t], v_quats[t], v_scales[t],
            )  # fmt: skip

        _each_frame(one, frames)
        if ctx.shared_scales:
            v_scales = v_scales.sum(axis=0)
        if ctx.shared_opacities:
            v_opacities = v_opacities.sum(axis=0)
        gradients = (v_means, v_quats, v_scales, v_opacities, v_colors)
        out = [torch.from_numpy(g).to(**options) for g, options in zip(gradients, ctx.options, strict=True)]
        return (*out, None, None, None, None, None)


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(tensor.detach().to("cpu", torch.float64).numpy())


def _each_frame(one: Any, frames: int) -> list[Any]:
    """``one(t)`` for every frame, on as many threads as torch may use; the kernels release the interpreter's lock."""
    threads = min(frames, torch.get_num_threads())
    if threads <= 1:
        return [one(t) for t in range(frames)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(frames)))


@_kernel
def _rotation(quat):  # type: ignore[no-untyped-def]
    """Rotation matrix of a quaternion wxyz of any length."""
    n = max(math.sqrt(quat[0] ** 2 + quat[1] ** 2 + quat[2] ** 2 + quat[3] ** 2), QUATERNION_MIN)
    w, x, y, z = quat[0] / n, quat[1] / n, quat[2] / n, quat[3] / n
    R = np.empty((3, 3))
    R[0, 0], R[0, 1], R[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    R[1, 0], R[1, 1], R[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    R[2, 0], R[2, 1], R[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
    return R


@_kernel
def _product(A, B):  # type: ignore[no-untyped-def]
    """A B for 3 x 3 matrices; written out, because ``@`` calls BLAS, which costs ten times the arithmetic."""
    out = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            out[i, j] = A[i, 0] * B[0, j] + A[i, 1] * B[1, j] + A[i, 2] * B[2, j]
    return out


@_kernel
def _to_camera(viewmat, p):  # type: ignore[no-untyped-def]
    """Camera-frame x, y, z of the world point ``p``."""
    x = viewmat[0, 0] * p[0] + viewmat[0, 1] * p[1] + viewmat[0, 2] * p[2] + viewmat[0, 3]
    y = viewmat[1, 0] * p[0] + viewmat[1, 1] * p[1] + viewmat[1, 2] * p[2] + viewmat[1, 3]
    z = viewmat[2, 0] * p[0] + viewmat[2, 1] * p[1] + viewmat[2, 2] * p[2] + viewmat[2, 3]
    return x, y, z


@_kernel
def _jacobian(x, y, z, K, width, height):  # type: ignore[no-untyped-def]
    """Linearised projection at a camera-frame point: (fx/z, fy/z, J02, J12, is x inside, is y inside).

    Far outside the image the tangent is taken at the border of a slightly enlarged frustum, as gsplat does.
    """
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    margin_x, margin_y = FRUSTUM_MARGIN * 0.5 * width / fx, FRUSTUM_MARGIN * 0.5 * height / fy
    u, v = x / z, y / z
    cu = min((width - cx) / fx + margin_x, max(-(cx / fx + margin_x), u))
    cv = min((height - cy) / fy + margin_y, max(-(cy / fy + margin_y), v))
    return fx / z, fy / z, -fx * cu / z, -fy * cv / z, cu == u, cv == v


@_kernel
def _project(means, quats, scales, opacities, viewmat, K, width, height):  # type: ignore[no-untyped-def]
    """Pixel position [N, 2], inverse 2D covariance [N, 3] (a, b, c) and depth [N] (infinite where culled)."""
    count = means.shape[0]
    xy, conics, depths = np.zeros((count, 2)), np.zeros((count, 3)), np.full(count, np.inf)
    for i in range(count):
        x, y, z = _to_camera(viewmat, means[i])
        if z < NEAR or opacities[i] < ALPHA_MIN:
            continue
        j00, j11, j02, j12, _, _ = _jacobian(x, y, z, K, width, height)
        M = _product(viewmat, _rotation(quats[i]))
        a = b = c = 0.0
        for k in range(3):
            s = scales[i, k]
            u = (j00 * M[0, k] + j02 * M[2, k]) * s
            v = (j11 * M[1, k] + j12 * M[2, k]) * s
            a, b, c = a + u * u, b + u * v, c + v * v
        a, c = a + LOW_PASS_PX2, c + LOW_PASS_PX2
        determinant = a * c - b * b
        if not determinant > 0.0:
            continue
        xy[i, 0], xy[i, 1] = K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]
        conics[i, 0], conics[i, 1], conics[i, 2] = c / determinant, -b / determinant, a / determinant
        depths[i] = z
    return xy, conics, depths


@_kernel
def _rows(y, conic, reach, height):  # type: ignore[no-untyped-def]
    """Pixel rows ``[first, last)`` that the ellipse ``sigma <= reach`` touches."""
    half = math.sqrt(2.0 * reach * conic[0] / (conic[0] * conic[2] - conic[1] * conic[1]))
    return max(0, math.ceil(y - half - 0.5)), min(height, math.floor(y + half - 0.5) + 1)


@_kernel
def _columns(x, dy, conic, reach, width):  # type: ignore[no-untyped-def]
    """Pixel columns ``[first, last)`` inside the ellipse on the row at ``dy``."""
    discriminant = (conic[1] * dy) ** 2 - conic[0] * (conic[2] * dy * dy - 2.0 * reach)
    half = math.sqrt(max(0.0, discriminant)) / conic[0]
    middle = x + conic[1] * dy / conic[0]
    return max(0, math.ceil(middle - half - 0.5)), min(width, math.floor(middle + half - 0.5) + 1)


@_kernel
def _composite(order, xy, conics, opacities, colors, background, rgb, transmittance):  # type: ignore[no-untyped-def]
    """Front to back over ``order``; fills ``rgb`` [H, W, 3] and ``transmittance`` [H, W]."""
    height, width = transmittance.shape
    rgb[:] = 0.0
    transmittance[:] = 1.0
    finished = np.zeros((height, width), dtype=np.bool_)
    for g in order:
        conic, opacity, x, y = conics[g], opacities[g], xy[g, 0], xy[g, 1]
        reach = math.log(opacity / ALPHA_MIN)
        first_row, last_row = _rows(y, conic, reach, height)
        for row in range(first_row, last_row):
            dy = y - (row + 0.5)
            first, last = _columns(x, dy, conic, reach, width)
            for column in range(first, last):
                if finished[row, column]:
                    continue
                dx = x - (column + 0.5)
                sigma = 0.5 * (conic[0] * dx * dx + conic[2] * dy * dy) + conic[1] * dx * dy
                alpha = min(ALPHA_MAX, opacity * math.exp(-sigma))
                if sigma < 0.0 or alpha < ALPHA_MIN:
                    continue
                T = transmittance[row, column]
                if T * (1.0 - alpha) <= TRANSMITTANCE_MIN:
                    finished[row, column] = True
                    continue
                weight = T * alpha
                rgb[row, column, 0] += weight * colors[g, 0]
                rgb[row, column, 1] += weight * colors[g, 1]
                rgb[row, column, 2] += weight * colors[g, 2]
                transmittance[row, column] = T * (1.0 - alpha)
    for row in range(height):
        for column in range(width):
            for k in range(3):
                rgb[row, column, k] += transmittance[row, column] * background[row, column, k]


@_kernel
def _composite_backward(  # type: ignore[no-untyped-def]
    order, xy, conics, opacities, colors, rgb, final, v_rgb, v_alpha, v_xy, v_conics, v_opacities, v_colors
):
    """Adds the gradients of one frame; ``behind`` is what lies behind the present Gaussian, dotted with the gradient.

    The output at a pixel is ``sum_i T_i a_i c_i + T_end background``, so d/da_i = T_i c_i - (all behind i) / (1 - a_i).
    """
    height, width = final.shape
    transmittance = np.ones((height, width))
    finished = np.zeros((height, width), dtype=np.bool_)
    behind = np.empty((height, width))
    for row in range(height):
        for column in range(width):
            dot = -v_alpha[row, column] * final[row, column]
            for k in range(3):
                dot += rgb[row, column, k] * v_rgb[row, column, k]
            behind[row, column] = dot
    for g in order:
        conic, opacity, x, y = conics[g], opacities[g], xy[g, 0], xy[g, 1]
        red, green, blue = colors[g, 0], colors[g, 1], colors[g, 2]
        v_red = v_green = v_blue = v_opacity = v_x = v_y = v_a = v_b = v_c = 0.0
        reach = math.log(opacity / ALPHA_MIN)
        first_row, last_row = _rows(y, conic, reach, height)
        for row in range(first_row, last_row):
            dy = y - (row + 0.5)
            first, last = _columns(x, dy, conic, reach, width)
            for column in range(first, last):
                if finished[row, column]:
                    continue
                dx = x - (column + 0.5)
                sigma = 0.5 * (conic[0] * dx * dx + conic[2] * dy * dy) + conic[1] * dx * dy
                falloff = math.exp(-sigma)
                alpha = min(ALPHA_MAX, opacity * falloff)
                if sigma < 0.0 or alpha < ALPHA_MIN:
                    continue
                T = transmittance[row, column]
                if T * (1.0 - alpha) <= TRANSMITTANCE_MIN:
                    finished[row, column] = True
                    continue
                g0, g1, g2 = v_rgb[row, column, 0], v_rgb[row, column, 1], v_rgb[row, column, 2]
                weight = T * alpha
                v_red, v_green, v_blue = v_red + weight * g0, v_green + weight * g1, v_blue + weight * g2
                own = red * g0 + green * g1 + blue * g2
                behind[row, column] -= weight * own
                transmittance[row, column] = T * (1.0 - alpha)
                if opacity * falloff > ALPHA_MAX:
                    continue  # clamped: no gradient through alpha
                v_alpha_here = T * own - behind[row, column] / (1.0 - alpha)
                v_opacity += falloff * v_alpha_here
                v_sigma = -alpha * v_alpha_here
                v_a += 0.5 * dx * dx * v_sigma
                v_b += dx * dy * v_sigma
                v_c += 0.5 * dy * dy * v_sigma
                v_x += (conic[0] * dx + conic[1] * dy) * v_sigma
                v_y += (conic[1] * dx + conic[2] * dy) * v_sigma
        v_colors[g, 0], v_colors[g, 1], v_colors[g, 2] = v_red, v_green, v_blue
        v_opacities[g] = v_opacity
        v_xy[g, 0], v_xy[g, 1] = v_x, v_y
        v_conics[g, 0], v_conics[g, 1], v_conics[g, 2] = v_a, v_b, v_c


@_kernel
def _project_backward(  # type: ignore[no-untyped-def]
    order, means, quats, scales, viewmat, K, width, height, conics, v_xy, v_conics, v_means, v_quats, v_scales
):
    """Chain rule from pixel position and conic to mean, quaternion and scales of the Gaussians in ``order``."""
    R_world_cam = viewmat[:3, :3].T
    v_M, v_p = np.empty((3, 3)), np.empty(3)
    for i in order:
        x, y, z = _to_camera(viewmat, means[i])
        j00, j11, j02, j12, inside_x, inside_y = _jacobian(x, y, z, K, width, height)
        # conic = inverse of the 2D covariance: d cov = -conic d conic conic
        a, b, c = conics[i]
        va, vb, vc = v_conics[i, 0], 0.5 * v_conics[i, 1], v_conics[i, 2]
        p, q, r, s = a * va + b * vb, a * vb + b * vc, b * va + c * vb, b * vb + c * vc
        g00, g01, g11 = -(p * a + q * b), -(p * b + q * c), -(r * b + s * c)
        # cov = U U^T with U = J M S, M = R_cam_world R(quat), S = diag(scales)
        M = _product(viewmat, _rotation(quats[i]))
        vj00 = vj11 = vj02 = vj12 = 0.0
        for k in range(3):
            scale = scales[i, k]
            u = (j00 * M[0, k] + j02 * M[2, k]) * scale
            v = (j11 * M[1, k] + j12 * M[2, k]) * scale
            v_u, v_v = 2.0 * (g00 * u + g01 * v), 2.0 * (g01 * u + g11 * v)
            v_scales[i, k] = (v_u * u + v_v * v) / scale if scale != 0.0 else 0.0
            v_M[0, k] = v_u * j00 * scale
            v_M[1, k] = v_v * j11 * scale
            v_M[2, k] = (v_u * j02 + v_v * j12) * scale
            vj00 += v_u * M[0, k] * scale
            vj02 += v_u * M[2, k] * scale
            vj11 += v_v * M[1, k] * scale
            vj12 += v_v * M[2, k] * scale
        # position, directly and through the Jacobian; outside the frustum J02 and J12 depend on z alone
        v_p[0], v_p[1] = j00 * v_xy[i, 0], j11 * v_xy[i, 1]
        v_p[2] = -(j00 * x * v_xy[i, 0] + j11 * y * v_xy[i, 1]) / z - (vj00 * j00 + vj11 * j11) / z
        if inside_x:
            v_p[0] -= vj02 * j00 / z
            v_p[2] -= 2.0 * vj02 * j02 / z
        else:
            v_p[2] -= vj02 * j02 / z
        if inside_y:
            v_p[1] -= vj12 * j11 / z
            v_p[2] -= 2.0 * vj12 * j12 / z
        else:
            v_p[2] -= vj12 * j12 / z
        for k in range(3):
            v_means[i, k] = viewmat[0, k] * v_p[0] + viewmat[1, k] * v_p[1] + viewmat[2, k] * v_p[2]
        _rotation_backward(quats[i], _product(R_world_cam, v_M), v_quats[i])


@_kernel
def _rotation_backward(quat, v_R, v_quat):  # type: ignore[no-untyped-def]
    """Gradient of ``_rotation`` with respect to the unnormalised quaternion."""
    n = max(math.sqrt(quat[0] ** 2 + quat[1] ** 2 + quat[2] ** 2 + quat[3] ** 2), QUATERNION_MIN)
    w, x, y, z = quat[0] / n, quat[1] / n, quat[2] / n, quat[3] / n
    V = v_R
    unit = np.empty(4)
    unit[0] = 2 * (x * (V[2, 1] - V[1, 2]) + y * (V[0, 2] - V[2, 0]) + z * (V[1, 0] - V[0, 1]))
    unit[1] = 2 * (
        -2 * x * (V[1, 1] + V[2, 2]) + y * (V[1, 0] + V[0, 1]) + z * (V[2, 0] + V[0, 2]) + w * (V[2, 1] - V[1, 2])
    )
    unit[2] = 2 * (
        x * (V[1, 0] + V[0, 1]) - 2 * y * (V[0, 0] + V[2, 2]) + z * (V[2, 1] + V[1, 2]) + w * (V[0, 2] - V[2, 0])
    )
    unit[3] = 2 * (
        x * (V[2, 0] + V[0, 2]) + y * (V[2, 1] + V[1, 2]) - 2 * z * (V[0, 0] + V[1, 1]) + w * (V[1, 0] - V[0, 1])
    )
    along = w * unit[0] + x * unit[1] + y * unit[2] + z * unit[3]
    v_quat[0], v_quat[1] = (unit[0] - along * w) / n, (unit[1] - along * x) / n
    v_quat[2], v_quat[3] = (unit[2] - along * y) / n, (unit[3] - along * z) / n
