"""Does a Packed answer as it says? Every row is looked at, where opening a file looks at its description alone.

A row whose codes or terms are NaN is never found, one whose terms are of another row is found in its place. What can be
worked out again of the codes is, and compared; where the rows themselves are at hand, so are the codes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfield.core.arrays import block_rows, ready
from nearfield.core.codecs import Codec, row_terms
from nearfield.core.errors import Corrupt
from nearfield.core.protocols import F32, I64, U8
from nearfield.search.fit import INDEX, WALKED, coded_columns, interleaved, sized_index
from nearfield.search.state import State

_CLOSE = 1e-3  # of the largest term of a row: float32 sums in another order differ by less
_WORSE, _SLACK = (
    1.25,
    0.05,
)  # codes of the same row, made elsewhere, err by so much more, and by this share of its length
_ROUNDED = 0.01  # of the length of a row: float16 is nearer
Rows = Callable[[I64], Any]  # the vectors, as they came, of some rows


def check_whole(state: State, rows: Rows | None = None) -> None:
    """Raise ``Corrupt`` unless codes, terms, ids, texts and index are such that searches find what is there.

    ``rows`` gives the vectors ``[r, d]`` of row numbers as they came, where those were kept: codes are then compared
    with what the codec makes of them.
    """
    fitted = state.fitted
    _check_names(state)
    gone = np.zeros(fitted.n, np.bool_)
    if fitted.mended:
        gone[fitted.gone] = True
    own = {name.removeprefix(INDEX): column for name, column in state.columns.items() if name.startswith(INDEX)}
    sized_index(fitted).check(fitted.n, own, gone)
    step = block_rows(fitted.d)
    with np.errstate(all="ignore"):
        for start in range(0, fitted.n, step):
            places = np.arange(start, min(start + step, fitted.n))
            _Block(state, own, places).check(None if rows is None else rows(_rows_at(own, places)))


def _rows_at(own: dict[str, Any], places: I64) -> I64:
    """The numbers of the rows that lie at these places."""
    return own["order"][places].astype(np.int64) if "order" in own else places


def _check_names(state: State) -> None:
    """Ids are each there once; ids and texts are UTF-8."""
    for name in ("ids", "texts"):
        if f"{name}.bytes" not in state.columns:
            continue
        data, ends = state.columns[f"{name}.bytes"], state.columns[f"{name}.ends"].tolist()
        whole = data.tobytes()
        try:
            found = [whole[a:b].decode() for a, b in zip([0, *ends], ends)]
        except UnicodeDecodeError:
            raise Corrupt(f"{name}: expected UTF-8") from None
        if name == "ids":
            _check_once(found, state)
    if "ids" in state.columns:
        _check_once(state.columns["ids"].tolist(), state)


def _check_once(ids: list[Any], state: State) -> None:
    there = ids if state.live is None else [ids[i] for i in np.flatnonzero(state.live).tolist()]
    if len(set(there)) < len(there):
        raise Corrupt("ids: expected each once, got one of them again")


class _Block:
    """Some rows at successive places: their codes, and what is worked out of them."""

    def __init__(self, state: State, own: dict[str, Any], places: I64) -> None:
        self.fitted, self.columns, self.places = state.fitted, state.columns, places
        self.origins = self.fitted.index.origins_at(own, places)

    def codes(self, name: str, *, blocks: bool) -> U8:
        """The codes of a column, one row after another."""
        stored, at = self.columns[name], self.places
        return np.ascontiguousarray(stored[at // 32, :, at % 32] if blocks else stored[at])

    def check(self, given: Any) -> None:
        """Raise ``Corrupt`` naming the column that is wrong, and the first row of it that is."""
        fitted = self.fitted
        x, mapped = self._mapped(given)
        base: F32 | None = None
        first: F32 | None = None
        for name, codec, searched in coded_columns(fitted):
            codes = self.codes(name, blocks=searched and interleaved(codec, fitted.index))
            decoded = codec.decode(codes)
            self._refuse(name, ~np.isfinite(decoded).all(axis=1), "codes of finite rows")
            if name == "codes":
                base = decoded
                if fitted.as_given and given is not None:
                    self._compare_given(name, decoded, np.asarray(given))
                else:
                    self._compare(name, codec, decoded, self._about_origin(mapped))
            elif name == WALKED:
                self._compare(name, codec, decoded, base)
            else:
                self._check_finer(name, codec, decoded, x, mapped, base, first)
                continue
            if searched:
                first = self._check_first(name, codec, codes)

    def _mapped(self, given: Any) -> tuple[F32 | None, F32 | None]:
        if given is None:
            return None, None
        fitted = self.fitted
        x = ready(np.asarray(given), fitted.metric, 0, "vectors", "keep")
        x = x if fitted.origin is None else np.asarray(x - fitted.origin, np.float32)
        mapped = x
        for step in fitted.maps:
            mapped = step.transform(mapped)
        return x, mapped

    def _about_origin(self, rows: F32 | None) -> F32 | None:
        return rows if rows is None or self.origins is None else np.asarray(rows - self.origins, np.float32)

    def _check_first(self, name: str, codec: Codec, codes: U8) -> F32 | None:
        """The terms of what is searched first, worked out again; those that are there."""
        scorer = codec.scorer(self.fitted.scoring(self.fitted.codec, first=True))
        terms = scorer.terms(codes) if self.origins is None else scorer.terms_about(codes, self.origins)
        return self._check_terms(name, terms)

    def _check_finer(
        self, name: str, codec: Codec, decoded: F32, x: F32 | None, mapped: F32 | None, base: F32 | None,
        first: F32 | None,
    ) -> None:  # fmt: skip
        number = int(name.removeprefix("rescore"))
        of, metric = self.fitted.plan.rescores[number].of, self.fitted.scoring_again(number)
        if of != "residual" or base is None:
            self._compare(name, codec, decoded, x if of == "input" else mapped)
            self._check_terms(name, codec.scorer(metric).terms(self.codes(name, blocks=False)))
            return
        base = base if self.origins is None else base + self.origins
        self._compare(name, codec, decoded, None if mapped is None else np.asarray(mapped - base, np.float32))
        if metric == "l2" and first is not None:
            self._check_terms(name, row_terms(base + decoded, "l2") - first, np.abs(first))

    def _check_terms(self, name: str, wanted: F32 | None, beside: F32 | float = 0.0) -> F32 | None:
        """Compare terms with what they should be, which may be the rest of numbers as large as those ``beside``."""
        found = self.columns.get(f"{name}.terms")
        if found is None or wanted is None:
            return None
        there = np.asarray(found[self.places])
        scale = np.maximum(np.abs(wanted) + beside, float(np.abs(wanted).mean()))
        wrong = ~np.isfinite(there) | (np.abs(there - wanted) > _CLOSE * scale)
        self._refuse(f"{name}.terms", wrong, "what the codes give")
        return there

    def _compare_given(self, name: str, decoded: F32, given: NDArray[Any]) -> None:
        """Rows as they came, or rounded to float16 since."""
        hamming = self.fitted.metric == "hamming"
        rows = ready(given, "hamming") if hamming else np.asarray(given, np.float32)
        wrong = np.linalg.norm(decoded - rows, axis=1) > _ROUNDED * np.linalg.norm(rows, axis=1)
        self._refuse(name, wrong, "the rows as they came")

    def _compare(self, name: str, codec: Codec, decoded: F32, target: F32 | None) -> None:
        """Codes err as much as those that the codec makes now, about: more where they are of another row."""
        if target is None:
            return
        fresh = codec.decode(codec.encode(target))
        slack = _SLACK * np.linalg.norm(target, axis=1)
        most = _WORSE * np.linalg.norm(fresh - target, axis=1) + slack
        self._refuse(name, np.linalg.norm(decoded - target, axis=1) > most, "the codes of its rows")

    def _refuse(self, name: str, wrong: Any, expected: str) -> None:
        if wrong.any():
            at = int(self.places[np.flatnonzero(wrong)[0]])
            raise Corrupt(f"the column {name!r}: expected {expected}, got others at place {at}")
