"""Every codec and every index over rows of one dimension, of odd widths and of the widest that models give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from conformance import kit
from nearfield.core import rooms
from nearfield.core.errors import MissingExtra

NARROW = (1, 2, 3, 7, 64, 257)
MODERN = (768, 1024, 1536, 2048, 3072, 4096, 8192)
CUBIC = ("itq", "opq", "recurrent_binary")  # fits of many steps of cubic cost, or minutes of training
WIDTHS = [*NARROW, *(pytest.param(d, marks=pytest.mark.slow) for d in MODERN)]


def found_again(plan: nf.Plan, d: int, folder: Path) -> None:
    """Fit on a few rows, search, and search once more what was saved."""
    x = kit.rows(150 if d <= 257 else 40, d)
    try:
        packed = plan.fit(x, metric="l2", rng=0)
    except MissingExtra as error:
        pytest.skip(str(error))
    hits = packed.search(x[:4], k=3, budget=len(x))
    assert (hits.rows >= 0).all()
    assert np.isfinite(hits.scores).all()
    packed.save(folder / "p.nf")
    again = nf.load(folder / "p.nf").search(x[:4], k=3, budget=len(x))
    np.testing.assert_array_equal(again.rows, hits.rows)
    np.testing.assert_array_equal(again.scores, hits.scores)


@pytest.mark.parametrize("d", WIDTHS)
@pytest.mark.parametrize("codec", kit.examples("codecs"))
def test_codecs(codec: Any, d: int, tmp_path: Path) -> None:
    if (codec.name() in CUBIC and d > 257) or (codec.name() == "recurrent_binary" and d > 7):
        pytest.skip("its fit takes minutes at this width")
    found_again(nf.Plan([codec]), d, tmp_path)


@pytest.mark.parametrize("d", WIDTHS)
@pytest.mark.parametrize("codec", ["raw()", "lvq(bits=4)", "int8()"])
@pytest.mark.parametrize("name", sorted(set(rooms.catalog("indexes")) - {"flat"}))
def test_indexes(name: str, codec: str, d: int, tmp_path: Path) -> None:
    found_again(nf.Plan(f"{codec} | {name}()"), d, tmp_path)


@pytest.mark.parametrize("d", WIDTHS)
@pytest.mark.parametrize("codec", ["rabitq(bits=1)", "transform(bytes=4)", "pq(parts=2, code_bits=4)", "binary()"])
def test_lists_of_small_codes(codec: str, d: int, tmp_path: Path) -> None:
    found_again(nf.Plan(f"{codec} | ivf()"), d, tmp_path)
