"""Readers who may not write the folder: each call sees the latest rows, beside a writer or after one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf
from collection.kit import line, process

X = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)
READS = """
    import sys, nearfield as nf
    c = nf.open(sys.argv[1], mode="r")
    for _ in sys.stdin:
        try:
            texts = sorted(r.text for r in c.get(["o5", "n5"]))
            print(len(c), *c.search([1.0] * 8, k=1).ids, *texts, len(c.search(text="old", k=500)), flush=True)
        except nf.NearfieldError as error:
            print(type(error).__name__, error, flush=True)
"""
WRITES = """
    import sys, time, numpy as np, nearfield as nf
    c = nf.open(sys.argv[1])
    for asked in sys.stdin:
        c.upsert([asked.strip()], np.ones((1, 8)), texts=["fresh"])
        print(len(c), flush=True)
"""


@pytest.fixture
def weak() -> list[str]:
    """How to run a program that owns nothing here and has no rights of its own."""
    told = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
    if os.name == "nt" or os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("rights cannot be taken away here")
    if subprocess.run([*told, "true"], capture_output=True, check=False).returncode:
        pytest.skip("rights cannot be taken away here")
    return told


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "notes"
    with nf.open(path, dim=8) as c:
        c.upsert([f"o{i}" for i in range(200)], X[:200], texts=["old"] * 200)
    _give_away(path)
    return path


def _give_away(path: Path) -> None:
    for found in (path, *path.rglob("*")):
        os.chown(found, 65534, 65534)
        found.chmod(0o755 if found.is_dir() else 0o644)


@pytest.fixture
def reader(folder: Path, weak: list[str]) -> Iterator[subprocess.Popen[str]]:
    with process(READS, folder, prefix=weak) as made:
        yield made


def ask(reader: subprocess.Popen[str]) -> list[str]:
    assert reader.stdin is not None
    reader.stdin.write("\n")
    reader.stdin.flush()
    return line(reader).split()


def test_a_quiet_catalogue_is_looked_at_again(folder: Path, reader: subprocess.Popen[str]) -> None:
    assert ask(reader)[0] == "200"
    for turn in range(3):
        with nf.open(folder) as c:
            c.upsert([f"n{i}" for i in range(200)], X[200:], texts=[f"new{turn}"] * 200)
            c.delete(where="$text = 'old'")
            c.compact(purge=True)
        found = ask(reader)
        assert (found[0], found[2:]) == ("200", [f"new{turn}", "0"])
    with nf.open(folder) as c:
        c.upsert(["o5"], X[:1], texts=["old"])
    assert ask(reader)[2:] == ["new2", "old", "1"]


def test_beside_a_writer_and_after_it_was_killed(folder: Path, reader: subprocess.Popen[str], weak: list[str]) -> None:
    assert ask(reader)[0] == "200"
    with process(WRITES, folder) as writer:
        assert writer.stdin is not None
        for i in range(3):
            writer.stdin.write(f"w{i}\n")
            writer.stdin.flush()
            assert line(writer) == str(201 + i)
            assert ask(reader)[:2] == [str(201 + i), "w0"]
        with process(READS, folder, prefix=weak) as second:
            assert ask(second)[0] == "203"
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert ask(reader)[0] == "203"
    with process(READS, folder, prefix=weak) as third:
        assert ask(third)[0] == "203"
    with nf.open(folder) as c:
        c.delete(["w1"])
    assert ask(reader)[0] == "202"


def test_many_short_writers(folder: Path, reader: subprocess.Popen[str]) -> None:
    """Each opens, writes and closes, so that the log comes and goes: every answer is one of the states."""
    code = """
        import sys, numpy as np, nearfield as nf
        for i in range(40):
            with nf.open(sys.argv[1]) as c:
                c.upsert([f"w{i}"], np.ones((1, 8)), texts=["fresh"])
        print("done", flush=True)
    """
    counts = [int(ask(reader)[0])]
    with process(code, folder) as writer:
        while writer.poll() is None:
            counts.append(int(ask(reader)[0]))
        assert line(writer) == "done"
    counts.append(int(ask(reader)[0]))
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (200, 240)


def test_dry_run_of_a_repair(folder: Path, weak: list[str]) -> None:
    told = [*weak, sys.executable, "-m", "nearfield", "repair", str(folder), "--dry-run"]
    done = subprocess.run(told, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "nothing to repair" in done.stdout
    whole = subprocess.run([*told[:-1]], capture_output=True, text=True, timeout=100, check=False)
    assert whole.returncode == 2
    assert "cannot be" in whole.stderr
    assert len(whole.stderr.splitlines()) == 1


def test_a_reader_makes_a_backup(folder: Path, weak: list[str]) -> None:
    target = folder.parent / "out"
    target.mkdir()
    target.chmod(0o777)
    told = [*weak, sys.executable, "-m", "nearfield", "backup", str(folder), str(target / "copy")]
    done = subprocess.run(told, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    with nf.open(folder, mode="r") as c, nf.open(target / "copy", mode="r") as copy:
        assert (copy.ids(), copy.check()) == (c.ids(), [])


def test_a_log_without_its_index_says_so(folder: Path, weak: list[str]) -> None:
    copy = folder.with_name("copy")
    with nf.open(folder) as c:
        c.upsert(["x"], X[:1])
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*-shm"))
    _give_away(copy)
    code = f"import nearfield as nf; nf.open({str(copy)!r}, mode='r')"
    done = subprocess.run([*weak, sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert "ReadOnly" in done.stderr
    assert "open it once where it can be written" in textwrap.dedent(done.stderr).splitlines()[-1]
