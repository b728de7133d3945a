"""pq, opq, rvq, lvq and rabitq in detail: packing, bytes, layouts, the estimator and its bounds."""

from __future__ import annotations

import numpy as np
import pytest

from nearfield.codecs.lvq import LVQ
from nearfield.codecs.opq import OPQ, dealt
from nearfield.codecs.pq import PQ
from nearfield.codecs.rabitq import RaBitQ
from nearfield.codecs.rvq import RVQ
from nearfield.core.errors import BadInput, BadParameter, Unsupported
from nearfield.core.protocols import Layout
from nearfield.numerics import kernels, productcodes
from nearfield.numerics.planes import Planes
from nearfield.numerics.productcodes import Indices
from nearfield.numerics.spheregrid import nearest_direction


def rows(n: int = 600, d: int = 24, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(d, d)) / np.sqrt(1 + np.arange(d))[:, None]
    return (rng.normal(size=(n, d)) @ mix + 0.3).astype(np.float32)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def error(codec, x: np.ndarray) -> float:
    return float(((codec.decode(codec.encode(x)) - x) ** 2).sum() / ((x - x.mean(axis=0)) ** 2).sum())


# Packing


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("dim", [1, 2, 7, 33])
def test_planes_keep_integers_and_weighted_sums(bits: int, dim: int) -> None:
    integers = rng().integers(1 << bits, size=(9, dim)).astype(np.uint16)
    planes = Planes(bits, dim)
    codes = planes.pack(integers)
    assert codes.shape == (9, planes.columns)
    np.testing.assert_array_equal(planes.unpack(codes), integers)
    weights = rng(2).normal(size=(4, dim)).astype(np.float32)
    tables = planes.tables(weights)
    nibbles = np.stack([codes & 15, codes >> 4], axis=2).reshape(9, -1)
    sums = np.stack([[t[np.arange(len(n)), n].sum() for n in nibbles] for t in tables])
    np.testing.assert_allclose(sums, weights @ integers.T.astype(np.float32), rtol=1e-4, atol=1e-2 * 2.0 ** (bits - 8))


def test_planes_waste_at_most_a_byte_each() -> None:
    assert [Planes(bits, 384).columns for bits in range(1, 9)] == [48 * bits for bits in range(1, 9)]
    assert [p.bits for p in Planes(7, 8).planes] == [4, 2, 1]


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_indices_round_trip(bits: int, parts: int) -> None:
    given = rng().integers(1 << bits, size=(11, parts)).astype(np.uint8)
    packed = Indices(parts, bits)
    codes = packed.pack(given)
    assert codes.shape == (11, packed.columns)
    np.testing.assert_array_equal(packed.unpack(codes), given)


def test_parts_are_cut_and_joined() -> None:
    x = rows(5, 7)
    parts = productcodes.split(x, 3)
    assert parts.shape == (3, 5, 3)
    assert (parts[2, :, 1:] == 0).all()
    np.testing.assert_array_equal(productcodes.join(parts, 7), x)


# Bytes and layouts


@pytest.mark.parametrize(
    ("codec", "width", "layout"),
    [
        (PQ(parts=24, code_bits=4), 13, Layout.LUT4),
        (PQ(parts=5, code_bits=4, gain=False), 3, Layout.LUT4),
        (PQ(parts=6), 7, Layout.LUT8),
        (OPQ(parts=6, rounds=1, code_bits=4), 4, Layout.LUT4),
        (RVQ(stages=3, code_bits=4), 3, Layout.LUT4),
        (RVQ(stages=2), 3, Layout.LUT8),
        (LVQ(bits=4), 16, Layout.AFFINE4),
        (LVQ(bits=8), 28, Layout.AFFINE8),
        (LVQ(bits=4, residual=4), 28, Layout.BITS_PLUS),
        (LVQ(bits=4, residual=8), 40, Layout.BITS_PLUS),
        (RaBitQ(bits=1), 7, Layout.BITS),
        (RaBitQ(bits=3), 13, Layout.BITS_PLUS),
        (RaBitQ(bits=8), 28, Layout.BITS_PLUS),
    ],
)
def test_bytes_and_layout(codec, width: int, layout: Layout) -> None:
    x = rows()
    codec.fit(x, rng=rng())
    assert codec.bytes_per_row == width == codec.encode(x).shape[1]
    assert codec.row_format().layout == layout


@pytest.mark.parametrize("make", [PQ, OPQ, RVQ])
def test_the_gain_restores_the_length(make) -> None:
    x = rows(d=32)
    few = {"stages": 2} if make is RVQ else {"parts": 2}
    plain, kept = (make(**few, code_bits=4, gain=g).fit(x, rng=rng()) for g in (False, True))
    lengths = np.linalg.norm(x, axis=1)
    without = np.linalg.norm(plain.decode(plain.encode(x)), axis=1) / lengths
    with_gain = np.linalg.norm(kept.decode(kept.encode(x)), axis=1) / lengths
    assert np.abs(with_gain - 1).max() < 0.05
    assert np.abs(with_gain - 1).mean() < 0.1 * np.abs(without - 1).mean()


@pytest.mark.parametrize("make", [PQ, OPQ, RVQ])
def test_more_bytes_less_error(make) -> None:
    x = rows(1500)
    key = "stages" if make is RVQ else "parts"
    errors = [error(make(**{key: size}, code_bits=4).fit(x, rng=rng()), x) for size in (2, 6, 12)]
    assert errors[0] > errors[1] > errors[2]


# Optimized PQ


def test_directions_are_dealt_to_equal_products() -> None:
    d, parts = 16, 4
    scales = 2.0 ** -np.arange(d)
    x = (rng().normal(size=(4000, d)) * scales).astype(np.float32)
    order = dealt(np.eye(d, dtype=np.float32), x.var(axis=0).astype(np.float64), parts)
    np.testing.assert_allclose(order.T @ order, np.eye(d), atol=1e-5)
    turned = productcodes.split(x @ order, parts)
    logs = np.log(turned.var(axis=1)).sum(axis=1)
    assert np.ptp(logs) < 0.2 * np.ptp(np.log(x.var(axis=0)).reshape(parts, -1).sum(axis=1))


def test_opq_turns_rows_without_changing_dot_products() -> None:
    x = rows(d=10)
    for weight in (0.0, 0.5):
        codec = OPQ(parts=4, code_bits=4, rounds=3, weight=weight).fit(x, rng=rng())
        assert codec.turn_.shape == (12, 10)
        np.testing.assert_allclose(codec.turn_.T @ codec.back_, np.eye(10), atol=1e-5)
    published = OPQ(parts=4, code_bits=4, rounds=3, weight=0.0).fit(x, rng=rng())
    np.testing.assert_allclose(published.turn_, published.back_, atol=1e-6)


def test_opq_beats_pq_on_dependent_dimensions() -> None:
    x = rows(3000, 32)
    opq = OPQ(parts=8, code_bits=4).fit(x, rng=rng())
    assert error(opq, x) < 0.85 * error(PQ(parts=8, code_bits=4).fit(x, rng=rng()), x)


# Residual VQ


def test_a_wider_beam_encodes_better() -> None:
    x = rows(800)
    greedy = RVQ(stages=6, code_bits=4, beam=1, gain=False).fit(x, rng=rng())
    wide = RVQ(stages=6, code_bits=4, beam=16, gain=False).restore(greedy.state())
    assert error(wide, x) < 0.98 * error(greedy, x)


def test_greedy_names_the_nearest_centroid_of_each_rest() -> None:
    x = rows(200)
    codec = RVQ(stages=4, code_bits=4, beam=1, gain=False).fit(x, rng=rng())
    rest, want = x.copy(), []
    for book in codec.codebooks_:
        near = kernels.assign(rest, book)[0]
        rest -= book[near]
        want.append(near)
    same = Indices(4, 4).unpack(codec.encode(x)) == np.stack(want, axis=1)
    assert same.mean() > 0.999


def test_a_full_beam_finds_the_best_sum() -> None:
    x = rows(40, 6)
    codec = RVQ(stages=2, code_bits=4, beam=16, gain=False).fit(x, rng=rng())
    sums = (codec.codebooks_[0][:, None] + codec.codebooks_[1][None]).reshape(-1, 6)
    best = ((x[:, None] - sums) ** 2).sum(axis=2).min(axis=1)
    np.testing.assert_allclose(((codec.decode(codec.encode(x)) - x) ** 2).sum(axis=1), best, rtol=1e-3, atol=1e-6)


# LVQ


@pytest.mark.parametrize(("bits", "residual", "step"), [(4, None, 15), (8, None, 255), (4, 4, 240), (4, 8, 3840)])
def test_lvq_errs_by_half_a_step(bits: int, residual: int | None, step: int) -> None:
    x = rows(300, 40)
    codec = LVQ(bits=bits, residual=residual).fit(x, rng=rng())
    centred = x - x.mean(axis=0)
    half = 0.5 * np.ptp(centred, axis=1) / step
    gap = np.abs(codec.decode(codec.encode(x)) - x).max(axis=1)
    slack = 4 * 2.0**-11 * np.abs(centred).max(axis=1)  # constants are float16
    factor = 0.02 * np.abs(centred).max(axis=1) / step * 15  # the length factor moves a row a little
    assert (gap <= half + slack + factor).all()


def test_lvq_keeps_the_length_of_rows() -> None:
    x = rows(300, 64)
    for bits in (4, 8):
        codec = LVQ(bits=bits).fit(x, rng=rng())
        ratio = np.linalg.norm(codec.decode(codec.encode(x)), axis=1) / np.linalg.norm(x, axis=1)
        np.testing.assert_allclose(ratio, 1, atol=2e-3)


def test_the_first_level_lies_in_front() -> None:
    x = rows(50, 24)
    one, two = LVQ(bits=4).fit(x, rng=rng()), LVQ(bits=4, residual=8).fit(x, rng=rng())
    first = one.encode(x)[:, :12]
    assert (first == two.encode(x)[:, :12]).mean() > 0.99  # units of the constants differ, ties with them


def test_a_residual_needs_four_bits_in_front() -> None:
    with pytest.raises(BadParameter, match="residual"):
        LVQ(bits=8, residual=4)


@pytest.mark.parametrize("codec", [LVQ(), LVQ(bits=4, residual=8), RaBitQ(bits=8), RaBitQ(bits=1)])
def test_rows_of_any_scale(codec) -> None:
    x = rows(100, 32)
    for scale in (1e-12, 1.0, 1e12):
        made = codec.fresh().fit(x * np.float32(scale), rng=rng())
        want = error(codec.fresh().fit(x, rng=rng()), x)
        assert error(made, x * np.float32(scale)) == pytest.approx(want, rel=0.25)  # float16 rounds elsewhere
    with pytest.raises(BadInput, match="spread"):
        made.encode(x * np.float32(1e20))


# RaBitQ


def exact_cosine(x: np.ndarray, bits: int) -> float:
    """The best cosine with any grid vector, by every scale at which a coordinate changes its level."""
    size = np.abs(x).astype(np.float64)
    top = (1 << (bits - 1)) - 1
    levels = np.repeat(np.arange(1, top + 1), len(x))
    places = np.tile(np.arange(len(x)), top)
    order = np.argsort(levels / size[places], kind="stable")
    along = 0.5 * size.sum() + np.concatenate([[0], np.cumsum(size[places[order]])])
    square = 0.25 * len(x) + np.concatenate([[0], np.cumsum(2.0 * levels[order])])
    return float((along / np.sqrt(square)).max() / np.linalg.norm(size))


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("d", [1, 2, 8, 48, 256])
def test_few_scales_come_close_to_all(bits: int, d: int) -> None:
    x = rng(d).normal(size=(60, d)).astype(np.float32)
    if d == 48:
        x[:, :3] *= 30
    y = nearest_direction(x, bits).astype(np.float64) - ((1 << bits) - 1) / 2
    ours = np.einsum("ij,ij->i", x, y) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    best = np.array([exact_cosine(row, bits) for row in x])
    assert (ours <= best + 1e-6).all()
    assert np.mean(1 - ours**2) <= 1.06 * np.mean(1 - best**2) + 1e-6


def test_the_estimate_is_unbiased_over_rotations() -> None:
    x, q = rows(40, 64), rows(6, 64, seed=5)
    truth = q @ x.T
    for bits in (1, 2, 4):
        runs = []
        for seed in range(60):
            codec = RaBitQ(bits=bits).fit(x, rng=rng(seed))
            runs.append(q @ codec.decode(codec.encode(x)).T - truth)
        stack = np.array(runs)
        off = stack.mean(axis=0) / (stack.std(axis=0) / np.sqrt(len(runs)))
        assert 0.8 < off.std() < 1.2  # as chance alone gives
        assert abs(off.mean()) < 0.3


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_bounds_hold_as_often_as_published(bits: int, metric: str) -> None:
    x, q = rows(800, 96), rows(30, 96, seed=3)
    codec = RaBitQ(bits=bits).fit(x, rng=rng())
    scorer = codec.scorer(metric)
    prepared, codes = scorer.prepare(q), codec.encode(x)
    truth = q @ x.T
    if metric == "l2":
        truth = 2 * truth - (x**2).sum(axis=1) - (q**2).sum(axis=1)[:, None]
    for epsilon, rate in ((1.9, 0.92), (3.0, 0.99)):
        low, high = scorer.bounds(prepared, codes, epsilon)
        assert ((low <= truth) & (truth <= high)).mean() > rate
    low, high = scorer.bounds(prepared, codes, 0.5)
    assert ((low <= truth) & (truth <= high)).mean() < 0.9  # neither is it wide for nothing


def test_bounds_know_dot_and_l2_only() -> None:
    x = rows(50)
    codec = RaBitQ().fit(x, rng=rng())
    scorer = codec.scorer("cosine")
    with pytest.raises(Unsupported, match="dot and l2"):
        scorer.bounds(scorer.prepare(x[:2]), codec.encode(x))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_distances_are_unbiased_where_lengths_differ(bits: int) -> None:
    x = rows(2000, 96) * np.repeat([1, 3], 1000)[:, None].astype(np.float32)
    q = rows(50, 96, seed=3)
    codec = RaBitQ(bits=bits).fit(x, rng=rng())
    scorer = codec.scorer("l2")
    got = scorer.score(scorer.prepare(q), codec.encode(x))
    truth = -((q[:, None] - x[None]) ** 2).sum(axis=2)
    for part in (slice(0, 1000), slice(1000, 2000)):
        assert abs(np.mean(got[:, part] - truth[:, part])) < 0.02 * np.abs(truth[:, part]).mean()


def test_squares_are_the_rows_own() -> None:
    x = rows(500, 96)
    for bits, tolerance in ((1, 0.25), (4, 0.03), (8, 0.005)):
        codec = RaBitQ(bits=bits).fit(x, rng=rng())
        np.testing.assert_allclose(codec.squares(codec.encode(x)), (x**2).sum(axis=1), rtol=tolerance)
