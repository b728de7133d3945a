"""Maps as scikit-learn estimators; needs the extra ``sklearn``, which is imported at first use."""

from __future__ import annotations

from typing import Any

import numpy as np

from nearfield.core import plan as text
from nearfield.core import rooms
from nearfield.core.errors import BadPlan
from nearfield.core.maps import Map
from nearfield.core.optional import require
from nearfield.neighbors import neighbors

__all__ = ["neighbors", "transformer"]


def transformer(steps: str = "pca(dim=64)", *, metric: str = "dot", random_state: Any = 0) -> Any:
    """Wrap a Map, or a chain of Maps, as a scikit-learn estimator with ``fit`` and ``transform``.

    Use it in a ``Pipeline`` or a grid search. A ``dim`` above the number of features is lowered to it when
    fitted (``steps_`` shows what was fitted). ``transform`` maps rows, ``transform_queries`` queries; both
    keep a float input's type.

    Parameters
    ----------
    steps: plan text of Maps only, such as ``"pca(dim=64) | normalize()"``.
    metric: what the results are scored by, ``"dot"`` (cosine, too) or ``"l2"``.
    random_state: an int, None (drawn anew at each fit) or a NumPy ``RandomState``.

    Raises ``BadPlan`` at ``fit`` where a step is not a Map, ``MissingExtra`` without scikit-learn.

    >>> x = np.random.default_rng(0).normal(size=(50, 8))
    >>> transformer("pca(dim=3)").fit_transform(x).shape
    (50, 3)
    """
    return _estimator()(steps=steps, metric=metric, random_state=random_state)


def _maps(steps: str) -> list[text.Step]:
    read = text.read(steps)
    for step in read:
        if step.name not in rooms.catalog("maps"):
            rooms.find(step.name)
            raise BadPlan(f"transformer: expected Maps only, got {step.name!r}, which maps no vectors to vectors")
    return read


def _make(step: text.Step, width: int) -> Map:
    params = dict(step.params)
    if isinstance(params.get("dim"), int):
        params["dim"] = min(params["dim"], width)
    made: Map = rooms.load("maps", step.name)(**params)
    return made


def _generator(random_state: Any) -> np.random.Generator:
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(2**31))
    return np.random.default_rng(random_state)


def _estimator() -> Any:
    """The estimator class; made once, and kept where pickle looks for it."""
    if "Transformer" in globals():
        return globals()["Transformer"]
    base = require("sklearn.base", extra="sklearn")
    validation = require("sklearn.utils.validation", extra="sklearn")
    bases: tuple[Any, ...] = (base.ClassNamePrefixFeaturesOutMixin, base.TransformerMixin, base.BaseEstimator)

    def __init__(self: Any, steps: str = "pca(dim=64)", *, metric: str = "dot", random_state: Any = 0) -> None:
        self.steps, self.metric, self.random_state = steps, metric, random_state

    def fit(self: Any, X: Any, y: Any = None) -> Any:
        """Fit the Maps one after another on rows ``[n, d]``; ``y`` is not looked at."""
        given = validation.validate_data(self, X, dtype=[np.float64, np.float32])
        z = np.ascontiguousarray(given, dtype=np.float32)
        rng = _generator(self.random_state)
        self.maps_ = []
        for step in _maps(self.steps):
            made = _make(step, z.shape[1]).fit(z, metric=self.metric, rng=rng)
            z = made.transform(z)
            self.maps_.append(made)
        self.steps_ = " | ".join(str(m) for m in self.maps_)
        self._n_features_out = z.shape[1]
        return self

    def _run(self: Any, X: Any, queries: bool) -> Any:
        validation.check_is_fitted(self)
        given = validation.validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        z = np.ascontiguousarray(given, dtype=np.float32)
        for step in self.maps_:
            z = step.transform_queries(z) if queries else step.transform(z)
        return z.astype(given.dtype, copy=False)

    def transform(self: Any, X: Any) -> Any:
        """Map rows ``[n, d] -> [n, width]``."""
        return _run(self, X, False)

    def transform_queries(self: Any, X: Any) -> Any:
        """Map queries ``[m, d] -> [m, width]``."""
        return _run(self, X, True)

    def __sklearn_tags__(self: Any) -> Any:
        tags = base.BaseEstimator.__sklearn_tags__(self)
        tags.transformer_tags = require("sklearn.utils", extra="sklearn").TransformerTags()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    body = {
        "__doc__": "A chain of Maps as a scikit-learn transformer; see ``nearfield.sklearn.transformer``.",
        "__module__": __name__,
        "__qualname__": "Transformer",
        **{f.__name__: f for f in (__init__, fit, transform, transform_queries, __sklearn_tags__)},
    }
    globals()["Transformer"] = type("Transformer", bases, body)
    return globals()["Transformer"]


def __getattr__(name: str) -> Any:
    if name == "Transformer":  # pickle asks for it by name
        return _estimator()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
