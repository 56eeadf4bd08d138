"""The embedded prior's words: a word-level tokenizer and a two-layer CLIP text encoder, both in Hugging Face's formats.

Words the prior has never read become ``<unk>``; training replaces nouns by it now and then, so that "a walking okapi"
still walks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from stages.errors import BadInput, first_line

PAD, BOS, UNK, EOS = "<pad>", "<bos>", "<unk>", "<eos>"
MAX_WORDS = 16
"""Tokens of a prompt, ends included; longer prompts are cut."""


def build_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """A lower-casing word-level tokenizer over the four special tokens and ``words``, numbered in their order."""
    vocabulary = {token: index for index, token in enumerate([PAD, BOS, UNK, EOS, *dict.fromkeys(words)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(behavior="removed")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}", special_tokens=[(BOS, vocabulary[BOS]), (EOS, vocabulary[EOS])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        unk_token=UNK,
        eos_token=EOS,
        model_max_length=MAX_WORDS,
    )


def numbered(tokenizer: Any, prompts: Sequence[str], longest: int, prior: str) -> Any:
    """``prompts`` as the tokenizer of ``prior`` numbers their words: ``input_ids`` and ``attention_mask`` [B, longest].
    Raises ``BadInput``: it cannot, for it is not whole."""
    try:
        return tokenizer(list(prompts), padding="max_length", truncation=True, max_length=longest, return_tensors="pt")
    except Exception as error:  # transformers raises many kinds
        raise BadInput(f"The tokenizer of the prior {prior} cannot be used: {first_line(error)}.") from None


def must_know(encoder: Any, ids: Tensor, prior: str) -> None:
    """Raise ``BadInput`` where the tokenizer of ``prior`` numbers words [B, L] beyond those that its encoder knows."""
    known = encoder.get_input_embeddings().num_embeddings
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < known:
        raise BadInput(f"The tokenizer of the prior {prior} has word {int(ids.max())}, its text encoder knows {known}.")


def known_words(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """The words of a tokenizer by ``build_tokenizer``, in their order."""
    vocabulary = tokenizer.get_vocab()
    return [word for word in sorted(vocabulary, key=vocabulary.__getitem__) if word not in (PAD, BOS, UNK, EOS)]


def build_text_encoder(tokenizer: PreTrainedTokenizerFast, width: int = 128, num_layers: int = 2) -> CLIPTextModel:
    """A freshly initialised small CLIP text encoder for ``tokenizer``."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=num_layers,
            num_attention_heads=4,
            max_position_embeddings=MAX_WORDS,
            projection_dim=width,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
