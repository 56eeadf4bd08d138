"""One run: a folder in which the stages of one animation meet.

::

    RUN/
      run.json               format version, asset hash, versions, when and on what
      asset/canonical.ply    the asset every stage works on
      reconstruction/        a ``StageFolder`` too, when the asset was fitted to photos
      lora/ motion/ refined/ one ``StageFolder`` a stage
      renders/ eval/ tensorboard/
      .lock                  the process that is working here
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.errors import BadInput, MissingStage, RunLocked, SettingsDiffer
from stages.files import file_hash, read_json, write_json, writing
from stages.run_dir.provenance import versions
from stages.run_dir.stage_folder import StageFolder

if TYPE_CHECKING:
    from stages.gaussians import Gaussians

FORMAT = 1
"""Version of the run directory's format; a run of a newer one is refused."""

MADE_BY = {"lora": "fit-lora", "motion": "distill", "refined": "refine"}
"""Stage folder -> the command that fills it."""

FITTED = "reconstruction"
"""The stage folder of ``reconstruct`` from photos."""


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

    def stage(self, name: str) -> StageFolder:
        """The folder of a stage: "reconstruction", "lora", "motion" or "refined"."""
        return StageFolder(self.path / name)

    def require(self, name: str) -> StageFolder:
        """The folder of a stage that must be complete. Raises ``MissingStage``."""
        folder = self.stage(name)
        if not folder.is_complete():
            raise MissingStage(f"{self.path} has no finished {MADE_BY[name]}.", f"Run first: animus3d {MADE_BY[name]}")
        return folder

    def load_asset(self) -> Gaussians:
        """The canonical asset. Raises ``MissingStage`` when the run has none."""
        from stages.gaussians.formats.ply import read_ply

        if not self.canonical_ply.exists():
            raise MissingStage(f"{self.path} has no asset.", "Run first: animus3d reconstruct FILE, or name the .ply.")
        return read_ply(self.canonical_ply)

    def source(self) -> Path | None:
        """The file that the asset was made from, as it was named then; None when that is not recorded."""
        recorded = (read_json(self.path / "run.json") or {}).get("source")
        return None if recorded is None else Path(str(recorded))

    def asset_hash(self) -> str:
        """Short hash of the canonical asset's file."""
        return file_hash(self.canonical_ply)

    def put_asset(self, gaussians: Gaussians, source: str, *, force: bool, fitted: bool = False) -> bool:
        """Make ``gaussians`` the asset of the run; False when it already is. ``fitted``: ``reconstruction/`` made it.

        Raises:
            SettingsDiffer: the run has another asset and ``force`` is not set. With ``force`` the asset is replaced and
                the results made from the old one are removed.
        """
        from stages.gaussians.formats.ply import write_ply

        candidate = self.path / "asset" / ".candidate.ply"
        with writing(candidate):
            candidate.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_ply(candidate, gaussians)
            same = self.canonical_ply.exists() and file_hash(candidate) == self.asset_hash()
            if same:
                return False
            if self.canonical_ply.exists() and not force:
                known = (read_json(self.path / "run.json") or {}).get("source", "another file")
                which = f"{source}, taken over otherwise" if known == source else f"{known}, not {source}"
                raise SettingsDiffer(
                    f"{self.path} already holds another asset ({which}).",
                    "Use --force to replace it and what was made from it, or --run NEW.",
                )
            with writing(self.canonical_ply):
                for name in MADE_BY if fitted else (FITTED, *MADE_BY):
                    shutil.rmtree(self.path / name, ignore_errors=True)
                candidate.replace(self.canonical_ply)
        finally:
            candidate.unlink(missing_ok=True)
        self._write_manifest(source)
        return True

    def _write_manifest(self, source: str) -> None:
        write_json(
            self.path / "run.json",
            {
                "format": FORMAT,
                "asset": self.asset_hash(),
                "source": source,
                "created": time.strftime("%FT%TZ", time.gmtime()),
                "versions": versions(),
                "python": platform.python_version(),
                "machine": platform.machine(),
            },
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
            for name, command in MADE_BY.items():
                if command == before:
                    break
                if source.stage(name).is_complete() and not (self.path / name).exists():
                    _copy_folder(source.path / name, self.path / name)
        if (self.path / "run.json").exists():
            return
        manifest: dict[str, Any] = read_json(source.path / "run.json") or {}
        self._write_manifest(str(manifest.get("source", source.path)))

    @contextmanager
    def lock(self, command: str) -> Iterator[None]:
        """Hold the run for ``command``. Raises ``RunLocked`` when another process does.

        The lock is the operating system's and ends with its process; the text in the file only says who it is.
        """
        path = self.path / ".lock"
        with writing(path):
            self.path.mkdir(parents=True, exist_ok=True)
            handle = path.open("a+b", buffering=0)  # unbuffered: a full disk is told at the write, not at close
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.seek(0)
                holder = handle.read().decode().strip() or "another process"
                raise RunLocked(
                    f"{self.path} is in use by {holder}.", "Wait for it, or choose another --run."
                ) from None
            with writing(path):
                handle.truncate(0)
                handle.write(f"animus3d {command} (pid {os.getpid()})".encode())
            yield


def _copy_folder(source: Path, destination: Path) -> None:
    """Copy beside, then rename: an interrupted copy is never taken for a whole one."""
    temporary = destination.with_name(f".{destination.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary, ignore=shutil.ignore_patterns(".*"))
    shutil.rmtree(destination, ignore_errors=True)  # what a failed command left
    temporary.replace(destination)
