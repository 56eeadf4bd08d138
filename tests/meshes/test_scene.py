"""The triangles of a glTF scene: where nodes put them, morph targets, strips and fans, quantised positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stages.errors import BadInput
from stages.events import silent
from stages.exporting.glb import read_mesh
from stages.meshes.gltf import open_gltf
from stages.meshes.mesh import load_mesh
from stages.meshes.scene import local_transform, primitives
from stages.reconstruct import ReconstructConfig, load_asset
from tests.meshes.gltf_files import SQUARE, Gltf, png

QUARTER = [0.0, 0.0, 0.5**0.5, 0.5**0.5]  # about z, xyzw


def vertices(made: Gltf, folder: Path) -> np.ndarray:  # type: ignore[type-arg]
    return load_mesh(made.write_glb(folder / "a.glb")).vertices.numpy()


def test_nodes_scale_turn_and_shift_and_a_matrix_says_the_same(tmp_path: Path) -> None:
    made = Gltf.square()
    made.json["nodes"] = [
        {"children": [1], "translation": [0, 0, 5]},
        {"mesh": 0, "translation": [10, 0, 0], "rotation": QUARTER, "scale": [2, 3, 1]},
        {"mesh": 0, "translation": [99, 99, 99]},  # in no scene
    ]
    expected = np.stack([10 - 3 * SQUARE[:, 1], 2 * SQUARE[:, 0], SQUARE[:, 2] + 5], axis=1)
    np.testing.assert_allclose(vertices(made, tmp_path), expected, atol=1e-6)
    columns = [0, 2, 0, 0, -3, 0, 0, 0, 0, 0, 1, 0, 10, 0, 0, 1]
    made.json["nodes"][1] = {"mesh": 0, "matrix": columns}
    np.testing.assert_allclose(vertices(made, tmp_path), expected, atol=1e-6)
    shift, turn, scale = local_transform(open_gltf(tmp_path / "a.glb").gltf.nodes[1])
    np.testing.assert_allclose(shift + scale, [10, 0, 0, 2, 3, 1], atol=1e-6)
    np.testing.assert_allclose(np.abs(turn), [0.5**0.5, 0, 0, 0.5**0.5], atol=1e-5)


@pytest.mark.parametrize(("of_mesh", "of_node", "height"), [([1.0], None, 2.0), ([1.0], [0.5], 1.5), (None, None, 1.0)])
def test_morph_targets_have_default_weights(
    tmp_path: Path, of_mesh: list[float] | None, of_node: list[float] | None, height: float
) -> None:
    """The node's go before the mesh's. The exported mesh keeps the shape, although its targets go."""
    made = Gltf.square()
    made.primitive["targets"] = [{"POSITION": made.accessor(SQUARE * np.array([0, 1, 0], np.float32))}]
    if of_mesh is not None:
        made.json["meshes"][0]["weights"] = of_mesh
    if of_node is not None:
        made.json["nodes"][0]["weights"] = of_node
    assert vertices(made, tmp_path)[:, 1].max() == pytest.approx(height)
    source = read_mesh(tmp_path / "a.glb")
    position = source.gltf.meshes[0].primitives[0].attributes.POSITION
    assert not source.gltf.meshes[0].primitives[0].targets
    assert source.gltf.accessors[position].count == 4 and source.parts[0].vertices[:, 1].max() == pytest.approx(height)


def test_positions_may_be_normalised_integers(tmp_path: Path) -> None:
    made = Gltf.square()
    stored = np.round(SQUARE * 32767).astype(np.int16)
    made.attribute("POSITION", np.concatenate([stored, np.zeros((4, 1), np.int16)], axis=1), normalized=True)
    made.json["accessors"][-1]["type"] = "VEC3"
    made.json["bufferViews"][-1]["byteStride"] = 8
    made.json["extensionsRequired"] = ["KHR_mesh_quantization"]
    np.testing.assert_allclose(vertices(made, tmp_path), SQUARE, atol=1e-6)


@pytest.mark.parametrize(("mode", "order"), [(5, [0, 1, 3, 2]), (6, [0, 1, 2, 3]), (4, [0, 1, 2, 0, 2, 3])])
def test_strips_and_fans_are_the_same_square(tmp_path: Path, mode: int, order: list[int]) -> None:
    made = Gltf.square()
    made.primitive.update(mode=mode, indices=made.accessor(np.array(order, np.uint8)))
    mesh = load_mesh(made.write_glb(tmp_path / "a.glb"))
    a, b, c = mesh.vertices[mesh.faces].unbind(dim=1)
    torch.testing.assert_close(torch.linalg.cross(b - a, c - a)[:, 2], torch.ones(2))  # all face +z, area 1/2 each
    assert mesh.vertices[mesh.faces].reshape(-1, 3).unique(dim=0).shape == (4, 3)


def test_scenes_that_cannot_be(tmp_path: Path) -> None:
    circle = Gltf.square()
    circle.json["nodes"] = [{"mesh": 0}, {"children": [2]}, {"children": [1]}]
    stray = Gltf.square()
    stray.primitive["indices"] = stray.accessor(np.array([0, 1, 9], np.uint16))
    points = Gltf.square()
    points.primitive["mode"] = 0
    splat = Gltf.square()
    splat.primitive["mode"] = 0
    splat.json["extensionsUsed"] = ["KHR_gaussian_splatting"]
    for made, said in ((circle, "circle"), (stray, "vertices"), (points, "no triangles"), (splat, "Gaussians")):
        path = made.write_glb(tmp_path / "a.glb")
        for read in (load_mesh, read_mesh):
            with pytest.raises(BadInput) as caught:
                read(path)
            assert said in caught.value.what and "a.glb" in caught.value.what


@pytest.mark.parametrize("scale", [float("nan"), 0.0])
def test_a_pose_without_a_surface_is_refused(tmp_path: Path, scale: float) -> None:
    made = Gltf.square()
    made.json["nodes"][0]["scale"] = [scale, scale, scale]
    path = made.write_glb(tmp_path / "a.glb")
    with pytest.raises(BadInput):
        load_asset(path, ReconstructConfig(pose="rest"), silent)
    with pytest.raises(BadInput):
        load_asset(path, ReconstructConfig(), silent)


def test_export_takes_a_gltf_with_its_files_into_one(tmp_path: Path) -> None:
    made = Gltf.square()
    made.textured(np.zeros((2, 2, 3)))
    made.json["images"] = [{"uri": "my%20fur.png"}]
    (tmp_path / "my fur.png").write_bytes(png(np.zeros((2, 2, 3))))
    source = read_mesh(made.write_gltf(tmp_path / "a.gltf", "a%20b.bin", "a b.bin"))
    (image,) = source.gltf.images
    assert image.uri is None and image.bufferView is not None
    (part,) = primitives(open_gltf(tmp_path / "a.gltf"))
    np.testing.assert_array_equal(part.vertices, source.parts[0].vertices)
