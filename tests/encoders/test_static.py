"""The static encoder: what it promises about its rows, its size and its start."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf
import nearfield.encoders.static as module
from nearfield.core.errors import BadInput, BadParameter, Corrupt, Unsupported
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
    whole = (module._FOLDER / "static-2.npz").read_bytes()
    monkeypatch.setattr(module, "_FOLDER", tmp_path)
    with pytest.raises(Corrupt, match=r"static-2\.npz, found none"):
        Static()
    for content in (b"", b"not a table", whole[:100_000]):
        (tmp_path / "static-2.npz").write_bytes(content)
        with pytest.raises(Corrupt, match=r"static-2\.npz"):
            Static()


def test_data_folder_is_small_and_licensed() -> None:
    folder = module._FOLDER
    sizes = {p.name: p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    assert sorted(sizes) == ["LICENSE-all-MiniLM-L6-v2", *sorted(module._FILES.values())]
    assert max(sizes.values()) <= 8_000_000
    assert "Apache License" in (folder / "LICENSE-all-MiniLM-L6-v2").read_text()


def test_the_first_revision_still_gives_its_vectors() -> None:
    vectors = Static("1").encode(["warm socks", "The tax law of 1986 was amended.", "boundary layer flow"])
    expected = [
        [-0.0668, 0.1852, -0.0852, -0.1332, 0.1404, -0.0507],
        [-0.0112, -0.1741, -0.0816, -0.0038, -0.205, 0.0775],
        [0.0292, -0.0068, -0.0284, 0.2061, 0.1893, -0.0687],
    ]
    np.testing.assert_allclose(vectors[:, :6], expected, atol=1e-4)


def test_the_newest_revision_is_the_default(encoder: Static) -> None:
    assert encoder.revision == Static.revisions[-1]
    assert [Static(revision).revision for revision in Static.revisions] == list(Static.revisions)
    with pytest.raises(BadParameter, match=r"static\(revision=\) expects one of 1, 2, got '9'"):
        Static("9")


def test_frequent_words_have_a_row_of_their_own(encoder: Static) -> None:
    word = next(iter(encoder._words))
    row = encoder._decode(np.array(encoder._words[word]))[0]
    np.testing.assert_allclose(encoder.encode([word])[0], row / np.linalg.norm(row), atol=1e-6)
    assert len(encoder._pieces.pieces(word)) > 1


NOTES = ["warm socks for the winter", "a bowl of tomato soup"]


def test_a_collection_of_an_older_revision_is_searched_and_grows_by_it(tmp_path: Path) -> None:
    with nf.open(tmp_path / "notes", encoder=Static("1")) as c:
        c.upsert(["a", "b"], texts=NOTES)
    for given in (None, "static", Static("1")):
        with nf.open(tmp_path / "notes", encoder=given) as c:
            c.upsert(["c"], texts=["woollen stockings"])
            assert c.search("woollen stockings", k=1).ids == ["c"]
            np.testing.assert_allclose(c.get(["c"])[0].vector, Static("1").encode(["woollen stockings"])[0], atol=1e-6)


def test_revisions_are_not_mixed_in_a_collection(tmp_path: Path, encoder: Static) -> None:
    with nf.open(tmp_path / "notes", encoder=Static("1")) as c:
        c.upsert(["a", "b"], texts=NOTES)
        for claimed in (encoder, "static"):  # vectors that come with the name are those of the newest revision
            with pytest.raises(Unsupported, match=r"revision '1'.*revision '2'"):
                c.upsert(["c"], encoder.encode(["socks"]), encoder=claimed)
    with pytest.raises(Unsupported, match=r"revision '1'.*revision '2'.*same model and revision"):
        nf.open(tmp_path / "notes", encoder=encoder)


def test_a_file_of_an_older_revision_is_searched_by_it(tmp_path: Path, encoder: Static) -> None:
    nf.Plan("raw()").fit(texts=NOTES, encoder=Static("1")).save(tmp_path / "a.nf")
    packed = nf.load(tmp_path / "a.nf")
    with pytest.raises(Unsupported, match=r"revision '1'.*revision '2'"):
        packed.search(["soup"], k=1, encoder=encoder)
    expected = Static("1").encode(["soup"]) @ Static("1").encode(NOTES).T
    for given in (None, "static", Static("1")):  # a refused encoder leaves nothing behind
        hits = packed.search(["soup"], k=2, encoder=given)
        assert hits.ids[0, 0] == 1
        np.testing.assert_allclose(hits.scores[0], np.sort(expected[0])[::-1], atol=1e-5)


def test_loads_quickly() -> None:
    code = (
        "import time, numpy; from nearfield.encoders.static import Static; "
        "start = time.process_time(); Static().encode(['warm socks']); print(time.process_time() - start)"
    )
    assert min(float(run(code)) for _ in range(3)) < 0.3  # 0.03 s where it was measured; the aim is 0.1 s


def test_a_name_may_tell_the_revision(tmp_path: Path, encoder: Static) -> None:
    older = Static("1")
    for vectors, name, revision in ((older, "static-1", "1"), (encoder, "static", encoder.revision)):
        packed = nf.Plan("raw()").fit(vectors.encode(NOTES), encoder=name)
        packed.save(tmp_path / "a.nf")
        assert packed.fitted.space["revision"] == revision
        hits = nf.load(tmp_path / "a.nf").search(["soup"], k=1)
        np.testing.assert_allclose(hits.scores[0, 0], vectors.encode(["soup"])[0] @ vectors.encode(NOTES)[1], atol=1e-5)
    with pytest.raises(BadParameter, match=r"static\(revision=\) expects one of 1, 2, got '9'"):
        nf.Plan("raw()").fit(older.encode(NOTES), encoder="static-9")


def test_a_name_with_a_revision_in_a_collection(tmp_path: Path) -> None:
    with nf.open(tmp_path / "notes", encoder="static-1") as c:
        c.upsert(["a", "b"], texts=NOTES)
        c.upsert(["c"], Static("1").encode(["woollen stockings"]), encoder="static-1")
    with nf.open(tmp_path / "notes") as c:
        assert dict(c.fields["vector"].space)["revision"] == "1"
        np.testing.assert_allclose(c.get(["a"])[0].vector, Static("1").encode(NOTES[:1])[0], atol=1e-6)
        with pytest.raises(Unsupported, match=r"revision '1'.*revision '2'"):
            c.upsert(["d"], Static().encode(["socks"]), encoder="static-2")
    with pytest.raises(Unsupported, match=r"revision '1'.*revision '2'"):
        nf.open(tmp_path / "notes", encoder="static-2")


def test_a_model_whose_name_only_looks_like_a_revision_is_not_loaded() -> None:
    from nearfield.search.encoding import loads

    assert [loads(name) for name in ("static", "static-1", "minilm", None)] == [True, True, True, False]
    assert not any(loads(name) for name in ("static-retrieval", "minilm-6", "all-MiniLM-L6-v2", "static-"))
