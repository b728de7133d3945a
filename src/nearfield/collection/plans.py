"""Which fields are under a Plan, and where what it learned is kept; the codes themselves are ``coded``'s."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nearfield.core.errors import Corrupt
from nearfield.store.snapshot import Snapshot

PLANS = "plans"


@dataclass(frozen=True)
class Coded:
    """A field's Plan: its text, the file of what it learned, and the type in which the originals are kept, or none."""

    plan: str
    file: str
    keep: str | None

    @classmethod
    def of(cls, snapshot: Snapshot, number: int) -> Coded | None:
        """The Plan of a field, None where its vectors are kept as they are."""
        found = snapshot.plans.get(str(number))
        if found is None:
            return None
        file = str(found.get("file"))
        if len(file) != 16 or not all(c in "0123456789abcdef" for c in file):
            raise Corrupt(f"plans: expected the name of a file, got {file[:40]!r}")
        return cls(str(found["plan"]), file, found.get("keep"))


def dropped(snapshot: Snapshot) -> set[int]:
    """Fields whose originals are not kept."""
    return {n for n in snapshot.fields if (c := Coded.of(snapshot, n)) is not None and c.keep is None}


def plan_file(folder: Path, name: str) -> Path:
    """The file of what a Plan learned."""
    return folder / PLANS / f"{name}.nf"
