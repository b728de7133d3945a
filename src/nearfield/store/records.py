"""What the records of a catalogue may say: each is checked as it is read, since a checksum tells nothing of sense.

``read_record`` is the only way in. Whoever reads a record after it may index and call it as the writer of it made it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from nearfield.core.errors import Corrupt, NearfieldError
from nearfield.core.protocols import METRICS
from nearfield.store import tokenizers
from nearfield.store.fields import Field, check_fields

SEGMENT_FILE = re.compile(r"[0-9a-f]{16}\.nf")
PLAN_FILE = re.compile(r"[0-9a-f]{16}")
MOST = 1 << 62  # far beyond any count of rows, versions or bytes, and a sum of two of them is of 64 bits
MOST_FIELDS = 2000 - 5  # columns of a table in SQLite, but for those that are none of vectors
_NUMBER = re.compile(r"0|[1-9]\d{0,3}")
_KINDS = ("", "int", "str")


def read_record(key: str, text: Any) -> Any:
    """The value of a record from its text; raises ``Corrupt`` saying what of it is not as this code writes it."""
    try:
        value = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):  # no JSON, or with numbers that Python does not read
        raise Corrupt(f"the record {key!r} is not one: expected JSON") from None
    try:
        _CHECKS.get(key, _expect_json)(value)
    except (_Wrong, NearfieldError) as error:  # the latter of parts that have checks of their own
        raise Corrupt(f"the record {key!r} is not one: {error}") from None
    return value


class _Wrong(Exception):
    """What a record should hold and does not."""


def _expect(sound: bool, what: str, got: Any) -> None:
    if not sound:
        shown = repr(got)
        raise _Wrong(f"expected {what}, got {shown if len(shown) <= 60 else shown[:59] + '…'}")


def is_count(value: Any) -> bool:
    """Whether this is a whole number that counts something."""
    return type(value) is int and 0 <= value < MOST


def _object(value: Any, keys: tuple[str, ...], what: str) -> None:
    _expect(isinstance(value, dict) and set(keys) <= value.keys(), f"{what} with {', '.join(keys)}", value)


def _expect_json(value: Any) -> None:
    _expect(not isinstance(value, bytes), "JSON", value)


def _head(value: Any) -> None:
    numbers, pairs = ("version", "generation", "next_row", "fields"), ("tail", "dead", "records")
    _object(value, (*numbers, *pairs, "ids"), "an object")
    for key in numbers:
        _expect(is_count(value[key]), f"a number as {key!r}", value[key])
    _expect(value["fields"] <= MOST_FIELDS, f"at most {MOST_FIELDS} fields", value["fields"])
    for key in pairs:
        pair = value[key]
        _expect(isinstance(pair, list) and len(pair) == 2 and all(map(is_count, pair)), f"two as {key!r}", pair)
    _expect(value["ids"] in _KINDS and isinstance(value["ids"], str), "int or str as 'ids'", value["ids"])


def _settings(value: Any) -> None:
    _object(value, ("metric", "on_zero", "tokenizer", "keep_queries"), "an object")
    _expect(value["metric"] in METRICS, f"one of {', '.join(METRICS)}", value["metric"])
    _expect(tokenizers.sound(value["tokenizer"]), "a tokenizer", value["tokenizer"])
    _expect(value["on_zero"] in ("raise", "keep"), "raise or keep", value["on_zero"])
    _expect(is_count(value["keep_queries"]), "a number of queries", value["keep_queries"])


def _fields(value: Any) -> None:
    _expect(isinstance(value, dict) and all(map(_NUMBER.fullmatch, value)), "numbered fields", value)
    names = set()
    for item in value.values():
        _object(item, ("name", "field"), "an object")
        _object(item["field"], ("kind", "dim"), "a field")
        kind, space = item["field"]["kind"], item["field"].get("space")
        _expect(kind in ("dense", "sparse", "ragged"), "a dense, sparse or ragged field", kind)
        _expect(space is None or isinstance(space, dict), "what made the vectors, as an object", space)
        recorded = (space or {}).get("encoder")
        _expect(recorded is None or isinstance(recorded, str), "the name of an encoder", recorded)
        for key in ("dtype", "metric"):
            _expect(isinstance(item["field"].get(key), str | None), f"text as {key!r}", item["field"].get(key))
        _expect(isinstance(item["name"], str) and item["name"] not in names, "names, each once", item["name"])
        names.add(item["name"])
        check_fields({item["name"]: Field.of(item["field"])})


def _segments(value: Any) -> None:
    keys = ("file", "n", "first", "last", "nbytes")
    _expect(isinstance(value, list), "a list", value)
    for item in value:
        _object(item, keys, "segments")
        _expect(set(item) == set(keys), f"segments with {', '.join(keys)} alone", item)
        named = isinstance(item["file"], str) and SEGMENT_FILE.fullmatch(item["file"])
        _expect(bool(named), "the name of a segment file", item["file"])
        n, first, last = item["n"], item["first"], item["last"]
        _expect(all(is_count(item[k]) for k in keys[1:]), "row numbers", item)
        _expect(n >= 1 and first + n - 1 <= last, "as many row numbers as rows", item)


def _plans(value: Any) -> None:
    _expect(isinstance(value, dict) and all(map(_NUMBER.fullmatch, value)), "plans of numbered fields", value)
    for item in value.values():
        _object(item, ("plan", "file"), "an object")
        _expect(isinstance(item["plan"], str), "the text of a plan", item["plan"])
        _expect(_names_plan(item["file"]), "the name of a file", item["file"])
        _expect(isinstance(item.get("keep"), str | None), "the type of the originals", item.get("keep"))


def _names_plan(value: Any) -> bool:
    return isinstance(value, str) and PLAN_FILE.fullmatch(value) is not None


def _garbage(value: Any) -> None:
    _expect(isinstance(value, list), "a list", value)
    for item in value:
        _object(item, ("file", "generation"), "files")
        named = isinstance(item["file"], str) and SEGMENT_FILE.fullmatch(item["file"])
        _expect(bool(named), "the name of a segment file", item["file"])
        _expect(is_count(item["generation"]), "a generation", item["generation"])


def _recoding(value: Any) -> None:
    _expect(isinstance(value, dict), "an object", value)
    if value:
        _object(value, ("field", "plan", "originals", "file"), "an object")
        _expect(_names_plan(value["file"]), "the name of a file", value["file"])


def _canaries(value: Any) -> None:
    _expect(isinstance(value, dict), "an object", value)
    if not value:
        return
    _object(value, ("field", "k", "queries", "ids"), "an object")
    queries, ids = value["queries"], value["ids"]
    _expect(isinstance(value["field"], str), "the name of a field", value["field"])
    _expect(is_count(value["k"]) and value["k"] > 0, "a number of rows", value["k"])
    _expect(isinstance(queries, list) and bool(queries), "queries", queries)
    _expect(isinstance(ids, list) and len(ids) == len(queries), "ids for each query", ids)
    for query, found in zip(queries, ids):
        _expect(isinstance(query, list) and len(query) == len(queries[0]), "queries of one width", query)
        _expect(all(map(_is_finite, query)), "finite numbers", query)
        _expect(isinstance(found, list) and all(type(i) in (int, str) for i in found), "ids", found)


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


_CHECKS: dict[str, Callable[[Any], None]] = {
    "head": _head, "settings": _settings, "fields": _fields, "segments": _segments, "plans": _plans,
    "garbage": _garbage, "recoding": _recoding, "canaries": _canaries,
}  # fmt: skip
