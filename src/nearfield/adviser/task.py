"""What the adviser measures on: a sample of rows, queries, and what the user knows about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.adviser import strata
from nearfield.adviser.quality import Judgements
from nearfield.core import arrays
from nearfield.core.checks import whole
from nearfield.core.errors import BadInput
from nearfield.core.protocols import F32, I64, METRICS, Batch, Metric
from nearfield.search.queries import as_queries

QUERIES = 1000  # measured; more would cost time and gain little
PAIRS = 5000
SAMPLE_BYTES = 13 << 20  # of float32 rows in the sample: wide rows make do with fewer ...
SAMPLE_ROWS = 6000  # ... but not with fewer than these
FIT_BYTES = 23 << 20  # of float32 rows, those of the sample among them, for codecs whose fit takes profit from more
KEPT = ("float16", "int8", "uint8")  # types that a codec may keep as they came


@dataclass
class Labels:
    """A class for each row; the queries from ``start`` on are rows held out with theirs."""

    rows: NDArray[np.int64]
    start: int
    wanted: NDArray[np.int64]


@dataclass
class Judged:
    """Which queries are judged, by their place, and their grades by row number."""

    at: NDArray[np.int64]
    grades: list[dict[int, float]]

    def within(self, at: slice) -> tuple[NDArray[np.int64], list[dict[int, float]]]:
        """Those among some of the queries."""
        inside = (self.at >= at.start) & (self.at < at.stop)
        return self.at[inside], [g for g, ok in zip(self.grades, inside) if ok]


@dataclass
class Fold:
    """Queries that a Map may learn from, and the place of those that it is then measured with."""

    fit: F32 | None
    at: slice


@dataclass
class Pairs:
    """Vectors whose similarity people scored."""

    a: F32
    b: F32
    scores: NDArray[np.float64]


@dataclass
class Task:
    """A sample of rows ready for the Maps, the queries to measure with, and the measures there are."""

    batch: Batch
    metric: Metric
    k: int
    on_zero: str
    seed: int
    rows: I64  # numbers of the sampled rows, ascending
    x: F32  # the sampled rows, ready
    given: NDArray[Any] | None  # as they came, where a codec may keep that type
    q: F32  # queries, ready: first those that recall is measured with, then held-out rows for labels
    own: I64  # row number of each query that is a row itself, else -1
    m: int  # how many queries recall is measured with
    user_queries: bool = False
    folds: list[Fold] = field(default_factory=list)  # for Maps that learn from queries; none where there are too few
    spare: I64 = field(default_factory=lambda: np.zeros(0, np.int64))  # further rows, in random order, to fit on
    head: I64 = field(default_factory=lambda: np.zeros(0, np.int64))  # the longest of all, where they are all sampled
    judged: Judged | None = None
    labels: Labels | None = None
    pairs: Pairs | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def n(self) -> int:
        """Rows in all."""
        return int(self.batch.shape[0])

    @property
    def d(self) -> int:
        """Width of the ready rows (bits under Hamming)."""
        return int(self.x.shape[1])

    @property
    def full_bytes(self) -> int:
        """Bytes of a row that others are compared with: float32, or the packed bits under Hamming."""
        return int(self.batch.shape[1]) if self.metric == "hamming" else 4 * self.d

    @property
    def searched(self) -> int:
        """How many rows a query meets at full size: all but itself."""
        return self.n - int((self.own[: self.m] >= 0).any())

    def folds_for(self, learns: bool) -> list[Fold]:
        """How queries are shared out: by folds where something learns from them, else all are measured with."""
        return (self.folds if learns else []) or [Fold(None, slice(0, self.m))]

    def further(self, count: int) -> F32:
        """At most so many ready rows that are not in the sample."""
        return _take(self.batch, np.sort(self.spare[:count]), self.metric, self.on_zero)[1]

    @property
    def primary(self) -> str:
        """The measure that ``keep`` speaks of."""
        if self.judged is not None:
            return "nDCG@10"
        if self.labels is not None:
            return "kNN accuracy"
        return "Spearman" if self.pairs is not None else self.recall_name

    @property
    def recall_name(self) -> str:
        """Such as ``recall@10``."""
        return f"recall@{self.k}"


def make_task(
    x: Any,
    queries: Any,
    *,
    metric: Metric,
    k: int,
    sample: int,
    rng: int | np.random.Generator,
    on_zero: str,
    qrels: Any = None,
    labels: Any = None,
    pairs: Any = None,
) -> Task:
    """Check everything that the user gave, draw the sample and hold queries out."""
    k, sample = _check_settings(metric, k, sample, on_zero)
    batch = arrays.as_batch(x)
    n, width = batch.shape
    least = max(2 * k, k + 2)
    if n < least:
        raise BadInput(f"advise: expected at least {least} rows to measure recall@{k} on, got {n}")
    d = width * 8 if metric == "hamming" else width
    generator = arrays.as_generator(rng)
    seed = int(generator.integers(1 << 31)) if isinstance(rng, np.random.Generator) else int(rng)
    draw = np.random.default_rng([seed, 1])
    classes = _classes(labels, n)
    asked = as_queries(queries, metric, d, on_zero) if queries is not None else None
    if asked is not None and not len(asked):
        raise BadInput("queries: expected at least one, got none")
    origin = arrays.far_origin(batch, metric)
    if origin is not None:  # as Plan.fit does
        batch = arrays.Moved(batch, origin)
        asked = None if asked is None else asked - origin
    judged = _judged_rows(qrels, asked, n)
    size = min(sample, n, max(SAMPLE_ROWS, SAMPLE_BYTES // (4 * d)))
    hold = asked is None or classes is not None
    seen = arrays.sample_rows(n, min(sample, max(size, FIT_BYTES // (4 * d))), draw)
    order = draw.permutation(len(seen))
    picked = np.sort(seen[order[:size]])
    held = _held_out(picked, judged, max(1, min(QUERIES, size // 10)), draw) if hold else np.zeros(0, np.int64)
    wanted_rows = np.union1d(np.setdiff1d(picked, held), judged).astype(np.int64)
    head = np.setdiff1d(strata.longest(batch, metric, size), held, assume_unique=True)
    if head.size:
        wanted_rows = strata.joined(wanted_rows, head, judged, draw)
    given, ready, rows = _take(batch, wanted_rows, metric, on_zero)
    if len(rows) <= k:
        raise BadInput(f"advise: expected more than k={k} rows that are not zero, got {len(rows)}")
    _, held_x, held = _take(batch, held, metric, on_zero) if hold else (None, np.zeros((0, d), np.float32), held)
    if hold and not len(held):
        raise BadInput("advise: the rows held out as queries are zero, all of them; pass queries=, or drop zero rows")
    task = Task(
        batch, metric, k, on_zero, seed, rows, ready,
        given if batch.dtype.name in KEPT else None,
        held_x, held, len(held), user_queries=asked is not None, head=head,
        spare=np.setdiff1d(seen[order[size:]], head, assume_unique=True) if head.size else seen[order[size:]],
    )  # fmt: skip
    if asked is not None:
        _use_queries(task, asked, qrels, draw)
    if classes is not None:
        start = task.m if asked is not None else 0
        if start:
            task.q = np.concatenate([task.q, held_x])
            task.own = np.concatenate([task.own, held])
        task.labels = Labels(classes, start, classes[held])
    task.pairs = _pairs(pairs, task, draw, origin)
    return task


def _held_out(picked: I64, judged: I64, count: int, draw: np.random.Generator) -> I64:
    """Rows of the sample to ask for instead of to find; judged rows are there to be found."""
    able = np.setdiff1d(picked, judged)
    if not able.size:
        raise BadInput("labels: expected rows that no query's judgements name, to hold out, got none; leave out labels")
    return np.sort(draw.choice(able, size=min(count, able.size), replace=False)).astype(np.int64)


def _check_settings(metric: str, k: Any, sample: Any, on_zero: str) -> tuple[int, int]:
    """``k`` and the size of the sample as Python's own."""
    if metric not in METRICS:
        raise BadInput(f"metric: expected one of {', '.join(METRICS)}, got {metric!r}")
    arrays.check_on_zero(on_zero)
    k = whole("k", k, 1, 100)
    return k, whole("sample", sample, 2 * k)


def _take(batch: Batch, rows: I64, metric: Metric, on_zero: str) -> tuple[NDArray[Any], F32, I64]:
    """Rows as they came and ready, without zero rows under cosine; errors name rows of the whole."""
    given = batch.take(rows)
    try:
        ready = arrays.ready(given, metric, 0, "vectors", on_zero)
    except BadInput:
        for i, row in enumerate(rows):
            arrays.ready(given[i : i + 1], metric, int(row), "vectors", on_zero)
        raise
    if metric == "cosine" and on_zero == "keep":
        some = np.abs(ready).max(axis=1, initial=0) > 0
        if not some.all():
            return given[some], ready[some], rows[some]
    return given, ready, rows


def _use_queries(task: Task, asked: F32, qrels: Any, draw: np.random.Generator) -> None:
    """Choose the queries to measure with, judged ones first, and some to fit on."""
    usable = np.flatnonzero(np.abs(asked).max(axis=1) > 0) if task.metric == "cosine" else np.arange(len(asked))
    if not usable.size:
        raise BadInput("queries: cosine needs a direction, got zero vectors only")
    order = draw.permutation(usable)
    if qrels is not None:
        known = np.array([int(q) in qrels for q in order], dtype=np.bool_)
        order = np.concatenate([order[known], order[~known]])
    chosen, rest = order[:QUERIES], order[QUERIES : 3 * QUERIES]
    task.q, task.m = asked[chosen], len(chosen)
    task.own = np.full(len(chosen), -1, dtype=np.int64)
    half = task.m // 2
    if len(rest) >= 200:
        task.folds = [Fold(asked[rest], slice(0, task.m))]
    elif task.m >= 40:  # too few to spare: what is learned from one half is measured on the other, and the reverse
        task.folds = [Fold(task.q[half : task.m], slice(0, half)), Fold(task.q[:half], slice(half, task.m))]
    if qrels is not None:
        at = np.array([i for i, q in enumerate(chosen) if int(q) in qrels], dtype=np.int64)
        task.judged = Judged(at, [{int(r): float(g) for r, g in qrels[int(chosen[i])].items()} for i in at])
        if task.n > len(task.rows):
            task.notes.append(
                "nDCG@10 of the sweep is measured in the sample (all judged documents are in it): compare plans by "
                "it; the verified figure is the one of all rows"
            )


def _judged_rows(qrels: Judgements | None, asked: F32 | None, n: int) -> I64:
    if qrels is None:
        return np.zeros(0, dtype=np.int64)
    if asked is None:
        raise BadInput("qrels: judgements need the queries that they judge; pass queries=")
    for query, grades in qrels.items():
        if not 0 <= int(query) < len(asked):
            raise BadInput(f"qrels: expected query rows from 0 to {len(asked) - 1}, got {query}")
        for row in grades:
            if not 0 <= int(row) < n:
                raise BadInput(f"qrels: expected document rows from 0 to {n - 1}, got {row} for query {query}")
    return np.unique(np.array([int(r) for grades in qrels.values() for r in grades], dtype=np.int64))


def _classes(labels: Any, n: int) -> NDArray[np.int64] | None:
    if labels is None:
        return None
    if not hasattr(labels, "__len__") or isinstance(labels, (str, bytes, dict)) or np.ma.isMaskedArray(labels):
        raise BadInput(f"labels: expected a list or an array, got {type(labels).__name__}")
    if len(labels) != n or np.ndim(labels if hasattr(labels, "ndim") else 0) > 1:
        shape = getattr(labels, "shape", len(labels))
        raise BadInput(f"labels: expected one for each of {n} rows, got {shape}")
    known: dict[Any, int] = {}  # not an array of text: one long label would widen all of them
    try:
        return np.array([known.setdefault(label, len(known)) for label in _plain(labels)], dtype=np.int64)
    except TypeError:
        raise BadInput("labels: expected numbers or texts, got something else, such as a list") from None


def _plain(labels: Any) -> list[Any]:
    values = list(labels.tolist() if hasattr(labels, "tolist") else labels)
    for i, label in enumerate(values):
        if label is None or label != label:
            raise BadInput(f"labels: expected a label for every row, got {label!r} in row {i}")
    return values


def _pairs(pairs: Any, task: Task, draw: np.random.Generator, origin: F32 | None) -> Pairs | None:
    if pairs is None:
        return None
    if isinstance(pairs, tuple) and len(pairs) == 3 and np.ndim(pairs[0]) == 2:
        a, b = (as_queries(v, task.metric, task.d, task.on_zero) for v in pairs[:2])
        a, b = (a, b) if origin is None else (a - origin, b - origin)
        scores = np.asarray(pairs[2], dtype=np.float64)
    else:
        table = np.asarray(pairs, dtype=np.float64)
        table = table[np.sort(draw.choice(len(table), PAIRS, replace=False))] if len(table) > PAIRS else table
        a, b = (_rows_of(task, table[:, c].astype(np.int64)) for c in (0, 1))
        scores = table[:, 2]
    if len(a) != len(b) or scores.shape != (len(a),) or len(a) < 4 or not np.isfinite(scores).all():
        got = f"{len(a)} and {len(b)} vectors, {scores.size} scores"
        raise BadInput(f"pairs: expected at least 4 pairs, each with a finite score, got {got}")
    return Pairs(a[:PAIRS], b[:PAIRS], scores[:PAIRS])


def _rows_of(task: Task, rows: I64) -> F32:
    unique, inverse = np.unique(rows, return_inverse=True)
    return arrays.ready(task.batch.take(unique), task.metric, 0, "vectors", task.on_zero)[inverse]
