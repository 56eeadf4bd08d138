"""Splat files: round trips at every SH degree, and one clear line for every kind of broken file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from plyfile import PlyData, PlyElement

from stages.errors import BadInput, CannotWrite
from stages.files import replacing
from stages.gaussians import Gaussians
from stages.gaussians.formats.ply import read_ply, write_ply


def splat(degree: int = 0, count: int = 20) -> Gaussians:
    generator = torch.Generator().manual_seed(degree)
    return Gaussians(
        means=torch.randn(count, 3, generator=generator),
        quats=torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=-1),
        log_scales=torch.randn(count, 3, generator=generator),
        logit_opacities=torch.randn(count, generator=generator),
        sh=torch.randn(count, (degree + 1) ** 2, 3, generator=generator),
    )


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_round_trip(tmp_path: Path, degree: int) -> None:
    asset = splat(degree)
    write_ply(tmp_path / "a.ply", asset)
    back = read_ply(tmp_path / "a.ply")
    for name in ("means", "log_scales", "logit_opacities", "sh"):
        assert torch.equal(getattr(back, name), getattr(asset, name)), name
    torch.testing.assert_close(back.quats, asset.quats)
    assert back.sh_degree == degree


def test_harmonics_are_stored_channel_by_channel_and_padded(tmp_path: Path) -> None:
    asset = splat(1)
    write_ply(tmp_path / "a.ply", asset, pad_sh_degree=3)
    data = PlyData.read(str(tmp_path / "a.ply"))["vertex"].data
    assert len(data.dtype.names) == 62
    np.testing.assert_array_equal(data["f_rest_1"], asset.sh[:, 2, 0].numpy())  # red, second coefficient
    np.testing.assert_array_equal(data["f_rest_15"], asset.sh[:, 1, 1].numpy())  # green starts after red's 15
    assert not data["f_rest_3"].any()


def test_a_file_without_normals_and_with_long_quaternions_reads(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", splat())
    data = PlyData.read(str(tmp_path / "a.ply"))["vertex"].data
    keep = [name for name in data.dtype.names if name not in ("nx", "ny", "nz")]
    bare = np.empty(len(data), dtype=[(name, "f4") for name in keep])
    for name in keep:
        bare[name] = data[name] * (3.0 if name.startswith("rot") else 1.0)
    PlyData([PlyElement.describe(bare, "vertex")]).write(str(tmp_path / "b.ply"))
    torch.testing.assert_close(read_ply(tmp_path / "b.ply").quats, splat().quats)


def test_broken_files_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no file"):
        read_ply(tmp_path / "nowhere.ply")
    good = tmp_path / "good.ply"
    write_ply(good, splat())
    (tmp_path / "short.ply").write_bytes(good.read_bytes()[:-50])
    with pytest.raises(BadInput, match="cut short"):
        read_ply(tmp_path / "short.ply")
    (tmp_path / "text.ply").write_text("hello")
    with pytest.raises(BadInput, match="not a readable PLY"):
        read_ply(tmp_path / "text.ply")
    points = np.zeros(3, dtype=[("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1")])
    PlyData([PlyElement.describe(points, "vertex")]).write(str(tmp_path / "points.ply"))
    with pytest.raises(BadInput, match=r"without splat fields: f_dc_0.*rot_3 missing"):
        read_ply(tmp_path / "points.ply")
    write_ply(tmp_path / "none.ply", splat(count=0))
    with pytest.raises(BadInput, match="zero Gaussians"):
        read_ply(tmp_path / "none.ply")


def test_a_failed_write_keeps_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CannotWrite):
        write_ply(tmp_path / "file" / "a.ply", splat())
    assert (tmp_path / "file").read_text() == "in the way"
    write_ply(tmp_path / "a.ply", splat())
    before = (tmp_path / "a.ply").read_bytes()
    with pytest.raises(RuntimeError), replacing(tmp_path / "a.ply") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "a.ply").read_bytes() == before and len(list(tmp_path.iterdir())) == 2


def test_fields_that_look_right_but_are_not(tmp_path: Path) -> None:
    write_ply(tmp_path / "good.ply", splat(1))
    renumbered = (tmp_path / "good.ply").read_bytes().replace(b"f_rest_8", b"f_rest_9")
    (tmp_path / "rest.ply").write_bytes(renumbered)
    with pytest.raises(BadInput, match="no field f_rest_8"):
        read_ply(tmp_path / "rest.ply")
    names = (tmp_path / "good.ply").read_bytes().split(b"end_header")[0].decode()
    text = names.replace("binary_little_endian", "ascii").replace("vertex 20", "vertex 1")
    text = text.replace("property float x\n", "property list uchar float x\n")
    (tmp_path / "list.ply").write_text(text + "end_header\n1 " + "1 " * text.count("property") + "\n")
    with pytest.raises(BadInput, match="lists in x"):
        read_ply(tmp_path / "list.ply")
