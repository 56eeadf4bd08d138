"""What acts on a simulated body beside its joints, as kernels of Warp: the ground, the upright torque, the targets.

The ground is ours because Newton's contacts are found outside the tape: their normals and depths do not move with the
body within a substep, and gradients miss them (newton issues 2133, 2164).
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from stages.errors import NotAvailable


def missing() -> NotAvailable:
    """The error where newton or warp is not installed."""
    return NotAvailable(
        "Physics needs the packages newton and warp-lang.", 'Install them: pip install "animus3d[physics]"'
    )


try:
    import warp
except ImportError:
    raise missing() from None

wp: Any = warp  # its types know no kernels

if TYPE_CHECKING:
    Poses: TypeAlias = Any
    Twists: TypeAlias = Any
    Bends: TypeAlias = Any
    Corners: TypeAlias = Any
    Floats: TypeAlias = Any
    Ints: TypeAlias = Any
    Rows: TypeAlias = Any
    Vector: TypeAlias = Any
    Quat: TypeAlias = Any
else:
    Poses, Twists = wp.array(dtype=wp.transform), wp.array(dtype=wp.spatial_vector)
    Bends, Corners = wp.array2d(dtype=wp.vec2), wp.array2d(dtype=wp.vec3)
    Floats, Ints, Rows = wp.array(dtype=float), wp.array(dtype=int), wp.array2d(dtype=float)
    Vector, Quat = wp.vec3, wp.quat


@functools.cache
def prepare() -> None:
    """Initialise Warp: without a word, and with a folder for what it compiles that can be written."""
    if wp.config.kernel_cache_dir is None and "WARP_CACHE_PATH" not in os.environ:
        wp.config.kernel_cache_dir = _kernel_cache()
    wp.config.log_level = wp.LOG_ERROR
    with _without_stderr():
        wp.init()


@warp.func
def upright_torque(turn: Quat, spin: Vector, up: Vector, stiffness: float, damping: float, limit: float) -> Vector:
    """Turns the root's own ``up`` towards the world's, about horizontal axes only; never more than ``limit``."""
    lean = wp.quat_rotate(turn, up)
    torque = stiffness * wp.cross(lean, wp.vec3(0.0, 1.0, 0.0)) - damping * wp.vec3(spin[0], 0.0, spin[2])
    return torque / wp.sqrt(1.0 + wp.dot(torque, torque) / (limit * limit))


@warp.kernel
def outer_forces(
    poses: Poses,
    speeds: Twists,
    bristles: Bends,
    corners: Corners,
    up: Vector,
    ground: Floats,
    margin: float,
    stiffness: float,
    damping: float,
    friction: float,
    grip_stiffness: float,
    grip_damping: float,
    dt: float,
    upright_stiffness: float,
    upright_damping: float,
    upright_limit: float,
    forces: Twists,
    bent: Bends,
) -> None:
    """Ground contact of one bone's corners, and the torque that keeps the root upright.

    Friction is a bristle between corner and ground: it bends as the corner moves along, and slips where its force would
    pass the Coulomb limit. Friction as a function of the speed alone would creep: light feet and explicit steps allow
    only a gentle slope (.2 m/s before it holds a foot).
    """
    bone = wp.tid()
    centre = wp.transform_get_translation(poses[bone])
    turn = wp.transform_get_rotation(poses[bone])
    velocity = wp.spatial_top(speeds[bone])
    spin = wp.spatial_bottom(speeds[bone])
    force = wp.vec3(0.0, 0.0, 0.0)
    torque = wp.vec3(0.0, 0.0, 0.0)
    for corner in range(8):
        arm = wp.quat_rotate(turn, corners[bone, corner])
        depth = ground[0] + margin - centre[1] - arm[1]
        if depth > 0.0:
            move = velocity + wp.cross(spin, arm)
            near = wp.min(depth / margin, 1.0)  # dampers do not set in at once
            normal = wp.max(stiffness * depth - damping * near * move[1], 0.0)
            along = wp.vec2(move[0], move[2])
            bend = bristles[bone, corner] + along * dt
            pull = grip_stiffness * bend + grip_damping * near * along
            holds = wp.min(friction * normal / wp.max(wp.length(pull), 1.0e-6), 1.0)
            bent[bone, corner] = holds * bend
            push = wp.vec3(-holds * pull[0], normal, -holds * pull[1])
            force = force + push
            torque = torque + wp.cross(arm, push)
        else:
            bent[bone, corner] = wp.vec2(0.0, 0.0)
    if bone == 0:
        torque = torque + upright_torque(turn, spin, up, upright_stiffness, upright_damping, upright_limit)
    forces[bone] = wp.spatial_vector(force, torque)


@warp.kernel
def between_knots(
    first: Floats,
    last: Floats,
    slots: Ints,
    rate_slots: Ints,
    steps: int,
    rate: float,
    angles: Rows,
    rates: Rows,
) -> None:
    """Targets of the motors in each substep, on a line from one knot to the next, and how fast they change."""
    step, axis = wp.tid()
    share = (float(step) + 1.0) / float(steps)
    angles[step, slots[axis]] = first[axis] + share * (last[axis] - first[axis])
    rates[step, rate_slots[axis]] = rate * (last[axis] - first[axis])


def _kernel_cache() -> str:
    """The user's cache folder, or a temporary one where that is not writable."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "animus3d" / "warp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return str(folder)
    except OSError:
        return tempfile.mkdtemp(prefix="animus3d-warp-")


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Warp's library writes to the terminal itself where there is no CUDA."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
