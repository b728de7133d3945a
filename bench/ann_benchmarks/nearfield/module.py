"""nearfield for ann-benchmarks: copy this folder to ``ann_benchmarks/algorithms/nearfield``."""

import numpy as np
from ann_benchmarks.algorithms.base.module import BaseANN

import nearfield

METRICS = {"angular": "cosine", "euclidean": "l2"}


class Nearfield(BaseANN):
    """A plan; the query argument is the budget, about how many rows the first stage scores for a query."""

    def __init__(self, metric, plan):
        if metric not in METRICS:
            raise NotImplementedError(f"nearfield: no metric {metric!r} here; expected one of {', '.join(METRICS)}")
        self.metric = METRICS[metric]
        self.plan = plan
        self.budget = None
        self.name = f"nearfield ({plan})"

    def fit(self, X):
        # Some angular sets hold zero rows, which cosine refuses unless they are kept.
        self.index = nearfield.Plan(self.plan).fit(np.asarray(X, np.float32), metric=self.metric, on_zero="keep")

    def set_query_arguments(self, budget):
        self.budget = budget
        self.name = f"nearfield ({self.plan}, budget {budget})"

    def query(self, q, n):
        return self._found(np.asarray(q, np.float32)[None, :], n)[0]

    def batch_query(self, X, n):
        self.res = self._found(np.asarray(X, np.float32), n)

    def _found(self, q, n):
        return self.index.search(q, n, budget=self.budget, on_zero="keep" if self.metric == "cosine" else "raise").rows

    def get_additional(self):
        return {"bytes_per_row": float(self.index.bytes_per_row)}
