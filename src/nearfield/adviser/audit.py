"""``nearfield.audit``: what the order of insertion and the local dimension do to an index's recall.

paper: S080 (Elliott, Clark, 2024)
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.adviser.quality import Estimate, mean_interval, recall_values
from nearfield.adviser.suggested import with_parameter
from nearfield.core import arrays
from nearfield.core.codecs import row_terms
from nearfield.core.errors import BadInput
from nearfield.core.habits import answering
from nearfield.core.indexes import check_search
from nearfield.core.protocols import F32, I64, Metric, Progress
from nearfield.numerics import dimension, kernels, knn
from nearfield.search.plan import Plan
from nearfield.search.queries import as_queries

ORDERS = ("given", "shuffled", "lid up", "lid down")
QUARTERS = 4
HELD = 1000  # rows held out as queries where none are given
LOOKED = 15_000  # rows among which the local dimension of each is looked for


@dataclass(frozen=True)
class Line:
    """One order of insertion: recall over all queries and over each quarter of them, easiest first."""

    order: str
    recall: Estimate
    quarters: list[Estimate]
    scored: float


@dataclass(frozen=True)
class Audit:
    """What an audit found; ``edges`` are the local dimensions at which the quarters of queries part."""

    plan: str
    lines: list[Line]
    edges: list[float]
    k: int
    rows: int
    queries: int

    @property
    def spread(self) -> float:
        """How much recall depends on the order: that of the best less that of the worst."""
        values = [line.recall.value for line in self.lines]
        return max(values) - min(values)

    def __str__(self) -> str:
        a, b, c = (f"{edge:.0f}" for edge in self.edges)
        heads = ["order", f"recall@{self.k} [95%]", f"lid < {a}", f"{a} to {b}", f"{b} to {c}", f"> {c}", "scored"]
        cells = [heads]
        for line in self.lines:
            e = line.recall
            quarters = [f"{q.value:.3f}" for q in line.quarters]
            cells.append(
                [line.order, f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}]", *quarters, f"{line.scored:,.0f}"]
            )  # fmt: skip
        widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
        text = [
            "  ".join(c.ljust(w) if not i else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths))) for r in cells
        ]
        first = f"{self.plan}: {self.rows:,} rows, {self.queries:,} queries by their local intrinsic dimension"
        return "\n".join([first, *text, f"recall differs by {self.spread:.3f} between orders"])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self) | {"spread": self.spread}


@answering
def audit(
    x: Any, plan: Any, queries: Any = None, *, metric: Metric = "cosine", k: int = 10, budget: int | None = None,
    orders: Any = ORDERS, rng: int = 0, progress: Progress | None = None,
) -> Audit:  # fmt: skip
    """Recall@k of a plan by the order in which rows are inserted, and by the local dimension around the queries.

    Use it before trusting one figure for an index: graphs that grow row by row depend on the order, and the queries
    where many rows lie about equally near get less than the mean says.

    Parameters
    ----------
    x: rows ``[n, d]``; they are held in memory as float32. plan: a Plan, or its text.
    queries: ``[m, d]``; None: up to 1,000 rows are held out.
    budget: the effort of each search; None: that of the plan.
    orders: among ``given``, ``shuffled``, ``lid up`` and ``lid down``: by the rows' local dimension.

    An index that draws its own order (its parameter ``order``) is told to take rows as given; one that has no such
    parameter and draws one nevertheless shows what is left of the order. Raises ``BadInput`` for rows and orders that
    make no sense.

    >>> rows = np.random.default_rng(0).normal(size=(600, 8)).astype("float32")
    >>> [line.order for line in audit(rows, "float16() | vamana(degree=8)", orders=["given", "lid up"]).lines]
    ['given', 'lid up']
    """
    wanted = [orders] if isinstance(orders, str) else list(orders)
    strange = [o for o in wanted if o not in ORDERS]
    if strange or not wanted:
        raise BadInput(f"orders: expected some of {', '.join(ORDERS)}, got {strange[0] if strange else 'none'!r}")
    if metric not in ("cosine", "dot", "l2"):
        raise BadInput(f"metric: expected cosine, dot or l2, got {metric!r}")
    made = plan if isinstance(plan, Plan) else Plan(plan)
    check_search(k, 1, None)
    rows, q = _rows_and_queries(x, queries, metric, k, rng)
    terms = row_terms(rows, "l2") if metric == "l2" else None
    truth = kernels.scan_floats(q, rows, "l2" if metric == "l2" else "dot", k, terms=terms)[0]
    lids = _local(q, rows)
    edges = [float(v) for v in np.quantile(lids, (0.25, 0.5, 0.75))]
    quarter = np.searchsorted(edges, lids, side="right")
    dims = _local(rows, rows) if any(o.startswith("lid") for o in wanted) else np.zeros(0)
    lines = []
    for i, order in enumerate(wanted):
        at = _order(order, len(rows), dims, rng)
        packed = with_parameter(made, "order", "given").fit(rows[at], metric=metric, queries=q, rng=rng)
        hits = packed.search(q, k=k, budget=budget)
        values = recall_values(np.where(hits.rows >= 0, at[np.maximum(hits.rows, 0)], -1), truth)
        each = [mean_interval(values[quarter == j]) for j in range(QUARTERS) if (quarter == j).any()]
        lines.append(Line(order, mean_interval(values), each, float(hits.scored.mean())))
        if progress:
            progress("audit", i + 1, len(wanted))
    return Audit(str(made), lines, edges, k, len(rows), len(q))


def _rows_and_queries(x: Any, queries: Any, metric: Metric, k: int, rng: int) -> tuple[F32, F32]:
    batch = arrays.as_batch(x)
    n, d = batch.shape
    if n < max(50, 4 * k):
        raise BadInput(f"audit: expected at least {max(50, 4 * k)} rows, got {n}")
    blocks, start = [], 0
    for block in batch.blocks(arrays.block_rows(d)):
        blocks.append(arrays.ready(block, metric, start))
        start += len(block)
    rows = np.concatenate(blocks)
    if queries is not None:
        q = as_queries(queries, metric, d)
        if len(q) < 2 * QUARTERS:
            raise BadInput(f"queries: expected at least {2 * QUARTERS} to tell quarters apart, got {len(q)}")
        return rows, q
    held = np.zeros(n, dtype=np.bool_)
    held[arrays.as_generator(rng).choice(n, size=min(HELD, n // 5), replace=False)] = True
    return np.ascontiguousarray(rows[~held]), np.ascontiguousarray(rows[held])


def _local(q: F32, rows: F32) -> NDArray[np.float64]:
    """The local dimension around each query, among at most some thousand rows."""
    some = arrays.sample_rows(len(rows), LOOKED, np.random.default_rng(0))
    among = rows if len(some) == len(rows) else np.ascontiguousarray(rows[some])
    far = knn.nearest(q, among, min(51, len(among)))[1].astype(np.float64)
    far = np.where(far[:, :1] == 0, far[:, 1:], far[:, :-1])  # a row is no neighbour of its own
    return dimension.local(dimension.inverse_local(far))


def _order(order: str, n: int, dims: NDArray[np.float64], rng: int) -> I64:
    if order == "given":
        return np.arange(n, dtype=np.int64)
    if order == "shuffled":
        return np.random.default_rng([rng, 2]).permutation(n).astype(np.int64)
    up = np.argsort(dims, kind="stable").astype(np.int64)
    return up if order == "lid up" else np.ascontiguousarray(up[::-1])
