"""LoRA on a prior's denoiser: injected, switched on and off, saved alone.

One copy of the weights serves both ``eps_theta`` (adapter off) and ``eps_lora`` (adapter on): with the adapter off the
outputs are those of the frozen model, bit for bit.

PEFT takes half a second to import and is needed by few: it is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from stages.errors import CorruptCheckpoint, first_line

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""The projections of diffusers' attention, which the paper's LoRA adapts; the same names in every family."""


def add_adapter(denoiser: nn.Module, *, rank: int, alpha: float, seed: int) -> list[tuple[str, nn.Parameter]]:
    """Inject an adapter that changes nothing yet; returns its trainable parameters by name.

    They are float32 whatever the denoiser is: bfloat16 keeps eight bits and would round most small steps away.
    """
    from peft import LoraConfig, inject_adapter_in_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LoraConfig(
            r=rank,
            lora_alpha=alpha,  # type: ignore[arg-type]
            target_modules=list(TARGETS),
            lora_dropout=0.0,
        )
        inject_adapter_in_model(config, denoiser)
    parameters = [(name, p) for name, p in denoiser.named_parameters() if "lora_" in name]
    for _, parameter in parameters:
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    set_adapter(denoiser, enabled=False)
    return parameters


def set_adapter(denoiser: nn.Module, *, enabled: bool) -> None:
    """Switch every adapted layer on or off."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in denoiser.modules():
        if isinstance(module, BaseTunerLayer):
            trainable = [p.requires_grad for p in module.parameters()]
            module.enable_adapters(enabled)
            for parameter, flag in zip(module.parameters(), trainable, strict=True):
                parameter.requires_grad_(flag)  # PEFT freezes what it disables; training goes on across switches


def remove_adapter(denoiser: nn.Module) -> None:
    """Take the adapter off, if there is one: ``denoiser`` is as it was before ``add_adapter``."""
    if not any("lora_" in name for name, _ in denoiser.named_parameters()):
        return
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in list(denoiser.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, BaseTunerLayer):
                setattr(module, name, child.get_base_layer())
    if hasattr(denoiser, "peft_config"):
        del denoiser.peft_config


@contextmanager
def adapter_on(denoiser: nn.Module | None) -> Iterator[None]:
    """Within the block ``denoiser`` is the adapted model; priors without weights (None) stay as they are."""
    if denoiser is None:
        yield
        return
    set_adapter(denoiser, enabled=True)
    try:
        yield
    finally:
        set_adapter(denoiser, enabled=False)


def adapter_tensors(denoiser: nn.Module) -> dict[str, Tensor]:
    """The adapter alone, in PEFT's naming."""
    from peft import get_peft_model_state_dict

    return {name: t.detach().cpu().contiguous() for name, t in get_peft_model_state_dict(denoiser).items()}


def load_adapter(denoiser: nn.Module, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Inject the adapter of ``adapter_tensors`` with the rank and alpha in ``metadata``; it is left switched off.

    Raises:
        CorruptCheckpoint: the tensors do not fit this denoiser.
    """
    from peft import set_peft_model_state_dict

    if others := sorted(name for name, tensor in tensors.items() if not tensor.is_floating_point()):
        raise CorruptCheckpoint(
            f"The LoRA's {others[0]} are no floating-point numbers.", "Run: animus3d fit-lora --force"
        )
    if broken := sorted(name for name, tensor in tensors.items() if not tensor.float().isfinite().all()):
        raise CorruptCheckpoint(f"The LoRA's {broken[0]} hold NaN or infinity.", "Run: animus3d fit-lora --force")
    add_adapter(denoiser, rank=int(metadata["rank"]), alpha=float(metadata["alpha"]), seed=0)
    try:
        outcome: Any = set_peft_model_state_dict(denoiser, dict(tensors))
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or [first_line(error)])[-1].strip()  # the last says which tensor
        raise CorruptCheckpoint(
            f"The LoRA does not fit this prior: {reason}", "Run: animus3d fit-lora --force"
        ) from None
    if outcome.unexpected_keys:
        raise CorruptCheckpoint(
            f"The LoRA has tensors this prior does not know, such as {outcome.unexpected_keys[0]}.",
            "It was made for another prior. Run: animus3d fit-lora --force",
        )
    if lacking := sorted(set(adapter_tensors(denoiser)) - set(tensors)):
        raise CorruptCheckpoint(
            f"The LoRA has no {lacking[0]} ({len(lacking)} missing in all).", "Run: animus3d fit-lora --force"
        )


__all__ = ["TARGETS", "adapter_on", "adapter_tensors", "add_adapter", "load_adapter", "remove_adapter", "set_adapter"]
