"""animus3d priors"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    convert: Annotated[
        Path | None,
        typer.Option(
            "--convert", metavar="FILE", help="Animate3D's checkpoint, a .ckpt, to make a prior of.", show_default=False
        ),
    ] = None,
    mvdream: Annotated[
        Path | None,
        typer.Option("--mvdream", metavar="FOLDER", help="With --convert: MVDream for SD 1.5.", show_default=False),
    ] = None,
    ip_adapter: Annotated[
        Path | None,
        typer.Option("--ip-adapter", metavar="FOLDER", help="With --convert: h94/IP-Adapter.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="With --convert: the folder to write.", show_default=False),
    ] = None,
) -> None:
    """List what --prior can name; convert Animate3D to it.

    Says their terms, what their downloads come to and the memory that each command needs. A folder in diffusers' format
    of the same kinds can be named too, and so can one made by animus3d train-prior. Writes nothing, but with --convert:
    that reads Animate3D's checkpoint (tensors only: nothing in it is run), MVDream's folder and IP-Adapter's, and
    writes FOLDER as safetensors, for --prior FOLDER. It takes as much memory as the weights, 7 GB.

    Example: animus3d priors
    """
    parts = {"--mvdream": mvdream, "--ip-adapter": ip_adapter, "--out": out}
    if convert is None:
        if given := [name for name, value in parts.items() if value is not None]:
            raise typer.BadParameter("goes with --convert only", param_hint=given[0])
        list_priors()
        return
    if mvdream is None or ip_adapter is None or out is None:
        lacking = next(name for name, value in parts.items() if value is None)
        raise typer.BadParameter("is needed to convert", param_hint=lacking)
    from animus3d_cli.console import Console
    from stages.priors.multiview.convert import Sources
    from stages.priors.multiview.convert import convert as write_prior

    write_prior(Sources(checkpoint=convert, mvdream=mvdream, ip_adapter=ip_adapter), out, Console())


def list_priors() -> None:
    """The table."""
    from animus3d_cli.console import Console
    from stages.priors.catalogue import ANIMATE3D, CATALOGUE, is_here
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
    terms.append((ANIMATE3D.name, ANIMATE3D.licence, f"{ANIMATE3D.download_gb:.1f}"))
    memory = ("-", "-", f"{ANIMATE3D.refine_gib:.1f}", f"{ANIMATE3D.sample_gib:.1f}")
    needs.append((ANIMATE3D.name.rpartition("/")[2], *memory, "-", "-"))
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
    console.note(
        f"{ANIMATE3D.name} is Animate3D, which makes four videos that agree: {ANIMATE3D.sample_gib:.1f} GiB to sample, "
        f"computed. Its weights are a checkpoint that is converted once: {ANIMATE3D.how}"
    )
    console.note(f"To fetch what is used of one, and nothing else: {download_line('NAME')}")
