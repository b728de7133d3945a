"""The graph of nearest neighbours as a scikit-learn estimator; needs the extra ``sklearn``, imported at first use."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.checks import whole
from nearfield.core.errors import BadInput, BadParameter
from nearfield.core.optional import require
from nearfield.core.protocols import I64
from nearfield.search.plan import Plan

__all__ = ["neighbors"]

_BLOCK = 1 << 22  # numbers in hand at once while distances are computed


def neighbors(
    n_neighbors: int = 5,
    *,
    mode: str = "distance",
    plan: str = "raw()",
    metric: str = "l2",
    random_state: int | None = 0,
) -> Any:
    """Wrap a Plan as a scikit-learn estimator in the place of ``KNeighborsTransformer``.

    Use it before DBSCAN, TSNE or a neighbours classifier with ``metric="precomputed"``. ``transform`` gives a sparse
    graph (CSR) ``[m, n]`` of each row's neighbours among the ``n`` fitted rows, nearest first; ``kneighbors`` gives
    distances and row numbers ``[m, k]``. UMAP refuses such a graph, as it is not symmetrical, and takes the neighbours
    themselves: ``distances, rows = made.kneighbors(x)``, then ``UMAP(k, precomputed_knn=(rows, distances)).fit(x)``
    with the same ``k``. The Plan decides which rows are found, the exact ones by default; their distances are always
    those of the rows themselves.

    Parameters
    ----------
    n_neighbors: neighbours of a row; in mode ``"distance"`` one more, as each fitted row is its own neighbour.
    mode: ``"distance"``, or ``"connectivity"`` for a graph of ones.
    plan: plan text, such as ``"int8() | rescore(codec='float16', depth=4)"``.
    metric: ``"l2"`` or ``"cosine"`` (one less the similarity; a zero row is 1 away from every other).
    random_state: a seed, or None to fit anew each time.

    Raises ``BadParameter`` at ``fit`` for a mode or metric that is not known, ``BadInput`` where more neighbours are
    asked for than there are rows, ``MissingExtra`` without scikit-learn.

    paper: Pedregosa et al., Scikit-learn: Machine Learning in Python, 2011 (the interface)

    >>> x = np.eye(4)[[0, 0, 1, 1, 2]]
    >>> neighbors(1, metric="cosine").fit_transform(x).toarray()[0].tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0]
    >>> neighbors(2, mode="connectivity").fit_transform(x).toarray()[2].tolist()
    [0.0, 0.0, 1.0, 1.0, 0.0]
    """
    return _estimator()(n_neighbors, mode=mode, plan=plan, metric=metric, random_state=random_state)


def _check(estimator: Any) -> None:
    for name, known in (("mode", ("distance", "connectivity")), ("metric", ("l2", "cosine"))):
        if getattr(estimator, name) not in known:
            raise BadParameter(f"{name}: expected one of {', '.join(known)}, got {getattr(estimator, name)!r}")
    _check_count(estimator.n_neighbors)


def _check_count(k: Any) -> int:
    return whole("n_neighbors", k, 1, error=BadParameter)


def _distances(q: Any, x: Any, rows: I64, metric: str) -> NDArray[np.float64]:
    """The exact distances of queries ``[m, d]`` to rows of ``x`` ``[n, d]``, float64 ``[m, k]``."""
    out = np.empty(rows.shape, dtype=np.float64)
    step = max(1, _BLOCK // (rows.shape[1] * x.shape[1]))
    for i in range(0, len(rows), step):
        apart = _ready(x[rows[i : i + step]], metric) - _ready(q[i : i + step], metric)[:, None]
        squares = np.einsum("mkd,mkd->mk", apart, apart)
        # Half the square between unit vectors is 1 - cosine, and 0 where they are equal.
        out[i : i + step] = np.sqrt(squares) if metric == "l2" else squares / 2
    if metric == "cosine":
        zero = ~x.any(axis=1)
        blank = zero[rows] | ~q.any(axis=1)[:, None]
        out[blank] = 1.0
    return out


def _ready(x: Any, metric: str) -> Any:
    x = np.asarray(x, dtype=np.float64)
    if metric == "l2":
        return x
    norms = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / np.where(norms == 0, 1.0, norms)


def _nearest(estimator: Any, q: Any, k: int) -> tuple[NDArray[np.float64], I64]:
    n = estimator.n_samples_fit_
    if k > n:
        raise BadInput(f"n_neighbors: expected at most the {n} fitted rows, needed {k}; fit more rows or ask for fewer")
    hits = estimator.packed_.search(np.ascontiguousarray(q, dtype=np.float32), k, on_zero="keep")
    rows = np.asarray(hits.rows, dtype=np.int64)
    distances = _distances(q, estimator.rows_, rows, estimator.metric)
    order = np.lexsort((rows, distances), axis=1)
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(rows, order, axis=1)


def _without_self(distances: Any, rows: I64) -> tuple[Any, I64]:
    """One neighbour fewer: each row itself, or the last one where a row did not find itself."""
    own = rows == np.arange(len(rows))[:, None]
    own[~own.any(axis=1), -1] = True
    shape = (len(rows), rows.shape[1] - 1)
    return distances[~own].reshape(shape), rows[~own].reshape(shape)


def _estimator() -> Any:
    """The estimator class; made once, and kept where pickle looks for it."""
    if "Neighbors" in globals():
        return globals()["Neighbors"]
    base = require("sklearn.base", extra="sklearn")
    validation = require("sklearn.utils.validation", extra="sklearn")
    bases: tuple[Any, ...] = (base.ClassNamePrefixFeaturesOutMixin, base.TransformerMixin, base.BaseEstimator)

    def __init__(
        self: Any, n_neighbors: int = 5, *, mode: str = "distance", plan: str = "raw()", metric: str = "l2",
        random_state: int | None = 0,
    ) -> None:  # fmt: skip
        self.n_neighbors, self.mode, self.plan, self.metric = n_neighbors, mode, plan, metric
        self.random_state = random_state

    def fit(self: Any, X: Any, y: Any = None) -> Any:
        """Encode rows ``[n, d]`` under the Plan; ``y`` is not looked at."""
        _check(self)
        self.rows_ = validation.validate_data(self, X, dtype=[np.float64, np.float32])
        rng = np.random.default_rng(self.random_state)
        x = np.ascontiguousarray(self.rows_, dtype=np.float32)
        self.packed_ = Plan(self.plan).fit(x, metric=self.metric, rng=rng, on_zero="keep")
        self.n_samples_fit_ = self._n_features_out = len(x)
        return self

    def _queries(self: Any, X: Any) -> Any:
        validation.check_is_fitted(self)
        return validation.validate_data(self, X, dtype=[np.float64, np.float32], reset=False)

    def kneighbors(self: Any, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True) -> Any:
        """Distances and row numbers ``[m, k]``; without ``X``, those of the fitted rows, themselves left out."""
        validation.check_is_fitted(self)
        k = self.n_neighbors if n_neighbors is None else _check_count(n_neighbors)
        if X is None:
            distances, rows = _without_self(*_nearest(self, self.rows_, k + 1))
        else:
            distances, rows = _nearest(self, _queries(self, X), k)
        return (distances, rows) if return_distance else rows

    def transform(self: Any, X: Any) -> Any:
        """The graph of the neighbours of rows ``[m, d]``: CSR ``[m, n]``."""
        q = _queries(self, X)
        k = self.n_neighbors + (self.mode == "distance")
        distances, rows = _nearest(self, q, k)
        values = distances if self.mode == "distance" else np.ones_like(distances)
        indptr = np.arange(0, rows.size + 1, k)
        parts = (values.astype(q.dtype, copy=False).ravel(), rows.ravel(), indptr)
        return require("scipy.sparse", extra="sklearn").csr_matrix(parts, shape=(len(q), self.n_samples_fit_))

    def __sklearn_tags__(self: Any) -> Any:
        tags = base.BaseEstimator.__sklearn_tags__(self)
        tags.transformer_tags = require("sklearn.utils", extra="sklearn").TransformerTags()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    body = {
        "__doc__": "A graph of nearest neighbours as a scikit-learn transformer; see ``nearfield.sklearn.neighbors``.",
        "__module__": __name__,
        "__qualname__": "Neighbors",
        **{f.__name__: f for f in (__init__, fit, kneighbors, transform, __sklearn_tags__)},
    }
    globals()["Neighbors"] = type("Neighbors", bases, body)
    return globals()["Neighbors"]


def __getattr__(name: str) -> Any:
    if name == "Neighbors":  # pickle asks for it by name
        return _estimator()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
