"""What a Collection is made of beneath its verbs: the folder, its locks, its settings, and one way to commit."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from nearfield.collection.plans import PLANS
from nearfield.core.errors import BadInput, Corrupt, NearfieldError, ReadOnly, Unsupported
from nearfield.core.protocols import METRICS, Metric
from nearfield.store import tokenizers
from nearfield.store.atomic import sync_folder
from nearfield.store.catalog import Catalog, Change, Durability, Head
from nearfield.store.catalog_file import NAME, refuse_shared
from nearfield.store.fields import Field
from nearfield.store.folder import Folder, is_there
from nearfield.store.locks import LEASES, Lock, network_kind, oldest_lease
from nearfield.store.parts import FOLDER, Entry
from nearfield.store.snapshot import Reader, Snapshot


@dataclass(frozen=True)
class Settings:
    """What is decided when a Collection is made."""

    metric: Metric = "cosine"
    on_zero: str = "raise"
    tokenizer: str = "porter"  # as text; a new Collection's default is another, and recorded
    keep_queries: int = 0


class State:
    """A folder that is open."""

    def __init__(self, folder: Path, *, mode: str, create: bool, durability: Durability, timeout: float) -> None:
        self.place = Folder(folder)
        self.folder = folder = self.place.path
        self.mode = mode
        self.timeout = timeout
        self.durability: Durability = durability
        refuse_links(folder)
        write = mode != "r"
        kind = network_kind(folder)
        if write and kind is not None:
            raise Unsupported(
                f"{folder}: lies on a network file system ({kind}), whose locks do not hold; "
                "copy the folder to a local disk, or open it with mode='r' where nobody writes"
            )
        self.lock = Lock(self.place, "lock", "being written")
        self.work = Lock(self.place, "work", "being compacted")
        if write:
            refuse_shared(self.place)
        new = create and not is_there(folder / NAME)
        hold = self.lock.held(max(timeout, 1.0)) if new else contextlib.nullcontext()
        with hold:  # one at a time makes a catalogue; whoever opens one that is there waits for no writer
            self.reader = Reader(self.place, write=write, create=create, durability=durability)
        self.closed = False
        self._tidied = False

    @property
    def catalog(self) -> Catalog:
        """The catalogue."""
        return self.reader.catalog

    def snapshot(self) -> Snapshot:
        """The latest state."""
        if self.closed:
            raise BadInput(f"{self.folder}: this collection was closed; open it again")
        return self.reader.snapshot()

    def seen(self) -> Snapshot:
        """The state that was seen last, behind a call that looked."""
        return self.reader.seen() or self.snapshot()

    def settings(self) -> Settings | None:
        """What was decided when it was made; None where it was not made to the end."""
        found = self.catalog.get("settings", {})
        if not found:
            return None
        known = {k: v for k, v in found.items() if k in Settings.__dataclass_fields__}
        made = Settings(**known)
        if made.metric not in METRICS or not tokenizers.sound(made.tokenizer):
            raise Corrupt(f"{self.catalog.path}: settings that are not possible: {found}")
        return made

    # -- writing -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def writing(self) -> Iterator[Snapshot]:
        """Hold the lock of the one writer, over the latest state."""
        if self.mode == "r":
            raise ReadOnly(f"{self.folder}: opened with mode='r'; open it without, to write")
        if self.closed:
            raise BadInput(f"{self.folder}: this collection was closed; open it again")
        with self.lock.held(self.timeout), self.catalog.telling():
            try:
                self.place.check()
                yield self.snapshot()
            except BaseException:
                self._tidied = False  # whatever went wrong may have left a file: look again
                raise

    def commit(self, change: Change, *, unlink: tuple[Entry, ...] = ()) -> Head:
        """Apply a change; what it made useless is deleted as soon as nobody reads it."""
        if unlink:
            change.manifest["garbage"] = [
                *self.catalog.get("garbage", []),
                *({"file": e.file, "generation": self.catalog.head().generation + 1} for e in unlink),
            ]
        try:
            head = self.catalog.commit(change)
        except BaseException:
            self.reader.forget()
            raise
        self.reader.stale()
        if not self._tidied:  # not before: a commit that failed may lie on the disk until one that did not covers it
            self._tidied = True
            self.tidy()
        return head

    def make(self, settings: Settings, fields: dict[str, Field]) -> bool:
        """Write the first records of a new Collection; False where somebody else did so meanwhile."""
        numbered = {str(i): {"name": name, "field": f.record()} for i, (name, f) in enumerate(fields.items())}
        with self.lock.held(self.timeout):
            new = self.settings() is None
            if new:
                first = {"settings": asdict(settings), "fields": numbered, "segments": [], "plans": {}, "garbage": []}
                self.commit(Change(manifest=first, new_generation=True, new_fields=len(fields)))
        with self.catalog.telling():  # the names of the new files and folders too must survive a power cut
            sync_folder(self.folder)
            sync_folder(self.folder.parent)
        return new

    def sweep(self) -> None:
        """Delete files that neither the catalogue nor a reader's lease names. The writer's lock must be held."""
        garbage = self.catalog.get("garbage", [])
        if not garbage:
            return
        oldest = oldest_lease(self.place, self.catalog.head().generation)
        if self.durability == "relaxed":
            self.catalog.sync()  # the commit that made them useless must not be lost after they are
        left = []
        for item in garbage:
            entry, generation = str(item["file"]), int(item["generation"])
            if generation > oldest:
                left.append(item)
                continue
            with contextlib.suppress(OSError):
                remove(self.place, entry)
        if len(left) < len(garbage):
            self.commit(Change(manifest={"garbage": left}))

    def tidy(self) -> None:
        """Remove what a writer that died has left: files that were never named by the catalogue."""
        try:
            with self.work.held(0):
                named = {e["file"] for e in self.catalog.get("segments", [])}
                named |= {str(g["file"]) for g in self.catalog.get("garbage", [])}
                stems = {name.partition(".")[0] for name in named}
                for part in (FOLDER, PLANS, "."):
                    for name in self.place.names(part):
                        if name.endswith(".tmp") or (part == FOLDER and name.partition(".")[0] not in stems):
                            self.place.delete(part, name)
        except (NearfieldError, OSError):
            return  # somebody compacts, and the files may be theirs; or the disk fails: another time

    def close(self) -> None:
        """Give everything back."""
        self.closed = True
        self.reader.close()
        self.lock.close()
        self.work.close()
        self.place.close()


class Frozen(State):
    """A folder as it is now, kept so for several reads while others write."""

    def __init__(self, live: State) -> None:
        self.place, self.folder, self.mode = live.place, live.folder, "r"
        self.timeout, self.durability = live.timeout, live.durability
        self.reader, self.lock, self.work = live.reader, live.lock, live.work
        self.closed = False
        self._pinned, self._lease = live.reader.pinned()

    def snapshot(self) -> Snapshot:
        """The state that is kept."""
        if self.closed:
            raise BadInput(f"{self.folder}: this snapshot was closed; take another")
        return self._pinned

    def close(self) -> None:
        """Let its files go."""
        self.closed = True
        self._lease.close()


def remove(folder: Folder, file: str) -> None:
    """Delete a segment and the files that were derived from it."""
    stem = file.partition(".")[0]
    for name in folder.names(FOLDER):
        if name.partition(".")[0] == stem:
            folder.delete(FOLDER, name)


def refuse_links(folder: Path) -> None:
    """Raise ``Corrupt`` where a link stands for a folder of the Collection: files in there are made and deleted."""
    for name in (FOLDER, PLANS, LEASES):
        if (folder / name).is_symlink():
            raise Corrupt(f"{folder / name}: expected a folder, got a link; refusing to follow it")


def looks_like_one(folder: Path) -> bool:
    """Whether a folder holds a Collection."""
    return is_there(folder / NAME)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files of a folder."""
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(base, name)).st_size
    return total


EMPTY = np.zeros(0, np.int64)
