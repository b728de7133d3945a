"""Each native kernel against its NumPy twin, on every instruction set that runs here."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nearfield.core.errors import BadInput, BadParameter
from nearfield.core.protocols import F32, TABLE_LAYOUTS, U8, Constant, Folded, Layout, Metric, RowFormat
from nearfield.numerics import kernels, reference

DIMS = (1, 2, 3, 7, 31, 97, 384, 1025)
ROWS = (0, 1, 31, 32, 33, 1000)
BATCHES = (1, 2, 3, 5, 17)
METRICS: tuple[Metric, ...] = ("dot", "cosine", "l2")
KINDS = ("u8", "f16", "f32")
FLOATS = (Layout.F32, Layout.F16)
NATIVE = [name for name in kernels.info()["compiled"] if name not in kernels.info()["not run"]]

pytestmark = pytest.mark.skipif(not NATIVE, reason="the extension is not built here")

Rng = np.random.Generator


def _floats(rng: Rng, element: str, n: int, d: int) -> U8:
    x = rng.standard_normal((n, d)).astype(np.float32)
    if element == "f32":
        return x.view(np.uint8).reshape(n, 4 * d)
    if element == "f16":
        return x.astype(np.float16).view(np.uint8).reshape(n, 2 * d)
    if element == "bf16":
        return (x.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(n, 2 * d)
    if element == "e5m2":
        return (x.astype(np.float16).view(np.uint16) >> 8).astype(np.uint8)
    sign = rng.integers(0, 2, (n, d)) << 7
    return (rng.integers(0, 127, (n, d)) | sign).astype(np.uint8)  # every finite e4m3


def _body(rng: Rng, fmt: RowFormat, n: int) -> U8:
    if fmt.layout in FLOATS:
        return _floats(rng, fmt.element, n, fmt.dim)
    bytes_each = (fmt.dim + 1) // 2 if fmt.layout == Layout.AFFINE4 else fmt.dim
    if fmt.layout in TABLE_LAYOUTS:
        bytes_each = fmt.nibble_columns + fmt.byte_columns
    return rng.integers(0, 256, (n, bytes_each), dtype=np.uint8)


def _constant(rng: Rng, kind: Any, n: int) -> U8:
    if kind == "u8":
        return rng.integers(0, 256, (n, 1), dtype=np.uint8)
    value = rng.standard_normal(n).astype(np.float16 if kind == "f16" else np.float32)
    return value.view(np.uint8).reshape(n, value.itemsize)


def make(rng: Rng, layout: Layout, d: int, n: int, m: int) -> tuple[RowFormat, U8, Folded]:
    """A random format of a layout with row-major codes and folded queries."""
    fmt = RowFormat(layout, 0, d)
    if layout == Layout.F16:
        fmt = replace(fmt, element=("f16", "bf16", "e4m3", "e5m2")[rng.integers(4)])
    if layout == Layout.AFFINE8:
        fmt = replace(fmt, element=("u8", "i8")[rng.integers(2)])
    if layout == Layout.AFFINE4 and rng.random() < 0.5:
        fmt = replace(fmt, levels=tuple(int(v) for v in rng.integers(-128, 128, 16)))
    if layout in TABLE_LAYOUTS:
        wide = d if layout == Layout.LUT8 else d // 2 if layout == Layout.MIXED else 0
        fmt = replace(fmt, nibble_columns=d - wide, byte_columns=wide)
    parts = [_body(rng, fmt, n)]
    width = parts[0].shape[1]
    for name in ("scale", "shift"):
        if rng.random() < 0.6:
            kind: Any = KINDS[rng.integers(3)]
            parts.append(_constant(rng, kind, n))
            where: dict[str, Any] = {name: Constant(width, kind, -0.3, 0.01)}
            fmt = replace(fmt, **where)
            width += parts[-1].shape[1]
    fmt = replace(fmt, width=width)
    vector = rng.standard_normal((4, m)).astype(np.float32)
    folded = Folded(inside=vector[0], slope=vector[1], outside=vector[2], squares=np.abs(vector[3]))
    if layout in TABLE_LAYOUTS:
        folded.nibble_tables = rng.standard_normal((m, 2 * fmt.nibble_columns, 16)).astype(np.float32)
        if rng.random() < 0.5:  # a few columns in front span much more than the others
            folded.nibble_tables *= 0.6 ** np.arange(2 * fmt.nibble_columns, dtype=np.float32)[:, None]
        folded.byte_tables = rng.standard_normal((m, fmt.byte_columns, 256)).astype(np.float32)
    else:
        folded.weights = rng.standard_normal((m, d)).astype(np.float32)
    return fmt, np.ascontiguousarray(np.concatenate(parts, axis=1)), folded


def _terms(rng: Rng, metric: str, n: int) -> F32 | None:
    if metric == "dot":
        return None
    signed = metric == "cosine" and rng.random() < 0.2  # no norm is negative; the bound must hold even so
    return (rng.standard_normal(n) if signed else rng.random(n) + 0.1).astype(np.float32)


def _stored(fmt: RowFormat, codes: U8) -> U8:
    return kernels.pack(codes, fmt.width) if fmt.layout in TABLE_LAYOUTS else codes


def _close(got: F32, want: F32) -> None:
    size = float(np.abs(want[np.isfinite(want)]).max(initial=1.0))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * size)


def _same_ids(got: Any, want: Any, exact: F32) -> None:
    """Ids of float layouts may differ where the scores are within rounding of each other."""
    for i, (a, b) in enumerate(zip(got, want)):
        for x, y in zip(a, b):
            size = max(1.0, float(np.abs(exact[i]).max(initial=1.0)))
            assert x == y or abs(float(exact[i, x]) - float(exact[i, y])) <= 3e-5 * size


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("d", DIMS)
def test_scan_and_score_rows_equal_the_twin(layout: Layout, d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng([d, list(Layout).index(layout)])
    for n in ROWS:
        m = int(rng.choice(BATCHES))
        if d * n * m > 2_000_000:
            m = 2
        fmt, codes, folded = make(rng, layout, d, n, m)
        metric: Any = METRICS[rng.integers(3)]
        k = int(rng.choice([1, 7, 100, n + 5]))
        terms = _terms(rng, metric, n)
        share = (None, 0.0, 0.01, 0.5, 1.0)[rng.integers(5)]
        allow = None if share is None else rng.random(n) < share
        rows = rng.integers(0, n, 19) if n else np.zeros(0, np.int64)
        monkeypatch.setenv("NEARFIELD_ISA", "numpy")
        stored = _stored(fmt, codes)
        want = kernels.scan(fmt, stored, folded, metric, k, n=n, terms=terms, allow=allow)
        every = kernels.score_rows(fmt, codes, folded, metric, None, terms)
        for isa in NATIVE:
            monkeypatch.setenv("NEARFIELD_ISA", isa)
            ids, scores = kernels.scan(fmt, stored, folded, metric, k, n=n, terms=terms, allow=allow)
            some = kernels.score_rows(fmt, codes, folded, metric, rows, terms)
            assert ids.shape == scores.shape == (m, k)
            if layout in FLOATS:
                _close(scores, want[1])
                _close(some, every[:, rows])
                _same_ids(ids, want[0], every)
            else:
                assert np.array_equal(ids, want[0])
                assert np.array_equal(scores, want[1])
                assert np.array_equal(some, every[:, rows])
            every_here = kernels.score_rows(fmt, codes, folded, metric, None, terms)
            for i in range(m):
                there = ids[i] >= 0
                assert np.array_equal(every_here[i][ids[i][there]], scores[i][there])


@pytest.mark.parametrize("isa", NATIVE)
@pytest.mark.parametrize("layout", list(Layout))
def test_neither_threads_nor_the_batch_change_a_result(
    layout: Layout, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEARFIELD_ISA", isa)
    rng = np.random.default_rng(5)
    fmt, codes, folded = make(rng, layout, 45, 700, 17)
    stored = _stored(fmt, codes)
    terms = _terms(rng, "l2", 700)
    want = kernels.scan(fmt, stored, folded, "l2", 20, n=700, terms=terms, threads=1)
    for threads in (2, 3, 40):
        got = kernels.scan(fmt, stored, folded, "l2", 20, n=700, terms=terms, threads=threads)
        assert np.array_equal(got[0], want[0])
        assert np.array_equal(got[1], want[1])
    monkeypatch.setenv("NEARFIELD_THREADS", "2")
    for m in BATCHES:
        few = Folded(**{k: None if v is None else v[:m] for k, v in vars(folded).items()})
        got = kernels.scan(fmt, stored, few, "l2", 20, n=700, terms=terms)
        assert np.array_equal(got[0], want[0][:m])
        assert np.array_equal(got[1], want[1][:m])


@pytest.mark.parametrize("isa", NATIVE)
@pytest.mark.parametrize("wide", [0, 3, 12, 40])
def test_columns_that_span_more_change_nothing(wide: int, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(wide)
    fmt = RowFormat(Layout.LUT4, 97, 192, nibble_columns=96, scale=Constant(96, "u8", 0.9, 0.001))
    tables = rng.standard_normal((3, 192, 16)).astype(np.float32)
    tables[:, : 2 * wide] *= 40
    codes = kernels.pack(rng.integers(0, 256, (3000, 97), dtype=np.uint8), 97)
    want = reference.scan(fmt, codes, Folded(nibble_tables=tables), "dot", 10, 3000, None, None, 3)
    monkeypatch.setenv("NEARFIELD_ISA", isa)
    got = kernels.scan(fmt, codes, Folded(nibble_tables=tables), "dot", 10, n=3000)
    assert np.array_equal(got[0], want[0])
    assert np.array_equal(got[1], want[1])


@pytest.mark.parametrize("isa", NATIVE)
@pytest.mark.parametrize("seed", range(12))
def test_the_first_pass_lets_every_result_through(seed: int, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans of all sizes in any order, factors near and far from 1, and scores of both signs."""
    rng = np.random.default_rng([9, seed])
    columns, n = int(rng.integers(1, 150)), int(rng.integers(50, 4000))
    low, step = (1.0, 0.0) if seed % 4 == 0 else (float(rng.uniform(0.01, 1)), float(rng.uniform(0, 0.02)))
    fmt = RowFormat(Layout.LUT4, columns + 1, 1, nibble_columns=columns, scale=Constant(columns, "u8", low, step))
    tables = rng.standard_normal((3, 2 * columns, 16)) * 2.0 ** rng.uniform(-12, 0, (1, 2 * columns, 1))
    folded = Folded(
        nibble_tables=tables.astype(np.float32),
        inside=np.array([0, -50, 50], np.float32) * (seed % 3),
        outside=np.array([-1000, 1000, 0], np.float32) * (seed % 2),
    )
    codes = kernels.pack(rng.integers(0, 256, (n, columns + 1), dtype=np.uint8), columns + 1)
    k = int(rng.choice([1, 10, 300]))
    want = reference.scan(fmt, codes, folded, "dot", k, n, None, None, 3)
    monkeypatch.setenv("NEARFIELD_ISA", isa)
    got = kernels.scan(fmt, codes, folded, "dot", k, n=n)
    assert np.array_equal(got[0], want[0])
    assert np.array_equal(got[1], want[1])


@pytest.mark.parametrize("isa", NATIVE)
@pytest.mark.parametrize("dim", [5, 32, 100, 384, 4000])
@pytest.mark.parametrize("span", [0, 15, 40, 129, 255])
def test_nibbles_of_any_levels_equal_the_twin(dim: int, span: int, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(span)
    levels = tuple(int(v) for v in np.linspace(-128 + span // 3, -128 + span // 3 + span, 16).clip(-128, 127))
    fmt = RowFormat(Layout.AFFINE4, (dim + 1) // 2, dim, levels=levels)
    codes = rng.choice(np.array([0x00, 0x0F, 0xFF, 0x5A], np.uint8), (300, fmt.width))  # the largest sums too
    folded = Folded(weights=rng.choice(np.array([-1, 1, 0.3], np.float32), (1, dim)))
    want = reference.scan(fmt, codes, folded, "dot", 20, 300, None, None, 1)
    monkeypatch.setenv("NEARFIELD_ISA", isa)
    got = kernels.scan(fmt, codes, folded, "dot", 20)
    assert np.array_equal(got[0], want[0])
    assert np.array_equal(got[1], want[1])


@pytest.mark.parametrize("isa", [*NATIVE, "numpy"])
@pytest.mark.parametrize("layout", list(Layout))
def test_equal_scores_are_broken_by_the_row_number(layout: Layout, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARFIELD_ISA", isa)
    rng = np.random.default_rng(6)
    fmt, few, folded = make(rng, layout, 8, 3, 2)
    codes = few[rng.integers(0, 3, 500)]
    scores = kernels.score_rows(fmt, codes, folded, "dot")
    for threads in (1, 3):
        ids, _ = kernels.scan(fmt, _stored(fmt, codes), folded, "dot", 300, n=500, threads=threads)
        for i in range(2):
            assert np.array_equal(ids[i], np.lexsort((np.arange(500), -scores[i]))[:300])


@pytest.mark.parametrize("isa", NATIVE)
def test_more_look_ups_than_sixteen_bits_hold(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    fmt = RowFormat(Layout.LUT4, 1300, 2600, nibble_columns=1300)
    codes = rng.integers(0, 256, (70, 1300), dtype=np.uint8)
    codes[:3] = 0xFF  # the largest entry of every table
    tables = np.broadcast_to(np.arange(16, dtype=np.float32), (2, 2600, 16)).copy()
    folded = Folded(nibble_tables=tables)
    want = reference.scan(fmt, kernels.pack(codes, 1300), folded, "dot", 9, 70, None, None, 2)
    monkeypatch.setenv("NEARFIELD_ISA", isa)
    got = kernels.scan(fmt, kernels.pack(codes, 1300), folded, "dot", 9, n=70)
    assert np.array_equal(got[0], want[0])
    assert np.array_equal(got[1], want[1])


@pytest.mark.parametrize("isa", NATIVE)
@pytest.mark.parametrize("element", ["f16", "bf16", "e4m3", "e5m2"])
def test_every_float_code_is_widened_exactly(element: Any, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARFIELD_ISA", isa)
    wide = element in ("f16", "bf16")
    every = np.arange(65536 if wide else 256, dtype=np.uint16 if wide else np.uint8)
    codes = every.view(np.uint8).reshape(len(every), -1)
    fmt = RowFormat(Layout.F16, codes.shape[1], 1, element)
    with np.errstate(invalid="ignore"):
        want = reference.widen(codes, element, 1)[:, 0]
    for m in (1, 3):
        got = kernels.score_rows(fmt, codes, Folded(weights=np.ones((m, 1), np.float32)), "dot")
        assert np.array_equal(got, np.broadcast_to(want, (m, len(want))), equal_nan=True)


@pytest.mark.parametrize("isa", [*NATIVE, "numpy"])
def test_nan_rows_are_never_returned(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARFIELD_ISA", isa)
    x = np.ones((40, 3), np.float32)
    x[::2, 1] = np.nan
    fmt = RowFormat(Layout.F32, 12, 3)
    ids, scores = kernels.scan(fmt, x.view(np.uint8), Folded(weights=np.ones((1, 3), np.float32)), "dot", 40)
    assert ids[0, :20].tolist() == list(range(1, 40, 2))
    assert (ids[0, 20:] == -1).all()
    assert np.isneginf(scores[0, 20:]).all()


def test_bitmap_and_booleans_agree() -> None:
    rng = np.random.default_rng(8)
    fmt, codes, folded = make(rng, Layout.LUT4, 9, 333, 3)
    allow = rng.random(333) < 0.3
    words = np.zeros(6 * 64, bool)
    words[:333] = allow
    bitmap = np.packbits(words, bitorder="little").view(np.uint64)
    a = kernels.scan(fmt, kernels.pack(codes, fmt.width), folded, "dot", 50, n=333, allow=allow)
    b = kernels.scan(fmt, kernels.pack(codes, fmt.width), folded, "dot", 50, n=333, allow=bitmap)
    assert np.array_equal(a[0], b[0])
    assert allow[a[0][a[0] >= 0]].all()


@pytest.mark.parametrize("n", ROWS)
def test_pack_and_unpack_are_inverse(n: int) -> None:
    codes = np.random.default_rng(n).integers(0, 256, (n, 5), dtype=np.uint8)
    blocks = kernels.pack(codes, 5)
    assert blocks.shape == (-(-n // 32), 5, 32)
    assert np.array_equal(kernels.unpack(blocks, n), codes)
    assert not blocks.transpose(0, 2, 1).reshape(-1, 5)[n:].any()
    if n:
        assert blocks[n // 33, 3, 0] == codes[32 * (n // 33), 3]


@pytest.mark.parametrize("isa", [*NATIVE, "numpy"])
def test_topk_and_merge(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARFIELD_ISA", isa)
    rng = np.random.default_rng(9)
    for m, n, k in ((1, 0, 3), (2, 5, 9), (17, 1000, 31), (3, 400, 400)):
        scores = np.round(rng.standard_normal((m, n)), 1).astype(np.float32)
        ids, best = kernels.topk(scores, k, threads=2)
        want = reference.topk(scores, k)
        assert np.array_equal(ids, want[0])
        assert np.array_equal(best, want[1])
        left, right = kernels.topk(scores[:, : n // 2], k), kernels.topk(scores[:, n // 2 :], k)
        right[0][right[0] >= 0] += n // 2
        merged = kernels.merge([right, left], k)
        assert np.array_equal(merged[0], ids)
        assert np.array_equal(merged[1], best)


@pytest.mark.parametrize("isa", NATIVE)
@pytest.mark.parametrize(("n", "d", "c"), [(0, 3, 4), (1, 1, 1), (97, 7, 17), (1000, 4, 256), (333, 97, 40)])
def test_assign_finds_the_nearest(n: int, d: int, c: int, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARFIELD_ISA", isa)
    rng = np.random.default_rng(10)
    x, centroids = rng.standard_normal((n, d), np.float32), rng.standard_normal((c, d), np.float32)
    centroids[-1] = centroids[0]
    ids, distances = kernels.assign(x, centroids, threads=1)
    every = ((x[:, None].astype(float) - centroids) ** 2).sum(axis=2)
    np.testing.assert_allclose(distances, every.min(axis=1), rtol=1e-5, atol=1e-5)
    assert (every[np.arange(n), ids] <= every.min(axis=1) + 1e-5).all()
    assert c == 1 or not (ids == c - 1).any()  # equal to the first: ties to the lowest
    twin = reference.assign(x, centroids)
    np.testing.assert_allclose(distances, twin[1], rtol=1e-5, atol=1e-5)
    for threads in (2, 3):
        again = kernels.assign(x, centroids, threads=threads)
        assert np.array_equal(again[0], ids)
        assert np.array_equal(again[1], distances)


def test_assign_is_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    x, centroids = (rng.normal(size=(n, 20)).astype(np.float32) for n in (1000, 70))
    whole = kernels.assign(x, centroids)
    monkeypatch.setattr(kernels, "_PRODUCTS", 200_000)
    for a, b in zip(kernels.assign(x, centroids, threads=1), whole):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("isa", NATIVE)
@pytest.mark.parametrize(("m", "parts", "c", "sub"), [(0, 2, 16, 3), (1, 1, 1, 1), (3, 7, 16, 5), (5, 3, 256, 8)])
def test_part_tables(m: int, parts: int, c: int, sub: int, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARFIELD_ISA", isa)
    rng = np.random.default_rng(11)
    q = rng.standard_normal((m, parts * sub), np.float32)
    books = rng.standard_normal((parts, c, sub), np.float32)
    got = kernels.part_tables(q, books, threads=2)
    assert got.shape == (m, parts, c)
    _close(got, reference.part_tables(q, books))


@pytest.mark.parametrize("isa", NATIVE)
@pytest.mark.parametrize("width", [1, 3, 8, 13, 48])
def test_hamming_and_dots(width: int, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARFIELD_ISA", isa)
    rng = np.random.default_rng(12)
    for m, n in ((1, 0), (1, 1), (3, 1500)):
        q, codes = rng.integers(0, 256, (m, width), np.uint8), rng.integers(0, 256, (n, width), np.uint8)
        assert np.array_equal(kernels.hamming(q, codes, threads=2), reference.hamming(q, codes))
        a, b = rng.standard_normal((m, width), np.float32), rng.standard_normal((n, width), np.float32)
        _close(kernels.dots(a, b, threads=2), reference.dots(a, b))


def test_strided_and_misaligned_codes() -> None:
    rng = np.random.default_rng(13)
    fmt, codes, folded = make(rng, Layout.AFFINE8, 33, 200, 2)
    want = kernels.scan(fmt, codes, folded, "dot", 5)
    wide = np.zeros((200, 2 * fmt.width), np.uint8)
    wide[:, ::2] = codes
    raw = np.zeros(codes.size + 1, np.uint8)
    raw[1:] = codes.reshape(-1)
    for view in (wide[:, ::2], np.asfortranarray(codes), raw[1:].reshape(codes.shape)):
        view.flags.writeable = False
        assert np.array_equal(kernels.scan(fmt, view, folded, "dot", 5)[0], want[0])


def test_what_does_not_fit_is_refused() -> None:
    rng = np.random.default_rng(14)
    fmt, codes, folded = make(rng, Layout.LUT4, 4, 40, 2)
    blocks = kernels.pack(codes, fmt.width)
    with pytest.raises(BadParameter, match="pass n"):
        kernels.scan(fmt, blocks, folded, "dot", 5)
    with pytest.raises(BadInput, match="expects shape"):
        kernels.scan(fmt, codes, folded, "dot", 5, n=40)
    with pytest.raises(BadInput, match="expects shape"):
        kernels.scan(fmt, blocks, folded, "dot", 5, n=65)
    with pytest.raises(BadInput, match="uint8"):
        kernels.scan(fmt, blocks.astype(np.float32), folded, "dot", 5, n=40)
    with pytest.raises(BadParameter, match="k: expected"):
        kernels.scan(fmt, blocks, folded, "dot", 0, n=40)
    with pytest.raises(BadParameter, match="metric"):
        kernels.scan(fmt, blocks, folded, "cos", 1, n=40)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="terms"):
        kernels.scan(fmt, blocks, folded, "l2", 1, n=40)
    with pytest.raises(BadInput, match="row numbers"):
        kernels.score_rows(fmt, codes, folded, "dot", np.array([0, 40]))
    with pytest.raises(BadInput, match="allow"):
        kernels.scan(fmt, blocks, folded, "dot", 1, n=40, allow=np.ones(39, bool))
    assert folded.nibble_tables is not None
    tables = folded.nibble_tables.copy()
    tables[1, 0, 0] = np.nan
    bad = replace(folded, nibble_tables=tables)
    with pytest.raises(BadInput, match=r"NaN.*queries \[1\]"):
        kernels.scan(fmt, blocks, bad, "dot", 1, n=40)
    outside = replace(fmt, scale=Constant(fmt.width - 1, "f16"))
    with pytest.raises(BadParameter, match="leaves the row"):
        kernels.scan(outside, blocks, folded, "dot", 1, n=40)
    with pytest.raises(BadParameter, match="threads"):
        kernels.scan(fmt, blocks, folded, "dot", 1, n=40, threads=0)


DIGEST = """
import sys, zlib
import numpy as np
sys.path.insert(0, {folder!r})
import importlib.util
spec = importlib.util.spec_from_file_location("cases", {file!r})
cases = importlib.util.module_from_spec(spec)
sys.modules["cases"] = cases
spec.loader.exec_module(cases)
print(cases.kernels.info()["isa"], cases.digest())
"""


def digest() -> int:
    """A checksum over results of every integer layout: ids and scores."""
    crc = 0
    for layout in Layout:
        if layout in FLOATS:
            continue
        for seed, metric in enumerate(METRICS):
            rng = np.random.default_rng(seed)
            fmt, codes, folded = make(rng, layout, 50, 400, 4)
            terms = _terms(rng, metric, 400)
            ids, scores = kernels.scan(fmt, _stored(fmt, codes), folded, metric, 25, n=400, terms=terms)
            crc = zlib.crc32(scores.tobytes(), zlib.crc32(ids.tobytes(), crc))
    return crc


def _fresh(isa: str, threads: str = "2") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "NEARFIELD_ISA": isa, "NEARFIELD_THREADS": threads}
    code = DIGEST.format(folder=os.path.dirname(__file__), file=__file__)
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)


def test_integer_layouts_agree_on_every_instruction_set() -> None:
    for isa in [*NATIVE, "numpy"]:
        done = _fresh(isa)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [isa, str(digest())]


def test_what_cannot_run_is_reported_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    info = kernels.info()
    assert {"base", "avx2", "avx512", "neon"} == set(info["not run"]) | set(NATIVE)
    for isa in [*info["not run"], "sse9"]:
        monkeypatch.setenv("NEARFIELD_ISA", isa)
        with pytest.raises(BadParameter, match=r"NEARFIELD_ISA.*choose one of numpy, base"):
            kernels.info()
    monkeypatch.setenv("NEARFIELD_ISA", "numpy")
    assert kernels.info()["isa"] == "numpy"
    monkeypatch.setenv("NEARFIELD_THREADS", "many")
    with pytest.raises(BadParameter, match="NEARFIELD_THREADS"):
        kernels.info()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_the_pool_survives_a_fork() -> None:
    rng = np.random.default_rng(15)
    fmt, codes, folded = make(rng, Layout.AFFINE8, 64, 5000, 4)
    want = kernels.scan(fmt, codes, folded, "dot", 5, threads=3)
    child = os.fork()
    if child == 0:
        got = kernels.scan(fmt, codes, folded, "dot", 5, threads=3)
        os._exit(0 if np.array_equal(got[0], want[0]) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("isa", NATIVE)
@pytest.mark.parametrize(("n", "d", "k"), [(1, 3, 4), (40, 2, 16), (3000, 5, 256)])
def test_a_start_of_kmeans_is_the_twins(n: int, d: int, k: int, isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On whole numbers, where no sum is rounded: the same rows, duplicates among them never drawn again."""
    rng = np.random.default_rng([n, d])
    x = rng.integers(-9, 9, (n, d)).astype(np.float32)
    monkeypatch.setenv("NEARFIELD_ISA", isa)
    got = kernels.plus_plus(x, k, np.random.default_rng(0))
    monkeypatch.setenv("NEARFIELD_ISA", "numpy")
    np.testing.assert_array_equal(got, kernels.plus_plus(x, k, np.random.default_rng(0)))
    assert len(np.unique(x[got], axis=0)) == len(got) == min(k, len(np.unique(x, axis=0)))
