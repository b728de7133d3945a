"""Builds engines once, and keeps what was built between runs where a folder for it is given."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bench import probe
from bench.data import F32
from bench.engines import Engine, Nearfield

_PACKAGES = {"faiss": "faiss-cpu"}


@dataclass
class Built:
    """What a build cost: CPU seconds, and bytes of the saved file (or in memory, where that is more)."""

    seconds: float
    bytes: int
    reused: bool


def ready(engine: Engine, x: F32, rows: str, kept: Path | None) -> Built:
    """Build the engine over rows of that name, or read it back from the folder of builds that are kept.

    A peer is tried in a process of its own first: ``Died`` where it ends that.
    """
    if not isinstance(engine, Nearfield):
        probe.engine(engine, x)
    if kept is None:
        with tempfile.TemporaryDirectory() as folder:
            return _build(engine, x, Path(folder))
    at = kept / hashlib.sha256(f"{engine.label} {rows} {_version(engine)}".encode()).hexdigest()[:24]
    told = at / "built.json"
    if told.exists():
        engine.load(at)
        return Built(**json.loads(told.read_text(encoding="utf-8")), reused=True)
    shutil.rmtree(at, ignore_errors=True)
    at.mkdir(parents=True)
    built = _build(engine, x, at)
    told.write_text(json.dumps({"seconds": built.seconds, "bytes": built.bytes}), encoding="utf-8")
    return built


def _build(engine: Engine, x: F32, at: Path) -> Built:
    start = time.process_time()
    engine.build(x)
    seconds = time.process_time() - start
    engine.save(at)
    size = sum(p.stat().st_size for p in at.rglob("*") if p.is_file())
    return Built(round(seconds, 2), max(size, engine.memory()), reused=False)


def _version(engine: Engine) -> str:
    if isinstance(engine, Nearfield):
        return _sources()
    return importlib.metadata.version(_PACKAGES.get(engine.engine, engine.engine))


@lru_cache(maxsize=1)
def _sources() -> str:
    """nearfield changes between runs: a digest of what it consists of."""
    spec = importlib.util.find_spec("nearfield._native")
    import nearfield

    files = sorted(Path(nearfield.__file__).parent.rglob("*.py"))
    files += [Path(spec.origin)] if spec is not None and spec.origin else []
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
