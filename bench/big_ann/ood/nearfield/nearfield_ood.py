"""nearfield for the out-of-distribution track: copy this folder to ``neurips23/ood/nearfield``."""

import os

import numpy as np
from benchmark.datasets import DATASETS
from neurips23.ood.base import BaseOODANN

import nearfield

METRICS = {"angular": "cosine", "euclidean": "l2", "ip": "dot"}


class NearfieldOOD(BaseOODANN):
    """A plan; the query argument is the budget."""

    def __init__(self, metric, index_params):
        self.metric = METRICS[metric]
        self.plan = index_params["plan"]
        self.folder = index_params.get("folder", os.path.join("data", "indices", "ood"))
        self.name = f"nearfield ({self.plan})"

    def _file(self, dataset):
        words = "".join(c if c.isalnum() else "-" for c in self.plan)
        return os.path.join(self.folder, f"{DATASETS[dataset]().short_name()}.{self.metric}.{words}.nf")

    def fit(self, dataset):
        rows = np.asarray(DATASETS[dataset]().get_dataset())
        self.index = nearfield.Plan(self.plan).fit(rows, metric=self.metric)
        os.makedirs(self.folder, exist_ok=True)
        self.index.save(self._file(dataset))

    def load_index(self, dataset):
        if not os.path.exists(self._file(dataset)):
            return False
        self.index = nearfield.load(self._file(dataset))
        return True

    def index_files_to_store(self, dataset):
        folder, name = os.path.split(self._file(dataset))
        return [folder, name, [""]]

    def set_query_arguments(self, query_args):
        self.budget = query_args["budget"]
        self.name = f"nearfield ({self.plan}, budget {self.budget})"

    def query(self, X, k):
        self.res = self.index.search(np.asarray(X, np.float32), k, budget=self.budget).rows
