"""Model folders that lie: about every file of every kind of model that is loaded, one lie at a time.

Shapes, kinds of numbers, names, headers, shards that are missing or lie elsewhere, pickles, code, links, pipes, and
configurations that cannot be. The command that reads the folder must end with exit code 3 or 8 and one line; nothing
is unpickled or run, nothing is written outside the run, and what the run held stays. It may come to the same files as
with the whole folder, where the file is not used; and to others where no one can see the lie (another number where a
number may stand). A model of no family that is known ends with 9; NaN or infinity that is met only in the result, with
10; a run whose mark of completeness is not there, with 4.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from tests.campaigns.disk_full import finished
from tests.campaigns.journal import Answer, Journal, summary
from tests.campaigns.lies import Lie, edit, lies_of
from tests.campaigns.program import Ended, Program
from tests.campaigns.tried import DISTILL, POINTS, SPLAT, Bases, contents, copy, differences
from tests.metrics.tiny_networks import Centroid, Mean, TinyI3D, inception_weights, save_clip, save_script, save_vit
from tests.priors.points.tiny import save_tiny
from tests.priors.test_embedded import tiny_prior
from tests.priors.tiny_models import save_model, small_clips
from tests.priors.tiny_mvvdm import save_tiny as save_views

COUNT = None
"""Every lie about every kind of model; else so many of each, drawn at random."""
VALUES_A_FILE = 6
"""Values of each JSON file that are replaced."""
GIBIBYTE = 1 << 30
MEMORY = 8 * GIBIBYTE
SECONDS = 60
REFUSED, UNFINISHED, UNKNOWN, NOT_FINITE = (3, 8), 4, 9, 10
FIT = "fit-lora --prior model --run run --steps 1 --set num_cameras=2 --set preview_every=0"
EVAL = "eval --run run --set num_views=1 --set networks.builtin=false"
LORA = "distill --prompt walking --prior video --run run --steps 1 --set spatial_resolution=6 --set preview_every=0"


@dataclass(frozen=True)
class Model:
    """A kind of model."""

    make: Callable[[Path], object]  # writes it
    line: str  # what reads it
    folder: str = "model"  # in the place
    before: tuple[str, ...] = (SPLAT,)


def published(name: str) -> Model:
    """A model of diffusers' format."""
    clips = " ".join(f"--set {key}={value}" for key, value in small_clips(name).items())
    return Model(lambda folder: save_model(name, folder), f"{FIT} {clips}")


def network(make: Callable[[Path], object], option: str, *, size: int = 32, moves: bool = False) -> Model:
    """Networks that measure; ``moves``: only what moves."""
    frames = f"--set size={size} --set frames={10 if moves else 3} --source {'motion' if moves else 'static'}"
    return Model(make, f"{EVAL} {frames} {option}", before=(SPLAT, DISTILL) if moves else (SPLAT,))


def as_it_is(folder: Path) -> None:
    """An adapter of a run whose hashes somebody took away: a run of an earlier version has none."""
    shutil.rmtree(folder / "checkpoints")
    for path in folder.glob("preview*"):
        path.unlink()
    edit(folder / "complete.json", lambda value: (value.pop("files"), value.pop("seal")))
    edit(folder / "config.json", lambda value: value.pop("seal"))


def weights(suffix: str) -> Callable[[Path], object]:
    """Inception's weights in a file."""

    def make(folder: Path) -> None:
        folder.mkdir()
        tensors = inception_weights()
        path = folder / f"w{suffix}"
        save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)

    return make


def script(module: Callable[[], torch.nn.Module]) -> Callable[[Path], object]:
    """A network as TorchScript."""

    def make(folder: Path) -> None:
        folder.mkdir()
        save_script(folder / "n.pt", module())

    return make


def aesthetic(folder: Path) -> None:
    """CLIP, and a head beside it."""
    folder.mkdir()
    save_file({"weight": torch.ones(1, 24), "bias": torch.zeros(1)}, folder / "head.safetensors")
    save_clip(folder.with_name("clip"))


MODELS: dict[str, Model] = {
    "points": Model(lambda folder: save_tiny(folder), f"sample {POINTS} --count 1 --set denoise_steps=2".replace(
        "--prior points", "--prior model")),
    "embedded-video": Model(lambda folder: tiny_prior().save(folder), FIT),
    "views": Model(lambda folder: save_views(folder), f"{FIT} --set num_frames=4 --set size_px=8"),
    "modelscope": published("modelscope"),
    "cogvideox": published("cogvideox"),
    "wan-i2v": published("wan-i2v"),
    "skyreels-i2v": published("skyreels-i2v"),
    "anyflow": published("anyflow"),
    "ltx": published("ltx"),
    "adapter": Model(as_it_is, LORA, "run/lora", (SPLAT, "fit-lora --prior video --run run --steps 1")),
    "clip": network(save_clip, "--clip model"),
    "dino": network(save_vit, "--dino model"),
    "aesthetic": network(aesthetic, "--clip clip --aesthetic model/head.safetensors"),
    "inception": network(weights(".safetensors"), "--inception model/w.safetensors --reference run", moves=True),
    "inception, pickled": network(weights(".pth"), "--inception model/w.pth --reference run", moves=True),
    "i3d": network(script(TinyI3D), "--i3d model/n.pt --reference run", moves=True),
    "raft": network(script(Centroid), "--raft model/n.pt", size=128),
    "amt": network(script(Mean), "--amt model/n.pt"),
}  # fmt: skip
"""Every kind that is loaded."""


class Liars:
    """The campaign's tools."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program, self.folder = program, folder
        self.place, self.trap = folder / "try" / "place", folder / "caught"
        self.bases = Bases(program, folder / "bases")
        self.known: dict[str, tuple[Path, dict[str, bytes], int]] = {}

    def whole(self, name: str) -> tuple[Path, dict[str, bytes], int]:
        """A place with the whole model, the files that come of it, and how many were opened for writing elsewhere."""
        if name not in self.known:
            model, place = MODELS[name], self.folder / f"whole_{len(self.known)}"
            copy(self.bases.after(model.before), place)
            model.make(place / model.folder)
            copy(place, self.place)
            ended = self.program.must(model.line, self.place)
            self.known[name] = place, contents(self.place), ended.outside
        return self.known[name]

    def one(self, name: str, lie: Lie) -> Answer:
        """One lie."""
        model, (place, straight, outside) = MODELS[name], self.whole(name)
        _clean(self.place.parent)
        shutil.copytree(place, self.place)
        shutil.rmtree(self.trap, ignore_errors=True)
        lie.tell(self.place / model.folder / lie.file, self.trap)
        before = readable(self.place)
        ended = self.program.run(model.line, self.place, kill_after=SECONDS, data_bytes=MEMORY)
        how, why = judged(ended, lie, straight, before, readable(self.place))
        if self.trap.exists():
            why.append("what was pickled, or code of the folder, was run")
        if ended.outside > outside:
            why.append(f"{ended.outside} files were opened for writing elsewhere, such as {ended.stray}")
        now = readable(self.place)
        why += [f"{file} was written" for file in now if not file.startswith("run/") and now[file] != before.get(file)]
        return {"well": not why, "how": how, "code": ended.code, **({"why": why[:5]} if why else {})}


def readable(place: Path) -> dict[str, bytes]:
    """Every file of a place that is no link and no pipe."""
    files = [path for path in sorted(place.rglob("*")) if path.is_file() and not path.is_symlink()]
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in files if not path.name.startswith(".")}


def judged(
    ended: Ended, lie: Lie, straight: dict[str, bytes], before: dict[str, bytes], now: dict[str, bytes]
) -> tuple[str, list[str]]:
    """How it went, in a word, and what was not as it should be."""
    if ended.code == 0:
        results = [line for line in differences(straight, contents_of(now)) if line.startswith("run/")]
        model = ("config.json", "complete.json")  # the model's own fingerprint is among the settings
        if all(line.split()[0].endswith(model) for line in results):
            return "the same result", []
        wrong = lie.harmless or not (lie.quiet or lie.not_finite)
        return "another model", [f"it was taken for whole: {results[:2]}"] if wrong else []
    why = []
    allowed = {*REFUSED, *([UNKNOWN] if lie.quiet else []), *([NOT_FINITE] if lie.not_finite else [])}
    allowed |= {UNFINISHED} if lie.file == "complete.json" else set()
    if ended.code not in allowed or not ended.one_line or lie.harmless:
        why.append(f"exit code {ended.code}: {ended.err.strip()[-400:]}")
    why += [f"{name} was changed or lost" for name in finished(before) if now.get(name) != before[name]]
    return "refused", why


def contents_of(files: dict[str, bytes]) -> dict[str, bytes]:
    """Files as ``tried.contents`` has them, of those that have been read."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return contents(Path(folder))


def _clean(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def run(journal: Journal, count: int | None, seed: int, models: Sequence[str] = tuple(MODELS)) -> dict[str, Any]:
    """Lies about the files of ``models``: all, or ``count`` of each."""
    answers, told = {}, {}
    by_kind = Counter[str]()
    with tempfile.TemporaryDirectory() as folder, Program() as program:
        liars = Liars(program, Path(folder))
        for name in models:
            rng = np.random.default_rng([seed, *name.encode()])
            lies = list(lies_of(liars.whole(name)[0] / MODELS[name].folder, VALUES_A_FILE, rng))
            told[name] = len(lies)
            for at in sorted(rng.permutation(len(lies))[:count]):
                key = f"{name}, {lies[at].key}"
                by_kind[name] += 1
                answers[key] = journal.answer(key, lambda name=name, lie=lies[at]: liars.one(name, lie))  # type: ignore[misc]
    how = Counter(answer["how"] for answer in answers.values())
    codes = Counter(str(answer["code"]) for answer in answers.values())
    return {
        **summary(answers), "by_kind": dict(by_kind), "of": told, "how": dict(how), "by_exit_code": dict(codes),
    }  # fmt: skip
