"""The networks that ``eval`` looks with, loaded once for all runs; those that were not asked for, or are not here, are
None."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.errors import BadInput
from stages.metrics.builtin import (
    EFFICIENTNET_WEIGHTS,
    LPIPS_WEIGHTS,
    EfficientNetLite0,
    ShiftTolerantLpips,
    packaged,
)

if TYPE_CHECKING:
    from stages.metrics.aesthetic import AestheticHead
    from stages.metrics.inception import Inception
    from stages.metrics.pretrained import ClipEncoder, Dino
    from stages.metrics.scripted import I3D, Amt, Raft


@dataclass(frozen=True, kw_only=True)
class NetworkPlaces:
    """Where each network is to be found."""

    clip: str | None = None  # folder or hub id
    aesthetic: str | None = None  # file of weights; reads what CLIP makes of pictures
    dino: str | None = None  # folder or hub id
    inception: str | None = None  # file of weights
    i3d: str | None = None  # TorchScript
    raft: str | None = None  # TorchScript
    amt: str | None = None  # TorchScript
    videophy: str | None = None  # folder; cannot be run yet, see ``catalogue.VIDEOPHY``
    builtin: bool = True  # whether those of the extra ``metrics`` look too, where it is installed


@dataclass(frozen=True, kw_only=True)
class Networks:
    """What there is to look with."""

    clip: ClipEncoder | None = None
    aesthetic: AestheticHead | None = None
    dino: Dino | None = None
    inception: Inception | None = None
    i3d: I3D | None = None
    raft: Raft | None = None
    amt: Amt | None = None
    lpips: ShiftTolerantLpips | None = None
    efficientnet: EfficientNetLite0 | None = None


def load_networks(places: NetworkPlaces, device: str) -> Networks:
    """Load what ``places`` names.

    Raises:
        BadInput: a file or folder that holds something else, or is damaged.
        NotAvailable: no such folder, and no such model on the hub.
    """
    if places.videophy and not Path(places.videophy).is_dir():
        raise BadInput(f"There is no folder {places.videophy}.", "Check the path of --videophy.")
    found: dict[str, object] = {}
    if places.aesthetic:
        from stages.metrics.aesthetic import AestheticHead

        if not places.clip:
            raise BadInput(
                "--aesthetic judges pictures by what CLIP makes of them, and no CLIP is named.",
                "Add: --clip openai/clip-vit-large-patch14",
            )
        found["aesthetic"] = AestheticHead(Path(places.aesthetic))
    if places.clip or places.dino:  # transformers takes seconds to import
        from stages.metrics.pretrained import ClipEncoder, Dino

        found["clip"] = ClipEncoder(places.clip, device) if places.clip else None
        found["dino"] = Dino(places.dino, device) if places.dino else None
        if found.get("aesthetic") is not None:
            _must_fit(found["aesthetic"], found["clip"])  # type: ignore[arg-type]
    if places.inception:
        from stages.metrics.inception import Inception

        found["inception"] = Inception(Path(places.inception), device)
    if places.i3d or places.raft or places.amt:
        from stages.metrics.scripted import I3D, Amt, Raft

        found["i3d"] = I3D(Path(places.i3d), device) if places.i3d else None
        found["raft"] = Raft(Path(places.raft), device) if places.raft else None
        found["amt"] = Amt(Path(places.amt), device) if places.amt else None
    if places.builtin:
        lpips, efficientnet = packaged(LPIPS_WEIGHTS), packaged(EFFICIENTNET_WEIGHTS)
        found["lpips"] = ShiftTolerantLpips(lpips, device) if lpips else None
        found["efficientnet"] = EfficientNetLite0(efficientnet, device) if efficientnet else None
    return Networks(**found)  # type: ignore[arg-type]


def _must_fit(head: AestheticHead, clip: ClipEncoder) -> None:
    """Raise ``BadInput`` when a head reads other features than this CLIP gives."""
    if head.width != clip.width:
        raise BadInput(
            f"The aesthetic head {head.name} reads {head.width} features, and {clip.backbone} gives {clip.width}.",
            "LAION's heads are for: --clip openai/clip-vit-large-patch14",
        )
