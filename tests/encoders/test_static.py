"""The static encoder: what it promises about its rows, its size and its start."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import nearfield.encoders.static as module
from nearfield.core.errors import BadInput, Corrupt
from nearfield.encoders.static import Static

TEXTS = [
    "warm socks",
    "A cosy pair of woollen stockings.",
    "The tax law of 1986 was amended.",
    "naïve café 東京 😀",
    "x" * 500,
    "word " * 5000,
]
UNKNOWN = ["", "   ", "?!...", "\u1c7e\u1c7f\u1c6e", "😀👍"]


@pytest.fixture(scope="module")
def encoder() -> Static:
    return Static()


def run(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return done.stdout


def test_rows_are_unit_float32(encoder: Static) -> None:
    vectors = encoder.encode(TEXTS + UNKNOWN)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS + UNKNOWN), encoder.dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_near_texts_are_near(encoder: Static) -> None:
    socks, stockings, tax = encoder.encode(TEXTS[:3])
    assert socks @ stockings > socks @ tax + 0.2


def test_texts_without_a_known_word_share_the_fallback(encoder: Static) -> None:
    vectors = encoder.encode(UNKNOWN)
    assert (vectors == vectors[0]).all()
    assert not (encoder.encode(["socks"])[0] == vectors[0]).all()


def test_unknown_words_do_not_move_a_text(encoder: Static) -> None:
    plain, mixed = encoder.encode(["warm socks", "warm \u1c7e\u1c7f socks !"])
    assert (plain == mixed).all()


def test_rows_depend_on_their_text_only(encoder: Static) -> None:
    together = encoder.encode(TEXTS)
    alone = np.concatenate([Static().encode([t]) for t in reversed(TEXTS)])[::-1]
    assert (together == alone).all()
    assert (encoder.encode(iter(TEXTS)) == together).all()
    assert (encoder.encode_queries(TEXTS) == together).all()


def test_word_cache_overflow_changes_nothing(encoder: Static, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"word{i} thing{i * 7} {i}" for i in range(600)]
    expected = encoder.encode(texts)
    monkeypatch.setattr(module, "_CACHED", 64)
    assert (Static().encode(texts) == expected).all()


def test_same_bytes_in_a_fresh_process(encoder: Static) -> None:
    code = (
        "import hashlib; from nearfield.encoders.static import Static; "
        f"print(hashlib.sha256(Static().encode({TEXTS + UNKNOWN!a}).tobytes()).hexdigest())"
    )
    first, second = run(code), run(code)
    assert first == second


def test_threads_may_share_an_encoder() -> None:
    encoder = Static()
    texts = [[f"{w}{i} {w}" for w in ("sock", "tax", "wing")] for i in range(40)]
    got: dict[int, np.ndarray] = {}
    threads = [threading.Thread(target=lambda i=i: got.update({i: encoder.encode(texts[i])})) for i in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((got[i] == Static().encode(texts[i])).all() for i in (0, 19, 39))


def test_no_texts_give_no_rows(encoder: Static) -> None:
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_one_string_is_refused(encoder: Static) -> None:
    with pytest.raises(BadInput, match="put it in a list"):
        encoder.encode("warm socks")


def test_what_is_no_string_is_refused_by_its_place(encoder: Static) -> None:
    with pytest.raises(BadInput, match="got int as text 300"):
        encoder.encode(["socks"] * 300 + [7])  # type: ignore[list-item]


def test_progress_hears_of_every_block(encoder: Static) -> None:
    heard: list[tuple[str, int, int]] = []
    encoder.encode(["socks"] * 600, progress=lambda *told: heard.append(told))
    assert heard[-1] == ("encode", 600, 600)
    assert [done for _, done, _ in heard] == [256, 512, 600]


def test_space_names_the_model(encoder: Static) -> None:
    assert encoder.space == {
        "model": "nearfield-static-minilm",
        "revision": encoder.revision,
        "dim": encoder.dim,
        "metric": "cosine",
        "normalised": True,
    }


def test_a_damaged_table_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "static.npz"
    for content in (b"", b"not a table", module._FILE.read_bytes()[:100_000]):
        damaged.write_bytes(content)
        monkeypatch.setattr(module, "_FILE", damaged)
        with pytest.raises(Corrupt, match=r"static\.npz"):
            Static()
        monkeypatch.undo()
    monkeypatch.setattr(module, "_FILE", tmp_path / "missing.npz")
    with pytest.raises(Corrupt, match=r"missing\.npz"):
        Static()


def test_data_folder_is_small_and_licensed() -> None:
    folder = module._FILE.parent
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) <= 8 * 2**20
    assert "Apache License" in (folder / "LICENSE-all-MiniLM-L6-v2").read_text()
