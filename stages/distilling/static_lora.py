"""The static LoRA of a run, for objectives that compare with the asset at rest."""

from __future__ import annotations

from stages.errors import BadInput, MissingStage
from stages.events import Caution, Report
from stages.files import read_json
from stages.priors.lora import load_adapter
from stages.priors.prior import Prior
from stages.run_dir import RunDir
from stages.run_dir.layout import LORA


def lora_hash(run_dir: RunDir, prior: str, fingerprint: str) -> str:
    """The hash of the run's static LoRA.

    Args:
        prior: its name, and its ``fingerprint``.

    Raises:
        MissingStage: there is none.
        BadInput: it was made for another prior.
    """
    folder = run_dir.stage(LORA.folder)
    if not folder.is_complete():
        raise MissingStage(
            f"{run_dir.path} has no static LoRA, which MSD compares with.", "Run first: animus3d fit-lora"
        )
    made_for = folder.read_result(LORA.result)[1]
    if made_for.get("prior_fingerprint", fingerprint) != fingerprint:
        raise BadInput(
            f"The static LoRA was made for the prior {made_for['prior']!r}, not for {prior!r}.",
            f"Run: animus3d fit-lora --prior {prior} --force",
        )
    return folder.result_hash(LORA.result)


def adapt(prior: Prior, run_dir: RunDir, sentences: tuple[str, str]) -> str:
    """Put the run's static LoRA on ``prior``, which will be asked for ``sentences``; returns the prompt that it was
    made under."""
    tensors, metadata = run_dir.stage(LORA.folder).read_result(LORA.result)
    prompt = metadata["static_prompt"]
    prior.encode_text([*sentences, prompt])  # before the denoiser needs the memory
    assert prior.denoiser is not None
    load_adapter(prior.denoiser, tensors, metadata)
    return prompt


def warn_of_other_ground(run_dir: RunDir, ground: bool, report: Report) -> None:
    """A ``Caution`` where the static LoRA was fitted to pictures over a ground and these have none, or vice versa."""
    recorded = read_json(run_dir.stage(LORA.folder).path / "config.json") or {}
    if recorded.get("settings", {}).get("views.ground", False) != ground:
        has = "without" if ground else "with"
        report(
            Caution(f"The static LoRA was fitted {has} --ground, unlike this. Better: fit-lora as this, with --force")
        )
