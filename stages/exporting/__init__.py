"""A moving asset in the formats of other tools: one module a format, and the ``Clip`` that they write."""

from stages.exporting.clip import Clip

__all__ = ["Clip"]
