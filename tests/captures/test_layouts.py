"""Captures as they come: masks, reduced photos, lenses, and files that another system or program has written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from plyfile import PlyData, PlyElement

from stages.captures import read_capture
from stages.captures.hull import has_masks
from stages.captures.read import read_photos
from stages.errors import BadInput
from stages.events import Caution, Event, Note
from tests.captures.files import cameras, plain_pictures, write_colmap, write_transforms
from tests.captures.test_read import assert_same


def said(path: Path) -> list[str]:
    events: list[Event] = []
    read_capture(path, events.append)
    return [event.text for event in events if isinstance(event, Note | Caution)]


def edit(folder: Path, document: dict, **fields: object) -> None:  # type: ignore[type-arg]
    """Write the document with ``fields`` in every frame; a function gets the frame's number."""
    for k, frame in enumerate(document["frames"]):
        frame.update({name: value(k) if callable(value) else value for name, value in fields.items()})
    (folder / "transforms.json").write_text(json.dumps(document))


def write_masks(folder: Path, pattern: str, white: int = 255) -> None:
    folder.mkdir(parents=True)
    mask = np.zeros((24, 32), np.uint8)
    mask[6:18, 8:24] = white
    for k in range(5):
        Image.fromarray(mask).save(folder / pattern.format(k), format="PNG")


@pytest.mark.parametrize(
    ("folder", "pattern", "white"),
    [("segmented", "m{:03d}.png", 255), ("masks", "{:03d}.png", 1), ("mask", "{:03d}.png.png", 255)],
    ids=["mask_path", "masks", "colmap"],
)
def test_masks_become_alpha(tmp_path: Path, folder: str, pattern: str, white: int) -> None:
    plain_pictures(tmp_path, cameras())
    document = write_transforms(tmp_path, cameras())
    assert said(tmp_path) == []
    write_masks(tmp_path / folder, pattern, white)
    if folder == "segmented":
        edit(tmp_path, document, mask_path=lambda k: f"segmented\\m{k:03d}.png")
    photos = read_photos(read_capture(tmp_path), 64)
    assert has_masks(photos)
    for photo in photos:
        assert photo.rgba[..., 3].float().mean() == pytest.approx(255.0 * 0.25)
        assert photo.rgba[10, 10].tolist() == [90, 90, 90, 255] and int(photo.rgba[2, 2, 3]) == 0
    assert said(tmp_path) == [f"5 of 5 photos have masks in {tmp_path / folder}: white is the thing."]


def test_what_is_named_and_not_there_or_not_used_is_said(tmp_path: Path) -> None:
    plain_pictures(tmp_path, cameras())
    document = write_transforms(tmp_path, cameras())
    edit(tmp_path, document, mask_path="nowhere.png", depth_file_path="d.png", applied_transform=[])
    document["ply_file_path"] = "lost.ply"
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    used, masks, points = said(tmp_path)
    assert "depth_file_path" in used and "applied_transform" not in used
    assert "5 masks" in masks and "nowhere.png" in masks and "lost.ply" in points


def test_points_and_test_views_of_nerfstudio(tmp_path: Path) -> None:
    plain_pictures(tmp_path, cameras())
    document = write_transforms(tmp_path, cameras())
    cloud = np.array(
        [(1, 2, 3, 255, 0, 51)], dtype=[*((a, "f4") for a in "xyz"), *((c, "u1") for c in ("red", "green", "blue"))]
    )
    PlyData([PlyElement.describe(cloud, "vertex")]).write(str(tmp_path / "sparse_pc.ply"))
    document |= {"ply_file_path": "sparse_pc.ply", "test_filenames": ["./images/002.png"]}
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    capture = read_capture(tmp_path)
    assert capture.points.tolist() == [[1.0, 2.0, 3.0]]
    torch.testing.assert_close(capture.colors, torch.tensor([[1.0, 0.0, 0.2]]))
    assert [view.test for view in capture.views] == [False, False, True, False, False]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("kind", ["transforms", "colmap"])
def test_marks_that_windows_writes(tmp_path: Path, encoding: str, kind: str) -> None:
    plain_pictures(tmp_path, cameras())
    if kind == "transforms":
        write_transforms(tmp_path, cameras())
        files = [tmp_path / "transforms.json"]
    else:
        files = list(write_colmap(tmp_path, cameras(), ".txt").glob("*.txt"))
    for file in files:
        file.write_bytes(file.read_text().replace("\n", "\r\n").encode(encoding))
    assert_same(read_capture(tmp_path), cameras())


@pytest.mark.parametrize(
    "name",
    ["images\\{:03d}.png", "C:\\me\\cap\\images\\{:03d}.png", "D:/cap/images/{:03d}.png", "/home/me/cap/{:03d}.png",
     "../images/{:03d}.jpg", "./images/{:03d}"],
)  # fmt: skip
def test_photos_are_found_where_they_are_now(tmp_path: Path, name: str) -> None:
    plain_pictures(tmp_path, cameras())
    document = write_transforms(tmp_path, cameras())
    edit(tmp_path, document, file_path=lambda k: name.format(k))
    assert_same(read_capture(tmp_path), cameras())


@pytest.mark.parametrize("folder", ["images_2", "input"])
@pytest.mark.parametrize("kind", ["transforms", ".txt", ".bin"])
def test_reduced_photos_scale_their_cameras(tmp_path: Path, folder: str, kind: str) -> None:
    plain_pictures(tmp_path, cameras(5, 16, 12))
    (tmp_path / "images").rename(tmp_path / folder)
    if kind == "transforms":
        write_transforms(tmp_path, cameras())
    else:
        write_colmap(tmp_path, cameras(), kind)
    capture = read_capture(tmp_path)
    for view, truth in zip(capture.views, cameras(), strict=True):
        assert (view.camera.width, view.camera.height) == (16, 12) and view.path.parent == tmp_path / folder
        torch.testing.assert_close(view.camera.K[:2], truth.K[:2] / 2.0)
    assert len(said(tmp_path)) == 1 and "16x12" in said(tmp_path)[0] and "32x24" in said(tmp_path)[0]


@pytest.mark.parametrize("place", ["colmap/sparse/0", "dense/0/sparse", "distorted/sparse/0"])
def test_models_in_other_places(tmp_path: Path, place: str) -> None:
    photos = tmp_path / "dense/0" if place.startswith("dense") else tmp_path
    plain_pictures(photos, cameras())
    model = write_colmap(tmp_path / "made", cameras(), ".bin")
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    model.rename(tmp_path / place)
    assert_same(read_capture(tmp_path), cameras())
    (photos / "images" / "003.png").unlink()
    with pytest.raises(BadInput, match=r"no picture 003\.png.*images"):
        read_capture(tmp_path)


def rays_as_colours(rays: np.ndarray) -> np.ndarray:
    """A smooth picture uint8 [H, W, 3] of what is seen along rays x/z, y/z [H, W, 2]."""
    x, y = rays[..., 0], rays[..., 1]
    waves = [np.sin(3.0 * x + 1.0), np.sin(3.0 * y), np.sin(2.0 * x + 2.0 * y)]
    return np.rint(127.5 + 120.0 * np.stack(waves, axis=-1)).astype(np.uint8)


def grid(K: torch.Tensor, width: int, height: int) -> np.ndarray:
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    k = K.numpy()
    return np.stack([(columns - k[0, 2]) / k[0, 0], (rows - k[1, 2]) / k[1, 1]], axis=-1)


def straight(bent: np.ndarray, fisheye: bool, k: tuple[float, float, float, float]) -> np.ndarray:
    """Where the rays of a bent picture's points [..., 2] go: the lens's formula undone by iteration."""
    if fisheye:
        radius = np.linalg.norm(bent, axis=-1, keepdims=True).clip(1e-9)
        angle = radius
        for _ in range(50):
            angle = radius / (1 + k[0] * angle**2 + k[1] * angle**4 + k[2] * angle**6 + k[3] * angle**8)
        return bent / radius * np.tan(angle)
    point = bent
    for _ in range(50):
        x, y = point[..., :1], point[..., 1:]
        r = x * x + y * y
        tangential = [2 * k[2] * x * y + k[3] * (r + 2 * x * x), k[2] * (r + 2 * y * y) + 2 * k[3] * x * y]
        point = (bent - np.concatenate(tangential, axis=-1)) / (1 + k[0] * r + k[1] * r * r)
    return point


@pytest.mark.parametrize("kind", ["transforms", "colmap"])
@pytest.mark.parametrize(
    ("model", "k"), [("OPENCV", (-0.25, 0.06, 0.01, -0.02)), ("OPENCV_FISHEYE", (0.05, -0.01, 0.002, 0.0))]
)
def test_lenses_are_straightened(tmp_path: Path, kind: str, model: str, k: tuple[float, float, float, float]) -> None:
    """Each pixel of a straightened photo shows what lies along its ray of the pinhole camera."""
    views, fisheye = cameras(5, 96, 72), model == "OPENCV_FISHEYE"
    (tmp_path / "images").mkdir()
    for i, view in enumerate(views):
        bent = rays_as_colours(straight(grid(view.K, 96, 72), fisheye, k))
        Image.fromarray(bent).save(tmp_path / "images" / f"{i:03d}.png")
    if kind == "transforms":
        names = ("k1", "k2", "k3", "k4") if fisheye else ("k1", "k2", "p1", "p2")
        edit(tmp_path, write_transforms(tmp_path, views), camera_model=model, **dict(zip(names, k, strict=True)))
    else:
        file = write_colmap(tmp_path, views, ".txt") / "cameras.txt"
        lines = file.read_text().replace("PINHOLE", model).splitlines()
        file.write_text("\n".join(line if "#" in line else f"{line} {' '.join(map(str, k))}" for line in lines))
    photos = read_photos(read_capture(tmp_path), 96)
    for photo, view in zip(photos, views, strict=True):
        torch.testing.assert_close(photo.camera.viewmat, view.viewmat, atol=1e-5, rtol=0)
        expected = rays_as_colours(grid(photo.camera.K, 96, 72)).astype(int)
        off = np.abs(photo.rgba[..., :3].numpy().astype(int) - expected)[2:-2, 2:-2]
        assert off.max() <= 6 and int(photo.rgba[..., 3].min()) == 255
    assert len(said(tmp_path)) == 1 and "straightened" in said(tmp_path)[0]


def test_a_lens_that_opencv_does_not_know_is_refused_with_the_way_out(tmp_path: Path) -> None:
    plain_pictures(tmp_path, cameras())
    file = write_colmap(tmp_path, cameras(), ".txt") / "cameras.txt"
    lines = file.read_text().replace("PINHOLE", "FOV").splitlines()
    file.write_text("\n".join(line if "#" in line else f"{line} 0.9" for line in lines))
    with pytest.raises(BadInput, match=r"FOV.*colmap image_undistorter"):
        read_capture(tmp_path)
