"""The run directory: where stages meet. See ``run_dir.py`` for the layout."""

from stages.run_dir.run_dir import FITTED, MADE_BY, RunDir, resolve_run_path
from stages.run_dir.stage_folder import Begin, StageFolder

__all__ = ["FITTED", "MADE_BY", "Begin", "RunDir", "StageFolder", "resolve_run_path"]
