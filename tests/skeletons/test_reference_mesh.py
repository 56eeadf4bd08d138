"""The surface around a splat: closed, where the Gaussians are, thin legs kept; and how many bodies there are."""

from __future__ import annotations

from dataclasses import replace

import igl
import numpy as np
import pytest
import torch

from stages.assets import asset_path
from stages.errors import BadInput
from stages.gaussians import Gaussians
from stages.gaussians.formats import read_splat
from stages.geometry.nearest_surface import nearest_on_surface
from stages.skeletons.reference_mesh import enclosed, num_bodies, reference_mesh


def shipped(name: str) -> Gaussians:
    return read_splat(asset_path("splats", name))


def both(one: Gaussians, other: Gaussians) -> Gaussians:
    names = ("means", "quats", "log_scales", "logit_opacities", "sh")
    return Gaussians(**{name: torch.cat([getattr(one, name), getattr(other, name)]) for name in names})


@pytest.mark.parametrize("name", ["deer.ply", "robot.ply", "bird.ply", "fox.ply"])
def test_the_surface_is_closed_and_lies_at_the_gaussians(name: str) -> None:
    """Measured distances, over the diagonal: median .004 to .008. The robot has parts inside."""
    asset = shipped(name)
    vertices, faces = reference_mesh(asset)
    corners, triangles = vertices.double().numpy(), faces.numpy()
    assert bool(igl.is_edge_manifold(triangles)[0]) and len(igl.boundary_facets(triangles)[0]) == 0
    found, shares = nearest_on_surface(asset.means, vertices, faces)
    away = ((vertices[faces[found]] * shares[..., None]).sum(dim=1) - asset.means).norm(dim=1)
    diagonal = (vertices.amax(dim=0) - vertices.amin(dim=0)).norm()
    assert away.median() < 0.01 * diagonal and away.quantile(0.9) < 0.06 * diagonal
    middle = torch.cat([asset.means.median(dim=0).values[None], torch.full((1, 3), 50.0)]).double().numpy()
    winding = igl.fast_winding_number(corners, triangles, middle)
    assert abs(winding[1]) < 0.1
    volume = np.einsum(
        "fi,fi->", corners[triangles[:, 0]], np.cross(corners[triangles[:, 1]], corners[triangles[:, 2]])
    )
    assert volume > 0.0  # faces look outwards


def test_thin_legs_stay_and_the_body_is_filled() -> None:
    asset = shipped("deer.ply")
    vertices, faces = reference_mesh(asset)
    low, high = asset.bounds()
    feet = asset.means[asset.means[:, 1] < low[1] + 0.05 * (high[1] - low[1])]
    assert (torch.cdist(feet, vertices).amin(dim=1) < 0.05).all()
    trunk = torch.tensor([[0.0, 0.1, -0.3]]).double().numpy()
    assert igl.fast_winding_number(vertices.double().numpy(), faces.numpy(), trunk)[0] > 0.9


def test_the_inside_of_a_shell_with_a_hole_is_inside() -> None:
    """Rays of at least 24 of 26 directions meet the shell; between two legs they do not."""
    shell = np.zeros((12, 12, 12), bool)
    shell[2:10, 2:10, 2:10] = True
    shell[3:9, 3:9, 3:9] = False
    shell[5:7, 5:7, 2] = False
    assert enclosed(shell)[4, 4, 6] and not enclosed(shell)[0, 6, 6]
    legs = np.zeros((12, 12, 12), bool)
    legs[2:4, :10, 4:8] = legs[8:10, :10, 4:8] = True
    assert not enclosed(legs)[6, 5, 6]


def test_two_bodies_are_counted() -> None:
    deer = shipped("deer.ply")
    assert num_bodies(deer) == 1 and num_bodies(shipped("robot.ply")) == 1
    there = replace(deer, means=deer.means + torch.tensor([3.0, 0.0, 0.0]))
    assert num_bodies(both(deer, there)) == 2
    crumb = there.select(torch.arange(deer.num_gaussians) < 30)
    assert num_bodies(both(deer, crumb)) == 1
    vertices, _ = reference_mesh(both(deer, crumb))
    assert vertices[:, 0].max() < 1.0  # the crumb is left out


@pytest.mark.parametrize("what", ["none", "few", "haze", "one place", "nan"])
def test_what_has_no_surface_is_refused(what: str) -> None:
    asset = shipped("deer.ply")
    if what == "none":
        asset = asset.select(torch.arange(0))
    elif what == "few":
        asset = asset.select(torch.arange(5))
    elif what == "haze":
        asset = replace(asset, logit_opacities=torch.full_like(asset.logit_opacities, -6.0))
    elif what == "one place":
        asset = replace(asset, means=torch.zeros_like(asset.means))
    else:
        asset = replace(asset, means=torch.full_like(asset.means, torch.nan))
    with pytest.raises(BadInput):
        reference_mesh(asset)


def test_a_few_bad_numbers_are_passed_over() -> None:
    asset = shipped("deer.ply")
    means = asset.means.clone()
    means[:3] = torch.nan
    vertices, _ = reference_mesh(replace(asset, means=means))
    assert vertices.isfinite().all()
