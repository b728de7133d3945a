"""nearfield for the filter track: copy this folder to ``neurips23/filter/nearfield``."""

import os

import numpy as np
from benchmark.datasets import DATASETS
from neurips23.filter.base import BaseFilterANN

import nearfield

METRICS = {"angular": "cosine", "euclidean": "l2", "ip": "dot"}


class NearfieldFilter(BaseFilterANN):
    """A plan and a bitmap a filter; the query argument is the budget. How a filter is met is the index's to choose.

    Rows and queries carry tags (sparse matrices); a row matches where it has every tag of the query.
    """

    def __init__(self, metric, index_params):
        self.metric = METRICS[metric]
        self.plan = index_params["plan"]
        self.folder = index_params.get("folder", os.path.join("data", "indices", "filter"))
        self.name = f"nearfield ({self.plan})"

    def _file(self, dataset):
        words = "".join(c if c.isalnum() else "-" for c in self.plan)
        return os.path.join(self.folder, f"{DATASETS[dataset]().short_name()}.{self.metric}.{words}.nf")

    def fit(self, dataset):
        ds = DATASETS[dataset]()
        self.index = nearfield.Plan(self.plan).fit(np.asarray(ds.get_dataset()), metric=self.metric)
        os.makedirs(self.folder, exist_ok=True)
        self.index.save(self._file(dataset))
        self._tags(ds)

    def load_index(self, dataset):
        if not os.path.exists(self._file(dataset)):
            return False
        self.index = nearfield.load(self._file(dataset))
        self._tags(DATASETS[dataset]())
        return True

    def index_files_to_store(self, dataset):
        folder, name = os.path.split(self._file(dataset))
        return [folder, name, [""]]

    def _tags(self, ds):
        """Rows of each tag: the columns of the rows' matrix."""
        self.rows_of = None
        if ds.search_type() == "knn_filtered":
            self.rows_of = ds.get_dataset_metadata().tocsc()
            self.rows_of.sort_indices()

    def set_query_arguments(self, query_args):
        self.budget = query_args["budget"]
        self.name = f"nearfield ({self.plan}, budget {self.budget})"

    def query(self, X, k):
        self.res = self.index.search(np.asarray(X, np.float32), k, budget=self.budget).rows

    def filtered_query(self, X, filter, k):
        X = np.asarray(X, np.float32)
        self.res = np.full((len(X), k), -1, dtype=np.int64)
        same = {}
        for i in range(len(X)):
            tags = tuple(np.sort(filter.indices[filter.indptr[i] : filter.indptr[i + 1]]).tolist())
            same.setdefault(tags, []).append(i)
        for tags, queries in same.items():  # queries of one filter share its bitmap and a call
            found = self.index.search(X[queries], k, budget=self.budget, allow=self._allowed(tags)).rows
            self.res[queries, : found.shape[1]] = found

    def _allowed(self, tags):
        if not tags:
            return None
        spans = [self.rows_of.indices[self.rows_of.indptr[t] : self.rows_of.indptr[t + 1]] for t in tags]
        rows = spans[0]
        for other in spans[1:]:
            rows = np.intersect1d(rows, other, assume_unique=True)
        allow = np.zeros(len(self.index), dtype=np.bool_)
        allow[rows] = True
        return allow
