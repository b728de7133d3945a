"""HyDE: the mean of documents, where they come from, and what happens where there are none."""

import warnings

import numpy as np
import pytest

import nearfield as nf
from nearfield.core.errors import BadInput, Corrupt, DataWarning, Unknown
from nearfield.encoders.static import Static
from nearfield.search.hyde import PROMPTS, HyDE

TEXTS = ["woollen socks for cold feet", "a recipe of tomato soup", "tax law of 1998", "knitted stockings keep you warm"]


class Letters:
    """Counts letters: what it gives can be worked out by hand."""

    dim = 26

    def encode(self, texts, *, progress=None):
        return np.array([[t.lower().count(chr(97 + i)) for i in range(26)] for t in texts], dtype=np.float32)

    def encode_queries(self, texts):
        return 2 * self.encode(texts)


class Calls:
    def __init__(self, *answers):
        self.answers = list(answers)
        self.prompts = []

    def __call__(self, prompt):
        self.prompts.append(prompt)
        return self.answers[(len(self.prompts) - 1) % len(self.answers)]


@pytest.mark.parametrize("include_query", [True, False])
def test_mean_of_documents_and_query(include_query):
    generator = Calls("aab", "c")
    found = HyDE(generator, n=2, include_query=include_query).vector("zz", Letters())
    rows = [[2, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 4]][: 3 if include_query else 2]  # a query counts twice: its own way
    np.testing.assert_allclose(found[[0, 1, 2, 25]], np.mean(rows, axis=0), rtol=1e-6)
    assert found.dtype == np.float32
    assert len(generator.prompts) == 2


def test_a_generator_of_lists_is_called_once():
    generator = Calls(["a", " ", "b", "c"])
    assert HyDE(generator, n=3).documents("x") == ["a", "b"]  # three are taken, the blank one is left out
    assert len(generator.prompts) == 1


@pytest.mark.parametrize("kind", sorted(PROMPTS))
def test_prompts(kind):
    told = HyDE(prompt=kind, language="Korean").prompt("what {query} is {language}?")
    assert " in Korean " in told
    assert "what {query} is {language}?" in told
    assert "{" not in HyDE(prompt=kind).prompt("what?")
    assert HyDE(prompt="answer: {query}").prompt("why {x}?") == "answer: why {x}?"


def test_documents_are_remembered_and_kept(tmp_path):
    path = tmp_path / "documents.db"
    first = Calls("a", "b")
    hyde = HyDE(first, n=2, cache=path)
    assert hyde.documents("x") == hyde.documents("x") == ["a", "b"]
    assert len(first.prompts) == 2
    later = Calls("other")
    assert HyDE(later, n=2, cache=path).documents("x") == ["a", "b"]
    assert not later.prompts
    assert HyDE(later, n=1, cache=path).documents("x") == ["other"]  # another number of documents
    path.write_bytes(b"no database" * 100)
    with pytest.raises(Corrupt, match=r"documents\.db.*delete it"):
        HyDE(later, cache=path).documents("y")
    with pytest.raises(BadInput, match="expected a file that HyDE can keep documents in"):
        HyDE(later, cache=tmp_path / "none" / "documents.db").documents("y")


@pytest.fixture
def collection(tmp_path):
    with nf.open(tmp_path / "c", dim=256, encoder="static") as made:
        made.upsert(list("abcd"), texts=TEXTS, meta=[{"n": i} for i in range(4)])
        yield made


def test_a_collection_is_searched_by_documents(collection):
    hyde = HyDE(lambda prompt: "thick tomato soup" if "feet" in prompt else "tax")
    assert collection.search("feet", k=1).ids == ["a"]
    assert collection.search("feet", k=1, expand=hyde).ids == ["b"]
    both = collection.search(text="feet", k=4, expand=hyde).ids
    assert set(both[:2]) == {"a", "b"}  # the words find one, the documents the other


def test_feedback_is_the_mean_of_the_nearest_rows_that_pass(collection):
    hyde = HyDE(feedback=2)
    vectors = Static().encode(["feet", *TEXTS])
    where = "n != 0"
    near = collection.search(vectors[0], k=2, where=where).ids
    mean = np.mean([vectors[0], *(vectors[1 + "abcd".index(i)] for i in near)], axis=0)
    expected = collection.search(mean, k=4, where=where)
    found = collection.search("feet", k=4, where=where, expand=hyde)
    assert found.ids == expected.ids
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)


@pytest.mark.parametrize("answer", [OSError("no network\nat all"), " "])
def test_a_failing_generator_warns_and_rows_take_its_place(collection, answer):
    def generator(prompt):
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.warns(DataWarning, match="the generator (failed .OSError: no network|gave nothing but blank)"):
        found = collection.search("feet", k=4, expand=HyDE(generator))
    assert found.ids == collection.search("feet", k=4, expand=HyDE()).ids
    with pytest.raises((OSError, BadInput)):  # nothing to take its place
        HyDE(generator).vector("feet", "static")


def test_packed():
    packed = nf.Plan("int8()").fit(Static().encode(TEXTS), texts=TEXTS, encoder="static")
    hyde = HyDE(lambda prompt: "thick tomato soup")
    assert packed.search("feet", k=1, expand=hyde).rows[0, 0] == 1
    allow = np.array([True, False, True, True])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = packed.search(["feet", "law"], k=3, expand=HyDE(feedback=1), allow=allow).rows
    assert rows[0, 0] == 0
    assert rows[1, 0] == 2


@pytest.mark.parametrize(
    ("make", "error", "told"),
    [
        (lambda: HyDE("gpt"), BadInput, "generator: expected a callable"),
        (lambda: HyDE(n=0), BadInput, "n: expected a whole number of at least 1"),
        (lambda: HyDE(feedback=True), BadInput, "feedback: expected"),
        (lambda: HyDE(prompt="questoin"), Unknown, "question"),
        (lambda: HyDE().vector("x", "static"), BadInput, "expected a generator that gives texts, or rows"),
        (lambda: HyDE(lambda p: 7).documents("x"), BadInput, "expected a text, or a list of them, got int"),
        (lambda: HyDE(lambda p: ["a", 7]).documents("x"), BadInput, "expected a text, or a list of them"),
    ],
)
def test_errors(make, error, told):
    with pytest.raises(error, match=told):
        make()


def test_a_collection_without_an_encoder(tmp_path):
    with nf.open(tmp_path / "c", dim=2) as made, pytest.raises(BadInput, match="expand: expected an encoder"):
        made.search("x", expand=HyDE(lambda p: "x"))
    with nf.open(tmp_path / "d", dim=2) as made, pytest.raises(BadInput, match=r"expand: expected HyDE"):
        made.search("x", expand="hyde")
