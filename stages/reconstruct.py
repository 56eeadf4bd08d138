"""reconstruct: any asset becomes the canonical splat of a run.

    animus3d reconstruct asset.ply
    animus3d reconstruct capture.spz --up-axis -y --drop-floor --largest
    animus3d reconstruct animal.glb --num-gaussians 8000 --pose Idle@0.5

1. Read and check a splat, or sample a mesh, with soft light on its colours.
2. Mirror it if asked, and turn it so that it stands: y up.
3. Drop what is not the asset: floaters, what is outside a crop, the floor, what is not connected.
4. Centre and scale it.
5. Write ``asset/canonical.ply``, which every other stage works on.
6. Find where it faces, for priors that see points in the frame of the body.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from stages.conventions import step_generator
from stages.errors import BadInput
from stages.events import Caution, Note, Report, Wrote
from stages.facing.keep import keep_facing
from stages.gaussians import Gaussians, cleaning
from stages.gaussians.facing import AUTO, parse_facing
from stages.gaussians.floor import floor_of
from stages.gaussians.formats import READERS, is_mesh, read_splat, splat_format
from stages.gaussians.normalised import snap_scales
from stages.gaussians.transform import centre, looks_upside_down, mirror, rescale, turn_upright
from stages.needs import require_file
from stages.run_dir import RunDir

if TYPE_CHECKING:
    from stages.meshes.light import Light

MESHES = (".glb", ".gltf", ".obj", ".stl", ".ply")


@dataclass(frozen=True, kw_only=True)
class ReconstructConfig:
    """Settings of ``reconstruct``. Lengths are in units of the file, directions those of the upright asset."""

    num_gaussians: int = 6000  # of a mesh
    shading: float = 0.25  # of a mesh: soft light on its colours, from 0, none, to 1
    pose: str | None = None  # of a .glb with a skeleton: CLIP or CLIP@SECONDS
    texture: str | None = None  # a picture for a mesh that names none
    flip: Literal["x", "y", "z"] | None = None  # mirror across this axis of the file, before it is turned
    up: Literal["y", "-y", "z", "-z", "x", "-x"] = "y"  # the axis of the file that points up; captures often have -y
    min_opacity: float = 0.0  # drop fainter Gaussians
    max_size: float | None = None  # drop Gaussians longer than this fraction of the asset's diagonal
    crop: tuple[float, ...] = ()  # keep a ball (r, or x y z r) or a box (its low and its high corner)
    drop_floor: bool = False  # drop the flat floor that it stands on
    largest: bool = False  # keep the largest connected body that is not a flat sheet
    center: bool = False  # the middle of the box comes to the origin
    scale: float = 1.0  # after centring
    facing: str = AUTO  # found from its shape; or none, +x, -x, +z, -z, degrees about +y from +z towards +x
    seed: int = 0


PRESETS = {"default": ReconstructConfig()}


def run(run: RunDir, config: ReconstructConfig, report: Report, *, file: Path, force: bool = False) -> None:
    """Make ``file`` the asset of the run. Raises ``BadInput``, ``SettingsDiffer`` (the run has another asset)."""
    require_file(file)
    gaussians = load_asset(file, config, report)
    usual = file.suffix.lower() in (".glb", ".gltf") and config.up == "y" and config.flip is None
    if run.put_asset(gaussians, str(file), force=force, report=report):
        report(Wrote(run.canonical_ply, f"{gaussians.num_gaussians} Gaussians, SH degree {gaussians.sh_degree}"))
        keep_facing(run, gaussians, config.facing, report, usual=usual)
    elif not keep_facing(run, gaussians, config.facing, report, usual=usual, force=force):
        report(Note(f"{run.path} already holds this asset; nothing to do."))


def load_asset(path: Path, config: ReconstructConfig, report: Report) -> Gaussians:
    """The Gaussians of a splat or mesh file, y up, cleaned and placed as ``config`` says."""
    _check(config)
    gaussians = _read(path, config, report)
    if config.flip is not None:
        gaussians = mirror(gaussians, config.flip)
    gaussians = turn_upright(gaussians, config.up)
    if config.up == "y" and looks_upside_down(gaussians):
        report(Note("Most of it lies at its top, as a floor does when y points down: --up-axis -y would turn it."))
    gaussians = _clean(gaussians, config, report)
    if config.center:
        gaussians = centre(gaussians)
    far = int((~gaussians.body).sum())
    if far:
        report(
            Caution(
                f"{far:,} of {gaussians.num_gaussians:,} Gaussians lie far outside the body and do not count for its "
                "size: --largest drops them."
            )
        )
    gaussians = snap_scales(gaussians)  # before it is scaled, see there
    return gaussians if config.scale == 1.0 else rescale(gaussians, config.scale)


def _check(config: ReconstructConfig) -> None:
    """Raise ``BadInput`` for settings that no file can meet."""
    parse_facing(config.facing)
    if config.num_gaussians < 1:
        raise BadInput(f"--num-gaussians must be at least 1, not {config.num_gaussians}.")
    if not 0.0 <= config.shading <= 1.0:
        raise BadInput(f"--shading must be from 0 to 1, not {config.shading:g}.")
    if len(config.crop) not in (0, 1, 4, 6):
        raise BadInput(
            f"--crop takes 1, 4 or 6 numbers, not {len(config.crop)}.",
            "Write --crop RADIUS, --crop X,Y,Z,RADIUS, or --crop X0,Y0,Z0,X1,Y1,Z1.",
        )
    if not 0.0 <= config.min_opacity < 1.0:
        raise BadInput(f"--min-opacity must be from 0 to below 1, not {config.min_opacity:g}.")


def _read(path: Path, config: ReconstructConfig, report: Report) -> Gaussians:
    """A splat, or samples of a mesh, in the file's own axes."""
    suffix = path.suffix.lower()
    if config.pose is not None:
        return _posed(path, config.pose, config, report)
    if config.texture is not None and suffix not in MESHES:
        raise BadInput(f"{path} is no mesh to put a texture on.", "Leave --texture away.")
    if not path.exists():
        raise BadInput(f"There is no file or folder {path}.", "Check the path.")
    if is_mesh(path, MESHES):
        return _sampled(path, config, report)
    if splat_format(path) is None:
        raise BadInput(
            f"{path} is neither a splat nor a mesh.", f"Splats: {', '.join(READERS)}. Meshes: {', '.join(MESHES)}."
        )
    return read_splat(path, report)


def _sampled(path: Path, config: ReconstructConfig, report: Report) -> Gaussians:
    """Samples of a mesh as it stands in its file."""
    from stages.gaussians.mesh import sample_mesh
    from stages.meshes.mesh import load_mesh, put_on

    _tell_poses(path, report)
    mesh = load_mesh(path)
    if config.texture is not None:
        mesh = put_on(mesh, Path(config.texture))
    elif not mesh.has_colors:
        report(
            Caution(
                f"{path} names no colours and becomes plain grey, of which a video model sees little. If it has "
                "a picture: --texture FILE"
            )
        )
    _tell_how(mesh.told, report)
    _tell_unused(path, mesh.unused, report, "A picture can be put on it: --texture FILE" if mesh.lacks_picture else "")
    return sample_mesh(mesh, config.num_gaussians, step_generator(config.seed, 0), _light(config))


def _light(config: ReconstructConfig) -> Light | None:
    """The light on a mesh: from what will be above when it is flipped and turned."""
    from stages.meshes.light import Light

    sign, axis = (-1.0 if config.up[0] == "-" else 1.0), "xyz".index(config.up[-1])
    if config.flip is not None and config.flip == config.up[-1]:
        sign = -sign
    up = tuple(sign if k == axis else 0.0 for k in range(3))
    return Light(config.shading, (up[0], up[1], up[2])) if config.shading > 0.0 else None


def _tell_how(told: tuple[str, ...], report: Report) -> None:
    """Say how a file was read, where that is not as it stands there."""
    for sentence in told:
        report(Note(sentence))


def _tell_unused(path: Path, unused: tuple[str, ...], report: Report, hint: str = "") -> None:
    """Say what a file names and cannot be used."""
    if unused:
        report(Caution(f"{path} has {'; '.join(unused)}. {hint}".strip()))


def _tell_poses(path: Path, report: Report) -> None:
    """Say which poses an animated file has: that without a clip was taken, which may be a T with the arms out."""
    from stages.meshes.gltf import SUFFIXES
    from stages.skeletons.rigged import clip_names

    names = clip_names(path) if path.suffix.lower() in SUFFIXES else []
    if names:
        plain = [name.rpartition("|")[2] for name in names]
        shown = ", ".join(plain[:8]) + (", ..." if len(plain) > 8 else "")
        report(Note(f"Taken in its bind pose, without its clips; --pose CLIP@SECONDS chooses another: {shown}."))
        at_ease = next((name for name in plain if "idle" in name.lower()), None)
        if at_ease is not None:
            report(Note(f"--pose {at_ease} is likely how it stands at ease."))


def _posed(path: Path, pose: str, config: ReconstructConfig, report: Report) -> Gaussians:
    """Samples of a ``.glb`` with a skeleton, in one of its poses."""
    from stages.meshes.gltf import SUFFIXES
    from stages.skeletons.rigged import read_rigged

    if config.texture is not None:
        raise BadInput("--texture does not go with --pose.", "Put the texture into the .glb.")
    if path.suffix.lower() not in SUFFIXES:
        raise BadInput(f"{path} has no poses.", "--pose is for .glb and .gltf files with a skeleton or clips.")
    rigged = read_rigged(path).shaped(pose)
    _tell_how(rigged.told, report)
    _tell_unused(path, rigged.unused, report)
    generator = step_generator(config.seed, 0)
    return rigged.gaussians(rigged.named_pose(pose), config.num_gaussians, generator, _light(config))


def _clean(gaussians: Gaussians, config: ReconstructConfig, report: Report) -> Gaussians:
    """Drop what the settings name, and say how much each of them dropped. Raises ``BadInput`` when nothing is left."""

    def drop(keep: Tensor, why: str) -> None:
        nonlocal gaussians
        dropped = int((~keep).sum())
        report(Note(f"{why}: {dropped:,} of {gaussians.num_gaussians:,} Gaussians dropped."))
        if dropped == gaussians.num_gaussians:
            raise BadInput(f"{why} drops every Gaussian.", "Give a wider limit.")
        gaussians = gaussians.select(keep) if dropped else gaussians

    if config.min_opacity > 0.0:
        drop(cleaning.opaque(gaussians, config.min_opacity), f"--min-opacity {config.min_opacity:g}")
    if config.max_size is not None:
        drop(cleaning.small(gaussians, config.max_size), f"--max-size {config.max_size:g}")
    if config.crop:
        drop(cleaning.inside(gaussians, config.crop), f"--crop {','.join(f'{number:g}' for number in config.crop)}")
    if config.drop_floor:
        floor = floor_of(gaussians)
        drop(torch.ones_like(gaussians.opacities, dtype=torch.bool) if floor is None else ~floor, "--drop-floor")
    if config.largest:
        drop(cleaning.largest_body(gaussians), "--largest")
    if not config.drop_floor and (floor := floor_of(gaussians)) is not None:
        report(
            Caution(
                f"{int(floor.sum()):,} of {gaussians.num_gaussians:,} Gaussians are a flat floor, which would move "
                "with the body: --drop-floor leaves it out."
            )
        )
    return gaussians
