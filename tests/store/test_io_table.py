"""Numbers in text as pandas, NumPy, R and spreadsheets write them: no row is a header, no column is lost or won."""

import warnings

import numpy as np
import pytest

import nearfield as nf
from nearfield.core.errors import BadInput, DataWarning
from nearfield.store.exchange import read_rows
from nearfield.store.io import is_text, read_vectors

X = np.random.default_rng(0).normal(size=(30, 4)).round(3)
WHOLE = (X * 10).astype(int)
BODY = [",".join(map(str, row)) for row in X.tolist()]


def written(tmp_path, lines, name="x.csv", sep=","):
    path = tmp_path / name
    path.write_text("\n".join(line.replace(",", sep) for line in lines) + "\n")
    return path


def headed(head, first=None):
    """The body under a header, with a first column."""
    rows = BODY if first is None else [f"{name},{row}" for name, row in zip(first, BODY)]
    return rows if head is None else [head, *rows]


COUNT = list(range(30))
LETTERS = [f"n{i}" for i in COUNT]
FORMS = {
    "to_csv(index=False)": (headed("0,1,2,3"), None),
    "to_csv()": (headed(",0,1,2,3", COUNT), None),
    "to_csv(header=False, index=False)": (headed(None), None),
    "an index of names": (headed(",0,1,2,3", LETTERS), LETTERS),
    "an index of numbers": (headed(",0,1,2,3", [7 * i for i in COUNT]), [str(7 * i) for i in COUNT]),
    "names over an index": (headed(",a,b,c,d", COUNT), None),
    "R": (headed(",V1,V2,V3,V4", [i + 1 for i in COUNT]), [str(i + 1) for i in COUNT]),
    "reset_index": (headed("index,0,1,2,3", COUNT), None),
    "read and written again": (headed("Unnamed: 0,0,1,2,3", COUNT), None),
    "from 1": (headed("1,2,3,4"), None),
    "years": (headed("name,2019,2020,2021,2022", LETTERS), LETTERS),
    "words": (headed("word,0,1,2,3", LETTERS), LETTERS),
    "ids": (headed("id,0,1,2,3", [i + 5 for i in COUNT]), [str(i + 5) for i in COUNT]),
    "names alone": (headed(None, LETTERS), LETTERS),
    "a comment": (headed("# a,b,c,d"), None),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "sep"), [("x.csv", ","), ("x.tsv", "\t"), ("x.csv", "\t"), ("x.csv", ";")])
def test_forms(tmp_path, form, name, sep):
    lines, ids = FORMS[form]
    found = read_vectors(written(tmp_path, lines, name, sep))
    np.testing.assert_array_equal(found.array(), X)
    assert found.ids == ids


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.txt"])
@pytest.mark.parametrize("how", [{}, {"header": "a b c d"}, {"fmt": "%.3f"}, {"fmt": "%g"}, {"delimiter": ","}])
def test_numpy_writes_it(tmp_path, name, how):
    if name == "x.tsv" and "delimiter" in how:
        how = {"delimiter": "\t"}
    np.savetxt(tmp_path / name, X, **how)
    found = read_vectors(tmp_path / name)
    assert (found.shape, found.ids) == (X.shape, None)
    np.testing.assert_allclose(found.array(), X)
    assert not is_text(tmp_path / name)
    np.savetxt(tmp_path / name, WHOLE, fmt="%d", **{k: v for k, v in how.items() if k == "delimiter"})
    np.testing.assert_array_equal(read_vectors(tmp_path / name).array(), WHOLE)


def test_rows_of_pandas_go_through_a_collection(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X)
    for number, how in enumerate([{"index": False}, {}, {"index": False, "header": False}, {"sep": "\t"}]):
        path = tmp_path / f"{number}.csv"
        frame.to_csv(path, **how)
        with nf.open(tmp_path / f"c{number}", dim=4) as c:
            assert (c.load(path), c.load(path), c.load(frame)) == (30, 30, 30)
            assert c.ids() == list(range(90))
            np.testing.assert_allclose(c.get([33])[0].vector, X[3], rtol=1e-6)


@pytest.mark.parametrize("cell", ["", "NA", " ", "null", "N/A", "None", "<NA>", "-"])
@pytest.mark.parametrize("column", [0, 1, 3])
def test_a_first_row_with_a_hole_is_refused(tmp_path, cell, column):
    row = BODY[0].split(",")
    row[column] = cell
    path = written(tmp_path, [",".join(row), *BODY[1:]])
    for read in (read_vectors, lambda p: list(read_rows(p))):
        with pytest.raises(BadInput, match=r"x\.csv': line 1: expected numbers, got '") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_slips_in_the_first_column_are_no_ids(tmp_path):
    with pytest.raises(BadInput, match="line 3: expected numbers, got 'o'"):
        read_vectors(written(tmp_path, [*BODY[:2], "o,1,2,3", *BODY[3:]]))
    names = [*LETTERS[:3], "", *LETTERS[4:]]
    with pytest.raises(BadInput, match="line 4: expected an id in column 0, got a blank cell"):
        read_vectors(written(tmp_path, headed(None, names)))


def test_what_could_be_otherwise_is_told(tmp_path):
    whole = [",".join(map(str, row)) for row in WHOLE.tolist()]
    with pytest.warns(DataWarning, match=r"x\.csv': the first line counts 0, 1 \.\.\. and is taken for the names"):
        assert read_vectors(written(tmp_path, ["0,1,2,3", *whole])).shape == (30, 4)
    with pytest.warns(DataWarning, match="the first column counts the rows and is taken for row numbers"):
        found = read_vectors(written(tmp_path, headed(None, COUNT)))
    assert (found.shape, found.ids) == ((30, 4), None)
    with pytest.warns(DataWarning, match="the first column counts the rows and is taken for values"):
        assert read_vectors(written(tmp_path, [f"{i},{row}" for i, row in enumerate(whole)])).shape == (30, 5)
    with pytest.warns(DataWarning, match="the first number of each line is taken for the name"):
        found = read_vectors(written(tmp_path, headed(None, [i + 3 for i in COUNT]), "x.txt", " "))
    assert (found.shape, found.ids[:2]) == ((30, 4), ["3", "4"])
    # as the warnings say, a header settles it
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_vectors(written(tmp_path, ["a,b,c,d", "0,1,2,3", *whole])).shape == (31, 4)
        assert read_vectors(written(tmp_path, headed("x0,x1,x2,x3,x4", COUNT))).shape == (30, 5)
        found = read_vectors(written(tmp_path, ["id,a,b,c,d", *(f"{i},{row}" for i, row in enumerate(whole))]))
        assert (found.shape, found.ids[:2]) == ((30, 4), ["0", "1"])


def test_a_count_that_goes_on_is_data(tmp_path):
    np.savetxt(tmp_path / "x.csv", np.arange(120).reshape(30, 4), fmt="%d", delimiter=",")
    np.testing.assert_array_equal(read_vectors(tmp_path / "x.csv").array(), np.arange(120).reshape(30, 4))


def test_word_vectors_stay_words(tmp_path):
    lines = ["2 3", "17 0.5 1 2", "18 1 2 0.25"]
    found = read_vectors(written(tmp_path, lines, "x.vec"))
    assert (found.ids, found.shape) == (["17", "18"], (2, 3))
    glove = ["the 0.5 1 2", "1 1 2 0.25", "0.5 1 2 3"]
    assert read_vectors(written(tmp_path, glove, "x.txt", " ")).ids == ["the", "1", "0.5"]


def test_rows_under_an_index_of_pandas(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["a", "b"], "year": [1, 2], "embedding": [[0.5, 1.0], [2.0, 3.0]]})
    arrays = frame.assign(embedding=[np.array(v) for v in frame["embedding"]])
    for given, ids in ((frame, None), (arrays, None), (frame.set_index(pandas.Index(["x", "y"])), ["x", "y"])):
        given.to_csv(tmp_path / "x.csv")
        (found,) = read_rows(tmp_path / "x.csv")
        assert (found.ids, found.texts, found.meta) == (ids, ["a", "b"], [{"year": 1}, {"year": 2}])
        np.testing.assert_array_equal(found.vectors["embedding"], [[0.5, 1], [2, 3]])
    frame.assign(id=["p", "q"]).set_index(pandas.Index(["x", "y"])).to_csv(tmp_path / "x.csv")
    (found,) = read_rows(tmp_path / "x.csv")
    assert (found.ids, found.meta[0]) == (["p", "q"], {"index": "x", "year": 1})
