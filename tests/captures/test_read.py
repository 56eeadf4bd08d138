"""Cameras come back as they were written, from every kind of file; what cannot be used is told in one line."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.cameras import Camera
from stages.captures import Capture, is_capture, read_capture
from stages.captures.capture import upright
from stages.captures.hull import has_masks, seen_box, visual_hull
from stages.captures.read import read_photos
from stages.errors import BadInput
from tests.captures.files import cameras, plain_pictures, write_colmap, write_pictures, write_transforms

POINTS = np.array([[0.1, -0.2, 0.3, 255, 0, 51], [1.0, 2.0, -3.0, 0, 102, 255]])


def assert_same(capture: Capture, views: list[Camera]) -> None:
    assert [view.path.name for view in capture.views] == [f"{k:03d}.png" for k in range(len(views))]
    for view, truth in zip(capture.views, views, strict=True):
        torch.testing.assert_close(view.camera.viewmat, truth.viewmat, atol=1e-5, rtol=0)
        torch.testing.assert_close(view.camera.K, truth.K, atol=1e-4, rtol=0)
        assert (view.camera.width, view.camera.height) == (truth.width, truth.height)


def test_transforms_come_back(tmp_path: Path) -> None:
    views = cameras()
    plain_pictures(tmp_path, views)
    write_transforms(tmp_path, views)
    assert is_capture(tmp_path) and is_capture(tmp_path / "transforms.json")
    assert_same(read_capture(tmp_path), views)
    assert_same(read_capture(tmp_path / "transforms.json"), views)


def test_an_opengl_camera_at_the_origin_looks_along_minus_z(tmp_path: Path) -> None:
    """The frame of the file in numbers, apart from the writer: a point before the camera, right and up of its axis."""
    views = cameras()
    plain_pictures(tmp_path, views)
    document = write_transforms(tmp_path, views)
    document["frames"][0]["transform_matrix"] = np.eye(4).tolist()
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    camera = read_capture(tmp_path).views[0].camera
    x, y = camera.project(torch.tensor([0.1, 0.2, -1.0])).tolist()
    assert x > float(camera.K[0, 2]) and y < float(camera.K[1, 2])


@pytest.mark.parametrize("ending", [".bin", ".txt"])
@pytest.mark.parametrize("points", [None, POINTS], ids=["bare", "points"])
def test_colmap_comes_back(tmp_path: Path, ending: str, points: np.ndarray | None) -> None:
    views = cameras()
    plain_pictures(tmp_path, views)
    model = write_colmap(tmp_path, views, ending, points)
    if points is None:
        (model / f"points3D{ending}").unlink()  # not every program writes it
    for path in (tmp_path, model):
        capture = read_capture(path)
        assert_same(capture, views)
        expected = torch.zeros(0, 6) if points is None else torch.from_numpy(points).float()
        torch.testing.assert_close(capture.points, expected[:, :3])
        torch.testing.assert_close(capture.colors, expected[:, 3:] / 255.0)


def test_fields_of_view_and_endings_of_nerf_synthetic(tmp_path: Path) -> None:
    """``camera_angle_x`` for all, no sizes, no endings; train and test in two files."""
    views = cameras()
    plain_pictures(tmp_path, views)
    document = write_transforms(tmp_path, views)
    frames = [
        {"file_path": frame["file_path"][: -len(".png")], "transform_matrix": frame["transform_matrix"]}
        for frame in document["frames"]
    ]
    (tmp_path / "transforms.json").unlink()
    for name, some in (("train", frames[:3]), ("test", frames[3:])):
        (tmp_path / f"transforms_{name}.json").write_text(json.dumps({"camera_angle_x": 0.8, "frames": some}))
    capture = read_capture(tmp_path)
    assert [view.test for view in capture.views] == [False] * 3 + [True] * 2
    camera = capture.views[0].camera
    assert float(camera.K[0, 0]) == float(camera.K[1, 1]) == pytest.approx(16.0 / np.tan(0.4), rel=1e-6)
    assert (float(camera.K[0, 2]), float(camera.K[1, 2])) == (16.0, 12.0)


def test_photos_are_reduced_with_their_cameras_and_edges_keep_their_colour(tmp_path: Path) -> None:
    views = cameras()
    picture = np.zeros((24, 32, 4), dtype=np.uint8)
    picture[6:18, 9:23] = (200, 100, 50, 255)  # odd: edges fall within reduced pixels
    write_pictures(tmp_path, [picture] * len(views))
    write_transforms(tmp_path, views)
    photos = read_photos(read_capture(tmp_path), 16)
    photo = photos[0]
    assert photo.rgba.shape == (12, 16, 4) and (photo.camera.width, photo.camera.height) == (16, 12)
    torch.testing.assert_close(photo.camera.K[:2], views[0].K[:2] / 2.0)
    seen = photo.rgba[photo.rgba[..., 3] > 0]
    assert set(seen[:, 3].tolist()) == {128, 255} or set(seen[:, 3].tolist()) == {127, 255}
    assert int((seen[:, :3].int() - torch.tensor([200, 100, 50])).abs().max()) <= 2
    assert has_masks(photos)


def test_a_picture_without_alpha_has_no_mask(tmp_path: Path) -> None:
    views = cameras()
    plain_pictures(tmp_path, views)
    write_transforms(tmp_path, views)
    photos = read_photos(read_capture(tmp_path), 64)
    assert not has_masks(photos) and int(photos[0].rgba[..., 3].min()) == 255


def test_the_hull_of_a_ball_is_a_ball(tmp_path: Path) -> None:
    """Masks of a ball of radius 0.5: the hull's surface lies where the ball's does."""
    views, centre = cameras(12, 64, 64), torch.tensor([0.1, 0.0, -0.2])
    pictures = []
    for view in views:
        rows, columns = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
        rays = torch.stack([columns, rows, torch.ones(64, 64)], dim=-1) @ torch.linalg.inv(view.K).T
        rays = torch.nn.functional.normalize(rays, dim=-1) @ view.viewmat[:3, :3]
        to = centre - view.position
        distance = (to.square().sum() - (rays @ to).square()).clamp(min=0.0).sqrt()
        picture = np.full((64, 64, 4), 255, dtype=np.uint8)
        picture[..., 0] = 40
        picture[..., 3] = 255 * (distance < 0.5).numpy()
        pictures.append(picture)
    write_pictures(tmp_path, pictures)
    write_transforms(tmp_path, views)
    photos = read_photos(read_capture(tmp_path), 64)
    middle, _ = seen_box([photo.camera for photo in photos])
    torch.testing.assert_close(middle, centre, atol=0.15, rtol=0)  # the principal point is off the middle
    hull = visual_hull(photos)
    assert hull is not None
    points, colors, spacing = hull
    radius = (points - centre).norm(dim=-1)
    assert 0.42 < float(radius.median()) < 0.56 and float(radius.min()) > 0.5 - 5 * spacing
    torch.testing.assert_close(colors.mean(dim=0), torch.tensor([40 / 255, 1.0, 1.0]), atol=0.02, rtol=0)


@pytest.mark.parametrize("up", ["auto", "-y"])
def test_up_is_what_is_up_in_the_pictures(tmp_path: Path, up: str) -> None:
    """A capture whose y points down is turned; what the cameras see stays where it is in each picture."""
    views = cameras()
    turn = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    turned = [Camera(viewmat=v.viewmat @ turn, K=v.K, width=v.width, height=v.height) for v in views]
    plain_pictures(tmp_path, views)
    write_colmap(tmp_path, turned, ".txt", POINTS)
    before = read_capture(tmp_path)
    after = upright(before, up)
    assert_same(after, views)
    for old, new in zip(before.views, after.views, strict=True):
        torch.testing.assert_close(
            old.camera.project(before.points), new.camera.project(after.points), atol=1e-3, rtol=1e-4
        )


def _frame(document: dict, **changes: object) -> None:  # type: ignore[type-arg]
    document["frames"][1].update(changes)


NAN_POSE = [[float("nan")] * 4] * 4
BAD_TRANSFORMS = [
    (lambda d: _frame(d, transform_matrix=NAN_POSE), "not a finite number"),
    (lambda d: _frame(d, transform_matrix=(2 * np.eye(4)).tolist()), "not a rotation"),
    (lambda d: _frame(d, transform_matrix=np.zeros((4, 4)).tolist()), "not a rotation"),
    (lambda d: _frame(d, transform_matrix=[[1, 2]]), "4 x 4"),
    (lambda d: _frame(d, transform_matrix="identity"), "4 x 4"),
    (lambda d: _frame(d, fl_x=-5.0), "no pinhole camera"),
    (lambda d: _frame(d, fl_x="wide"), "fl_x must be a number"),
    (lambda d: _frame(d, w=10**12), "32x24 pixels, its camera 1000000000000x24"),
    (lambda d: _frame(d, file_path="images/nowhere.png"), "There is no picture .*nowhere.png"),
    (lambda d: _frame(d, file_path=3), "names no picture"),
    (lambda d: _frame(d, k1="bent"), "k1 must be a number"),
    (lambda d: _frame(d, camera_model="EQUIRECTANGULAR"), "no pinhole"),
    (lambda d: d.update(frames=[]), "0 posed pictures"),
    (lambda d: d.update(frames=d["frames"][:1] * 6000), "6000 posed pictures"),
    (lambda d: d.update(frames=d["frames"][:1] * 4), "stand in one place"),
    (lambda d: d.update(frames={}), "no list of frames"),
]


@pytest.mark.parametrize(("spoil", "message"), BAD_TRANSFORMS, ids=[message for _, message in BAD_TRANSFORMS])
def test_bad_transforms(tmp_path: Path, spoil, message: str) -> None:  # type: ignore[no-untyped-def]
    views = cameras()
    plain_pictures(tmp_path, views)
    document = write_transforms(tmp_path, views)
    spoil(document)
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    with pytest.raises(BadInput, match=message):
        read_capture(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"frames": 1e999}'])
def test_what_is_no_transforms_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "transforms.json").write_text(text)
    with pytest.raises(BadInput, match=r"transforms\.json"):
        read_capture(tmp_path)


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_a_binary_cut_short_anywhere(tmp_path: Path, name: str) -> None:
    views = cameras()
    plain_pictures(tmp_path, views)
    file = write_colmap(tmp_path, views, ".bin", POINTS) / name
    whole = file.read_bytes()
    for size in range(0, len(whole), 7):
        file.write_bytes(whole[:size])
        with pytest.raises(BadInput, match=f"{name} cannot be read as COLMAP's"):
            read_capture(tmp_path)
    file.write_bytes(struct.pack("<Q", 2**62) + whole[8:])
    with pytest.raises(BadInput, match="entries but has"):
        read_capture(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1 PINHOLE", "1 CRYSTAL_BALL", "camera model CRYSTAL_BALL is not known"),
        ("1 PINHOLE", "1 OPENCV_FISHEYE", "with 4 parameters"),
        ("1 PINHOLE", "1 OPENCV", "with 4 parameters"),
        ("1 PINHOLE", "7 PINHOLE", "names camera 1, which the model does not have"),
        ("1 PINHOLE 32", "1 PINHOLE x", "cannot be read"),
    ],
)
def test_colmap_cameras_that_cannot_be_used(tmp_path: Path, old: str, new: str, message: str) -> None:
    views = cameras()
    plain_pictures(tmp_path, views)
    file = write_colmap(tmp_path, views, ".txt") / "cameras.txt"
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(BadInput, match=message):
        read_capture(tmp_path)


def test_pictures_that_cannot_be_used(tmp_path: Path) -> None:
    views = cameras()
    plain_pictures(tmp_path, views)
    write_transforms(tmp_path, views)
    first = tmp_path / "images" / "000.png"
    whole = first.read_bytes()
    first.write_bytes(whole[:-30])
    capture = read_capture(tmp_path)  # the head is whole
    with pytest.raises(BadInput, match=r"000\.png is damaged"):
        read_photos(capture, 64)
    first.write_bytes(b"a picture")
    with pytest.raises(BadInput, match="not a picture that can be read"):
        read_capture(tmp_path)
    write_pictures(tmp_path, [np.zeros((24, 40, 3), dtype=np.uint8)])
    with pytest.raises(BadInput, match="40x24 pixels, its camera 32x24"):
        read_capture(tmp_path)


def test_a_folder_without_cameras(tmp_path: Path) -> None:
    plain_pictures(tmp_path, cameras())
    with pytest.raises(BadInput, match=r"neither transforms\.json nor a COLMAP model"):
        read_capture(tmp_path)
    with pytest.raises(BadInput, match="There is no file"):
        read_capture(tmp_path / "nowhere.json")
