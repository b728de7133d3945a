"""Every codec, found by itself, must keep these rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance import kit
from nearfield.core.errors import BadInput, BadParameter, BadPlan, NotFitted
from nearfield.core.protocols import TABLE_LAYOUTS
from nearfield.numerics import kernels

CODECS = kit.examples("codecs")
METRICS = ("dot", "cosine", "l2")


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_fit_returns_itself_and_leaves_parameters(codec: Any) -> None:
    made = codec.fresh()
    before = made.parameters()
    assert kit.fitted(codec, kit.rows()) is not None
    try:
        assert made.fit(kit.rows(), rng=kit.seed()) is made
    except ImportError as error:
        pytest.skip(str(error))
    assert made.parameters() == before


def test_same_rng_same_bytes(codec: Any) -> None:
    kit.allow(codec, "repeatable")
    x = kit.rows()
    a, b = kit.fitted(codec, x), kit.fitted(codec, x)
    kit.same_state(a, b)
    np.testing.assert_array_equal(a.encode(x), b.encode(x))


def test_bytes_per_row_is_true(codec: Any) -> None:
    x = kit.rows()
    made = kit.fitted(codec, x)
    codes = made.encode(x)
    assert codes.dtype == np.uint8
    assert codes.shape == (len(x), made.bytes_per_row)
    assert isinstance(made.bytes_per_row, int)
    arrays = sum(v.nbytes for v in made.state().values() if isinstance(v, np.ndarray))
    assert made.shared_bytes >= arrays


def test_a_row_is_encoded_by_itself(codec: Any) -> None:
    x = kit.rows()
    made = kit.fitted(codec, x)
    whole = made.encode(x)
    np.testing.assert_array_equal(made.encode(x[5:6]), whole[5:6])
    np.testing.assert_array_equal(made.encode(x[::-1][:50]), whole[::-1][:50])
    assert made.encode(x[:0]).shape == (0, made.bytes_per_row)


def test_decode_beats_the_mean(codec: Any) -> None:
    x = kit.rows(400)
    made = kit.fitted(codec, x)
    back = made.decode(made.encode(x))
    assert back.dtype == np.float32
    assert back.shape == x.shape
    kit.allow(codec, "decode beats the mean")
    assert ((x - back) ** 2).sum() < ((x - x.mean(axis=0)) ** 2).sum()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("d", [1, 3, 16, 33])
def test_scorer_agrees_with_decode_then_score(codec: Any, metric: Any, d: int) -> None:
    x, q = kit.rows(100, d), kit.rows(7, d, rng=1)
    made = kit.fitted(codec, x)
    if metric not in made.metrics:
        pytest.skip(f"{made.name()} does not score under {metric}")
    codes = made.encode(x)
    scorer = made.scorer(metric)
    p = scorer.prepare(q)
    by_decoding = scorer.score(p, codes)
    back = made.decode(codes)
    if metric == "dot":
        np.testing.assert_allclose(by_decoding, q @ back.T, atol=1e-4)
    fmt = made.row_format()
    if fmt is None:
        return
    assert fmt.width == made.bytes_per_row
    terms = scorer.terms(codes)
    by_kernel = kernels.score_rows(fmt, codes, p.folded, metric, None, terms)
    # Queries are quantized to 16 bits against the longest row; under cosine a short row shows that error larger.
    longest = np.linalg.norm(back, axis=1).max()
    size = np.linalg.norm(p.queries, axis=1).max() * longest * (1 if metric != "cosine" else terms[None, :])
    assert (np.abs(by_kernel - by_decoding) <= 2e-4 * (size + np.abs(by_decoding).max())).all()
    stored = kernels.pack(codes, fmt.width) if fmt.layout in TABLE_LAYOUTS else codes
    ids, scores = kernels.scan(fmt, stored, p.folded, metric, 100, n=100, terms=terms)
    order = np.argsort(ids, axis=1)
    np.testing.assert_array_equal(np.take_along_axis(scores, order, axis=1), by_kernel)


def test_a_planted_neighbour_wins(codec: Any) -> None:
    x = kit.rows(200, 32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    made = kit.fitted(codec, x)
    scorer = made.scorer("dot")
    scores = scorer.score(scorer.prepare(x[:20]), made.encode(x))
    rank = (scores > scores[np.arange(20), np.arange(20)][:, None]).sum(axis=1)
    kit.allow(codec, "planted neighbour")
    assert np.median(rank) <= 2


@pytest.mark.parametrize("form", ["float64", "fortran", "strided", "read-only"])
def test_takes_rows_in_any_form(codec: Any, form: str) -> None:
    x = kit.rows()
    made = kit.fitted(codec, x)
    want = made.encode(x)
    if form == "float64":
        given = x.astype(np.float64)
    elif form == "fortran":
        given = np.asfortranarray(x)
    elif form == "strided":
        given = np.repeat(x, 2, axis=1)[:, ::2]
    else:
        given = x.copy()
        given.flags.writeable = False
    np.testing.assert_array_equal(made.encode(np.ascontiguousarray(given, dtype=np.float32)), want)
    np.testing.assert_array_equal(made.encode(given.astype(np.float32, order="K")), want)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_rows(codec: Any, n: int) -> None:
    kit.allow(codec, "few rows")
    x = kit.rows(n, 8)
    made = kit.fitted(codec, x)
    back = made.decode(made.encode(x))
    assert back.shape == x.shape
    assert np.isfinite(back).all()


@pytest.mark.parametrize("d", [1, 2, 7, 33])
def test_odd_widths(codec: Any, d: int) -> None:
    x = kit.rows(80, d)
    made = kit.fitted(codec, x)
    assert made.decode(made.encode(x)).shape == x.shape


def test_constant_columns_duplicates_and_far_rows(codec: Any) -> None:
    x = kit.rows(100, 9)
    x[:, 4] = 0.25
    x[50:] = x[:50]
    made = kit.fitted(codec, x)
    codes = made.encode(x)
    np.testing.assert_array_equal(codes[50:], codes[:50])
    far = made.decode(made.encode(np.ascontiguousarray(x[:3] * 100)))
    assert np.isfinite(far).all()
    still = kit.fitted(codec, np.full((30, 5), 0.5, dtype=np.float32))
    assert np.isfinite(still.decode(still.encode(np.full((2, 5), 0.5, dtype=np.float32)))).all()
    zero = made.decode(made.encode(np.zeros((1, 9), dtype=np.float32)))
    assert np.isfinite(zero).all()


def test_saved_and_restored_the_same(codec: Any, tmp_path: Any) -> None:
    x, q = kit.rows(), kit.rows(3, rng=2)
    made = kit.fitted(codec, x)
    back = kit.round_trip(made, tmp_path)
    codes = made.encode(x)
    np.testing.assert_array_equal(back.encode(x), codes)
    np.testing.assert_array_equal(back.decode(codes), made.decode(codes))
    a, b = made.scorer("dot"), back.scorer("dot")
    np.testing.assert_array_equal(a.score(a.prepare(q), codes), b.score(b.prepare(q), codes))


def test_unfitted_use_is_refused(codec: Any) -> None:
    made = codec.fresh()
    for use in (
        lambda: made.encode(kit.rows()),
        lambda: made.bytes_per_row,
        lambda: made.scorer("dot"),
        lambda: made.state(),
    ):
        with pytest.raises(NotFitted):
            use()


def test_wrong_width_and_wrong_codes_are_refused(codec: Any) -> None:
    made = kit.fitted(codec, kit.rows(60, 12))
    with pytest.raises(BadInput, match="12"):
        made.encode(kit.rows(3, 13))
    with pytest.raises(BadInput):
        made.decode(np.zeros((2, made.bytes_per_row + 1), dtype=np.uint8))


def test_illegal_parameters_name_themselves(codec: Any) -> None:
    with pytest.raises((BadParameter, TypeError)):
        type(codec)(**(codec.parameters() | {"no_such_parameter": 1}))
    for key, value in codec.parameters().items():
        with pytest.raises(BadParameter, match=key):
            type(codec)(**(codec.parameters() | {key: object()}))
        if isinstance(value, int) and not isinstance(value, bool):
            with pytest.raises(BadParameter, match=key):
                type(codec)(**(codec.parameters() | {key: -(10**9)}))


def test_works_in_every_index_or_is_refused_by_its_layout(codec: Any) -> None:
    from nearfield.core import rooms
    from nearfield.search.plan import Plan

    x = kit.rows(150, 24)
    for name in rooms.catalog("indexes"):
        index = rooms.load("indexes", name).examples()[0]
        try:
            packed = Plan([codec, index]).fit(x, metric="dot")
        except ImportError as error:
            pytest.skip(str(error))
        except BadPlan as error:
            fmt = codec.fresh().fit(x, rng=np.random.default_rng(0)).row_format()
            assert fmt is None or fmt.layout not in index.layouts
            assert f"{name}: searches codes of the layouts" in str(error)
            continue
        hits = packed.search(x[:5], k=150, budget=150)
        assert sorted(hits.rows[0]) == list(range(150))


def test_threads_change_no_search(codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from nearfield.search.plan import Plan

    x = kit.rows(500, 24)
    try:
        packed = Plan([codec]).fit(x)
    except ImportError as error:
        pytest.skip(str(error))
    want = packed.search(x[:40], k=7)
    for threads in ("1", "3"):
        monkeypatch.setenv("NEARFIELD_THREADS", threads)
        got = packed.search(x[:40], k=7)
        np.testing.assert_array_equal(got.rows, want.rows)
        np.testing.assert_array_equal(got.scores, want.scores)


def test_a_query_is_scored_by_itself(codec: Any) -> None:
    from nearfield.search.plan import Plan

    x = kit.rows(300, 50)
    try:
        packed = Plan([codec]).fit(x)
    except ImportError as error:
        pytest.skip(str(error))
    together = packed.search(x[:37], k=20)
    for i in (0, 5, 36):
        alone = packed.search(x[i], k=20)
        np.testing.assert_array_equal(alone.rows[0], together.rows[i])
        np.testing.assert_array_equal(alone.scores[0], together.scores[i])
