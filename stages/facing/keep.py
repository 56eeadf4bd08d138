"""Find or take over where an asset faces, keep it in the run, and tell."""

from __future__ import annotations

from stages.errors import SettingsDiffer
from stages.events import Caution, Note, Report, Wrote
from stages.facing.picture import draw_facing
from stages.gaussians import Gaussians
from stages.gaussians.facing import Facing, parse_facing
from stages.media.contact_sheet import write_png
from stages.priors.facing import find_facing
from stages.priors.find import is_points_kind
from stages.raster import choose
from stages.run_dir import RunDir

UNSURE = 0.6
"""Confidence below which a person is asked to look."""


def keep_facing(
    run: RunDir, asset: Gaussians, said: str, report: Report, *, usual: bool = False, force: bool = False
) -> bool:
    """Have the run know where ``asset``, which is its asset, faces; False when it already does. A picture of it that is
    damaged is drawn again.

    Args:
        said: what ``--facing`` says. "auto" finds it, and leaves what the run already knows.
        usual: its file is of a kind whose front is +z (glTF 2.0, section 3.4: 126 of 135 files that were looked at):
            that is taken where the shape leaves doubt.
        force: find it again, or take over what differs.

    Raises:
        BadInput: ``said`` is no direction.
        SettingsDiffer: the run knows another direction than ``said``, and ``force`` is not set.
    """
    told, known = parse_facing(said), run.kept_facing()
    if known is not None and not force:
        if told is None or told.degrees == known.degrees:
            if not run.picture_is_damaged():
                return False
            report(Caution(f"{run.facing_png} was damaged and is drawn again."))
            _write(run, asset, known)
            return True
        raise SettingsDiffer(
            f"The asset of {run.path} faces {known.words}, not {told.words}.",
            "Use --force to change it: what was made by a prior that sees points is outdated then.",
        )
    found = told or find_facing(asset)
    facing = settled(found, usual)
    _write(run, asset, facing)
    report(what_to_say(found) if facing == found else _taken_as_usual(found))
    report(Wrote(run.facing_png, "where it faces"))
    return True


def _write(run: RunDir, asset: Gaussians, facing: Facing) -> None:
    write_png(run.facing_png, draw_facing(asset, facing, choose("cpu")))
    run.put_facing(facing)  # last: whoever finds it takes the picture to be there, too


def settled(found: Facing, usual: bool) -> Facing:
    """What is worked with where the shape says ``found``; ``usual`` as in ``keep_facing``."""
    return Facing(degrees=0.0) if usual and _doubtful(found) else found


def _doubtful(facing: Facing) -> bool:
    return facing.degrees is not None and facing.confidence is not None and facing.confidence < UNSURE


def _taken_as_usual(found: Facing) -> Note | Caution:
    """One line about a body that is taken to face as its kind of file does."""
    sure = f"{100.0 * (found.confidence or 0.0):.0f} % sure"
    if found.degrees == 0.0:
        return Note(f"It faces +z, as glTF files do; its shape says so too ({sure}). --facing says otherwise.")
    return Caution(
        f"It is taken to face +z, as glTF files do. Its shape would say {found.words} ({sure}): --facing says it."
    )


def what_to_say(facing: Facing) -> Note | Caution:
    """One line about it; a caution where it is not sure."""
    if facing.confidence is None:
        taken = " and is taken to face +z" if facing.degrees is None else ""
        return Note(f"It faces {facing.words}{taken}, as --facing says.")
    sure = f"{100.0 * facing.confidence:.0f} % sure"
    if facing.degrees is None:
        return Note(f"It has no front that can be told ({sure}) and is taken to face +z; --facing says otherwise.")
    if _doubtful(facing):
        return Caution(f"It may face {facing.words}, but that is no more than a guess ({sure}): --facing says it.")
    return Note(f"It faces {facing.words} ({sure}); --facing says otherwise.")


def facing_input(run: RunDir, prior: str) -> dict[str, str]:
    """Where the asset faces as an input of a stage: only where ``prior`` sees points, for others do not ask."""
    return {"facing": f"{run.facing().used_deg:g}"} if is_points_kind(prior) else {}
