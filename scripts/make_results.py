"""Writes the README's table and docs/results.md from kept results: python scripts/make_results.py [--check]"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.results import Row  # noqa: E402

from bench import results  # noqa: E402

BEGIN, END = "<!-- results -->", "<!-- /results -->"


def main(arguments: list[str] | None = None) -> int:
    """Write both files; with ``--check`` only tell whether they are up to date (exit code 1 where not)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is out of date")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results", help="folder of kept results")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout whose files are written")
    given = parser.parse_args(arguments)
    wanted = _files(given.results, given.root)
    stale = [p for p, text in wanted.items() if not p.exists() or p.read_text(encoding="utf-8") != text]
    if given.check:
        for path in stale:
            print(f"out of date: {path.relative_to(given.root)}; run scripts/make_results.py")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
    print(f"{len(stale)} of {len(wanted)} files written")
    return 0


def _files(folder: Path, root: Path) -> dict[Path, str]:
    suites = ("compression", "judged", "scan", "advise", "store", "crash")
    compression, judged, scan, advise, store, crash = (results.read(folder, name) for name in suites)
    dense = [results.read(folder, name) for name in ("dense", "dense_million", "dense_clustered")]
    readme = root / "README.md"
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"make_results: README.md has no {BEGIN} ... {END}")
    parts = [
        "# Results\n\nGenerated from `bench/results/` by `scripts/make_results.py`; run again with `make bench`.",
        _compression(compression),
        _judged(judged),
        _texts(judged),
        _encoders(results.read(folder, "encoders")),
        _scan(scan),
        *map(_dense, dense),
        _scored(results.read(folder, "scored")),
        _scored(results.read(folder, "norms"), ", by products of unequal lengths", _LENGTHS),
        _growth(results.read(folder, "dense_growth")),
        _filtered(results.read(folder, "filtered")),
        _tiers(results.read(folder, "tiers")),
        _streaming(results.read(folder, "streaming")),
        _advise(advise),
        _intervals(results.read(folder, "intervals")),
        _store(store),
        _versions(results.read(folder, "versions")),
    ]
    short = f"{_short(compression)}{_short_dense(dense[0])}{_short_store(store)}{_short_crash(crash)}"
    return {
        readme: f"{before}{BEGIN}\n{short}{END}{after}",
        root / "docs" / "results.md": "\n\n".join(p for p in parts if p) + "\n",
    }


# -- pieces ----------------------------------------------------------------------------------------


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; the cells of all columns but the first are aligned right."""
    head = list(head)
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`"


def _name(row: Row) -> str:
    if row["engine"] == "nearfield":
        return _code(row["name"])
    extra = ", rows renormalised" if row.get("ranking") == "rows renormalised" else ""
    return f"{row['engine']} {row['name']}{extra}"


def _where(row: Row) -> str:
    """Machine, versions and date of a run."""
    machine = row["machine"]
    words = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
    commit = f", commit {row['commit']}" if row.get("commit") else ""
    threads = f"{row['threads']} thread" + ("s" if row["threads"] != 1 else "")
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['isa']}, {threads}; {words}; {row['date']}{commit}."


def _part(rows: list[Row], part: str) -> list[Row]:
    return [r for r in rows if r["part"] == part]


# -- compression -----------------------------------------------------------------------------------


def _short(rows: list[Row]) -> str:
    """The README's table: a line a budget."""
    if not _part(rows, "recall"):
        return ""
    settings = _part(rows, "settings")[0]
    lines = []
    for v in results.verdicts(rows):
        ours, peer = v["nearfield"], v["peer"]
        left = (
            [_name(ours), f"{ours['bytes']:g}", f"**{ours['recall']['held-out']:.3f}**"] if ours else ["none", "", ""]
        )
        right = [_name(peer), f"{peer['bytes']:g}", f"{peer['recall']['held-out']:.3f}"] if peer else ["none", "", ""]
        lines.append([v["bytes"], *left, *right])
    k = settings["k"]
    head = ["at most, bytes", "nearfield", "bytes", f"recall@{k}", "best peer", "bytes", f"recall@{k}"]
    said = (
        f"Recall@{k} of a plain scan over {settings['rows']:,} real text embeddings (384 dimensions, 1,536 bytes as "
        f"float32) for {settings['queries']:,} held-out queries; peers (faiss, turboquant-pro) in the same run. Every "
        f"row, with shifted queries and what all rows share, is in [docs/results.md](docs/results.md)."
    )
    return f"\n{said}\n\n{table(head, lines)}\n\n{_where(rows[0])}\n\n"


def _compression(rows: list[Row]) -> str:
    found = _part(rows, "recall")
    if not found:
        return ""
    settings = _part(rows, "settings")[0]
    k = settings["k"]
    said = (
        f"## Quality at equal bytes\n\nRecall@{k} of an exhaustive scan over {settings['rows']:,} MiniLM embeddings of "
        f"arXiv titles, for {settings['queries']:,} held-out titles and as many *shifted* queries (sentences of "
        f"abstracts). Bytes are codes and per-row constants; *shared* is what all rows share. A peer's row is its "
        f"better ranking of its own (dot, l2 or cosine); *rows renormalised* divides by the length of the decoded row, "
        f"which that peer's search does not do. {_where(rows[0])}"
    )
    return "\n\n".join([said, _verdicts(rows, settings), "### All rows", _recall_table(found)])


def _verdicts(rows: list[Row], settings: Row) -> str:
    lines = []
    for v in results.verdicts(rows):
        ours, peer = v["nearfield"], v["peer"]
        mine = ours["recall"]["held-out"] if ours else 0.0
        theirs = peer["recall"]["held-out"] if peer else 0.0
        target = settings["targets"].get(str(v["bytes"]))
        aim = "" if target is None else f"{target:g}: {'met' if mine >= target else 'missed'}"
        names = [_name(ours) if ours else "none", f"{mine:.4f}", _name(peer) if peer else "none", f"{theirs:.4f}"]
        lines.append([v["bytes"], *names, "yes" if mine > theirs else "no", aim])
    head = ["at most, bytes", "nearfield", "recall", "best peer", "recall", "above every peer", "target"]
    return table(head, lines)


def _recall_table(rows: list[Row]) -> str:
    lines = [
        [
            _name(r),
            f"{r['bytes']:g}",
            f"{r['shared_bytes']:,}",
            f"{r['recall']['held-out']:.4f}",
            f"{r['recall']['shifted']:.4f}",
            f"{r['fit_s']:.1f}",
        ]
        for r in sorted(rows, key=lambda r: (r["bytes"], -r["recall"]["held-out"]))
    ]
    return table(["plan or peer", "bytes", "shared", "held-out", "shifted", "fit and encode, s"], lines)


def _judged(rows: list[Row]) -> str:
    found = _part(rows, "ndcg")
    if not found:
        return ""
    sets = list(found[0]["sets"])
    full = next((r for r in found if r["name"] == "raw()"), None)
    lines = []
    for r in sorted(found, key=lambda r: -_mean(r)):
        share = f"{_mean(r) / _mean(full):.4f}" if full and _mean(full) else ""
        size = sum(m["bytes"] for m in r["sets"].values()) / len(r["sets"])
        values = [f"{r['sets'][name]['ndcg10']:.4f}" if name in r["sets"] else "" for name in sets]
        lines.append([_code(r["name"]), f"{size:g}", *values, f"{_mean(r):.4f}", share])
    said = (
        "## Quality where relevance is judged (S001)\n\nnDCG@10 with MiniLM embeddings; *share* is of float32's mean. "
        "int8 stands in its scalings, since they are different results, and every reducer with and without a codec."
    )
    return f"{said}\n\n{table(['plan', 'bytes', *sets, 'mean', 'share'], lines)}"


def _texts(rows: list[Row]) -> str:
    found = _part(rows, "text")
    if not found:
        return ""
    sets = list(found[0]["sets"])
    lines = [[_name(r), *(_with_interval(r["sets"][name]) for name in sets), f"{_mean(r):.4f}"] for r in found]
    said = (
        "## Texts by words\n\nnDCG@10 of BM25 with 95% intervals over queries, and what it is ahead of bm25s with "
        "stems and stop words, paired by query."
    )
    return f"{said}\n\n{table(['tokenizer or peer', *sets, 'mean'], lines)}"


def _with_interval(measured: dict[str, Any]) -> str:
    text = f"{measured['ndcg10']:.4f} ({measured['low']:.3f} to {measured['high']:.3f})"
    if "ahead" in measured:
        text += f", {measured['ahead']:+.4f} ({measured['ahead_low']:+.3f} to {measured['ahead_high']:+.3f})"
    return text


def _encoders(rows: list[Row]) -> str:
    found = _part(rows, "encoder")
    if not found:
        return ""
    sets = found[0]["sets"]
    head = ["encoder", *(f"{name} (n = {m['n']:,})" for name, m in sets.items()), "texts/s"]
    lines = [[r["name"], *(_beside(r["sets"][name]) for name in sets), f"{r['texts_per_s']:,.0f}"] for r in found]
    said = (
        f"## Encoders of texts\n\nnDCG@10 (stsb: Spearman's correlation) with 95% intervals over queries, and what "
        f"{found[0]['name']} is ahead of each, paired by query; documents of {next(iter(sets))} encoded a second of "
        f"processor time. *lower*: texts in lower case. {_where(found[0])}"
    )
    return f"{said}\n\n{table(head, lines)}"


def _beside(measured: dict[str, Any]) -> str:
    low, high = measured["interval"]
    text = f"{measured['value']:.4f} ({low:.3f} to {high:.3f})"
    if "first_minus_this" in measured:
        least, most = measured["first_minus_this"]
        text += f", {measured['first_ahead']:+.4f} ({least:+.3f} to {most:+.3f})"
    return text


def _mean(row: Row) -> float:
    return float(sum(m["ndcg10"] for m in row["sets"].values()) / len(row["sets"]))


# -- scan and advise -------------------------------------------------------------------------------


def _scan(rows: list[Row]) -> str:
    found = _part(rows, "scan")
    if not found:
        return ""
    settings = _part(rows, "settings")[0]
    lines = []
    for r in found:
        ns = r["ns"]
        ratios = "; ".join(f"{x['median']:.2f}x {name}" for name, x in r.get("ratios", {}).items())
        aim = f", at most {r['limit']:g}x" if r.get("limit") else ""
        time = f"{ns['median']:.2f} ({ns['min']:.2f} to {ns['max']:.2f})" + (" disturbed" if r["disturbed"] else "")
        lines.append([f"{r['group']}, {r['mode']}", _name(r), f"{r['bytes']:g}", r["does"], time, ratios + aim])
    said = (
        f"## Nanoseconds a distance\n\n{settings['rows']:,} rows of 384 dimensions, batches of {settings['batch']} and "
        f"single queries, processor time, {settings['repeats']} interleaved repeats after one to warm up: median "
        f"(least to most). nearfield is timed as a user calls it, with the choice of the best rows; *distances* are "
        f"bare. Ratios are nearfield's time over the peer's. *Disturbed*: other work took the processor during "
        f"the measurement. {_where(rows[0])}"
    )
    return f"{said}\n\n{table(['what', 'engine', 'bytes', 'does', 'ns', 'ratio'], lines)}"


def _advise(rows: list[Row]) -> str:
    found = _part(rows, "advise")
    if not found:
        return ""
    lines = []
    for r in found:
        error = next((e for e in _part(rows, "error") if e["set"] == r["set"]), None)
        errors = (
            [f"{error['median']:.4f}", f"{error['worst']:.4f} ({_code(error['worst_plan'])})"] if error else ["", ""]
        )
        shape = f"{r['rows']:,} x {r['dim']}"
        lines.append([r["set"], shape, r["plans"], r["seconds"], r["peak_over_rows"], *errors, _code(str(r["best"]))])
    head = ["set", "rows", "plans", "seconds", "peak", "error, median", "error, worst", "chosen"]
    said = (
        f"## The adviser\n\nSeconds and peak memory (beyond the import, over the size of the rows as float32) on "
        f"{found[0]['threads_used']} threads; the error is predicted minus measured recall, over all plans. "
        f"{_where(rows[0])}"
    )
    plans = [
        [
            _code(r["name"]),
            f"{r['bytes']:g}",
            f"{r['predicted']:.4f}",
            f"{r['measured']:.4f}",
            f"{r['error']:+.4f}",
            r["set"],
        ]
        for r in _part(rows, "prediction")
    ]
    return "\n\n".join(
        [said, table(head, lines), table(["plan", "bytes", "predicted", "measured", "error", "set"], plans)]
    )


def _intervals(rows: list[Row]) -> str:
    """How often the adviser's intervals hold, and how near its choice is to the least bytes."""
    found = _part(rows, "coverage")
    if not found:
        return ""
    lines = [
        [r["set"], r["intervals"], *(f"{r[name]:.3f}" for name in ("held", "held_by_as_many")),
         f"{r['half_width']:.4f}",
         *(f"{r[name]:.3f}" for name in ("verified_held", "verified_held_by_as_many"))]
        for r in found
    ]  # fmt: skip
    least = _part(rows, "smallest")[0]
    said = (
        f"## What the adviser promises\n\nHow many of its 95% intervals of recall@10 hold what other queries find on "
        f"all rows: three times as many queries as it had, and as many. {least['runs']} plans that it chose lie within "
        f"{least['worst']:.3f} times the least number of bytes that was enough, {least['share']:.0%} within "
        f"{least['within']}. {_where(rows[0])}"
    )
    head = ["vectors", "intervals", "predicted", "as many", "half-width", "verified", "as many"]
    return f"{said}\n\n{table(head, lines)}"


def _versions(rows: list[Row]) -> str:
    """This version's speed over another one's."""
    found = [r for r in rows if r["part"] in ("dense", "store")]
    if not found:
        return ""
    lines = [
        [_code(r["name"]), what, f"{ratio['median']:.2f}", f"{ratio['min']:.2f} to {ratio['max']:.2f}"]
        for r in found
        for what, ratio in r["ratios"].items()
    ]
    said = (
        f"## This version and an earlier one\n\nSpeed over that of commit {found[0]['against']}, both built, in turn "
        f"on one core: the median of the rounds, and the least and most. {_where(rows[0])}"
    )
    return f"{said}\n\n{table(['plan or store', 'what', 'ratio', 'rounds'], lines)}"


# -- dense search ----------------------------------------------------------------------------------


def _dense(rows: list[Row]) -> str:
    found = _part(rows, "dense")
    if not found:
        return ""
    settings = _part(rows, "settings")[0]
    targets = [str(t) for t in settings["targets"]]
    said = (
        f"## Queries a second: {settings['of']}\n\nRecall@{settings['k']} of {settings['queries']:,} queries at each "
        f"effort; queries a second of processor time, median of {settings['rounds']} interleaved rounds, between two "
        f"neighbouring efforts by a straight line of the logarithm; empty where a recall is not reached. *Single*: one "
        f"call a query; *batch*: all queries in one call. Bytes a vector are of the saved file, everything included. "
        f"{_where(rows[0])}"
    )
    head = ["mode", "class, at most", "recall", "nearfield", "QPS", "best peer", "QPS", "ratio", "over hnswlib"]
    lines = []
    for v in _part(rows, "verdict"):
        what = [v["mode"], f"{v['class']}, {v['most_bytes']:,} B", f"{v['target']:.2f}"]
        sides = [
            [_code(v[w]["label"]), f"{v[w]['qps']:,.0f}"] if v[w] else ["nobody", ""] for w in ("nearfield", "peer")
        ]
        ratios = [f"{v[w]['median']:.2f}" if v[w] else "" for w in ("ratio", "over_hnswlib")]
        lines.append([*what, *sides[0], *sides[1], *ratios])
    every = [
        [r["mode"], *_speed_cells(r, targets), _tail(r)] for r in sorted(found, key=lambda r: (r["mode"], r["bytes"]))
    ]
    columns = ["mode", "engine", "bytes", "build, CPU s", *targets, "p50 / p99, ms, near the last"]
    return "\n\n".join([said, table(head, lines), table(columns, every)])


def _short_dense(rows: list[Row]) -> str:
    """The README's table: a line for each class and recall that both sides reach, one call a query."""
    verdicts = [v for v in _part(rows, "verdict") if v["mode"] == "single" and v["nearfield"] and v["peer"]]
    if not verdicts:
        return ""
    settings = _part(rows, "settings")[0]
    said = (
        f"Queries a second over {settings['rows']:,} of these rows, one call a query, at recall@{settings['k']} "
        f"against the best of its class among faiss, hnswlib, usearch, scann, scalable-vs and rabitqlib, each swept "
        f"over its efforts in the same run. Bytes count links, constants and shared tables."
    )
    head = ["at most, bytes", "recall", "nearfield", "QPS", "best peer", "QPS", "ratio", "over hnswlib"]
    lines = []
    for v in verdicts:
        most = f"{v['most_bytes']:,}" if v["most_bytes"] < 1_000_000 else "any"
        mine, peer = (v[w]["label"].partition(": ") for w in ("nearfield", "peer"))
        ratios = [f"{v[w]['median']:.2f}" if v[w] else "" for w in ("ratio", "over_hnswlib")]
        sides = [
            _code(mine[2]),
            f"**{v['nearfield']['qps']:,.0f}**",
            f"{peer[0]} {peer[2]}",
            f"{v['peer']['qps']:,.0f}",
        ]
        lines.append([most, f"{v['target']:.2f}", *sides, *ratios])
    return f"{said}\n\n{table(head, lines)}\n\n{_where(rows[0])}\n\n"


def _speed_cells(r: Row, targets: list[str]) -> list[str]:
    speeds = [f"{r['at'][t]['median']:,.0f}" if t in r["at"] else "" for t in targets]
    return [_name(r), f"{r['bytes']:,.0f}", f"{r['build_s']:,.1f}", *speeds]


def _tail(r: Row) -> str:
    last = r["points"][-1] if r["points"] else {}
    return f"{last['p50_ms']:.3f} / {last['p99_ms']:.3f} at {last['recall']:.3f}" if "p99_ms" in last else ""


_CLUSTERED = "*clustered* are the stress set of `bench/generator.py`"
_LENGTHS = "lengths are drawn in `bench/norms.py`, and factors are of items that users listened to"


def _scored(rows: list[Row], which: str = "", sources: str = _CLUSTERED) -> str:
    settings = _part(rows, "settings")
    if not settings:
        return ""
    counts = [str(count) for count in settings[0]["scored"]]
    said = (
        f"## Recall at equal rows scored{which}\n\nRecall@{settings[0]['k']} where so many rows are scored a query, "
        f"for {settings[0]['queries']:,} queries over {settings[0]['rows']:,} rows; {sources}. "
        f"A plan's count is of its first stage and of rows scored again, faiss's of distances; "
        f"hnswlib does not count, and what faiss computes at the same ef stands for it. Empty where no effort scores "
        f"so few. {_where(rows[0])}"
    )
    cells = [
        [_name(r), r["of"], *("" if (at := r["at"][c]) is None else f"{at:.4f}" for c in counts)]
        for r in _part(rows, "scored")
    ]
    return "\n\n".join([said, table(["engine", "rows", *counts], cells)])


def _growth(rows: list[Row]) -> str:
    found = _part(rows, "growth")
    if not found:
        return ""
    targets = [str(t) for t in _part(rows, "settings")[0]["targets"]]
    said = (
        f"## Growing rows\n\nRows drawn from a generator that is fitted to real ones (`bench/generator.py`). Exponents "
        f"*e* of value ~ rows^*e*, fitted over all sizes. {_where(rows[0])}"
    )
    lines = [[f"{r['rows']:,}", *_speed_cells(r, targets)] for r in found]
    fitted = _part(rows, "exponents")
    names = list(dict.fromkeys(what for r in fitted for what in r["exponents"]))
    slopes = [[_name(r), *("" if (e := r["exponents"].get(n)) is None else f"{e:.2f}" for n in names)] for r in fitted]
    sizes = table(["rows", "engine", "bytes", "build, CPU s", *(f"QPS at {t}" for t in targets)], lines)
    return "\n\n".join([said, sizes, table(["engine", *names], slopes)])


def _filtered(rows: list[Row]) -> str:
    found = _part(rows, "crossing")
    if not found:
        return ""
    said = (
        f"## Filters\n\nMicroseconds of processor time a query (recall@10) on the arXiv papers, one call a query: each "
        f"way alone, and what the planner takes. *Ratio* is the planner's time over the best way's of the same recall. "
        f"A way that took more than five times the planner's time was asked only a few of the queries. "
        f"{_where(rows[0])}"
    )
    ways = list(dict.fromkeys(way for r in found for way in r["ways"]))
    lines = []
    for r in found:
        cells = [f"{w['us']['median']:.0f} ({w['recall']:.3f})" if (w := r["ways"].get(way)) else "" for way in ways]
        ratio = f"{r['over_best']['median']:.2f} of {r['best']}" if "best" in r else ""
        lines.append([_code(r["name"]), r["filter"], f"{100 * r['share']:g}%", *cells, ratio])
    parts = [said, table(["plan", "filter", "share", *ways, "ratio"], lines)]
    peers = _part(rows, "filtered")
    if peers:
        targets = list(dict.fromkeys(str(v["target"]) for v in _part(rows, "verdict")))
        cells = [[r["filter"], f"{100 * r['share']:g}%", *_speed_cells(r, targets)] for r in peers]
        parts.append(
            table(["filter", "share", "engine", "bytes", "build, CPU s", *(f"QPS at {t}" for t in targets)], cells)
        )
    stores = _part(rows, "store")
    if stores:
        kinds = list(stores[0]["p50_ms"])
        cells = [[r["engine"], *(f"{r['p50_ms'][k]:.2f} ({r['recall'][k]:.3f})" for k in kinds)] for r in stores]
        parts.append(table(["store", *(f"{k}: p50, ms (recall)" for k in kinds)], cells))
    return "\n\n".join(parts)


def _tiers(rows: list[Row]) -> str:
    found = _part(rows, "search")
    if not found:
        return ""
    of = _part(rows, "settings")[0]
    said = (
        f"## Memory and disk\n\n{of['rows']:,} rows of 384 dimensions in one file, recall@{of['k']}, one query a call, "
        f"wall time. *Resident* is the whole process, interpreter and mapped pages included; *cold* drops the file's "
        f"pages from the system's cache before each query. {_where(rows[0])}"
    )
    lines = []
    for r in found:
        how = f"{r['memory']}, {'cold' if r['cold'] else 'warm'}" if r["memory"] else "all in memory"
        disk = r.get("disk")
        reads = [f"{disk['reads']:.0f}", f"{100 * disk['ready']:.0f}%"] if disk else ["", ""]
        times, resident = f"{r.get('times_memory', 1):.2f}", f"{r['resident']['VmRSS'] / 1e6:.0f}"
        cells = [f"{r['recall']:.4f}", f"{r['p50_ms']:.3f}", f"{r['p99_ms']:.3f}", times, resident]
        lines.append([_code(r["plan"]), how, *cells, f"{r['open_ms']:.1f}", *reads])
    head = ["plan", "held", "recall", "p50, ms", "p99, ms", "times memory's p50", "resident, MB", "open, ms"]
    return "\n\n".join([said, table([*head, "reads a query", "there in time"], lines)])


def _streaming(rows: list[Row]) -> str:
    ends = [r for r in rows if r["part"] in ("consolidated", "fresh")]
    if not ends:
        return ""
    said = (
        f"## Rows that come and go\n\nRunbooks in the format of big-ann-benchmarks over 60,000 real rows: recall@10 at "
        f"the end, when deleted rows have been taken out of the graph, beside that of a fresh build of the rows left. "
        f"`{ends[0]['plan']}`. {_where(rows[0])}"
    )
    budgets = list(ends[0]["recall"])
    books = dict.fromkeys((r["book"], r["order"]) for r in ends)
    lines = []
    for book, order in books:
        own = {r["part"]: r for r in ends if (r["book"], r["order"]) == (book, order)}
        pairs = [f"{own['consolidated']['recall'][b]:.4f} / {own['fresh']['recall'][b]:.4f}" for b in budgets]
        steps = [r for r in rows if r["part"] == "step" and (r["book"], r["order"]) == (book, order)]
        took = sum(r["seconds"] for r in steps if "seconds" in r)
        lines.append(
            [
                book,
                order,
                *pairs,
                f"{took:.1f}",
                f"{own['consolidated']['seconds']:.1f}",
                f"{own['fresh']['seconds']:.1f}",
            ]
        )
    head = ["runbook", "order", *(f"recall at budget {b}, updated / fresh" for b in budgets)]
    return "\n\n".join([said, table([*head, "all changes, s", "consolidation, s", "fresh build, s"], lines)])


# -- collections -----------------------------------------------------------------------------------


def _speeds(row: Row) -> str:
    return " / ".join(f"{v:,.0f}" for v in row["rows_per_s"].values())


def _times(row: Row, name: str, kinds: Iterable[str]) -> str:
    return " / ".join(f"{row[name][kind]:.1f}" for kind in kinds)


def _short_store(rows: list[Row]) -> str:
    """The README's table: a line an engine."""
    found = _part(rows, "store")
    if not found:
        return ""
    kinds = list(found[0]["p50_ms"])
    batches = " / ".join(f"{int(b):,}" for b in found[0]["rows_per_s"])
    head = [
        "engine",
        "a write is",
        f"rows/s, {batches} a call",
        "bytes a row",
        "first answer, s",
        "p50, ms",
        "recall@10",
    ]
    lines = [
        [
            f"**{r['engine']}**" if r["engine"].startswith("nearfield") else r["engine"],
            "synced" if r["durability"] == "full" else "not synced",
            _speeds(r),
            f"{r['bytes_per_row']:,.0f}",
            f"{r['open_cold_s']:.2f}",
            _times(r, "p50_ms", kinds),
            " / ".join(f"{r['recall'][k]:.2f}" for k in kinds),
        ]
        for r in found
    ]
    share = ", ".join(k for k in kinds if k != "all")
    said = (
        f"Collections of {found[0]['rows']:,} real rows (384 dimensions, float32: 1,536 bytes) with four keys of "
        f"metadata, one core. First answer: from a cold page cache, imports and all. p50: of all rows, and where a "
        f"filter lets {share} through."
    )
    return f"{said}\n\n{table(head, lines)}\n\n{_where(found[0])}\n\n"


def _short_crash(rows: list[Row]) -> str:
    """What the crash suites counted."""
    if not {"kills", "faults", "replay"} <= {r["part"] for r in rows}:
        return ""

    def total(part: str, name: str) -> str:
        return f"{sum(r[name] for r in rows if r['part'] == part):,}"

    bad = sum(r["problems"] for r in rows)
    both = any(r.get("target") == "collection-moved" for r in rows)
    moved = ", of folders that stay and of folders that are moved and linked meanwhile" if both else ""
    model = "".join(
        f", and {r['steps']:,} steps of {r['rules']} kinds in {r['sequences']:,} random sequences, compared with a "
        f"dictionary after each"
        for r in rows
        if r["part"] == "model"
    )
    return (
        f"Crashes (`make crash`){moved}: "
        f"{total('kills', 'kills')} SIGKILLs at random moments and calls with "
        f"{total('kills', 'rows_acknowledged')} rows acknowledged: {total('kills', 'lost')} lost, "
        f"{total('kills', 'torn')} torn, {total('kills', 'repairs')} repairs. {total('faults', 'cases')} failing calls "
        f"(no space, EIO, short write), and {total('replay', 'crashes')} power cuts over {total('replay', 'events')} "
        f"recorded events{model}: {bad or 'no'} problems.\n\n"
    )


def _store(rows: list[Row]) -> str:
    found = _part(rows, "store")
    if not found:
        return ""
    kinds = list(found[0]["p50_ms"])
    said = (
        f"## Collections\n\nRows a second by rows a call; bytes on the disk; seconds from the start of the program to "
        f"the first answer (cold page cache / warm / without imports of Python and NumPy); milliseconds a query and "
        f"recall@10 for {' / '.join(kinds)} of the rows. Every engine in its own process, on one core. "
        f"{_where(found[0])}"
    )
    lines = [
        [
            r["engine"], _code(r["requirements"][0]) if r["requirements"] != ["."] else "", r["durability"], _speeds(r),
            f"{r['bytes_per_row']:,.1f}",
            f"{r['open_cold_s']:.2f} / {r['open_warm_s']:.2f} / {r['open_open_s']:.2f}",
            _times(r, "p50_ms", kinds), _times(r, "p99_ms", kinds),
            " / ".join(f"{r['recall'][k]:.3f}" for k in kinds),
        ]
        for r in found
    ]  # fmt: skip
    head = ["engine", "version", "durability", "rows/s", "bytes a row", "first answer", "p50", "p99", "recall"]
    return "\n\n".join([said, table(head, lines)])


if __name__ == "__main__":
    sys.exit(main())
