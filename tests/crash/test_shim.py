"""The shim sees all that a process does to its files, in order, and makes exactly the chosen call fail."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from crash import shim
from crash.disk import Disk, Unmodelled
from crash.replay import tree_of
from crash.shim import Fault, Kind


def run(library: Path, root: Path, program: str, *, fault: str = "", log: Path | None = None) -> tuple[int, Any]:
    """Run a program in a folder under the shim, set up by its environment; its status and what it printed as JSON."""
    root.mkdir(exist_ok=True)
    env = shim.environment(library) | {"CRASH_ROOT": os.path.realpath(root), "CRASH_FAULT": fault}
    env |= {"CRASH_LOG": str(log)} if log else {}
    head = "import json, os, sys, ctypes\n"
    done = subprocess.run(
        [sys.executable, "-S", "-c", head + program], cwd=root, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else None


ALL_KINDS_OF_CALLS = """
import threading
library = ctypes.CDLL(None)
os.mkdir("a"); os.makedirs("b/c")
with open("a/text", "w") as f: f.write("x" * 70000)
with open("a/text", "a") as f: f.write("more")
with open("a/text", "r+b", buffering=0) as f:
    f.seek(10); f.write(b"middle"); f.truncate(60000)
fd = os.open("a/parts", os.O_RDWR | os.O_CREAT | os.O_EXCL)
library.crash_mark(b"first", 5)
os.writev(fd, [b"one", b"two", b"three"])
os.pwritev(fd, [b"four", b"five"], 100)
os.pwrite(fd, b"six", 5000)
other = os.dup(fd)
os.rename("a/parts", "b/c/moved")
os.write(other, b"after the rename")
os.posix_fallocate(fd, 0, 9000)
folder = os.open("b", os.O_RDONLY)
os.link("c/moved", "d", src_dir_fd=folder, dst_dir_fd=folder)
os.unlink("b/c/moved")
os.pwrite(fd, b"through the other name", 20)
copy = os.open("./b/../b/c/copy", os.O_WRONLY | os.O_CREAT)
os.copy_file_range(fd, copy, 3000, 10, 50)
os.lseek(fd, 0, 0)
os.sendfile(copy, fd, 100, 200)
os.fsync(copy); os.fdatasync(fd); os.fsync(folder)
if os.fork() == 0:
    os.write(other, b"from a child")
    with open("child", "w") as f: f.write("child")
    os._exit(0)
os.wait()
def work(i):
    for j in range(20):
        with open(f"thread-{i}", "ab") as f: f.write(bytes([i]) * (j + 1))
threads = [threading.Thread(target=work, args=[i]) for i in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
os.replace("thread-0", "thread-1")
os.truncate("thread-2", 3)
open("thread-3", "w").close()
os.mkdir("gone"); os.rmdir("gone")
open("rows.db-shm", "w").write("index")
library.crash_mark(b"last", 4)
"""


def test_the_log_explains_the_folder(library: Path, tmp_path: Path) -> None:
    run(library, tmp_path / "root", ALL_KINDS_OF_CALLS, log=tmp_path / "log")
    events = shim.read_log(tmp_path / "log")
    disk = Disk()
    for event in events:
        disk.play(event)
    assert disk.now() == tree_of(tmp_path / "root")
    assert {event.kind for event in events} == set(Kind) - {Kind.SYNC_ALL, Kind.UNMODELLED}
    assert len({event.pid for event in events}) == 2
    marks = [i for i, event in enumerate(events) if event.kind is Kind.MARK]
    assert [events[i].data for i in marks] == [b"first", b"last"]
    assert marks[1] == len(events) - 1
    assert not any("shm" in event.path for event in events)


@pytest.mark.parametrize(
    "program",
    [
        "os.symlink('x', 'y')",
        "import mmap\nf = open('f', 'w+b'); f.write(b'1234'); f.flush(); mmap.mmap(f.fileno(), 4)",
        "ctypes.CDLL(None).fopen(b'f', b'w')",
        "os.mkdir('../out'); os.rename('../out', 'in')",
        "os.open('.', os.O_TMPFILE | os.O_RDWR)",
    ],
    ids=["symlink", "mapping", "stdio", "moved-in", "tmpfile"],
)
def test_what_the_log_cannot_express_is_refused(library: Path, tmp_path: Path, program: str) -> None:
    run(library, tmp_path / "root", program, log=tmp_path / "log")
    disk = Disk()
    with pytest.raises(Unmodelled):
        deque(map(disk.play, shim.read_log(tmp_path / "log")), maxlen=0)


WRITES = """
out = []
for i in range(4):  # calls 1 and 2, 3 and 4, ...
    try:
        fd = os.open(f"f{i}", os.O_CREAT | os.O_RDWR)
        out.append(os.write(fd, b"x" * 10))
    except OSError as error:
        out.append(-error.errno)
library = ctypes.CDLL(None)
print(json.dumps([out, library.crash_calls(2)]))
"""


@pytest.mark.parametrize(
    ("fault", "expected", "struck"),
    [
        (f"{Fault.FULL}:4:1", [10, -errno.ENOSPC, 10, 10], 1),
        (f"{Fault.FULL}:4:9", [10, -errno.ENOSPC, -errno.ENOSPC, -errno.ENOSPC], 3),
        (f"{Fault.BROKEN}:3:1", [10, -errno.EIO, 10, 10], 1),
        (f"{Fault.SHORT}:2:1", [5, 10, 10, 10], 1),
        (f"{Fault.SHORT}:3:1", [10, 10, 10, 10], 0),  # opening cannot be short
        (f"{Fault.INTERRUPTED}:4:1", [10, 10, 10, 10], 1),  # Python itself tries again
        (f"{Fault.UNREADABLE}:1:1", [10, 10, 10, 10], 0),  # nothing is read
    ],
)
def test_the_chosen_call_fails(library: Path, tmp_path: Path, fault: str, expected: list[int], struck: int) -> None:
    _, (out, times) = run(library, tmp_path / "root", WRITES, fault=fault)
    assert out == expected
    assert times == struck


def test_reading_can_fail(library: Path, tmp_path: Path) -> None:
    program = """
fd = os.open("f", os.O_CREAT | os.O_RDWR); os.write(fd, b"x" * 10)
out = []
for read in (os.read, os.read, lambda fd, n: os.pread(fd, n, 0), lambda fd, n: os.preadv(fd, [bytearray(n)], 0)):
    try: read(fd, 2); out.append(0)
    except OSError as error: out.append(error.errno)
print(json.dumps(out))
"""
    assert run(library, tmp_path / "a", program, fault=f"{Fault.UNREADABLE}:2:2")[1] == [0, errno.EIO, errno.EIO, 0]
    assert run(library, tmp_path / "b", program, fault=f"{Fault.UNREADABLE}:4:1")[1] == [0, 0, 0, errno.EIO]


@pytest.mark.parametrize(("kind", "sizes"), [(Fault.KILL, [10, 0]), (Fault.KILL_HALF, [10, 5])])
def test_it_dies_at_the_chosen_call(library: Path, tmp_path: Path, kind: Fault, sizes: list[int]) -> None:
    status, said = run(library, tmp_path / "root", WRITES, fault=f"{kind}:4:1")
    assert status == -9
    assert said is None
    files = sorted((tmp_path / "root").iterdir())
    assert [path.stat().st_size for path in files] == sizes


def test_a_failed_sync_is_told_to_the_log(library: Path, tmp_path: Path) -> None:
    program = """
fd = os.open("f", os.O_CREAT | os.O_RDWR); os.write(fd, b"x" * 10)
try: os.fsync(fd)
except OSError as error: print(error.errno)
"""
    said = run(library, tmp_path / "root", program, fault=f"{Fault.BROKEN}:3:1", log=tmp_path / "log")[1]
    last = shim.read_log(tmp_path / "log")[-1]
    assert (said, last.kind, last.error) == (errno.EIO, Kind.SYNC, errno.EIO)


def test_a_log_that_is_cut_is_read_up_to_there(library: Path, tmp_path: Path) -> None:
    run(library, tmp_path / "root", WRITES, log=tmp_path / "log")
    raw = (tmp_path / "log").read_bytes()
    whole = len(shim.read_log(tmp_path / "log"))
    for cut in (1, 15, 70):
        (tmp_path / "cut").write_bytes(raw[:-cut])
        assert whole - 2 <= len(shim.read_log(tmp_path / "cut")) < whole
