"""Videos that a motion is to follow: filmed, drawn, or sampled from a prior."""

from stages.guides.guide import Guide

__all__ = ["Guide"]
