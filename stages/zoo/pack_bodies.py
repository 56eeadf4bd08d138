"""Pack the bodies that ``assets/bodies/manifest.json`` lists, and write into it what can be measured.

python -m stages.zoo.pack_bodies SOURCE... [--only FILE...]

Every SOURCE is a folder of ``.glb`` files; a body's ``source`` names the folder and the file. ``assets/rigged`` and
``assets/held_out`` are always sources. To add a body, list it with its clips (``clip``, ``verb``, ``said``,
``cyclic``) and rest poses, and run this.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from stages.assets import asset_path
from stages.errors import BadInput
from stages.files import writing
from stages.skeletons.compact import CompactBody, compact
from stages.skeletons.keys import Wanted, clip_times
from stages.skeletons.rigged import RiggedFile, read_rigged
from stages.skeletons.skeleton import Pose
from stages.skeletons.write_glb import body_bytes
from stages.zoo.bodies import FOLDER, MANIFEST, BodyEntry, parse_manifest
from stages.zoo.body_measures import arm_pose, moves_away, posed, size

NUM_COMPARED = 33
"""Moments of a clip at which a packed body is compared with its source. [ours]"""

NUM_VERTICES = 600
"""Vertices that are looked at. [ours]"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Pack all bodies, or those that are named."""
    parser = argparse.ArgumentParser(description="Pack the bodies of a manifest.")
    parser.add_argument("sources", nargs="*", type=Path, metavar="SOURCE", help="folders of .glb files")
    parser.add_argument("--out", type=Path, default=asset_path(FOLDER), help="folder of the manifest and the files")
    parser.add_argument("--only", nargs="*", metavar="FILE", help="pack these alone, as animal_Deer.glb")
    given = parser.parse_args(arguments)
    pack([*given.sources, asset_path("rigged"), asset_path("held_out")], given.out, given.only)


def pack(sources: Sequence[Path], out: Path, only: Sequence[str] | None = None) -> None:
    """Pack the bodies of the manifest in ``out``.

    Raises:
        BadInput: the manifest is damaged, or a source, or a clip of one, is missing.
    """
    path = out / MANIFEST
    if not path.is_file():
        raise BadInput(f"There is no file {path}.", "List the bodies in it first.")
    folders = {folder.name: folder for folder in sources}
    packed = []
    for entry in parse_manifest(path.read_text(encoding="utf-8"), path):
        if only is None or entry.file in only:
            source = read_rigged(_source(entry, folders))
            body = compact_body(entry, source)
            data = body_bytes(body, f"{entry.credit}; {entry.licence}")
            with writing(out / entry.file):
                (out / entry.file).write_bytes(data)
            error = farthest(entry, source, body, read_rigged(out / entry.file))
            print(f"{entry.file:42s}{len(data):8d} bytes, {100 * error:.3f} % of its diagonal off", flush=True)
            entry = measured(entry, source, body)
        packed.append(entry)
    with writing(path):
        path.write_text(manifest_text(packed), encoding="utf-8")


def _source(entry: BodyEntry, folders: dict[str, Path]) -> Path:
    """The file that a body is packed from."""
    folder, _, name = entry.source.partition("/")
    if folder not in folders:
        raise BadInput(f"{entry.file} comes from {entry.source}.", f"Give the folder {folder} as a SOURCE.")
    return folders[folder] / name


def compact_body(entry: BodyEntry, source: RiggedFile) -> CompactBody:
    """A body of the manifest from its ``source``."""
    clips = [Wanted(source.find_clip(clip.clip), clip.clip, clip.part) for clip in entry.clips]
    rest = rest_pose(entry, source)
    return compact(source, clips, rest, turn_deg=entry.turn_deg, color=entry.color)


def rest_pose(entry: BodyEntry, source: RiggedFile) -> Pose:
    """Where a body usually stands, in its ``source``, whose clips may begin later than those of the packed file."""
    name, at, seconds = entry.rest[0].pose.rpartition("@")
    if not at:
        return source.named_pose(entry.rest[0].pose)
    part = next((clip.part for clip in entry.clips if clip.clip == name), None)
    own = source.find_clip(name)
    start = float(clip_times(source, own, part)[0])
    return source.pose(own, torch.tensor([start + float(seconds)], dtype=torch.float64))


def farthest(entry: BodyEntry, source: RiggedFile, body: CompactBody, packed: RiggedFile) -> float:
    """How far at most a vertex of the ``packed`` file is, in any clip, from where the ``source`` has it, as a share of
    the body's diagonal at rest."""
    standing = posed(source, rest_pose(entry, source), entry.turn_deg)[0]
    diagonal, worst = float((standing.amax(0) - standing.amin(0)).norm()), 0.0
    some = torch.linspace(0, len(body.origins) - 1, min(NUM_VERTICES, len(body.origins))).long()
    same = torch.from_numpy(body.origins)[some]
    for clip in entry.clips:
        own = source.find_clip(clip.clip)
        times = clip_times(source, own, clip.part)
        moments = torch.linspace(0.0, float(times[-1] - times[0]), NUM_COMPARED, dtype=torch.float64)
        truth = posed(source, source.pose(own, moments + float(times[0])), entry.turn_deg, same)
        moved = posed(packed, packed.pose(clip.clip, moments), vertices=some)
        worst = max(worst, float((moved - truth).norm(dim=-1).amax()))
    return worst / diagonal


def measured(entry: BodyEntry, source: RiggedFile, body: CompactBody) -> BodyEntry:
    """The entry with what can be measured: lengths of clips, whether they go away, how a biped holds its arms."""
    clips = []
    length = size(posed(source, rest_pose(entry, source)))
    some = torch.linspace(0, len(source.vertices) - 1, min(NUM_VERTICES, len(source.vertices))).long()
    for clip in entry.clips:
        own = source.find_clip(clip.clip)
        seconds = float(next(keyed for keyed in body.clips if keyed.name == clip.clip).times[-1])
        moments = torch.linspace(0.0, seconds, 17, dtype=torch.float64) + float(clip_times(source, own, clip.part)[0])
        goes = clip.said not in ("jump", "land", "fall") and moves_away(
            posed(source, source.pose(own, moments), vertices=some), length
        )
        clips.append(replace(clip, seconds=round(seconds, 4), large_root_motion=goes))
    arms = arm_pose(source, entry.turn_deg) if entry.kind == "biped" else "bind"
    rest = tuple(replace(pose, kind=arms) if pose.pose == "rest" else pose for pose in entry.rest)
    return replace(entry, clips=tuple(clips), rest=rest)


USUAL = (("part", None), ("large_root_motion", False))
"""What is not written of a clip."""


def manifest_text(entries: Sequence[BodyEntry]) -> str:
    """The manifest: a line a field, and a line a clip. Fields that are as usual are not written."""
    return "[\n" + ",\n".join(_entry_text(entry) for entry in entries) + "\n]\n"


def _entry_text(entry: BodyEntry) -> str:
    lines = []
    for field, value in asdict(entry).items():
        if field in ("turn_deg", "color", "reason") and not value:
            continue
        if field == "clips":  # the whole clip, on the spot, is what is usual
            value = [{name: own for name, own in clip.items() if (name, own) not in USUAL} for clip in value]
        if field in ("rest", "clips"):
            rows = ",\n".join("      " + _line(row) for row in value)
            lines.append(f'    "{field}": [\n{rows}\n    ]')
        else:
            lines.append(f'    "{field}": {_line(value)}')
    return "  {\n" + ",\n".join(lines) + "\n  }"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    main()
