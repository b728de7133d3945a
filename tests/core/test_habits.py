"""A call that does not fit is answered in one line, with our names for those of peers; one that fits is left alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.core.errors import BadCall, NearfieldError
from nearfield.core.habits import answering

X = np.eye(4, dtype=np.float32)


@pytest.fixture
def rows(tmp_path: Path) -> Any:
    with nf.open(tmp_path / "rows", dim=4) as made:
        made.upsert(list("abcd"), X)
        yield made


@pytest.mark.parametrize(
    ("verb", "given", "said"),
    [
        ("search", {"n_results": 3}, "here it is k="),
        ("search", {"top_k": 3}, "here it is k="),
        ("search", {"limit": 3}, "here it is k="),
        ("search", {"filter": "a = 1"}, "here it is where="),
        ("search", {"query_embeddings": X[:1]}, "here it is q="),
        ("search", {"ef": 3}, "here it is budget="),
        ("search", {"nprobe": 3}, "here it is budget="),
        ("search", {"M": 3}, "a plan"),
        ("search", {"wher": 3}, "did you mean 'where'"),
        ("get", {"top_k": 3}, "here it is limit="),
        ("get", {"include": ["documents"]}, "rows always come with"),
        ("count", {"filter": {}}, "here it is where="),
        ("delete", {"filter": {}}, "here it is where="),
        ("upsert", {"ids": ["a"], "metadata": [{}]}, "here it is meta="),
        ("add", {"ids": ["a"], "documents": ["x"]}, "here it is texts="),
        ("add", {"ids": ["a"], "embeddings": X[:1]}, "here it is x="),
        ("add_field", {"name": "v2", "dim": 64}, r"nearfield\.dense\(64\)"),
        ("upsert", {}, "expected ids, got none"),
    ],
)
def test_collections(rows: Any, verb: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadCall, match=f"^{verb}: .*{said}"):
        getattr(rows, verb)(**given)
    assert len(rows) == 4


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: nf.open("x", dimension=3), "^open: has no argument dimension=; here it is dim="),
        (lambda: nf.open("x", metric_type="l2"), "here it is metric="),
        (lambda: nf.open("x", embedding_function=1), "here it is encoder="),
        (lambda: nf.Plan("int8()", metric="l2"), r"^Plan: .*fit"),
        (lambda: nf.Plan("int8()").fit(X, seed=1), "here it is rng="),
        (lambda: nf.Plan("int8()").fit(X).search(X, top_k=1), "here it is k="),
        (lambda: nf.Plan("int8()").fit(X).search(X, filter="a = 1"), "as allow="),
        (lambda: nf.advise(X, recall=0.9), "here it is keep="),
        (lambda: nf.dense(), "^dense: expected dim, got none"),
        (lambda: nf.Collection("x"), r"nearfield\.open"),
        (lambda: nf.Packed("x"), r"nearfield\.load"),
        (lambda: nf.Plan("int8()").fit(X).search(X, 1, 2), "^search: expected by position at most queries, k, got 3"),
        (lambda: nf.Plan("int8()").fit(X).search(X, queries=X), "^search: expected queries once"),
    ],
)
def test_other_doors(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(BadCall, match=said) as raised:
        call()
    assert isinstance(raised.value, TypeError)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("hnsw(M=16)", "degree="),
        ("hnsw(efConstruction=9)", "width="),
        ("pq(M=8)", "parts="),
        ("pq(nbits=8)", "code_bits="),
    ],
)
def test_parameters_of_peers_in_plans(plan: str, said: str) -> None:
    with pytest.raises(NearfieldError, match=f"here it is {said}"):
        nf.Plan(plan)


def test_signatures_and_errors_from_within_stay_as_they_are() -> None:
    @answering
    def inner(a: int, *, k: int = 3) -> int:
        """Words."""
        raise TypeError(f"mine {a} {k}")

    assert str(inspect.signature(inner)) == "(a: 'int', *, k: 'int' = 3) -> 'int'"
    assert inner.__doc__ == "Words."
    with pytest.raises(TypeError, match=r"^mine 1 3$") as raised:
        inner(1)
    assert not isinstance(raised.value, BadCall)
    assert list(inspect.signature(nf.Collection.search).parameters)[:3] == ["self", "q", "k"]
