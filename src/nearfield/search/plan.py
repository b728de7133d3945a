"""The Plan: one line of text that chains Maps, a Codec, an Index and re-scoring."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nearfield.core import plan as text
from nearfield.core import rooms
from nearfield.core.codecs import Codec
from nearfield.core.errors import BadPlan, Unknown, did_you_mean
from nearfield.core.habits import answering
from nearfield.core.indexes import Index
from nearfield.core.maps import Map
from nearfield.core.method import Method
from nearfield.core.params import check
from nearfield.core.plan import Step
from nearfield.core.protocols import Metric, Progress
from nearfield.search.rescore import Rescore

if TYPE_CHECKING:
    from nearfield.search.packed import Packed

_PLAN_ROOMS = ("maps", "codecs", "indexes")
_ORDER = "Maps, then one codec, then one index, then rescore steps"


@answering
class Plan:
    """A chain of steps, such as ``pca(dim=256) | lvq(bits=4) | rescore(codec='float16', depth=10)``.

    Maps come first, then one codec (the rows as they came where none is named), then one index (``flat`` where none
    is named), then any number of ``rescore`` steps. ``str(plan)`` gives text that reads back the same.

    >>> print(Plan("pca(dim = 8)|int8"))
    pca(dim=8) | int8()
    """

    def __init__(self, steps: str | list[Step | Method] | tuple[Step | Method, ...] | list[Method]) -> None:
        self.maps: list[Map] = []
        self.rescores: list[Rescore] = []
        codec: Codec | None = None
        index: Index | None = None
        self.named: list[Method] = []
        for step in steps if isinstance(steps, (list, tuple)) else text.read(steps):
            method = step.fresh() if isinstance(step, Method) else _make(step)
            self.named.append(method)
            if isinstance(method, Map) and codec is None and index is None and not self.rescores:
                self.maps.append(method)
            elif isinstance(method, Codec) and codec is None and index is None and not self.rescores:
                codec = method
            elif isinstance(method, Index) and index is None and not self.rescores:
                index = method
            elif isinstance(method, Rescore):
                method.make_codec()
                if method.of == "residual" and self.rescores:
                    raise BadPlan(
                        f"{method}: residuals are what the plan's codec left; expected it as the first rescore"
                    )
                self.rescores.append(method)
            else:
                raise BadPlan(f"{method} does not stand where it may: expected {_ORDER}")
        if not self.named:
            raise BadPlan(f"an empty plan: expected {_ORDER}")
        self._codec = codec
        self.index: Index = index or rooms.load("indexes", "flat")()

    def __str__(self) -> str:
        return " | ".join(str(m) for m in self.named)

    def __repr__(self) -> str:
        return f"Plan({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def codec_for(self, metric: Metric) -> Codec:
        """An unfitted copy of the codec; where none is named, rows are stored as they came."""
        if self._codec is not None:
            return self._codec.fresh()
        made: Codec = rooms.load("codecs", "bits" if metric == "hamming" else "raw")()
        return made

    def fit(
        self,
        x: Any = None,
        *,
        metric: Metric = "cosine",
        ids: Sequence[Any] | None = None,
        texts: Sequence[str] | None = None,
        queries: Any = None,
        rng: int | np.random.Generator = 0,
        on_zero: str = "raise",
        encoder: Any = None,
        out: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> Packed:
        """Fit the steps on vectors and encode every row; returns a ``Packed`` that searches.

        Parameters
        ----------
        x: ``[n, d]`` array (float, int8, uint8; packed bits under ``hamming``), or a source of blocks
            that need not fit in memory. None: ``texts`` are encoded by ``encoder``.
        metric: ``cosine`` (rows are scaled to unit length), ``dot``, ``l2`` or ``hamming``.
        ids: one id a row (int or str); None: row numbers.
        texts: one text a row, kept beside the codes and shown in results.
        queries: sample queries ``[m, d]``, for steps that use them (leanvec).
        rng: a seed or Generator; the same one gives the same codes.
        on_zero: ``"keep"`` lets zero rows stay under cosine, with score 0.
        encoder: an encoder, or the name of one; remembered, so that texts can be searched.
        out: write the columns straight into this file (for rows that do not fit in memory). A graph that is
            interrupted stands in ``<out>.building`` until then: the same call again goes on from there.
        progress: called with (what, rows done, rows in all).

        Raises ``BadInput`` for rows that are not finite, zero under cosine, or of the wrong form.
        """
        from nearfield.search.fit import fit_plan

        return fit_plan(
            self, x, metric=metric, ids=ids, texts=texts, queries=queries, rng=rng, on_zero=on_zero,
            encoder=encoder, out=out, progress=progress,
        )  # fmt: skip


def _make(step: Step | Method) -> Method:
    if not isinstance(step, Step):
        raise BadPlan(f"a step of a plan is a method, such as int8(), got {type(step).__name__}")
    params = dict(step.params)
    if step.name == "rescore":
        cls: Any = Rescore
    else:
        cls = _load(step.name)
    checked = check(cls, params, step.name)
    missing = [f for f in dataclasses.fields(cls) if _required(f) and f.name not in params]
    if missing:
        raise BadPlan(f"{step.name}: the parameter {missing[0].name!r} must be given, such as {missing[0].name}=64")
    made = cls(**checked)
    if not isinstance(made, Method):
        raise BadPlan(f"{step.name} is not a step of a plan")
    return made


def _required(field: Any) -> bool:
    return bool(field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING)


def _load(name: str) -> Any:
    room = rooms.room_of(name, _PLAN_ROOMS)
    if room is not None:
        return rooms.load(room, name)
    known = [k for room in _PLAN_ROOMS for k in rooms.catalog(room)] + ["rescore"]
    raise Unknown(f"no method {name!r} for a plan; {did_you_mean(name, known)}")
