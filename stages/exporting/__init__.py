"""A moving asset in the formats of other tools: one module a format, and the ``Recording`` that they write."""

from stages.exporting.recording import Recording

__all__ = ["Recording"]
