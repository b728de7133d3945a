"""Tables whose values lie farther apart than float32 can tell: neither twin makes entries of what is no number."""

from __future__ import annotations

import numpy as np
import pytest

from nearfield.core.protocols import Folded, Layout, RowFormat
from nearfield.numerics import kernels, reference

FAR = np.float32(3.0e38)


def tables(kind: str) -> np.ndarray:
    out = np.zeros((1, 2, 16), np.float32)
    out[0, 0, :8], out[0, 0, 8:] = FAR, -FAR
    if kind == "one":
        out[0, 1, 3] = 1.0
    return out


@pytest.mark.parametrize("kind", ["one", "both"])
def test_entries_are_within_their_bits(kind: str) -> None:
    (nibbles, _), step, _ = reference.quantise_tables([tables(kind)[0], np.empty((0, 256), np.float32)])
    assert nibbles.min() >= 0
    assert nibbles.max() <= 32767
    assert np.isinf(step)


def test_weights_that_are_none_become_the_least() -> None:
    with np.errstate(invalid="ignore"):
        whole, _ = reference.quantise(np.array([[1.0, np.nan, -0.5]], np.float32), 127)
    assert (np.abs(whole) <= 32768).all()


@pytest.mark.parametrize("kind", ["one", "both"])
def test_both_twins_say_the_same(kind: str) -> None:
    fmt = RowFormat(Layout.LUT4, 1, 2, nibble_columns=1)
    codes = np.arange(32, dtype=np.uint8)[:, None]
    folded = Folded(nibble_tables=tables(kind))
    rows = kernels.pack(codes, 1)
    with np.errstate(all="ignore"):
        got = kernels.scan(fmt, rows, folded, "dot", 32, n=32)
        wanted = reference.scan(fmt, rows, folded, "dot", 32, 32, None, None, 1)
    np.testing.assert_array_equal(got[0], wanted[0])
    np.testing.assert_array_equal(np.isnan(got[1]), np.isnan(wanted[1]))
