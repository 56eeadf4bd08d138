"""A clip of the rigged file that an asset was made from, as the asset's motion: the truth, to film and to test with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn

from stages.gaussians import Frames, Gaussians
from stages.gaussians.normalised import Placement
from stages.meshes.gltf import SUFFIXES
from stages.metrics.trajectory import is_loop
from stages.motion.interface import Regularizer
from stages.motion.timing import Timing
from stages.moving.asset import MovingAsset
from stages.moving.truth import FileClip, find_clip, split_clip
from stages.run_dir import RunDir

MOMENTS = 9
"""At which it is looked whether the clip is a loop."""

AT_REST = 1e-3
"""Half sides of the asset's box by which the first frame may be off and still be the asset at rest. [ours]"""


class ClipMotion(nn.Module):
    """A clip of a file; nothing of it is learnt. A ``stages.motion.interface.Motion`` in normalised units."""

    kind = "clip"

    def __init__(self, clip: FileClip, placement: Placement, rest: Tensor) -> None:
        super().__init__()
        self.clip, self.placement, self.rest = clip, placement, rest  # rest [N, 3] normalised
        moments = self._means(torch.linspace(0.0, 1.0, MOMENTS))
        self.cyclic = is_loop(moments)
        self.starts_at_rest = float((moments[0] - rest.cpu()).norm(dim=-1).median()) < AT_REST

    def at(self, asset: Gaussians, frame_times: Tensor) -> Frames:
        """See ``Motion.at``."""
        return Frames(asset, asset.means + self.displacements(asset.means, frame_times))

    def displacements(self, points: Tensor, frame_times: Tensor) -> Tensor:
        """See ``Motion.displacements``. Points that are no Gaussians go where the nearest one goes."""
        moves = self._means(frame_times).to(self.rest) - self.rest
        if points.shape == self.rest.shape and bool((points == self.rest).all()):
            return moves
        nearest = cKDTree(self.rest.cpu().numpy()).query(points.detach().cpu().numpy())[1]
        return moves[:, torch.from_numpy(nearest).to(moves.device)]

    def _means(self, frame_times: Tensor) -> Tensor:
        """[T, N, 3] normalised, on the CPU."""
        return self.placement.points(self.clip.means(self.clip.seconds * frame_times.cpu().double())).float()

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """See ``Motion.parameter_groups``: none."""
        return []

    def named_parameters(self, *_: Any, **__: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """See ``Motion.named_parameters``: none."""
        return iter(())

    def regularizers(self, asset: Gaussians, config: Any) -> Sequence[Regularizer]:
        """See ``Motion.regularizers``: none."""
        return []

    def tensors(self) -> dict[str, Tensor]:
        """See ``Motion.tensors``: all of it is in the file."""
        return {}

    def metadata(self) -> dict[str, str]:
        """See ``Motion.metadata``."""
        flags = {"cyclic": self.cyclic, "starts_at_rest": self.starts_at_rest}
        return {"kind": self.kind, "units": "normalised"} | {name: str(flag).lower() for name, flag in flags.items()}


def names_clip(source: str) -> bool:
    """Whether ``source`` is ``FILE.glb#CLIP``, or a file with a single clip, and no folder of the run."""
    return split_clip(source)[0].suffix.lower() in SUFFIXES


def load_clip(run: RunDir, source: str, device: str) -> MovingAsset:
    """The asset of ``run`` as the clip ``source``, ``FILE.glb#CLIP``, moves it.

    Raises:
        MissingStage: the run has no asset.
        BadInput: no such file or clip, or the file is not the asset's.
    """
    path, name = split_clip(source)
    in_file = run.load_asset()
    clip = find_clip(path, name, in_file.means, option="--source")
    placement, original = Placement.of(in_file), in_file.to(device)
    gaussians = Placement.of(original).normalised(original)
    return MovingAsset(
        gaussians,
        ClipMotion(clip, placement, gaussians.means),
        f"{path.stem}_{clip.short_name}",
        "",
        placement=Placement.of(original),
        original=original,
        timing=Timing(clip.seconds),
    )
