"""Splat PLY as other trainers and editors write it: what each of them means, and what is said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from plyfile import PlyData, PlyElement

from stages.errors import BadInput
from stages.events import Caution, Event, Note
from stages.gaussians import Gaussians
from stages.gaussians.formats import is_mesh_ply, read_splat
from stages.gaussians.formats.ply import read_ply, write_ply
from stages.gaussians.sh import sh0_to_rgb
from tests.gaussians.test_ply import splat

Columns = dict[str, np.ndarray]


def columns(asset: Gaussians, path: Path) -> Columns:
    """INRIA's fields of an asset."""
    write_ply(path, asset)
    data = PlyData.read(str(path), mmap=False)["vertex"].data
    return {name: data[name].copy() for name in data.dtype.names}


def save(path: Path, table: Mapping[str, np.ndarray], *, order: str = "<", comments: Sequence[str] = ()) -> Path:
    rows = np.empty(len(table["x"]), dtype=[(name, values.dtype.str) for name, values in table.items()])
    for name, values in table.items():
        rows[name] = values
    PlyData([PlyElement.describe(rows, "vertex")], byte_order=order, comments=list(comments)).write(str(path))
    return path


def read(path: Path) -> tuple[Gaussians, list[str]]:
    said: list[Event] = []
    asset = read_splat(path, said.append)
    assert all(isinstance(event, Note | Caution) for event in said)
    return asset, [event.text for event in said if isinstance(event, Note | Caution)]


def test_plain_colours(tmp_path: Path) -> None:
    table = columns(splat(), tmp_path / "a.ply")
    for name in ("f_dc_0", "f_dc_1", "f_dc_2"):
        del table[name]
    rgb = np.random.default_rng(0).integers(0, 256, (20, 3)).astype(np.uint8)
    table |= dict(zip(("red", "green", "blue"), rgb.T, strict=True))
    asset, said = read(save(tmp_path / "b.ply", table))
    torch.testing.assert_close(sh0_to_rgb(asset.sh[:, 0]), torch.from_numpy(rgb / 255.0).float())
    assert len(said) == 1 and "red, green, blue" in said[0]
    fractions = {name: (table[name] / 255.0).astype(np.float32) for name in ("red", "green", "blue")}
    again, _ = read(save(tmp_path / "c.ply", table | fractions))
    torch.testing.assert_close(again.sh, asset.sh)


def test_a_file_with_both_colours_takes_the_harmonics_and_says_so(tmp_path: Path) -> None:
    table = columns(splat(1), tmp_path / "a.ply")
    asset, said = read(
        save(tmp_path / "b.ply", table | {"red": np.zeros(20, np.uint8), "label": np.ones(20, np.int32)})
    )
    assert torch.equal(asset.sh, splat(1).sh)
    assert said == [f"{tmp_path / 'b.ply'} has the fields red, label, which are not used."]


def test_harmonics_beyond_degree_three_are_cut(tmp_path: Path) -> None:
    table = columns(splat(), tmp_path / "a.ply")
    rest = np.random.default_rng(0).normal(size=(20, 3, 24)).astype(np.float32)
    table |= {f"f_rest_{i}": rest.reshape(20, 72)[:, i] for i in range(72)}
    asset, said = read(save(tmp_path / "b.ply", table))
    assert asset.sh_degree == 3 and len(said) == 1 and "degree 4" in said[0]
    torch.testing.assert_close(asset.sh[:, 1:], torch.from_numpy(rest[:, :, :15]).permute(0, 2, 1))
    with pytest.raises(BadInput, match="71 f_rest fields"):
        read_ply(save(tmp_path / "c.ply", {name: table[name] for name in table if name != "f_rest_71"}))


def test_two_scales_are_discs_and_one_is_a_ball(tmp_path: Path) -> None:
    table = columns(splat(), tmp_path / "a.ply")
    del table["scale_2"]
    asset, said = read(save(tmp_path / "b.ply", table))
    assert torch.equal(asset.log_scales[:, :2], splat().log_scales[:, :2]) and "2DGS" in said[0]
    assert (asset.scales[:, 2] <= 1.01e-4 * asset.scales[:, :2].amin(dim=1)).all()
    for name in ("scale_1", "rot_0", "rot_1", "rot_2", "rot_3"):
        del table[name]
    asset, said = read(save(tmp_path / "c.ply", table))
    assert (asset.log_scales == splat().log_scales[:, :1]).all() and "one scale" in said[0]
    assert torch.equal(asset.quats, torch.tensor([1.0, 0, 0, 0]).expand(20, 4))


def test_the_filter_of_mip_splatting(tmp_path: Path) -> None:
    """Variances add up; the opacity times the volume stays (create_fused_ply.py of Mip-Splatting)."""
    table = columns(splat(), tmp_path / "a.ply")
    filters = np.linspace(0.0, 2.0, 20, dtype=np.float32)
    asset, said = read(save(tmp_path / "b.ply", table | {"filter_3D": filters}))
    before, f = splat(), torch.from_numpy(filters)[:, None]
    wider = (before.scales.square() + f.square()).sqrt()
    torch.testing.assert_close(asset.scales, wider)
    torch.testing.assert_close(asset.opacities, before.opacities * before.scales.prod(1) / wider.prod(1))
    assert len(said) == 1 and "filter_3D" in said[0]
    assert torch.equal(asset.means, before.means)


def test_infinite_opacity_is_solid_and_a_scale_of_nothing_flat(tmp_path: Path) -> None:
    table = columns(splat(), tmp_path / "a.ply")
    table["opacity"][:2] = np.inf, -np.inf
    table["scale_1"][4] = -np.inf
    asset, said = read(save(tmp_path / "b.ply", table))
    assert not said and asset.num_gaussians == 20
    assert asset.opacities[0] > 1 - 1e-6 and asset.opacities[1] < 1e-6 and asset.logit_opacities.isfinite().all()
    assert 0.0 < float(asset.scales[4, 1]) < 1e-9 and torch.equal(asset.log_scales[4, 0], splat().log_scales[4, 0])


def test_a_few_bad_rows_are_dropped_and_most_are_refused(tmp_path: Path) -> None:
    table = columns(splat(3), tmp_path / "a.ply")
    table["f_rest_7"][2] = np.nan
    table["x"][5] = np.inf
    table["scale_0"][6] = np.inf
    for name in ("rot_0", "rot_1", "rot_2", "rot_3"):
        table[name][9] = 0.0
    asset, said = read(save(tmp_path / "b.ply", table))
    assert torch.equal(asset.means, splat(3).means[[i for i in range(20) if i not in (2, 5, 6, 9)]])
    assert len(said) == 1
    for words in ("4 of 20", "positions (1)", "scales (1)", "colours (1)", "length zero (1)", "dropped"):
        assert words in said[0]
    table["y"][:] = np.nan
    with pytest.raises(BadInput, match=r"20 of 20 .*positions \(20\)"):
        read_ply(save(tmp_path / "c.ply", table))


def test_big_endian_doubles_and_comments_in_any_language(tmp_path: Path) -> None:
    table = columns(splat(1), tmp_path / "a.ply")
    asset, said = read(save(tmp_path / "b.ply", {n: v.astype(np.float64) for n, v in table.items()}, order=">"))
    assert torch.equal(asset.means, splat(1).means) and torch.equal(asset.sh, splat(1).sh) and not said
    content = (tmp_path / "a.ply").read_bytes()
    (tmp_path / "c.ply").write_bytes(content.replace(b"\nelement", "\ncomment café 日本\nelement".encode(), 1))
    assert torch.equal(read(tmp_path / "c.ply")[0].means, splat(1).means)


def test_georeferenced_doubles_keep_their_shape(tmp_path: Path) -> None:
    table = columns(splat(), tmp_path / "a.ply")
    far = {
        name: table[name].astype(np.float64) + place for name, place in zip("xyz", (5.1e5, 42.0, 4.6e6), strict=True)
    }
    asset, said = read(save(tmp_path / "b.ply", table | far))
    shift = splat().means[0] - asset.means[0]
    torch.testing.assert_close(asset.means + shift, splat().means, atol=1e-5, rtol=0)
    assert float(asset.means.abs().max()) < 10.0 and len(said) == 1 and "510,000" in said[0]
    one = {name: values[:1] for name, values in (table | far).items()}
    assert float(read(save(tmp_path / "c.ply", one))[0].means[0, 2]) == pytest.approx(4.6e6, rel=1e-6)


def test_other_elements_are_named_and_faces_do_not_make_a_mesh_of_a_splat(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", splat())
    ply = PlyData.read(str(tmp_path / "a.ply"), mmap=False)
    camera = np.array([(1.0, 2.0)], dtype=[("fx", "f4"), ("fy", "f4")])
    faces = np.array([([0, 1, 2],)], dtype=[("vertex_indices", "i4", (3,))])
    elements = [PlyElement.describe(camera, "intrinsic"), *ply.elements, PlyElement.describe(faces, "face")]
    PlyData(elements).write(str(tmp_path / "b.ply"))
    assert not is_mesh_ply(tmp_path / "b.ply")
    asset, said = read(tmp_path / "b.ply")
    assert torch.equal(asset.means, splat().means)
    assert said == [f"{tmp_path / 'b.ply'} has the elements intrinsic, face, which are not used."]
    PlyData([PlyElement.describe(camera, "codebook_centers")]).write(str(tmp_path / "c.ply"))
    with pytest.raises(BadInput, match=r"no vertex element.*quantised.*codebook_centers"):
        read_ply(tmp_path / "c.ply")


def test_opacity_as_a_byte(tmp_path: Path) -> None:
    table = columns(splat(), tmp_path / "a.ply")
    del table["opacity"]
    asset, _ = read(save(tmp_path / "b.ply", table | {"alpha": np.full(20, 51, np.uint8)}))
    assert float(asset.opacities[3]) == pytest.approx(0.2, abs=1e-6) and math.isfinite(float(asset.logit_opacities[0]))
