"""The model of the disk: exactly the outcomes that may be, by hand for small cases, by an oracle for random ones."""

from __future__ import annotations

import random

import pytest

from crash.disk import PAGE, SECTOR, Disk, Tree, Unmodelled
from crash.shim import Event, Kind

INODES = {"": 1, "a": 2, "b": 3, "sub": 4, "sub/c": 5, "new": 6}
OLD, NEW = b"o" * PAGE, b"n" * PAGE


def event(
    kind: Kind, path: str = "", other: str = "", *, at: int = 0, size: int = 0, data: bytes = b"", error: int = 0
):
    return Event(kind, 1, error, path, other, INODES.get(path, 99), at, size, data)


def create(path: str, data: bytes = b"") -> list[Event]:
    return [event(Kind.CREATE, path), write(path, data)] if data else [event(Kind.CREATE, path)]


def write(path: str, data: bytes, at: int = 0) -> Event:
    return event(Kind.WRITE, path, at=at, data=data)


def sync(path: str = "", error: int = 0) -> Event:
    return event(Kind.SYNC, path, error=error)


def durable(path: str, data: bytes) -> list[Event]:
    return [*create(path, data), sync(path), sync()]


def played(events: list[Event]) -> Disk:
    disk = Disk()
    for each in [event(Kind.MKDIR), *events]:
        disk.play(each)
    return disk


def outcomes(events: list[Event], tries: int = 1500) -> list[Tree]:
    """Everything that a loss of power may leave, as far as so many tries find it; torn pages are left out."""
    disk = played(events)
    found: list[Tree] = []
    for i in range(tries):
        tree = disk.after_power_loss(random.Random(i))
        torn = any(content and not _whole(content) for content in tree.values())
        if not torn and tree not in found:
            found.append(tree)
    return found


def _whole(content: bytes) -> bool:
    return all(len(set(content[i : i + PAGE])) == 1 for i in range(0, len(content), PAGE))


def same(found: list[Tree], expected: list[Tree]) -> bool:
    return sorted(map(repr, found)) == sorted(map(repr, expected))


def test_nothing_is_durable_before_it_is_synced() -> None:
    zeros = bytes(PAGE)
    assert same(outcomes(create("a", NEW)), [{}, {"a": b""}, {"a": zeros}, {"a": NEW}])


def test_syncing_a_file_does_not_make_its_name_durable() -> None:
    assert same(outcomes([*create("a", NEW), sync("a")]), [{}, {"a": NEW}])
    assert outcomes(durable("a", NEW)) == [{"a": NEW}]


def test_a_rename_is_atomic_and_says_nothing_about_the_data() -> None:
    rename = event(Kind.RENAME, "b", "a")
    careful = [*durable("a", OLD), *create("b", NEW), sync("b"), rename]
    assert same(outcomes(careful), [{"a": OLD}, {"a": OLD, "b": NEW}, {"a": NEW}])
    assert outcomes([*careful, sync()]) == [{"a": NEW}]
    careless = [*durable("a", OLD), *create("b", NEW), rename]
    after = {tree["a"] for tree in outcomes(careless)}
    assert after == {OLD, b"", bytes(PAGE), NEW}


def test_pages_are_lost_each_by_itself_and_never_out_of_order() -> None:
    start = durable("a", OLD + OLD)
    two = outcomes([*start, write("a", NEW, 0), write("a", NEW, PAGE)])
    assert same(two, [{"a": x + y} for x in (OLD, NEW) for y in (OLD, NEW)])
    later = b"l" * PAGE
    assert same(outcomes([*start, write("a", NEW), write("a", later)]), [{"a": x + OLD} for x in (OLD, NEW, later)])


def test_what_was_cut_off_never_comes_back() -> None:
    cut = event(Kind.RESIZE, "a", size=0)
    events = [*durable("a", OLD + OLD), cut, write("a", NEW, PAGE)]
    zeros = bytes(PAGE)
    assert same(outcomes(events), [{"a": x} for x in (OLD + OLD, b"", zeros + zeros, zeros + NEW)])


def test_pages_are_torn_at_sectors() -> None:
    disk = played([*durable("a", OLD), write("a", NEW)])
    for i in range(300):
        content = disk.after_power_loss(random.Random(i))["a"] or b""
        assert len(content) == PAGE
        assert all(len(set(content[j : j + SECTOR])) == 1 for j in range(0, PAGE, SECTOR))
    assert len({disk.after_power_loss(random.Random(i))["a"] for i in range(300)}) > 20


def test_folders_take_along_what_is_in_them() -> None:
    events = [event(Kind.MKDIR, "sub"), *create("sub/c", NEW), sync("sub/c"), sync("sub")]
    assert same(outcomes(events), [{}, {"sub": None, "sub/c": NEW}])
    assert outcomes([*events, sync()]) == [{"sub": None, "sub/c": NEW}]


def test_changes_of_one_name_keep_their_order() -> None:
    unlinked = [*durable("a", OLD), event(Kind.UNLINK, "a"), *create("a"), sync("a")]
    assert same(outcomes(unlinked), [{"a": OLD}, {}, {"a": b""}])


def test_after_a_failed_sync_the_next_one_saves_nothing() -> None:
    failed = [*durable("a", OLD + OLD), write("a", NEW), sync("a", error=5)]
    later = [*failed, write("a", NEW, PAGE), sync("a")]
    assert same(outcomes(later), [{"a": OLD + NEW}, {"a": NEW + NEW}])
    assert outcomes([*failed, write("a", NEW), sync("a")]) == [{"a": NEW + OLD}]


def test_a_file_from_nowhere_is_refused() -> None:
    with pytest.raises(Unmodelled):
        played([write("a", NEW)])


@pytest.mark.parametrize("seed", range(30))
def test_random_histories_against_snapshots(seed: int) -> None:
    """Each sector that survives is that of some moment since the last sync, and so is the size."""
    chance = random.Random(seed)
    events = create("a")
    moments = [b""]
    disk = played([*events, sync()])
    for _ in range(chance.randint(1, 25)):
        do = chance.random()
        if do < 0.7:
            data = bytes([chance.randint(1, 255)]) * chance.randint(1, 3 * PAGE)
            disk.play(write("a", data, chance.randint(0, 3 * PAGE)))
        elif do < 0.85:
            disk.play(event(Kind.RESIZE, "a", size=chance.randint(0, 4 * PAGE)))
        else:
            disk.play(sync("a"))
            moments = []
        moments.append(disk.now()["a"] or b"")
    longest = max(map(len, moments))
    padded = [moment.ljust(longest, b"\0") for moment in moments]
    for i in range(40):
        content = disk.after_power_loss(random.Random(i))["a"]
        assert content is not None
        assert len(content) in set(map(len, moments))
        for at in range(0, len(content), SECTOR):
            end = min(at + SECTOR, len(content))
            # Zeros: space that the size made. A sector may end in them where a cut went through it.
            known = {moment[at:end] for moment in padded} | {bytes(end - at)}
            known |= {moment[at : at + k].ljust(end - at, b"\0") for moment in padded for k in _cuts(moments, at, end)}
            assert content[at:end] in known
    assert disk.after_power_loss(random.Random(0), names=1, data=1) == disk.now()
    disk.play(event(Kind.SYNC_ALL))
    assert all(disk.after_power_loss(random.Random(i)) == disk.now() for i in range(5))


def _cuts(moments: list[bytes], at: int, end: int) -> set[int]:
    return {len(moment) - at for moment in moments if at < len(moment) < end}
