"""A vector as a cell or key has it: lists, arrays and text are read alike, all else is refused."""

import base64

import numpy as np
import pytest

from nearfield.core.errors import BadInput
from nearfield.store.exchange_vectors import side_by_side, vector_keys, vector_of


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("[1,2,3]", [1, 2, 3]),
        (" [1, 2.5, -3e-2] ", [1, 2.5, -0.03]),
        ("[1 2 3]", [1, 2, 3]),
        (str(np.array([0.1, 2.0, -3e-9])), [0.1, 2.0, -3e-9]),
        (str(np.linspace(0, 1, 40)), np.linspace(0, 1, 40)),  # over several lines
        (str(np.array([1.0, 2.0])), [1.0, 2.0]),  # "1." is no number in JSON
        ("1,2,3", [1, 2, 3]),
        ("0.5 1", [0.5, 1]),
        ("(1, 2)", [1, 2]),
        ("[1, 2,]", [1, 2]),
        ("[7]", [7]),
        ("[[1, 2], [3, 4]]", [[1, 2], [3, 4]]),
        (str([0.1, 0.2]), [0.1, 0.2]),
    ],
)
def test_text(text, want):
    np.testing.assert_allclose(vector_of(text, "x"), want, rtol=1e-6)
    assert vector_of('{"indices": [3, 1], "values": [0.5, 2]}', "x") == {3: 0.5, 1: 2.0}
    assert vector_of("[1, 2]", "x").dtype == vector_of("1,2", "x").dtype == vector_of([1, 2], "x").dtype


@pytest.mark.parametrize(
    "value",
    [
        "", "7", "abc", "[a, b]", "1,,2", "[1; 2]", "1_0, 2", "[np.float32(0.5)]", "[", "nan", "{}", "[[1 2]\n [3 4]]",
        base64.b64encode(np.ones(2)).decode(), str(np.zeros(2000)), b"123", b"[1, 2]", bytearray(b"1"), 7, 1.5, True,
        {1, 2}, {"a": 1}, ["1", "2"], [None, 1.0], [[1], [2, 3]], np.array("a"), np.array(["1", "2"]), object(),
        np.array([1 + 2j]), "[1, ..., 3]",
    ],
)  # fmt: skip
def test_all_else_is_refused(value):
    with pytest.raises(BadInput, match=r"^here: expected (a list of )?(numbers|indices)") as caught:
        vector_of(value, "here")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_which_keys_hold_vectors():
    keys = ["vector", "embedding"]
    assert vector_keys({"vector": [1.0], "embedding": "ada-002"}, keys) == ["vector"]
    assert vector_keys({"vector": None, "embedding": "[1]"}, keys) == keys
    assert vector_keys({"vector": None, "embedding": [1]}, keys) == keys
    assert vector_keys({"vector": 7, "embedding": "ada-002"}, keys) == keys


def test_empty_lists_among_vectors():
    for found, row in (([np.ones(3), np.zeros((0, 0))], 6), ([np.zeros((0, 0)), None, np.ones(3)], 5)):
        with pytest.raises(BadInput, match=rf"expected 3 numbers, got \[\] in row {row}; write null for none"):
            side_by_side(found, "x", 5)
    made = side_by_side([np.zeros((0, 0)), np.ones((2, 3))], "x", 0)  # no token is a vector of tokens
    assert [m.shape for m in made] == [(0, 3), (2, 3)]
