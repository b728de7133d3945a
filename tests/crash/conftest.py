"""The shim, built once; workers that run under it; room for what crashes leave."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from crash import shim
from crash.host import Host

# How many times more than `make test` looks at: `make crash` sets it.
THOROUGH = int(os.environ.get("NEARFIELD_CRASH", "1"))
MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built shim."""
    why = shim.missing()
    if why:
        pytest.skip(why)
    return shim.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="session")
def host(library: Path) -> Iterator[Host]:
    """A worker under the shim."""
    with Host(library) as made:
        yield made


@pytest.fixture(scope="session")
def reader(library: Path) -> Iterator[Host]:
    """Another worker, that reads beside the first."""
    with Host(library) as made:
        yield made


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A folder for thousands of states, in memory where there is some: nothing is learned from a slow disk."""
    roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 512 << 20
    made = Path(tempfile.mkdtemp(prefix="crash-", dir=MEMORY if roomy else tmp_path))
    yield made
    shutil.rmtree(made)
