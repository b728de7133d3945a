"""nearfield for the streaming track: copy this folder to ``neurips23/streaming/nearfield``."""

import numpy as np
from neurips23.streaming.base import BaseStreamingANN

import nearfield

METRICS = {"angular": "cosine", "euclidean": "l2", "ip": "dot"}


class NearfieldStreaming(BaseStreamingANN):
    """A plan, fitted to the rows of the first insertion; later ones are added and deleted under their own ids."""

    def __init__(self, metric, index_params):
        self.metric = METRICS[metric]
        self.plan = index_params["plan"]
        self.name = f"nearfield ({self.plan})"

    def setup(self, dtype, max_pts, ndims):
        self.index = None
        if not hasattr(nearfield.Packed, "add"):
            raise NotImplementedError("this version of nearfield cannot change a fitted plan: expected Packed.add")

    def insert(self, X, ids):
        X, ids = np.asarray(X, np.float32), np.asarray(ids).astype(np.int64)
        if self.index is None:
            self.index = nearfield.Plan(self.plan).fit(X, metric=self.metric, ids=ids.tolist())
        else:
            self.index.add(X, ids=ids.tolist())

    def delete(self, ids):
        self.index.delete(np.asarray(ids).astype(np.int64).tolist())

    def replace(self, X, ids):
        self.index.upsert(np.asarray(X, np.float32), ids=np.asarray(ids).astype(np.int64).tolist())

    def set_query_arguments(self, query_args):
        self.budget = query_args["budget"]
        self.name = f"nearfield ({self.plan}, budget {self.budget})"

    def query(self, X, k):
        found = self.index.search(np.asarray(X, np.float32), k, budget=self.budget)
        self.res = np.full((len(X), k), -1, dtype=np.int64)
        for i in range(len(X)):
            own = found.rows[i]
            self.res[i, : (own >= 0).sum()] = [self.index.ids[row] for row in own[own >= 0]]
