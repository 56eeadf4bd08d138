"""The rig of a run."""

from __future__ import annotations

from stages.files import as_stored
from stages.run_dir import RunDir
from stages.run_dir.layout import RIG
from stages.skeletons.rig import Rig
from stages.skeletons.stored import rig_of_tensors


def load_rig(run: RunDir) -> Rig:
    """The rig of ``run``, in the units of its asset. Raises ``MissingStage``: rig was not run."""
    stored = run.require(RIG.folder).read_result(RIG.result)
    with as_stored(f"The rig of {run.path}"):
        return rig_of_tensors(*stored)
