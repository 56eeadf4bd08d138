"""train-prior --kind points: the points prior, trained from moving bodies in 3D.

    animus3d train-prior --kind points --out my-prior

1. Draw a bank of examples: points of rigged and procedural bodies, and where they go (``stages.training.point_bank``).
2. Train the network: first on noise alone, so that loops settle on one phase, then on all noise levels.
3. Keep an exponential moving average of the weights: that is what is saved.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from stages.conventions import step_generator
from stages.errors import BadInput
from stages.events import Finished, Note, Progress, Report, Started, Wrote
from stages.priors.points.model import PointsModel, Verb
from stages.priors.points.network import AnimusPointsModel
from stages.priors.points.prior import PointsPrior
from stages.run_dir import StageFolder
from stages.run_dir.optimiser_state import optimisation_tensors, restore_optimisation
from stages.settings import check
from stages.training.point_bank import Examples, PointBank, TrainingBody, read_bank, training_bodies, write_bank
from stages.training.points import draw_batch, learning_rate_at, new_optimisers, training_loss
from stages.zoo.bodies import bodies


@dataclass(frozen=True, kw_only=True)
class TrainPointsConfig:
    """Settings of ``train-prior --kind points``. All [ours]."""

    steps: int = 4000
    seed: int = 0
    num_examples: int = 24_000
    batch_size: int = 24
    num_points: int = 128  # of each example that a step sees
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    ema_decay: float = 0.995
    flow_from: float = 0.55  # share of the steps after which all noise levels are learnt
    width: int = 192
    num_layers: int = 6
    checkpoint_every: int = 100
    minutes: float | None = None  # after which it stops at a checkpoint; the same command goes on

    def __post_init__(self) -> None:
        check(self, steps=1, num_examples=1, batch_size=1, num_points=1, learning_rate=0, checkpoint_every=1, minutes=0)


PRESETS = {"default": TrainPointsConfig()}


def run(out: Path, config: TrainPointsConfig, report: Report, *, force: bool = False) -> Path:
    """Train into ``out`` (a prior's folder); resumes from its checkpoints. Returns ``out``.

    Raises:
        BadInput: outside a checkout of the project, which alone carries the bodies.
    """
    work = StageFolder(out / "training")
    kept = {name: value for name, value in asdict(config).items() if name != "minutes"}
    begin = work.begin(config=kept, inputs={}, total_steps=config.steps, force=force)
    if begin.done:
        report(Note(f"{out} is already trained for {config.steps} steps with these settings."))
        return out
    until = None if config.minutes is None else time.monotonic() + 60.0 * config.minutes

    # 1. the bank of examples
    examples = Examples(_known(training_bodies(bodies())))
    if examples.left_out:
        report(Note(f"Verbs of too few bodies, left out: {', '.join(examples.left_out)}."))
    write_bank(work.path / "examples", examples, config.num_examples, config.seed, report)
    bank = read_bank(work.path / "examples", config.num_examples)

    # 2. network, optimisers, average
    prior = new_prior(examples, bank, config)
    network = prior.model.network.train().requires_grad_(True)
    parameters = dict(network.named_parameters())
    optimisers = new_optimisers(network, config.learning_rate, config.weight_decay)
    average = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    start = begin.resume_step
    if start:
        tensors = work.load_checkpoint()[1]
        average = {name: tensors[f"average/{name}"] for name in parameters}
        for names, optimiser in optimisers:
            restore_optimisation(tensors, ((name, parameters[name]) for name in names), optimiser)
    report(Started("train-prior", config.steps, start))
    running: float | None = None
    for step in range(start, config.steps):
        generator = step_generator(config.seed, step, stream=7)
        batch = draw_batch(bank, config.batch_size, config.num_points, len(examples.verbs), generator)
        flow = step >= config.flow_from * config.steps
        loss = training_loss(prior.model, batch, generator, flow=flow)
        network.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for _, optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * learning_rate_at(step / config.steps)
            optimiser.step()
        # 3.
        done = step + 1
        decay = min(config.ema_decay, done / (9.0 + done))
        with torch.no_grad():
            for name, parameter in parameters.items():
                average[name].lerp_(parameter, 1.0 - decay)
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        report(Progress(done, {"loss": running}))
        if done % 25 == 0:
            work.log_metrics(done, loss=running)
        if done % config.checkpoint_every == 0 or done == config.steps:
            tensors = {f"average/{name}": value for name, value in average.items()}
            for names, optimiser in optimisers:
                tensors |= optimisation_tensors(((name, parameters[name]) for name in names), optimiser)
            work.save_checkpoint(done, tensors, {})
            save_average(prior, average, out)
            if until is not None and time.monotonic() > until and done < config.steps:
                report(Note(f"Stopped after {done} of {config.steps} steps; the same command goes on."))
                return out
    report(Wrote(out, "the prior"))
    work.finish(config.steps)
    report(Finished("train-prior"))
    return out


def new_prior(examples: Examples, bank: PointBank, config: TrainPointsConfig) -> PointsPrior:
    """An untrained one that knows the verbs of ``examples``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = AnimusPointsModel(verbs=examples.verbs, width=config.width, num_layers=config.num_layers)
    verbs = [Verb(verb, examples.cyclic[verb], examples.seconds[verb]) for verb in examples.verbs]
    return PointsPrior("new", PointsModel(network, verbs, bank.scales))


def save_average(prior: PointsPrior, average: dict[str, Tensor], out: Path) -> None:
    """Write ``prior`` into ``out`` with the weights ``average``."""
    parameters = dict(prior.model.network.named_parameters())
    held = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(average[name])
        prior.save(out)
        for name, parameter in parameters.items():
            parameter.copy_(held[name])


def _known(found: Sequence[TrainingBody]) -> Sequence[TrainingBody]:
    if not found:
        raise BadInput("There are no bodies to learn from.", "Train in a checkout of the project.")
    return found
