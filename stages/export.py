"""export: the moving asset in the formats of other tools.

animus3d export --format html --out deer.html
animus3d export --format ply-sequence --out frames/deer.ply      # deer_0000.ply, deer_0001.ply, ... for SuperSplat
animus3d export --format glb --mesh deer.glb --out moving.glb    # the motion, back on the mesh the asset came from
animus3d export --format glb --skinned --out rigged.glb          # the same with its skeleton, as artists want it
animus3d export --format bvh --out walk.bvh                      # the skeleton alone
animus3d export --format splat-glb --out deer.glb                # Gaussians in glTF, animated

1. Ask the motion field where every Gaussian (or vertex) is in every frame.
2. Write a temporary file in the format, then rename it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stages.errors import BadInput
from stages.events import Caution, Finished, Note, Progress, Report, Started, Wrote
from stages.exporting import Recording
from stages.exporting.sequence import left_over, numbered, write_sequence
from stages.files import replacing, writing
from stages.gaussians.formats import UP, splat_suffix
from stages.geometry.rotations import UPRIGHT
from stages.moving.asset import MovingAsset, load_moving_asset
from stages.needs import require_frames
from stages.run_dir import RunDir
from stages.run_dir.layout import RIG

if TYPE_CHECKING:
    from stages.exporting.glb import SourceMesh
    from stages.meshes.placement import Placement

SPLATS = (".ply", ".compressed.ply", ".splat", ".spz", ".sog")
FORMATS = {
    "ply-sequence": SPLATS,
    "splat-sequence": SPLATS,
    "html": (".html", ".htm"),
    "usd": (".usd", ".usdc", ".usda"),
    "glb": (".glb",),
    "splat-glb": (".glb",),
    "bvh": (".bvh",),
}
"""Format -> the suffixes that its files may have."""

MESHES = (".glb", ".gltf", ".obj", ".stl", ".ply")
BATCH = 8
"""Frames that are asked of the field together: bounds memory."""

MOST_POSITIONS = 100_000_000
"""Gaussians (or vertices) x frames that are exported at most: 2.8 GB of positions and rotations."""

ELSEWHERE = "Choose another --out."

MADE_WITH = "animated with animus3d"


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Settings of ``export``."""

    format: str = "html"
    frames: int | None = None  # as many as the motion lasts, when None
    fps: int = 16
    source: str = "auto"
    loop: bool = False  # end where it begins, see ``MovingAsset.offsets``
    pose: str | None = None  # of the mesh of glb: CLIP@SECONDS that the asset was made in; searched for when None
    skinned: bool = False  # of glb and usd: a skeleton and its animation in place of morph targets or Gaussians
    add: tuple[str, ...] = ()  # runs of the same asset whose motions go into the same skinned file
    names: tuple[str, ...] = ()  # of the animations; their sentences where there are none
    credit: str = ""  # who made the asset
    ground: bool = False  # for html: a checkerboard under the asset
    up: str | None = None  # of sequences: which axis of the files points up; None: as programs that open them take it


PRESETS = {"default": ExportConfig()}


@torch.no_grad()
def run(run: RunDir, config: ExportConfig, report: Report, *, out: Path, mesh: Path | None = None) -> Path:
    """Write ``out`` and return it, or the first file of a sequence. ``mesh`` is only for glb: the mesh that shall move.

    Raises:
        BadInput: an unknown format or source, a suffix that does not go with the format, a count below 1 or too large,
            or a mesh that is missing, unreadable or not the asset's.
        MissingStage: the run has no asset or no motion yet.
        NotAvailable: the format needs a package that is not installed.
        CannotWrite: the output cannot be written; what was there before is kept.
    """
    _check(config, out, mesh)
    asset = replace(load_moving_asset(run, config.source, "cpu", report), loop=config.loop)
    times = asset.times(asset.num_frames(config.frames, config.fps))
    _check_size(asset.gaussians.num_gaussians, len(times), "Gaussians")
    require_frames(run, "export", len(times))
    if config.skinned or config.format == "bvh":
        return _export_bones(run, asset, times, config, report, out=out, mesh=mesh)
    if config.format == "glb":
        return _export_mesh(run, asset, times, config, report, out=out, mesh=mesh)
    recording = make_recording(asset, times, config)
    if config.format.endswith("sequence"):
        return _export_sequence(recording, report, out, config.up)
    if config.format == "splat-glb":
        return _export_splat_glb(recording, asset, times, config, report, out)
    with replacing(out, ELSEWHERE) as temporary:
        if config.format == "html":
            from stages.exporting.player import player_page

            temporary.write_text(player_page(recording), encoding="utf-8")
        else:
            from stages.exporting.usd import write_usd

            write_usd(temporary, recording)
    report(Wrote(out, f"{len(times)} frames, {out.stat().st_size / 1e6:.1f} MB, {asset.source}"))
    return out


def _check(config: ExportConfig, out: Path, mesh: Path | None) -> None:
    if config.format not in FORMATS:
        raise BadInput(f"There is no format {config.format!r}.", f"Choose one of: {', '.join(FORMATS)}.")
    suffixes = FORMATS[config.format]
    if not out.name.lower().endswith(suffixes):
        raise BadInput(f"--out {out} does not go with {config.format}.", f"End it in {' or '.join(suffixes)}.")
    if (config.frames is not None and config.frames < 1) or config.fps < 1:
        raise BadInput("Frames and fps must be at least 1.")
    if config.skinned and config.format not in ("glb", "usd"):
        raise BadInput(f"--skinned does not go with {config.format}.", "Use --format glb or usd, or leave it away.")
    if (config.add or config.names) and not config.skinned:
        raise BadInput("--add and --name are for skinned files.", "Use --skinned, or leave them away.")
    if config.ground and config.format != "html":
        raise BadInput(f"--ground does not go with {config.format}.", "Use --format html, or leave it away.")
    if config.up is not None and not config.format.endswith("sequence"):
        raise BadInput(f"--up does not go with {config.format}, which is y up.", "Leave it away.")
    if config.up is not None and config.up not in UPRIGHT:
        raise BadInput(f"--up {config.up} is not an axis.", f"Choose one of: {', '.join(UPRIGHT)}.")
    for option, given in (("--mesh", mesh), ("--pose", config.pose)):
        if given is not None and config.format != "glb":
            raise BadInput(f"{option} does not go with {config.format}.", "Use --format glb, or leave it away.")


def make_recording(asset: MovingAsset, times: Tensor, config: ExportConfig) -> Recording:
    """Where every Gaussian is at ``times`` [T]."""
    return Recording(
        frames=asset.in_file(asset.at(times)),
        fps=config.fps,
        title=asset.prompt or "an asset at rest",
        credit=_credit(config),
        ground=asset.file_ground if config.ground else None,
    )


def _credit(config: ExportConfig) -> str:
    return f"{config.credit}, {MADE_WITH}" if config.credit else MADE_WITH


def _check_size(count: int, frames: int, what: str) -> None:
    if count * frames > MOST_POSITIONS:
        raise BadInput(
            f"{frames} frames of {count} {what} are more than fit into memory.",
            f"Use --frames {max(1, MOST_POSITIONS // count)} or fewer.",
        )


def _export_sequence(recording: Recording, report: Report, out: Path, up: str | None) -> Path:
    report(Started("export", recording.frames.num_frames))
    with writing(out, ELSEWHERE):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_sequence(out, recording, lambda done: report(Progress(done)), up)
    report(Finished("export"))
    up = up or UP[splat_suffix(out) or ".ply"]
    size = sum(numbered(out, index).stat().st_size for index in range(recording.frames.num_frames)) / 1e6
    report(Wrote(numbered(out, 0), f"and {recording.frames.num_frames - 1} more, {size:.1f} MB, {up} up"))
    if out.suffix.lower() == ".splat" and up != "y":
        report(Note(f".splat has no place to say which axis points up: reconstruct takes these with --up-axis {up}."))
    if old := left_over(out, recording.frames.num_frames):
        report(Caution(f"{len(old)} frames of an earlier export are still there, from {old[0]} on."))
    return numbered(out, 0)


def _export_splat_glb(
    recording: Recording, asset: MovingAsset, times: Tensor, config: ExportConfig, report: Report, out: Path
) -> Path:
    """Gaussians in glTF: rigid parts where a skeleton carries the motion, else a set of them for each frame."""
    from stages.exporting.splat_glb import flipbook, parts_of_bones

    bones = None if asset.motion is None else parts_of_bones(asset, times, recording)
    data = flipbook(recording) if bones is None else bones.data
    with replacing(out, ELSEWHERE) as temporary:
        temporary.write_bytes(data)
    report(Wrote(out, f"{len(times)} frames, {len(data) / 1e6:.1f} MB, {asset.source}"))
    if bones is not None:
        report(
            Note(
                f"Each Gaussian follows the one of {bones.count} bones that holds it most: {bones.off_usual:.1%} of "
                f"the asset's size off where the skin has it on average, {bones.off_worst:.1%} at worst."
            )
        )
    elif len(times) > 1:
        report(
            Note(
                "KHR_gaussian_splatting has no way to move single Gaussians: the file holds a set of them for each "
                "frame, of which one is shown at a time."
            )
        )
    return out


def _export_bones(
    run: RunDir,
    asset: MovingAsset,
    times: Tensor,
    config: ExportConfig,
    report: Report,
    *,
    out: Path,
    mesh: Path | None,
) -> Path:
    """The skeleton and its animations: on the asset's own mesh where it came from one, else on a stand-in."""
    from stages.exporting.bones import check_same_rig, clip_names, clip_of, rig_in_file, vertex_colors

    rig = rig_in_file(asset)
    others = [
        replace(load_moving_asset(RunDir(Path(name)), "auto", "cpu", report), loop=config.loop) for name in config.add
    ]
    for other, name in zip(others, config.add, strict=True):
        check_same_rig(rig, rig_in_file(other), name)
    motions, own_times = [asset, *others], [times]
    own_times += [other.times(other.num_frames(config.frames, config.fps)) for other in others]
    clips = [
        clip_of(motion, moments, name, config.fps)
        for motion, moments, name in zip(motions, own_times, clip_names(motions, config.names), strict=True)
    ]
    about = f"{', '.join(clip.name for clip in clips)}: {len(rig.joints)} joints, {len(times)} frames"
    with replacing(out, ELSEWHERE) as temporary:
        if config.format == "bvh":
            from stages.exporting.bvh import bvh_text

            temporary.write_text(bvh_text(rig.joints, clips[0].matrices, config.fps), encoding="utf-8")
        elif config.format == "usd":
            from stages.exporting.usd_skel import write_usd_skel

            colors = vertex_colors(rig, asset.file_gaussians)
            write_usd_skel(temporary, rig, colors, clips, title=asset.prompt, credit=_credit(config))
        else:
            from stages.exporting.skinned_asset import Source, skinned_asset

            told = run.require(RIG.folder).read_result(RIG.result)[1]
            recorded = mesh or (_recorded_mesh(run) if rig.found == "file" else _mesh_if_there(run))
            source = Source(path=recorded, named=mesh is not None, pose=config.pose or told.get("pose") or None)
            data, on = skinned_asset(
                rig, asset.file_gaussians, clips, source, owners=told.get("owners", ""), credit=_credit(config)
            )
            about += on
            temporary.write_bytes(data)
    report(Wrote(out, about))
    return out


def _export_mesh(
    run: RunDir,
    asset: MovingAsset,
    times: Tensor,
    config: ExportConfig,
    report: Report,
    *,
    out: Path,
    mesh: Path | None,
) -> Path:
    """The vertices of a mesh, moved by the field: it is continuous, so it can be asked anywhere."""
    from stages.exporting.glb import animate_mesh, read_mesh
    from stages.meshes.placement import find_placement

    if asset.motion is None:
        raise BadInput("--source static has no motion to put on a mesh.", "Leave --source away.")
    source = mesh or _recorded_mesh(run)
    source_mesh, rest = read_mesh(source), asset.file_gaussians.means
    _check_size(source_mesh.num_vertices, len(times), "vertices")
    placement = None if config.pose else find_placement(*source_mesh.surface(), rest)
    if placement is None:
        source_mesh, placement = _posed(source_mesh, source, config.pose, rest)
    if placement.up != "y" or placement.offset is not None:
        report(Note(f"{source.name} lies in the asset with {placement.up} up, {placement.scale:.4g} times as large."))

    def displaced(points: Tensor) -> Tensor:  # [V, 3] -> [T, V, 3]
        return torch.cat([asset.file_displacements(points, part) for part in times.split(BATCH)])

    with replacing(out, ELSEWHERE) as temporary:
        data = animate_mesh(
            source_mesh,
            displaced,
            placement,
            num_frames=len(times),
            fps=config.fps,
            title=asset.prompt,
            credit=_credit(config),
        )
        temporary.write_bytes(data)
    report(Wrote(out, f"{len(times)} frames, {source_mesh.num_vertices} vertices of {source}, {asset.source}"))
    return out


def _posed(mesh: SourceMesh, path: Path, pose: str | None, rest: Tensor) -> tuple[SourceMesh, Placement]:
    """The mesh in the pose that the asset was made in, and how it lies there. Raises ``BadInput`` when it has none."""
    from stages.exporting.glb import in_pose
    from stages.meshes.gltf import SUFFIXES
    from stages.moving.truth import find_asset
    from stages.skeletons.rigged import clip_names, read_rigged
    from stages.skeletons.skeleton import skin

    rigged = read_rigged(path) if path.suffix.lower() in SUFFIXES and clip_names(path) else None
    if rigged is not None and pose:
        rigged = rigged.shaped(pose)
    found = None if rigged is None else find_asset(rigged, rest, pose)
    if rigged is None or found is None:
        raise BadInput(
            f"{path} is not the mesh of this asset: its surface is not where the Gaussians are.",
            "Name the mesh that it was made from: --mesh FILE, and its pose if it had another: --pose CLIP@SECONDS",
        )
    placement, matrices, _ = found
    vertices = skin(rigged.vertices, rigged.weights, matrices[None])[0]
    return in_pose(mesh, {place: vertices[part] for place, part in rigged.places.items()}), placement


def _recorded_mesh(run: RunDir) -> Path:
    """The mesh that ``reconstruct`` made the asset from. Raises ``BadInput`` when it was none, or is gone."""
    from stages.gaussians.formats import is_mesh

    recorded = run.source()
    hint = "Name it: --mesh SOURCE.glb"
    gone = recorded is not None and recorded.suffix.lower() == ".ply" and not recorded.is_file()
    if recorded is None or gone or not is_mesh(recorded, MESHES):  # a .ply that is gone may have been a splat
        raise BadInput(f"{run.path} was not made from a mesh, so far as it is recorded.", hint)
    if not recorded.is_file():
        raise BadInput(f"{recorded}, which {run.path} was made from, is not there any more.", hint)
    return recorded


def _mesh_if_there(run: RunDir) -> Path | None:
    """The mesh that the asset was made from; None: it was none, or it is gone."""
    try:
        return _recorded_mesh(run)
    except BadInput:
        return None
