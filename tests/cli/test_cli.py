"""The command line, as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield
from cli.kit import run
from nearfield import cli
from nearfield.core.errors import NotWritten
from nearfield.store.segments import SegmentWriter

RNG = np.random.default_rng(11)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    x = RNG.normal(size=(400, 24)).astype(np.float32)
    np.save(tmp_path / "corpus.npy", x)
    np.save(tmp_path / "q.npy", x[:5] + 0.01)
    return tmp_path / "corpus.npy"


def run_process(*arguments: Any, **given: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nearfield", *map(str, arguments)], capture_output=True, text=True, check=False, **given
    )


def test_compress_then_search(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.nf"
    plan = "pca(dim=12) | int8() | rescore(codec='float16')"
    code, stdout, _ = run("compress", corpus, out, "--plan", plan, "--json")
    assert code == 0
    told = json.loads(stdout)
    assert told["rows"] == 400
    assert told["bytes_per_row"] == 12 + 1 + 48
    assert told["disk_bytes"] == out.stat().st_size
    code, stdout, _ = run("search", out, "--queries", tmp_path / "q.npy", "-k", "3", "--json")
    assert code == 0
    found = json.loads(stdout)
    assert [hits[0]["id"] for hits in found] == [0, 1, 2, 3, 4]
    assert all(len(hits) == 3 for hits in found)
    code, stdout, _ = run("search", out, "--queries", tmp_path / "q.npy", "-k", "1")
    assert [line.split("\t")[1] for line in stdout.splitlines()] == ["0", "1", "2", "3", "4"]
    code, stdout, _ = run("info", out, "--json")
    assert json.loads(stdout)["plan"] == "pca(dim=12) | int8() | rescore()"


def test_texts_from_end_to_end(tmp_path: Path) -> None:
    texts = ["warm woollen socks", "a bicycle with two wheels", "the stock market fell", "socks and gloves for winter"]
    lines = [json.dumps({"_id": f"d{i}", "text": t}) for i, t in enumerate(texts)]
    (tmp_path / "c.jsonl").write_text("\n".join(lines))
    code, _, err = run("compress", tmp_path / "c.jsonl", tmp_path / "c.nf", "--plan", "float16()")
    assert (code, err) == (0, "")
    code, stdout, _ = run("search", tmp_path / "c.nf", "warm socks", "-k", "2")
    assert code == 0
    assert {line.split("\t")[0] for line in stdout.splitlines()} == {"d0", "d3"}
    code, stdout, _ = run("encode", tmp_path / "c.jsonl", tmp_path / "c.npy", "--json")
    assert json.loads(stdout)["rows"] == 4
    assert np.load(tmp_path / "c.npy").shape[0] == 4


def test_methods_papers_and_info_are_json() -> None:
    methods = json.loads(run("methods", "--json")[1])
    assert {"pca", "float16", "flat", "static"} <= {m["name"] for m in methods}
    papers = json.loads(run("papers", "--json")[1])
    assert len(papers) == 184
    assert set(papers[0]) == {"id", "title", "state", "missing", "methods", "claims"}
    for paper in papers:
        assert (paper["state"] == "none") == (not paper["methods"] and not paper["claims"]), paper["id"]
        assert (paper["state"] == "part") == bool(paper["missing"]), paper["id"]
    told = run("papers", "--served")[1]
    assert "part     without tables read over HTTP" in told
    assert "whole    of it" in told
    assert {c["status"] for p in papers for c in p["claims"]} <= {"held", "other", "untested"}
    assert json.loads(run("info", "--json")[1])["kernels"]["isa"]
    assert "no method yet" in run("papers")[1]
    assert "pca" in run("methods", "maps")[1]


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def bad_inputs(folder: Path) -> dict[str, tuple[list[Any], str]]:
    """Each thing a user gets wrong, and a word of what he must be told."""
    x = np.ones((50, 4), np.float32)
    nan = x.copy()
    nan[7, 2] = np.nan
    zero = x.copy()
    zero[9] = 0
    arrays = {"nan": nan, "zero": zero, "empty": x[:0], "flat": x[0], "cube": np.ones((2, 2, 2), np.float32), "ok": x}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    np.save(folder / "object.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    whole = (folder / "ok.npy").read_bytes()
    write(folder / "short.npy", whole[:-9])
    write(folder / "huge.npy", whole.replace(b"(50, 4)", b"(1152921504606846976, 4)".ljust(7))[:300])
    write(folder / "nothing.npy", b"")
    write(folder / "bad.nf", b"not one of ours, whatever its name says" * 9)
    compress = ["compress", None, folder / "out.nf", "--plan", "float16()"]

    def of(name: str) -> list[Any]:
        return [folder / name if a is None else a for a in compress]

    return {
        "nan": (of("nan.npy"), "row 7"),
        "zero": (of("zero.npy"), "row 9"),
        "empty": (of("empty.npy"), "row"),
        "one dimension": (of("flat.npy"), "2-D"),
        "three dimensions": (of("cube.npy"), "2-D"),
        "object": (of("object.npy"), "pickle"),
        "truncated": (of("short.npy"), "short.npy"),
        "2^60 rows": (of("huge.npy"), "huge.npy"),
        "no bytes": (of("nothing.npy"), "nothing.npy"),
        "missing": (of("none.npy"), "none.npy"),
        "folder": (["compress", folder, folder / "out.nf", "--plan", "float16()"], "folder"),
        "no such plan": (["compress", folder / "ok.npy", folder / "out.nf", "--plan", "flaot16()"], "did you mean"),
        "bad plan": (["compress", folder / "ok.npy", folder / "out.nf", "--plan", "pca(dim="], "cannot read the plan"),
        "pca too wide": (["compress", folder / "ok.npy", folder / "out.nf", "--plan", "pca(dim=9)"], "4 dimensions"),
        "no folder to write in": (["compress", folder / "ok.npy", folder / "no/out.nf", "--plan", "raw()"], "folder"),
        "not ours": (["search", folder / "bad.nf", "socks"], "bad.nf"),
        "nothing asked": (["search", folder / "bad.nf"], "either a text"),
        "unknown verb": (["serach"], "serach"),
        "keep of 2": (["advise", folder / "ok.npy", "--keep", "2"], "keep"),
        "smaller of x": (["advise", folder / "ok.npy", "--smaller", "much"], "smaller"),
        "metric": (["advise", folder / "ok.npy", "--metric", "euclid"], "euclid"),
    }


@pytest.mark.parametrize("case", [
    "nan", "zero", "empty", "one dimension", "three dimensions", "object", "truncated", "2^60 rows", "no bytes",
    "missing", "folder", "no such plan", "bad plan", "pca too wide", "no folder to write in", "not ours",
    "nothing asked", "unknown verb", "keep of 2", "smaller of x", "metric",
])  # fmt: skip
def test_a_users_error_is_one_line_and_code_2(case: str, tmp_path: Path) -> None:
    arguments, part = bad_inputs(tmp_path)[case]
    code, out, err = run(*arguments)
    assert code == 2, (out, err)
    assert out == ""
    assert err.count("\n") == 1, err
    assert part.lower() in err.lower()
    assert not list(tmp_path.glob("out.nf*"))


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    np.save(tmp_path / "big.npy", RNG.normal(size=(200_000, 64)).astype(np.float32))
    plan = "pca(dim=32) | transform(bytes=16) | rescore(codec='transform(bytes=60)')"
    process = subprocess.Popen(
        [sys.executable, "-m", "nearfield", "compress", "big.npy", "out.nf", "--plan", plan],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out.nf*")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("it was done before it could be stopped")
    assert process.returncode == 130, err
    assert "stopped" in err
    assert not list(tmp_path.glob("out.nf*"))


def test_a_closed_pipe_is_no_error(corpus: Path) -> None:
    script = f'"{sys.executable}" -m nearfield papers | head -n 1; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("S001")
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


def test_what_is_read_is_not_written_over(corpus: Path, tmp_path: Path) -> None:
    before = corpus.read_bytes()
    os.symlink(corpus, tmp_path / "link.npy")
    for out in (corpus, tmp_path / "link.npy"):
        code, _, err = run("compress", corpus, out, "--plan", "int8()")
        assert code == 2
        assert "write to another file" in err
    assert corpus.read_bytes() == before


def test_a_picture_that_cannot_be_drawn_is_refused_before_the_sweep(corpus: Path, tmp_path: Path) -> None:
    for name, words in (("a.pdf", ".png or .svg"), ("no/a.png", "does not exist")):
        code, out, err = run("advise", corpus, "--plot", tmp_path / name)
        assert (code, out) == (2, "")
        assert words in err
    assert run("advise", corpus, "--seed", "-1")[0] == 2


def test_as_a_module_and_without_arguments() -> None:
    done = run_process()
    assert "advise" in done.stdout + done.stderr
    assert run_process("--version").stdout.strip().startswith("nearfield")
    assert run_process("search", "no-such-file.nf", "x").returncode == 2


def test_every_verb_has_help() -> None:
    for verb in cli.cli.commands:
        code, out, _ = run(verb, "--help")
        assert code == 0
        assert "Usage" in out


@pytest.mark.skipif(sys.platform != "linux", reason="sockets are blocked through seccomp-free means on Linux only")
def test_nothing_touches_the_network(corpus: Path, tmp_path: Path) -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise RuntimeError('network')\n"
        "socket.socket = refuse; socket.create_connection = refuse; socket.getaddrinfo = refuse\n"
        "from nearfield.cli import main\n"
        f"main(['compress', {str(corpus)!r}, {str(tmp_path / 'n.nf')!r}, '--plan', 'int8()'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr


def test_ctrl_c_while_things_are_imported_is_no_traceback() -> None:
    code = (
        "import builtins\n"
        "whole = builtins.__import__\n"
        "def stop(name, *rest):\n"
        "    if name == 'click': raise KeyboardInterrupt\n"
        "    return whole(name, *rest)\n"
        "builtins.__import__ = stop\n"
        "from nearfield.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "nearfield: stopped\n")


def test_the_command_starts_in_the_guarded_module() -> None:
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["scripts"] == {"nearfield": "nearfield.__main__:main"}


def fit(folder: Path, **given: Any) -> Path:
    nearfield.Plan("float16()").fit(np.eye(6, dtype=np.float32), **given).save(folder / "a.nf")
    return folder / "a.nf"


def test_json_is_one_document_however_many_queries(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.eye(6, dtype=np.float32)[:1])
    np.save(tmp_path / "two.npy", np.eye(6, dtype=np.float32)[:2])
    for name, count in (("one", 1), ("two", 2)):
        found = json.loads(run("search", fit(tmp_path), "--queries", tmp_path / f"{name}.npy", "-k", 2, "--json")[1])
        assert [hits[0]["id"] for hits in found] == list(range(count))
        assert [len(hits) for hits in found] == [2] * count
    nearfield.Plan("float16()").fit(texts=["warm socks", "tax law"]).save(tmp_path / "t.nf")
    found = json.loads(run("search", tmp_path / "t.nf", "socks", "--json")[1])
    assert [hit["text"] for hit in found] == ["warm socks", "tax law"]


def test_the_demo_as_json(tmp_path: Path) -> None:
    code, out, err = run("demo", "--out", tmp_path / "demo", "--limit", 120, "--json")
    told = json.loads(out)
    assert code == 0
    assert told["rows"] == 120
    assert Path(told["file"]).is_file()
    assert {"best", "bytes_per_row", "picture"} <= set(told)
    assert all(len(answer["hits"]) == 3 for answer in told["answers"])
    assert "docstrings of the standard library" in err


def test_a_file_whose_contents_are_wrong_is_one_line(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path / "a.nf", "packed") as writer:
        writer.finish({"plan": "raw()"})
    for arguments in (["info"], ["info", "--json"], ["search"]):
        code, out, err = run(arguments[0], tmp_path / "a.nf", *arguments[1:], *["x"] * (arguments == ["search"]))
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "a.nf: the checksums hold but the contents do not" in err


def test_an_encoder_must_be_known_and_fit_the_vectors(corpus: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide.npy"
    np.save(wide, RNG.normal(size=(40, 256)).astype(np.float32))
    compress = ["compress", corpus, tmp_path / "o.nf", "--plan", "raw()", "--encoder"]
    for arguments, words in (
        ([*compress, "statik"], "did you mean 'static'"),
        ([*compress, "static"], "'static' gives 256 dimensions and the vectors have 24"),
        (["advise", corpus, "--encoder", "statik"], "did you mean 'static'"),
        (["advise", corpus, "--encoder", "static"], "gives 256 dimensions"),
    ):
        code, out, err = run(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert words in err
    assert not (tmp_path / "o.nf").exists()
    assert run("compress", wide, tmp_path / "o.nf", "--plan", "raw()", "--encoder", "static")[0] == 0
    assert run("search", tmp_path / "o.nf", "warm socks", "-k", 1)[0] == 0


def test_blank_texts_are_told_by_row(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in ["a", "", "b", " \t", "c"]))
    (tmp_path / "blank.jsonl").write_text(json.dumps({"text": " "}) + "\n")
    for verb in (["encode", "c.jsonl", "c.npy"], ["compress", "c.jsonl", "c.nf", "--plan", "raw()"]):
        paths = [tmp_path / a if a.startswith("c.") else a for a in verb]
        code, _, err = run(*paths)
        assert code == 0
        assert err.startswith("nearfield: warning: texts: 2 of 5 are blank, in row 1, 3: ")
        assert err.count("\n") == 1
    code, out, err = run("encode", tmp_path / "blank.jsonl", tmp_path / "blank.npy")
    assert (code, out) == (2, "")
    assert "nothing but blank texts" in err
    assert not (tmp_path / "blank.npy").exists()


def test_advice_on_texts_tells_blank_ones(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"number {i} of things" if i % 20 else ""}) for i in range(60)]
    (tmp_path / "c.jsonl").write_text("\n".join(lines))
    code, _, err = run("advise", tmp_path / "c.jsonl", "--plan", "raw()", "--plan", "int8()", "--no-verify")
    assert code == 0
    assert "texts: 3 of 60 are blank, in row 0, 20, 40" in err


def test_options_are_told_as_flags(corpus: Path, tmp_path: Path) -> None:
    x = np.load(corpus)
    x[[7, 300]] = 0
    np.save(tmp_path / "zero.npy", x)
    np.save(tmp_path / "q0.npy", np.zeros((1, 6), np.float32))
    (tmp_path / "qrels.tsv").write_text("0\t0\t1\n")
    told = [
        (["compress", tmp_path / "zero.npy", tmp_path / "o.nf", "--plan", "raw()"], "row 7, 300; remove them, or pass"),
        (["compress", tmp_path / "zero.npy", tmp_path / "o.nf", "--plan", "raw()"], "pass --on-zero keep to score"),
        (["advise", tmp_path / "zero.npy"], "row 7, 300; remove them, or pass --on-zero keep"),
        (["search", fit(tmp_path), "--queries", tmp_path / "q0.npy"], "pass --on-zero keep"),
        (["search", fit(tmp_path), "socks"], "pass --encoder"),
        (["advise", corpus, "--qrels", tmp_path / "qrels.tsv"], "pass --queries"),
        (
            ["compress", corpus, tmp_path / "o.nf", "--plan", "leanvec(dim=4, kind='ood')"],
            "pass --queries, or use kind=",
        ),
    ]
    for arguments, words in told:
        code, out, err = run(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert words in err, err
    code, out, _ = run("search", fit(tmp_path), "--queries", tmp_path / "q0.npy", "--on-zero", "keep", "-k", 1)
    assert (code, out) == (0, "0\t0.0000\n")


def test_only_what_the_verb_takes_becomes_a_flag() -> None:
    advise, search = (cli.cli.commands[name] for name in ("advise", "search"))
    assert isinstance(advise, cli.Verb)
    assert isinstance(search, cli.Verb)
    text = "use metric='dot', all=True, bytes=8, rng=3 or umap(dim=2, k=15) | rescore(codec='lvq(bits=4)')"
    flags = "use --metric dot, --all, --bytes 8, --seed 3 or umap(dim=2, k=15) | rescore(codec='lvq(bits=4)')"
    assert advise.in_flags(text) == flags
    assert search.in_flags(text) == text


def test_judgements_that_name_strangers_are_a_warning(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "qrels.tsv").write_text("0\t3\t1\n1\t4\t1\nq\t5\t1\n")
    code, out, err = run(
        "advise", corpus, "--queries", tmp_path / "q.npy", "--qrels", tmp_path / "qrels.tsv", "--plan", "raw()",
        "--plan", "int8()", "--no-verify", "--json",
    )  # fmt: skip
    assert (code, err.count("\n")) == (0, 1)
    assert "nearfield: warning: " in err
    assert "1 of 3 judgements" in err
    assert json.loads(out)["best"]


def test_bench_hands_its_options_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench/run.py").write_text("import json, sys\nprint(json.dumps(sys.argv), flush=True)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["nearfield"])
    assert json.loads(run("bench", "scan", "--quick", "--json")[1])[1:] == ["scan", "--quick", "--json"]
    assert json.loads(run("bench")[1])[1:] == []


def last_line(*arguments: Any) -> str:
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    return err.removeprefix("nearfield: ").rstrip("\n")


def test_what_the_user_typed_is_not_taken_for_an_option(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(corpus.parent)
    assert last_line("compress", "seed=7/b.npy", "o.nf", "--plan", "int8()").startswith("'seed=7/b.npy': no such file")
    np.save("seed=7", np.eye(3, dtype=np.float32))
    Path("a seed=7 b").mkdir()
    Path("seed=7.nf").write_bytes(b"none of ours")
    Path("a seed=7 b/l.txt").write_text("a\n\xff\n", encoding="latin-1")
    assert last_line("compress", "seed=7.npy", "seed=7.npy", "--plan", "int8()").startswith("compress: 'seed=7.npy'")
    assert last_line("search", "seed=7.nf", "x").startswith("seed=7.nf: not a nearfield file")
    assert "'a seed=7 b/l.txt': " in last_line("advise", corpus, "--labels", "a seed=7 b/l.txt")
    assert last_line("advise", corpus, "--labels", "keep").startswith("'keep': no such file")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--latency", "0"], "--latency: expected microseconds"),
        (["--keep", "2"], "--keep: expected a share"),
        (["--bytes", "0"], "--bytes: expected at least 1 byte"),
        (["--smaller", "0"], "--smaller: expected a factor"),
        (["--smaller", "8xx"], "--smaller: expected a number such as 8 or 8x, got '8xx'"),
        (["--smaller", ""], "--smaller: expected a number"),
        (["-k", "0"], "-k: expected a whole number"),
        (["--sample", "3"], "--sample: expected a whole number"),
    ],
)
def test_an_option_is_named_as_its_flag(given: list[str], words: str, corpus: Path) -> None:
    assert last_line("advise", corpus, *given).startswith(words)


def test_only_a_word_of_its_own_becomes_a_flag() -> None:
    advise = cli.cli.commands["advise"]
    assert isinstance(advise, cli.Verb)
    for text in (
        "'seed=7'",
        '"a seed=7 b"',
        "seed=7/b.npy",
        "a/seed=7",
        "seed=7.npy",
        "x: metric: dot",
        "metric=dot: x",
    ):
        assert advise.in_flags(text) == text
    assert (
        advise.in_flags("the query's keep=0.5, (verify=False), key=...")
        == "the query's --keep 0.5, (--no-verify), --key ..."
    )
    assert advise.in_flags("rng: expected 0; pass seed=3.") == "--seed: expected 0; pass --seed 3."


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    odd = ["warm\x1b[2J socks\x07", "tax\x9b2J \x7flaw"]
    nearfield.Plan("float16()").fit(texts=odd, ids=["a\x1b[2J", "b\x90"]).save(tmp_path / "t.nf")
    code, out, _ = run("search", tmp_path / "t.nf", "socks")
    assert code == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == [r"a\x1b[2J", r"b\x90"]
    assert [line.split("\t")[2] for line in out.splitlines()] == [r"warm\x1b[2J socks\x07", r"tax\x9b2J \x7flaw"]
    found = json.loads(run("search", tmp_path / "t.nf", "socks", "--json")[1])
    assert [hit["text"] for hit in found] == odd
    (tmp_path / "q.jsonl").write_text(json.dumps({"\x1b[2J": 1}) + "\n")
    assert "\x1b" not in last_line("advise", tmp_path / "\x1b[2J.npy")


@pytest.mark.parametrize(("name", "value"), [("NEARFIELD_ISA", "foo"), ("NEARFIELD_THREADS", "0")])
def test_a_wrong_setting_is_not_the_files_fault(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nearfield.Plan("float16()").fit(texts=["warm socks", "tax law"]).save(tmp_path / "t.nf")
    monkeypatch.setenv(name, value)
    told = last_line("search", tmp_path / "t.nf", "socks")
    assert told.startswith(f"{name}: ")
    assert "t.nf" not in told


def test_the_demo_names_a_folder_that_it_cannot_make(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"here")
    told = last_line("demo", "--out", tmp_path / "a.npy")
    assert told.startswith("--out: expected a folder that is there or can be made, got ")
    assert told.endswith("a.npy': there is a file of that name")
    assert "Not a directory" in last_line("demo", "--out", tmp_path / "a.npy/b")


def test_the_demo_leaves_no_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise NotWritten("the disk is full")

    monkeypatch.setattr(nearfield.Packed, "save", full)
    (tmp_path / "there").mkdir()
    for name, left in (("made", False), ("there", True)):
        assert run("demo", "--out", tmp_path / name, "--limit", 120)[0] == 2
        assert (tmp_path / name).exists() == left


def test_ctrl_c_is_told_in_one_line(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(nearfield, "advise", stop)
    assert run("advise", corpus) == (130, "", "nearfield: stopped\n")
