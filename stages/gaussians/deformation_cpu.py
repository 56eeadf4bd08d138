"""The deformation of neighbourhoods on a CPU: ``deformation.deform`` in one pass of numba kernels.

Each point's neighbours are read where they lie, and everything else happens in a few scalars: no tensor of all
neighbours of all frames is made. The best rotation comes from the largest root of Horn's characteristic polynomial
by Newton's method, and the quaternion from the adjugate matrix there (Theobald 2005). Threads share out the Gaussians;
results do not depend on their number.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from stages.gaussians.deformation import (
    APART,
    FLAT,
    JACOBI_SWEEPS,
    KEPT,
    KEPT_STRETCH,
    RIDGE,
    STRETCH,
    TURN_MIN,
    Neighbourhoods,
)

LIMITS = (KEPT, KEPT_STRETCH, RIDGE, FLAT, *STRETCH, TURN_MIN, APART)
"""Given to the kernels, whose cache does not know when another file has changed."""

SAME_NAMES = 1.0 + math.sqrt(2.0)
"""Trace of a turn by 45 degrees: axes that have turned by less have kept their names."""


def _kernel(function: Any) -> Any:
    """Compile ``function``, cached where that can be written; a zero divides to infinity."""
    try:
        return njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # no place to write: every process compiles anew
        return njit(nogil=True, error_model="numpy")(function)


def deform(around: Neighbourhoods, quats: Tensor, scales: Tensor, moved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See ``stages.gaussians.deformation.deform``."""
    where, rest, weights = _array(moved), _array(around.means), _array(around.weights)
    indices = np.ascontiguousarray(around.indices.numpy())
    rest_quats, rest_scales = _array(quats), _array(scales)
    frames, count = where.shape[:2]
    turns, axes, sizes = np.empty((frames, count, 4)), np.empty((frames, count, 4)), np.empty((frames, count, 3))

    def part(ends: tuple[int, int]) -> None:
        _deform(*ends, where, rest, indices, weights, rest_quats, rest_scales, turns, axes, sizes, LIMITS)

    threads = max(1, min(torch.get_num_threads(), count // 256))
    cuts = [count * thread // threads for thread in range(threads + 1)]
    parts = list(pairwise(cuts))
    if threads == 1:
        part(parts[0])
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(part, parts))
    return tuple(torch.from_numpy(values).to(moved.dtype) for values in (turns, axes, sizes))  # type: ignore[return-value]


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(tensor.detach().to(torch.float64).numpy())


@_kernel
def _deform(first, last, moved, means, indices, weights, quats, scales, out_turns, out_quats, out_scales, limits):  # type: ignore[no-untyped-def]
    """All frames, in order, of Gaussians ``first`` to ``last``."""
    count = last - first
    kept, kept_stretch, ridge, flat, stretch_min, stretch_max, turn_min, apart = limits
    before = np.empty((count, 3, 3))  # eigenvectors of the frame before, in the axes at rest
    for n in range(count):
        _identity(before[n])
    B, C, D, G, M = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    R, S, U, V, W = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    rest_axes, K = np.empty((3, 3)), np.empty((4, 4))
    turn, axes, last_turn, last_axes = np.empty(4), np.empty(4), np.empty(4), np.empty(4)
    for t in range(moved.shape[0]):
        for i in range(first, last):
            still = _moments(i, moved[t], means, indices, weights, kept, kept_stretch, B, D, C)
            if still:
                _identity(before[i - first])
                out_turns[t, i, 0], out_turns[t, i, 1], out_turns[t, i, 2], out_turns[t, i, 3] = 1.0, 0.0, 0.0, 0.0
                for a in range(4):
                    out_quats[t, i, a] = quats[i, a]
                for a in range(3):
                    out_scales[t, i, a] = scales[i, a]
                continue
            if _turn(B, turn_min, K, turn):
                _matrix(turn, R)
                _stretch(R, D, C, ridge, flat, stretch_min, stretch_max, G, M, U, W, S)
            else:
                turn[0], turn[1], turn[2], turn[3] = 1.0, 0.0, 0.0, 0.0
                _identity(R)
                _identity(S)
            _matrix(quats[i], rest_axes)
            # G = R_rest^T S R_rest diag(scales), whose G G^T is the covariance in the axes at rest; M: told apart
            _product(S, rest_axes, W)
            for a in range(3):
                for b in range(3):
                    G[a, b] = (
                        rest_axes[0, a] * W[0, b] + rest_axes[1, a] * W[1, b] + rest_axes[2, a] * W[2, b]
                    ) * scales[i, b]
            for a in range(3):
                for b in range(3):
                    M[a, b] = 0.0
            for c in range(3):
                wide = 1.0 + apart * _rank(scales[i], c)
                for a in range(3):
                    for b in range(3):
                        M[a, b] += wide * wide * G[a, c] * G[b, c]
            _jacobi(M, V)
            named = before[i - first]
            _name(V, named, W)
            for a in range(3):
                variance = 0.0
                for b in range(3):
                    variance += (G[0, b] * named[0, a] + G[1, b] * named[1, a] + G[2, b] * named[2, a]) ** 2
                out_scales[t, i, a] = math.sqrt(variance)
            _product(rest_axes, named, W)
            _product(R, W, G)
            _quaternion(G, axes)
            if t == 0:
                last_turn[0], last_turn[1], last_turn[2], last_turn[3] = 1.0, 0.0, 0.0, 0.0
                for a in range(4):
                    last_axes[a] = quats[i, a]
            else:
                for a in range(4):
                    last_turn[a], last_axes[a] = out_turns[t - 1, i, a], out_quats[t - 1, i, a]
            _like(turn, last_turn, out_turns[t, i])
            _like(axes, last_axes, out_quats[t, i])


@_kernel
def _moments(i, moved, means, indices, weights, kept, kept_stretch, B, D, C):  # type: ignore[no-untyped-def]
    """Fills B = sum w X P^T, D = sum v X P^T and C = sum v P P^T of Gaussian ``i``; says whether none has moved."""
    turn_share, stretch_share = 1.0 / (kept * kept), 1.0 / (kept_stretch * kept_stretch)
    b00 = b01 = b02 = b10 = b11 = b12 = b20 = b21 = b22 = 0.0
    d00 = d01 = d02 = d10 = d11 = d12 = d20 = d21 = d22 = 0.0
    c00 = c01 = c02 = c11 = c12 = c22 = 0.0
    still = True
    px, py, pz = means[i, 0], means[i, 1], means[i, 2]
    mx, my, mz = moved[i, 0], moved[i, 1], moved[i, 2]
    for n in range(indices.shape[1]):
        j = indices[i, n]
        p0, p1, p2 = means[j, 0] - px, means[j, 1] - py, means[j, 2] - pz
        x0, x1, x2 = moved[j, 0] - mx, moved[j, 1] - my, moved[j, 2] - mz
        still = still and x0 == p0 and x1 == p1 and x2 == p2
        rest = math.sqrt(p0 * p0 + p1 * p1 + p2 * p2)
        now = math.sqrt(x0 * x0 + x1 * x1 + x2 * x2)
        change = abs(now - rest) / max(1e-30, min(now, rest))
        square = change * change
        turn, stretch = 1.0 + square * turn_share, 1.0 + square * stretch_share
        both = turn * stretch
        both = weights[i, n] / (both * both)  # of two divisions one
        w, v = both * stretch * stretch, both * turn * turn
        q0, q1, q2 = w * p0, w * p1, w * p2
        b00, b01, b02 = b00 + x0 * q0, b01 + x0 * q1, b02 + x0 * q2
        b10, b11, b12 = b10 + x1 * q0, b11 + x1 * q1, b12 + x1 * q2
        b20, b21, b22 = b20 + x2 * q0, b21 + x2 * q1, b22 + x2 * q2
        q0, q1, q2 = v * p0, v * p1, v * p2
        d00, d01, d02 = d00 + x0 * q0, d01 + x0 * q1, d02 + x0 * q2
        d10, d11, d12 = d10 + x1 * q0, d11 + x1 * q1, d12 + x1 * q2
        d20, d21, d22 = d20 + x2 * q0, d21 + x2 * q1, d22 + x2 * q2
        c00, c01, c02 = c00 + p0 * q0, c01 + p0 * q1, c02 + p0 * q2
        c11, c12, c22 = c11 + p1 * q1, c12 + p1 * q2, c22 + p2 * q2
    B[0, 0], B[0, 1], B[0, 2] = b00, b01, b02
    B[1, 0], B[1, 1], B[1, 2] = b10, b11, b12
    B[2, 0], B[2, 1], B[2, 2] = b20, b21, b22
    D[0, 0], D[0, 1], D[0, 2] = d00, d01, d02
    D[1, 0], D[1, 1], D[1, 2] = d10, d11, d12
    D[2, 0], D[2, 1], D[2, 2] = d20, d21, d22
    C[0, 0], C[1, 1], C[2, 2] = c00, c11, c22
    C[0, 1] = C[1, 0] = c01
    C[0, 2] = C[2, 0] = c02
    C[1, 2] = C[2, 1] = c12
    return still


@_kernel
def _turn(B, turn_min, K, quat):  # type: ignore[no-untyped-def]
    """The best rotation for B, as a quaternion of length 1; says whether one is better than all others."""
    size = 0.0
    for a in range(3):
        for b in range(3):
            size += B[a, b] * B[a, b]
    size = math.sqrt(size)
    if not size > 1e-150:
        return False
    s = 1.0 / size
    xx, yx, zx = s * B[0, 0], s * B[0, 1], s * B[0, 2]
    xy, yy, zy = s * B[1, 0], s * B[1, 1], s * B[1, 2]
    xz, yz, zz = s * B[2, 0], s * B[2, 1], s * B[2, 2]
    det = xx * (yy * zz - zy * yz) - yx * (xy * zz - zy * xz) + zx * (xy * yz - yy * xz)
    K[0, 0], K[1, 1], K[2, 2], K[3, 3] = xx + yy + zz, xx - yy - zz, yy - xx - zz, zz - xx - yy
    K[0, 1] = K[1, 0] = yz - zy
    K[0, 2] = K[2, 0] = zx - xz
    K[0, 3] = K[3, 0] = xy - yx
    K[1, 2] = K[2, 1] = xy + yx
    K[1, 3] = K[3, 1] = zx + xz
    K[2, 3] = K[3, 2] = yz + zy
    # |K| from the 2 x 2 minors of its upper and lower halves
    constant = (
        (K[0, 0] * K[1, 1] - K[0, 1] * K[1, 0]) * (K[2, 2] * K[3, 3] - K[2, 3] * K[3, 2])
        - (K[0, 0] * K[1, 2] - K[0, 2] * K[1, 0]) * (K[2, 1] * K[3, 3] - K[2, 3] * K[3, 1])
        + (K[0, 0] * K[1, 3] - K[0, 3] * K[1, 0]) * (K[2, 1] * K[3, 2] - K[2, 2] * K[3, 1])
        + (K[0, 1] * K[1, 2] - K[0, 2] * K[1, 1]) * (K[2, 0] * K[3, 3] - K[2, 3] * K[3, 0])
        - (K[0, 1] * K[1, 3] - K[0, 3] * K[1, 1]) * (K[2, 0] * K[3, 2] - K[2, 2] * K[3, 0])
        + (K[0, 2] * K[1, 3] - K[0, 3] * K[1, 2]) * (K[2, 0] * K[3, 1] - K[2, 1] * K[3, 0])
    )
    root = 1.7320508075688772  # no root is larger
    for _ in range(60):
        value = ((root * root - 2.0) * root - 8.0 * det) * root + constant
        slope = (4.0 * root * root - 4.0) * root - 8.0 * det
        if not slope > 0.0:
            return False
        step = value / slope
        root -= step
        if not step > 1e-15:
            break
    if not (4.0 * root * root - 4.0) * root - 8.0 * det > turn_min:
        return False
    for a in range(4):
        K[a, a] -= root
    best, largest = 0, 0.0
    for a in range(4):
        size = abs(_cofactor(K, a, a))
        if size > largest:
            best, largest = a, size
    for a in range(4):
        quat[a] = _cofactor(K, best, a)
    n = math.sqrt(quat[0] ** 2 + quat[1] ** 2 + quat[2] ** 2 + quat[3] ** 2)
    for a in range(4):
        quat[a] /= n
    return True


@_kernel
def _cofactor(K, row, column):  # type: ignore[no-untyped-def]
    """Of a 4 x 4 matrix."""
    r0, c0 = 1 if row == 0 else 0, 1 if column == 0 else 0
    r1, c1 = 2 if row <= 1 else 1, 2 if column <= 1 else 1
    r2, c2 = 3 if row <= 2 else 2, 3 if column <= 2 else 2
    minor = (
        K[r0, c0] * (K[r1, c1] * K[r2, c2] - K[r1, c2] * K[r2, c1])
        - K[r0, c1] * (K[r1, c0] * K[r2, c2] - K[r1, c2] * K[r2, c0])
        + K[r0, c2] * (K[r1, c0] * K[r2, c1] - K[r1, c1] * K[r2, c0])
    )
    return minor if (row + column) % 2 == 0 else -minor


@_kernel
def _stretch(R, D, C, ridge, flat, low, high, G, M, U, W, S):  # type: ignore[no-untyped-def]
    """Fills S, the stretch after which ``R`` turns; the other matrices are scratch, and C is lost."""
    for a in range(3):
        for b in range(3):
            G[a, b] = R[0, a] * D[0, b] + R[1, a] * D[1, b] + R[2, a] * D[2, b]
    _jacobi(C, U)
    c0, c1, c2 = C[0, 0], C[1, 1], C[2, 2]
    largest = max(c0, c1, c2)
    ridge = 2.0 * ridge * largest
    for a in range(3):
        for b in range(3):
            M[a, b] = G[a, b] + G[b, a]
    _congruent(M, U, W, G)  # in the axes of C
    for a in range(3):
        for b in range(3):
            ca, cb = c0 if a == 0 else (c1 if a == 1 else c2), c0 if b == 0 else (c1 if b == 1 else c2)
            if a == b:
                believed = min(1.0, ca / (largest * flat))
                M[a, a] = 1.0 + believed * ((G[a, a] + ridge) / (2.0 * ca + ridge) - 1.0)
            else:
                M[a, b] = G[a, b] / (ca + cb + ridge) * ca * cb / (largest * largest)
    _product(U, M, W)
    _times_transposed(W, U, S)  # back
    inside = True  # Gershgorin: every principal stretch lies in one of these
    for a in range(3):
        around = 0.0
        for b in range(3):
            if b != a:
                around += abs(S[a, b])
        inside = inside and S[a, a] - around >= low and S[a, a] + around <= high
    if inside:
        return
    for a in range(3):
        for b in range(3):
            M[a, b] = 0.5 * (S[a, b] + S[b, a])
    _jacobi(M, U)
    for a in range(3):
        value = min(high, max(low, M[a, a]))
        for b in range(3):
            W[b, a] = U[b, a] * value
    _times_transposed(W, U, S)


@_kernel
def _jacobi(M, V):  # type: ignore[no-untyped-def]
    """Makes the symmetric M diagonal, V its eigenvectors; see ``deformation.jacobi``."""
    _identity(V)
    for _ in range(JACOBI_SWEEPS):
        off = M[0, 1] ** 2 + M[0, 2] ** 2 + M[1, 2] ** 2
        if off <= 1e-24 * (M[0, 0] ** 2 + M[1, 1] ** 2 + M[2, 2] ** 2) or off == 0.0:
            return
        for pair in range(3):
            p, q = (0, 1) if pair == 0 else ((0, 2) if pair == 1 else (1, 2))
            r = 3 - p - q
            b = M[p, q]
            if b == 0.0:
                continue
            half = 0.5 * (M[q, q] - M[p, p])
            root = abs(half) + math.sqrt(half * half + b * b)
            t = (-b if half < 0.0 else b) / root
            c = 1.0 / math.sqrt(1.0 + t * t)
            s = t * c
            M[p, p], M[q, q] = M[p, p] - t * b, M[q, q] + t * b
            M[p, q] = M[q, p] = 0.0
            rp, rq = M[r, p], M[r, q]
            M[r, p] = M[p, r] = c * rp - s * rq
            M[r, q] = M[q, r] = s * rp + c * rq
            for a in range(3):
                vp, vq = V[a, p], V[a, q]
                V[a, p], V[a, q] = c * vp - s * vq, s * vp + c * vq


@_kernel
def _name(V, before, W):  # type: ignore[no-untyped-def]
    """Replaces ``before`` by V with its columns named and pointed as there; W is scratch."""
    for a in range(3):
        for b in range(3):
            W[a, b] = V[0, a] * before[0, b] + V[1, a] * before[1, b] + V[2, a] * before[2, b]
    x, y, z = 0, 1, 2  # which column of V is the first, second, third
    sx, sy, sz = 1.0, 1.0, 1.0
    if not W[0, 0] + W[1, 1] + W[2, 2] >= SAME_NAMES:
        best = -4.0
        for order in range(6):
            a = order // 2
            b = (a + 1 + order % 2) % 3
            c = 3 - a - b
            parity = 1.0 if order % 2 == 0 else -1.0
            for signs in range(4):
                sa, sb = 1.0 if signs < 2 else -1.0, 1.0 if signs % 2 == 0 else -1.0
                sc = parity * sa * sb
                agreement = sa * W[a, 0] + sb * W[b, 1] + sc * W[c, 2]
                if agreement > best:
                    best, x, y, z, sx, sy, sz = agreement, a, b, c, sa, sb, sc
    for a in range(3):
        before[a, 0], before[a, 1], before[a, 2] = sx * V[a, x], sy * V[a, y], sz * V[a, z]


@_kernel
def _rank(values, c):  # type: ignore[no-untyped-def]
    """How many of three ``values`` come before the one at ``c`` in order of size."""
    rank = 0
    for a in range(3):
        if values[a] < values[c] or (values[a] == values[c] and a < c):
            rank += 1
    return rank


@_kernel
def _identity(R):  # type: ignore[no-untyped-def]
    for a in range(3):
        for b in range(3):
            R[a, b] = 1.0 if a == b else 0.0


@_kernel
def _product(A, B, out):  # type: ignore[no-untyped-def]
    for a in range(3):
        for b in range(3):
            out[a, b] = A[a, 0] * B[0, b] + A[a, 1] * B[1, b] + A[a, 2] * B[2, b]


@_kernel
def _times_transposed(A, B, out):  # type: ignore[no-untyped-def]
    for a in range(3):
        for b in range(3):
            out[a, b] = A[a, 0] * B[b, 0] + A[a, 1] * B[b, 1] + A[a, 2] * B[b, 2]


@_kernel
def _congruent(M, U, W, out):  # type: ignore[no-untyped-def]
    """U^T M U."""
    _product(M, U, W)
    for a in range(3):
        for b in range(3):
            out[a, b] = U[0, a] * W[0, b] + U[1, a] * W[1, b] + U[2, a] * W[2, b]


@_kernel
def _matrix(quat, R):  # type: ignore[no-untyped-def]
    """Rotation matrix of a quaternion wxyz of any length."""
    n = max(math.sqrt(quat[0] ** 2 + quat[1] ** 2 + quat[2] ** 2 + quat[3] ** 2), 1e-12)
    w, x, y, z = quat[0] / n, quat[1] / n, quat[2] / n, quat[3] / n
    R[0, 0], R[0, 1], R[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    R[1, 0], R[1, 1], R[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    R[2, 0], R[2, 1], R[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)


@_kernel
def _quaternion(R, quat):  # type: ignore[no-untyped-def]
    """Quaternion of a rotation matrix, from its largest component (Shepperd 1978)."""
    w, x, y, z = R[0, 0] + R[1, 1] + R[2, 2], R[0, 0], R[1, 1], R[2, 2]
    if w >= x and w >= y and w >= z:
        quat[0], quat[1], quat[2], quat[3] = 1.0 + w, R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]
    elif x >= y and x >= z:
        quat[0], quat[1], quat[2], quat[3] = R[2, 1] - R[1, 2], 1.0 + 2.0 * x - w, R[1, 0] + R[0, 1], R[0, 2] + R[2, 0]
    elif y >= z:
        quat[0], quat[1], quat[2], quat[3] = R[0, 2] - R[2, 0], R[1, 0] + R[0, 1], 1.0 + 2.0 * y - w, R[2, 1] + R[1, 2]
    else:
        quat[0], quat[1], quat[2], quat[3] = R[1, 0] - R[0, 1], R[0, 2] + R[2, 0], R[2, 1] + R[1, 2], 1.0 + 2.0 * z - w
    n = math.sqrt(quat[0] ** 2 + quat[1] ** 2 + quat[2] ** 2 + quat[3] ** 2)
    for a in range(4):
        quat[a] /= n


@_kernel
def _like(quat, last, out):  # type: ignore[no-untyped-def]
    """``out`` is ``quat`` with the sign that is nearer to ``last``."""
    dot = quat[0] * last[0] + quat[1] * last[1] + quat[2] * last[2] + quat[3] * last[3]
    for a in range(4):
        out[a] = -quat[a] if dot < 0.0 else quat[a]
