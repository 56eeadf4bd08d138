"""train-prior --kind points: the points prior, trained from moving bodies in 3D.

    animus3d train-prior --kind points --out my-prior

1. Draw a bank of examples: points of rigged and procedural bodies, or of your own (``--data FOLDER``), and where they
   go (``stages.training.point_bank``).
2. Train the network: first on noise alone, so that loops settle on one phase, then on all noise levels. ``--init
   PRIOR`` begins with the weights of another one, whose phases are settled.
3. Keep an exponential moving average of the weights: that is what is saved.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from stages.conventions import step_generator
from stages.errors import BadInput
from stages.events import Finished, Note, Progress, Report, Started, Wrote
from stages.priors.find import prior_fingerprint
from stages.priors.load import load_prior
from stages.priors.points.model import PointsModel, Told, Verb
from stages.priors.points.network import AnimusPointsModel, NetworkConfig
from stages.priors.points.prior import PointsPrior, sees_points
from stages.run_dir import StageFolder
from stages.run_dir.optimiser_state import optimisation_tensors, restore_optimisation
from stages.settings import check
from stages.training.average import Average
from stages.training.borrowed import with_borrowed
from stages.training.own_bodies import own_bodies
from stages.training.point_bank import MIN_BODIES, Examples, PointBank, read_bank, training_bodies, write_bank
from stages.training.points import draw_batch, learning_rate_at, new_optimisers, training_loss
from stages.zoo.bodies import bodies_without
from stages.zoo.folder import FolderClips

HEAD = NetworkConfig.head_dim
"""Channels of one head of attention."""


@dataclass(frozen=True, kw_only=True)
class TrainPointsConfig:
    """Settings of ``train-prior --kind points``. All [ours]."""

    steps: int = 4000
    seed: int = 0
    data: str = ""  # folder of one's own clips; the shipped bodies when empty
    without: str = ""  # shipped bodies, or whole families of them, not to learn from: animal_Wolf,skeleton
    init: str = ""  # points prior whose weights and words training begins with; from scratch when empty
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
        check(self, width=HEAD, num_layers=1)
        if self.width % HEAD:
            raise BadInput(f"width must be a multiple of {HEAD}, the channels of a head, not {self.width}.")
        if self.data and self.without:
            raise BadInput("`without` names shipped bodies, and `data` puts your own in their place.", "Leave one out.")


PRESETS = {"default": TrainPointsConfig()}

NUM_JUDGED, USUAL_SHARE = 400, 0.97
"""Examples by which is judged what is familiar and how far samples fall short; the share that shall be familiar. [ours]
"""
SHORTFALL = 1.0, 1.5
"""What of it is believed: of a network that has learnt nothing it has no bounds. [ours]"""


def run(out: Path, config: TrainPointsConfig, report: Report, *, force: bool = False) -> Path:
    """Train into ``out`` (a prior's folder); resumes from its checkpoints. Returns ``out``.

    Raises:
        BadInput: outside a checkout of the project, which alone carries the bodies; an unusable folder of clips;
            ``config.init`` sees no points, or is of another size.
    """
    work = StageFolder(out / "training")
    kept = {name: value for name, value in asdict(config).items() if name != "minutes"}
    source = FolderClips(Path(config.data)) if config.data else None
    inputs = {"init": prior_fingerprint(config.init)} if config.init else {}
    inputs |= {"data": source.fingerprint()} if source else {}
    begin = work.begin(config=kept, inputs=inputs, total_steps=config.steps, force=force, report=report)
    if begin.done:
        report(Note(f"{out} is already trained for {config.steps} steps with these settings."))
        return out
    until = None if config.minutes is None else time.monotonic() + 60.0 * config.minutes

    # 1. the bank of examples
    former = _former(config)
    examples = Examples(
        own_bodies(source) if source else with_borrowed(training_bodies(bodies_without(config.without))),
        procedural=source is None,
        at_least=1 if source else MIN_BODIES,
        verbs=former.model.verbs if former else (),
        manners=former.model.manners if former else (),
    )
    if examples.left_out:
        report(Note(f"Verbs of too few bodies, left out: {', '.join(examples.left_out)}."))
    write_bank(work.path / "examples", examples, config.num_examples, config.seed, report)
    bank = read_bank(work.path / "examples", config.num_examples)

    # 2. network, optimisers, average
    prior = new_prior(examples, bank, config, former)
    network = prior.model.network.train().requires_grad_(True)
    parameters = dict(network.named_parameters())
    optimisers = new_optimisers(network, config.learning_rate, config.weight_decay)
    average = Average(parameters, config.ema_decay)
    start = begin.resume_step
    if start:
        tensors = work.load_checkpoint()[1]
        average.restore(tensors)
        for names, optimiser in optimisers:
            restore_optimisation(tensors, ((name, parameters[name]) for name in names), optimiser)
    report(Started("train-prior", config.steps, start))
    running: float | None = None
    for step in range(start, config.steps):
        generator = step_generator(config.seed, step, stream=7)
        batch = draw_batch(bank, config.batch_size, config.num_points, prior.model, generator)
        flow = former is not None or step >= config.flow_from * config.steps
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
        average.follow(done)
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        report(Progress(done, {"loss": running}))
        if done % 25 == 0:
            work.log_metrics(done, loss=running)
        if done % config.checkpoint_every == 0 or done == config.steps:
            tensors = average.tensors()
            for names, optimiser in optimisers:
                tensors |= optimisation_tensors(((name, parameters[name]) for name in names), optimiser)
            work.save_checkpoint(done, tensors, {})
            with average.in_place(), torch.no_grad():
                if done == config.steps:
                    prior.model.unfamiliar = usual_doubt(prior.model, bank)
                    prior.model.amplitude = usual_shortfall(prior, bank)
                prior.save(out)
            if until is not None and time.monotonic() > until and done < config.steps:
                report(Note(f"Stopped after {done} of {config.steps} steps; the same command goes on."))
                return out
    report(Wrote(out, "the prior"))
    work.finish(config.steps)
    report(Finished("train-prior"))
    return out


def new_prior(
    examples: Examples, bank: PointBank, config: TrainPointsConfig, former: PointsPrior | None = None
) -> PointsPrior:
    """One that knows the verbs of ``examples``: untrained, or with what ``former`` has learnt."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = AnimusPointsModel(
            NetworkConfig(
                verbs=examples.verbs,
                manners=tuple(manner.name for manner in examples.manners),
                width=config.width,
                num_layers=config.num_layers,
            )
        )
    verbs = [Verb(verb, examples.cyclic[verb], examples.seconds[verb]) for verb in examples.verbs]
    model = PointsModel(network, verbs, examples.manners, former.model.scales if former else bank.scales)
    if former is not None:
        inherit(model, former.model)
    return PointsPrior("new", model)


def inherit(model: PointsModel, former: PointsModel) -> None:
    """Give ``model`` the weights of ``former``, row by row where they belong to verbs or manners."""
    weights, given = model.network.state_dict(), former.network.state_dict()
    verbs = [verb.name for verb in model.verbs], [verb.name for verb in former.verbs]
    manners = [manner.name for manner in model.manners], [manner.name for manner in former.manners]
    rows = {"words.weight": verbs} | dict.fromkeys(("ways.weight", "suits.weight", "suits.bias"), manners)
    for name, value in weights.items():
        if name not in rows:
            value.copy_(given[name])
            continue
        ours, theirs = rows[name]
        for row, what in enumerate(ours):
            if what in theirs:
                value[row] = given[name][theirs.index(what)]
        if len(value) > len(ours):  # the row of what is left open
            value[-1] = given[name][-1]


def usual_doubt(model: PointsModel, bank: PointBank) -> float:
    """The doubt beyond which there are few of the bodies that ``model`` was taught."""
    doubts = [model.doubt(told, torch.Generator().manual_seed(0)) for _, told in _moving(model, bank, NUM_JUDGED)]
    return float(torch.cat(doubts).quantile(USUAL_SHARE)) if doubts else math.inf


def usual_shortfall(prior: PointsPrior, bank: PointBank) -> float:
    """How far the motions of ``bank`` go, over how far samples do, kept rigid: the median, within ``SHORTFALL``."""
    model, found = prior.model, []
    for index, told in _moving(model, bank, NUM_JUDGED):
        drawn = prior.kept_rigid(model.sample(told, torch.Generator().manual_seed(0)), told)
        sizes = model.coefficients(drawn, told.cyclic).flatten(1).norm(dim=1)
        found.append(bank.coefficients[index].float().flatten(1).norm(dim=1) / sizes.clamp(min=1e-9))
    return float(torch.cat(found).median().clamp(*SHORTFALL)) if found else 1.0


def _moving(model: PointsModel, bank: PointBank, count: int) -> Iterator[tuple[Tensor, Told]]:
    """Of ``count`` examples, spread evenly, those that move: which they are, and what the network is told of them."""
    chosen = torch.linspace(0, len(bank.verb) - 1, min(count, len(bank.verb))).long()
    chosen = chosen[bank.manner[chosen] < len(model.manners)]
    for index in chosen.split(8):
        open_manner = torch.full_like(index, len(model.manners))
        yield index, Told(bank.rest[index].float(), bank.verb[index], open_manner, bank.cyclic[index])


def _former(config: TrainPointsConfig) -> PointsPrior | None:
    """The prior that training begins with."""
    if not config.init:
        return None
    former = load_prior(config.init, "cpu")
    if not sees_points(former):
        raise BadInput(f"The prior {config.init!r} sees no points.", "Take: --init points")
    sizes = former.denoiser.config
    if (sizes.width, sizes.num_layers) != (config.width, config.num_layers):
        raise BadInput(
            f"{config.init} has {sizes.num_layers} layers of {sizes.width} channels.",
            f"Use --set width={sizes.width} --set num_layers={sizes.num_layers}",
        )
    return former
