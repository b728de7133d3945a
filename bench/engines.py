"""Engines of dense search, each built, saved and asked in the way that its own documentation recommends.

All rank by inner product; rows and queries are of unit length, where it is cosine,
but for those of ``bench.norms``. Everything runs on one
thread. ``save`` and ``load`` give the size of the file and let a build be kept between runs.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.data import F32, I64

Effort = Any  # a number, or a list of numbers where an engine has two knobs
THREADS = 1


@dataclass
class Engine:
    """One engine with its settings; ``tune`` sets the effort of the searches that follow."""

    engine: ClassVar[str]
    flat: ClassVar[bool] = False  # whether a single query is given as [d] instead of [1, d]
    index: Any = field(default=None, init=False, repr=False)

    @property
    def name(self) -> str:
        """The settings, which tell engines of one kind apart."""
        named = [(f.name, getattr(self, f.name)) for f in dataclasses.fields(self) if f.init]
        return ", ".join(f"{name} {value}" for name, value in named)

    @property
    def label(self) -> str:
        """Engine and settings."""
        return f"{self.engine}: {self.name}"

    def build(self, x: F32) -> None:
        """Make the index of the rows."""
        raise NotImplementedError

    def save(self, at: Path) -> None:
        """Write the index into the folder."""
        raise NotImplementedError

    def load(self, at: Path) -> None:
        """Read it back."""
        raise NotImplementedError

    def tune(self, effort: Effort) -> None:
        """Set how hard it searches."""
        raise NotImplementedError

    def allow(self, flags: NDArray[np.bool_] | None) -> None:
        """Let searches that follow find only rows that are true."""
        raise NotImplementedError

    def check_filters(self) -> None:
        """``NotImplementedError`` where it has none, before anything is built."""
        if type(self).allow is Engine.allow:
            raise NotImplementedError(f"the Python of {self.engine} has no filters for this index")

    def one(self, q: F32, k: int) -> Any:
        """What a user calls for one query."""
        return self.many(q, k)

    def many(self, q: F32, k: int) -> I64:
        """Row numbers ``[m, k]`` from one call for all queries."""
        raise NotImplementedError

    def memory(self) -> int:
        """Bytes in memory where the engine tells and its file is smaller."""
        return 0


@dataclass
class Nearfield(Engine):
    """A plan; effort is the budget. What is read from a file is copied into memory, as it lies after a build."""

    engine: ClassVar[str] = "nearfield"
    plan: str
    metric: str = "cosine"
    admit: Any = field(default=None, init=False, repr=False)

    @property
    def name(self) -> str:
        """The plan's text."""
        return self.plan

    def build(self, x: F32) -> None:
        """Fit the plan."""
        import nearfield as nf

        self.index = nf.Plan(self.plan).fit(x, metric=self.metric, rng=0)

    def save(self, at: Path) -> None:
        """One file."""
        self.index.save(at / "index.nf")

    def load(self, at: Path) -> None:
        """Into memory."""
        import nearfield as nf
        from nearfield.core.arrays import roomy
        from nearfield.search.packed import Packed

        mapped, columns = nf.load(at / "index.nf"), {}
        for name, column in mapped.columns.items():
            columns[name] = roomy(column.shape, column.dtype)
            columns[name][...] = column
        self.index = Packed(mapped.fitted, columns)

    def tune(self, effort: Effort) -> None:
        """The budget."""
        self.budget = int(effort)

    def allow(self, flags: NDArray[np.bool_] | None) -> None:
        """A bitmap made once, where this version has them; else a bool a row."""
        import nearfield as nf

        self.admit = nf.Bitmap(flags) if flags is not None and hasattr(nf, "Bitmap") else flags

    def prefer(self, way: str) -> bool:
        """Meet filters in one way alone, or as its planner chooses; whether this version can."""
        forced = getattr(self.index.index, "prefer", None)
        if forced is None:
            return way == "planner"
        forced("walk" if way == "planner" else way)
        return True

    def hits(self, q: F32, k: int) -> Any:
        """One call, with what it tells beside the rows."""
        return self.index.search(q, k, budget=self.budget, allow=self.admit)

    def many(self, q: F32, k: int) -> I64:
        """One call."""
        return self.hits(q, k).rows

    def memory(self) -> int:
        """All columns and everything shared."""
        return int(self.index.nbytes)


@dataclass
class Faiss(Engine):
    """An index by its factory name; effort is efSearch, nprobe, or nprobe and how many times k are scored again."""

    engine: ClassVar[str] = "faiss"
    factory: str
    ef_construction: int = 200
    selector: Any = field(default=None, init=False, repr=False)
    params: Any = field(default=None, init=False, repr=False)

    @property
    def name(self) -> str:
        """The factory's text, and efConstruction where there is a graph of rows."""
        graph = self.factory.startswith("HNSW")
        return f"{self.factory}, efConstruction {self.ef_construction}" if graph else self.factory

    def _threads(self) -> Any:
        import faiss

        faiss.omp_set_num_threads(THREADS)
        return faiss

    def build(self, x: F32) -> None:
        """Train and add."""
        faiss = self._threads()
        self.index = faiss.index_factory(x.shape[1], self.factory, faiss.METRIC_INNER_PRODUCT)
        if hasattr(self.index, "hnsw"):
            self.index.hnsw.efConstruction = self.ef_construction
        self.index.train(x)
        self.index.add(x)

    def save(self, at: Path) -> None:
        """One file."""
        self._threads().write_index(self.index, str(at / "index.faiss"))

    def load(self, at: Path) -> None:
        """The same."""
        self.index = self._threads().read_index(str(at / "index.faiss"))

    def tune(self, effort: Effort) -> None:
        """Set the knobs on the index."""
        faiss = self._threads()
        first, *rest = effort if isinstance(effort, list) else [effort]
        if hasattr(self.index, "hnsw"):
            self.index.hnsw.efSearch = int(first)
        elif isinstance(self.index, faiss.IndexFlat):
            pass  # it scans every row
        else:
            faiss.extract_index_ivf(self.index).nprobe = int(first)
        if rest:
            self.index.k_factor = float(rest[0])
        self.params = None if self.selector is None else self._params(int(first))

    def allow(self, flags: NDArray[np.bool_] | None) -> None:
        """A selector by bitmap, for HNSW, plain lists and flat indexes."""
        faiss = self._threads()
        self.bits = None if flags is None else np.packbits(flags, bitorder="little")
        if self.bits is None:
            self.selector = None
        elif hasattr(self.index, "hnsw") or isinstance(self.index, (faiss.IndexFlat, faiss.IndexIVFFlat)):
            self.selector = faiss.IDSelectorBitmap(len(self.bits) * 8, faiss.swig_ptr(self.bits))
        else:
            raise NotImplementedError(f"no selector for {self.factory} here")

    def _params(self, effort: int) -> Any:
        import faiss

        if hasattr(self.index, "hnsw"):
            return faiss.SearchParametersHNSW(efSearch=effort, sel=self.selector)
        if isinstance(self.index, faiss.IndexFlat):
            return faiss.SearchParameters(sel=self.selector)
        return faiss.SearchParametersIVF(nprobe=effort, sel=self.selector)

    def many(self, q: F32, k: int) -> I64:
        """One call."""
        return self.index.search(q, k, params=self.params)[1]


@dataclass
class Hnswlib(Engine):
    """Effort is ef."""

    engine: ClassVar[str] = "hnswlib"
    M: int = 16
    ef_construction: int = 200
    admit: Any = field(default=None, init=False, repr=False)

    def allow(self, flags: NDArray[np.bool_] | None) -> None:
        """A callback that looks into a list."""
        self.admit = None if flags is None else flags.tolist().__getitem__

    def build(self, x: F32) -> None:
        """Insert one row after another."""
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=x.shape[1])
        self.index.init_index(len(x), M=self.M, ef_construction=self.ef_construction, random_seed=100)
        self.index.set_num_threads(THREADS)
        self.index.add_items(x, num_threads=THREADS)
        self.dim = x.shape[1]

    def save(self, at: Path) -> None:
        """One file, and the width, which it does not keep."""
        self.index.save_index(str(at / "index.hnsw"))
        (at / "dim").write_text(str(self.dim), encoding="ascii")

    def load(self, at: Path) -> None:
        """The same."""
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=int((at / "dim").read_text(encoding="ascii")))
        self.index.load_index(str(at / "index.hnsw"))
        self.index.set_num_threads(THREADS)

    def tune(self, effort: Effort) -> None:
        """Set ef."""
        self.index.set_ef(int(effort))

    def many(self, q: F32, k: int) -> I64:
        """One call."""
        return self.index.knn_query(q, k, num_threads=THREADS, filter=self.admit)[0]


@dataclass
class Usearch(Engine):
    """Effort is expansion_search."""

    engine: ClassVar[str] = "usearch"
    flat: ClassVar[bool] = True
    dtype: str = "f16"
    connectivity: int = 16
    expansion_add: int = 200

    def _made(self, dim: int) -> Any:
        from usearch.index import Index

        return Index(
            ndim=dim, metric="cos", dtype=self.dtype, connectivity=self.connectivity, expansion_add=self.expansion_add
        )

    def build(self, x: F32) -> None:
        """Insert one row after another."""
        self.index = self._made(x.shape[1])
        self.index.add(np.arange(len(x)), x, threads=THREADS)

    def save(self, at: Path) -> None:
        """One file."""
        self.index.save(str(at / "index.usearch"))

    def load(self, at: Path) -> None:
        """The same, into memory."""
        from usearch.index import Index

        self.index = Index.restore(str(at / "index.usearch"), view=False)

    def tune(self, effort: Effort) -> None:
        """Set expansion_search."""
        self.index.expansion_search = int(effort)

    def one(self, q: F32, k: int) -> Any:
        """Keys of one query."""
        return self.index.search(q, k, threads=THREADS).keys

    def many(self, q: F32, k: int) -> I64:
        """One call."""
        return self.index.search(q, k, threads=THREADS).keys.astype(np.int64)


@dataclass
class Svs(Engine):
    """scalable-vs: its Vamana over float16, LVQ or LeanVec; effort is the search window."""

    engine: ClassVar[str] = "scalable-vs"
    data: str = "float16"  # float16, LVQ<first>x<second>, or LeanVec<dims>
    degree: int = 64
    window: int = 200

    def build(self, x: F32) -> None:
        """Its own recommendations for inner products: alpha 0.95, pruned to four links fewer than the degree."""
        import tempfile

        import svs

        how = svs.VamanaBuildParameters(
            alpha=0.95, graph_max_degree=self.degree, window_size=self.window, prune_to=self.degree - 4
        )
        with tempfile.TemporaryDirectory() as folder:
            source: Any = x.astype(np.float16)
            if self.data != "float16":
                file = os.path.join(folder, "rows.fvecs")
                svs.write_vecs(x, file)
                source = self._loader(svs.VectorDataLoader(file, svs.DataType.float32, dims=x.shape[1]))
            self.index = svs.Vamana.build(how, source, svs.DistanceType.MIP, num_threads=THREADS)

    def _loader(self, rows: Any) -> Any:
        import svs

        if self.data.startswith("LVQ"):
            first, _, second = self.data.removeprefix("LVQ").partition("x")
            return svs.LVQLoader(rows, primary=int(first), residual=int(second or 0), padding=32)
        kinds = {"4": svs.LeanVecKind.lvq4, "8": svs.LeanVecKind.lvq8, "16": svs.LeanVecKind.float16}
        dims, first, second = self.data.removeprefix("LeanVec").split("x")
        return svs.LeanVecLoader(rows, int(dims), primary_kind=kinds[first], secondary_kind=kinds[second])

    def save(self, at: Path) -> None:
        """Three folders."""
        self.index.save(*(str(at / part) for part in ("config", "graph", "data")))

    def load(self, at: Path) -> None:
        """The same."""
        import svs

        config, graph, rows = (str(at / part) for part in ("config", "graph", "data"))
        source: Any = svs.SerializedObject(rows)
        if self.data == "float16":
            source = svs.VectorDataLoader(rows, svs.DataType.float16)
        self.index = svs.Vamana(config, svs.GraphLoader(graph), source, svs.DistanceType.MIP, num_threads=THREADS)

    def tune(self, effort: Effort) -> None:
        """Set the window; a second number is the capacity of the buffer, from which rows are scored again."""
        import svs

        window, *capacity = effort if isinstance(effort, list) else [effort]
        how = self.index.search_parameters
        how.buffer_config = svs.SearchBufferConfig(int(window), int(max([window, *capacity])))
        self.index.search_parameters = how

    def many(self, q: F32, k: int) -> I64:
        """One call."""
        return self.index.search(q, k)[0].astype(np.int64)


@dataclass
class Scann(Engine):
    """Leaves, 4-bit product codes, and rows to score again; effort is leaves and how many are scored again."""

    engine: ClassVar[str] = "scann"
    flat: ClassVar[bool] = True
    leaves: int = 244
    reorder: str = "float32"
    soar: bool = True
    threshold: float = 0.2

    def build(self, x: F32) -> None:
        """As its documentation builds it for inner products; SOAR lists a row twice."""
        import scann
        from scann.scann_ops.py.scann_builder import ReorderType

        soar = {"soar_lambda": 1.5, "overretrieve_factor": 1.8} if self.soar else {}
        made = scann.scann_ops_pybind.builder(x, 10, "dot_product")
        made = made.tree(self.leaves, 10, training_sample_size=len(x), quantize_centroids=True, **soar)
        made = made.score_ah(2, anisotropic_quantization_threshold=self.threshold)
        made = made.reorder(100, quantize=ReorderType[self.reorder.upper()])
        self.index = made.set_n_training_threads(THREADS).build()

    def save(self, at: Path) -> None:
        """A folder."""
        self.index.serialize(str(at))

    def load(self, at: Path) -> None:
        """The same."""
        import scann

        self.index = scann.scann_ops_pybind.load_searcher(str(at))

    def tune(self, effort: Effort) -> None:
        """Keep both numbers for the calls."""
        self.leaves_searched, self.scored_again = map(int, effort)

    def one(self, q: F32, k: int) -> Any:
        """Its call for one query."""
        return self.index.search(q, k, self.scored_again, self.leaves_searched)[0]

    def many(self, q: F32, k: int) -> I64:
        """Its call for many."""
        return np.asarray(self.index.search_batched(q, k, self.scored_again, self.leaves_searched)[0], np.int64)


class _Rabitq(Engine):
    engine: ClassVar[str] = "rabitqlib"
    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """Which index, and its settings."""
        return f"{self.kind}, {super().name}"

    def save(self, at: Path) -> None:
        """One file."""
        self.index.save(str(at / "index.rabitq"))

    def load(self, at: Path) -> None:
        """The same."""
        import rabitqlib

        self.index = getattr(rabitqlib, f"{self.kind}Index").load(str(at / "index.rabitq"))

    def tune(self, effort: Effort) -> None:
        """Keep the number for the calls."""
        self.effort = int(effort)

    def many(self, q: F32, k: int) -> I64:
        """One call."""
        return self.index.search(q, k, self.effort, num_threads=THREADS)[0]


def _clusters(x: F32, count: int) -> Any:
    import rabitqlib

    made = rabitqlib.RaBitQKMeans(x.shape[1], count, num_threads=THREADS)
    made.train(x)
    return made


@dataclass
class SymphonyQG(_Rabitq):
    """rabitqlib's graph with codes of neighbours beside each row; effort is ef. Bits 0: rows as float32."""

    kind: ClassVar[str] = "Symqg"
    degree: int = 32
    bits: int = 0
    ef_construction: int = 200

    def build(self, x: F32) -> None:
        """Its fast start (PiPNN) and one refinement."""
        import rabitqlib

        self.index = rabitqlib.SymqgIndex(x.shape[1], self.degree, metric="ip", quantization_bits=self.bits)
        self.index.build(x, self.ef_construction, num_threads=THREADS)

    def many(self, q: F32, k: int) -> I64:
        """One call."""
        return self.index.search_batch(q, k, self.effort, num_threads=THREADS)[0]


@dataclass
class RabitqHnsw(_Rabitq):
    """rabitqlib's HNSW; effort is ef."""

    kind: ClassVar[str] = "Hnsw"
    bits: int = 7
    M: int = 16
    ef_construction: int = 200

    def build(self, x: F32) -> None:
        """16 clusters, as its documentation has it."""
        import rabitqlib

        found = _clusters(x, 16)
        self.index = rabitqlib.HnswIndex(x.shape[1], len(x), self.M, self.ef_construction, self.bits, metric="ip")
        self.index.build(x, found.centroids, found.assignments, num_threads=THREADS)


@dataclass
class RabitqIvf(_Rabitq):
    """rabitqlib's lists; effort is nprobe."""

    kind: ClassVar[str] = "Ivf"
    bits: int = 7
    clusters: int = 256

    def build(self, x: F32) -> None:
        """Cluster, then encode."""
        import rabitqlib

        found = _clusters(x, self.clusters)
        self.index = rabitqlib.IvfIndex(x.shape[1], len(x), self.clusters, self.bits, metric="ip")
        self.index.build(x, found.centroids, found.assignments, num_threads=THREADS)


PEERS: dict[str, type[Engine]] = {
    "faiss": Faiss,
    "hnswlib": Hnswlib,
    "usearch": Usearch,
    "scalable-vs": Svs,
    "scann": Scann,
    "symphonyqg": SymphonyQG,
    "rabitq-hnsw": RabitqHnsw,
    "rabitq-ivf": RabitqIvf,
}
