"""A disk that may lose power: what a log of file operations can have left behind.

What is modelled, and what not
------------------------------
The disk is that of POSIX at its worst, on Linux's page cache: nothing is durable before it is synced, and no order
holds between things that are not. It is no disk that can do anything: states that no kernel could leave are left out.

*File data.* ``fsync`` and ``fdatasync`` make the data and size of one file durable. Of what was written since then,
each page of 4,096 bytes is on the disk as it was after some of the writes to it, each page by itself: so writes are
lost and reordered between pages, but a later write to a page never survives without the earlier ones of that page. A
page that was under way when the power went is torn between two of its states at sectors of 512 bytes.

*Size.* The size is one that the file had since the last sync, chosen apart from the data: where the size made it and
the page did not, zeros are read. Shrinking is a barrier in its file: bytes that were cut off never come back, and what
was written after it is on the disk only where the cut is.

*Names.* Creating, renaming, linking and unlinking are durable once the folder is synced; **syncing a new file does
not make its name durable**. Other changes of names survive in any selection, but those of one name in their order. A
rename is atomic: both names change or none. A folder whose own name is lost takes all below it along.

*Failed syncs.* After a failed sync, Linux takes the pages for clean: a later sync that succeeds does not write them,
unless they are written anew (Rebello et al., "Can Applications Recover from fsync Failures?", 2020).

*Not modelled.* Bits that rot, devices that lie about a flush, garbage instead of zeros in new space, modes and times,
mapped writing (the log refuses it).

The terms are those of Pillai et al., "All File Systems Are Not Created Equal", 2014.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from crash.shim import Event, Kind

PAGE, SECTOR = 4096, 512


class Unmodelled(Exception):
    """The log holds something that the model of the disk cannot express."""


@dataclass
class Change:
    """A change of a file's data since its last sync: bytes at an offset, or (data None) a new size."""

    offset: int
    data: bytes | None
    clean: bool = False  # a sync failed after it: later ones pass it by

    def pages(self) -> range:
        """The pages that it touches; none for a new size."""
        return range(self.offset // PAGE, -(-(self.offset + len(self.data or b"")) // PAGE))

    def within(self, pages: set[int], size: int) -> Iterator[Change]:
        """The parts of it that lie in some pages, below a size."""
        for page in sorted(pages.intersection(self.pages())):
            start, stop = max(self.offset, page * PAGE), min(self.offset + len(self.data or b""), page * PAGE + PAGE)
            if start < min(stop, size):
                yield Change(start, (self.data or b"")[start - self.offset : min(stop, size) - self.offset], True)

    def apply(self, content: bytearray, page: int | None = None, sectors: set[int] | None = None) -> None:
        """Do it to a content, or only the part in one page, or in some of its sectors."""
        if self.data is None:
            resize(content, self.offset)
            return
        start, stop = self.offset, self.offset + len(self.data)
        if page is not None:
            start, stop = max(start, page * PAGE), min(stop, (page + 1) * PAGE)
        for low, high in _parts(start, stop, sectors):
            if len(content) < high:
                resize(content, high)
            content[low:high] = self.data[low - self.offset : high - self.offset]


def _parts(start: int, stop: int, sectors: set[int] | None) -> Iterator[tuple[int, int]]:
    if sectors is None:
        yield start, stop
        return
    for at in range(start // SECTOR * SECTOR, stop, SECTOR):
        if at % PAGE // SECTOR in sectors:
            yield max(at, start), min(at + SECTOR, stop)


def resize(content: bytearray, size: int) -> None:
    """Cut a content, or lengthen it with zeros."""
    if len(content) > size:
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


@dataclass(eq=False)
class File:
    """A file: what processes see, what is durable for sure, and the changes in between."""

    seen: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    pending: list[Change] = field(default_factory=list)
    _image: bytes | None = None

    def change(self, change: Change) -> None:
        """Write or resize."""
        change.apply(self.seen)
        self.pending.append(change)
        self._image = None

    def image(self) -> bytes:
        """What processes see."""
        if self._image is None:
            self._image = bytes(self.seen)
        return self._image

    def sync(self, *, failed: bool = False) -> None:
        """All pending changes become durable; where the sync fails, none, and the next sync passes them by."""
        if failed:
            for change in self.pending:
                change.clean = True
            return
        lost = {page for change in self.pending if change.clean for page in change.pages()}
        lost -= {page for change in self.pending if not change.clean for page in change.pages()}
        lost = {page for page in lost if page * PAGE < len(self.seen)}
        old, new = self.durable, bytearray(self.image())
        for page in lost:
            start, stop = page * PAGE, min((page + 1) * PAGE, len(new))
            new[start:stop] = old[start:stop].ljust(stop - start, b"\0")
        self.durable = bytes(new)
        self.pending = [part for change in self.pending for part in change.within(lost, len(new))]

    def survivor(self, chance: random.Random, keep: float) -> bytes:
        """A content that the disk may hold after a loss of power; ``keep`` is how likely a page is up to date."""
        if not self.pending:
            return self.durable
        last, visible, size = self._sizes(chance)
        chosen = {page: chance.randint(0, n) if chance.random() >= keep else n for page, n in visible.items()}
        behind = [page for page, n in visible.items() if chosen[page] < n]
        # The last page written is the one most likely under way.
        torn = chance.choice(behind) if behind and chance.random() < 0.5 else None
        sectors = set(chance.sample(range(PAGE // SECTOR), chance.randint(1, PAGE // SECTOR - 1)))
        content = bytearray(self.durable)
        done: dict[int, int] = dict.fromkeys(visible, 0)
        for change in self.pending[:last]:
            if change.data is None:
                # Growing is in the size that is chosen; a cut before the chosen epoch has happened.
                resize(content, min(len(content), change.offset))
                continue
            for page in change.pages():
                if done[page] < chosen[page]:
                    change.apply(content, page)
                elif page == torn and done[page] == chosen[page]:
                    change.apply(content, page, sectors)
                done[page] += 1
        resize(content, size)
        return bytes(content)

    def _sizes(self, chance: random.Random) -> tuple[int, dict[int, int], int]:
        """Where an epoch between two cuts ends in the pending changes; the writes to each page until then; a size."""
        sizes = [len(self.durable)]
        for change in self.pending:
            end = change.offset if change.data is None else max(sizes[-1], change.offset + len(change.data))
            sizes.append(end)
        # sizes[i] is that before change i; a cut at i makes i + 1 the first state of an epoch.
        starts = [0] + [i + 1 for i in range(len(self.pending)) if sizes[i + 1] < sizes[i]]
        epoch = chance.choice(starts) if chance.random() < 0.5 else starts[-1]
        later = [start for start in starts if start > epoch]
        last = later[0] - 1 if later else len(self.pending)
        counts: dict[int, int] = {}
        for change in self.pending[:last]:
            for page in change.pages():
                counts[page] = counts.get(page, 0) + 1
        size = chance.choice(sizes[epoch : last + 1]) if chance.random() < 0.5 else sizes[last]
        return last, counts, size


@dataclass(eq=False)
class Folder:
    """A folder is its identity: what is in it stands in the tables of names."""


Node = File | Folder
Place = tuple[Folder, str]


class Names:
    """A table of names: which file or folder each place of each folder holds."""

    def __init__(self) -> None:
        self.at: dict[Place, Node] = {}

    def set(self, changes: dict[Place, Node | None]) -> None:
        """Change some places at once; None empties one."""
        for place, node in changes.items():
            if node is None:
                self.at.pop(place, None)
            else:
                self.at[place] = node

    def walk(self, root: Folder) -> Iterator[tuple[str, Node]]:
        """Everything that can be reached from a folder, with its path."""
        below: dict[Folder, list[tuple[str, Node]]] = {}
        for (folder, name), node in self.at.items():
            below.setdefault(folder, []).append((name, node))
        todo: list[tuple[str, Folder]] = [("", root)]
        while todo:
            path, folder = todo.pop()
            for name, node in sorted(below.get(folder, ()), key=lambda pair: pair[0]):
                yield path + name, node
                if isinstance(node, Folder):
                    todo.append((f"{path}{name}/", node))


Tree = dict[str, bytes | None]  # path: content of a file, None for a folder


class Disk:
    """Plays a log, one event at a time, and tells what may be found after a crash at that point."""

    def __init__(self) -> None:
        self.root = Folder()
        self.seen, self.durable = Names(), Names()
        self.pending: list[dict[Place, Node | None]] = []
        self._inodes: dict[int, Node] = {}

    # ---- playing the log

    def play(self, event: Event) -> bool:
        """Apply an event; whether it changed what a crash may leave."""
        if event.kind is Kind.MARK:
            return False
        if event.kind is Kind.UNMODELLED:
            raise Unmodelled(f"{event.path}: {event.other}")
        if event.kind is Kind.SYNC_ALL:
            self._sync_all()
        elif event.kind in (Kind.WRITE, Kind.RESIZE, Kind.SYNC):
            self._data(event)
        else:
            self._name(event)
        return True

    def _data(self, event: Event) -> None:
        node = self._inodes.get(event.inode)
        if node is None:
            raise Unmodelled(f"{event}: the log does not say where this file came from")
        if event.kind is Kind.SYNC:
            if isinstance(node, File):
                node.sync(failed=bool(event.error))
            elif not event.error:
                self._sync_folder(node)
        elif isinstance(node, File):
            node.change(Change(event.offset, event.data) if event.kind is Kind.WRITE else Change(event.size, None))

    def _name(self, event: Event) -> None:
        if event.kind is Kind.MKDIR and not event.path:
            self._inodes[event.inode] = self.root
            return
        place = self._place(event.path)
        if event.kind in (Kind.CREATE, Kind.MKDIR):
            node: Node = File() if event.kind is Kind.CREATE else Folder()
            self._inodes[event.inode] = node
            self._rename({place: node})
        elif event.kind is Kind.RENAME:
            node, to = self.seen.at[place], self._place(event.other)
            if self.seen.at.get(to) is not node:  # two links of one file: rename does nothing
                self._rename({place: None, to: node})
        elif event.kind is Kind.LINK:
            self._rename({self._place(event.other): self.seen.at[place]})
        else:
            self._rename({place: None})

    def _place(self, path: str) -> Place:
        folder = self.root
        *parents, last = path.split("/")
        for part in parents:
            node = self.seen.at[folder, part]
            if not isinstance(node, Folder):
                raise Unmodelled(f"{path}: {part} is no folder")
            folder = node
        return folder, last

    def _rename(self, changes: dict[Place, Node | None]) -> None:
        self.seen.set(changes)
        self.pending.append(changes)

    def _sync_folder(self, folder: Folder) -> None:
        chosen = [any(place[0] is folder for place in change) for change in self.pending]
        kept = self._with_earlier(chosen)
        for change, keep in zip(self.pending, kept, strict=True):
            if keep:
                self.durable.set(change)
        self.pending = [change for change, keep in zip(self.pending, kept, strict=True) if not keep]

    def _sync_all(self) -> None:
        for node in set(self._inodes.values()):
            if isinstance(node, File):
                node.sync()
        for change in self.pending:
            self.durable.set(change)
        self.pending = []

    def _with_earlier(self, chosen: list[bool]) -> list[bool]:
        """A selection of pending changes of names, and what must then have come first: earlier ones of their names."""
        out, names = list(chosen), set[Place]()
        for i in range(len(out) - 1, -1, -1):
            out[i] = out[i] or not names.isdisjoint(self.pending[i])
            if out[i]:
                names |= self.pending[i].keys()
        return out

    # ---- what a crash leaves

    def now(self) -> Tree:
        """What is there when only the process dies: all that it has done."""
        return {path: node.image() if isinstance(node, File) else None for path, node in self.seen.walk(self.root)}

    def after_power_loss(self, chance: random.Random, *, names: float | None = None, data: float | None = None) -> Tree:
        """What may be there after a loss of power.

        ``names`` and ``data`` say how much of what is not synced survives, from 0 (nothing) to 1 (everything); where
        they are None it is random, and so is each name and page.
        """
        table = Names()
        table.at = dict(self.durable.at)
        for change, keep in zip(self.pending, self._surviving_names(chance, names), strict=True):
            if keep:
                table.set(change)
        likely = chance.choice([0.1, 0.5, 0.9]) if data is None else data
        contents: dict[File, bytes] = {}
        out: Tree = {}
        for path, node in table.walk(self.root):
            if isinstance(node, Folder):
                out[path] = None
                continue
            if node not in contents:
                fixed = {0.0: node.durable, 1.0: node.image()} if data is not None else {}
                contents[node] = fixed[likely] if likely in fixed else node.survivor(chance, likely)
            out[path] = contents[node]
        return out

    def _surviving_names(self, chance: random.Random, share: float | None) -> list[bool]:
        if share is not None:
            return [bool(share)] * len(self.pending)
        if chance.random() < 0.4:  # as a journal does it: all up to some point
            cut = chance.randint(0, len(self.pending))
            return [i < cut for i in range(len(self.pending))]
        likely = chance.choice([0.2, 0.5, 0.8])
        return self._with_earlier([chance.random() < likely for _ in self.pending])
