"""Finding what a capture names: photos and masks that lie elsewhere or are called otherwise than on the machine where
it was made; and text that Windows has written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

ENDINGS = (".png", ".jpg", ".jpeg", ".JPG", ".JPEG", ".PNG", ".webp", ".tif", ".tiff", ".bmp")
FOLDERS = ("images", "input", "images_2", "images_4", "images_8", "image", "rgb", "color", "photos", ".")
"""Where photos lie beside a model: COLMAP's, INRIA's ``input``, and reduced copies, the largest first."""

MASKS = ("masks", "mask", "masks_2", "masks_4", "masks_8")
MASK_NAMES = ("{stem}.png", "{name}.png", "{name}", "{stem}.jpg", "{stem}.mask.png", "{stem}_mask.png")
"""What a photo's mask is called: nerfstudio's way, COLMAP's, and others."""


def read_text(file: Path) -> str:
    """The text of a file in UTF-8, with or without a mark at its beginning, or in UTF-16 with one (Windows
    PowerShell). Raises ``OSError``, ``ValueError``."""
    content = file.read_bytes()
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    return content.decode("utf-16" if utf16 else "utf-8-sig")


def plain_name(name: str) -> str:
    """A path as every system writes it: Windows' backslashes become slashes, and its drive is dropped."""
    return re.sub(r"^[A-Za-z]:", "", name.strip().replace("\\", "/"))


def find_picture(name: str, folders: Iterable[Path]) -> Path | None:
    """The file that ``name``, a path of whatever system, means in one of ``folders``: the path itself, else ever less
    of its beginning; with the ending that it has, else another one."""
    plain = PurePosixPath(plain_name(name))
    parts = [part for part in plain.parts if part not in ("/", ".")]
    folders = list(folders)
    tails = ["/".join(parts[start:]) for start in range(len(parts))]
    paths = [Path(name)] if Path(name).is_absolute() else []
    paths += [folder / tail for tail in tails for folder in folders]
    for path in paths:
        if path.is_file():
            return path
    for path in paths:
        for ending in ENDINGS:
            for other in (path.with_name(path.name + ending), path.with_suffix(ending)):
                if other.is_file():
                    return other
    return None


def picture_folders(places: Sequence[Path]) -> list[Path]:
    """Folders of photos in or beside ``places``, the likeliest first."""
    found = [place / name for name in FOLDERS for place in places]
    return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def find_mask(photo: Path) -> Path | None:
    """The mask of a photo in a folder of masks beside the photo's own folder, if there is one."""
    for above in (photo.parent.parent, photo.parent):
        for folder in MASKS:
            if not (above / folder).is_dir() or above / folder == photo.parent:
                continue
            for pattern in MASK_NAMES:
                path = above / folder / pattern.format(stem=photo.stem, name=photo.name)
                if path.is_file():
                    return path
    return None
