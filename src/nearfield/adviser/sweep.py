"""Which plans the adviser measures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nearfield.core import rooms
from nearfield.core.errors import BadInput, BadPlan
from nearfield.core.method import Method
from nearfield.core.params import clipped
from nearfield.core.plan import Step, read
from nearfield.core.protocols import Metric
from nearfield.search.plan import Plan
from nearfield.search.rescore import Rescore

RESCORE = "rescore(codec='float16', depth=10)"
ROWS_OF_BYTES = 8192  # to fit on: with fewer, codebooks of 256 promise more in a sample than they keep
MOST_BYTES = 1.5  # a dimension, in plans that fill a number of bytes
WIDE = 1536  # dimensions up to which fits of many steps of cubic cost are tried unasked: beyond, each takes minutes
_ROOMS = ("maps", "codecs", "indexes")


def default_plans(
    d: int,
    *,
    metric: Metric,
    rows: int = 15_000,
    queries: bool = False,
    everything: bool = False,
    most_bytes: float = float("inf"),
) -> list[Plan]:
    """The default sweep for width ``d``: every codec, every reducer, chains of both, with and without re-scoring.

    ``rows`` that plans are fitted on: large codebooks need many. ``queries``: there are sample queries to fit on.
    ``everything`` adds the methods that are slow to fit, ``most_bytes`` a plan that fills exactly so many bytes.
    """
    texts = [*_plain(metric), *_product_codes(d, rows), *_chains(d), *_reducers(d, queries), *_rescored(d)]
    if d > WIDE and not everything:
        texts = [text for text in texts if not _cubic(text)]
    if 1 <= most_bytes < MOST_BYTES * d:
        texts.append(budget_plan(int(most_bytes)))
    if everything:
        texts += _slow(d)
    return _known(texts)


def budget_plan(size: int) -> str:
    """The plan that makes the most of any number of bytes a row, as far as its codec goes."""
    return str(fitting(f"transform(bytes={size})"))


def _plain(metric: Metric) -> list[str]:
    baseline = ["bits()"] if metric == "hamming" else ["raw()"]
    return [
        *baseline, "float16()", "bfloat16()", "float8()", "float8(format='e5m2')",
        "int8()", "int8(scale='global')", "int8(scale='row')",
        "int4()", "int4(scale='global')", "int4(scale='row')", "float4()",
        "binary()", "itq(rounds=20)",
        "lvq(bits=8)", "lvq(bits=4)", "lvq(bits=4, residual=4)", "lvq(bits=4, residual=8)",
        *(f"rabitq(bits={b})" for b in (1, 2, 3, 4, 6, 8)),
        *(f"turboquant(bits={b})" for b in (2, 4)),
    ]  # fmt: skip


def _shares(d: int, parts: Iterable[tuple[int, int]]) -> list[int]:
    return sorted({max(1, round(d * a / b)) for a, b in parts}, reverse=True)


def _product_codes(d: int, rows: int) -> list[str]:
    budgets = _shares(d, [(1, 1), (5, 8), (1, 2), (2, 5), (1, 3), (1, 4), (1, 6), (1, 8), (1, 12), (1, 16)])
    out = [f"transform(bytes={b})" for b in budgets]
    out += [f"pq(parts={p}, code_bits=4)" for p in _shares(d, [(1, 4)])]
    out += [f"pq(parts={p})" for p in _shares(d, [(1, 16)])]
    out += [f"opq(parts={p}, code_bits=4)" for p in _shares(d, [(1, 4)])]
    stages = _shares(d, [(1, 48)])[0]
    if rows >= ROWS_OF_BYTES:
        out += [f"opq(parts={p})" for p in _shares(d, [(1, 8), (1, 16)])]
    out.append(f"rvq(stages={2 * stages}, code_bits=4, beam=1)")
    return out


def _chains(d: int) -> list[str]:
    out = []
    for dim in _shares(d, [(3, 4), (1, 2), (1, 3), (1, 4), (1, 8)]):
        out += [f"pca(dim={dim}) | {codec}" for codec in ("float16()", "float8()", "int8()", "lvq(bits=4)")]
    half = _shares(d, [(1, 2)])[0]
    return [*out, *(f"pca(dim={half}) | rabitq(bits={b})" for b in (2, 4))]


def _reducers(d: int, queries: bool) -> list[str]:
    """Each reducer alone, and before the codec that shows it best: what S001 and S045 compare."""
    out = []
    for dim in _shares(d, [(1, 2), (1, 4)]):
        maps = [f"{name}(dim={dim})" for name in ("pca", "truncate", "random_projection", "fft", "dct", "leanvec")]
        if queries:
            maps.append(f"leanvec(dim={dim}, kind='ood')")
        out += [f"{text} | raw()" for text in maps]
        out += [f"{text} | int8()" for text in maps if not text.startswith("pca")]
    half = _shares(d, [(1, 2)])[0]
    out += [f"whiten(dim={half}) | raw()", f"whiten(dim={half}) | int8()", f"leanvec(dim={half}) | lvq(bits=4)"]
    if queries:
        out.append(f"leanvec(dim={half}, kind='ood') | lvq(bits=4)")
    return out


def _rescored(d: int) -> list[str]:
    budgets = _shares(d, [(1, 4), (1, 8), (1, 16)])
    half, quarter = _shares(d, [(1, 2)])[0], _shares(d, [(1, 4)])[0]
    first = [
        "binary()", "itq(rounds=20)", "rabitq(bits=1)", "rabitq(bits=2)", "rabitq(bits=4)", "lvq(bits=4)",
        "int4()", "int8()", *(f"transform(bytes={b})" for b in budgets),
        f"pq(parts={quarter}, code_bits=4)",
        f"pca(dim={half}) | lvq(bits=4)", f"pca(dim={quarter}) | int8()", f"pca(dim={quarter}) | lvq(bits=4)",
        f"leanvec(dim={half}) | lvq(bits=4)",
    ]  # fmt: skip
    out = [f"{text} | {RESCORE}" for text in first]
    finer = "rescore(codec='int8', depth=10)"
    out += [f"{text} | {finer}" for text in ("binary()", "rabitq(bits=1)", *(f"transform(bytes={b})" for b in budgets))]
    out.append("rabitq(bits=1) | rescore(codec='lvq(bits=4)', depth=10)")
    return out


def _slow(d: int) -> list[str]:
    out = []
    for name in ("kernel_pca", "umap", "autoencoder", "tldr"):
        info = rooms.catalog("maps").get(name)
        if info is not None and (info.slow or name == "tldr"):
            out += [f"{name}(dim={dim})" for dim in _shares(d, [(1, 2), (1, 8)])]
    return [*out, "recurrent_binary(bits=2)"]


def _cubic(text: str) -> bool:
    """Whether a plan's fit decomposes a matrix of the rows' width in each of many steps."""
    return text.startswith("itq(") or "kind='ood'" in text


def left_out(d: int) -> list[str]:
    """Methods that the default sweep leaves out, at this width, because they are slow to fit."""
    slow = {name for room in _ROOMS for name, info in rooms.catalog(room).items() if info.slow}
    slow |= {"recurrent_binary"} & set(rooms.catalog("codecs"))
    return sorted(slow | ({"itq", "leanvec(kind='ood')"} if d > WIDE else set()))


def fitting(text: str) -> Plan:
    """The plan with sizes that were derived from the width of rows moved into the ranges that its methods allow.

    >>> print(fitting("rvq(stages=86, code_bits=4)"))
    rvq(stages=64, code_bits=4)
    """
    steps: list[Step | Method] = []
    for step in read(text):
        cls: Any = Rescore
        if step.name != "rescore":
            cls = rooms.load(rooms.find(step.name).room, step.name)
        steps.append(Step(step.name, tuple(clipped(cls, dict(step.params)).items())))
    return Plan(steps)


def _known(texts: list[str]) -> list[Plan]:
    """Plans of the methods that are installed, each once."""
    names = {name for room in _ROOMS for name in rooms.catalog(room)} | {"rescore"}
    out: dict[str, Plan] = {}
    for text in texts:
        if _names(text) <= names:
            plan = fitting(text)
            out.setdefault(str(plan), plan)
    return list(out.values())


def _names(text: str) -> set[str]:
    found = set()
    for step in read(text):
        found.add(step.name)
        codec = dict(step.params).get("codec")
        if step.name == "rescore" and isinstance(codec, str):
            found |= {inner.name for inner in read(codec)}
    return found


def given_plans(plans: Any) -> tuple[list[Plan], list[Plan]]:
    """The plans that the user named, texts or ``Plan`` objects: those that scan every row, and those with an index."""
    listed = [plans] if isinstance(plans, (str, Plan)) else list(plans)
    if not listed:
        raise BadInput("plans: expected at least one plan, got none")
    made = [plan if isinstance(plan, Plan) else Plan(plan) for plan in listed]
    each = {str(plan): plan for plan in made}.values()
    scans = [plan for plan in each if plan.index.name() == "flat"]
    for plan in scans:
        if any(step.of == "residual" for step in plan.rescores):
            raise BadPlan(f"plans: expected plans without residuals where every row is scanned; got {plan}")
    return scans, [plan for plan in each if plan.index.name() != "flat"]


def learns_from_queries(plan: Plan) -> bool:
    """Whether a step is fitted on sample queries, so that those must not be measured with."""
    return any("ood" in map_.parameters().values() for map_ in plan.maps)


def proven(plan: Plan) -> bool:
    """Whether every method of the plan is ``status: proven``."""
    names = _names(str(plan)) - {"rescore"}
    return all(rooms.find(name).status == "proven" for name in names)
