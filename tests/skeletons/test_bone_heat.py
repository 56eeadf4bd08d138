"""Bone heat against the weights that artists gave, and on meshes that are not as they should be."""

from __future__ import annotations

import pytest
import torch

from stages.errors import BadInput
from stages.skeletons.bone_heat import bone_heat
from stages.skeletons.rig import Joints
from stages.skeletons.rigged import RiggedFile
from stages.zoo.clips import rigged_file


def file_joints(file: RiggedFile) -> Joints:
    """The joints of a file's skin as they stand in the bind pose; a leaf ends at the farthest vertex it owns."""
    heads = torch.linalg.inv(file.inverse_bind)[:, :3, 3]
    number = {node: joint for joint, node in enumerate(file.joints)}
    parents = []
    for node in file.joints:
        above = file.parents[node]
        while above >= 0 and above not in number:
            above = file.parents[above]
        parents.append(number.get(above, -1))
    tails, owner = heads.clone(), file.weights.argmax(dim=1)
    for joint in range(len(parents)):
        children = [child for child, parent in enumerate(parents) if parent == joint]
        own = file.vertices[owner == joint]
        if children:
            tails[joint] = heads[children].mean(dim=0)
        elif len(own):
            tails[joint] = own[(own - heads[joint]).norm(dim=1).argmax()]
    names = tuple(file.names[node] for node in file.joints)
    return Joints(names=names, parents=tuple(parents), heads=heads, tails=tails, limits_deg=(None,) * len(names))


def two_bones() -> Joints:
    """Along a box from y = 0 to 2, and a joint of no length at its end."""
    heads = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 2.0, 0.0]])
    tails = torch.tensor([[0.0, 1.0, 0.0], [0.0, 2.0, 0.0], [0.0, 2.0, 0.0]])
    return Joints(names=("low", "high", "end"), parents=(-1, 0, 1), heads=heads, tails=tails, limits_deg=(None,) * 3)


def tube(rings: int = 21, around: int = 8, low: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A closed tube of radius 0.3 about the y axis, 2 high."""
    angle = torch.arange(around) * (2.0 * torch.pi / around)
    ring = torch.stack([angle.cos(), torch.zeros(around), angle.sin()], dim=1) * 0.3
    heights = torch.linspace(low, low + 2.0, rings)
    vertices = (ring[None] + heights[:, None, None] * torch.tensor([0.0, 1.0, 0.0])).reshape(-1, 3)
    vertices = torch.cat([vertices, torch.tensor([[0.0, low, 0.0], [0.0, low + 2.0, 0.0]])])
    faces = []
    for k in range(around):
        after = (k + 1) % around
        for row in range(0, (rings - 1) * around, around):
            a, b, c, d = row + k, row + after, row + around + k, row + around + after
            faces += [[a, c, b], [b, c, d]]
        top = (rings - 1) * around
        faces += [[rings * around, k, after], [rings * around + 1, top + after, top + k]]
    return vertices, torch.tensor(faces)


@pytest.mark.parametrize(
    ("name", "most"), [("Horse.glb", 0.013), ("Deer.glb", 0.02), ("Wolf.glb", 0.02), ("Fox.glb", 0.028)]
)
def test_weights_are_near_those_of_artists(name: str, most: float) -> None:
    """Measured: Horse .0117, Deer .0130, Wolf .0096, Fox .0263."""
    file = rigged_file(name)
    weights = bone_heat(file.vertices, file.faces, file_joints(file))
    assert weights.dtype == torch.float32 and weights.shape == file.weights.shape
    assert torch.allclose(weights.sum(dim=1), torch.ones(len(weights)), atol=1e-5) and weights.min() >= 0.0
    assert (weights - file.weights).abs().mean() <= most


def test_weights_are_sparse_and_pass_from_bone_to_bone() -> None:
    vertices, faces = tube()
    weights = bone_heat(vertices, faces, two_bones())
    assert weights[vertices[:, 1] < 0.3, 0].min() > 0.93
    assert weights[(vertices[:, 1] - 1.0).abs() < 0.01, :2].sub(0.5).abs().max() < 0.1
    assert not ((weights > 0.0) & (weights < 9e-4)).any()


def test_seams_of_a_mesh_do_not_show() -> None:
    """Split into single triangles, the mesh has the same weights; whichever way its faces look."""
    vertices, faces = tube()
    whole = bone_heat(vertices, faces, two_bones())
    apart = bone_heat(vertices[faces].reshape(-1, 3), torch.arange(faces.numel()).reshape(-1, 3).flip(1), two_bones())
    assert torch.allclose(apart, whole[faces.reshape(-1)], atol=1e-4)


def test_a_part_that_sees_no_bone_follows_the_nearest() -> None:
    vertices, faces = tube()
    small, small_faces = tube(rings=3)
    beside = 0.1 * small + torch.tensor([0.6, 1.7, 0.0])
    both = bone_heat(torch.cat([vertices, beside]), torch.cat([faces, small_faces + len(vertices)]), two_bones())
    assert both[len(vertices) :, 1].min() > 0.9


def test_vertices_of_no_face_and_faces_of_no_area_do_no_harm() -> None:
    vertices, faces = tube()
    vertices = torch.cat([vertices, torch.tensor([[0.35, 0.1, 0.0]])])
    faces = torch.cat([faces, torch.tensor([[0, 0, 1], [5, 6, 5]])])
    weights = bone_heat(vertices, faces, two_bones())
    assert weights.isfinite().all() and weights[-1, 0] > 0.9


@pytest.mark.parametrize("what", ["no face", "nan vertex", "nan joint", "no joint", "no area", "no such vertex"])
def test_what_cannot_be_used_is_refused(what: str) -> None:
    vertices, faces = tube()
    joints = two_bones()
    if what == "no face":
        faces = faces[:0]
    elif what == "nan vertex":
        vertices[3, 1] = torch.nan
    elif what == "nan joint":
        joints.heads[1] = torch.nan
    elif what == "no joint":
        joints = Joints(names=(), parents=(), heads=torch.zeros(0, 3), tails=torch.zeros(0, 3), limits_deg=())
    elif what == "no area":
        vertices = torch.zeros_like(vertices)
    else:
        faces[0, 0] = len(vertices)
    with pytest.raises(BadInput):
        bone_heat(vertices, faces, joints)
