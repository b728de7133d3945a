"""ivf: rows in lists about centroids, of which a search scans only those that promise most.

The choice where memory is scarce: rows keep no links, and a list is scanned as fast as codes can be. Codes are of
what a row's centroid leaves of it, which makes few bits go further: ``rabitq(bits=1) | ivf() |
rescore('lvq(bits=4)', of='residual')``.

paper: Jégou, Douze, Schmid, 2011, doi:10.1109/TPAMI.2010.57 (lists of residuals); Gao and Long, 2024,
  arXiv:2405.12497 (signs of residuals)
needs: native
status: proven
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from nearfield.core.errors import Corrupt, Unsupported
from nearfield.core.hits import Hits
from nearfield.core.indexes import Columns, Index, Shapes, check_search
from nearfield.core.params import Range
from nearfield.core.protocols import F32, I64, Metric, Prepared, Progress, Rows, Vectors
from nearfield.numerics import finders, kernels, kmeans

_SAMPLE = 128  # rows a list that centroids are learned from


@dataclass
class Ivf(Index):
    """Scans the lists whose centroids are nearest.

    ``lists`` is how many there are, the root of the number of rows where it is not given; ``rounds`` of k-means place
    their centroids. ``residual`` encodes what the centroid leaves of a row, where the codec does not keep
    rows as they came. ``budget`` is the effort of a search that names none: the lists it scans hold about so many rows.

    >>> import numpy as np, nearfield as nf
    >>> x = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
    >>> packed = nf.Plan("int4() | ivf(lists=20) | rescore(codec='float16')").fit(x)
    >>> packed.search(x[:3], k=1, budget=200).rows[:, 0].tolist()
    [0, 1, 2]
    """

    interleaves: ClassVar[bool] = True
    orders: ClassVar[bool] = True

    lists: Annotated[int | None, Range(1, 1 << 20)] = None
    rounds: Annotated[int, Range(1, 1000)] = 8
    residual: bool = True
    budget: Annotated[int, Range(1)] = 2000

    @classmethod
    def examples(cls) -> list[Self]:
        """As many lists as it takes, few lists, and codes of whole rows."""
        return [cls(), cls(lists=3), cls(lists=20, residual=False)]

    @classmethod
    def sweep(cls, n: int, d: int) -> list[str]:
        """A bit a dimension, or half as many again, is scanned; what that left of the rows is added to the best."""
        few, some = max(1, round(0.11 * d)), max(1, round(d / 6))
        return [
            f"transform(bytes={few}) | ivf() | rescore(codec='lvq(bits=4)', depth=10, of='residual')",
            f"transform(bytes={some}) | ivf() | rescore(codec='lvq(bits=8)', depth=3, of='residual')",
        ]

    def fit(self, x: F32, n: int, *, metric: Metric, as_given: bool, rng: np.random.Generator) -> Self:
        """Place the centroids; they are kept in bytes, since codes are of what those leave."""
        count = min(self.lists or max(1, round(n**0.5)), len(x))
        most = _SAMPLE * count
        some = x if len(x) <= most else x[np.sort(rng.choice(len(x), most, replace=False))]
        centroids = kmeans.kmeans(some, count, rng=rng, rounds=self.rounds, init="rows")
        largest = np.abs(centroids).max(axis=1, initial=0)
        self.scales_ = np.asarray(np.where(largest > 0, largest / 127, 1), np.float32)
        self.centroids_ = np.rint(centroids / self.scales_[:, None]).astype(np.int8)
        self.centred_ = bool(self.residual and not as_given)
        self.distances_ = metric == "l2"
        self.slopes_ = self._slopes(some)
        return self

    def _slopes(self, some: F32) -> F32:
        """What makes centroids as long as the rows about them: else a list would promise less the wider it is."""
        whole = self._whole()
        if self.distances_:
            return np.ones(len(whole), np.float32)
        lengths, lists = np.sqrt(np.einsum("ij,ij->i", some, some)), kernels.assign(some, whole)[0]
        held = np.bincount(lists, minlength=len(whole))
        means = np.bincount(lists, weights=lengths, minlength=len(whole)) / np.maximum(held, 1)
        norms = np.linalg.norm(whole, axis=1)
        usable = (norms > 0) & (held > 0)
        return np.where(usable, means / np.where(usable, norms, 1), 1).astype(np.float32)

    def _whole(self) -> F32:
        return np.asarray(self.centroids_ * self.scales_[:, None], np.float32)

    def origins(self, x: F32) -> F32 | None:
        """The centroids nearest to rows."""
        self.need_fit()
        return self._whole()[kernels.assign(x, self._whole())[0]] if self.centred_ else None

    def origins_at(self, columns: Columns, places: I64) -> F32 | None:
        """The centroids of the lists at these places."""
        if not self.centred_:
            return None
        return self._whole()[np.searchsorted(columns["starts"], places, side="right") - 1]

    def build(self, x: Vectors, *, rng: np.random.Generator, progress: Progress | None = None) -> Columns:
        """Give each row to its nearest centroid."""
        centroids, found, done = self._whole(), [], 0
        for block in x.blocks():
            found.append(kernels.assign(block, centroids)[0])
            done += len(block)
            if progress:
                progress("assign", done, x.n)
        return self.columns_of(np.concatenate(found))

    def columns_of(self, lists: NDArray[Any]) -> Columns:
        """The columns of rows that belong to these lists ``[n]``."""
        starts = np.concatenate([[0], np.cumsum(np.bincount(lists, minlength=len(self.scales_)))])
        return {"order": np.argsort(lists, kind="stable").astype("<u4"), "starts": starts.astype("<u4")}

    def shapes(self, n: int) -> Shapes:
        """The row at each place, and where lists begin."""
        self.need_fit()
        return {"order": ("<u4", (n,)), "starts": ("<u4", (len(self.scales_) + 1,))}

    def blank(self, n: int) -> Columns:
        """One list that holds all rows, and others that hold none."""
        starts = np.full(len(self.scales_) + 1, n, "<u4")
        starts[0] = 0
        return {"order": np.arange(n, dtype="<u4"), "starts": starts}

    def attach(self, rows: Rows, columns: Columns) -> Self:
        """Take up codes and lists; whatever is wrong with these is told here."""
        self._check(rows.n, columns)
        self.rows, self._columns = rows, columns
        self._finder: Any = None
        self._places: I64 | None = None
        return self

    def _check(self, n: int, columns: Columns) -> None:
        order, starts, shape = columns["order"], columns["starts"], self.centroids_.shape
        if self.centroids_.dtype != np.int8 or len(shape) != 2:
            raise Corrupt("ivf: expected centroids as signed bytes")
        for values in (self.scales_, self.slopes_):
            if values.dtype != np.float32 or values.shape != shape[:1] or not np.isfinite(values).all():
                raise Corrupt("ivf: expected a finite scale and slope for each centroid, as float32")
        if starts[0] != 0 or starts[-1] != n or (starts[1:] < starts[:-1]).any():
            raise Corrupt(f"ivf: the column 'starts' should ascend from 0 to {n}")
        met = np.zeros(n, np.bool_)
        met[order[order < n]] = True
        if not met.all():
            raise Corrupt("ivf: the column 'order' should hold every row once")

    @property
    def bytes_per_row(self) -> float:
        """Four, for the number of a row."""
        return 4.0

    def places(self, rows: I64) -> I64:
        """Where rows lie."""
        if self._places is None:
            self._places = np.empty(self.rows.n, np.int64)
            self._places[self._columns["order"]] = np.arange(self.rows.n)
        return self._places[rows]

    def kept_with(self, rows: I64) -> NDArray[Any]:
        """The lists that rows belong to."""
        return np.searchsorted(self._columns["starts"], self.places(rows), side="right") - 1

    def merged(self, kept: list[NDArray[Any]]) -> Columns:
        """Rows of several sets, each in its list."""
        return self.columns_of(np.concatenate(kept))

    def finder(self) -> Any:
        """What finds rows natively."""
        native = kernels.native()
        if native is None:
            raise Unsupported("ivf: lists are scanned by native code, which is not installed here; use flat()")
        if self._finder is None:
            rows = self.rows
            if rows.scorer.format is None:
                raise TypeError("ivf: attached to rows without a layout")
            whole = self._whole()
            half = 0.5 if self.distances_ else 0.0
            leans = np.asarray(half * np.einsum("ij,ij->i", whole, whole), np.float32)
            held = finders.native_rows(rows.scorer.format, rows.codes, rows.scorer.metric, rows.terms, rows.n)
            order, starts = (np.ascontiguousarray(self._columns[name]) for name in ("order", "starts"))
            self._finder = native.list_finder(
                held, order, starts, self.centroids_, self.scales_, self.slopes_, leans, bool(self.centred_)
            )
        return self._finder

    def effort(self, k: int, budget: int, matches: int) -> int:
        """How many rows the lists that are scanned hold, of those that match."""
        return min(max(budget or self.budget, k), self.rows.n)

    def search(
        self, q: Prepared, k: int, *, budget: int = 0, allow: NDArray[np.bool_] | None = None, depth: int = 1
    ) -> Hits:
        """The best ``k`` rows of the lists that promise most; of all lists where ``budget`` covers all rows."""
        n = self.rows.n
        k = check_search(k, n, allow)
        fmt = self.rows.scorer.format
        if fmt is None or q.folded is None:
            raise TypeError("ivf: attached to rows without a layout")
        effort, k = self.effort(k, budget, n), min(depth * k, n)
        rows, scores, scored, _ = finders.find(self.finder(), fmt, q.folded, k, effort, allow, n, None, q.queries)
        return Hits(rows, scores, scored)
