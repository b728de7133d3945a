"""The command line, as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from nearfield import cli

RNG = np.random.default_rng(11)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    x = RNG.normal(size=(400, 24)).astype(np.float32)
    np.save(tmp_path / "corpus.npy", x)
    np.save(tmp_path / "q.npy", x[:5] + 0.01)
    return tmp_path / "corpus.npy"


def run(*arguments: Any) -> tuple[int, str, str]:
    """Run in this process; returns (exit code, stdout, stderr)."""
    runner = CliRunner()
    with runner.isolation() as streams:
        code = cli.guarded(lambda: cli.cli.main([str(a) for a in arguments], "nearfield", standalone_mode=False))
        return code, streams[0].getvalue().decode(), streams[1].getvalue().decode()


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
    found = [json.loads(line) for line in stdout.splitlines()]
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
    assert set(papers[0]) == {"id", "title", "methods", "claims"}
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
