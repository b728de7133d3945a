"""The index and the cache under MTEB's own mock tasks, beside MTEB's own."""

from __future__ import annotations

import copy
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mteb")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what its own dependencies deprecate
    import mteb
    import torch
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.mocks import ALL_MOCK_TASK_TEST_GRID
    from mteb.models import CachedEmbeddingWrapper, SearchEncoderWrapper
    from mteb.models.cache_wrappers.cache_backend_protocol import CacheBackendProtocol
    from mteb.models.cache_wrappers.cache_backends.numpy_cache import NumpyCache
    from mteb.similarity_functions import cos_sim, dot_score, euclidean_sim

import nearfield as nf
from nearfield.core.errors import BadInput, Unsupported
from nearfield.integrations.mteb import NearfieldCache, NearfieldSearchIndex

SIMILARITY = {"cosine": cos_sim, "dot": dot_score, "euclidean": euclidean_sim}
# Mock tasks of images, audio and video need PIL, torchcodec and av, and test the encoder, which is none of ours.
TEXT = [t for t in ALL_MOCK_TASK_TEST_GRID if set(t.metadata.modalities) == {"text"}]
RETRIEVAL = [t for t in TEXT if isinstance(t, AbsTaskRetrieval)]
QUICK = ("MockRetrievalTask", "MockRerankingTask", "MockSTSTask", "MockClassificationTask")


def some_slow(tasks: list) -> list:
    """A few tasks at each run, the others with the long suites."""
    marks = {True: (), False: (pytest.mark.slow,)}
    return [pytest.param(t, marks=marks[t.metadata.name in QUICK], id=t.metadata.name) for t in tasks]


def scores(model, task) -> dict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two samples where more were expected, and of what mteb is to change
        found = mteb.evaluate(model, task, cache=None, show_progress_bar=False, co2_tracker=False)
    return found.task_results[0].scores


@pytest.fixture(scope="module")
def model():
    return mteb.get_model("mteb/baseline-random-encoder")


def plain(found: dict) -> dict:
    """The numbers of a result by name, without what no number is."""
    return {
        (split, i, name): value
        for split, several in found.items()
        for i, one in enumerate(several)
        for name, value in one.items()
        if isinstance(value, (int, float))
    }


@pytest.mark.allow_global_rng
@pytest.mark.parametrize("task", some_slow(RETRIEVAL))
def test_retrieval_and_reranking_score_as_without_an_index(model, task, tmp_path: Path) -> None:
    index = NearfieldSearchIndex(model, directory=tmp_path)
    got, want = scores(SearchEncoderWrapper(model, index_backend=index), task), scores(model, task)
    assert plain(got) == pytest.approx(plain(want), abs=1e-6, nan_ok=True)
    assert any(name == "main_score" for *_, name in plain(want))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.allow_global_rng
@pytest.mark.parametrize("task", some_slow(TEXT))
def test_tasks_score_as_with_mtebs_cache(model, task, tmp_path: Path) -> None:
    def cached(backend, name: str) -> dict:
        wrapped = CachedEmbeddingWrapper(model, tmp_path / name, cache_backend=backend)
        first, again = scores(wrapped, task), scores(wrapped, task)
        wrapped.close()
        assert plain(first) == pytest.approx(plain(again), abs=1e-6, nan_ok=True)
        return first

    want = cached(NumpyCache, "numpy")
    assert plain(cached(NearfieldCache, "nearfield")) == pytest.approx(plain(want), abs=1e-6, nan_ok=True)


# ---- the index -------------------------------------------------------------------------------------
@pytest.mark.parametrize("given", [np.asarray, torch.from_numpy, lambda x: torch.from_numpy(x).to(torch.bfloat16)])
@pytest.mark.parametrize("name", list(SIMILARITY))
def test_search_ranks_as_mtebs_similarity(rng: np.random.Generator, name: str, given) -> None:
    x, q = given(rng.normal(size=(200, 12)).astype("f4")), given(rng.normal(size=(7, 12)).astype("f4"))
    index = NearfieldSearchIndex(name)
    index.add_documents(x[:120], [f"d{i}" for i in range(120)])
    index.add_documents(x[120:], [f"d{i}" for i in range(120, 200)])
    as_float = [torch.as_tensor(v).float() for v in (q, x)]
    want = SIMILARITY[name](*as_float).topk(20)
    values, places = index.search(q, 20, SIMILARITY[name])
    assert places == want.indices.tolist()
    np.testing.assert_allclose(values, want.values, atol=1e-5)

    ids = [f"d{i}" for i in rng.permutation(200)[:30]]
    ranked = {"q0": ids, "q1": ids[:5], "q2": []}
    values, places = index.search(q[:3], 20, SIMILARITY[name], ranked, {0: "q0", 1: "q1", 2: "q2"})
    for row, known in enumerate(ranked.values()):
        rows = [int(name[1:]) for name in known]
        best = SIMILARITY[name](as_float[0][row : row + 1], as_float[1][rows])[0] if rows else torch.zeros(0)
        order = best.argsort(descending=True)[:20]
        assert places[row] == order.tolist()
        np.testing.assert_allclose(values[row], best[order], atol=1e-5)
    index.clear()


def test_a_plan_is_what_the_documents_are_searched_by(rng: np.random.Generator) -> None:
    x, q = rng.normal(size=(500, 32)).astype("f4"), rng.normal(size=(20, 32)).astype("f4")
    index = NearfieldSearchIndex("cosine", plan="rabitq(bits=1)")
    index.add_documents(x, [str(i) for i in range(500)])
    values, places = index.search(q, 10)
    packed = nf.Plan("rabitq(bits=1)").fit(x, rng=0)
    found = packed.search(q, 10)
    assert places == found.rows.tolist()
    np.testing.assert_allclose(values, found.scores, atol=1e-5)
    exact = cos_sim(torch.as_tensor(q), torch.as_tensor(x)).topk(10).values.numpy()
    assert np.abs(exact - values).max() > 1e-3
    index.clear()


def test_an_index_is_used_again_after_clear(rng: np.random.Generator, tmp_path: Path) -> None:
    index = NearfieldSearchIndex("dot", directory=tmp_path)
    for dim in (4, 9):
        index.add_documents(np.eye(dim), [str(i) for i in range(dim)])
        assert index.search(np.eye(dim), 1)[1] == [[i] for i in range(dim)]
        assert len(list(tmp_path.iterdir())) == 1
        index.clear()
        assert list(tmp_path.iterdir()) == []
    index.clear()


def test_the_index_says_what_is_wrong() -> None:
    with pytest.raises(Unsupported, match="MaxSim"):
        NearfieldSearchIndex("MaxSim")
    index = NearfieldSearchIndex()
    with pytest.raises(BadInput, match="add_documents first"):
        index.search(np.ones((1, 3)), 1)
    with pytest.raises(BadInput, match="one a row"):
        index.add_documents(np.ones((2, 3, 4)), ["a", "b"])
    index.add_documents(np.eye(2), ["a", "b"])
    with pytest.raises(BadInput, match="query_idx_to_id"):
        index.search(np.eye(2), 1, None, {"q": ["a"]})
    index.clear()


# ---- the cache -------------------------------------------------------------------------------------
def test_the_cache_keeps_vectors_through_a_restart(rng: np.random.Generator, tmp_path: Path) -> None:
    items = [{"text": f"text {i}"} for i in range(50)]
    x = rng.normal(size=(50, 6)).astype("f4")
    cache = NearfieldCache(tmp_path / "a" / "b")
    assert isinstance(cache, CacheBackendProtocol)
    assert cache.get_vector(items[0]) is None
    cache.add(items[:30], x[:30])
    cache.add(items[30:], torch.from_numpy(x[30:]))
    cache.save()
    cache.close()
    back = NearfieldCache(tmp_path / "a" / "b")
    back.load()
    assert items[7] in back
    assert {"text": "other"} not in back
    np.testing.assert_array_equal([back.get_vector(i) for i in items], x)
    back.add([items[3], items[3]], x[[4, 5]])  # the last one counts
    np.testing.assert_array_equal(back.get_vector(items[3]), x[5])
    back.close()
    np.testing.assert_array_equal(back.get_vector(items[3]), x[5])  # opened again
    back.close()


def test_caches_of_a_task_lie_beside_one_another(tmp_path: Path) -> None:
    outer, inner = NearfieldCache(tmp_path / "task"), NearfieldCache(tmp_path / "task" / "query")
    for cache, value in ((inner, 1.0), (outer, 2.0)):
        cache.add([{"text": "same"}], np.array([value, 0.0]))
    assert [c.get_vector({"text": "same"})[0] for c in (inner, outer)] == [1, 2]
    inner.close()
    outer.close()


def test_a_temporary_cache_goes_with_its_object() -> None:
    cache = NearfieldCache()
    cache.add([{"text": "a"}], np.ones((1, 3)))
    folder = cache.directory
    assert folder.is_dir()
    cache.close()
    assert {"text": "a"} in cache
    cache.close()
    del cache
    assert not folder.exists()


def test_the_cache_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="size"):
        NearfieldCache(tmp_path, size=3)
    cache = NearfieldCache(tmp_path)
    with pytest.raises(BadInput, match="each of 2 items, got 1"):
        cache.add([{"text": "a"}, {"text": "b"}], np.ones((1, 3)))
    cache.add([], np.ones((0, 3)))
    assert {"text": "a"} not in cache
    cache.close()


# ---- copies ----------------------------------------------------------------------------------------
def test_an_index_is_copied_before_it_has_documents(rng: np.random.Generator, tmp_path: Path) -> None:
    index = NearfieldSearchIndex("euclidean", plan="int8()", directory=tmp_path, rng=3)
    twin = copy.deepcopy(index)
    assert (twin.metric, twin.plan, twin.directory, twin.rng) == ("l2", "int8()", tmp_path, 3)
    index.add_documents(rng.normal(size=(9, 4)), [str(i) for i in range(9)])
    twin.add_documents(np.eye(4), list("abcd"))
    assert twin.search(np.eye(4), 1)[1] == [[0], [1], [2], [3]]
    with pytest.raises(Unsupported, match="without documents to copy"):
        copy.deepcopy(index)
    twin.clear()
    assert len(index.search(np.eye(4), 1)[1]) == 4
    index.clear()


def test_copies_of_a_cache_share_it(tmp_path: Path) -> None:
    cache = NearfieldCache(tmp_path)
    twin = copy.deepcopy(cache)
    twin.add([{"text": "a"}], np.ones((1, 3)))
    assert cache.get_vector({"text": "a"}).tolist() == [1, 1, 1]
    cache.close()


def test_runs_that_share_a_cache_may_begin_at_once(tmp_path: Path) -> None:
    caches, gate = [NearfieldCache(tmp_path) for _ in range(8)], threading.Barrier(8)
    for cache in caches:
        cache.load()

    def add(i: int) -> None:
        gate.wait()
        caches[i].add([{"text": str(i)}], np.full((1, 3), i))

    threads = [threading.Thread(target=add, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [caches[0].get_vector({"text": str(i)})[0] for i in range(8)] == list(range(8))
    for cache in caches:
        cache.close()
