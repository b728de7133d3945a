"""Peers as they are best used: rows of unit length, float queries, every ranking that their codes allow.

Most peers' search is the dot product (or distance) of the query with the decoded row, so those rows are decoded and
ranked by BLAS: the same order as their own search (``tests/bench`` holds that), in a fraction of the time. Those whose
estimate is another one are searched by themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.data import F32, I64

OWN = ("dot", "l2")  # rankings that a peer offers; dividing by the decoded length is ours


@dataclass
class Coded:
    """A peer's codes of all rows: either ``decoded`` rows, or its own ``search`` under each ranking."""

    engine: str
    name: str
    bytes: float
    shared_bytes: int
    fit_s: float
    decoded: F32 | None = None
    search: dict[str, Callable[[F32, int], I64]] | None = None
    own: tuple[str, ...] = OWN


Maker = Callable[[F32], Coded]


def makers(settings: dict[str, Any], quick: bool) -> Iterator[tuple[str, Maker]]:
    """Name and maker of each peer row that a suite asks for."""
    faiss = settings.get("faiss", {})
    for text in faiss.get("decoded", []) + ([] if quick else faiss.get("slow", [])):
        yield f"faiss {text}", lambda x, t=text: faiss_decoded(x, t)
    for text in faiss.get("native", []):
        yield f"faiss {text}", lambda x, t=text: faiss_native(x, t)
    turbo = settings.get("turboquant", {})
    for bits in turbo.get("rotation", []):
        yield f"turboquant-pro rotation {bits}-bit", lambda x, b=bits: turbo_rotation(x, b)
    for bits in turbo.get("learned", []):
        yield f"turboquant-pro learned {bits}-bit", lambda x, b=bits: turbo_learned(x, b)
    for dim, bits in turbo.get("pca", []):
        yield f"turboquant-pro PCA {dim} {bits}-bit", lambda x, d=dim, b=bits: turbo_pca(x, d, b)
    for dim, bits in turbo.get("weighted", []):
        yield f"turboquant-pro weighted {dim} {bits}-bit", lambda x, d=dim, b=bits: turbo_weighted(x, d, b)


def tried(x: F32, settings: dict[str, Any], quick: bool, name: str) -> None:
    """Make one of the peer rows, for ``bench.probe``."""
    dict(makers(settings, quick))[name](x)


# -- faiss -----------------------------------------------------------------------------------------


def faiss_index(text: str, x: F32, metric: str = "dot") -> Any:
    """A trained index from its factory name; ``SQ4:meanstd=2.5`` chooses how a scalar quantizer finds its range."""
    import faiss

    factory, _, range_stat = text.partition(":")
    which = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
    index = faiss.index_factory(x.shape[1], factory, which)
    inner = index
    if isinstance(index, faiss.IndexPreTransform):
        inner = faiss.downcast_index(index.index)
    if range_stat:
        how, _, argument = range_stat.partition("=")
        inner.sq.rangestat = getattr(faiss.ScalarQuantizer, f"RS_{how}")
        inner.sq.rangestat_arg = float(argument or 0)
    if isinstance(inner, faiss.IndexPQ):
        inner.do_polysemous_training = False  # minutes, for a search that nobody asks for here
    if isinstance(inner, faiss.IndexRaBitQ):
        inner.qb = 8  # queries in 8 bits: the recall of float queries (qb = 0) at a fiftieth of the time
    index.train(x)
    return index


def faiss_decoded(x: F32, text: str) -> Coded:
    """Codes whose search is the dot product with what they decode to."""
    start = time.perf_counter()
    index = faiss_index(text, x)
    codes = index.sa_encode(x)
    fit_s = time.perf_counter() - start
    return Coded("faiss", text, codes.shape[1], faiss_shared(index), fit_s, decoded=index.sa_decode(codes))


def faiss_native(x: F32, text: str) -> Coded:
    """Codes with an estimate of their own (RaBitQ, one-bit EDEN)."""
    start = time.perf_counter()
    indexes = {}
    for metric in OWN:
        indexes[metric] = faiss_index(text, x, metric)
        indexes[metric].add(x)
    fit_s = (time.perf_counter() - start) / len(OWN)
    search = {m: lambda q, k, i=i: i.search(q, k)[1] for m, i in indexes.items()}
    index = indexes["dot"]
    return Coded("faiss", text, index.sa_code_size(), faiss_shared(index), fit_s, search=search)


def faiss_shared(index: Any) -> int:
    """Bytes of matrices and codebooks beside the codes."""
    import faiss

    total = 0
    if isinstance(index, faiss.IndexPreTransform):
        for i in range(index.chain.size()):
            step = faiss.downcast_VectorTransform(index.chain.at(i))
            total += 4 * sum(getattr(step, name).size() for name in ("A", "b", "mean") if hasattr(step, name))
        index = faiss.downcast_index(index.index)
    for holder, name in (("pq", "centroids"), ("sq", "trained"), ("prq", "codebooks"), ("rq", "codebooks")):
        if hasattr(index, holder):
            total += 4 * getattr(getattr(index, holder), name).size()
    if hasattr(index, "center"):
        total += 4 * index.center.size()
    return int(total)


# -- turboquant-pro --------------------------------------------------------------------------------


def turbo_rotation(x: F32, bits: int) -> Coded:
    """A random rotation and fixed levels, scored by cosine as its own search does."""
    from turboquant_pro import TurboQuantPGVector

    d = x.shape[1]
    return _turbo_plain(x, f"rotation {bits}-bit", lambda: TurboQuantPGVector(dim=d, bits=bits))


def turbo_learned(x: F32, bits: int) -> Coded:
    """The same with levels learned from the rows."""
    from turboquant_pro.learned_codebook import fit_codebook

    return _turbo_plain(x, f"learned {bits}-bit", lambda: fit_codebook(x, bits=bits))


def _turbo_plain(x: F32, name: str, make: Callable[[], Any]) -> Coded:
    start = time.perf_counter()
    quantizer = make()
    codes = quantizer.compress_batch(x)
    fit_s = time.perf_counter() - start
    decoded = quantizer.decompress_batch(codes)
    shared = 4 * x.shape[1] ** 2
    return Coded("turboquant-pro", name, codes[0].size_bytes, shared, fit_s, decoded=decoded, own=("cosine",))


def turbo_pca(x: F32, dim: int, bits: int) -> Coded:
    """PCA, a rotation, fixed levels; searched by its own index of codes."""
    from turboquant_pro import ADCIndex

    start = time.perf_counter()
    pca = _turbo_fitted(x, dim)
    pipeline = pca.with_quantizer(bits=bits)
    index = ADCIndex(pipeline).add(x)
    fit_s = time.perf_counter() - start
    size = pipeline.compress_batch(x[:2])[0].size_bytes

    def search(q: F32, k: int) -> I64:
        return np.concatenate([index.search(q[i : i + 100], k=k)[0] for i in range(0, len(q), 100)])

    shared = 4 * (dim * x.shape[1] + x.shape[1] + dim * dim)
    name = f"PCA {dim} {bits}-bit"
    return Coded("turboquant-pro", name, size, shared, fit_s, search={"cosine": search}, own=("cosine",))


def turbo_weighted(x: F32, dim: int, bits: float) -> Coded:
    """PCA with more bits for the first dimensions; each segment keeps a norm of its own."""
    start = time.perf_counter()
    pca = _turbo_fitted(x, dim)
    pipeline = pca.with_weighted_quantizer(avg_bits=bits)
    reduced = pca.transform(x)
    decoded = np.empty_like(reduced)
    size = 0
    for offset, width, _, quantizer in pipeline.segments:
        codes = quantizer.compress_batch(reduced[:, offset : offset + width])
        size += codes[0].size_bytes
        decoded[:, offset : offset + width] = quantizer.decompress_batch(codes)
    fit_s = time.perf_counter() - start
    rows = np.asarray(pca.inverse_transform(decoded), dtype=np.float32)
    shared = 4 * (dim * x.shape[1] + x.shape[1] + sum(w * w for _, w, _, _ in pipeline.segments))
    name = f"weighted {dim} {bits:g}-bit"
    return Coded("turboquant-pro", name, size, shared, fit_s, decoded=rows, own=("cosine",))


def _turbo_fitted(x: F32, dim: int) -> Any:
    from turboquant_pro import PCAMatryoshka

    pca = PCAMatryoshka(input_dim=x.shape[1], output_dim=dim)
    pca.fit(x)
    return pca
