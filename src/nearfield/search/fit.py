"""Runs a Plan over rows: fits its steps on a sample, then encodes every row block by block."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core import arrays, rooms
from nearfield.core.codecs import Codec, CodecScorer, in_blocks, row_terms
from nearfield.core.errors import BadInput, BadPlan, Unsupported
from nearfield.core.indexes import Columns, Index
from nearfield.core.maps import Map
from nearfield.core.protocols import F32, METRICS, TABLE_LAYOUTS, U8, Aside, Batch, Metric, Progress, Vectors
from nearfield.numerics import kernels
from nearfield.search.columns import MemorySink, Sink, text_columns
from nearfield.search.encoding import as_encoder, encode_texts, encoder_of
from nearfield.search.queries import as_queries

if TYPE_CHECKING:
    from nearfield.search.packed import Packed
    from nearfield.search.plan import Plan

FIT_ROWS = 65_536
FIT_BYTES = 256 << 20
_RESIDUALS = 16_384  # rows whose residuals a codec is fitted on, where it wants no more
INDEX = "index."  # before the names of an index's columns
WALKED = "walked"  # the column of float16 that an index searches where the codec has no layout


@dataclass
class Fitted:
    """A Plan after fitting: everything that searching needs but the encoded columns.

    Rows and queries are taken from ``origin``, where there is one, before anything else is done with them.
    """

    plan: Plan
    metric: Metric
    n: int
    d: int
    maps: list[Map]
    codec: Codec
    rescore_codecs: list[Codec]
    zero_rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    gone: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))  # rows that were deleted
    mended: bool = False  # whether no link of the index leads to one of those
    encoder: str | None = None
    space: dict[str, Any] = field(default_factory=dict)
    origin: F32 | None = None
    seed: int = 0  # of what the index draws
    learned: Index | None = None  # the index, where it learned what all sets of rows share

    @property
    def index(self) -> Index:
        """The Plan's index, with what it learned."""
        return self.plan.index if self.learned is None else self.learned

    @property
    def shared_bytes(self) -> int:
        """Bytes of matrices, codebooks and levels, shared by all rows."""
        codecs = sum(c.shared_bytes for c in (self.codec, *self.rescore_codecs))
        origin = 0 if self.origin is None else self.origin.nbytes
        index = 0 if self.learned is None else self.learned.state_bytes()
        return codecs + origin + index + sum(m.state_bytes() for m in self.maps)

    @property
    def as_given(self) -> bool:
        """Whether codes are of the rows in the type they came in: no float copy, no scaling."""
        return not self.maps and self.codec.keeps_input()

    @property
    def nearness(self) -> Metric:
        """How near mapped rows are: by dot product, or l2."""
        return "l2" if self.metric in ("l2", "hamming") or any(m.euclidean for m in self.maps) else "dot"

    def of_rows(self, n: int) -> Fitted:
        """The same for other rows."""
        return replace(self, n=n, zero_rows=np.zeros(0, np.int64), gone=np.zeros(0, np.int64), mended=False)

    def scoring(self, codec: Codec, *, first: bool) -> Metric:
        """The metric under which one codec's rows are scored."""
        if first and self.as_given:
            return self.metric
        if first and any(m.euclidean for m in self.maps):
            return "l2"
        if self.metric == "hamming":  # bits as 0/1 floats: the squared distance is the Hamming distance
            return "l2"
        return "dot" if self.metric == "cosine" else self.metric

    def scoring_again(self, i: int) -> Metric:
        """The metric under which a re-scoring step scores: for residuals that of the scores they add to."""
        return self.scoring(self.codec if self._residual(i) else self.rescore_codecs[i], first=self._residual(i))

    def _residual(self, i: int) -> bool:
        return self.plan.rescores[i].of == "residual"

    @cached_property
    def searched(self) -> tuple[str, Codec]:
        """The column that the index searches, and its codec: the codes, or float16 of them where they have no layout.

        Some indexes decode those by themselves.
        """
        codec, index = self.codec, self.plan.index
        if codec.row_format() is not None or index.decodes:
            return "codes", codec
        return WALKED, _float16_like(codec)


def fit_plan(
    plan: Plan,
    x: Any,
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
    """Fit and encode; see ``Plan.fit``."""
    if metric not in METRICS:
        raise BadInput(f"metric: expected one of {', '.join(METRICS)}, got {metric!r}")
    arrays.check_on_zero(on_zero)
    if x is None:
        x, encoder = _encode_texts(texts, encoder, progress)
    batch = arrays.as_batch(x)
    encoder = None if encoder is None else encoder_of(encoder, batch.shape[1])
    extra = row_columns(batch.shape[0], ids, texts)
    name, space = describe_space(encoder, batch, metric)
    origin = arrays.far_origin(batch, metric)
    if origin is not None:
        batch = arrays.Moved(batch, origin)
        queries = None if queries is None else as_queries(queries, metric, batch.shape[1]) - origin
    with arrays.named_in_full(batch, metric, on_zero):
        fitted = fit_steps(plan, batch, metric=metric, queries=queries, rng=rng, on_zero=on_zero)
        fitted.encoder, fitted.space, fitted.origin = name, space, origin
        return _encoded(fitted, batch, extra, out, on_zero=on_zero, progress=progress)


def _encoded(
    fitted: Fitted,
    batch: Batch,
    extra: dict[str, NDArray[Any]],
    out: str | os.PathLike[str] | None,
    *,
    on_zero: str,
    progress: Progress | None,
) -> Packed:
    from nearfield.search.packed import Packed

    if out is None:
        sink = MemorySink()
        encode_columns(fitted, batch, sink, on_zero=on_zero, progress=progress)
        return Packed(fitted, sink.columns | extra)
    from nearfield.search.file import save_streamed

    return save_streamed(out, fitted, batch, extra, on_zero=on_zero, progress=progress)


def _encode_texts(texts: Sequence[str] | None, encoder: Any, progress: Progress | None) -> tuple[F32, Any]:
    if texts is None:
        raise BadInput("fit: expected vectors, or texts for an encoder, got neither")
    made = as_encoder(encoder or "static")
    return encode_texts(made, texts, progress=progress), made


def describe_space(encoder: Any, batch: Batch, metric: Metric) -> tuple[str | None, dict[str, Any]]:
    """The record of the space that the rows live in: model, revision, width, type, metric."""
    space: dict[str, Any] = {"dim": batch.shape[1], "dtype": str(batch.dtype), "metric": metric}
    if encoder is None:
        return None, space
    return type(encoder).__module__.rsplit(".", 1)[-1], space | dict(getattr(encoder, "space", {}))


def listed_ids(ids: Any) -> list[Any]:
    """Ids as Python's own ints and strings, wherever they come from."""
    listed = np.asarray(ids).tolist() if hasattr(ids, "tolist") else list(ids)
    return [i.item() if isinstance(i, np.generic) else i for i in listed]


def row_columns(n: int, ids: Sequence[Any] | None, texts: Sequence[str] | None) -> dict[str, NDArray[Any]]:
    """Ids and texts as columns, checked: one a row, ids of one type and each once."""
    out: dict[str, NDArray[Any]] = {}
    for name, values in (("ids", ids), ("texts", texts)):
        if values is not None and (not hasattr(values, "__len__") or isinstance(values, (str, bytes, dict))):
            raise BadInput(f"{name}: expected a list or an array, got {type(values).__name__}")
        if values is not None and len(values) != n:
            raise BadInput(f"{name}: expected one for each of {n} rows, got {len(values)}")
    if ids is not None:
        listed = listed_ids(ids)
        odd = next((i for i in listed if not isinstance(i, (int, str)) or isinstance(i, bool)), None)
        if odd is not None:
            raise BadInput(f"ids: expected all int or all str, got {odd!r}")
        if len(set(listed)) != n:
            raise BadInput("ids: expected each id once, got duplicates")
        if all(isinstance(i, int) and not isinstance(i, bool) for i in listed):
            if listed and not -(1 << 63) <= min(listed) <= max(listed) < 1 << 63:
                raise BadInput("ids: expected whole numbers of 64 bits; give larger ones as text")
            out["ids"] = np.array(listed, dtype=np.int64)
        elif all(isinstance(i, str) for i in listed):
            out |= _strings("ids", listed)
        else:
            raise BadInput("ids: expected all int or all str")
    if texts is not None:
        if not all(isinstance(t, str) for t in texts):
            raise BadInput("texts: expected str for every row")
        out |= _strings("texts", list(texts))
    return out


def _strings(name: str, values: list[str]) -> dict[str, NDArray[Any]]:
    try:
        return text_columns(name, values)
    except UnicodeEncodeError:
        raise BadInput(f"{name}: expected text that UTF-8 can hold, got a lone surrogate") from None


def fit_steps(
    plan: Plan,
    batch: Batch,
    *,
    metric: Metric,
    queries: Any = None,
    rng: int | np.random.Generator = 0,
    on_zero: str = "raise",
) -> Fitted:
    """Fit Maps, codec and re-score codecs on a sample of the rows."""
    n, d = batch.shape
    if n == 0:
        raise BadInput("vectors: expected at least one row, got none")
    generator = arrays.as_generator(rng)
    streams = generator.spawn(4 + len(plan.maps) + len(plan.rescores))
    seed = int(streams[2].integers(1 << 32))
    if metric == "hamming":
        d *= 8
    fitted = Fitted(plan, metric, n, d, [m.fresh() for m in plan.maps], plan.codec_for(metric), [], seed=seed)
    size = max(1, min(FIT_ROWS, FIT_BYTES // (4 * d)))
    rows = arrays.sample_rows(n, size, streams[0])
    given = batch.take(rows)
    asked = as_queries(queries, metric, d, on_zero) if queries is not None else None
    as_given = not plan.maps and fitted.codec.takes(batch.dtype)
    if any(step.of == "residual" for step in plan.rescores) and (as_given or metric == "hamming"):
        raise BadPlan(f"{plan}: a codec that keeps rows as they came leaves no residual; drop the rescore step")
    if as_given and not plan.rescores and not (plan.index.orders or plan.index.learns):
        fitted.codec.fit(given, rng=streams[1])
        _refuse_first(fitted)
        return fitted
    x = _ready_sample(given, metric, on_zero)
    if not as_given:
        del given  # as large as x
    mapped, mapped_queries = x, asked
    for i, (map_, stream) in enumerate(zip(fitted.maps, streams[3:])):
        inner: Metric = "l2" if metric in ("l2", "hamming") else "dot"
        if map_.streams:
            blocks = partial(mapped_blocks, batch, fitted.maps[:i], metric, on_zero)
            map_.fit_blocks(blocks, metric=inner, rng=stream)
        else:
            map_.fit(mapped, mapped_queries, metric=inner, rng=stream)
        mapped = map_.transform(mapped)
        mapped_queries = map_.transform_queries(mapped_queries) if mapped_queries is not None else None
    inner = MappedRows(fitted, batch).metric
    learned = plan.index.fresh().fit(mapped, n, metric=inner, as_given=as_given, rng=streams[-1])
    fitted.learned = learned if learned.is_fitted() else None
    coded = _about_origins(mapped, fitted.index, fitted.codec)
    fitted.codec.fit(given if as_given else coded, mapped_queries, rng=streams[1])
    _refuse_first(fitted)
    for step, stream in zip(plan.rescores, streams[3 + len(plan.maps) : -1]):
        codec = step.make_codec()
        of_input = step.of == "input"
        fine = x if of_input else mapped
        if step.of == "residual":
            some = _thinned(coded, codec)
            fine = some - fitted.codec.decode(fitted.codec.encode(some))
        codec.fit(fine, asked if of_input else mapped_queries, rng=stream)
        fitted.rescore_codecs.append(codec)
        _refuse(codec, fitted.scoring_again(len(fitted.rescore_codecs) - 1))
        if step.of == "residual" and codec.row_format() is None:
            raise BadPlan(f"{step}: expected a codec with a layout for residuals, such as lvq(bits=8)")
    return fitted


def _thinned(rows: F32, codec: Codec) -> F32:
    """Every so many-th row: as many as a codec of residuals is fitted on."""
    return rows[:: max(1, len(rows) // max(_RESIDUALS, codec.rows_wanted()))]


def _about_origins(rows: F32, index: Index, codec: Codec) -> F32:
    """Mapped rows; where codes are of what the index leaves of rows, that of some."""
    some = rows if index.origins(rows[:1]) is None else _thinned(rows, codec)
    origins = index.origins(some)
    return some if origins is None else some - origins


def _refuse(codec: Codec, metric: Metric) -> None:
    """A codec that cannot score under the metric is refused before encoding."""
    if metric not in codec.metrics:
        known = ", ".join(sorted(codec.metrics))
        raise Unsupported(f"{codec.name()}: scores under {known} only, got metric {metric!r}")


def _refuse_first(fitted: Fitted) -> None:
    """The same of what the index searches; and a codec with a layout that the index does not read."""
    (_, codec), index = fitted.searched, fitted.plan.index
    for each in (fitted.codec, codec):
        _refuse(each, fitted.scoring(fitted.codec, first=True))
    fmt = codec.row_format()
    if fmt is not None and fmt.layout not in index.layouts:
        known = ", ".join(sorted(index.layouts))
        raise BadPlan(f"{index.name()}: searches codes of the layouts {known}; {codec} has the layout {fmt.layout}")


def _float16_like(codec: Codec) -> Codec:
    """float16 for rows as wide as those that the codec decodes."""
    row = codec.decode(np.zeros((1, codec.bytes_per_row), np.uint8))
    made: Codec = rooms.load("codecs", "float16")()
    return made.fit(row, rng=np.random.default_rng(0))


def _ready_sample(given: NDArray[Any], metric: Metric, on_zero: str) -> F32:
    x = arrays.ready(given, metric, 0, "vectors", on_zero)  # fit_plan names bad rows of the whole
    if on_zero == "keep" and metric == "cosine":
        x = x[np.abs(x).max(axis=1) > 0]
        if not len(x):
            raise BadInput("vectors: cosine needs a direction, got zero vectors only")
    return x


def mapped_blocks(batch: Batch, maps: list[Map], metric: Metric, on_zero: str) -> Iterator[F32]:
    """Blocks of rows, checked, made ready for the metric and mapped."""
    start = 0
    for block in batch.blocks(arrays.block_rows(batch.shape[1])):
        x = arrays.ready(block, metric, start, "vectors", on_zero)
        start += block.shape[0]
        for step in maps:
            x = step.transform(x)
        yield x


def interleaved(codec: Codec, index: Index) -> bool:
    """Whether the main codes are kept in blocks of 32 interleaved rows."""
    fmt = codec.row_format()
    return index.interleaves and fmt is not None and in_blocks(fmt).layout in TABLE_LAYOUTS


def first_scorer(codec: Codec, metric: Metric, index: Index) -> CodecScorer:
    """How the main codes are scored, as they are kept."""
    scorer = codec.scorer(metric)
    return replace(scorer, blocks=True) if interleaved(codec, index) else scorer


@dataclass
class MappedRows:
    """The rows that an index is built of: checked, and as the Maps gave them."""

    fitted: Fitted
    batch: Batch
    on_zero: str = "raise"
    aside: Aside | None = None

    @property
    def n(self) -> int:
        """How many rows."""
        return self.fitted.n

    @property
    def metric(self) -> Metric:
        """How near they are: by dot product, or l2."""
        return self.fitted.nearness

    def blocks(self) -> Iterator[F32]:
        """Blocks of rows in their order."""
        return mapped_blocks(self.batch, self.fitted.maps, self.fitted.metric, self.on_zero)


def coded_columns(fitted: Fitted) -> list[tuple[str, Codec, bool]]:
    """The columns of codes: name, codec, and whether it is the one that is searched first."""
    name, codec = fitted.searched
    first = (
        [("codes", fitted.codec, True)] if name == "codes" else [("codes", fitted.codec, False), (name, codec, True)]
    )
    return first + [(f"rescore{i}", c, False) for i, c in enumerate(fitted.rescore_codecs)]


def column_shapes(fitted: Fitted) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of every column that searching needs: codes, and what the metric needs beside them."""
    out: dict[str, tuple[str, tuple[int, ...]]] = {}
    scored: dict[str, Metric] = {f"rescore{i}": fitted.scoring_again(i) for i in range(len(fitted.rescore_codecs))}
    scored[fitted.searched[0]] = fitted.scoring(fitted.codec, first=True)
    for name, codec, first in coded_columns(fitted):
        n, width = fitted.n, codec.bytes_per_row
        blocks = first and interleaved(codec, fitted.index)
        out[name] = ("|u1", (-(-n // 32), width, 32) if blocks else (n, width))
        if scored.get(name) in ("l2", "cosine"):
            out[f"{name}.terms"] = ("<f4", (n,))
    return out | {INDEX + name: kind for name, kind in sized_index(fitted).shapes(fitted.n).items()}


def sized_index(fitted: Fitted) -> Index:
    """The index, told how wide the rows are that it searches."""
    fmt = fitted.searched[1].row_format()
    return fitted.index if fmt is None else fitted.index.sized(fmt.dim)


def read_by_rows(name: str, index: Index) -> bool:
    """Whether searches look at single rows of a column, so that it is kept with checksums for each page."""
    if name.startswith(INDEX):
        return name.removeprefix(INDEX) in index.from_disk
    return (name.startswith("rescore") and not name.endswith(".terms")) or name in ("texts.bytes", "ids.bytes")


def encode_columns(
    fitted: Fitted,
    batch: Batch,
    sink: Sink,
    *,
    on_zero: str = "raise",
    progress: Progress | None = None,
    aside: Aside | None = None,
) -> None:
    """Encode every row into the sink's columns, and build the index, which may go on from what is kept aside."""
    encode_codes(fitted, batch, sink, on_zero=on_zero, progress=progress)
    if not fitted.index.orders:
        build_index(fitted, MappedRows(fitted, batch, on_zero, aside), sink, progress=progress)


def encode_codes(
    fitted: Fitted, batch: Batch, sink: Sink, *, on_zero: str = "raise", progress: Progress | None = None
) -> None:
    """Encode every row into the sink's columns: ``codes``, ``rescore<i>`` and what the metric needs beside."""
    n, index = fitted.n, fitted.index
    packed = interleaved(fitted.codec, index)
    made = build_index(fitted, MappedRows(fitted, batch, on_zero), sink, progress=progress) if index.orders else {}
    for name, (dtype, shape) in column_shapes(fitted).items():
        if not name.startswith(INDEX):
            sink.begin(name, dtype, shape, paged=read_by_rows(name, index))
    zeros: list[NDArray[np.int64]] = []
    start = 0
    for block in _in_order(batch, made.get("order"), arrays.block_rows(fitted.d)):
        x = arrays.ready(block, fitted.metric, start, "vectors", on_zero)
        if on_zero == "keep" and fitted.metric == "cosine":
            zeros.append(np.flatnonzero(np.abs(x).max(axis=1) == 0) + start)
        mapped = x
        for step in fitted.maps:
            mapped = step.transform(mapped)
        origins = index.origins_at(made, np.arange(start, start + len(x)))
        codes = fitted.codec.encode(block if fitted.as_given else mapped if origins is None else mapped - origins)
        sink.append("codes", kernels.pack(codes, fitted.codec.bytes_per_row) if packed else codes)
        terms = _append_searched(fitted, codes, origins, sink)
        for i, again in enumerate(fitted.plan.rescores):
            base = fitted.codec.decode(codes) if again.of == "residual" else None
            base = base if base is None or origins is None else base + origins
            _append_finer(fitted, i, x if again.of == "input" else mapped, base, terms, sink)
        start += block.shape[0]
        if progress:
            progress("encode", start, n)
    if start != n:
        raise BadInput(f"vectors: announced {n} rows, gave {start}")
    found = np.concatenate(zeros) if zeros else np.zeros(0, np.int64)
    fitted.zero_rows = np.sort(made["order"][found]).astype(np.int64) if index.orders else found


def _in_order(batch: Batch, order: NDArray[Any] | None, step: int) -> Iterator[NDArray[Any]]:
    """Blocks of rows as they come, or in an order of the index's own."""
    if order is None:
        return iter(batch.blocks(step))
    return (batch.take(order[i : i + step].astype(np.int64)) for i in range(0, len(order), step))


def build_index(
    fitted: Fitted, x: Vectors, sink: Sink, *, progress: Progress | None = None, made: Columns | None = None
) -> Columns:
    """Build the index of the rows, unless it was made already, and give its columns to the sink."""
    if made is None:
        made = fitted.index.build(x, rng=np.random.default_rng(fitted.seed), progress=progress)
    put_index(fitted, made, sink)
    return made


def put_index(fitted: Fitted, made: Columns, sink: Sink) -> None:
    """Give the columns of the index to the sink."""
    index = sized_index(fitted)
    for name, (dtype, shape) in index.shapes(fitted.n).items():
        sink.begin(INDEX + name, dtype, shape, paged=name in index.from_disk)
        sink.append(INDEX + name, made[name])


def _append_searched(fitted: Fitted, codes: U8, origins: F32 | None, sink: Sink) -> F32 | None:
    """What the index searches beside the codes: the terms of the metric; float16 where the codes have no layout."""
    name, codec = fitted.searched
    if name == WALKED:
        codes = codec.encode(fitted.codec.decode(codes))
        sink.append(name, codes)
    return _append_terms(sink, f"{name}.terms", codec, codes, fitted.scoring(fitted.codec, first=True), origins)


def _append_finer(fitted: Fitted, i: int, rows: F32, base: F32 | None, first: F32 | None, sink: Sink) -> None:
    """Codes of a re-scoring step; where there is a base, of what it leaves of rows whose terms were ``first``."""
    codec, name = fitted.rescore_codecs[i], f"rescore{i}"
    codes = codec.encode(rows if base is None else rows - base)
    sink.append(name, codes)
    metric = fitted.scoring_again(i)
    if base is None:
        _append_terms(sink, f"{name}.terms", codec, codes, metric)
    elif first is not None and metric == "l2":  # so that the scores of both parts add up
        sink.append(f"{name}.terms", row_terms(base + codec.decode(codes), "l2") - first)


def _append_terms(
    sink: Sink, name: str, codec: Codec, codes: U8, metric: Metric, origins: F32 | None = None
) -> F32 | None:
    scorer = codec.scorer(metric)
    terms = scorer.terms(codes) if origins is None else scorer.terms_about(codes, origins)
    if terms is not None:
        sink.append(name, terms)
    return terms
