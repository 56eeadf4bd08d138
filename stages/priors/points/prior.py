"""The points prior: it sees an asset as some hundred points of its surface in 3D, and knows where they go.

::

    model_index.json    its class, its verbs and how long they last
    points/             AnimusPointsModel: config.json, diffusion_pytorch_model.safetensors with the latents' scales

It is a ``stages.priors.prior.Prior`` in all that objectives ask of one: what it observes are the paths of its
points, so that no camera and no rasterizer takes part. The camera of a ``PointView`` is for previews only.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from stages.errors import BadInput
from stages.events import Caution, Note, Report
from stages.gaussians import Frames, Gaussians
from stages.gaussians.spread import spread_points
from stages.geometry.rigid import kept_rigid
from stages.geometry.trajectories import NUM_FRAMES, NUM_FUNCTIONS, basis_of
from stages.priors.find import POINTS_PIPELINE
from stages.priors.points.model import CHANNELS, SAMPLE_STEPS, Manner, PointsModel, Told, Verb
from stages.priors.points.network import AnimusPointsModel
from stages.priors.points.noise import body_noise
from stages.priors.points.variety import unlike
from stages.priors.prior import ClipShape, Condition, Observation, Text, Viewpoint, Wanted
from stages.priors.words import Understood, understand

NUM_POINTS = 512
"""Points of an asset that the prior looks at."""

PREVIEW_PX = 192
SPARE = 3
"""Samples that are drawn beyond those that are wanted, to choose what differs."""

STATIC = "static"
"""The word for a body that does not move."""


@dataclass(frozen=True)
class PointView(Viewpoint):
    """How the prior sees an asset: some of its Gaussians as points, in the frame in which the body faces +z."""

    indices: Tensor  # [N] of the asset's Gaussians
    centre: Tensor  # [3] of the points' box
    half_side: float  # of its longest side
    R_body_asset: Tensor  # [3, 3]
    cyclic: bool  # whether paths are loops

    def rest(self, asset: Gaussians) -> Tensor:
        """The points [N, 3] at rest, in the body's frame, box in [-1, 1]."""
        return (asset.means[self.indices] - self.centre) @ self.R_body_asset.T / self.half_side

    def moved(self, coefficients: Tensor) -> Tensor:
        """Coefficients [..., 3] of the body's frame in the asset's frame and units."""
        return self.half_side * coefficients @ self.R_body_asset


class PointsPrior:
    """Runs the points prior."""

    def __init__(
        self,
        name: str,
        model: PointsModel,
        device: torch.device | str = "cpu",
    ) -> None:
        self.name, self.model, self.device = name, model, torch.device(device)
        self.denoiser: AnimusPointsModel = model.network
        nn.Module.to(self.denoiser, self.device)
        self.denoiser.eval().requires_grad_(False)
        self.parameterization = model.parameterization
        self.clip = ClipShape(NUM_FRAMES, PREVIEW_PX, PREVIEW_PX)
        self.numbers = {verb.name: number for number, verb in enumerate(model.verbs)}
        self.motions = {verb.name: [verb.name] for verb in model.verbs}

    def understand(self, prompt: str) -> Understood:
        """Which of the prior's motions ``prompt`` asks for."""
        return understand(prompt, list(self.numbers))

    def verb_of(self, prompt: str) -> Verb:
        """The motion that ``prompt`` asks for, or the nearest that the prior knows."""
        return self.model.verbs[self.numbers[self.understand(prompt).nearest]]

    def seconds_of(self, prompt: str) -> float:
        """How long the motion takes that ``prompt`` asks for: one cycle of a loop; quicker where it says "quickly"."""
        return self.verb_of(prompt).seconds / self.understand(prompt).pace

    def tell(self, prompt: str, report: Report) -> None:
        """Say which motion was understood, and how sure that is; a ``Caution`` where none is known."""
        found = self.understand(prompt)
        if found.verb is None:
            known = ", ".join(verb.name for verb in self.model.verbs if verb.name != STATIC)
            report(
                Caution(
                    f"{prompt!r} names no motion that this prior was taught; the nearest is {found.nearest!r}, and "
                    f"that is what it will do. It knows: {known}."
                )
            )
            return
        others = f"; left out: {', '.join(found.others)}" if found.others else ""
        report(Note(f"Understood: {found.verb} ({100 * found.confidence:.0f} % sure){others}."))

    def tell_of_body(self, condition: Condition, generator: torch.Generator, report: Report) -> None:
        """A ``Caution`` where the body is like none of those that the prior was taught this motion on."""
        if float(self.model.doubt(self.told(condition, 1), generator)[0]) > self.model.unfamiliar:
            report(
                Caution(
                    "An unfamiliar body: it is like none that this prior has seen make this motion, and may move "
                    "wrongly. Look at several: animus3d sample"
                )
            )

    def look_at(
        self, asset: Gaussians, viewpoint: Viewpoint, *, cyclic: bool, facing_deg: float, seed: int
    ) -> PointView:
        """How the prior sees ``asset``, which faces ``facing_deg`` (0: +z, 90: +x)."""
        indices = spread_points(asset, NUM_POINTS, seed)
        angle = torch.tensor(-facing_deg).deg2rad()
        c, s = float(angle.cos()), float(angle.sin())
        turn = torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]).to(asset.means)
        turned = asset.means[indices] @ turn.T
        low, high = turned.amin(dim=0), turned.amax(dim=0)
        return PointView(
            viewpoint.camera, viewpoint.background, viewpoint.rasterizer, indices,
            0.5 * (low + high) @ turn, 0.5 * float((high - low).max()) or 1.0, turn, cyclic,
            ground_height=viewpoint.ground_height,
        )  # fmt: skip

    def encode_text(self, prompts: Sequence[str]) -> Text:
        """See ``Prior.encode_text``: of each prompt the number of its motion, that of none for a null prompt."""
        wordless = len(self.numbers)
        numbers = [self.numbers[self.verb_of(prompt).name] if prompt.strip() else wordless for prompt in prompts]
        return Text(tuple(prompts), pooled=torch.tensor(numbers, device=self.device)[:, None])

    def observe(
        self, frames: Frames, viewpoint: Viewpoint, wanted: Sequence[Wanted] = ("latents",), *, blur: float = 0.0
    ) -> Observation:
        """See ``Prior.observe``: latents [1, 3 K, N] of the points' paths. There are no pixels to blur."""
        view = _seen(viewpoint)
        away = frames.means[:, view.indices] - frames.asset.means[view.indices]  # [T, N, 3]
        coefficients = basis_of(view.cyclic).coefficients((away @ view.R_body_asset.T / view.half_side).transpose(0, 1))
        return Observation(self.model.latents(coefficients[None], self._cyclic(view)))

    def condition(self, text: Text, asset: Gaussians, viewpoint: Viewpoint) -> Condition:
        """See ``Prior.condition``: what stands for the picture is [1, N, 4], the points at rest and whether their
        paths are loops."""
        view = _seen(viewpoint)
        rest = view.rest(asset)
        return Condition(text, torch.cat([rest, torch.full_like(rest[:, :1], float(view.cyclic))], dim=1)[None])

    def still_latents(self, asset: Gaussians, viewpoint: Viewpoint) -> Tensor:
        """See ``Prior.still_latents``: nothing moves."""
        return torch.zeros(1, CHANNELS, len(_seen(viewpoint).indices), device=self.device)

    def noise(self, like: Tensor, condition: Condition, generator: torch.Generator) -> Tensor:
        """See ``Prior.noise``: it varies over the body."""
        assert condition.picture is not None
        return body_noise(condition.picture[:1, :, :3], CHANNELS, generator).expand_as(like)

    def frame_times(self, viewpoint: Viewpoint) -> Tensor:
        """See ``Prior.frame_times``."""
        return basis_of(_seen(viewpoint).cyclic).times().to(self.device)

    def predict(self, latents: Tensor, timestep: int, condition: Condition) -> Tensor:
        """See ``Prior.predict``."""
        told = self.told(condition, len(latents))
        level = float(self.parameterization.sigmas[timestep])
        clean = self.model.clean(latents, torch.full((len(latents),), level).to(latents), told)
        return self.parameterization.from_x0(clean, latents, timestep)

    def told(self, condition: Condition, batch: int) -> Told:
        """What the network is told."""
        picture, numbers = condition.picture, condition.text.pooled
        assert picture is not None and numbers is not None
        picture = picture.expand(batch, -1, -1)
        manner = torch.full((batch,), len(self.model.manners), device=picture.device)
        return Told(picture[..., :3], numbers[:, 0].expand(batch), manner, picture[:, 0, 3].long())

    def sample(
        self,
        condition: Condition,
        generator: torch.Generator,
        *,
        count: int = 1,
        steps: int = SAMPLE_STEPS,
        guidance: float = 1.0,
    ) -> Tensor:
        """``count`` motions as latents [count, 3 K, N], the manner left open."""
        told = self.told(condition, count)
        return self._drawn(told, generator, steps=steps, guidance=guidance)

    def _drawn(self, told: Told, generator: torch.Generator, *, steps: int, guidance: float) -> Tensor:
        """Samples that go as far as true motions do, kept rigid."""
        drawn = self.model.sample(told, generator, steps=steps, guidance=guidance)
        return self.kept_rigid(self.model.amplitude * drawn, told)

    def kept_rigid(self, latents: Tensor, told: Told) -> Tensor:
        """``latents`` whose neighbouring points move together, see ``stages.geometry.rigid``."""
        basis = basis_of(bool(told.cyclic[0]))
        times, found = basis.times().to(latents), []
        for rest, coefficients in zip(told.rest, self.model.coefficients(latents, told.cyclic), strict=True):
            moves = kept_rigid(rest, basis.displacements(coefficients, times).transpose(0, 1))
            found.append(basis.coefficients(moves.transpose(0, 1)))
        return self.model.latents(torch.stack(found), told.cyclic)

    def varied(
        self,
        condition: Condition,
        generator: torch.Generator,
        *,
        count: int,
        steps: int = SAMPLE_STEPS,
        guidance: float = 1.0,
    ) -> tuple[Tensor, list[str]]:
        """``count`` motions [count, 3 K, N] that differ, and how each is made.

        The manner of the first is left open; the others are made in the manners that suit the body best. What is nearly
        one of those before it is taken only where there are too few others.
        """
        ways = [
            "",
            *(manner.name for manner, _ in self.manners(condition, generator)[: count - 1 + min(SPARE, count - 1)]),
        ]
        ways += [""] * (count - len(ways))
        verb = self._verb(self.told(condition, 1))
        numbers = {manner.name: number for number, manner in enumerate(self.model.manners) if manner.verb == verb}
        manner = torch.tensor([numbers.get(way, len(self.model.manners)) for way in ways], device=self.device)
        told = replace(self.told(condition, len(ways)), manner=manner)
        drawn = self._drawn(told, generator, steps=steps, guidance=guidance)
        chosen = unlike(self.model.coefficients(drawn, told.cyclic), count, cyclic=bool(told.cyclic[0]))
        return drawn[chosen], [ways[index] for index in chosen]

    def manners(self, condition: Condition, generator: torch.Generator) -> list[tuple[Manner, float]]:
        """The manners in which the motion can be made, those first that suit the body best, each with its share."""
        told = self.told(condition, 1)
        of = [number for number, manner in enumerate(self.model.manners) if manner.verb == self._verb(told)]
        if not of:
            return []
        noise = body_noise(told.rest, CHANNELS, generator)
        with torch.no_grad():
            shares = self.model.told_apart(noise, torch.ones(1).to(noise), told)[1][0, of].softmax(dim=0)
        order = shares.argsort(descending=True).tolist()
        return [(self.model.manners[of[place]], float(shares[place])) for place in order]

    def _verb(self, told: Told) -> str:
        number = int(told.verb[0])
        return self.model.verbs[number].name if number < len(self.model.verbs) else ""

    def paths(self, latents: Tensor, viewpoint: Viewpoint) -> Tensor:
        """Coefficients [B, N, K, 3] of the points' paths in the asset's frame and units."""
        view = _seen(viewpoint)
        return view.moved(self.model.coefficients(latents, self._cyclic(view).expand(len(latents))))

    def _cyclic(self, view: PointView) -> Tensor:
        return torch.tensor([int(view.cyclic)], device=self.device)

    def save(self, folder: Path) -> None:
        """Write the folder that ``load_prior`` reads; the network in half precision."""
        folder.mkdir(parents=True, exist_ok=True)
        copy.deepcopy(self.model.network).half().save(folder / "points")
        index: dict[str, Any] = {
            "_class_name": POINTS_PIPELINE,
            "points": ["animus3d", "AnimusPointsModel"],
            "verbs": [[verb.name, verb.cyclic, round(verb.seconds, 3)] for verb in self.model.verbs],
            "manners": [[manner.name, manner.verb] for manner in self.model.manners],
            "scales": self.model.scales.tolist(),
            "unfamiliar": None if math.isinf(self.model.unfamiliar) else round(self.model.unfamiliar, 3),
            "amplitude": round(self.model.amplitude, 3),
        }
        (folder / "model_index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")

    @staticmethod
    def load(name: str, folder: Path, index: Mapping[str, Any], device: torch.device | str) -> PointsPrior:
        """The prior in ``folder``. Raises as ``AnimusPointsModel.load``, and ``KeyError`` and the like of the index."""
        network = AnimusPointsModel.load(folder / "points").float()
        verbs = [_verb(*said) for said in index["verbs"]]
        manners = [Manner(*manner) for manner in index["manners"]]
        told = [verb.name for verb in verbs], [manner.name for manner in manners]
        if told != (list(network.config.verbs), list(network.config.manners)):
            raise ValueError("its verbs or manners are not those of its network")
        scales = torch.tensor(index["scales"], dtype=torch.float32)
        if scales.shape != (2, NUM_FUNCTIONS) or not (scales.isfinite() & (scales > 0.0)).all():
            raise ValueError(f"scales are not 2 times {NUM_FUNCTIONS} numbers above 0")
        unfamiliar = math.inf if index["unfamiliar"] is None else float(index["unfamiliar"])
        amplitude = float(index.get("amplitude", 1.0))  # indexes of before do not say it
        if not 0.0 < amplitude < math.inf:
            raise ValueError(f"the amplitude is {amplitude}")
        return PointsPrior(name, PointsModel(network, verbs, manners, scales, unfamiliar, amplitude), device)


def _verb(name: Any, cyclic: Any, seconds: Any) -> Verb:
    """A verb as an index tells of it. Raises ``ValueError``."""
    if not (isinstance(name, str) and isinstance(cyclic, bool) and isinstance(seconds, (int, float))):
        raise ValueError(f"a verb is a word, true or false and its seconds, not {[name, cyclic, seconds]}")
    if not 0.0 < seconds < math.inf:
        raise ValueError(f"the verb {name} lasts {seconds} seconds")
    return Verb(name, cyclic, float(seconds))


def sees_points(prior: Any) -> TypeGuard[PointsPrior]:
    """Whether a prior is a ``PointsPrior``."""
    return isinstance(prior, PointsPrior)


def _seen(viewpoint: Viewpoint) -> PointView:
    if not isinstance(viewpoint, PointView):
        raise BadInput("The points prior looks at points, not through a camera.")
    return viewpoint
