"""Every Fuser, found by itself, must keep these rules."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from conformance import kit
from nearfield.core import rooms
from nearfield.core.errors import BadInput, BadParameter
from nearfield.core.plan import read

FUSERS = kit.examples("fusers")


@pytest.fixture(params=FUSERS)
def fuser(request: pytest.FixtureRequest) -> Any:
    return request.param


def lists(rng: int, sizes: tuple[int, ...] = (40, 25, 33), among: int = 60) -> list[Any]:
    """Ranked lists with different scores, each on a scale of its own."""
    generator = np.random.default_rng(rng)
    out = []
    for i, size in enumerate(sizes):
        rows = generator.choice(among, size=size, replace=False)
        scores = np.sort(generator.normal(size=size))[::-1] * 10.0**i + i
        out.append((rows.astype(np.int64), scores))
    return out


def same(a: Any, b: Any) -> None:
    np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(a[1], b[1])


def test_the_result_is_a_ranking(fuser: Any) -> None:
    runs = lists(1)
    union = set(np.concatenate([rows for rows, _ in runs]).tolist())
    for k in (1, 7, 1000):
        rows, scores = fuser.fuse(runs, k)
        assert rows.dtype == np.int64
        assert scores.dtype == np.float64
        assert rows.shape == scores.shape == (min(k, len(union)),)
        assert set(rows.tolist()) <= union
        assert len(set(rows.tolist())) == rows.size
        assert np.isfinite(scores).all()
        assert all(s > t or (s == t and a < b) for (a, s), (b, t) in itertools.pairwise(zip(rows, scores)))


def test_fewer_rows_are_the_first_of_more(fuser: Any) -> None:
    runs = lists(2)
    rows, scores = fuser.fuse(runs, 1000)
    same(fuser.fuse(runs, 9), (rows[:9], scores[:9]))


def test_the_same_again_and_after_a_copy(fuser: Any) -> None:
    runs = lists(3)
    kept = [(rows.copy(), scores.copy()) for rows, scores in runs]
    for rows, scores in runs:
        rows.flags.writeable = scores.flags.writeable = False
    first = fuser.fuse(runs, 50)
    same(first, fuser.fuse(runs, 50))
    same(first, fuser.fresh().fuse(kept, 50))
    same(first, fuser.fuse([(rows.tolist(), scores[:].tolist()) for rows, scores in kept], 50))


def test_the_order_of_the_lists_makes_no_difference(fuser: Any) -> None:
    if not fuser.symmetric:
        pytest.skip("each list has its own weight")
    for rng in range(5):
        runs = lists(rng)
        first = fuser.fuse(runs, 100)
        for order in itertools.permutations(range(3)):
            same(first, fuser.fuse([runs[i] for i in order], 100))


def test_what_all_lists_put_first_comes_first(fuser: Any) -> None:
    if not fuser.unanimous:
        pytest.skip("it does not claim so")
    for rng in range(20):
        runs = []
        for rows, scores in lists(rng):
            rows = np.append(60, rows)  # the largest number: a tie would put it last
            runs.append((rows, np.append(scores[0] + abs(scores[0]) * 0.1 + 0.01, scores)))
        assert fuser.fuse(runs, 3)[0][0] == 60


def test_one_list_keeps_its_order(fuser: Any) -> None:
    if fuser.parameters().get("weights"):
        pytest.skip("it has weights for three lists")
    kit.allow(fuser, "one list")
    for size in (1, 2, 30):
        run = lists(4, (size,))[0]
        np.testing.assert_array_equal(fuser.fuse([run], 100)[0], run[0])
        np.testing.assert_array_equal(fuser.fuse([run, run, run], 100)[0], run[0])


def test_scale_and_origin_of_scores_where_it_claims_so(fuser: Any) -> None:
    if not fuser.affine:
        pytest.skip("it takes scores as they are")
    for rng in range(5):
        runs = lists(rng)
        moved = [(rows, scores * 3.5**i - 7 * i) for i, (rows, scores) in enumerate(runs, 1)]
        a, b = fuser.fuse(runs, 100), fuser.fuse(moved, 100)
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_allclose(a[1], b[1], rtol=1e-9)


def test_empty_lists_change_no_more_than_what_they_lack(fuser: Any) -> None:
    nothing = (np.zeros(0, np.int64), np.zeros(0, np.float32))
    if fuser.parameters().get("weights"):
        pytest.skip("it has weights for three lists")
    rows, scores = fuser.fuse([nothing, nothing], 5)
    assert rows.size == scores.size == 0
    run = lists(5, (12,))[0]
    found = fuser.fuse([nothing, run, nothing], 50)[0]
    assert set(found.tolist()) == set(run[0].tolist())
    if "one list" not in fuser.skips:
        np.testing.assert_array_equal(found, run[0])


def test_equal_scores_and_single_rows(fuser: Any) -> None:
    level = (np.array([5, 3, 9]), np.array([2.0, 2.0, 2.0]))
    single = (np.array([9]), np.array([-1.0]))
    for runs in ([level] * 3, [single] * 3, [level, single, level], [level, lists(6)[0], single]):
        rows, scores = fuser.fuse(runs, 100)
        assert np.isfinite(scores).all()
        assert set(rows.tolist()) == set(np.concatenate([r for r, _ in runs]).tolist())


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e96])
def test_scores_of_any_size(fuser: Any, scale: float) -> None:
    runs = [(rows, scores * scale) for rows, scores in lists(7)]
    rows, scores = fuser.fuse(runs, 100)
    assert np.isfinite(scores).all()
    if fuser.affine:
        np.testing.assert_array_equal(rows, fuser.fuse(lists(7), 100)[0])


def test_infinite_scores_stay_at_their_end(fuser: Any) -> None:
    if fuser.parameters().get("weights"):
        pytest.skip("it has weights for three lists")
    kit.allow(fuser, "one list")
    run = (np.array([8, 2, 4, 6]), np.array([np.inf, 3.0, 2.0, -np.inf]))
    rows, scores = fuser.fuse([run, run], 9)
    assert rows.tolist() == [8, 2, 4, 6]
    assert np.isfinite(scores).all()


def test_padding_is_left_out(fuser: Any) -> None:
    runs = lists(8)
    padded = [(np.append(rows, [-1, -1]), np.append(scores, [-np.inf, -np.inf])) for rows, scores in runs]
    same(fuser.fuse(runs, 100), fuser.fuse(padded, 100))


def test_types_of_lists_make_no_difference(fuser: Any) -> None:
    runs = [(rows, np.round(scores)) for rows, scores in lists(9)]
    others = [(rows.astype(np.int32), scores.astype(np.float32)) for rows, scores in runs]
    same(fuser.fuse(runs, 100), fuser.fuse(others, 100))


BAD: dict[str, tuple[Any, str]] = {
    "nothing": ([], "at least one ranked list"),
    "no pair": ([np.arange(3)], "run 0: expected a pair"),
    "two axes": ([(np.zeros((2, 2), int), np.zeros((2, 2)))] * 3, r"run 0: expected rows \[n\]"),
    "one too few": ([(np.arange(3), np.zeros(2))] * 3, "run 0"),
    "rows of floats": ([(np.zeros(2), np.zeros(2))] * 3, "whole row numbers"),
    "scores of text": ([(np.arange(2), np.array(["a", "b"]))] * 3, "real scores"),
    "NaN": ([(np.arange(2), np.array([1.0, np.nan]))] * 3, "NaN at place 1"),
    "rising": ([(np.arange(3), np.zeros(3)), (np.arange(3), np.array([1.0, 0.0, 2.0]))], "run 1.*rise at place 2"),
    "twice": ([(np.array([4, 4]), np.zeros(2))] * 3, "row 4 more often"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_lists_that_are_none_are_refused(fuser: Any, case: str) -> None:
    runs, words = BAD[case]
    with pytest.raises(BadInput, match=words) as caught:
        fuser.fuse(runs, 5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("k", [0, -1, 2.0, True, None, "3"])
def test_a_wrong_k_is_refused(fuser: Any, k: Any) -> None:
    with pytest.raises(BadInput, match="k: expected"):
        fuser.fuse(lists(1), k)


def test_illegal_parameters_name_themselves(fuser: Any) -> None:
    for key, value in fuser.parameters().items():
        for wrong in (object(), -(10**9) if isinstance(value, float) else "no such", None):
            with pytest.raises(BadParameter, match=key):
                type(fuser)(**(fuser.parameters() | {key: wrong}))


def test_its_text_makes_it_again(fuser: Any) -> None:
    (step,) = read(str(fuser) if "(" in str(fuser) else f"{fuser}()")
    again = rooms.load("fusers", step.name)(**dict(step.params))
    assert again == fuser
    same(again.fuse(lists(3), 50), fuser.fuse(lists(3), 50))
