"""What commands use of ``stages.assignments``."""

from __future__ import annotations

from stages.assignments import build_config, full_name, setting_names

__all__ = ["build_config", "full_name", "setting_names"]
