"""animus3d priors"""

from __future__ import annotations


def command() -> None:
    """List the video models that --prior can name.

    Says their terms, what their downloads come to and the memory that each command needs. A folder in diffusers' format
    of the same kinds can be named too, and so can one made by animus3d train-prior. Writes nothing.

    Example: animus3d priors
    """
    from animus3d_cli.console import Console
    from stages.priors.catalogue import CATALOGUE, is_here
    from stages.priors.hub import download_line

    terms = [(name, "Apache-2.0", "here") for name in ("points", "embedded-video")]
    needs = [(name, *"1111", "-", "-") for name, _, _ in terms]
    for one in CATALOGUE:
        download = f"{one.download_gb:.1f}" if one.stored_bytes else f"> {one.download_gb:.0f}"
        terms.append((one.name, one.licence, "here" if is_here(one.name) else download))
        stages = (one.fit_lora_gib, one.distill_gib, one.refine_gib, one.sample_gib)
        seconds = (one.sample_seconds(card) for card in ("H100", "RTX 4090"))
        needs.append(
            (
                one.name.rpartition("/")[2],
                *(f"{max(gib, one.text_gib):.1f}" for gib in stages),
                *("-" if took is None else f"{took:.1f}" for took in seconds),
            )
        )
    console = Console()
    console.table(("prior", "licence", "download"), terms)
    console.note("")
    console.table(("GiB; seconds", "lora", "distill", "refine", "sample", "H100", "4090"), needs)
    console.note(
        "download: here, or GB of the parts that are fetched, from counts of parameters and their precision (from "
        "memory, not looked up; >: precision not known). lora, distill, refine, sample: GiB of memory at 256 pixels "
        "(CogVideoX-5b-I2V: 720 x 480, all it makes) with --profile 24gb, computed, not measured on a card. What says "
        "more than 22 does not fit one of 24 GB. H100, 4090: seconds of a sampled clip on such a card, from the work "
        "in the steps that the model's makers take, at 40 % of the card's peak; -: does not fit, or needs no card. "
        "I2V, TI2V and LTX models are given the asset's picture. Models that "
        "are not here are fetched by the first command that names them. CC-BY-NC-4.0 forbids commercial use; read each "
        "model's card."
    )
    console.note(f"To fetch what is used of one, and nothing else: {download_line('NAME')}")
