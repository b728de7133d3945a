"""A score hangs on the row, the query and the fitted plan: not on what is encoded, decoded or asked beside."""

from __future__ import annotations

import numpy as np
import pytest

from nearfield import Plan
from nearfield.core.errors import BadInput, NearfieldError

PLANS = (
    "pca(dim=9) | int8()", "whiten(dim=7) | int8()", "random_projection(dim=8) | lvq(bits=4)",
    "random_projection(dim=8, kind='sparse') | float16()", "leanvec(dim=8) | float16()", "truncate(dim=8) | itq()",
    "transform(bytes=9)", "itq()", "opq(parts=4, code_bits=4)", "rabitq(bits=3)", "pq(parts=4, code_bits=4)",
)  # fmt: skip


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return (rng.normal(size=(150, 16)) * np.linspace(2, 0.3, 16) + 0.1).astype(np.float32)


@pytest.mark.parametrize("metric", ["dot", "l2", "cosine"])
@pytest.mark.parametrize("plan", PLANS)
def test_equal_rows_score_alike_and_a_query_is_answered_by_itself(plan: str, metric: str, x: np.ndarray) -> None:
    packed = Plan(plan).fit(np.concatenate([x, x]), metric=metric)
    n, queries = len(x), x[:20]
    whole = packed.search(queries, k=2 * n)
    scores = np.take_along_axis(whole.scores, np.argsort(whole.rows, axis=1), axis=1)
    np.testing.assert_array_equal(scores[:, :n], scores[:, n:])
    for i in (0, 13):
        one = packed.search(queries[i], k=2 * n)
        np.testing.assert_array_equal(one.rows[0], whole.rows[i])
        np.testing.assert_array_equal(one.scores[0], whole.scores[i])


@pytest.mark.parametrize("plan", PLANS)
def test_codes_of_other_rows_are_those_that_fit_would_keep(plan: str, x: np.ndarray) -> None:
    packed = Plan(plan).fit(x, metric="l2")
    np.testing.assert_array_equal(packed.encode(x), packed.codes())
    np.testing.assert_array_equal(packed.encode(x[7:8]), packed.codes(np.array([7])))
    np.testing.assert_array_equal(packed.decode(np.array([5])), packed.decode()[5:6])


def test_what_is_not_a_row_number_a_budget_or_a_seed_is_refused(x: np.ndarray) -> None:
    packed = Plan("transform(bytes=9)").fit(x)
    for rows in ([-1], [150], [0.5], [True, False], [[1]]):
        for read in (packed.codes, packed.decode):
            with pytest.raises(BadInput, match="rows: expected"):
                read(np.array(rows))
    for name, values in {"budget": [0, -1, "x", True], "on_zero": ["bogus"]}.items():
        for value in values:
            with pytest.raises(BadInput, match=f"{name}: expected"):
                packed.search(x[:1], **{name: value})
    with pytest.raises(BadInput, match="allow: expected"):
        packed.search(x[:1], allow=[True] * 150)
    for rng in (-1, "x", None, True):
        with pytest.raises(BadInput, match="rng: expected"):
            Plan("int8()").fit(x, rng=rng)
    with pytest.raises(BadInput, match="vectors: expected width 16"):
        packed.encode(x[:, :9])


@pytest.mark.parametrize("ids", [[1 << 63, *range(149)], iter(range(150)), [[1]] * 150, [1.5] * 150])
def test_ids_that_cannot_be_kept_are_refused(ids: object, x: np.ndarray) -> None:
    with pytest.raises(NearfieldError, match="ids: expected"):
        Plan("int8()").fit(x, ids=ids)  # type: ignore[arg-type]
