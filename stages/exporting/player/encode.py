"""A clip as the player's page stores it: the Gaussians at rest, and how far each has gone in every frame.

Nothing else is stored of a frame: how a Gaussian turns and stretches is derived in the page from positions alone, as it
is here (``stages.gaussians.deformation``). So that "has not moved" means the same in the page as here, positions are
integers: at rest in ``step`` along each axis, moves in ``2**shift`` of these.

Gaussians are stored along a Morton curve, so that those that follow each other lie together and move alike. A move is
coded as its difference from the frame before, and of that the difference from the Gaussian before; small numbers of
either sign become small positive ones (zigzag), and are written byte plane by byte plane, column by column, which is
what gzip needs.
"""

from __future__ import annotations

import gzip
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.exporting.recording import Recording
from stages.gaussians import Frames, Gaussians
from stages.gaussians.sh import rgb_to_sh0, sh0_to_rgb
from stages.raster.ground import SHADES, Ground

STEPS_A_BODY = 2**13
"""Of moves, along the longest side of the body. [ours]"""

STEPS_A_NEIGHBOUR = 32
"""Of moves, at least, between a Gaussian and its neighbours, from which turns are derived. [ours]"""

MOVE_BITS, REST_BITS = 16, 24
"""Most bits of a move, its sign included, and of a coordinate at rest."""

FINEST_SHIFT = 6
"""Positions at rest are at most ``2**FINEST_SHIFT`` times as fine as moves."""

THINNEST = 1e-6
"""Standard deviation, over the size of the body, below which a Gaussian is flat all the same."""

COMPRESSION = 9
"""gzip's level."""

Array = np.ndarray[Any, Any]


def encode(recording: Recording) -> tuple[dict[str, Any], bytes]:
    """The header and the gzipped arrays of ``recording``, which must have at least one frame."""
    frames, asset = recording.frames, recording.frames.asset
    rest = _table(asset.means)
    lattice = Lattice.of(asset, frames)
    at_rest = lattice.at_rest(rest)
    order = morton_order(at_rest)
    moves = np.rint((_table(frames.means) - rest) / (lattice.step * 2**lattice.shift))
    flat = math.log(THINNEST * (lattice.body or 1.0))
    arrays = [
        _integers("rest", at_rest[None, order]),
        _moves("moves", moves.astype(np.int64)[:, order]),
        _quantised("quats", asset.quats, order, bits=12, span=(-1.0, 1.0)),
        _quantised("log_scales", asset.log_scales.clamp(min=flat), order, bits=12),
        _quantised("opacities", asset.opacities, order, bits=8, span=(0.0, 1.0)),
        _quantised("colors", sh0_to_rgb(asset.sh[:, 0]), order, bits=12),
    ]
    if asset.sh_degree:
        arrays.append(_quantised("harmonics", asset.sh[:, 1:].flatten(1), order, bits=8))
    header = {
        "title": recording.title,
        "credit": recording.credit,
        "fps": recording.fps,
        "frames": frames.num_frames,
        "gaussians": asset.num_gaussians,
        "sh_degree": asset.sh_degree,
        "origin": lattice.origin.tolist(),
        "step": lattice.step,
        "shift": lattice.shift,
        "body": cylinder(frames),
        "ground": None if recording.ground is None else _ground(recording.ground),
        "arrays": [entry for entry, _ in arrays],
    }
    return header, gzip.compress(b"".join(data for _, data in arrays), COMPRESSION, mtime=0)


@dataclass(frozen=True)
class Lattice:
    """Where positions can lie: ``origin + step * integers``."""

    origin: Array  # [3]
    step: float
    shift: int  # moves are multiples of ``2**shift`` steps
    body: float  # longest side of the body at rest

    @staticmethod
    def of(asset: Gaussians, frames: Frames) -> Lattice:
        """As fine as the neighbourhoods of ``asset`` ask for, and as the bits allow."""
        rest, moved = _table(asset.means), _table(frames.means)
        low, high = (_table(side) for side in asset.bounds())
        body, origin = float((high - low).max()), rest.min(0)
        around = asset.neighbourhoods
        coarse = body / STEPS_A_BODY
        if around.indices.shape[1]:
            near = float((asset.means[around.indices] - asset.means[:, None]).norm(dim=-1).mean(dim=1).median())
            coarse = min(coarse, near / STEPS_A_NEIGHBOUR) if near > 0.0 else coarse
        farthest = float(np.abs(moved - rest).max())
        coarse = max(coarse, farthest / (2 ** (MOVE_BITS - 1) - 2)) or 1.0
        finest = float((rest - origin).max()) / (2**REST_BITS - 1)
        shift = FINEST_SHIFT if finest == 0.0 else min(FINEST_SHIFT, math.floor(math.log2(coarse / finest)))
        return Lattice(origin, finest if shift < 0 else coarse / 2**shift, max(0, shift), body)

    def at_rest(self, positions: Array) -> Array:
        """Integers [N, 3] of positions at rest."""
        return np.rint((positions - self.origin) / self.step).astype(np.int64)


def morton_order(integers: Array) -> Array:
    """Indices [N] that sort ``integers`` [N, 3] along a Morton curve (Morton 1966)."""
    code = np.zeros(len(integers), dtype=np.uint64)
    coarse = (integers >> (REST_BITS - 21)).astype(np.uint64)  # 3 x 21 bits are what a number holds
    for bit in range(21):
        for axis in range(3):
            code |= (coarse[:, axis] >> np.uint64(bit) & np.uint64(1)) << np.uint64(3 * bit + axis)
    return np.argsort(code, kind="stable")


def _ground(ground: Ground) -> dict[str, Any]:
    """What the page draws of a ground: as ``stages.raster.ground`` does, with a coarser shadow."""
    shades = [{"reach": shade.reach, "blur": shade.blur} for shade in SHADES]
    return {**asdict(ground), "shades": shades}


def cylinder(frames: Frames) -> dict[str, Any]:
    """The box that the body passes through: its centre, half its height, and the radius of the upright cylinder about
    it."""
    means = frames.means[:, frames.asset.body].double()
    low, high = means.amin(dim=(0, 1)), means.amax(dim=(0, 1))
    centre = 0.5 * (low + high)
    around = float((means - centre)[..., [0, 2]].norm(dim=-1).max())
    size = around or float(frames.asset.scales.max())
    return {"centre": centre.tolist(), "half": 0.5 * float(high[1] - low[1]), "around": size}


def _table(values: Tensor) -> Array:
    return values.detach().cpu().double().numpy()


def _quantised(
    name: str, values: Tensor, order: Array, *, bits: int, span: tuple[float, float] | None = None
) -> tuple[dict[str, Any], bytes]:
    """``values`` [N] or [N, D] in ``order`` as integers within one range a column, or within ``span``."""
    table = _table(values)[order].reshape(1, len(order), -1)  # [1, N, D]
    low, high = (table.min((0, 1)), table.max((0, 1))) if span is None else (np.full(table.shape[-1], s) for s in span)
    steps = 2**bits - 1
    step = np.where(high > low, (high - low) / steps, 1.0)
    entry, data = _integers(name, np.rint((table - low) / step).clip(0, steps).astype(np.int64))
    return {**entry, "low": low.tolist(), "step": step.tolist()}, data


def _moves(name: str, integers: Array) -> tuple[dict[str, Any], bytes]:
    """Integers of either sign [T, N, 3] as differences over frames and Gaussians."""
    differences = np.diff(np.diff(integers, axis=0, prepend=0), axis=1, prepend=0)
    return _integers(name, differences << 1 ^ differences >> 63)


def _integers(name: str, integers: Array) -> tuple[dict[str, Any], bytes]:
    """Integers [T, N, D], none negative: column by column, low bytes before high ones."""
    planes = max(1, math.ceil(int(integers.max()).bit_length() / 8))
    columns = integers.transpose(0, 2, 1)
    data = b"".join((columns >> 8 * plane & 255).astype(np.uint8).tobytes() for plane in range(planes))
    return {"name": name, "shape": list(integers.shape), "planes": planes}, data


@dataclass(frozen=True)
class Decoded:
    """What a page knows before it derives anything: the readable twin of ``unpack.js``."""

    rest: Array  # [N, 3] integers
    moves: Array  # [T, N, 3] integers
    tables: dict[str, Array]  # name -> [N, D], all else
    header: dict[str, Any]

    @property
    def lattice_frames(self) -> Frames:
        """Frames whose unit is the lattice's step, in double: what the page derives turns and stretches from."""
        moved = self.rest + self.moves * 2 ** self.header["shift"]
        return Frames(self._asset(self.rest.astype(float)), torch.from_numpy(moved.astype(float)))

    @property
    def frames(self) -> Frames:
        """Frames in the clip's own units, as the page draws them."""
        inner, step, origin = self.lattice_frames, self.header["step"], torch.tensor(self.header["origin"])
        asset = self._asset(self.rest * step + self.header["origin"])
        means = inner.means * step + origin
        return Frames(asset, means.float(), (inner.rotations.float(), inner.quats.float(), inner.scales.float()))

    def _asset(self, means: Array) -> Gaussians:
        def tensor(values: Array) -> Tensor:
            return torch.from_numpy(values).to(torch.float64)

        count = len(means)
        sh = rgb_to_sh0(tensor(self.tables["colors"]))[:, None]
        if "harmonics" in self.tables:
            sh = torch.cat([sh, tensor(self.tables["harmonics"]).reshape(count, -1, 3)], dim=1)
        return Gaussians(
            means=tensor(means),
            quats=torch.nn.functional.normalize(tensor(self.tables["quats"]), dim=-1),
            log_scales=tensor(self.tables["log_scales"]),
            logit_opacities=torch.logit(tensor(self.tables["opacities"])[:, 0], eps=1e-6),
            sh=sh,
        )


def decode(header: dict[str, Any], payload: bytes) -> Decoded:
    """What ``encode`` stored, in its order."""
    raw = np.frombuffer(gzip.decompress(payload), np.uint8)
    tables: dict[str, Array] = {}
    offset = 0
    for entry in header["arrays"]:
        times, num, columns = entry["shape"]
        size = times * num * columns
        integers = np.zeros(size, dtype=np.int64)
        for plane in range(entry["planes"]):
            integers += raw[offset : offset + size].astype(np.int64) << 8 * plane
            offset += size
        table = integers.reshape(times, columns, num).transpose(0, 2, 1)
        if "low" in entry:
            table = np.array(entry["low"]) + np.array(entry["step"]) * table
        tables[entry["name"]] = table if entry["name"] == "moves" else table[0]
    coded = tables.pop("moves")
    moves = (coded >> 1 ^ -(coded & 1)).cumsum(1).cumsum(0)
    return Decoded(tables.pop("rest"), moves, tables, header)
