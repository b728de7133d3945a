"""The codecs of scalars and signs: exact oracles, bytes, and what their parameters promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nearfield.codecs.bfloat16 import BFloat16
from nearfield.codecs.binary import Binary
from nearfield.codecs.float4 import Float4
from nearfield.codecs.float8 import Float8
from nearfield.codecs.int4 import Int4
from nearfield.codecs.int8 import Int8
from nearfield.codecs.itq import ITQ
from nearfield.core.errors import BadInput
from nearfield.numerics import floats8, recurrent, scalars
from nearfield.numerics.stepped import uniform

RNG = np.random.default_rng


def every_half() -> np.ndarray:
    """All finite float16 values as float32."""
    with np.errstate(invalid="ignore"):
        values = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)
    return values[np.isfinite(values)]


def rows(n: int = 300, d: int = 24, seed: int = 0) -> np.ndarray:
    x = RNG(seed).normal(size=(n, d)) / np.sqrt(1 + np.arange(d)) + 0.1
    return np.ascontiguousarray(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)


@pytest.mark.parametrize(
    ("ours", "theirs"), [("E4M3", "float8_e4m3fn"), ("E5M2", "float8_e5m2"), ("E2M1", "float4_e2m1fn")]
)
def test_small_floats_equal_ml_dtypes_on_every_float16(ours: str, theirs: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    small = getattr(floats8, ours)
    x = every_half()
    codes = small.encode(x)
    with np.errstate(over="ignore", invalid="ignore"):
        want = x.astype(getattr(ml_dtypes, theirs))
    inside = np.isfinite(want.astype(np.float32))
    np.testing.assert_array_equal(codes[inside], want.view(np.uint8)[inside])
    np.testing.assert_array_equal(small.decode(codes)[inside], want.astype(np.float32)[inside])
    # Beyond the range theirs is infinite or NaN, ours the largest value with the sign.
    np.testing.assert_array_equal(small.decode(codes)[~inside], np.copysign(small.largest, x[~inside]))


def test_bfloat16_equals_ml_dtypes_on_every_float16_and_on_random_bits() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    bits = RNG(0).integers(0, 2**32, 200_000, dtype=np.uint32).view(np.float32)
    x = np.concatenate([every_half(), bits[np.abs(bits) < 3e38]])
    codes = floats8.to_bfloat16(x)
    np.testing.assert_array_equal(codes, x.astype(ml_dtypes.bfloat16).view(np.uint16))
    np.testing.assert_array_equal(floats8.from_bfloat16(codes), x.astype(ml_dtypes.bfloat16).astype(np.float32))


@pytest.mark.parametrize("name", ["E4M3", "E5M2", "E2M1"])
def test_small_floats_take_the_nearest_value_ties_to_even(name: str) -> None:
    small = getattr(floats8, name)
    values = small.values[: small.top + 1].astype(np.float64)
    np.testing.assert_array_equal(small.encode(values.astype(np.float32)), np.arange(small.top + 1))
    middles = ((values[1:] + values[:-1]) / 2).astype(np.float32)
    codes = small.encode(middles)
    assert (codes % 2 == 0).all()
    up, down = np.nextafter(middles, np.float32(np.inf)), np.nextafter(middles, np.float32(0))
    np.testing.assert_array_equal(small.encode(up), np.arange(1, small.top + 1))
    np.testing.assert_array_equal(small.encode(down), np.arange(small.top))
    assert small.largest == {"E4M3": 448, "E5M2": 57344, "E2M1": 6}[name]


def test_bfloat16_refuses_what_would_become_infinite() -> None:
    codec = BFloat16().fit(rows(), rng=RNG(0))
    x = rows(3)
    x[1, 0] = np.finfo(np.float32).max
    with pytest.raises(BadInput, match=r"got one of 3.4\d*e\+38; scale all rows"):
        codec.encode(x)


def test_float8_global_scale_brings_values_back_into_range() -> None:
    for size in (1e6, 1e-6):
        x = rows() * np.float32(size)
        plain, scaled = Float8().fit(x, rng=RNG(0)), Float8(scale="global").fit(x, rng=RNG(0))
        error = [float(np.abs(c.decode(c.encode(x)) - x).max() / np.abs(x).max()) for c in (plain, scaled)]
        assert error[0] > 0.5
        assert error[1] < 0.04


@pytest.mark.parametrize(
    ("codec", "width"),
    [
        (Int8(), 25), (Int8(gain=False), 24), (Int8(scale="row"), 26), (Int8(scale="fixed", gain=False), 24),
        (Int4(), 13), (Int4(scale="row"), 14), (Int4(scale="global", gain=False), 12),
        (Float4(), 14), (Float4(scale="global", gain=False), 12), (Float8(), 24), (BFloat16(), 48),
        (Binary(), 4), (Binary(gain=False), 3), (ITQ(), 4), (ITQ(dim=9, gain=False), 2),
    ],
    ids=str,
)  # fmt: skip
def test_bytes_are_as_told_and_rows_come_back(codec: Any, width: int) -> None:
    x = rows()
    made = codec.fit(x, rng=RNG(0))
    codes = made.encode(x)
    assert codes.shape == (len(x), width)
    assert made.bytes_per_row == width
    back = made.decode(codes)
    assert np.mean(np.einsum("ij,ij->i", back, x) / np.linalg.norm(back, axis=1)) > 0.7


def test_int8_is_within_half_a_step_inside_its_range() -> None:
    x = rows()
    codec = Int8(gain=False).fit(x, rng=RNG(0))
    error = np.abs(codec.decode(codec.encode(x)) - x)
    inside = np.abs(x - codec.middle_) <= codec.step_ * 127.5
    assert inside.mean() > 0.98
    assert (error[inside] <= np.broadcast_to(codec.step_ * 0.5001 + 1e-7, x.shape)[inside]).all()


def test_fixed_int8_multiplies_by_127() -> None:
    x = rows()
    codec = Int8(scale="fixed", gain=False).fit(x, rng=RNG(0))
    np.testing.assert_array_equal(codec.encode(x).view(np.int8), np.rint(x * 127).astype(np.int8))


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("codec", [Int8(scale="row"), Int4(scale="row"), Float4()], ids=str)
def test_a_rows_own_step_holds_at_any_size(codec: Any, size: float) -> None:
    x = rows() * np.float32(size)
    made = codec.fresh().fit(x, rng=RNG(0))
    back = made.decode(made.encode(x))
    assert np.linalg.norm(back - x) < 0.12 * np.linalg.norm(x)
    lengths = np.linalg.norm(back, axis=1) / np.linalg.norm(x, axis=1)
    np.testing.assert_allclose(lengths, 1, atol=2e-3)


def test_a_zero_row_stays_zero_where_rows_have_their_own_step() -> None:
    x = rows()
    x[3] = 0
    for codec in (Int8(scale="row"), Int4(scale="row"), Float4()):
        made = codec.fit(x, rng=RNG(0))
        assert not made.decode(made.encode(x))[3].any()


def test_a_searched_range_loses_less_than_the_full_one() -> None:
    x = RNG(0).standard_t(4, size=(2000, 5)).astype(np.float32)
    levels = uniform(4, zero=False)
    step = scalars.fit_steps(x, levels.largest, levels.rounded, each=True)
    full = np.abs(x).max(axis=0) / np.float32(levels.largest)
    lost = [float(((x - levels.rounded(x / s) * s) ** 2).sum()) for s in (step, full)]
    assert lost[0] < 0.7 * lost[1]


def test_gains_restore_lengths() -> None:
    x = rows(500, 64)
    for codec in (Int4(), Binary(), ITQ()):
        made = codec.fit(x, rng=RNG(0))
        lengths = np.linalg.norm(made.decode(made.encode(x)), axis=1)
        np.testing.assert_allclose(lengths, 1, atol=0.01)


def test_itq_loses_less_than_an_unlearned_rotation() -> None:
    x = rows(600, 32)
    lost = []
    for rounds in (0, 30):
        codec = ITQ(rounds=rounds, gain=False).fit(x, rng=RNG(1))
        lost.append(float(((codec.decode(codec.encode(x)) - x) ** 2).sum()))
    assert lost[1] < lost[0]
    with pytest.raises(BadInput, match="32"):
        ITQ(dim=33).fit(x, rng=RNG(0))


def test_sign_tables_add_up_to_the_signed_sum() -> None:
    w, x = RNG(0).normal(size=(3, 13)).astype(np.float32), RNG(1).normal(size=(20, 13))
    packed = scalars.bits_packed(x > 0)
    tables = scalars.sign_tables(w)
    nibbles = np.stack([packed & 15, packed >> 4], axis=2).reshape(20, -1)
    sums = tables[:, np.arange(tables.shape[1])[None, :], nibbles].sum(axis=2)
    np.testing.assert_allclose(sums, w @ np.where(x > 0, 1, -1).T, atol=1e-5)
    np.testing.assert_array_equal(scalars.signs(packed, 13), np.where(x > 0, 1, -1))


def test_recurrent_values_are_sums_of_halved_signs() -> None:
    integers = np.arange(8, dtype=np.uint16)[None, :]
    want = [sum(0.5**t * (1 if i >> (2 - t) & 1 else -1) for t in range(3)) for i in range(8)]
    np.testing.assert_allclose(recurrent.values(integers, 3)[0], want)


def test_recurrent_binary_more_bits_lose_less_and_training_lowers_the_error() -> None:
    pytest.importorskip("torch")
    from nearfield.codecs.recurrent_binary import RecurrentBinary

    x = rows(2000, 32)
    lost = {}
    for bits, steps in ((1, 0), (2, 0), (4, 0), (2, 150)):
        codec = RecurrentBinary(bits=bits, steps=steps, hidden=32, gain=False).fit(x, rng=RNG(0))
        lost[bits, steps] = float(((codec.decode(codec.encode(x)) - x) ** 2).sum())
    assert lost[1, 0] > 1.5 * lost[2, 0] > 3 * lost[4, 0]
    assert lost[2, 150] < lost[2, 0]


def test_recurrent_binary_leaves_torchs_random_state_alone() -> None:
    torch = pytest.importorskip("torch")
    from nearfield.codecs.recurrent_binary import RecurrentBinary

    before = torch.get_rng_state()
    RecurrentBinary(hidden=8, steps=5).fit(rows(), rng=RNG(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_recurrent_binary_symmetric_scores_are_of_both_codes() -> None:
    pytest.importorskip("torch")
    from nearfield.codecs.recurrent_binary import RecurrentBinary
    from nearfield.numerics import kernels

    x = rows(400, 32)
    codec = RecurrentBinary(bits=3, steps=0, queries="codes").fit(x, rng=RNG(0))
    codes, q = codec.encode(x), x[:5]
    scores = kernels.score_rows(codec.row_format(), codes, codec.scorer("dot").prepare(q).folded, "dot", None, None)
    own = codec.decode(codec.encode(q))
    np.testing.assert_allclose(scores, own @ codec.decode(codes).T, atol=0.01)
    assert (scores.argmax(axis=1) == np.arange(5)).all()


def test_recurrent_binary_versions_share_an_index() -> None:
    pytest.importorskip("torch")
    from nearfield.codecs.recurrent_binary import RecurrentBinary

    x = rows(1500, 32)
    turned = np.ascontiguousarray(x @ np.linalg.qr(RNG(1).normal(size=(32, 32)))[0], dtype=np.float32)
    old = RecurrentBinary(bits=3, steps=20, hidden=16).fit(x, rng=RNG(0))
    new = RecurrentBinary(bits=3, steps=20, hidden=16).fit_compatible(turned, old, x, rng=RNG(0))
    scores = turned[:100] @ new.decode(old.encode(x)).T
    assert np.mean(scores.argmax(axis=1) == np.arange(100)) > 0.8
    with pytest.raises(BadInput, match="old model"):
        RecurrentBinary(bits=2).fit_compatible(turned, old, x, rng=RNG(0))
