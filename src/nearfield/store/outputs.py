"""Files that are written for a user: none is replaced unasked, no link is followed, none lands in a Collection."""

from __future__ import annotations

import os
from pathlib import Path

from nearfield.core.errors import BadInput

_CATALOG = "catalog.db"


def check_output(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Raise ``BadInput`` unless a file may be written at ``path``; ``overwrite`` allows one that is there.

    A link is refused, whatever it leads to, and so is a place anywhere in the folder of a Collection.
    """
    place = Path(path)
    if place.exists() and not place.is_dir() and not place.is_file():
        raise BadInput(f"{place}: expected a file to write, got a device or pipe; name a file")
    if place.is_symlink():
        raise BadInput(f"{place}: is a link; name the file that it leads to, or remove it")
    if os.path.lexists(place) and not place.is_dir() and not overwrite:
        raise BadInput(f"{place}: is there already; choose another name, or pass overwrite=True")
    real = Path(os.path.realpath(place))
    if any((folder / _CATALOG).exists() for folder in (real, *real.parents)):
        raise BadInput(f"{place}: lies in the folder of a collection; choose a place outside")
