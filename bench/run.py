"""Runs benchmark suites and keeps what they measure: python bench/run.py [suite ...] [--quick] [--only REGEX]

A suite is a file of ``bench/suites`` (or the path of another TOML file). Peers are measured in the same run; one that
is not installed is left out, and said so. Rows are kept in ``bench/results/<suite>.jsonl``, which a run replaces;
with ``--quick`` (few rows, to see that everything works) or ``--only`` (a part) they go to ``bench/out`` and do not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SUITES = ROOT / "bench" / "suites"
_POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NEARFIELD_THREADS")


def main(arguments: list[str] | None = None) -> int:
    """Run suites one after another; returns the exit code."""
    given = _arguments(arguments)
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    try:
        suites = [_read(name) for name in given.suites or sorted(p.stem for p in SUITES.glob("*.toml"))]
        suites = [(name, suite) for name, suite in suites if given.suites or not suite.get("long")]
        _hold_threads(given.threads)
        from bench import data

        shared = data.folder(given.data)
    except (OSError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    rows: dict[str, Any] = {}
    with contextlib.redirect_stdout(sys.stderr) if given.json else contextlib.nullcontext():
        for name, suite in suites:
            rows[name] = _run(name, suite, shared, given)
    if given.json:
        print(json.dumps({"suites": rows}))
    return 0


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("suites", nargs="*", help="names in bench/suites, or TOML files; default: all but long ones")
    parser.add_argument("--quick", action="store_true", help="few rows and queries; nothing is kept")
    parser.add_argument("--only", metavar="REGEX", help="engines whose label matches (dense and filtered); not kept")
    parser.add_argument("--builds", type=Path, help="folder where built indexes are kept between runs (dense)")
    parser.add_argument("--against", nargs=2, metavar=("COMMIT", "PYTHON"), help="the other version (versions)")
    parser.add_argument("--data", help="folder that holds data/ (default: NEARFIELD_DATA, else ../shared)")
    parser.add_argument("--threads", type=int, default=1, help="threads of every engine (advise sets its own)")
    parser.add_argument("--out", type=Path, help="folder of the results (default: bench/results)")
    parser.add_argument("--json", action="store_true", help="print the rows as one JSON object, and talk on stderr")
    return parser.parse_args(arguments)


def _read(name: str) -> tuple[str, dict[str, Any]]:
    path = Path(name) if name.endswith(".toml") else SUITES / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in SUITES.glob("*.toml")))
        raise ValueError(f"no suite {name!r}; expected one of {known}, or a TOML file")
    return path.stem, tomllib.loads(path.read_text(encoding="utf-8"))


def _hold_threads(threads: int) -> None:
    """Keep every engine to so many threads; pools are sized when libraries load, so before any of them."""
    if threads < 1:
        raise ValueError(f"--threads: expected at least 1, got {threads}")
    for name in _POOLS:
        os.environ[name] = str(threads)


def _run(name: str, suite: dict[str, Any], shared: Path, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Run a suite; returns the rows that it kept."""
    from bench import advise, compression, dense, encoders, filtered, growth, judged, results
    from bench import scan, scored, store, streaming, tiers, versions  # isort: skip

    kinds = {"compression": compression.run, "judged": judged.run, "scan": scan.run, "advise": advise.run}
    kinds |= {
        "encoders": encoders.run,
        "store": store.run,
        "dense": dense.run,
        "growth": growth.run,
        "scored": scored.run,
        "filtered": filtered.run,
        "streaming": streaming.run,
        "tiers": tiers.run,
        "versions": versions.run,
    }
    if suite.get("kind") not in kinds:
        raise SystemExit(f"bench: {name}: kind must be one of {', '.join(kinds)}, got {suite.get('kind')!r}")
    folder = given.out or ROOT / "bench" / ("out" if given.quick or given.only else "results")
    print(f"== {name}, load {results.load():.2f} before it starts", flush=True)
    suite |= {"only": given.only, "builds": given.builds, "against": given.against}
    with results.Keeper(folder, name, given.threads) as keeper:
        kinds[suite["kind"]](suite, shared, keeper, quick=given.quick)
    return [json.loads(line) for line in keeper.path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    code = main()
    if code:
        sys.exit(code)
