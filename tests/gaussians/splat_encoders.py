"""Files of the formats that are read and not written, encoded from the formats' descriptions, value by value."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import zstandard
from PIL import Image
from plyfile import PlyData, PlyElement

from stages.gaussians import Gaussians
from stages.gaussians.sh import C0


def _byte(value: float) -> int:
    return int(min(max(round(value), 0), 255))


def spz(path: Path, asset: Gaussians, version: int) -> Path:
    """An ``.spz`` of version 1, 2 or 4, with 12 fractional bits."""
    positions, alphas, colors, scales, rotations, harmonics = (bytearray() for _ in range(6))
    for i in range(asset.num_gaussians):
        for value in asset.means[i].tolist():
            positions += struct.pack("<e", value) if version == 1 else struct.pack("<i", round(value * 4096))[:3]
        alphas.append(_byte(255 * float(asset.opacities[i])))
        colors += bytes(_byte(255 * (0.15 * value + 0.5)) for value in asset.sh[i, 0].tolist())
        scales += bytes(_byte(16 * (value + 10)) for value in asset.log_scales[i].tolist())
        w, x, y, z = asset.quats[i].tolist()
        if version < 4:
            sign = -1 if w < 0 else 1
            rotations += bytes(_byte(127.5 * (sign * value + 1)) for value in (x, y, z))
        else:
            xyzw = [x, y, z, w]
            largest = max(range(4), key=lambda k: abs(xyzw[k]))
            sign, word = (-1 if xyzw[largest] < 0 else 1), largest
            for k in range(4):
                if k != largest:
                    value = sign * xyzw[k]
                    word = word << 10 | (0x200 if value < 0 else 0) | min(round(abs(value) * 2**0.5 * 511), 511)
            rotations += struct.pack("<I", word)
        harmonics += bytes(_byte(128 * (value + 1)) for value in asset.sh[i, 1:].flatten().tolist())
    sections = [bytes(s) for s in (positions, alphas, colors, scales, rotations, harmonics) if s]
    head = struct.pack("<IIIBBB", 0x5053474E, version, asset.num_gaussians, asset.sh_degree, 12, 0)
    if version < 4:
        path.write_bytes(gzip.compress(head + b"\0" + b"".join(sections)))
        return path
    packed = [zstandard.ZstdCompressor().compress(section) for section in sections]
    table = b"".join(struct.pack("<QQ", len(p), len(s)) for p, s in zip(packed, sections, strict=True))
    path.write_bytes(head + struct.pack("<BI12x", len(sections), 32) + table + b"".join(packed))
    return path


def compressed_ply(path: Path, asset: Gaussians) -> Path:
    """PlayCanvas's compressed layout, with bounds of the colours."""
    rgb, num = 0.5 + C0 * asset.sh[:, 0], asset.num_gaussians
    sources = {"": ("xyz", asset.means), "scale_": ("xyz", asset.log_scales), "rgb": ("rgb", rgb)}
    bounds = {}
    for kind, (axes, values) in sources.items():
        for k, axis in enumerate(axes):
            prefix = "" if kind == "rgb" else kind
            bounds[f"min_{prefix}{axis}"] = [float(part[:, k].min()) for part in values.split(256)]
            bounds[f"max_{prefix}{axis}"] = [float(part[:, k].max()) for part in values.split(256)]
    words = np.zeros(num, dtype=[(f"packed_{name}", "u4") for name in ("position", "rotation", "scale", "color")])

    def share(name: str, i: int, value: float) -> float:
        low, high = bounds[f"min_{name}"][i // 256], bounds[f"max_{name}"][i // 256]
        return (value - low) / (high - low)

    for i in range(num):
        for field, kind, values in (("position", "", asset.means), ("scale", "scale_", asset.log_scales)):
            a, b, c = (share(f"{kind}{axis}", i, float(values[i, k])) for k, axis in enumerate("xyz"))
            words[f"packed_{field}"][i] = round(a * 2047) << 21 | round(b * 1023) << 11 | round(c * 2047)
        quat = asset.quats[i].tolist()
        largest = max(range(4), key=lambda k: abs(quat[k]))
        word, sign = largest, (-1 if quat[largest] < 0 else 1)
        for k in range(4):
            if k != largest:
                word = word << 10 | round((sign * quat[k] / 2**0.5 + 0.5) * 1023)
        words["packed_rotation"][i] = word
        r, g, b = (_byte(255 * share("rgb"[k], i, float(rgb[i, k]))) for k in range(3))
        words["packed_color"][i] = r << 24 | g << 16 | b << 8 | _byte(255 * float(asset.opacities[i]))
    chunk = np.zeros(-(-num // 256), dtype=[(name, "f4") for name in bounds])
    for name, values in bounds.items():
        chunk[name] = values
    elements = [PlyElement.describe(chunk, "chunk"), PlyElement.describe(words, "vertex")]
    if asset.sh_degree:
        rest = asset.sh[:, 1:].permute(0, 2, 1).flatten(1).numpy()
        table = np.zeros(num, dtype=[(f"f_rest_{k}", "u1") for k in range(rest.shape[1])])
        for k in range(rest.shape[1]):
            table[f"f_rest_{k}"] = np.clip(np.floor((rest[:, k] / 8 + 0.5) * 256), 0, 255)
        elements.append(PlyElement.describe(table, "sh"))
    PlyData(elements, byte_order="<").write(str(path))
    return path


def ksplat(path: Path, asset: Gaussians, level: int) -> Path:
    """A ``.ksplat`` of one section: a full bucket of 8 Gaussians, the rest in two that are partly filled."""
    num, side, capacity = asset.num_gaussians, 20.0, 8
    left = num - capacity
    sizes = [left // 2, left - left // 2]
    centres = [(0.0, 0.0, 0.0), (1.0, 0.0, -1.0), (0.5, 2.0, 0.0)]
    number = "<3f4f" if level == 0 else "<3e4e"
    records = bytearray()
    for i in range(num):
        bucket = 0 if i < capacity else 1 if i < capacity + sizes[0] else 2
        means = asset.means[i].tolist()
        if level == 0:
            records += struct.pack("<3f", *means)
        else:
            scaled = [(v - c) / (side / 2) * 32767 + 32767 for v, c in zip(means, centres[bucket], strict=True)]
            records += struct.pack("<3H", *map(round, scaled))
        records += struct.pack(number, *asset.scales[i].tolist(), *asset.quats[i].tolist())
        records += bytes(_byte(255 * (0.5 + C0 * value)) for value in asset.sh[i, 0].tolist())
        records.append(_byte(255 * float(asset.opacities[i])))
        for first, last in ((1, 4), (4, 9), (9, 16)):
            for value in asset.sh[i, first:last].T.flatten().tolist():
                form = ("<f", "<e", "<B")[level]
                records += struct.pack(form, value if level < 2 else _byte((value + 4) / 8 * 255))
    header = bytearray(4096)
    struct.pack_into("<BB2xIIIIH", header, 0, 0, 1, 1, 1, num, num, level)
    struct.pack_into("<ff", header, 36, -4.0, 4.0)
    section = bytearray(1024)
    struct.pack_into("<IIIIfH", section, 0, num, num, capacity, 3, side, 12)
    struct.pack_into("<IxxxxIIH", section, 24, 32767, 1, 2, asset.sh_degree)
    buckets = struct.pack("<2I", *sizes) + b"".join(struct.pack("<3f", *centre) for centre in centres)
    path.write_bytes(bytes(header) + bytes(section) + buckets + bytes(records))
    return path


def sog(path: Path, asset: Gaussians, version: int, *, bundle: bool = True) -> Path:
    """A SOG of version 1 or 2; a zip, or ``meta.json`` at ``path`` with its pictures beside it."""
    num, width = asset.num_gaussians, 8
    pictures: dict[str, np.ndarray] = {}  # type: ignore[type-arg]

    def picture(name: str, rows: np.ndarray) -> list[str]:  # type: ignore[type-arg]
        full = np.zeros((-(-len(rows) // width) * width, 4), np.uint8)
        full[: len(rows), : rows.shape[1]] = rows
        if rows.shape[1] < 4:
            full[:, 3] = 255
        pictures[name] = full.reshape(-1, width, 4)
        return [name]

    def coded(values: np.ndarray) -> tuple[np.ndarray, dict[str, object]]:  # type: ignore[type-arg]
        low, high = (getattr(values, end)(axis=0 if version == 1 else None) for end in ("min", "max"))
        rows = np.rint((values - low) / (high - low) * 255).astype(np.uint8)
        if version == 1:
            return rows, {"mins": low.tolist(), "maxs": high.tolist()}
        return rows, {"codebook": np.linspace(low, high, 256).tolist()}

    logged = (asset.means.sign() * asset.means.abs().log1p()).double().numpy()
    low, high = logged.min(axis=0), logged.max(axis=0)
    words = np.rint((logged - low) / (high - low) * 65535).astype(np.int64)
    files = picture("means_l.webp", words & 255) + picture("means_u.webp", words >> 8)
    meta: dict[str, object] = {"means": {"mins": low.tolist(), "maxs": high.tolist(), "files": files}}
    if version == 2:
        meta |= {"version": 2, "count": num}
    else:
        meta["means"] |= {"shape": [num, 3]}  # type: ignore[operator]
    rows, about = coded(asset.log_scales.numpy())
    meta["scales"] = {**about, "files": picture("scales.webp", rows)}
    quats = np.zeros((num, 4), np.uint8)
    for i, quat in enumerate(asset.quats.tolist()):
        largest = max(range(4), key=lambda k: abs(quat[k]))
        sign = -1 if quat[largest] < 0 else 1
        quats[i] = [*(_byte((sign * quat[k] * 2**0.5 + 1) / 2 * 255) for k in range(4) if k != largest), 252 + largest]
    meta["quats"] = {"files": picture("quats.webp", quats)}
    if version == 1:
        rows, about = coded(np.concatenate([asset.sh[:, 0].numpy(), asset.logit_opacities[:, None].numpy()], axis=1))
    else:
        rows, about = coded(asset.sh[:, 0].numpy())
        rows = np.concatenate([rows, np.rint(255 * asset.opacities[:, None].numpy()).astype(np.uint8)], axis=1)
    meta["sh0"] = {**about, "files": picture("sh0.webp", rows)}
    if asset.sh_degree:  # a palette with one entry a Gaussian, listed backwards
        rest = asset.sh[:, 1:].numpy()[::-1]
        low, high = rest.min(), rest.max()
        about = {"mins": float(low), "maxs": float(high)}
        if version == 2:
            about = {"codebook": np.linspace(low, high, 256).tolist()}
        per_row = 64 * rest.shape[1]
        flat = np.zeros((-(-num // 64) * per_row, 4), np.uint8)
        flat[: rest.size // 3, :3] = np.rint((rest.reshape(-1, 3) - low) / (high - low) * 255)
        flat[:, 3] = 255
        pictures["shN_centroids.webp"] = flat.reshape(-1, per_row, 4)
        labels = np.arange(num)[::-1, None] // np.array([[1, 256, 1 << 16]]) % 256
        meta["shN"] = {**about, "files": ["shN_centroids.webp", *picture("shN_labels.webp", labels)]}
    parts = {"meta.json": json.dumps(meta).encode()}
    for name, pixels in pictures.items():
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "WEBP", lossless=True, exact=True)
        parts[name] = content.getvalue()
    if not bundle:
        for name, data in parts.items():
            path.with_name(name).write_bytes(data)
        return path
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path
