"""Discovery: the file's name is the method's name; nothing is registered anywhere.

The header of a method's file is read with ``ast`` and never imported, so that everything is listed
even where an extra is missing. Other packages add methods through entry points in the group
``nearfield.<room>``; the entry's name is the method's name and its value names the module.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nearfield.core.errors import BadPlan, Unknown, did_you_mean
from nearfield.core.method import Method

ROOMS = ("maps", "codecs", "indexes", "encoders", "fusers", "measures")
_PACKAGE = Path(__file__).resolve().parents[1]
_FIELDS = ("paper", "needs", "status", "slow")


@dataclass(frozen=True)
class Info:
    """What a method's header says."""

    name: str
    room: str
    module: str
    path: str
    summary: str
    about: str
    paper: str = ""
    needs: str = "numpy"
    status: str = "experimental"
    slow: str = ""  # why the default sweep leaves it out

    @property
    def papers(self) -> list[str]:
        """The ids of the papers (S001 ...) that the header names."""
        words = self.paper.replace(",", " ").replace(";", " ").replace(":", " ").replace("(", " ").split()
        return [w.rstrip(").") for w in words if len(w.rstrip(").")) == 4 and w[0] == "S" and w[1:4].isdigit()]


def _read(path: Path, room: str, name: str, module: str) -> Info:
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    doc = ast.get_docstring(tree) or ""
    fields: dict[str, str] = {}
    about: list[str] = []
    last = ""
    for line in doc.splitlines():
        key, colon, value = line.partition(":")
        if colon and key in _FIELDS:
            last = key
            fields[key] = value.strip()
        elif last and line.startswith("  "):
            fields[last] += " " + line.strip()
        else:
            last = ""
            about.append(line)
    text = "\n".join(about).strip()
    summary = text.split("\n\n")[0].replace("\n", " ")
    return Info(name, room, module, str(path), summary, text, **fields)


def _entry_points(room: str) -> dict[str, Info]:
    import importlib.metadata  # slow, and first needed here

    found = {}
    for entry in importlib.metadata.entry_points(group=f"nearfield.{room}"):
        spec = importlib.util.find_spec(entry.module)
        if spec is None or spec.origin is None:
            raise Unknown(f"entry point {entry.name!r} of nearfield.{room} names {entry.module}, which is not there")
        found[entry.name] = _read(Path(spec.origin), room, entry.name, entry.module)
    return found


@cache
def catalog(room: str) -> dict[str, Info]:
    """All methods of a room, by name."""
    if room not in ROOMS:
        raise Unknown(f"no room {room!r}; {did_you_mean(room, ROOMS)}")
    found = {}
    for path in sorted((_PACKAGE / room).glob("*.py")):
        if not path.name.startswith("_"):
            found[path.stem] = _read(path, room, path.stem, f"nearfield.{room}.{path.stem}")
    return found | {k: v for k, v in _entry_points(room).items() if k not in found}


@cache
def headers(folder: str) -> tuple[Info, ...]:
    """The files of another folder of the package whose headers name papers: what is no method of a room."""
    files = sorted((_PACKAGE / folder).glob("*.py"))
    found = (_read(path, folder, path.stem, f"nearfield.{folder}.{path.stem}") for path in files)
    return tuple(info for info in found if info.papers)


def room_of(name: str, rooms: tuple[str, ...]) -> str | None:
    """The room that has this method; headers are read only for a name that is no file of the package."""
    own = (room for room in rooms if _is_own(room, name))
    return next(own, None) or next((room for room in rooms if name in catalog(room)), None)


def _is_own(room: str, name: str) -> bool:
    return name.isidentifier() and not name.startswith("_") and (_PACKAGE / room / f"{name}.py").is_file()


def find(name: str, rooms: tuple[str, ...] = ("maps", "codecs", "indexes")) -> Info:
    """The one method with this name; ``Unknown`` with the nearest names where there is none."""
    known: dict[str, Info] = {}
    for room in rooms:
        known |= catalog(room)
    if name not in known:
        raise Unknown(f"no method {name!r}; {did_you_mean(name, known)}")
    return known[name]


@cache
def load(room: str, name: str) -> Any:
    """Import a method: the one public class that its file defines for the room; of a measure its function."""
    own = room in ROOMS and _is_own(room, name)
    module = importlib.import_module(f"nearfield.{room}.{name}" if own else find(name, (room,)).module)
    if room == "measures":
        function = getattr(module, name, None)
        if not callable(function):
            raise BadPlan(f"{module.__name__}: expected a function {name} in the file, found none")
        return function
    classes = [
        c
        for key, c in vars(module).items()
        if isinstance(c, type) and c.__module__ == module.__name__ and not key.startswith("_")
    ]
    methods = [c for c in classes if issubclass(c, Method)] or classes
    if len(methods) != 1:
        names = ", ".join(c.__name__ for c in methods) or "none"
        raise BadPlan(f"{module.__name__}: expected exactly one public method class in the file, found {names}")
    return methods[0]
