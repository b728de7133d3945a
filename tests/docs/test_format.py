"""A reader of ``.nf`` files written from docs/format.md alone: it imports nothing of the package that it checks."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf
from nearfield.core import rooms


class Reader:
    """The container, as the document describes it."""

    def __init__(self, path: Path) -> None:
        self.raw = path.read_bytes()
        magic, version, _, at, length, crc = struct.unpack_from("<8sIIQQI", self.raw)
        assert magic == b"NEARFLD\0"
        assert version in (1, 2)
        assert struct.unpack_from("<I", self.raw, 36)[0] == zlib.crc32(self.raw[:36])
        assert at + length == len(self.raw)
        footer = self.raw[at : at + length]
        assert zlib.crc32(footer) == crc
        told = json.loads(footer)
        assert told["kind"] == "packed"
        self.meta, self.columns = told["meta"], told["columns"]

    def column(self, name: str) -> np.ndarray:
        entry = self.columns[name]
        assert entry["offset"] % 64 == 0
        count = int(np.prod(entry["shape"], dtype=np.int64))
        out = np.frombuffer(self.raw, entry["dtype"], count, entry["offset"]).reshape(entry["shape"])
        data = out.tobytes()
        assert [zlib.crc32(data[i : i + (1 << 20)]) for i in range(0, len(data), 1 << 20)] == entry["crc"]
        return out

    def codes(self) -> np.ndarray:
        codes = self.column("codes")
        if codes.ndim == 3:
            codes = codes.transpose(0, 2, 1).reshape(-1, codes.shape[1])[: self.meta["n"]]
        return codes

    def strings(self, name: str) -> list[str]:
        data, ends = self.column(f"{name}.bytes").tobytes(), self.column(f"{name}.ends").tolist()
        return [data[a:b].decode() for a, b in zip([0, *ends[:-1]], ends)]

    def state(self, step: str) -> dict:
        prefix = f"state.{step}."
        arrays = {name[len(prefix) :]: self.column(name) for name in self.columns if name.startswith(prefix)}
        return self.meta["state"][step] | arrays


def small_float(codes: np.ndarray, exponent_bits: int, mantissa_bits: int) -> np.ndarray:
    bias = (1 << (exponent_bits - 1)) - 1
    body = codes & ((1 << (exponent_bits + mantissa_bits)) - 1)
    exponent, fraction = body >> mantissa_bits, (body & ((1 << mantissa_bits) - 1)) / 2.0**mantissa_bits
    size = np.where(exponent > 0, (1 + fraction) * 2.0 ** (exponent.astype(int) - bias), fraction * 2.0 ** (1 - bias))
    return np.where(codes >> (exponent_bits + mantissa_bits), -size, size)


def pieces(codes: np.ndarray, size: int) -> np.ndarray:
    """Fields of 1, 2, 4 or 8 bits, from the lowest bits of each byte up."""
    fields = [(codes >> shift) & ((1 << size) - 1) for shift in range(0, 8, size)]
    return np.stack(fields, axis=2).reshape(len(codes), -1)


def planes(codes: np.ndarray, bits: int, d: int) -> np.ndarray:
    out, at = np.zeros((len(codes), d)), 0
    for size in (4, 4, 4, 4, 2, 1):
        if size <= bits:
            bits -= size
            width = -(-d * size // 8)
            out += pieces(codes[:, at : at + width], size)[:, :d] * 2.0**bits
            at += width
    return out


def half(codes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(codes).view("<f2")[:, 0].astype(float)[:, None]


def indices(p: dict, parts: int, c: np.ndarray) -> np.ndarray:
    return pieces(c[:, : -(-parts * p["code_bits"] // 8)], p["code_bits"])[:, :parts]


def scaled(v: np.ndarray, p: dict, s: dict, c: np.ndarray) -> np.ndarray:
    own = half(c[:, -2:]) if p["scale"] == "row" else gain(p, s, c)
    return (s["middle_"] + s["step_"] * v) * own


def gain(p: dict, s: dict, c: np.ndarray) -> np.ndarray | float:
    return s["gain_low_"] + s["gain_step_"] * c[:, -1:].astype(float) if p["gain"] else 1.0


def even(p: dict) -> float:
    return 0.0 if p["scale"] in ("row", "fixed") else 0.5


def lvq(p: dict, s: dict, c: np.ndarray, d: int) -> np.ndarray:
    i = c[:, :d] if p["bits"] == 8 else planes(c, p["bits"] + (p["residual"] or 0), d)
    return s["mean_"] + s["unit_"] * (half(c[:, -4:-2]) * i + half(c[:, -2:]))


def rabitq(p: dict, s: dict, c: np.ndarray, d: int) -> np.ndarray:
    grid = planes(c, p["bits"], d) - (2 ** p["bits"] - 1) / 2
    return s["mean_"] + grid @ s["rotation_"].T * half(c[:, -4:-2]) * s["unit_"]


def pq(p: dict, s: dict, c: np.ndarray, d: int) -> np.ndarray:
    i = indices(p, p["parts"], c)
    return np.concatenate([book[i[:, j]] for j, book in enumerate(s["codebooks_"])], axis=1)[:, :d] * gain(p, s, c)


def rvq(p: dict, s: dict, c: np.ndarray, d: int) -> np.ndarray:
    i = indices(p, p["stages"], c)
    return sum(book[i[:, j]] for j, book in enumerate(s["codebooks_"])) * gain(p, s, c)


def recurrent_binary(p: dict, s: dict, c: np.ndarray, d: int) -> np.ndarray:
    values = planes(c, p["bits"], s["width_"]) * 2.0 ** (2 - p["bits"]) - 2.0 ** (1 - p["bits"]) * (2 ** p["bits"] - 1)
    return (values @ s["decoder_"] + s["shift_"]) * gain(p, s, c)


def transform(p: dict, s: dict, c: np.ndarray, d: int) -> np.ndarray:
    z, at = np.zeros((len(c), s["directions_"].shape[1])), 0
    nibbles = pieces(c, 4)
    for bits, shift, nibble, j in zip(*(s[name].tolist() for name in ("bits_", "shift_", "nibble_", "direction_"))):
        z[:, j] += s["levels_"][at : at + (1 << bits)][(nibbles[:, nibble] >> shift) & ((1 << bits) - 1)]
        at += 1 << bits
    return (z @ s["directions_"].T + s["mean_"]) * gain(p, s, c)


DECODERS = {
    "raw": lambda p, s, c, d: np.ascontiguousarray(c).view({"f32": "<f4"}[s["element_"]]),
    "float16": lambda p, s, c, d: np.ascontiguousarray(c).view("<f2").astype(float),
    "bfloat16": lambda p, s, c, d: (np.ascontiguousarray(c).view("<u2").astype("<u4") << 16).view("<f4"),
    "float8": lambda p, s, c, d: small_float(c, *((4, 3) if p["format"] == "e4m3" else (5, 2))) / s["factor_"],
    "int8": lambda p, s, c, d: scaled(c[:, :d].view("i1") + even(p), p, s, c),
    "int4": lambda p, s, c, d: scaled(pieces(c, 4)[:, :d] - 8.0 + even(p), p, s, c),
    "float4": lambda p, s, c, d: scaled(small_float(pieces(c, 4)[:, :d], 2, 1), p, s, c),
    "lvq": lvq,
    "binary": lambda p, s, c, d: (s["mean_"] + (pieces(c, 1)[:, :d] * 2.0 - 1) * s["levels_"]) * gain(p, s, c),
    "itq": lambda p, s, c, d: (
        (s["mean_"] + ((pieces(c, 1)[:, : s["bits_"]] * 2.0 - 1) * s["levels_"]) @ s["directions_"]) * gain(p, s, c)
    ),
    "rabitq": rabitq,
    "pq": pq,
    "opq": lambda p, s, c, d: pq(p, s, c, len(s["back_"])) @ s["back_"],
    "rvq": rvq,
    "recurrent_binary": recurrent_binary,
    "transform": transform,
}  # fmt: skip
EXAMPLES = [example for name in DECODERS for example in rooms.load("codecs", name).examples()]


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return (
        np.random.default_rng(5).normal(size=(321, 19)).astype(np.float32) * np.linspace(2, 0.2, 19, dtype="f4") + 0.1
    )


@pytest.mark.parametrize("codec", EXAMPLES, ids=str)
def test_the_document_says_how_rows_are_decoded(codec, rows: np.ndarray, tmp_path: Path) -> None:
    if codec.name() == "recurrent_binary":
        pytest.importorskip("torch")
    packed = nf.Plan([codec]).fit(rows, metric="dot", out=tmp_path / "x.nf")
    reader = Reader(tmp_path / "x.nf")
    decoded = DECODERS[codec.name()](codec.parameters(), reader.state("codec"), reader.codes(), reader.meta["d"])
    assert decoded.shape == rows.shape
    assert np.allclose(decoded, packed.decode(), atol=2e-5)


@pytest.mark.parametrize("width", [1, 7, 48])
def test_the_document_says_how_bits_lie_and_score(width: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(width)
    given, query = (rng.integers(0, 256, (n, width), dtype=np.uint8) for n in (321, 1))
    nf.Plan("bits()").fit(given, metric="hamming", out=tmp_path / "x.nf")
    reader = Reader(tmp_path / "x.nf")
    assert np.array_equal(reader.codes(), given)
    distances = np.unpackbits(given ^ query, axis=1).sum(axis=1, dtype=np.int64)
    hits = nf.load(tmp_path / "x.nf").search(query, k=30)
    assert np.array_equal(hits.rows[0], np.argsort(distances, kind="stable")[:30])
    assert np.array_equal(hits.scores[0], -np.sort(distances)[:30])


def test_every_codec_is_in_the_document() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs/format.md").read_text(encoding="utf-8")
    for name in rooms.catalog("codecs"):
        assert f"| `{name}` |" in text, f"docs/format.md does not say how rows of {name} are decoded"


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_the_document_says_how_scores_come_about(metric: str, rows: np.ndarray, tmp_path: Path) -> None:
    plan = nf.Plan("pca(dim=12) | transform(bytes=9)")
    plan.fit(rows, metric=metric, out=tmp_path / "x.nf")
    reader = Reader(tmp_path / "x.nf")
    query = rows[3] / np.linalg.norm(rows[3]) if metric == "cosine" else rows[3]
    state = reader.state("map0")
    y = transform({"gain": True}, reader.state("codec"), reader.codes(), 12)
    if state["shifted_queries_"]:
        mapped, bias = state["components_"] @ (query - state["mean_"]), 0.0
    else:
        mapped, bias = state["components_"] @ query, query @ state["mean_"]
    scores = y @ mapped + bias
    if metric == "l2":
        scores = 2 * (y @ mapped) - reader.column("codes.terms") - mapped @ mapped
    hits = nf.load(tmp_path / "x.nf").search(rows[3:4], k=20)
    assert np.allclose(hits.scores[0], scores[hits.rows[0]], atol=2e-3 * np.abs(scores).max())
    assert np.allclose(np.sort(scores)[::-1][:20], hits.scores[0], atol=2e-3 * np.abs(scores).max())


def test_the_document_says_how_ids_texts_and_rescore_columns_lie(rows: np.ndarray, tmp_path: Path) -> None:
    names, texts = [f"row-{i}" for i in range(len(rows))], [f"text {i} \u2603" * (i % 3) for i in range(len(rows))]
    plan = nf.Plan("binary() | rescore(codec='float16', depth=5)")
    plan.fit(rows, ids=names, texts=texts, out=tmp_path / "x.nf")
    reader = Reader(tmp_path / "x.nf")
    assert reader.strings("ids") == names
    assert reader.strings("texts") == texts
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert np.allclose(np.ascontiguousarray(reader.column("rescore0")).view("<f2"), unit, atol=1e-3)
    assert (reader.meta["plan"], reader.meta["n"], reader.meta["d"]) == (str(plan), *rows.shape)
    nf.Plan("float16()").fit(rows, ids=range(7, 7 + len(rows)), out=tmp_path / "y.nf")
    assert Reader(tmp_path / "y.nf").column("ids").tolist() == list(range(7, 7 + len(rows)))
