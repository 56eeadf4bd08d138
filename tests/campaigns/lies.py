"""Lies that a model's folder can tell: each changes one file of a folder that was whole.

A lie that nobody could see (another number where a number may stand) is called ``quiet``: a loader may take the folder
for another model. Of all others it must be said that the folder cannot be used.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.fuzz.mutate import VALUES

DEEP = 100_000
CODE = "import os\nos.mkdir({trap!r})\n\n\nclass Evil:\n    pass\n"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 123456\n".format("4d" * 32)
"""What stands in a folder that was cloned without its large files."""


@dataclass(frozen=True)
class Lie:
    """One change to ``file`` of a folder."""

    name: str
    file: str
    tell: Callable[[Path, Path], None]  # of the file, and of the folder that is made by whoever unpickles or runs code
    quiet: bool = False
    harmless: bool = False  # the whole model is still there: it must work
    not_finite: bool = False  # NaN or infinity: may be met only when it is used

    @property
    def key(self) -> str:
        """The name of a try."""
        return f"{self.file}: {self.name}"


class Trap:
    """Whoever unpickles it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


def lies_of(folder: Path, values: int, rng: np.random.Generator) -> Iterator[Lie]:
    """Lies about every file of ``folder``; ``values`` numbers and words of each JSON file are replaced."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        file = path.relative_to(folder).as_posix()
        yield from of_any_file(file)
        if path.suffix == ".safetensors":
            yield from of_tensors(file)
            yield from of_headers(file)
            yield from of_shards(file)
        elif path.suffix == ".json":
            yield from of_json(file)
            yield from of_values(file, json.loads(path.read_text(encoding="utf-8")), values, rng)


def of_any_file(file: str) -> Iterator[Lie]:
    """Cut short, empty, something else, or not there; where the weights are concerned it must be told."""
    quiet = not file.endswith((".safetensors", "config.json", "model_index.json", ".pth", ".pt"))
    quiet |= file.endswith("tokenizer_config.json")
    for name, change in {
        "half of it": lambda path, _: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        "empty": lambda path, _: path.write_bytes(b""),
        "a pointer to a large file": lambda path, _: path.write_text(POINTER),
        "a folder": lambda path, _: (path.unlink(), path.mkdir()),
        "gone": lambda path, _: path.unlink(),
        "a link to nothing": lambda path, _: _link(path, path.with_name("nothing")),
        "a link to itself": lambda path, _: _link(path, path),
        "a pipe that nobody fills": lambda path, _: (path.unlink(), os.mkfifo(path)),
        "a device without end": lambda path, _: _link(path, Path("/dev/zero")),
        "a pickle": lambda path, trap: path.write_bytes(pickle.dumps(Trap(trap))),
        "a pickle as torch saves it": lambda path, trap: torch.save({"a": Trap(trap)}, path),
    }.items():
        yield Lie(name, file, change, quiet)  # type: ignore[arg-type]


def of_tensors(file: str) -> Iterator[Lie]:
    """Shapes, kinds of numbers, names, numbers."""
    for which, at in {"first": 0.0, "middle": 0.5, "last": 1.0}.items():
        yield Lie(f"{which} tensor in one row", file, _one(at, lambda tensor: tensor.reshape(1, -1)))
        yield Lie(f"{which} tensor longer", file, _one(at, lambda tensor: torch.cat([tensor, tensor])))
        yield Lie(f"{which} tensor without numbers", file, _one(at, lambda tensor: tensor[:0]))
        yield Lie(f"{which} tensor missing", file, _named(at, lambda name: None))
        yield Lie(f"{which} tensor renamed", file, _named(at, lambda name: f"{name}.x"))
    for kind in (torch.int32, torch.uint8, torch.bool, torch.complex64):
        yield Lie(f"{str(kind)[6:]}", file, _all(lambda tensor, kind=kind: tensor.to(kind)))  # type: ignore[misc]
    for kind in (torch.float64, torch.bfloat16, torch.float8_e4m3fn):  # the same model, more or less exact
        yield Lie(f"{str(kind)[6:]}", file, _all(lambda tensor, kind=kind: tensor.to(kind)), quiet=True)  # type: ignore[misc]
    for number in ("nan", "inf", "-inf"):
        yield Lie(number, file, _one(0.5, lambda t, n=number: torch.full_like(t, float(n))), not_finite=True)  # type: ignore[misc]
    yield Lie("one tensor more", file, _with_another, quiet=True)


def of_headers(file: str) -> Iterator[Lie]:
    """What stands before the numbers of a safetensors file."""

    def about(change: Callable[[dict[str, Any], str], object]) -> Callable[[Path, Path], None]:
        def tell(path: Path, _: Path) -> None:
            header, rest = _split(path)
            change(header, next(name for name in sorted(header) if name != "__metadata__"))
            _join(path, json.dumps(header).encode(), rest)

        return tell

    yield Lie("a header beyond the end", file, lambda path, _: _length(path, path.stat().st_size + 1))
    yield Lie("a header of 2^63 bytes", file, lambda path, _: _length(path, 2**63))
    yield Lie("a header that is no JSON", file, lambda path, _: _join(path, b"{" * 64, _split(path)[1]))
    yield Lie("a header too deep", file, lambda path, _: _join(path, b"[" * DEEP, _split(path)[1]))
    for name, value in {
        "backwards": [8, 0], "beyond the end": [0, 2**40], "below nothing": [-8, 0], "no numbers": ["a", None],
    }.items():  # fmt: skip
        yield Lie(f"offsets {name}", file, about(lambda h, t, v=value: h[t].update(data_offsets=v)))  # type: ignore[misc]
    for name, value in {"huge": [2**40], "negative": [-1, -1], "of no numbers": ["a"], "too many": [2**63] * 9}.items():
        yield Lie(f"a shape {name}", file, about(lambda h, t, v=value: h[t].update(shape=v)))  # type: ignore[misc]
    yield Lie("numbers of no known kind", file, about(lambda header, name: header[name].update(dtype="F4096")))


def of_shards(file: str) -> Iterator[Lie]:
    """An index that sends the reader elsewhere, in place of the one file of weights."""
    outside = "../../outside.safetensors"
    for name, shard in {
        "outside": outside, "outside, absolute": "/outside.safetensors", "with a backslash": "..\\outside.safetensors",
        "missing": "model-00002-of-00002.safetensors", "no name": 3, "nothing": None, "a list": [], "empty": "",
        "the folder": ".", "a pickle": "shard.bin",
    }.items():  # fmt: skip

        def tell(path: Path, trap: Path, shard: Any = shard) -> None:
            names = list(load_file(path))
            shutil.copy(path, path.parents[1].parent / "outside.safetensors")
            path.with_name("shard.bin").write_bytes(pickle.dumps(Trap(trap)))
            path.unlink()
            index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names, shard)}
            path.with_name(f"{path.name}.index.json").write_text(json.dumps(index))

        yield Lie(f"shards: {name}", file, tell)
    for name, text in {"a list": "[]", "no map": "{}", "a map of nothing": '{"weight_map": {}}', "cut": '{"we'}.items():

        def told(path: Path, _: Path, text: str = text) -> None:
            path.unlink()
            path.with_name(f"{path.name}.index.json").write_text(text)

        yield Lie(f"an index that is {name}", file, told)

    def pickles(path: Path, trap: Path) -> None:
        for name in ("pytorch_model.bin", "diffusion_pytorch_model.bin", "model.pkl", "training_args.bin"):
            path.with_name(name).write_bytes(pickle.dumps(Trap(trap)))

    yield Lie("pickles beside it", file, pickles, harmless=True)
    yield Lie("pickles in its place", file, lambda path, trap: (pickles(path, trap), path.unlink()))  # type: ignore[arg-type, return-value]


def of_json(file: str) -> Iterator[Lie]:
    """Text that is no object, and objects that send the reader to code."""
    quiet = not file.endswith(("/config.json", "model_index.json"))
    for name, text in {
        "a list": b"[]", "null": b"null", "a number": b"3", "not UTF-8": b'{"a": "\xff\xfe"}', "NaN": b"NaN",
        "too deep": b"[" * DEEP, "a number too long": b'{"a": ' + b"9" * 5000 + b"}",
    }.items():  # fmt: skip
        yield Lie(name, file, lambda path, _, text=text: path.write_bytes(text), quiet)  # type: ignore[misc]

    def code(path: Path, trap: Path) -> None:
        path.with_name("evil.py").write_text(CODE.format(trap=str(trap)))
        kinds = ("AutoConfig", "AutoModel", "AutoTokenizer", "AutoImageProcessor", "CLIPModel")
        edit(path, lambda value: value.update(auto_map=dict.fromkeys(kinds, "evil.Evil"), trust_remote_code=True))

    yield Lie("code of its own", file, code, quiet=True)
    for said in ("evil.Evil", "os.system", "../evil", "Evil"):
        for key in ("_class_name", "tokenizer_class", "model_type", "architectures", "image_processor_type"):

            def named(path: Path, trap: Path, said: str = said, key: str = key) -> None:
                path.with_name("evil.py").write_text(CODE.format(trap=str(trap)))
                edit(path, lambda value: value.update({key: [said] if key == "architectures" else said}))

            yield Lie(f"{key} {said}", file, named, quiet=True)
    if file == "model_index.json":
        for part in ("transformer", "unet", "vae", "text_encoder", "tokenizer", "scheduler"):
            for kind in ("x", 3, {"a": 1}, ["os", "system"], ["diffusers", 3], ["../evil", "Evil"], ["evil", "Evil"]):

                def told(path: Path, trap: Path, part: str = part, kind: Any = kind) -> None:
                    path.with_name("evil.py").write_text(CODE.format(trap=str(trap)))
                    edit(path, lambda value: value.update({part: kind}))

                yield Lie(f"{part} is {kind!r}", file, told, quiet=True)


def of_values(file: str, document: Any, count: int, rng: np.random.Generator) -> Iterator[Lie]:
    """``count`` values of a document, each another."""
    places = list(_places(document))
    for at in sorted(rng.choice(len(places), min(count, len(places)), replace=False)) if places else ():
        place, value = places[at], VALUES[int(rng.integers(len(VALUES)))]

        def tell(path: Path, _: Path, place: tuple[Any, ...] = place, value: Any = value) -> None:
            whole = json.loads(path.read_text(encoding="utf-8"))
            inner = whole
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = value
            path.write_text(json.dumps(whole))

        yield Lie(f"{'.'.join(map(str, place))} = {str(value)[:30]}", file, tell, quiet=True)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON object in its file."""
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value))


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Ways to all values within a document, of lists to the first three."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, item in items:
        yield (*place, key)
        yield from _places(item, (*place, key))


def _link(path: Path, to: Path) -> None:
    path.unlink()
    path.symlink_to(to)


def _changed(change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Callable[[Path, Path], None]:
    def tell(path: Path, _: Path) -> None:
        metadata = _split(path)[0].get("__metadata__")
        save_file({name: tensor.clone() for name, tensor in change(load_file(path)).items()}, path, metadata)

    return tell


def _one(at: float, change: Callable[[Tensor], Tensor]) -> Callable[[Path, Path], None]:
    """Another tensor at a place ``at`` of all, of those that have a number of sides."""

    def changed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        names = [name for name in sorted(tensors) if tensors[name].dim() and tensors[name].is_floating_point()]
        name = names[round(at * (len(names) - 1))]
        return tensors | {name: change(tensors[name])}

    return _changed(changed)


def _named(at: float, change: Callable[[str], str | None]) -> Callable[[Path, Path], None]:
    def changed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        name = sorted(tensors)[round(at * (len(tensors) - 1))]
        other = change(name)
        rest = {key: tensor for key, tensor in tensors.items() if key != name}
        return rest if other is None else rest | {other: tensors[name]}

    return _changed(changed)


def _all(change: Callable[[Tensor], Tensor]) -> Callable[[Path, Path], None]:
    return _changed(lambda tensors: {name: change(t) if t.is_floating_point() else t for name, t in tensors.items()})


def _with_another(path: Path, trap: Path) -> None:
    _changed(lambda tensors: tensors | {"more.weight": torch.zeros(3, 5)})(path, trap)


def _split(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _join(path: Path, header: bytes, rest: bytes) -> None:
    path.write_bytes(len(header).to_bytes(8, "little") + header + rest)


def _length(path: Path, length: int) -> None:
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
