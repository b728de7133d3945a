"""Named lies with checksums that hold: a check finds each, and opening refuses those that cost it nothing to find."""

from __future__ import annotations

import re
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.hostile import templates
from tests.hostile.writers import Catalogue, with_columns, with_footer

import nearfield as nf
from nearfield.collection.health import repair
from nearfield.core.errors import Corrupt


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    home = tmp_path_factory.mktemp("lies")
    return {named: templates.collection(home / f"{named}" / "notes", named=named) for named in _made(home)}


def _made(home: Path) -> list[bool]:
    for named in ("True", "False"):
        (home / named).mkdir()
    return [True, False]


@pytest.fixture
def folder(whole: dict[bool, Path], tmp_path: Path) -> Path:
    shutil.copytree(whole[True], tmp_path / "notes")
    return tmp_path / "notes"


def _segment(folder: Path) -> Path:
    return min(p for p in (folder / "segments").iterdir() if p.name.count(".") == 1)


def _swap(name: str) -> Callable[[dict[str, np.ndarray]], None]:
    def change(columns: dict[str, np.ndarray]) -> None:
        columns[name][[0, 1]] = columns[name][[1, 0]]

    return change


def _set(name: str, value: Any) -> Callable[[dict[str, np.ndarray]], None]:
    def change(columns: dict[str, np.ndarray]) -> None:
        columns[name].reshape(-1)[0] = value

    return change


SEGMENTS: dict[str, tuple[Callable[[dict[str, np.ndarray]], None], str]] = {
    "order of ids": (_swap("ids.order"), "hashes of the ids, or their order"),
    "hashes of ids": (_set("ids.hashes", 0), "hashes of the ids"),
    "ids that are no text": (_set("ids.bytes", 0xFF), "UTF-8"),
    "texts that are no text": (_set("texts.bytes", 0xFF), "UTF-8"),
    "texts of another row": (_set("texts.bytes", ord("x")), "inverted lists"),
    "a vector of NaN": (_set("f0.values", np.nan), "finite vectors"),
    "a vector of half an infinity": (_set("f1.values", np.inf), "finite vectors"),
    "lengths of others": (_set("f0.terms", 3.0), "terms of the vectors"),
    "squares of others": (_swap("f1.terms"), "terms of the vectors"),
    "a weight of NaN": (_set("f2.values", np.nan), "finite vectors"),
    "terms that descend": (_swap("f2.indices"), "ascend"),
    "vectors of others": (_swap("f0.values"), "terms of the vectors|codes of its rows"),
}


@pytest.mark.parametrize("case", SEGMENTS)
def test_a_segment_that_lies_is_found_and_repaired(folder: Path, case: str) -> None:
    change, words = SEGMENTS[case]
    with_columns(_segment(folder), change)
    with nf.open(folder, mode="r") as c:
        found = c.check()
    assert any(_segment(folder).stem in line for line in found), found
    assert re.search(words, " ".join(found)), found
    if "inverted" not in words and "codes" not in words:
        assert "are lost" in repair(folder, dry_run=False)[0]
        with nf.open(folder) as c:
            assert c.check() == []


def test_int_ids_whose_order_lies_are_found(whole: dict[bool, Path], tmp_path: Path) -> None:
    here = tmp_path / "notes"
    shutil.copytree(whole[False], here)
    with_columns(_segment(here), _swap("ids.values"))
    with nf.open(here, mode="r") as c:
        assert "order of the ids" in " ".join(c.check())


CODES = {"codes": "codes", "codes.terms": "codes.terms", "rescore0": "rescore0"}


@pytest.mark.parametrize("plan", ["int8(scale='row')", "float16() | vamana(degree=6)", "lvq(bits=4) | lsh(tables=2)"])
def test_rows_that_are_never_found_are_told(tmp_path: Path, plan: str) -> None:
    x = templates.X
    path = tmp_path / "a.nf"

    def spoilt(name: str, change: Callable[[dict[str, np.ndarray]], None]) -> None:
        nf.Plan(plan).fit(x, metric="l2").save(path)
        nf.load(path).verify()
        with_columns(path, change)
        with pytest.raises(Corrupt, match=rf"a\.nf: .*{name}"):
            nf.load(path).verify()

    def codes(columns: dict[str, np.ndarray]) -> None:
        rows = columns["codes"].reshape(len(x), -1) if columns["codes"].ndim == 2 else columns["codes"]
        rows[..., -2:] = 0xFF  # the last half float of a row, or of all that stand side by side

    spoilt("codes", codes)
    spoilt(r"codes\.terms", _set("codes.terms", np.nan))
    spoilt(r"codes\.terms", _set("codes.terms", -1e6))
    if "vamana" in plan:
        spoilt("links", _set("index.links", 10**6))
        spoilt("entries", _set("index.entries", 10**6))
    if "lsh" in plan:
        spoilt("rows", lambda columns: columns["index.rows"].fill(3))


def test_links_to_deleted_rows_are_told_where_none_should_be(tmp_path: Path) -> None:
    packed = nf.Plan("float16() | vamana(degree=6)").fit(templates.X)
    packed.delete(rows=[1, 2])
    packed.background = False
    packed.consolidate()
    packed.save(tmp_path / "a.nf")
    nf.load(tmp_path / "a.nf").verify()
    with_columns(tmp_path / "a.nf", _set("index.links", 1))
    with pytest.raises(Corrupt, match="links"):
        nf.load(tmp_path / "a.nf").verify()


def test_an_index_without_links_is_never_mended(tmp_path: Path) -> None:
    packed = nf.Plan("float16()").fit(templates.X)
    packed.delete(rows=[1])
    packed.save(tmp_path / "a.nf")
    with_footer(tmp_path / "a.nf", lambda told: {**told, "meta": {**told["meta"], "mended": True}})
    assert 1 not in nf.load(tmp_path / "a.nf").search(templates.X[1], k=60).rows


def test_learned_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    nf.Plan("pca(dim=4) | pq(parts=2)").fit(templates.X).save(tmp_path / "a.nf")
    with_columns(tmp_path / "a.nf", lambda columns: columns["state.codec.codebooks_"].__setitem__((1, 3), np.nan))
    with pytest.raises(Corrupt, match="codebooks_ should be finite"):
        nf.load(tmp_path / "a.nf")


# ---- the tail --------------------------------------------------------------------------------------
TAIL: dict[str, tuple[str, Any, str]] = {
    "the number of a segment's row": ("row", 5, "numbers that segments have"),
    "a number that was never given": ("row", 10**6, "numbers that segments have, or none was given"),
    "an id of another type": ("id", 7, "another type"),
    "an id that is no name": ("id", b"d", "other types"),
    "a text that is a number": ("text", 7, ""),
    "a text of bytes": ("text", b"x", "other types"),
    "metadata of bytes": ("meta", b"{}", "other types"),
    "a vector of text": ("f0", "text", "other types"),
    "a vector that is short": ("f0", b"\0" * 4, "bytes a vector"),
}


@pytest.mark.parametrize("case", TAIL)
def test_a_row_of_the_tail_that_cannot_be_is_refused_and_repaired(folder: Path, case: str) -> None:
    column, value, words = TAIL[case]
    with Catalogue(folder) as made:
        made.db.execute(f"UPDATE tail SET {column} = ? WHERE row = (SELECT max(row) FROM tail)", (value,))
    if words:
        with pytest.raises(Corrupt, match=rf"catalog\.db.*{words}"):
            nf.open(folder, mode="r")
        assert any("tail: row" in line for line in repair(folder, dry_run=False))
    with nf.open(folder) as c:
        assert c.check() == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_vector_of_the_tail_that_is_not_finite_is_found(folder: Path, value: float) -> None:
    blob = np.array([value] * 8, "<f4").tobytes()
    with Catalogue(folder) as made:
        made.db.execute("UPDATE tail SET f0 = ? WHERE row = (SELECT max(row) FROM tail)", (blob,))
    with nf.open(folder, mode="r") as c:
        assert "finite" in " ".join(c.check())
    assert repair(folder, dry_run=False)
    with nf.open(folder) as c:
        assert c.check() == []


def test_metadata_of_the_tail_that_is_none_is_found_with_its_row(folder: Path) -> None:
    with Catalogue(folder) as made:
        made.db.execute("UPDATE tail SET meta = '[1]' WHERE row = (SELECT max(row) FROM tail)")
    with nf.open(folder, mode="r") as c:
        assert "row 59 of the tail" in " ".join(c.check())


# ---- claims ----------------------------------------------------------------------------------------
def _fields(made: Catalogue) -> None:
    made.put("head", {**made.record("head"), "fields": 1 << 31})


def _rows(made: Catalogue) -> None:
    segments = made.record("segments")
    segments[0].update(n=5 * 10**7, first=0, last=5 * 10**7 - 1)
    made.put("segments", segments[:1])
    made.put("head", {**made.record("head"), "next_row": 10**8})


@pytest.mark.parametrize("claim", [_fields, _rows])
def test_a_small_folder_that_claims_much_is_refused_at_once(folder: Path, claim: Callable[[Catalogue], None]) -> None:
    if claim is _rows:

        def bare(told: Any) -> Any:
            keep = {k: v for k, v in told["meta"].items() if k in ("ids", "metadata")}
            return {**told, "meta": {**keep, "ids": "str", "n": 5 * 10**7, "first": 0, "last": 5 * 10**7 - 1}}

        with_footer(_segment(folder), bare)
    with Catalogue(folder) as made:
        claim(made)
    tracemalloc.start()
    with pytest.raises(Corrupt, match=r"fields|bytes cannot hold"):
        nf.open(folder, mode="r")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 << 20


@pytest.mark.parametrize("plan", ["int8()", "pq(parts=4)", "binary()"])
def test_a_plan_that_claims_wide_rows_is_refused_at_once(tmp_path: Path, plan: str) -> None:
    nf.Plan(plan).fit(templates.X).save(tmp_path / "a.nf")

    def claim(told: Any) -> Any:
        state = told["meta"]["state"]["codec"]
        state["bits_" if "binary" in plan else "dim_"] = 1 << 31
        return told

    with_footer(tmp_path / "a.nf", claim)
    tracemalloc.start()
    with pytest.raises(Corrupt, match=r"a\.nf"):
        nf.load(tmp_path / "a.nf")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 << 20


def test_rows_that_take_no_bytes_are_still_opened(tmp_path: Path) -> None:
    with nf.open(tmp_path / "notes", fields={}) as c:
        c.upsert(list(range(5000)))
        c.compact()
        assert c.check() == []
        assert len(c) == 5000
