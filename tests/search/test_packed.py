"""A Packed: what goes in comes out, and bad input is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.core.errors import BadInput, Corrupt, DataWarning, NearfieldError, Unknown, Unsupported
from nearfield.search.encoding import as_encoder

RNG = np.random.default_rng(5)
X = RNG.normal(size=(300, 24)).astype(np.float32)
Q = RNG.normal(size=(8, 24)).astype(np.float32)


def brute(x: np.ndarray, q: np.ndarray, metric: str, k: int = 10) -> np.ndarray:
    x, q = x.astype(np.float64), q.astype(np.float64)
    if metric == "cosine":
        x, q = x / np.linalg.norm(x, axis=1, keepdims=True), q / np.linalg.norm(q, axis=1, keepdims=True)
    scores = q @ x.T
    if metric == "l2":
        scores = -((q[:, None] - x[None]) ** 2).sum(axis=2)
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "uint8", "int32"])
def test_raw_search_is_exact_in_every_type(metric: str, dtype: str) -> None:
    x = (
        X
        if dtype.startswith("f")
        else np.clip(X * 40 + (60 if dtype == "uint8" else 0), 0 if dtype == "uint8" else -100, 120)
    )
    x = x.astype(dtype)
    q = Q if dtype.startswith("f") else np.rint(Q * 40)
    hits = nf.Plan("raw()").fit(x, metric=metric).search(q, k=10)
    want = brute(x, q, metric)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(hits.rows, want)]) >= 0.99


@pytest.mark.parametrize(("dtype", "size"), [("int8", 24), ("uint8", 24), ("float16", 48), ("float32", 96)])
def test_raw_rows_keep_their_type(dtype: str, size: int) -> None:
    x = np.abs(np.rint(X * 20)).astype(dtype)
    packed = nf.Plan("raw()").fit(x, metric="dot")
    assert packed.bytes_per_row == size
    np.testing.assert_array_equal(packed.decode(), x.astype(np.float32))


def test_hamming_on_packed_bits_is_exact() -> None:
    bits = RNG.integers(0, 256, size=(500, 13), dtype=np.uint8)
    hits = nf.Plan("bits()").fit(bits, metric="hamming").search(bits[:20], k=10)
    distance = np.unpackbits(bits[:20, None, :] ^ bits[None], axis=2).sum(axis=2)
    np.testing.assert_array_equal(hits.distance, np.sort(distance, axis=1)[:, :10])
    assert (hits.rows[:, 0] == np.arange(20)).all()


def test_rescoring_finds_what_the_codes_lose() -> None:
    truth = brute(X, Q, "cosine")
    coarse = nf.Plan("pca(dim=6) | float16()").fit(X).search(Q).rows
    fine = nf.Plan("pca(dim=6) | float16() | rescore(codec='raw', depth=20)").fit(X)
    share = [np.mean([np.isin(a, b).mean() for a, b in zip(r, truth)]) for r in (coarse, fine.search(Q).rows)]
    assert share[1] > share[0]
    assert share[1] >= 0.95
    hits = fine.search(Q)
    assert (hits.rescored == 200).all()
    exact = (Q / np.linalg.norm(Q, axis=1, keepdims=True)) @ (X / np.linalg.norm(X, axis=1, keepdims=True)).T
    np.testing.assert_allclose(hits.scores, np.take_along_axis(exact, hits.rows, axis=1), atol=1e-5)


def test_scores_are_on_the_metrics_own_scale() -> None:
    for metric in ("cosine", "dot", "l2"):
        a = nf.Plan("raw()").fit(X + 0.5, metric=metric).search(Q, k=5)
        b = nf.Plan("pca(dim=24) | raw()").fit(X + 0.5, metric=metric).search(Q, k=5)
        np.testing.assert_allclose(a.scores, b.scores, atol=2e-4 * np.abs(a.scores).max())
        np.testing.assert_array_equal(a.rows, b.rows)
    assert nf.Plan("raw()").fit(X, metric="l2").search(X[:1], k=1).distance[0, 0] < 1e-2


def test_ids_texts_and_one_query() -> None:
    packed = nf.Plan("float16()").fit(X, ids=[f"r{i}" for i in range(300)], texts=[f"text {i}" for i in range(300)])
    hits = packed.search(X[7], k=3)
    assert hits.ids[0, 0] == "r7"
    assert hits[0][0].text == "text 7"
    assert next(h["id"] for h in hits.to_dicts()[0]) == "r7"
    assert nf.Plan("raw()").fit(X, ids=np.arange(300) * 10).search(X[4], k=1).ids[0, 0] == 40


def test_same_seed_same_codes() -> None:
    a, b = (nf.Plan("pca(dim=8, solver='randomized') | float16()").fit(X, rng=3) for _ in range(2))
    np.testing.assert_array_equal(a.columns["codes"], b.columns["codes"])


def test_sizes_are_told_apart(tmp_path: Path) -> None:
    packed = nf.Plan("pca(dim=8) | float16() | rescore(codec='float16')").fit(X)
    assert packed.bytes_per_row == 16 + 48
    assert packed.shared_bytes >= 8 * 24 * 4
    assert packed.disk_bytes is None
    packed.save(tmp_path / "a.nf")
    back = nf.load(tmp_path / "a.nf")
    assert back.disk_bytes == (tmp_path / "a.nf").stat().st_size
    assert back.nbytes == packed.nbytes
    assert len(back) == 300
    assert back.dim == 24


@pytest.mark.parametrize(
    ("x", "part"),
    [
        (np.zeros((0, 4), np.float32), "at least one row"),
        (np.ones(4, np.float32), "2-D"),
        (np.ones((2, 3, 4), np.float32), "3-D"),
        (np.ones((4, 0), np.float32), "at least one dimension"),
        (np.array([["a", "b"]]), "real numbers"),
        (np.array([[1 + 2j]]), "real numbers"),
        (np.array([[None, 1]], dtype=object), "real numbers"),
        ([[1.0, 2.0], [3.0]], "one width"),
        ("a text", "2-D array"),
        (np.array([[1.0, np.nan], [1, 2]]), "row 0"),
        (np.array([[1.0, 1], [1, 2], [np.inf, 2]]), "row 2"),
        (np.array([[1e300, 1]]), "row 0"),
        (np.array([[1.0, 1], [0, 0]]), "zero vectors in row 1"),
    ],
)
def test_bad_rows_are_refused_by_number(x: object, part: str) -> None:
    with pytest.raises(BadInput, match=part) as caught:
        nf.Plan("float16()").fit(x)
    assert "\n" not in str(caught.value)


def test_bad_rows_far_inside_are_named_by_their_own_number() -> None:
    x = np.ones((100_000, 3), np.float32)
    x[98_765, 1] = np.nan
    with pytest.raises(BadInput, match="row 98765"):
        nf.Plan("float16()").fit(x)


@pytest.mark.parametrize("plan", ["raw()", "float16()", "pca(dim=3) | float16()"])
def test_zero_rows_can_be_kept_and_score_zero(plan: str, tmp_path: Path) -> None:
    x = X.copy()
    x[[3, 200]] = 0
    packed = nf.Plan(plan).fit(x, on_zero="keep")
    packed.save(tmp_path / "z.nf")
    for p in (packed, nf.load(tmp_path / "z.nf")):
        hits = p.search(Q, k=300)
        at = hits.rows == 3
        assert at.sum() == len(Q)
        assert (hits.scores[at] == 0).all()
        assert (np.diff(hits.scores, axis=1) <= 0).all()
    with pytest.raises(BadInput, match="zero vectors"):
        packed.search(np.zeros((1, 24)))
    blank = packed.search(np.zeros((1, 24)), k=4, on_zero="keep")
    assert blank.rows.tolist() == [[0, 1, 2, 3]]
    assert (blank.scores == 0).all()


@pytest.mark.parametrize(
    ("queries", "part"),
    [
        (np.ones((1, 23)), "width 24"),
        (np.full((2, 24), np.nan), "row 0"),
        (np.zeros((1, 24)), "zero vectors"),
        (["a text"], "no encoder"),
        (None, "2-D array"),
    ],
)
def test_bad_queries_are_refused(queries: object, part: str) -> None:
    packed = nf.Plan("float16()").fit(X)
    with pytest.raises(BadInput, match=part):
        packed.search(queries)


def test_no_queries_give_no_hits() -> None:
    assert nf.Plan("float16()").fit(X).search(np.zeros((0, 24)), k=3).rows.shape == (0, 3)


def test_ids_and_texts_are_checked() -> None:
    for given, part in (
        ({"ids": [1, 2]}, "one for each"),
        ({"ids": [0] * 300}, "duplicates"),
        ({"ids": [1.5 + i for i in range(300)]}, "all int or all str"),
        ({"texts": ["a"] * 299}, "one for each"),
        ({"texts": [None] * 300}, "expected str"),
        ({"texts": ["\ud800"] * 300}, "surrogate"),
        ({"metric": "euclid"}, "expected one of"),
        ({"on_zero": "drop"}, "on_zero"),
    ):
        with pytest.raises(BadInput, match=part):
            nf.Plan("float16()").fit(X, **given)


def test_an_encoder_named_beside_vectors_is_checked_and_kept(tmp_path: Path) -> None:
    with pytest.raises(Unknown, match="did you mean 'static'"):
        nf.Plan("raw()").fit(X, encoder="statik")
    with pytest.raises(BadInput, match="'static' gives 256 dimensions and the vectors have 24"):
        nf.Plan("raw()").fit(X, encoder="static")
    with pytest.raises(BadInput, match="expected a name or an object"):
        nf.Plan("raw()").fit(X, encoder=3)
    texts = ["warm socks", "tax law", "a bicycle"]
    vectors = as_encoder("static").encode(texts)
    nf.Plan("raw()").fit(vectors, encoder="static").save(tmp_path / "a.nf")
    back = nf.load(tmp_path / "a.nf")
    assert back.search("law", k=1).rows[0, 0] == 1
    assert back.space["model"] == nf.Plan("raw()").fit(texts=texts).space["model"]


def test_blank_texts_are_a_warning_and_nothing_else_an_error() -> None:
    with pytest.warns(DataWarning, match="texts: 2 of 3 are blank, in row 0, 2: "):
        packed = nf.Plan("raw()").fit(texts=["", "socks", " \n\u3000"])
    assert len(packed) == 3
    with pytest.raises(BadInput, match="nothing but blank texts"):
        nf.Plan("raw()").fit(texts=["", " "])
    with pytest.raises(BadInput, match="queries: expected words"):
        packed.search("  ")
    with pytest.raises(BadInput, match="texts: expected a list of texts, got generator"):
        nf.Plan("raw()").fit(texts=(t for t in ["a"]))


def test_a_metric_that_a_codec_cannot_score_is_refused_by_name() -> None:
    with pytest.raises((Unsupported, BadInput), match="bits"):
        nf.Plan("bits()").fit(X, metric="cosine")


def test_values_beyond_float16_are_refused() -> None:
    with pytest.raises(BadInput, match="65504"):
        nf.Plan("float16()").fit(X * 1e6, metric="dot")


def test_odd_magnitudes_keep_their_direction() -> None:
    x = X.copy()
    x[0] *= 1e30
    x[1] *= 1e-30
    hits = nf.Plan("raw()").fit(x).search(X[:2] * np.float32(1e20), k=1)
    assert hits.rows[:, 0].tolist() == [0, 1]


def test_a_damaged_file_is_named_never_read(tmp_path: Path) -> None:
    path = tmp_path / "a.nf"
    nf.Plan("pca(dim=8) | float16() | rescore(codec='raw')").fit(X, texts=["t"] * 300).save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    seen = 0
    for trial in range(200):
        data = bytearray(whole)
        if trial % 4 == 0:
            data = data[: int(rng.integers(0, len(whole)))]
        else:
            data[int(rng.integers(0, len(whole)))] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(data)
        try:
            packed = nf.load(path)
            packed.verify()
        except Corrupt as error:
            assert "a.nf" in str(error)
            seen += 1
        except BadInput as error:
            assert "a.nf" in str(error)
            seen += 1
    assert seen == 200


def test_search_notices_a_flipped_code(tmp_path: Path) -> None:
    path = tmp_path / "a.nf"
    nf.Plan("raw()").fit(X).save(path)
    data = bytearray(path.read_bytes())
    data[4000] ^= 16
    path.write_bytes(data)
    with pytest.raises(Corrupt, match="offset"):
        nf.load(path).search(Q)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nf"
    nf.Plan("raw()").fit(X).save(path)
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        nf.Plan("float16()").fit(X).save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.nf"]


def test_streamed_and_in_memory_are_the_same(tmp_path: Path) -> None:
    plan = nf.Plan("pca(dim=8) | float16() | rescore(codec='float16')")
    here = plan.fit(X, ids=list(range(300)))
    there = plan.fit(X, ids=list(range(300)), out=tmp_path / "s.nf")
    for name, column in here.columns.items():
        np.testing.assert_array_equal(column, there.columns[name])
    np.testing.assert_array_equal(here.search(Q).rows, there.search(Q).rows)


def test_a_failed_stream_leaves_nothing(tmp_path: Path) -> None:
    x = np.ones((100_000, 3), np.float32)
    x[99_000] = np.nan
    with pytest.raises(BadInput):
        nf.Plan("float16()").fit(x, out=tmp_path / "s.nf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [None, 3, b"a.nf", "a\0b", "a" * 5000], ids=["None", "3", "bytes", "NUL", "long"])
def test_what_is_no_path_is_told_in_one_line(path: Any) -> None:
    packed = nf.Plan("int8()").fit(np.eye(4, dtype=np.float32))
    for use in (nf.load, packed.save):
        with pytest.raises(NearfieldError) as caught:
            use(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("queries", [[[1, 2], [3]], [1, [2, 3]], [[[1, 2], [3]]]])
def test_ragged_queries_are_refused(queries: Any) -> None:
    with pytest.raises(BadInput, match="queries: expected rows of one width"):
        nf.Plan("int8()").fit(np.eye(2, dtype=np.float32)).search(queries)


def test_a_value_beyond_float16_is_named() -> None:
    x = np.eye(8, dtype=np.float32)
    x[5, 2] = 70_000
    with pytest.raises(BadInput, match=r"got one of 70000; scale all rows, or use raw\(\)"):
        nf.Plan("float16()").fit(x, metric="dot")


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (MemoryError(), BadInput, "a.nf: reading it needs more memory than there is"),
        (OSError(24, "Too many open files"), OSError, "Too many open files"),
        (KeyError("x"), Corrupt, "the contents do not"),
    ],
)
def test_the_machines_faults_are_not_the_files(
    fault: Exception, kind: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise fault

    nf.Plan("int8()").fit(np.eye(4, dtype=np.float32)).save(tmp_path / "a.nf")
    monkeypatch.setattr("nearfield.search.file.rehearse", fail)
    with pytest.raises(kind, match=words) as caught:
        nf.load(tmp_path / "a.nf")
    assert ("checksums hold" in str(caught.value)) == (kind is Corrupt)
