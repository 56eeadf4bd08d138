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

    own = [("points", "Apache-2.0", "here", "1", "1", "1"), ("embedded-video", "Apache-2.0", "here", "1", "1", "1")]
    rows: list[tuple[str, ...]] = [*own]
    for one in CATALOGUE:
        download = f"{one.download_gb:.1f}" if one.stored_bytes else f"> {one.download_gb:.0f}"
        stages = (max(gib, one.text_gib) for gib in (one.fit_lora_gib, one.distill_gib, one.refine_gib))
        rows.append(
            (one.name, one.licence, "here" if is_here(one.name) else download, *(f"{gib:.1f}" for gib in stages))
        )
    console = Console()
    console.table(("prior", "licence", "download", "lora", "distill", "refine"), rows)
    console.note(
        "download: here, or GB of the parts that are fetched, from counts of parameters and their precision (from "
        "memory, not looked up; >: precision not known). lora, distill, refine: GiB of memory at 256 pixels "
        "(CogVideoX-5b-I2V: 720 x 480, all it makes) with --profile 24gb, computed, not measured on a card. What says "
        "more than 22 does not fit one of 24 GB. I2V, TI2V and LTX models are given the asset's picture. Models that "
        "are not here are fetched by the first command that names them. CC-BY-NC-4.0 forbids commercial use; read each "
        "model's card."
    )
    console.note(f"To fetch what is used of one, and nothing else: {download_line('NAME')}")
