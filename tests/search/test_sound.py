"""Files whose checksums hold but whose contents do not: each is refused in one line, and none breaks a search."""

from __future__ import annotations

import json
import random
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.core import rooms
from nearfield.core.errors import Corrupt, MissingExtra, NearfieldError
from nearfield.store.segments import Segment, SegmentWriter

RNG = np.random.default_rng(7)
X = RNG.normal(size=(64, 16)).astype(np.float32)
Q = RNG.normal(size=(3, 16)).astype(np.float32)
PLANS = [
    ("pca(dim=8) | int8() | rescore(codec='lvq')", "cosine"),
    ("pca(dim=8) | float16()", "l2"),
    ("transform(bytes=6)", "cosine"),
    ("center() | rabitq(bits=2) | rescore(codec='float16', of='mapped')", "l2"),
    ("opq(parts=4, code_bits=4)", "dot"),
    ("whiten(dim=8) | binary() | rescore(codec='raw')", "dot"),
    ("raw()", "cosine"),
]
SPLIT = struct.Struct("<8sIIQQI")


def footer(data: bytes) -> dict[str, Any]:
    *_, at, length, _ = SPLIT.unpack_from(data)
    return json.loads(data[at : at + length])


def with_footer(data: bytes, told: Any) -> bytes:
    """The same columns under another footer, with checksums that hold."""
    magic, version, zero, at, _, _ = SPLIT.unpack_from(data)
    text = json.dumps(told).encode()
    head = SPLIT.pack(magic, version, zero, at, len(text), zlib.crc32(text))
    return head + struct.pack("<I", zlib.crc32(head)) + data[40:at] + text


def fitted(path: Path, plan: str = "raw()", metric: str = "cosine", **given: Any) -> Path:
    names, texts = [f"id {i}" for i in range(len(X))], [f"text {i}" for i in range(len(X))]
    nf.Plan(plan).fit(X, metric=metric, ids=names, texts=texts, **given).save(path)
    return path


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON document."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, value in inner for place in [(node, key), *places(value)]]


def spoilt(told: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """A copy of a footer in which one thing is dropped or is something else."""
    made = json.loads(json.dumps(told))
    container, key = draw.choice(places(made))
    old = container[key]
    others: list[Any] = [
        None, True, "", "text", [], [1, 2], {}, {"a": 1}, 0, 1, -1, 7, 2.5, -1e300, 1e300, 2**31, 2**63, -(2**63),
        10**30, float("nan"), float("inf"), "pca(dim=4) | no_such()", "pca(dim=5) | lvq(bits=4)", "l2", "hamming",
    ]  # fmt: skip
    if draw.random() < 0.2:
        del container[key]
    elif isinstance(old, (int, float)) and not isinstance(old, bool) and draw.random() < 0.5:
        container[key] = draw.choice([old + 1, old - 1, -old, old * 2, old * 10**9, old + 0.5, str(old)])
    else:
        container[key] = draw.choice(others)
    return made


def survives(path: Path) -> str:
    """Load, look and search: the message of the family where it was refused, "" where it went well."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            packed = nf.load(path)
            packed.verify()
            _ = packed.bytes_per_row, packed.shared_bytes, packed.nbytes, repr(packed)
            q = np.zeros((1, packed.dim // 8), np.uint8) if packed.metric == "hamming" else Q[:, : packed.dim]
            packed.search(q, k=70).to_dicts()
    except NearfieldError as error:
        assert "\n" not in str(error)
        assert str(error)
        return str(error)
    return ""


@pytest.mark.parametrize(("plan", "metric"), PLANS)
def test_a_wrong_description_never_escapes_the_family(plan: str, metric: str, tmp_path: Path) -> None:
    whole = fitted(tmp_path / "a.nf", plan, metric).read_bytes()
    told = footer(whole)
    draw = random.Random(f"{plan} {metric}")
    refused = 0
    for _ in range(150):
        (tmp_path / "b.nf").write_bytes(with_footer(whole, spoilt(told, draw)))
        refused += bool(survives(tmp_path / "b.nf"))
    assert refused > 70


def change(path: Path, spoil: Callable[[dict[str, Any]], Any]) -> None:
    """Spoil the description of a file, checksums put right."""
    whole = path.read_bytes()
    told = footer(whole)
    spoil(told)
    path.write_bytes(with_footer(whole, told))


WRONG: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no plan": (lambda f: f["meta"].pop("plan"), "'plan' is missing"),
    "plan of a number": (lambda f: f["meta"].update(plan=3), "plan: expected str, got int"),
    "unknown method": (lambda f: f["meta"].update(plan="no_such()"), "no method 'no_such'"),
    "bad parameter": (lambda f: f["meta"].update(plan="pca(dim=-3) | int8()"), "pca"),
    "no metric": (lambda f: f["meta"].update(metric="euclid"), "metric: expected one of"),
    "more rows": (lambda f: f["meta"].update(n=65), "'codes' should be"),
    "no rows": (lambda f: f["meta"].update(n=0), "n and d"),
    "rows of a float": (lambda f: f["meta"].update(n=64.0), "n: expected int"),
    "rows of true": (lambda f: f["meta"].update(n=True), "n: expected int, got bool"),
    "another width": (lambda f: f["meta"].update(d=15), "width"),
    "immense width": (lambda f: f["meta"].update(d=1 << 60), "n and d"),
    "no state": (lambda f: f["meta"].pop("state"), "'state' is missing"),
    "no state of a step": (lambda f: f["meta"]["state"].pop("map0"), "map0"),
    "state of another type": (lambda f: f["meta"]["state"].update(codec=[1]), "codec"),
    "a scalar of another type": (lambda f: f["meta"]["state"]["codec"].update(gain_low_="x"), "cannot be used"),
    "encoder of a number": (lambda f: f["meta"].update(encoder=[1]), "encoder: expected"),
    "space of a text": (lambda f: f["meta"].update(space="x"), "space: expected"),
    "no terms": (lambda f: f["columns"].pop("codes.terms"), "'codes.terms' is missing"),
    "no codes": (lambda f: f["columns"].pop("codes"), "'codes' is missing"),
    "no ends": (lambda f: f["columns"].pop("texts.ends"), "'texts.ends' is missing"),
    "no bytes": (lambda f: f["columns"].pop("ids.bytes"), "'ids.bytes' is missing"),
    "a column of a number": (lambda f: f["columns"].update(codes=3), "column 'codes'"),
    "checksums of a number": (lambda f: f["columns"]["codes"].update(crc=3), "column 'codes'"),
    "columns of a list": (lambda f: f.update(columns=[]), "lacks columns"),
    "odd dtype": (lambda f: f["columns"]["codes"].update(dtype="O"), "dtypes"),
    "nested dtype": (lambda f: f["columns"]["codes"].update(dtype=["|u1"]), "dtypes"),
    "odd offset": (lambda f: f["columns"]["codes"].update(offset=65), "does not lie"),
    "fewer dimensions": (lambda f: f["columns"]["codes"].update(shape=[64 * 9]), "'codes' should be"),
    "immense and empty": (lambda f: f["columns"]["ids.bytes"].update(shape=[1 << 62, 1 << 62, 0], crc=[]), "shape"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_with_the_name_of_the_file(case: str, tmp_path: Path) -> None:
    spoil, words = WRONG[case]
    change(fitted(tmp_path / "a.nf", "pca(dim=8) | int8()", "l2"), spoil)
    with pytest.raises(Corrupt) as caught:
        nf.load(tmp_path / "a.nf")
    assert "a.nf: " in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def with_columns(path: Path, **changed: np.ndarray) -> None:
    """Write other arrays into a file; ``__`` stands for a dot."""
    segment = Segment(path, "packed")
    arrays = {name: segment.column(name).copy() for name in segment.names()}
    arrays |= {name.replace("__", "."): array for name, array in changed.items()}
    with SegmentWriter(path, "packed") as writer:
        for name, array in arrays.items():
            writer.add(name, array)
        writer.finish(segment.meta)


N = len(X)
ENDS = np.arange(1, N + 1, dtype=np.int64)
ARRAYS: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "codes of another type": ({"codes": np.zeros((N, 8), np.int8)}, "'codes'"),
    "terms of another type": ({"codes__terms": np.zeros(N, np.float64)}, "'codes.terms'"),
    "too few ids": ({"ids": np.arange(N - 1)}, "'ids'"),
    "ids of floats": ({"ids": np.arange(N, dtype=np.float64)}, "'ids'"),
    "ends of int32": ({"texts__ends": ENDS.astype(np.int32)}, "'texts.ends'"),
    "too few ends": ({"texts__ends": ENDS[1:]}, "'texts.ends'"),
    "descending ends": ({"texts__ends": ENDS[::-1].copy()}, "ascending"),
    "ends past the end": ({"texts__ends": ENDS + (1 << 40)}, "ascending"),
    "ends that wrap": ({"ids__ends": np.where(ENDS > 9, -(1 << 62), ENDS * (1 << 56))}, "ascending"),
    "zeros past the end": ({"zeros": np.array([3, N])}, "'zeros'"),
    "zeros of floats": ({"zeros": np.array([3.0])}, "'zeros'"),
    "descending zeros": ({"zeros": np.array([5, 3])}, "'zeros'"),
    "mean of another length": ({"state__map0__mean_": np.zeros(3, np.float32)}, "width 3"),
    "matrix of one axis": ({"state__map0__components_": np.zeros(8, np.float32)}, "(8,)"),
    "wider matrix": ({"state__map0__components_": np.zeros((9, 16), np.float32)}, ""),
    "matrix of NaN": ({"state__map0__components_": np.full((8, 16), np.nan, np.float32)}, "NaN"),
    "levels of one": ({"state__codec__step_": np.zeros(5, np.float32)}, ""),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_that_do_not_fit_are_refused(case: str, tmp_path: Path) -> None:
    arrays, words = ARRAYS[case]
    with_columns(fitted(tmp_path / "a.nf", "pca(dim=8) | int8()", "l2"), **arrays)
    told = survives(tmp_path / "a.nf")
    assert "a.nf: " in told
    assert words in told


@pytest.mark.parametrize("room", ["maps", "codecs"])
def test_every_sound_file_is_opened(room: str, tmp_path: Path) -> None:
    x = RNG.normal(size=(300, 24)).astype(np.float32)
    for name in rooms.catalog(room):
        for i, method in enumerate(rooms.load(room, name).examples()[:1]):
            given = (np.packbits(x > 0, axis=1), "hamming") if name == "bits" else (x, "l2")
            try:
                packed = nf.Plan([method]).fit(given[0], metric=given[1], queries=given[0][:50])
            except MissingExtra:
                continue
            packed.save(tmp_path / f"{name}{i}.nf")
            back = nf.load(tmp_path / f"{name}{i}.nf")
            np.testing.assert_array_equal(back.search(given[0][:2]).rows, packed.search(given[0][:2]).rows)


def test_bytes_between_columns_are_verified(tmp_path: Path) -> None:
    whole = fitted(tmp_path / "a.nf", "pca(dim=5) | float16()").read_bytes()
    used = np.zeros(len(whole), bool)
    used[:40] = True
    used[SPLIT.unpack_from(whole)[3] :] = True
    for entry in footer(whole)["columns"].values():
        size = int(np.prod(entry["shape"])) * np.dtype(entry["dtype"]).itemsize
        used[entry["offset"] : entry["offset"] + size] = True
    gaps = np.flatnonzero(~used)
    assert gaps.size > 24
    for at in gaps:
        (tmp_path / "a.nf").write_bytes(whole[:at] + b"\1" + whole[at + 1 :])
        with pytest.raises(Corrupt, match=f"a.nf: damaged at offset {at}: expected zeros"):
            nf.load(tmp_path / "a.nf").verify()
