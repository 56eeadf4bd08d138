"""One job as plain data: an asset, what it does, and settings as they were typed. The same for every engine."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any

LONGEST_WORD = 40
"""Letters of the asset's name, and of the sentence, in a job's name."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One asset that does one thing."""

    name: str  # of its run directory
    asset: str  # as the table has it
    file: str  # where that is: a path from anywhere, or a URL
    prompt: str
    settings: Mapping[str, str] = field(default_factory=dict)  # column -> text, as ``--set`` takes it

    @property
    def identity(self) -> dict[str, Any]:
        """What makes it another job when it changes; where the file lies does not."""
        return {"asset": self.asset, "prompt": self.prompt, "settings": dict(sorted(self.settings.items()))}

    def as_json(self) -> dict[str, Any]:
        """The job as JSON holds it."""
        return asdict(self)

    @staticmethod
    def of_json(value: Mapping[str, Any]) -> Job:
        """The job of ``as_json``. Raises ``TypeError``, ``KeyError`` for other JSON."""
        return Job(**{one.name: value[one.name] for one in fields(Job)})


def name_of(asset: str, identity: Mapping[str, Any]) -> str:
    """As in "deer-a-jumping-deer-1f2e3d4c": the same whenever the job is the same, legal on every system."""
    words = [slug(stem_of(asset)), slug(str(identity.get("prompt", "")))]
    return "-".join([*filter(None, words), short_hash(identity)])


def stem_of(asset: str) -> str:
    """The name of a file, or of what a URL names, without its suffix."""
    return PurePosixPath(asset.replace("\\", "/").rstrip("/")).stem


def slug(text: str) -> str:
    """``text`` in small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:LONGEST_WORD].rstrip("-")


def short_hash(value: Mapping[str, Any]) -> str:
    """Eight hex digits that differ where ``value`` does."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]
