"""What encoding spends its time on, against its NumPy twin, on every instruction set that runs here."""

from __future__ import annotations

import numpy as np
import pytest

from nearfield.core.errors import BadInput
from nearfield.numerics import allocation, coding, kernels, reference

NATIVE = [name for name in kernels.info()["compiled"] if name not in kernels.info()["not run"]]
DIMS = (1, 2, 7, 8, 31, 97, 384)
ROWS = (0, 1, 5, 63, 64, 65, 200)

pytestmark = pytest.mark.skipif(not NATIVE, reason="the extension is not built here")


@pytest.fixture(params=NATIVE)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("NEARFIELD_ISA", request.param)
    return str(request.param)


def _rows(n: int, d: int) -> np.ndarray:
    return np.random.default_rng(n * 1000 + d).normal(size=(n, d)).astype(np.float32)


@pytest.mark.parametrize("d", DIMS)
@pytest.mark.parametrize("n", ROWS)
def test_sums_of_groups(n: int, d: int, isa: str) -> None:
    x = _rows(n, d)
    labels = np.random.default_rng(1).integers(0, 6, n).astype(np.int32)
    sums = coding.group_sums(x, labels, 7, threads=1)
    np.testing.assert_allclose(sums, reference.group_sums(x, labels, 7), rtol=1e-13, atol=1e-13)
    assert not sums[6].any()
    assert np.array_equal(coding.group_sums(x, labels, 7, threads=3), sums)


def test_a_label_of_no_group_is_refused(isa: str) -> None:
    for label in (-1, 2):
        with pytest.raises(ValueError, match="label"):
            coding.group_sums(_rows(2, 3), np.array([0, label], np.int32), 2)


@pytest.mark.parametrize("d", DIMS)
@pytest.mark.parametrize("n", ROWS)
@pytest.mark.parametrize(("bits", "cells"), [(8, 0), (4, 0), (4, 4), (4, 8)])
def test_even_steps_are_those_of_the_twin(n: int, d: int, bits: int, cells: int, isa: str) -> None:
    x, mean = _rows(n, d), _rows(1, d)[0]
    low, high = coding.spans(x, mean, threads=1)
    for found, twin in zip((low, high), reference.spans(x, mean)):
        assert np.array_equal(found, twin)
    step = (high - low) / ((1 << bits) - 1) * 0.98  # a little is cut off at the upper end
    firsts = np.stack([low, step], axis=1)
    lasts = firsts * [1.0, 0.5**cells]
    for threads in (1, 3):
        numbers, sums = coding.even_steps(x, mean, firsts, lasts, bits, cells, threads=threads)
        twin_numbers, twin_sums = reference.even_steps(x, mean, firsts, lasts, bits, cells)
        assert numbers.dtype == twin_numbers.dtype
        assert np.array_equal(numbers, twin_numbers)
        np.testing.assert_allclose(sums, twin_sums, rtol=1e-12, atol=1e-10)


def test_rows_that_do_not_vary_have_steps_of_nothing(isa: str) -> None:
    x = np.full((3, 9), 2.5, np.float32)
    low, high = coding.spans(x, np.zeros(9, np.float32))
    assert (low == 2.5).all()
    assert (high == 2.5).all()
    pairs = np.stack([low, np.zeros(3)], axis=1)
    numbers, sums = coding.even_steps(x, np.zeros(9, np.float32), pairs, pairs, 4, 4)
    assert (numbers == 8).all()  # the middle cell of the first step
    np.testing.assert_allclose(sums[:, 0], 9 * 2.5**2)


@pytest.mark.parametrize("d", DIMS)
@pytest.mark.parametrize("n", ROWS)
def test_weighted_sums(n: int, d: int, isa: str) -> None:
    weights, rows = _rows(n, 37), _rows(37, d)
    sums = coding.weighted_sums(weights, rows, threads=1)
    np.testing.assert_allclose(sums, reference.weighted_sums(weights, rows), rtol=1e-4, atol=1e-4)
    assert np.array_equal(coding.weighted_sums(weights, rows, threads=3), sums)
    alone = [coding.weighted_sums(weights[i : i + 1], rows)[0] for i in range(n)]
    assert np.array_equal(np.array(alone).reshape(n, d), sums)
    with pytest.raises(BadInput, match="expected"):
        coding.weighted_sums(weights, rows[1:])


def _grids() -> tuple[coding.Grids, np.ndarray]:
    """One column of a bit, one of four, one of seven in two pieces, in two bytes; and the levels of the pieces."""
    rng = np.random.default_rng(3)
    steps = [[np.sort(rng.normal(size=2))], [np.sort(rng.normal(size=16))], [rng.normal(size=16), rng.normal(size=8)]]
    steps = [[levels.astype(np.float32) for levels in column] for column in steps]
    sums = [allocation.sums_of(column) for column in steps]
    orders = [np.argsort(each, kind="stable") for each in sums]
    pieces = np.array([[0, 1, 3, 1, 0], [1, 0, 0, 4, 2], [2, 0, 4, 4, 18], [2, 1, 0, 3, 34]], np.int32)
    made = coding.Grids(
        np.concatenate([s[o] for s, o in zip(sums, orders)]),
        np.concatenate(orders).astype(np.uint16),
        np.array([0, 2, 18, 146]),
        pieces,
        np.array([0.5, -1.0, 0.25]),
    )
    return made, np.concatenate([levels for column in steps for levels in column])


@pytest.mark.parametrize("n", ROWS)
def test_codes_name_the_nearest_levels(n: int, isa: str) -> None:
    grids, levels = _grids()
    columns = _rows(3, n)
    codes, measures = coding.level_codes(columns, grids, 3, threads=1)
    twin = reference.level_codes(columns, grids.sums, grids.codes, grids.starts, grids.pieces, grids.inside, 3)
    assert np.array_equal(codes, twin[0])
    np.testing.assert_allclose(measures, twin[1], rtol=1e-12, atol=1e-12)
    again = coding.level_codes(columns, grids, 3, threads=3)
    assert np.array_equal(again[0], codes)
    assert np.array_equal(again[1], measures)
    values = coding.level_values(codes, grids.pieces, levels, 3, threads=1)
    assert np.array_equal(values, reference.level_values(codes, grids.pieces, levels, 3))
    assert np.array_equal(coding.level_values(codes, grids.pieces, levels, 3, threads=3), values)
    for j in range(3):
        sums = grids.sums[grids.starts[j] : grids.starts[j + 1]]
        least = np.abs(columns[j][:, None] - sums).min(axis=1)
        np.testing.assert_allclose(np.abs(columns[j] - values[:, j]), least, atol=1e-6)


def test_pieces_outside_their_bytes_are_refused(isa: str) -> None:
    grids, levels = _grids()
    codes = np.zeros((2, 2), np.uint8)
    for column, value in ((0, 3), (1, 2), (2, 6), (4, 40), (4, -1)):
        pieces = grids.pieces.copy()
        pieces[-1, column] = value
        with pytest.raises(ValueError, match="pieces"):
            coding.level_values(codes, pieces, levels, 3)
    with pytest.raises(ValueError, match="pieces"):
        coding.level_codes(_rows(3, 2), grids, 1)
