"""One run: a folder in which the stages of one animation meet.

::

    RUN/
      run.json               format version, asset hash, versions, when and on what
      asset/canonical.ply    the asset every stage works on
      asset/facing.json      where it faces; without it, +z
      asset/preview.png      a picture that shows that
      reconstruction/        a ``StageFolder`` too, when the asset was fitted to photos
      rig/ lora/ motion/ refined/ tracked/ one ``StageFolder`` a stage
      renders/ eval/ tensorboard/
      .lock  .lock.json      the process that is working here, see ``lock``
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.errors import BadInput, CorruptCheckpoint, MissingStage, NotFinite, SettingsDiffer
from stages.events import Caution, Report, silent
from stages.files import file_hash, read_json, write_json, writing
from stages.run_dir.layout import FIT, FORMAT, MADE_BY, PIPELINE, TAKEN_OVER
from stages.run_dir.lock import hold
from stages.run_dir.provenance import versions
from stages.run_dir.stage_folder import StageFolder

if TYPE_CHECKING:
    from stages.gaussians import Gaussians
    from stages.gaussians.facing import Facing

FACING = "facing.json"


def resolve_run_path(option: Path | None) -> Path:
    """``--run`` if given, else ``$ANIMUS3D_RUN``, else ``./run``."""
    return option or Path(os.environ.get("ANIMUS3D_RUN") or "run")


class RunDir:
    """A run directory; nothing is created before something is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        manifest = read_json(path / "run.json")
        if manifest is not None and manifest.get("format") not in range(1, FORMAT + 1):
            raise BadInput(
                f"{path} was made by a newer animus3d (format {manifest.get('format')}, here {FORMAT}).",
                "Update animus3d, or choose another --run.",
            )

    @property
    def canonical_ply(self) -> Path:
        """The asset of the run."""
        return self.path / "asset" / "canonical.ply"

    @property
    def facing_png(self) -> Path:
        """A picture of where the asset faces."""
        return self.path / "asset" / "preview.png"

    def kept_facing(self) -> Facing | None:
        """Where the asset faces; None when the run does not say. Raises ``CorruptCheckpoint``."""
        from stages.gaussians.facing import Facing

        path = self.path / "asset" / FACING
        kept = read_json(path)
        if kept is None:
            return None
        try:
            degrees, confidence = kept["degrees"], kept["confidence"]
            return Facing(
                degrees=None if degrees is None else float(degrees),
                confidence=None if confidence is None else float(confidence),
            )
        except (KeyError, TypeError, ValueError):
            raise CorruptCheckpoint(f"{path} does not say where the asset faces.", "Remove it.") from None

    def facing(self) -> Facing:
        """Where the asset faces: +z, of unknown confidence, when the run does not say. Raises ``CorruptCheckpoint``."""
        from stages.gaussians.facing import Facing

        return self.kept_facing() or Facing(degrees=0.0)

    def put_facing(self, facing: Facing) -> None:
        """Keep where the asset faces, and the short hash of the picture that shows it, where there is one."""
        kept = {"degrees": facing.degrees, "confidence": facing.confidence}
        picture = {"preview": file_hash(self.facing_png)} if self.facing_png.exists() else {}
        write_json(self.path / "asset" / FACING, {**kept, **picture}, seal=True)

    def stage(self, name: str) -> StageFolder:
        """The folder of a stage: "reconstruction", "lora", "motion" or "refined"."""
        return StageFolder(self.path / name)

    def require(self, name: str) -> StageFolder:
        """The folder of a stage that must be complete. Raises ``MissingStage``."""
        folder = self.stage(name)
        if not folder.is_complete():
            raise MissingStage(f"{self.path} has no finished {MADE_BY[name]}.", f"Run first: animus3d {MADE_BY[name]}")
        return folder

    def hashes(self) -> dict[str, str]:
        """Short hashes of what the run holds now, by the names under which stages note what they read."""
        found = {"asset": (read_json(self.path / "run.json") or {}).get("asset")}
        if self.canonical_ply.exists():
            found["facing"] = f"{self.facing().used_deg:g}"  # by which those that see points note it
        for stage in PIPELINE:
            folder = self.stage(stage.folder)
            if folder.result_path(stage.result).exists():
                found[stage.folder] = folder.result_hash(stage.result)
        return {name: value for name, value in found.items() if value}

    def changed_inputs(self, name: str) -> list[str]:
        """What the stage in the folder ``name`` was made from and is another now, by name."""
        read = (read_json(self.path / name / "config.json") or {}).get("inputs", {})
        now = self.hashes()
        return [key for key, value in read.items() if now.get(key, value) != value]

    def load_asset(self) -> Gaussians:
        """The canonical asset.

        Raises:
            MissingStage: the run has none.
            CorruptCheckpoint: it is not the one that ``run.json`` tells of.
        """
        from stages.gaussians.formats.ply import read_ply

        if not self.canonical_ply.exists():
            raise MissingStage(f"{self.path} has no asset.", "Run first: animus3d reconstruct FILE, or name the .ply.")
        self._check_asset()
        return read_ply(self.canonical_ply)

    def asset_is_damaged(self) -> bool:
        """Whether the asset is another than ``run.json`` says; not so where it says nothing."""
        said = (read_json(self.path / "run.json") or {}).get("asset")
        return said is not None and self.canonical_ply.exists() and self.asset_hash() != said

    def picture_is_damaged(self) -> bool:
        """Whether the picture of the asset is not as it was written."""
        said = (read_json(self.path / "asset" / FACING) or {}).get("preview")
        return said is not None and (not self.facing_png.exists() or file_hash(self.facing_png) != said)

    def _check_asset(self) -> None:
        if self.asset_is_damaged():
            file = (read_json(self.path / "run.json") or {}).get("source", "FILE")
            raise CorruptCheckpoint(
                f"{self.canonical_ply} is damaged: it is not what was written.",
                f"Make it again, the rest stays: animus3d reconstruct {file} --run {self.path}",
            )

    def source(self) -> Path | None:
        """The file that the asset was made from; None when that is not recorded.

        It is found from wherever a command runs, and where the run and the file were moved together. What is not there
        any more is called as it was named then.
        """
        manifest = read_json(self.path / "run.json") or {}
        recorded, from_run = manifest.get("source"), manifest.get("source_from_run")
        if recorded is None:
            return None
        named = Path(str(recorded))
        if from_run is None:
            return named
        there = self.path / str(from_run)
        if not there.exists() or (named.exists() and named.samefile(there)):
            return named
        return Path(os.path.normpath(there.absolute()))

    def asset_hash(self) -> str:
        """Short hash of the canonical asset's file."""
        return file_hash(self.canonical_ply)

    def put_asset(
        self, gaussians: Gaussians, source: str, *, force: bool, fitted: bool = False, report: Report = silent
    ) -> bool:
        """Make ``gaussians`` the asset of the run; False when it already is. ``fitted``: ``reconstruction/`` made it.

        Where it is the asset of the run and its file is damaged, the file is written again, and ``report`` is told.

        Raises:
            SettingsDiffer: the run has another asset and ``force`` is not set. With ``force`` the asset is replaced and
                the results made from the old one are removed.
        """
        import torch

        from stages.gaussians.formats.ply import write_ply

        for name, tensor in vars(gaussians).items():
            if torch.is_tensor(tensor) and not tensor.isfinite().all():
                raise NotFinite(f"The asset's {name} are NaN or infinite; {self.path} was left as it was.")
        candidate = self.path / "asset" / ".candidate.ply"
        with writing(candidate):
            candidate.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_ply(candidate, gaussians)
            same = self.canonical_ply.exists() and file_hash(candidate) == self.asset_hash()
            if same:
                if not self._tells_of(self.canonical_ply):
                    self._write_manifest(source)  # a command was killed just before it did
                return False
            if self.canonical_ply.exists() and self._tells_of(candidate):
                report(Caution(f"{self.canonical_ply} was damaged and is made again; what was made from it stays."))
                with writing(self.canonical_ply):
                    candidate.replace(self.canonical_ply)
                return False
            if self.canonical_ply.exists() and not force:
                known = (read_json(self.path / "run.json") or {}).get("source", "another file")
                which = f"{source}, taken over otherwise" if known == source else f"{known}, not {source}"
                raise SettingsDiffer(
                    f"{self.path} already holds another asset ({which}).",
                    "Use --force to replace it and what was made from it, or --run NEW.",
                )
            with writing(self.canonical_ply):
                for name in MADE_BY if fitted else (FIT.folder, *MADE_BY):
                    shutil.rmtree(self.path / name, ignore_errors=True)
                for name in (FACING, self.facing_png.name):  # of another asset
                    (self.path / "asset" / name).unlink(missing_ok=True)
                candidate.replace(self.canonical_ply)
        finally:
            candidate.unlink(missing_ok=True)
        self._write_manifest(source)
        return True

    def _tells_of(self, asset: Path) -> bool:
        """Whether ``run.json`` is about this asset."""
        return (read_json(self.path / "run.json") or {}).get("asset") == file_hash(asset)

    def _write_manifest(self, source: str, file: Path | None = None) -> None:
        """``source`` as it was named; ``file`` is where it is, when that is not the same."""
        write_json(
            self.path / "run.json",
            {
                "format": FORMAT,
                "asset": self.asset_hash(),
                "source": source,
                "source_from_run": _way(self.path, file or Path(source)),
                "created": time.strftime("%FT%TZ", time.gmtime()),
                "versions": versions(),
                "python": platform.python_version(),
                "machine": platform.machine(),
            },
            seal=True,
        )

    def copy_from(self, source: RunDir, before: str) -> None:
        """Begin this run with the asset of ``source`` and its stages up to, not including, ``before``.

        What this run already has is kept, so that the same command can be given again after an interruption.

        Raises:
            MissingStage: ``source`` has no asset.
            SettingsDiffer: this run already has another one.
        """
        if not source.canonical_ply.exists():
            raise MissingStage(f"{source.path} has no asset to start from.", "Name a run that reconstruct has filled.")
        if self.canonical_ply.exists() and self.asset_hash() != source.asset_hash():
            raise SettingsDiffer(f"{self.path} already holds another asset.", "Choose a new --run for --from.")
        with writing(self.path):
            if not self.canonical_ply.exists():
                _copy_folder(source.canonical_ply.parent, self.canonical_ply.parent)
            for stage in TAKEN_OVER:
                if stage.command == before:
                    break
                if source.stage(stage.folder).is_complete() and not (self.path / stage.folder).exists():
                    _copy_folder(source.path / stage.folder, self.path / stage.folder)
        if (self.path / "run.json").exists():
            return
        manifest: dict[str, Any] = read_json(source.path / "run.json") or {}
        self._write_manifest(str(manifest.get("source", source.path)), source.source())

    @contextmanager
    def lock(self, command: str, report: Report = silent) -> Iterator[None]:
        """Hold the run for ``command``. Raises ``RunLocked`` when another process does."""
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with hold(self.path, command, report):
            yield


def _way(run: Path, file: Path) -> str | None:
    """The way from a run to a file: relative, or absolute where there is none (another drive); None for a file that is
    not there."""
    if not file.exists():
        return None
    try:
        return Path(os.path.relpath(file.resolve(), run.resolve())).as_posix()
    except ValueError:
        return str(file.resolve())


SHARED = (".ply", ".safetensors")
"""Files that are replaced and never written in place: a run that begins from another may share them."""


def _copy_folder(source: Path, destination: Path) -> None:
    """Copy beside, then rename: an interrupted copy is never taken for a whole one."""
    temporary = destination.with_name(f".{destination.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary, ignore=shutil.ignore_patterns(".*"), copy_function=_share)
    shutil.rmtree(destination, ignore_errors=True)  # what a failed command left
    temporary.replace(destination)


def _share(source: str, destination: str) -> None:
    """Give a file a second name where the system can, so that its bytes are on the disk once; else copy it."""
    if source.endswith(SHARED):
        with suppress(OSError, NotImplementedError):
            os.link(source, destination)
            return
    shutil.copy2(source, destination)
