"""Columns of metadata: exact, small, quick, and Corrupt where a file says what cannot be."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import random
import time
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from nearfield.core.errors import BadInput, Corrupt, NearfieldError
from nearfield.store.metadata import Metadata
from nearfield.store.segments import _DTYPES

UTC = UTC


def stored(m):
    """Written and read again: description through JSON, columns as read-only copies."""
    arrays = {name: np.array(a) for name, a in m.columns().items()}
    assert all(a.dtype.newbyteorder("<").str in _DTYPES and a.ndim == 1 for a in arrays.values())
    for a in arrays.values():
        a.setflags(write=False)
    return Metadata.restore(m.n, json.loads(json.dumps(m.description())), arrays.__getitem__)


def same(m, rows):
    assert repr(m.rows(range(len(rows)))) == repr(rows)
    assert [repr(m.row(i)) for i in range(min(40, len(rows)))] == [repr(row) for row in rows[:40]]


def mixed(rng, n):
    """Rows of a few templates and every type, with columns on both sides of every choice of encoding."""
    rows = []
    for i in range(n):
        row = {
            "year": rng.randrange(1990, 2026), "lang": rng.choice(["de", "fr", "en"]), "score": rng.random(),
            "price": rng.randrange(10_000) / 100, "title": f"a title of some length, number {rng.randrange(10**9)}",
            "day": date(2020, 1, 1) + timedelta(rng.randrange(900)), "flag": rng.random() < 0.5, "one": "same",
            "at": datetime(2024, 1, 1) + timedelta(seconds=rng.randrange(10**7)), "big": rng.randrange(-(2**63), 2**63),
        }  # fmt: skip
        if i % 3 == 0:
            row["tags"] = [rng.choice("xyz") for _ in range(rng.randrange(4))]
            row["author"] = {"name": rng.choice(["Ann", "Bo"]), "born": None}
        if i % 7 == 0:
            row |= {"zoned": datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=i), "json": [1, "a", {"b": [i]}]}
        if i % 11 == 0:
            row["year"] = rng.choice([2024.5, "2024", None, True])
        rows.append(row)
    return rows


@pytest.mark.parametrize("n", [0, 1, 5, 300, 6000])
def test_rows_come_back_as_they_went_in(n):
    rows = mixed(random.Random(n), n)
    m = Metadata.build(rows)
    same(m, rows)
    same(stored(m), rows)
    again = stored(m)
    assert again.description() == m.description()
    for name, array in again.columns().items():
        np.testing.assert_array_equal(array, m.columns()[name])


@pytest.mark.parametrize("n", [7, 900, 6000])
def test_merge_is_build(n):
    rng = random.Random(n)
    rows = mixed(rng, n)
    cuts = [0, n // 3, n // 2, n]
    parts, chosen = [], []
    for a, b in itertools.pairwise(cuts):
        at = np.array(sorted(rng.sample(range(b - a), (b - a) // 2)), np.int64)
        parts.append((stored(Metadata.build(rows[a:b])), at))
        chosen += [rows[a + i] for i in at.tolist()]
    merged, built = Metadata.merge(parts), Metadata.build(chosen)
    same(merged, chosen)
    assert merged.description() == built.description()
    for name, array in built.columns().items():
        np.testing.assert_array_equal(merged.columns()[name], array)


def test_merge_of_nothing_and_of_rows_that_share_nothing():
    assert Metadata.merge([]).n == 0
    assert Metadata.merge([(Metadata.build([{"a": 1}]), [])]).rows([]) == []
    rows = [{f"k{i}": i} for i in range(9_000)]
    parts = [Metadata.build(rows[i : i + 1000]) for i in range(0, 9000, 1000)]
    same(Metadata.merge([(part, np.arange(1000)) for part in parts]), rows)


def test_each_choice_of_encoding_is_the_smallest():
    n = 4096

    def size(values):
        return sum(a.nbytes for a in Metadata.build([{"a": v} for v in values]).columns().values())

    assert size([7] * n) == 0
    assert size([True, False] * (n // 2)) == n // 8
    assert size([i % 4 for i in range(n)]) == n // 4
    assert size([10**9 + i % 16 for i in range(n)]) == n // 2
    assert size([i % 200 for i in range(n)]) == n
    assert size([10**12 + 1000 * i for i in range(n)]) == 2 * n
    assert size([0.5 * i for i in range(n)]) == 2 * n
    assert size([i / 100 for i in range(n)]) == 2 * n
    assert size([1 / (i + 3) for i in range(n)]) == 8 * n
    assert size([float(np.float32(1 / (i + 1))) for i in range(n)]) == 4 * n
    assert size([date(2020, 1, 1) + timedelta(i % 256) for i in range(n)]) == n
    assert size([datetime(2020, 1, 1) + timedelta(seconds=i * 999) for i in range(n)]) == 2 * n
    assert size(["de", "fr"] * (n // 2)) == n // 8 + 4
    assert size([f"{i:016d}" for i in range(n)]) == 16 * n


def test_keys_that_few_rows_have_cost_what_they_hold():
    rows = [{"year": i % 50} | ({"rare": i} if i % 1000 == 0 else {}) for i in range(20_000)]
    m = Metadata.build(rows)
    same(stored(m), rows)
    assert sum(a.nbytes for a in m.columns().values()) < 20_000 + 20_000 // 8 + 200


def test_a_key_of_its_own_for_every_row_stays_linear():
    rows = [{f"k{i}": i, "x": None} for i in range(9_000)]
    began = time.process_time()
    m = Metadata.build(rows)
    again = stored(m)
    assert repr(again.rows([8_999, 3])) == repr([rows[8_999], rows[3]])
    assert again.facets("k17") == [(17, 1)]
    assert time.process_time() - began < 10
    assert len(m.columns()) < 6


def test_reading_rows_far_apart_does_not_read_all():
    rows = mixed(random.Random(0), 5000)
    m = stored(Metadata.build(rows))
    at = [4999, 0, 17, 17]
    assert repr(m.rows(at)) == repr([rows[i] for i in at])
    assert repr(m.rows(np.array(at, np.uint16))) == repr([rows[i] for i in at])


@pytest.mark.parametrize("at", [[-1], [3], [0.0], ["0"], [[0]], [True]])
def test_rows_that_are_not_there_are_refused(at):
    m = Metadata.build([{"a": 1}] * 3)
    with pytest.raises(BadInput):
        m.rows(at)


def test_row_refuses_what_is_not_there():
    for at in (-1, 2):
        with pytest.raises(BadInput, match="row of 0 to 1"):
            Metadata.build([{}, {}]).row(at)


def test_constants_are_not_shared_between_rows():
    m = Metadata.build([{"a": {}, "b": []}] * 50)
    for read in (m.row, lambda i: m.rows(range(50))[i]):
        first = read(0)
        first["a"]["x"] = first["b"].append(1)
        assert read(0) == {"a": {}, "b": []}


def test_facets_and_bounds():
    rows = mixed(random.Random(3), 3000)
    m = stored(Metadata.build(rows))
    mask = np.random.default_rng(0).random(len(rows)) < 0.3
    chosen = [row for row, keep in zip(rows, mask) if keep]
    for path in ("lang", "title", "price", "day", "at", "flag", "big", "score", "zoned", "one"):
        for some, kept in ((None, rows), (mask, chosen)):
            values = [row[path] for row in kept if path in row]
            facets = m.facets(path, some)
            assert dict(facets) == {v: values.count(v) for v in set(values)} if len(set(values)) < 1000 else True
            assert sum(count for _, count in facets) == len(values)
            assert [c for _, c in facets] == sorted((c for _, c in facets), reverse=True)
            assert m.bounds(path, some) == (min(values), max(values))
    tags = [tag for row in chosen for tag in row.get("tags", [])]
    assert dict(m.facets("tags", mask)) == {t: tags.count(t) for t in set(tags)}
    assert dict(m.facets("author.name")) == {
        name: sum(row.get("author", {}).get("name") == name for row in rows) for name in ("Ann", "Bo")
    }
    assert m.facets("json") == m.facets("nowhere") == []
    assert m.bounds("nowhere") is m.bounds("one", np.zeros(3000, bool)) is None
    with pytest.raises(BadInput, match=r"'year'.*bool and number and str"):
        m.bounds("year")


def test_facets_tell_true_from_one_and_not_one_from_one():
    m = Metadata.build([{"a": v} for v in (1, 1.0, True, 1, False, 0)])
    assert sorted(map(repr, m.facets("a"))) == sorted(["(1, 3)", "(True, 1)", "(False, 1)", "(0, 1)"])


def test_paths_tell_types():
    m = Metadata.build(
        [{"a": 1, "b": {"c": [date(2020, 1, 1)], "d": None}}, {"a": datetime(2020, 1, 1), "e": [1, "x"]}]
    )
    assert m.paths() == {
        "a": frozenset({"int", "time"}), "b.c": frozenset({"time[]"}), "b.d": frozenset(), "e": frozenset({"json"}),
    }  # fmt: skip


HOSTILE = mixed(random.Random(9), 400) + [{"a": "é" * 3}, {"tags": ["q"], "n": [1, 2], "t": [datetime(2020, 1, 1)]}] * 5


def touch(m):
    """Everything that reads: rows, facets, bounds, and filters on what has been read."""
    for i in range(0, m.n, 37):
        m.row(i)
    m.rows(range(m.n))
    for path in m.paths():
        m.facets(path)
        with contextlib.suppress(BadInput):
            m.bounds(path)


def changed(rng, value):
    if isinstance(value, bool) or value is None:
        return rng.choice([0, "x", [], {}])
    if isinstance(value, int):
        return rng.choice(
            [value + 1, value - 1, -value - 1, 0, 2**31, 2**62, 2**63 - 1, -(2**63), 2**64, 10**30, "1", None, 1.5]
        )
    if isinstance(value, str):
        return rng.choice(
            ["", value[:-1], value + "x", '{"a":0}', "[" * 50_000, '{"a":' * 40 + "0" + "}" * 40, 5, "int", "str[]"]
        )
    if isinstance(value, list):
        return rng.choice([[], value[:-1], [*value, *value[:1]], value[::-1], {}, None])
    return rng.choice([{}, [], None, dict(list(value.items())[:-1])])


def corrupted(rng, description, arrays):
    """One change anywhere in the description, or in one array."""
    description, arrays = copy.deepcopy(description), dict(arrays)
    if rng.random() < 0.5:
        node, key = description, rng.choice(list(description))
        while isinstance(node[key], (dict, list)) and node[key] and rng.random() < 0.85:
            node = node[key]
            key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        node[key] = changed(rng, node[key])
    else:
        name = rng.choice(list(arrays))
        array = arrays[name].copy()
        how = rng.randrange(6)
        if how == 0:
            array = array[:-1]
        elif how == 1:
            array = np.concatenate([array, array[:1]])
        elif how == 2:
            array = array.astype(rng.choice(["u1", "f4", "i8", "u2"]))
        elif how == 3 and array.dtype.kind == "f":
            array[rng.randrange(len(array))] = rng.choice([np.nan, np.inf])
        elif array.size:
            array.view(np.uint8)[rng.randrange(array.nbytes)] ^= 1 << rng.randrange(8)
        arrays[name] = array
    return description, arrays


@pytest.mark.parametrize("seed", range(6))
def test_impossible_contents_are_corrupt_and_nothing_else(seed):
    rng = random.Random(seed)
    m = Metadata.build(HOSTILE)
    description, arrays = json.loads(json.dumps(m.description())), m.columns()
    refused = 0
    for _ in range(60):
        bad_description, bad_arrays = corrupted(rng, description, arrays)

        def column(name, arrays=bad_arrays):
            if name not in arrays:
                raise Corrupt(f"the column {name!r} is missing")
            return arrays[name]

        try:
            touch(Metadata.restore(m.n, bad_description, column))
        except NearfieldError as error:
            assert isinstance(error, Corrupt), error
            assert "\n" not in str(error)
            refused += 1
    assert refused > 12


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["arrays"][0].__setitem__("n", 2**50),
        lambda d: d["arrays"][0].__setitem__("lengths", [2**40, 1, 0]),
        lambda d: d["arrays"][0].__setitem__("values", [7, 1, 0]),
        lambda d: d["arrays"][0].update(n=2 * 2**40, lengths=[2**40, 1, 0], values=[7, 1, 0]),
    ],
)
def test_a_list_of_a_constant_cannot_be_made_endless(change):
    m = Metadata.build([{"a": [1, 2]}, {"a": [3, 4]}])
    description = json.loads(json.dumps(m.description()))
    change(description)
    with pytest.raises(Corrupt):
        Metadata.restore(2, description, m.columns().__getitem__).row(0)


@pytest.mark.slow
def test_a_million_rows_are_built_and_read_in_time():
    """Limits far above the figures that are meant: 2.5 s to build, 0.2 ms for ten rows."""
    rng = random.Random(0)
    rows = [{"year": rng.randrange(1990, 2026), "lang": rng.choice("abc"), "score": rng.random()} for _ in range(10**6)]
    began = time.process_time()
    m = Metadata.build(rows)
    assert time.process_time() - began < 25
    at = rng.sample(range(10**6), 10)
    m.rows(at)
    began = time.process_time()
    for _ in range(100):
        m.rows(at)
    assert time.process_time() - began < 2
