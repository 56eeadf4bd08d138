"""A points prior small enough for tests: real, and untrained."""

from __future__ import annotations

from pathlib import Path

import torch

from stages.geometry.trajectories import NUM_FUNCTIONS
from stages.priors.points import PointsPrior
from stages.priors.points.model import Manner, PointsModel, Verb
from stages.priors.points.network import AnimusPointsModel, NetworkConfig

MANNERS = (Manner("dogs/Walk", "walk"), Manner("cats/Walk", "walk"), Manner("dogs/Jump", "jump"))
VERBS = (Verb("walk", True, 1.0), Verb("jump", False, 0.8), Verb("static", False, 1.0))


def tiny_points_prior(seed: int = 0) -> PointsPrior:
    """Two blocks of 32 channels, whose last layer says something."""
    torch.manual_seed(seed)
    network = AnimusPointsModel(
        NetworkConfig(
            verbs=tuple(verb.name for verb in VERBS),
            manners=tuple(manner.name for manner in MANNERS),
            width=32,
            num_layers=2,
            head_dim=16,
        )
    )
    torch.nn.init.normal_(network.leave.weight, std=0.2)
    torch.nn.init.normal_(network.ways.weight, std=1.0)
    return PointsPrior("tiny", PointsModel(network, VERBS, MANNERS, torch.full((2, NUM_FUNCTIONS), 0.1)))


def save_tiny(folder: Path) -> str:
    """Write it as ``--prior`` reads it; the folder's name."""
    tiny_points_prior().save(folder)
    return str(folder)
