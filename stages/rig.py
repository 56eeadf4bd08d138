"""rig: give the asset a skeleton, and every part of it the bones that it follows.

    animus3d rig                              # of the file the asset was made from, else found from its shape
    animus3d rig --skeleton auto
    animus3d rig --skeleton joints.json       # by hand, as rig/skeleton.json is written

1. Take the bones and the skin weights of the file; or find joints from the shape, or read them, and let heat spread
   from the bones over the surface (Baran and Popovic 2007).
2. Write ``rig/skeleton.json``, ``rig/weights.safetensors`` and a picture.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from stages.errors import BadInput
from stages.events import Finished, Note, Report, Started, Wrote
from stages.files import file_hash, replacing
from stages.gaussians import Gaussians
from stages.media.contact_sheet import write_png
from stages.meshes.gltf import SUFFIXES
from stages.meshes.placement import find_placement
from stages.moving.truth import find_asset
from stages.needs import require
from stages.raster import choose
from stages.run_dir import RunDir
from stages.run_dir.layout import RIG
from stages.run_dir.stage_folder import Begin, StageFolder
from stages.settings import check
from stages.skeletons.bone_heat import bone_heat
from stages.skeletons.file_rig import rig_of_file
from stages.skeletons.joints_file import joints_text, read_joints
from stages.skeletons.picture import draw_rig
from stages.skeletons.rig import Joints, Rig, Skin
from stages.skeletons.rigged import RiggedFile, read_rigged
from stages.skeletons.separate_skeletons import check_one_body
from stages.skeletons.skeleton import skin as skinned
from stages.skeletons.stored import rig_metadata, rig_tensors

MESHES = (*SUFFIXES, ".obj", ".stl", ".ply")
SKELETON, PREVIEW = "skeleton.json", "preview.png"


@dataclass(frozen=True, kw_only=True)
class RigConfig:
    """Settings of ``rig``."""

    skeleton: str | None = None  # file, auto, or a joints.json; None: file where there is one, else auto
    mesh: str | None = None  # the file that the asset was made from; None: as the run recorded it
    pose: str | None = None  # of that file: CLIP@SECONDS that the asset was made in; searched for when None
    max_bones: int = 24  # of a file's skeleton that may move; more are merged

    def __post_init__(self) -> None:
        check(self, max_bones=1)


PRESETS = {"default": RigConfig()}


def run(run_dir: RunDir, config: RigConfig, report: Report, *, force: bool = False) -> None:
    """Write ``rig/`` into the run.

    Raises:
        MissingStage: the run has no asset.
        BadInput: no skeleton is found, the file is not the asset's or holds two bodies, or its bones or the joints
            given cannot be used. A rig that the run had stays.
        NotAvailable: finding joints takes a package that is not installed.
    """
    require(run_dir, RIG, force=force)
    asset = run_dir.load_asset()
    facing_deg = run_dir.facing().used_deg
    folder = run_dir.stage(RIG.folder)
    inputs = {"asset": run_dir.asset_hash(), "facing": f"{facing_deg:g}"}
    if config.skeleton not in (None, "auto", "file"):
        read_joints(Path(str(config.skeleton)))  # before anything is written
        inputs["joints"] = file_hash(Path(str(config.skeleton)))
    # 1.
    source = source_mesh(run_dir, config)
    rigged = None if source is None else rigged_file(source)
    kind = config.skeleton or ("auto" if rigged is None else "file")
    if kind == "file" and rigged is None:
        raise BadInput(
            f"{source or 'The asset'} has no skeleton.", "Use --skeleton auto, or name the file: --mesh FILE"
        )
    if folder.is_complete() and not force and begin(folder, config, inputs, report, force=False).done:
        report(Note("rig is already done with these settings; nothing to do (--force does it again)."))
        return
    report(Started("rig", 1))
    told: dict[str, str] = {}
    if kind == "file":
        assert source is not None and rigged is not None
        rig, told = from_file(source, rigged, asset, config)
    else:
        vertices, faces = surface_of(source, rigged, asset, config)
        joints = found_joints(vertices, faces, facing_deg) if kind == "auto" else read_joints(Path(kind))
        skin = Skin(vertices=vertices, faces=faces, weights=bone_heat(vertices, faces, joints))
        rig = Rig(joints=joints, skin=skin, found="auto" if kind == "auto" else "hand")
        told = {"pose": config.pose} if config.pose else {}
    # 2.
    begin(folder, config, inputs, report, force=force)  # now that nothing is left that may fail: a former rig goes
    with replacing(folder.path / SKELETON) as temporary:
        temporary.write_text(joints_text(rig.joints), encoding="utf-8")
    report(Wrote(folder.path / SKELETON, f"{len(rig.joints)} joints, {HOW[rig.found]}"))
    write_png(folder.path / PREVIEW, draw_rig(asset, rig, choose("cpu"), facing_deg))
    report(Wrote(folder.path / PREVIEW, "the bones, and what follows each of them"))
    folder.write_result(RIG.result, rig_tensors(rig), rig_metadata(rig) | told)
    folder.finish(1)
    report(Finished("rig"))


HOW = {"file": "of the file", "auto": "found from its shape", "hand": "as given"}


def begin(folder: StageFolder, config: RigConfig, inputs: dict[str, str], report: Report, *, force: bool) -> Begin:
    """Make the folder ready. Raises ``SettingsDiffer``: it holds a rig that was made otherwise."""
    return folder.begin(
        config=asdict(config), defaults=asdict(RigConfig()), inputs=inputs, total_steps=1, force=force, report=report
    )


def source_mesh(run_dir: RunDir, config: RigConfig) -> Path | None:
    """The mesh that the asset was made from; None: it was none, or it is gone and nobody asked for it.

    Raises ``BadInput``: the file of ``--mesh`` is not there.
    """
    if config.mesh is not None:
        if not Path(config.mesh).is_file():
            raise BadInput(f"There is no file {config.mesh}.", "Check the path of --mesh.")
        return Path(config.mesh)
    recorded = run_dir.source()
    from stages.gaussians.formats import is_mesh

    return recorded if recorded is not None and recorded.is_file() and is_mesh(recorded, MESHES) else None


def rigged_file(path: Path) -> RiggedFile | None:
    """The file, where it has a skeleton: a skin, or clips that move its nodes."""
    if path.suffix.lower() not in SUFFIXES:
        return None
    file = read_rigged(path)
    return file if len(file.joints) > 1 else None


def from_file(path: Path, file: RiggedFile, asset: Gaussians, config: RigConfig) -> tuple[Rig, dict[str, str]]:
    """The rig of a file, and what later stages have to know of it."""
    found = find_asset(file, asset.means, config.pose)
    if found is None:
        raise BadInput(
            f"{path} is not the file of this asset, or not in a pose that is tried: its surface is not where the "
            "Gaussians are.",
            "Name the pose that reconstruct --pose was given: --pose CLIP@SECONDS",
        )
    placement, matrices, _ = found
    check_one_body(file, skinned(file.vertices, file.weights, matrices[None])[0])
    made = rig_of_file(file, placement, matrices, max_bones=config.max_bones)
    told = {"mesh": path.name, "owners": json.dumps(made.bones.owners), "pose": config.pose or ""}
    return made.rig, told


def surface_of(
    source: Path | None, rigged: RiggedFile | None, asset: Gaussians, config: RigConfig
) -> tuple[Tensor, Tensor]:
    """What carries skin weights, in the asset's units: the surface of its mesh, or one made of its Gaussians."""
    if source is not None and rigged is not None:
        found = find_asset(rigged, asset.means, config.pose)
        if found is not None:
            placement, matrices, _ = found
            return placement.to_asset(skinned(rigged.vertices, rigged.weights, matrices[None])[0]), rigged.faces
    elif source is not None:
        from stages.exporting.glb import read_mesh

        vertices, faces = read_mesh(source).surface()
        placed = find_placement(vertices, faces, asset.means)
        if placed is not None:
            return placed.to_asset(vertices), faces
    from stages.gaussians.floor import floor_of
    from stages.skeletons.reference_mesh import num_bodies, reference_mesh

    body = asset.select(asset.body)
    count = num_bodies(body)
    if count > 1:
        raise BadInput(f"The asset is {count} separate bodies.", "Take one of them: reconstruct --largest, or --crop")
    floor = floor_of(body)
    if floor is not None:
        share = f"{int(floor.sum()):,} of the asset's {body.num_gaussians:,} Gaussians"
        raise BadInput(
            f"{share} are a flat floor, in which bones would be found.", "Take it without: reconstruct --drop-floor"
        )
    return reference_mesh(body)


def found_joints(vertices: Tensor, faces: Tensor, facing_deg: float) -> Joints:
    """Joints found from a surface."""
    from stages.skeletons.automatic import find_joints

    return find_joints(vertices, faces, facing_deg=facing_deg)
