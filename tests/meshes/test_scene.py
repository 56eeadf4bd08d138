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
from stages.moving.truth import true_motion
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


def test_instances_become_nodes(tmp_path: Path) -> None:
    made = Gltf.square()
    places = np.array([[0, 0, 0], [5, 0, 0], [0, 0, 7]], np.float32)
    sizes = np.array([[1, 1, 1], [2, 1, 1], [1, 3, 1]], np.float32)
    attributes = {"TRANSLATION": made.accessor(places), "SCALE": made.accessor(sizes)}
    made.json["nodes"][0] |= {
        "translation": [0, 1, 0], "extensions": {"EXT_mesh_gpu_instancing": {"attributes": attributes}},
    }  # fmt: skip
    made.json["extensionsUsed"] = made.json["extensionsRequired"] = ["EXT_mesh_gpu_instancing"]
    found = load_mesh(made.write_glb(tmp_path / "a.glb"))
    expected = np.concatenate([SQUARE * size + place + [0, 1, 0] for place, size in zip(places, sizes, strict=True)])
    rows = [sorted(map(tuple, np.round(points, 4).tolist())) for points in (found.vertices.numpy(), expected)]
    assert rows[0] == rows[1]
    assert not found.unused
    assert read_mesh(tmp_path / "a.glb").num_vertices == 12


def test_hidden_nodes_other_scenes_lines_and_extensions(tmp_path: Path) -> None:
    """Hidden nodes and other scenes are left out; what is left out is said by name."""
    made = Gltf.square()
    made.json["nodes"] = [
        {"mesh": 0}, {"children": [2], "extensions": {"KHR_node_visibility": {"visible": False}}},
        {"mesh": 0, "translation": [9, 9, 9]}, {"mesh": 0, "translation": [5, 5, 5]},
    ]  # fmt: skip
    made.json["scenes"] = [{"nodes": [3]}, {"nodes": [0, 1], "name": "the shown one"}]
    made.json["scene"] = 1
    made.json["extensionsUsed"] = ["KHR_node_visibility", "KHR_materials_clearcoat", "ACME_fur"]
    made.json["meshes"][0]["primitives"].append({"attributes": made.primitive["attributes"], "mode": 1})
    mesh = load_mesh(made.write_glb(tmp_path / "a.glb"))
    np.testing.assert_array_equal(mesh.vertices.numpy(), SQUARE)
    assert len(mesh.told) == 1 and "the shown one" in mesh.told[0]
    said = "; ".join(mesh.unused)
    assert said.count("ACME_fur") == said.count("KHR_materials_clearcoat") == said.count("lines") == 1
    assert "visibility" not in said


def test_a_scene_far_from_the_origin_keeps_its_shape(tmp_path: Path) -> None:
    made = Gltf.square()
    made.json["nodes"][0]["translation"] = [691000.25, 120.0, -5335000.125]
    made.json["accessors"][0] |= {"min": [0, 0, 0], "max": [1, 1, 0]}
    mesh = load_mesh(made.write_glb(tmp_path / "a.glb"))
    assert len(mesh.told) == 1 and "691001" in mesh.told[0]
    np.testing.assert_allclose(np.ptp(mesh.vertices.numpy(), axis=0), [1, 1, 0], atol=1e-6)
    source = read_mesh(tmp_path / "a.glb")
    np.testing.assert_allclose(source.parts[0].placed.numpy(), mesh.vertices.numpy(), atol=1e-5)
    made.json["nodes"][0]["translation"] = [300.0, 0, 0]
    assert not load_mesh(made.write_glb(tmp_path / "a.glb")).told


@pytest.mark.parametrize("interpolation", ["LINEAR", "STEP", "CUBICSPLINE"])
def test_a_pose_may_be_one_of_morph_targets(tmp_path: Path, interpolation: str) -> None:
    """Two targets, of which one is on by default; half way through the clip, the other is half on."""
    made = Gltf.square()
    moves = [SQUARE * np.array(axis, np.float32) for axis in ((0, 1, 0), (1, 0, 0))]
    made.primitive["targets"] = [{"POSITION": made.accessor(move)} for move in moves]
    made.json["meshes"][0]["weights"] = [1.0, 0.0]
    made.json["nodes"][0]["scale"] = [1, 1, 2]
    keys = np.array([1, 0, 0, 1], np.float32).reshape(2, 2)
    if interpolation == "CUBICSPLINE":
        keys = np.stack([0 * keys, keys, 0 * keys], axis=1).reshape(-1, 2)
    sampler = {
        "input": made.accessor(np.array([0, 2], np.float32)), "output": made.accessor(keys.reshape(-1)),
        "interpolation": interpolation,
    }  # fmt: skip
    channel = {"sampler": 0, "target": {"node": 0, "path": "weights"}}
    made.json["animations"] = [{"name": "Grow", "samplers": [sampler], "channels": [channel]}]
    path = made.write_glb(tmp_path / "a.glb")

    def size(pose: str | None) -> list[float]:
        means = load_asset(path, ReconstructConfig(num_gaussians=800, pose=pose), silent).means
        return means.amax(dim=0).tolist()

    for pose in (None, "rest", "Grow@0"):
        assert size(pose) == pytest.approx([1, 2, 0], abs=0.1)
    assert size("Grow@1") == pytest.approx([1, 2, 0] if interpolation == "STEP" else [1.5, 1.5, 0], abs=0.1)
    assert size("Grow@2") == pytest.approx([2, 1, 0], abs=0.1)
    asset = load_asset(path, ReconstructConfig(num_gaussians=800), silent)
    with pytest.raises(BadInput, match="morph"):
        true_motion(f"{path}#Grow", asset.means, 3)
