"""The run directory: where stages meet. ``run_dir`` has the folder, ``layout`` what stands where in it."""

from stages.run_dir.run_dir import RunDir, resolve_run_path
from stages.run_dir.stage_folder import Begin, StageFolder

__all__ = ["Begin", "RunDir", "StageFolder", "resolve_run_path"]
