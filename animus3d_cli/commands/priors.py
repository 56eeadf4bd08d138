"""animus3d priors"""

from __future__ import annotations


def command() -> None:
    """List the video models that --prior can name.

    Says their terms, their sizes and the memory that each command needs. A folder in diffusers' format of the same
    kinds can be named too, and so can one made by animus3d train-prior.

    Example: animus3d priors
    """
    from animus3d_cli.console import Console
    from stages.priors.catalogue import CATALOGUE, is_here
    from stages.priors.hub import download_line

    rows: list[tuple[str, ...]] = [("embedded", "Apache-2.0", "here", "0.01", "1", "1", "1")]
    for one in CATALOGUE:
        stages = (max(gib, one.text_gib) for gib in (one.fit_lora_gib, one.distill_gib, one.refine_gib))
        sizes = (f"{gib:.1f}" for gib in (one.weights_gib, *stages))
        rows.append((one.name, one.licence, "here" if is_here(one.name) else "no", *sizes))
    console = Console()
    console.table(("prior", "licence", "disk", "size", "lora", "distill", "refine"), rows)
    console.note(
        "GiB: size of the weights; memory of fit-lora, distill and refine at 256 pixels (CogVideoX-5b-I2V: 720 x 480, "
        "all it makes) with --profile 24gb, computed, not measured on a card. What says more than 22 does not fit one "
        "of 24 GB. I2V, TI2V and LTX models are given the asset's picture. Models not on disk are fetched by the first "
        "command that names them. CC-BY-NC-4.0 forbids commercial use; read each model's card."
    )
    console.note(f"To fetch what is used of one, and nothing else: {download_line('NAME')}")
