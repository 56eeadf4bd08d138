"""Splat files of every kind: round trips within what each format can hold, independent files, and broken ones."""

from __future__ import annotations

import gzip
import json
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from plyfile import PlyData

from stages.captures import is_capture
from stages.errors import BadInput, CannotWrite
from stages.events import Caution, Event, Note
from stages.gaussians import Gaussians
from stages.gaussians.formats import is_mesh_ply, read_splat, splat_format, write_splat
from stages.gaussians.sh import sh0_to_rgb
from stages.gaussians.spread import along_curve
from stages.gaussians.transform import lay, turn_upright
from tests.gaussians import splat_encoders as encode
from tests.gaussians.test_ply import splat

GOLDEN = Path(__file__).parent.parent / "golden" / "splats"


def mild(degree: int, count: int = 20) -> Gaussians:
    """Gaussians whose values every format can hold: harmonics within [-1, 1], colours within [0, 1]."""
    asset = splat(degree, count)
    sh = asset.sh.clamp(-3.0, 3.0) / 3.1
    return replace(asset, sh=torch.cat([sh[:, :1] * 1.6, sh[:, 1:]], dim=1), means=asset.means.clamp(-4, 4))


def agree(back: Gaussians, asset: Gaussians, **limits: float) -> None:
    """Each named value within its limit: half a step of what the format stores. Rotations as an angle in radians."""
    dot = (back.quats * asset.quats).sum(dim=-1).abs().clamp(max=1.0)
    off = {
        "means": (back.means - asset.means).abs().max(),
        "scales": (back.log_scales - asset.log_scales).abs().max(),
        "opacities": (back.opacities - asset.opacities).abs().max(),
        "angle": (2.0 * torch.acos(dot)).max(),
        "dc": (back.sh[:, 0] - asset.sh[:, 0]).abs().max(),
        "rest": (back.sh[:, 1:] - asset.sh[:, 1:]).abs().max() if asset.sh_degree else torch.tensor(0.0),
    }
    assert back.sh.shape == asset.sh.shape
    for name, value in off.items():
        assert float(value) <= limits[name], f"{name}: {float(value):.3g} > {limits[name]:.3g}"
    torch.testing.assert_close(back.quats.norm(dim=-1), torch.ones(len(dot)))


HALF_BYTE = 0.5 / 255 + 1e-6
SPZ = {"scales": 0.5 / 16 + 1e-5, "opacities": HALF_BYTE, "dc": HALF_BYTE / 0.15, "rest": 0.5 / 128 + 1e-6}


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_what_is_written_comes_back(tmp_path: Path, degree: int) -> None:
    asset = mild(degree)
    write_splat(tmp_path / "a.ply", asset)
    agree(read_splat(tmp_path / "a.ply"), asset, means=0, scales=0, opacities=0, angle=1e-3, dc=0, rest=0)
    write_splat(tmp_path / "a.spz", asset)
    agree(read_splat(tmp_path / "a.spz"), asset, means=1e-6, angle=0.005, **SPZ)
    write_splat(tmp_path / "a.splat", asset)
    plain = replace(asset, sh=asset.sh[:, :1])  # this format has one colour a Gaussian
    limits = {"scales": 1e-6, "opacities": HALF_BYTE, "angle": 0.02, "dc": HALF_BYTE / 0.282, "rest": 0}
    agree(read_splat(tmp_path / "a.splat"), plain, means=0, **limits)


@pytest.mark.parametrize("suffix", [".spz", ".splat"])
def test_writing_what_was_read_gives_the_same_file(tmp_path: Path, suffix: str) -> None:
    """Opacities of 0 and 255 included, whose logarithms a file cannot mean literally."""
    asset = mild(0 if suffix == ".splat" else 2)
    logits = asset.logit_opacities.clone()
    logits[0], logits[1] = -30.0, 30.0
    write_splat(tmp_path / f"a{suffix}", replace(asset, logit_opacities=logits))
    back = read_splat(tmp_path / f"a{suffix}")
    assert back.opacities[0] < 1 / 255 and back.opacities[1] > 254.5 / 255
    once = replace(back, quats=asset.quats)  # a rotation's bytes may round twice
    write_splat(tmp_path / f"b{suffix}", once)
    first, second = ((tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
    if suffix == ".splat":  # scales are stored as they are, and a logarithm may lose their last bit
        first, second = (b"".join(c[i + 24 : i + 32] for i in range(0, len(c), 32)) for c in (first, second))
    assert first == second


def test_positions_far_and_near(tmp_path: Path) -> None:
    """24 bits go as far as they must: a billionth of the extent, roughly, at any extent."""
    for extent in (1e-3, 1.0, 3e3, 1e6):
        asset = replace(mild(0), means=mild(0).means * extent)
        write_splat(tmp_path / "a.spz", asset)
        error = (read_splat(tmp_path / "a.spz").means - asset.means).abs().max()
        assert error <= max(float(asset.means.abs().max()) * 2.0**-22, 2.0**-21)
    with pytest.raises(BadInput, match="do not fit"):
        write_splat(tmp_path / "b.spz", replace(mild(0), means=mild(0).means * 1e8))
    assert not (tmp_path / "b.spz").exists()


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("version", [1, 2, 4])
def test_other_versions_of_spz(tmp_path: Path, version: int, degree: int) -> None:
    asset = mild(degree)
    limits = {"means": 0.5 / 4096 + 1e-6 if version > 1 else 2e-3, "angle": 0.005 if version == 4 else 0.2}
    agree(read_splat(encode.spz(tmp_path / "a.spz", asset, version)), asset, **limits, **SPZ)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_compressed_ply(tmp_path: Path, degree: int) -> None:
    asset = mild(degree, count=300)  # two chunks
    back = read_splat(encode.compressed_ply(tmp_path / "a.ply", asset))
    span = 8.0 / 1023  # of positions and scales, in 10 bits
    agree(back, asset, means=span, scales=span, opacities=HALF_BYTE, angle=0.01, dc=0.01, rest=4 / 256 + 1e-6)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_ksplat(tmp_path: Path, level: int, degree: int) -> None:
    asset = mild(degree)
    exact = level == 0
    limits = {"means": 0 if exact else 2e-4, "scales": 1e-6 if exact else 1e-3, "angle": 1e-3 if exact else 3e-3}
    back = read_splat(encode.ksplat(tmp_path / "a.ksplat", asset, level))
    agree(back, asset, opacities=HALF_BYTE, dc=HALF_BYTE / 0.282, rest=(0, 1e-3, 4 / 255 + 1e-5)[level], **limits)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("version", [1, 2])
def test_sog_bundled_and_beside_its_pictures(tmp_path: Path, version: int, degree: int) -> None:
    asset = mild(degree, count=70)  # more than a row of the palette
    for file in (
        encode.sog(tmp_path / "a.sog", asset, version),
        encode.sog(tmp_path / "meta.json", asset, version, bundle=False),
    ):
        limits = {"scales": 0.02, "opacities": 0.005, "angle": 0.03, "dc": 0.01, "rest": 0.005}
        agree(read_splat(file), asset, means=5e-4, **limits)


@pytest.mark.parametrize("name", [path.name for path in sorted(GOLDEN.glob("minimal*"))])
def test_files_of_another_program(name: str) -> None:
    """Four Gaussians on a square: size 0.1 to a sixteenth, opacity 230 of 255, four colours."""
    asset = read_splat(GOLDEN / name)
    side = 1.0 if name in ("minimal-v3.spz", "minimal-v4.spz") else -1.0
    corners = torch.tensor([[-1.0, 0, side], [0, 0, side], [-1.0, 0, 0], [0, 0, 0]])
    torch.testing.assert_close(asset.means, corners)
    torch.testing.assert_close(asset.log_scales, torch.full((4, 3), 0.1).log(), atol=0.04, rtol=0)
    torch.testing.assert_close(asset.opacities, torch.full((4,), 230 / 255), atol=0.003, rtol=0)
    low = 0.1866 if name == "minimal-v2.spz" else 1 / 3
    rgb = torch.tensor([[low, low], [1 - low, low], [low, 1 - low], [1 - low, 1 - low]])
    torch.testing.assert_close(sh0_to_rgb(asset.sh[:, 0])[:, :2], rgb, atol=0.01, rtol=0)


def test_the_content_decides_before_the_name(tmp_path: Path) -> None:
    asset = mild(1)
    write_splat(tmp_path / "a.spz", asset)
    (tmp_path / "a.spz").rename(tmp_path / "b.splat")
    assert read_splat(tmp_path / "b.splat").sh_degree == 1
    with pytest.raises(BadInput, match="no splat file this program reads"):
        read_splat(tmp_path / "picture.jpg")
    with pytest.raises(BadInput, match=r"no splat file this program writes.*\.ply, \.splat, \.spz, \.sog"):
        write_splat(tmp_path / "a.ksplat", asset)
    with pytest.raises(CannotWrite):
        write_splat(tmp_path / "b.splat" / "a.spz", asset)
    assert not is_mesh_ply(tmp_path / "b.splat")


def _good(folder: Path, kind: str) -> Path:
    """A whole file of each kind."""
    asset = mild(1)
    if kind == "spz4":
        return encode.spz(folder / "good.spz", asset, 4)
    if kind == "ksplat":
        return encode.ksplat(folder / "good.ksplat", asset, 1)
    if kind == "sog":
        return encode.sog(folder / "good.sog", asset, 2)
    if kind == "compressed":
        return encode.compressed_ply(folder / "good.ply", asset)
    write_splat(folder / f"good.{kind}", asset)
    return folder / f"good.{kind}"


KINDS = ["ply", "compressed", "splat", "spz", "spz4", "ksplat", "sog"]


@pytest.mark.parametrize("kind", KINDS)
def test_cut_short_at_any_byte_is_one_kind_of_error(tmp_path: Path, kind: str) -> None:
    """Never another exception, and never a splat from half a file (but ``.splat``, whose every 32 bytes are whole)."""
    good = _good(tmp_path, kind)
    content, short = good.read_bytes(), good.with_stem("short")
    assert read_splat(good).num_gaussians == 20
    for length in sorted({*range(0, 200, 19), *range(0, len(content), len(content) // 13 + 1), len(content) - 9}):
        if kind == "splat" and length and length % 32 == 0:
            continue
        short.write_bytes(content[:length])
        with pytest.raises(BadInput):
            read_splat(short)


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bytes_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    good = _good(tmp_path, kind)
    content, bent = good.read_bytes(), good.with_stem("bent")
    generator = torch.Generator().manual_seed(0)
    for _ in range(25):
        damaged = bytearray(content)
        for place in torch.randint(len(content), (3,), generator=generator).tolist():
            damaged[place] = int(torch.randint(256, (), generator=generator))
        bent.write_bytes(damaged)
        try:
            assert read_splat(bent).means.isfinite().all()
        except BadInput as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_the_wrong_magic(tmp_path: Path, kind: str) -> None:
    bad = _good(tmp_path, kind).with_stem("bad")
    bad.write_bytes(b"This is a letter to the editor, not a splat." * 130)  # 5,720 bytes: not a multiple of 32
    with pytest.raises(BadInput):
        read_splat(bad)
    with pytest.raises(BadInput, match="There is no file"):
        read_splat(bad.with_stem("missing"))


def _claiming(folder: Path, kind: str, count: int) -> Path:
    """A file whose header promises ``count`` Gaussians."""
    good = _good(folder, kind)
    content = bytearray(good.read_bytes())
    if kind in ("ply", "compressed"):
        content = bytearray(bytes(content).replace(b"element vertex 20", b"element vertex %d" % count))
    elif kind == "spz":
        content = bytearray(gzip.decompress(content))
        struct.pack_into("<I", content, 8, count)
        content = bytearray(gzip.compress(content))
    elif kind == "spz4":
        struct.pack_into("<I", content, 8, count)
    elif kind == "ksplat":
        struct.pack_into("<I", content, 16, count)
        struct.pack_into("<II", content, 4096, count, count)
    else:
        with zipfile.ZipFile(good) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        parts["meta.json"] = json.dumps(json.loads(parts["meta.json"]) | {"count": count}).encode()
        with zipfile.ZipFile(good, "w") as archive:
            for name, data in parts.items():
                archive.writestr(name, data)
        return good
    good.write_bytes(content)
    return good


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "splat"])
def test_counts_are_not_believed(tmp_path: Path, kind: str) -> None:
    """Four billion Gaussians would be hundreds of gigabytes: refused before anything is allocated."""
    with pytest.raises(BadInput, match=r"promises 4,000,000,000 Gaussians"):
        read_splat(_claiming(tmp_path, kind, 4_000_000_000))
    if kind != "compressed":
        with pytest.raises(BadInput, match="zero Gaussians"):
            read_splat(_claiming(tmp_path, kind, 0))


def test_values_that_are_no_numbers(tmp_path: Path) -> None:
    """A few Gaussians that hold none are dropped, counted and said, in every format; a file of them is refused."""
    asset = mild(0)
    broken = replace(asset, means=asset.means.clone())
    broken.means[3, 1] = float("nan")
    write_splat(tmp_path / "a.splat", broken)
    content = bytearray((tmp_path / "a.splat").read_bytes())
    struct.pack_into("<4B", content, 5 * 32 + 28, 128, 128, 128, 128)  # a rotation of length zero
    struct.pack_into("<f", content, 7 * 32 + 12, -1.0)  # a scale below zero
    (tmp_path / "a.splat").write_bytes(content)
    said: list[Event] = []
    back = read_splat(tmp_path / "a.splat", said.append)
    assert torch.equal(back.means, asset.means[[i for i in range(20) if i not in (3, 5, 7)]])
    assert len(said) == 1 and isinstance(said[0], Caution)
    for words in ("3 of 20", "positions (1)", "scales (1)", "length zero (1)", "dropped"):
        assert words in said[0].text
    for i in range(11):
        struct.pack_into("<f", content, i * 32, float("inf"))
    (tmp_path / "b.splat").write_bytes(content)
    with pytest.raises(BadInput, match=r"11 of 20 .* positions \(11\).*too many"):
        read_splat(tmp_path / "b.splat")
    (tmp_path / "none.splat").write_bytes(b"")
    with pytest.raises(BadInput, match="zero Gaussians"):
        read_splat(tmp_path / "none.splat")


@pytest.mark.parametrize("up", ["y", "-y", "z", "-x"])
@pytest.mark.parametrize("suffix", [".ply", ".compressed.ply", ".sog"])
def test_a_file_that_says_which_axis_is_up_comes_back_as_it_was(tmp_path: Path, suffix: str, up: str) -> None:
    """Read back by us it is y up; to a program that knows nothing of the mark, +y lies along the axis ``up``."""
    asset = mild(2, count=300)
    write_splat(tmp_path / f"a{suffix}", asset, up=up)
    loose = {"means": 8e-3, "scales": 0.05, "opacities": 2 * HALF_BYTE, "angle": 0.04, "dc": 0.03, "rest": 0.05}
    exact = {"means": 1e-5, "scales": 0, "opacities": 0, "angle": 2e-3, "dc": 1e-6, "rest": 1e-5}
    agree(read_splat(tmp_path / f"a{suffix}"), asset, **(exact if suffix == ".ply" else loose))
    laid = lay(asset, up)
    axis, sign = "xyz".index(up[-1]), -1.0 if up[0] == "-" else 1.0
    torch.testing.assert_close(sign * laid.means[:, axis], asset.means[:, 1])
    if suffix == ".ply":
        data = PlyData.read(str(tmp_path / "a.ply"))
        assert data.comments == ([] if up == "y" else [f"animus3d: up {up}"])
        torch.testing.assert_close(torch.from_numpy(data["vertex"]["xyz"[axis]].copy()), laid.means[:, axis])


def test_half_turns_are_exact(tmp_path: Path) -> None:
    """What SuperSplat takes is our asset to the last bit, turned back."""
    asset = mild(3)
    back = turn_upright(lay(asset, "-y"), "-y")
    assert torch.equal(back.means, asset.means) and torch.equal(back.sh, asset.sh)


@pytest.mark.parametrize("degree", [0, 1, 3])
def test_small_files_hold_what_they_can(tmp_path: Path, degree: int) -> None:
    asset = mild(degree, count=600)
    asset = asset.select(along_curve(asset.means))
    write_splat(tmp_path / "a.compressed.ply", asset)
    limits = {"means": 4e-3, "scales": 4e-3, "opacities": HALF_BYTE, "angle": 5e-3, "dc": 7e-3, "rest": 0.017}
    agree(read_splat(tmp_path / "a.compressed.ply"), asset, **limits)
    write_splat(tmp_path / "a.sog", asset)
    limits = {"means": 2e-4, "scales": 0.04, "opacities": HALF_BYTE, "angle": 0.02, "dc": 0.02, "rest": 0.02}
    agree(read_splat(tmp_path / "a.sog"), asset, **limits)
    once = (tmp_path / "a.sog").read_bytes()
    write_splat(tmp_path / "a.sog", asset)
    assert (tmp_path / "a.sog").read_bytes() == once


def test_a_sog_as_a_folder_under_another_name_and_in_a_zip_with_a_folder(tmp_path: Path) -> None:
    asset = mild(1)
    (tmp_path / "sog").mkdir()
    encode.sog(tmp_path / "sog" / "meta.json", asset, 2, bundle=False)
    expected = read_splat(tmp_path / "sog" / "meta.json")
    assert splat_format(tmp_path / "sog") == "meta.json" and not is_capture(tmp_path / "sog")
    assert torch.equal(read_splat(tmp_path / "sog").means, expected.means)
    with zipfile.ZipFile(tmp_path / "deep.sog", "w") as archive:
        for part in (tmp_path / "sog").iterdir():
            archive.write(part, f"scene/{part.name}")
    assert torch.equal(read_splat(tmp_path / "deep.sog").means, expected.means)
    meta = json.loads((tmp_path / "sog" / "meta.json").read_text())
    (tmp_path / "sog" / "meta.json").write_text(json.dumps(meta | {"antialias": True, "lod": 3}), encoding="utf-8-sig")
    said: list[Event] = []
    read_splat(tmp_path / "sog", said.append)
    assert [type(event) for event in said] == [Caution, Note] and "lod" in said[0].text  # type: ignore[union-attr]
    (tmp_path / "sog" / "meta.json").write_text(json.dumps(meta | {"version": 9}))
    with pytest.raises(BadInput, match="version 9"):
        read_splat(tmp_path / "sog")
