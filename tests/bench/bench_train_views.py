"""How well a small new model of views learns two bodies: gain over frame 0 repeated, and whether views agree.

    python -m tests.bench.bench_train_views [--steps 1800] [--learning-rate 3e-3]

A fox and a deer make two motions each under one sentence and from one picture: which is left open, so that views that
are sampled alone choose each for itself. All four clips are trained on. The last line is JSON; of each sample:

    gains_db        how much nearer it is to the nearer motion than its first frame is
    disagreement_*  how much farther one motion for all views is than one for each, as a share of how far the motions
                    are apart. A sample that stands still, or half-way between both, does not disagree: so see
    choices_*       where each view lies between the motions, -1 the first, 1 the second
    one_mind_*      the square of the views' mean choice over their mean square: 1 where all choose alike and as far,
                    a quarter in the mean where four choose by chance
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections import defaultdict
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from stages.assets import asset_path
from stages.events import silent
from stages.objectives.sample_views import sample_views
from stages.priors.multiview import MVVDMPrior
from stages.priors.prior import Condition
from stages.run_dir import StageFolder
from stages.skeletons.rigged import read_rigged
from stages.train_views import TrainViewsConfig, begin_folder, load_views, train
from stages.training.view_bank import Seen, ViewBank, read_view_bank, write_shard
from stages.zoo.clip import Clip
from stages.zoo.folder import FolderClips
from tests.bench.record import finish

TABLE = """file,clip,caption,motion,rest
Fox.glb,Walk,a fox moves,moves,Survey
Fox.glb,Run,a fox moves,moves,Survey
Deer.glb,AnimalArmature|Gallop,a deer moves,moves,AnimalArmature|Idle
Deer.glb,AnimalArmature|Attack_Kick,a deer moves,moves,AnimalArmature|Idle
"""


def main() -> None:
    """Train, sample, write ``results/train_views.json``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        data = write_data(Path(name) / "data")
        began = time.process_time()
        prior, bank = learnt(data, Path(name) / "prior", options.steps, options.learning_rate)
        seconds = time.process_time() - began
        found = figures(prior, bank)
    medians = {f"median {name}": median(values) for name, values in found.items() if not name.startswith("choices")}
    mean = {f"mean {name}": fmean(values) for name, values in found.items() if not name.startswith("choices")}
    result = {**found, **medians, **mean, "cpu_seconds": seconds}
    finish("train_views", {**vars(options), **result}, "python -m tests.bench.bench_train_views")


def write_data(folder: Path) -> Path:
    """The two bodies and their table."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("Fox.glb", "Deer.glb"):
        shutil.copy(asset_path("rigged", name), folder)
    (folder / "captions.csv").write_text(TABLE)
    return folder


def bodies(data: Path, num_frames: int) -> list[Clip]:
    """Each line's clip of a body that always looks the same: the two of one body begin with one picture."""
    clips = []
    for line in FolderClips(data).lines():
        file = read_rigged(data / line.file)
        rest = file.pose(line.rest, torch.zeros(1))
        body = file.body(rest, 600, torch.Generator().manual_seed(0))
        times = torch.linspace(0.0, 0.7, num_frames) * file.clip_seconds(line.clip)
        clips.append(Clip(body.from_rest(file.pose(line.clip, times)), line.caption, line.motion))
    return clips


def decibels(found: Tensor, truth: Tensor) -> Tensor:
    """How much nearer ``found`` is to ``truth`` than its first frame is, in all later frames; [V, T, H, W, 3] each."""
    still = (truth[:, :1] - truth)[:, 1:].square().mean()
    return 10.0 * torch.log10(still / (found - truth)[:, 1:].square().mean())


def disagreement(found: Tensor, truths: list[Tensor]) -> float:
    """How much more error there is when one truth is to explain all views than when each view takes its own, as a
    share of how far the truths are apart; 0 when the views tell of one motion."""
    errors = torch.stack([(found - truth)[:, 1:].square().mean(dim=(1, 2, 3, 4)) for truth in truths])  # [M, V]
    apart = (truths[0] - truths[1])[:, 1:].square().mean()
    return float((errors.mean(dim=1).min() - errors.min(dim=0).values.mean()) / apart)


def learnt(data: Path, out: Path, steps: int, learning_rate: float) -> tuple[MVVDMPrior, ViewBank]:
    """A new model after some steps, and what it was taught: four clips of four frames of 16 pixels."""
    config = TrainViewsConfig(
        steps=steps, data=str(data), batch_size=2, learning_rate=learning_rate, num_frames=4, size_px=16,
        widths=(64, 64), base_share=0.7, checkpoint_every=steps, ema_decay=0.98, weight_decay=0.0, text_dropout=0.0,
    )  # fmt: skip
    begin_folder(out, config, FolderClips(data))
    prior = load_views(str(out), config)
    write_shard(out / "clips.safetensors", prior, bodies(data, 4), [60.0] * 4)
    bank = read_view_bank([out / "clips.safetensors"])
    (out / "training").mkdir()
    train(out, StageFolder(out / "training"), config, prior, bank, 0, silent)
    return load_views(str(out), config), bank


def choices(found: Tensor, truths: list[Tensor]) -> Tensor:
    """Where each view of ``found`` lies between two ``truths``, along the line from one to the other: [V]."""
    line, middle = (truths[1] - truths[0])[:, 1:].flatten(1), 0.5 * (truths[0] + truths[1])
    return 2.0 * ((found - middle)[:, 1:].flatten(1) * line).sum(dim=1) / line.square().sum(dim=1)


def one_mind(chosen: Tensor) -> float:
    """How much of the choices [V] is one for all views, 0 to 1."""
    return float(chosen.mean() ** 2 / chosen.square().mean())


def figures(prior: MVVDMPrior, bank: ViewBank, seeds: int = 4) -> dict[str, list[Any]]:
    """See the module: of joint samples, and of samples of each view alone."""
    found: dict[str, list[Any]] = defaultdict(list)
    for first in (0, 2):
        seen = bank.read(torch.tensor([first, first + 1]))
        truths = [prior.decode_views(latents[None]) for latents in seen.latents]
        found["choices_still"].append([round(one, 2) for one in choices(truths[0][:, :1], truths).tolist()])
        for seed in range(seeds):
            together = prior.decode_views(sampled(prior, seen, seed, slice(None)))
            apart = torch.cat([sampled(prior, seen, 100 * seed + v + 1, slice(v, v + 1)) for v in range(4)], dim=1)
            found["gains_db"].append(round(max(float(decibels(together, truth)) for truth in truths), 3))
            for name, sample in (("joint", together), ("alone", prior.decode_views(apart))):
                chosen = choices(sample, truths)
                found[f"disagreement_{name}"].append(round(disagreement(sample, truths), 4))
                found[f"choices_{name}"].append([round(choice, 2) for choice in chosen.tolist()])
                found[f"one_mind_{name}"].append(round(one_mind(chosen), 3))
    return dict(found)


def sampled(prior: MVVDMPrior, seen: Seen, seed: int, views: slice) -> Tensor:
    """Some views of what the first of ``seen`` may become, sampled together."""
    text = prior.encode_text(seen.captions[:1])
    told = Condition(text, seen.latents[:1, views, :, 0], seen.appearance[:1, views, None], seen.cameras[0, views])
    generator = torch.Generator().manual_seed(seed)
    return sample_views(prior, told, told, generator, steps=20, guidance=1.0, freeinit=1)


if __name__ == "__main__":
    main()
