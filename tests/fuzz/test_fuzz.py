"""A small campaign in every run of the tests, and what larger ones have found, each as a file made for it."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from plyfile import PlyData

from stages.cameras.file import read_camera
from stages.cameras.path import Framing
from stages.captures import read_capture
from stages.errors import AnimusError, BadInput, CorruptCheckpoint, first_line
from stages.exporting.glb_file import read_glb_file
from stages.files import read_json, write_tensors
from stages.gaussians.formats import read_splat, write_splat
from stages.gaussians.formats.checked import unpacked_size
from stages.gaussians.formats.splat_glb import holds_splats
from stages.gaussians.formats.spz import read_spz
from stages.media.rgba import read_rgba
from stages.meshes.meshopt import unpack
from stages.moving.asset import load_moving_asset
from stages.moving.rig import load_rig
from stages.reporting.study import read_key
from stages.run_dir import RunDir
from stages.skeletons.joints_file import read_joints
from stages.zoo.folder import FolderClips
from tests.fuzz.__main__ import campaign, summary
from tests.fuzz.mutate import mutate
from tests.fuzz.readers import CASES, FRAMING, seeds
from tests.fuzz.worker import damaged, outcome
from tests.gaussians.splat_encoders import sog
from tests.gaussians.test_formats import mild
from tests.meshes.gltf_files import CORNERS, SQUARE
from tests.meshes.test_compression import packed_attributes, packed_sequence

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture
def made(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the valid files of a case; returns the path that is read."""

    def make(case: str) -> Path:
        _, read = seeds(CASES[case], tmp_path / "files")
        return tmp_path / "files" / read

    return make


def test_seeds_are_valid(tmp_path: Path) -> None:
    """Every case reads what it makes: else its reader would refuse at the first byte, and nothing be tried."""
    for number, (name, case) in enumerate(CASES.items()):
        _, read = seeds(case, tmp_path / str(number))
        assert outcome(name, tmp_path / str(number), read) == {"what": "read"}, name


def test_small_campaign(tmp_path: Path) -> None:
    """Files that no larger campaign of seed 0 has met come first here; the journal is taken up."""
    journal = tmp_path / "journal.jsonl"
    answers = campaign(40, 7, journal)
    assert len(journal.read_text().splitlines()) == 40
    answers = campaign(150, 7, journal)
    assert len(journal.read_text().splitlines()) == 150
    assert [answer["index"] for answer in answers] == list(range(150))
    assert [answer for answer in answers if answer["what"] == "finding"] == []
    counted = summary(answers)
    assert counted["tried"] == 150 == counted["read"] + counted["refused"]
    assert set(counted["exit_codes"]) <= {"3", "8"}


def test_a_damaged_file_can_be_made_again() -> None:
    files = {"a.json": b'{"a": [1, 2, {"b": null}]}', "b.bin": bytes(300)}
    assert damaged(3, 14, files, "a.json") == damaged(3, 14, files, "a.json")
    changed = [damaged(3, index, files, "a.json") for index in range(30)]
    assert sum(one != files for one in changed) > 25
    assert len({json.dumps({k: v.hex() for k, v in one.items()}) for one in changed}) > 20
    assert mutate(b"", "empty", np.random.default_rng(0)) is not None


def test_what_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reader(error: BaseException) -> Callable[[Path], None]:
        def read(path: Path) -> None:
            raise error

        return read

    hidden = BadInput("a.ply cannot be read.")
    hidden.__context__ = MemoryError()
    for error, what, kind in (
        (ValueError("x"), "finding", "traceback"), (MemoryError(), "finding", "memory"), (hidden, "finding", "memory"),
        (AnimusError("two\nlines"), "finding", "line"), (BadInput("one line"), "refused", None),
    ):  # fmt: skip
        monkeypatch.setitem(CASES, "png", replace(CASES["png"], read=reader(error)))
        answer = outcome("png", tmp_path, "a.png")
        assert (answer["what"], answer.get("kind")) == (what, kind)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("camera.json", lambda path: read_camera(path, FRAMING)), ("key.json", read_key), ("joints.json", read_joints),
        ("run.json", read_json), ("transforms.json", read_capture),
        ("a.gltf", read_glb_file), ("meta.json", read_splat),
    ],
)  # fmt: skip
def test_json_nested_too_deeply(tmp_path: Path, name: str, read: Callable[[Path], object]) -> None:
    path = tmp_path / name
    path.write_text(DEEP)
    with pytest.raises(AnimusError, match=name) as caught:
        read(path)
    assert caught.value.exit_code == (8 if name == "run.json" else 3)


def test_sog_whose_part_unpacks_to_more_than_it_says(tmp_path: Path) -> None:
    """The directory says 1 byte: no more may be unpacked than that."""
    path, stream = tmp_path / "a.sog", io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("meta.json", b"\0" * (1 << 20))
    content = stream.getvalue().replace(struct.pack("<I", 1 << 20), struct.pack("<I", 1))
    path.write_bytes(content)
    with pytest.raises(BadInput, match="SOG"):
        read_splat(path)


@pytest.mark.parametrize("value", [10**400, 1e308, float("inf"), None, "x"])
def test_sog_bounds_that_are_no_numbers(tmp_path: Path, value: object) -> None:
    sog(tmp_path / "meta.json", mild(0), 1, bundle=False)
    meta = json.loads((tmp_path / "meta.json").read_text())
    meta["means"]["maxs"][0] = value
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadInput):
            read_splat(tmp_path / "meta.json")


def test_spz_bomb(tmp_path: Path) -> None:
    """A small file may be as tight as it likes; gigabytes out of megabytes are refused before they are unpacked."""
    header = struct.pack("<IIIBBBB", 0x5053474E, 3, 20_000_000, 0, 12, 0, 0)
    path = tmp_path / "a.spz"
    path.write_bytes(gzip.compress(header) + bytes(400_000))
    with pytest.raises(BadInput, match="promises 20,000,000 Gaussians"):
        read_spz(path)
    assert unpacked_size(1_000) == 1_032_000
    assert unpacked_size(10_000_000) == 320_000_000


@pytest.mark.parametrize("suffix", [".ply", ".ksplat"])
def test_values_beyond_a_float_are_dropped_without_a_word_of_numpy(
    tmp_path: Path, made: Callable[[str], Path], suffix: str
) -> None:
    if suffix == ".ply":
        path = tmp_path / "a.ply"
        write_splat(path, mild(0))
        ply = PlyData.read(io.BytesIO(path.read_bytes()))
        ply["vertex"].data["x"].view("<u4")[0] = 0x7F800001  # a signalling NaN
        ply.write(str(path))
    else:
        path = made("ksplat 0")
        content = bytearray(path.read_bytes())
        content[5164:5168] = struct.pack("<I", 0x7F800001)
        path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_splat(path).num_gaussians == 19


def test_gif_with_a_code_that_is_none(tmp_path: Path, made: Callable[[str], Path]) -> None:
    """Pillow raises what it likes: whatever is cut off or wrong in a gif becomes one line."""
    path = made("gif")
    content = path.read_bytes()
    for size in range(1, 200):
        path.write_bytes(content[:size])
        with pytest.raises(BadInput, match="gif"):
            read_rgba(path)


def test_colmap_pose_with_too_few_numbers(made: Callable[[str], Path]) -> None:
    folder = made("colmap text")
    file = folder / "sparse" / "0" / "images.txt"
    rows = file.read_text().splitlines()
    words = rows[1].split()
    rows[1] = " ".join(words[:7] + words[8:])
    file.write_text("\n".join(rows))
    with pytest.raises(BadInput, match=r"images\.txt"):
        read_capture(folder)


@pytest.mark.parametrize("broken", [{}, {"joints": "x"}, {"joints": "[1]", "parents": "[", "limits_deg": "[]"}])
def test_rig_that_cannot_be_understood(made: Callable[[str], Path], broken: dict[str, str]) -> None:
    run = RunDir(made("run"))
    tensors, _ = run.stage("rig").read_result("weights.safetensors")
    write_tensors(run.path / "rig" / "weights.safetensors", tensors, broken)
    with pytest.raises(CorruptCheckpoint, match="rig"):
        load_rig(run)


@pytest.mark.parametrize(
    "broken", [{"field": "{"}, {"field": "{}"}, {"ground": "x"}, {"travel": "[[]"}, {"kind": "points"}]
)
def test_motion_that_cannot_be_understood(made: Callable[[str], Path], broken: dict[str, str]) -> None:
    run = RunDir(made("run"))
    tensors, metadata = run.stage("motion").read_result("motion.safetensors")
    write_tensors(run.path / "motion" / "motion.safetensors", tensors, metadata | broken)
    with pytest.raises(AnimusError, match="motion") as caught:
        load_moving_asset(run, "motion", "cpu")
    assert caught.value.exit_code in (3, 8)


def test_glb_whose_buffer_has_no_length(made: Callable[[str], Path]) -> None:
    path = made("gltf")
    content = json.loads(path.read_text())
    content["buffers"][0]["byteLength"] = "x"
    path.write_text(json.dumps(content))
    with pytest.raises(BadInput, match=path.name):
        read_glb_file(path)


def test_what_a_library_says_is_cut() -> None:
    assert len(first_line(ValueError("x" * 10_000))) < 400
    assert isinstance(FRAMING, Framing)


@pytest.mark.parametrize("value", [10**400, -(10**400), 1e308, float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["azimuth", "width"])
def test_camera_with_a_number_that_is_none(made: Callable[[str], Path], name: str, value: float) -> None:
    path = made("camera")
    content = json.loads(path.read_text())
    (content if name == "width" else content["keyframes"][0])[name] = value
    path.write_text(json.dumps(content))
    with pytest.raises(BadInput, match=name) as caught:
        read_camera(path, FRAMING)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("content", [b"file,clip,caption\n\xff\xfe,Walk,a", b'file,clip,caption\n"' + b"x" * 200_000])
def test_captions_that_are_no_text(made: Callable[[str], Path], content: bytes) -> None:
    folder = made("captions")
    (folder / "captions.csv").write_bytes(content)
    with pytest.raises(BadInput, match=r"captions\.csv"):
        FolderClips(folder).lines()


@pytest.mark.parametrize("case", ["png", "frames"])
def test_picture_that_claims_an_absurd_size(made: Callable[[str], Path], case: str) -> None:
    """9,000 x 13,000 pixels, of which there are 64: Pillow only warns of those."""
    place = made(case)
    path = place / "1.png" if place.is_dir() else place
    content = path.read_bytes()
    head = b"IHDR" + struct.pack(">II", 9_000, 13_000) + content[24:29]
    path.write_bytes(content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadInput, match=path.name):
            CASES[case].read(place)


@pytest.mark.parametrize("value", [10**400, 1e308, "x"])
def test_joints_and_poses_beyond_a_float(made: Callable[[str], Path], tmp_path: Path, value: object) -> None:
    path = made("joints")
    content = json.loads(path.read_text())
    content["joints"][0]["head"][0] = value
    path.write_text(json.dumps(content))
    with pytest.raises(BadInput, match="head"):
        read_joints(path)
    _, read = seeds(CASES["transforms"], tmp_path / "capture")
    file = tmp_path / "capture" / read / "transforms.json"
    document = json.loads(file.read_text())
    document["frames"][1]["transform_matrix"][0][0] = value
    file.write_text(json.dumps(document))
    with pytest.raises(BadInput, match="frame 1"):
        read_capture(file)


@pytest.mark.parametrize(
    ("mode", "data"), [("ATTRIBUTES", packed_attributes(SQUARE)), ("INDICES", packed_sequence(CORNERS))]
)
def test_meshopt_that_promises_more_than_it_packs(mode: str, data: bytes) -> None:
    """Refused before memory is taken for 400 million elements."""
    packed = np.frombuffer(data, np.uint8)
    with pytest.raises(ValueError, match="promised"):
        unpack(packed, 400_000_000, 4, mode)
    assert len(unpack(packed, 4, 12, mode) if mode == "ATTRIBUTES" else unpack(packed, 6, 2, mode)) in (48, 12)


def test_glb_whose_json_is_said_to_be_of_gigabytes(made: Callable[[str], Path]) -> None:
    path = made("splat glb")
    content = path.read_bytes()
    path.write_bytes(content[:12] + struct.pack("<I", 0xFFFFFFF0) + content[16:])
    tracemalloc.start()
    try:
        assert not holds_splats(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_text_ply_with_a_number_beyond_its_type(made: Callable[[str], Path]) -> None:
    path = made("ply text")
    head, end, body = path.read_text().partition("end_header\n")
    path.write_text(head.replace("float x", "uchar x") + end + "99999999 " + body.partition(" ")[2])
    with pytest.raises(BadInput, match=path.name):
        read_splat(path)
