"""word2vec binary as word2vec and gensim write it: words with spaces, words that are cut off, values of any size."""

import numpy as np
import pytest

from nearfield.core.errors import DataWarning, NearfieldError
from nearfield.store.io import read_vectors

PARTS = ["a", "of", "the", "york", "new", "7470", "Boeing", "X", "ünï", "日本", "ABCD", "H", "ab", "!"]


def written(tmp_path, words, x, end):
    rows = b"".join(
        (w if isinstance(w, bytes) else w.encode()) + b" " + row.astype("<f4").tobytes() + end
        for w, row in zip(words, x)
    )
    (tmp_path / "x.bin").write_bytes(b"%d %d\n" % x.shape + rows)
    return tmp_path / "x.bin"


def phrases(rng, n):
    out = {}
    while len(out) < n:
        out[" ".join(rng.choice(PARTS, size=rng.integers(1, 4))) + str(rng.integers(1000)) * int(rng.integers(2))] = 0
    return list(out)


@pytest.mark.parametrize("end", [b"\n", b""], ids=["word2vec", "gensim"])
@pytest.mark.parametrize("d", [4, 8, 50, 300])
@pytest.mark.parametrize("seed", range(3))
def test_words_with_spaces(tmp_path, end, d, seed):
    rng = np.random.default_rng(seed)
    words, x = phrases(rng, 300), (rng.normal(size=(300, d)) * 0.3).astype("f4")
    path = written(tmp_path, words, x, end)
    found = read_vectors(path)
    assert found.ids == words
    np.testing.assert_array_equal(found.array(), x)
    some = read_vectors(path, limit=7)
    assert (some.ids, len(some)) == (words[:7], 7)
    np.testing.assert_array_equal(found.take(np.array([299, 0])), x[[299, 0]])


@pytest.mark.parametrize("end", [b"\n", b""], ids=["word2vec", "gensim"])
@pytest.mark.parametrize("fill", [0.0, 1e30, 1e-30, np.nan])
def test_values_of_no_common_size(tmp_path, end, fill):
    """Where nothing in a row is like a vector, a word ends at its first space, as every reader has it."""
    x = np.full((20, 6), fill, "f4")
    words = [f"w{i}" for i in range(20)]
    found = read_vectors(written(tmp_path, words, x, end))
    assert found.ids == words
    np.testing.assert_array_equal(found.array(), x)


def test_words_that_are_cut_off(tmp_path):
    x = np.random.default_rng(0).normal(size=(3, 8)).astype("f4")
    long = ("é" * 60).encode()[:99]
    with pytest.warns(DataWarning, match=r"x\.bin': 1 word not whole in UTF-8.*U\+FFFD"):
        found = read_vectors(written(tmp_path, ["ok", long, "z"], x, b"\n"))
    assert found.ids == ["ok", "é" * 49 + "\ufffd", "z"]
    np.testing.assert_array_equal(found.array(), x)
    lines = [b" ".join([w, *(b"%r" % float(v) for v in row)]) for w, row in zip((b"ok", long, b"z"), x)]
    (tmp_path / "x.vec").write_bytes(b"3 8\n" + b"\n".join(lines) + b"\n")
    with pytest.warns(DataWarning, match=r"x\.vec': 1 word not whole"):
        assert read_vectors(tmp_path / "x.vec").ids == found.ids


def test_cut_files_are_refused(tmp_path):
    x = np.random.default_rng(0).normal(size=(5, 8)).astype("f4")
    for end in (b"\n", b""):
        whole = written(tmp_path, ["new york", "b c", "d", "e f g", "h"], x, end).read_bytes()
        for cut in (10, 40, len(whole) - 30, len(whole) - 3):
            (tmp_path / "x.bin").write_bytes(whole[:cut])
            with pytest.raises(NearfieldError, match="cut short"):
                read_vectors(tmp_path / "x.bin")
