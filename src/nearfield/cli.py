"""The command line: verbs only, each calls one library function.

Results go to stdout, talk to stderr; a user's error is one line and exit code 2.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click

import nearfield
from nearfield import cli_collection
from nearfield.cli_base import (
    AS_JSON,
    ENCODER,
    FORCE,
    KEY,
    METRIC,
    ON_ZERO,
    SEED,
    Verb,
    dump,
    one_line,
    print_lines,
    progress_bar,
    verb,
)
from nearfield.core.errors import BadInput, NearfieldError
from nearfield.store.outputs import check_output


class Verbs(click.Group):
    """All verbs."""

    command_class = Verb


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(nearfield.__version__, prog_name="nearfield")
@click.pass_context
def cli(context: click.Context) -> None:
    """nearfield: measure the trade-off on your own vectors, pick the smallest plan, search with it."""
    if context.invoked_subcommand is None:  # versions of click differ in what they do then
        click.echo(context.get_help(), err=True)
        raise click.exceptions.Exit(2)


def _read(path: str, key: str | None, encoder: str | None, *, what: str = "vectors") -> tuple[Any, Any, Any, Any]:
    """Vectors from any file: (vectors, ids, texts, encoder); texts are encoded."""
    from nearfield.search.encoding import as_encoder, encode_texts, encoder_of
    from nearfield.store import exchange, io

    if not io.is_text(path):
        source = io.read_vectors(path, **io.inside(path, key))
        return source, source.ids, None, encoder and encoder_of(encoder, source.shape[1])
    whole = exchange.read_whole(path, key)
    if whole is not None:
        return whole.vectors, whole.ids, whole.texts, encoder and encoder_of(encoder, whole.vectors.shape[1])
    found = io.read_texts(path, field=key)
    made = as_encoder(encoder or "static")
    return encode_texts(made, found.texts, queries=what == "queries"), found.ids, found.texts, made


@cli.command()
@click.argument("corpus")
@click.option("--queries", help="Sample queries: vectors, or texts where the corpus is texts.")
@click.option("--qrels", help="Relevance judgements (BEIR or TREC layout); needs --queries.")
@click.option("--labels", help="One label a row: k-nearest-neighbour accuracy is measured.")
@click.option("--pairs", help="Scored pairs of rows (i, j, score) or of texts: Spearman's correlation is measured.")
@click.option("--keep", type=float, help="Share of float32's quality to keep, such as 0.98.")
@click.option("--bytes", "bytes_", type=float, help="Most bytes a row.")
@click.option("--smaller", help="How many times smaller than float32, such as 8x.")
@click.option("--latency", type=float, help="Most microseconds a query.")
@METRIC
@click.option("-k", default=10, show_default=True, help="Neighbours: recall@k.")
@click.option(
    "--sample",
    default=15_000,
    show_default=True,
    help="The most rows that the sweep looks at; of wide rows it takes fewer.",
)
@click.option("--plan", "plans", multiple=True, help="Sweep these plans only (repeatable).")
@click.option("--all", "all_", is_flag=True, help="Sweep the slow reducers too.")
@click.option("--indexes/--no-indexes", default=None, help="Build indexes too, of all rows, or never.")
@click.option("--no-verify", is_flag=True, help="Do not check the chosen plan on every row.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Write the picture (.png or .svg); extra: plot.")
@KEY
@ENCODER
@ON_ZERO
@SEED
@FORCE
@AS_JSON
def advise(corpus: str, **given: Any) -> None:
    """Measure plans on CORPUS; pick the smallest that keeps the quality asked for.

    CORPUS: a file, a folder of Parquet parts, or a collection's folder.
    """
    if given["plot"]:
        from nearfield.adviser.plot import backend_for

        backend_for(given["plot"])
        check_output(given["plot"], overwrite=given["force"])
    if cli_collection.is_collection(corpus):
        x, row_ids, encoder = nearfield.open(corpus, mode="r"), None, None
    else:
        x, row_ids, _, encoder = _read(corpus, given["key"], given["encoder"])
    queries, query_ids = None, None
    if given["queries"]:
        queries, query_ids, _, _ = _read(given["queries"], None, encoder, what="queries")
    from nearfield.adviser.inputs import judgements, label_rows, pair_rows

    advice = nearfield.advise(
        x,
        queries=queries,
        metric=given["metric"],
        k=given["k"],
        keep=given["keep"],
        bytes=given["bytes_"],
        smaller=_times(given["smaller"]),
        latency_us=given["latency"],
        qrels=judgements(given["qrels"], query_ids, row_ids) if given["qrels"] else None,
        labels=label_rows(given["labels"]) if given["labels"] else None,
        pairs=pair_rows(given["pairs"], encoder) if given["pairs"] else None,
        plans=list(given["plans"]) or None,
        all=given["all_"],
        indexes=given["indexes"],
        sample=given["sample"],
        rng=given["seed"],
        on_zero=given["on_zero"],
        verify=not given["no_verify"],
        progress=progress_bar(),
    )
    click.echo(advice.to_json() if given["as_json"] else verb().in_flags(str(advice)))
    if given["plot"]:
        advice.plot(given["plot"])


@cli.command()
@click.argument("corpus")
@click.option("--queries", help="Queries: vectors, or texts where the corpus is texts. None: rows are held out.")
@click.option("--plan", required=True, help="The plan whose index is looked at.")
@click.option("--budget", type=click.IntRange(min=1), default=None, help="Rows that the first stage may score.")
@click.option("--order", "orders", multiple=True, help="given, shuffled, 'lid up' or 'lid down' (repeatable).")
@METRIC
@click.option("-k", default=10, show_default=True, help="Neighbours: recall@k.")
@KEY
@ENCODER
@SEED
@AS_JSON
def audit(corpus: str, **given: Any) -> None:
    """Tell recall of a plan over CORPUS by the order of insertion and by local dimension of the queries."""
    x, _, _, encoder = _read(corpus, given["key"], given["encoder"])
    queries = _read(given["queries"], None, encoder, what="queries")[0] if given["queries"] else None
    found = nearfield.audit(
        x, given["plan"], queries, metric=given["metric"], k=given["k"], budget=given["budget"], rng=given["seed"],
        progress=progress_bar(), **({"orders": given["orders"]} if given["orders"] else {}),
    )  # fmt: skip
    click.echo(dump(found.to_dict()) if given["as_json"] else str(found))


@cli.command()
@click.argument("corpus")
@METRIC
@KEY
@ENCODER
@SEED
@AS_JSON
def inspect(corpus: str, **given: Any) -> None:
    """Tell what the vectors of CORPUS are like: every measure, its 95% interval and how to read it."""
    from nearfield.core import rooms

    x = _read(corpus, given["key"], given["encoder"])[0]
    for name in rooms.catalog("measures"):
        report = rooms.load("measures", name)(x, metric=given["metric"], rng=given["seed"])
        click.echo(dump(report.to_dict()) if given["as_json"] else str(report))


def _times(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text[:-1] if text[-1:] in "xX" else text)
    except ValueError:
        raise BadInput(f"--smaller: expected a number such as 8 or 8x, got {text!r}") from None


@cli.command()
@click.argument("corpus")
@click.argument("out", type=click.Path(dir_okay=False))
@click.option("--plan", required=True, help="The plan, as advise prints it.")
@click.option("--queries", help="Sample queries, for plans that use them (leanvec).")
@METRIC
@KEY
@ENCODER
@ON_ZERO
@SEED
@FORCE
@AS_JSON
def compress(corpus: str, out: str, **given: Any) -> None:
    """Apply a plan to every row of CORPUS and write one .nf file."""
    plan = nearfield.Plan(given["plan"])
    for name in (corpus, given["queries"]):
        if name and os.path.realpath(name) == os.path.realpath(out):
            raise BadInput(f"compress: {out!r} is read from; write to another file")
    check_output(out, overwrite=given["force"])
    x, ids, texts, encoder = _read(corpus, given["key"], given["encoder"])
    queries = _read(given["queries"], None, encoder, what="queries")[0] if given["queries"] else None
    packed = plan.fit(
        x,
        metric=given["metric"],
        ids=ids,
        texts=texts,
        queries=queries,
        rng=given["seed"],
        on_zero=given["on_zero"],
        encoder=encoder,
        out=out,
        progress=progress_bar(),
    )
    told = {
        "file": out,
        "plan": str(plan),
        "rows": len(packed),
        "dim": packed.dim,
        "metric": packed.metric,
        "bytes_per_row": packed.bytes_per_row,
        "shared_bytes": packed.shared_bytes,
        "disk_bytes": packed.disk_bytes,
    }
    if given["as_json"]:
        click.echo(dump(told))
    else:
        click.echo(
            f"{out}: {len(packed)} rows x {packed.dim}, {packed.bytes_per_row:g} bytes a row, "
            f"{packed.shared_bytes} shared, {packed.disk_bytes} on disk"
        )


@cli.command()
@click.argument("file")
@click.argument("text", required=False)
@click.option("--queries", help="Query vectors (or texts), any format that advise reads.")
@click.option("-k", default=10, show_default=True, help="How many rows for each query.")
@click.option("--budget", type=int, default=None, help="Rows that the first stage may score for a query.")
@click.option("--where", default=None, help='A filter on metadata (collections), such as "year > 2020".')
@click.option("--fuse", default=None, help="How rankings are fused (collections): rrf, weighted, combsum ...")
@click.option("--field", default=None, help="The vector field (collections), where there are several.")
@click.option("--explain", is_flag=True, help="Tell on stderr which way was taken (collections).")
@KEY
@ENCODER
@ON_ZERO
@AS_JSON
def search(file: str, text: str | None, **given: Any) -> None:
    """Search FILE, a .nf file or a collection's folder, with TEXT or --queries; prints id, score and text.

    Of a .nf file with --json one array on stdout: the hits of TEXT, or with --queries an array of hits for each query.
    Of a collection a line of JSON for each hit; TEXT is ranked by its words and, where an encoder is recorded, by its
    meaning.
    """
    if (text is None) == (given["queries"] is None):
        raise BadInput('search: expected either a text, such as "warm socks", or --queries, and not both')
    if cli_collection.is_collection(file):
        queries_there = None if text is not None else _query_source(given)
        cli_collection.search_rows(file, text, queries_there, given)
        return
    for name in ("where", "fuse", "field", "explain"):
        if given[name]:
            raise BadInput(f"{name}: expected a collection's folder, as a .nf file holds no metadata, got {file!r}")
    packed = nearfield.load(file)
    queries: Any = [text] if text is not None else _query_source(given)
    hits = packed.search(
        queries, k=given["k"], budget=given["budget"], encoder=given["encoder"], on_zero=given["on_zero"]
    )
    if given["as_json"]:
        found = hits.to_dicts()
        click.echo(dump(found if text is None else found[0]))
        return
    print_lines(_hit_lines(hits))


def _hit_lines(hits: Any) -> Iterator[str]:
    for number, found in enumerate(hits):
        lead = f"{number}\t" if len(hits) > 1 else ""
        for hit in found:
            told = f"{lead}{one_line(hit.id)}\t{hit.score:.4f}"
            yield told + (f"\t{one_line(hit.text)}" if hit.text else "")


def _query_source(given: dict[str, Any]) -> Any:
    from nearfield.store import exchange, io

    path, key = given["queries"], given["key"]
    if not io.is_text(path):
        return io.read_vectors(path, **io.inside(path, key))
    whole = exchange.read_whole(path, key)
    return io.read_texts(path, field=key).texts if whole is None else whole.vectors


@cli.command()
@click.argument("texts")
@click.argument("out", type=click.Path(dir_okay=False))
@ENCODER
@FORCE
@AS_JSON
def encode(texts: str, out: str, encoder: str | None, force: bool, as_json: bool) -> None:
    """Encode TEXTS (JSON lines, or a text a line) into OUT, a .npy file of float32."""
    from nearfield.search.encoding import as_encoder, encode_texts
    from nearfield.store import io

    if not out.endswith(".npy"):
        raise BadInput(f"encode: expected an output that ends in .npy, got {out!r}")
    check_output(out, overwrite=force)
    made = as_encoder(encoder or "static")
    vectors = encode_texts(made, io.read_texts(texts).texts, progress=progress_bar())
    io.write_npy(out, vectors)
    told = {"file": out, "rows": len(vectors), "dim": int(vectors.shape[1]), "space": made.space}
    click.echo(dump(told) if as_json else f"{out}: {len(vectors)} rows x {vectors.shape[1]}")


@cli.command()
@click.argument("file", required=False)
@AS_JSON
def info(file: str | None, as_json: bool) -> None:
    """Tell what this installation holds, or what a .nf FILE or a collection's folder holds."""
    if file is not None and cli_collection.is_collection(file):
        cli_collection.describe(file, as_json)
        return
    if file is None:
        told = nearfield.info()
    else:
        packed = nearfield.load(file)
        packed.verify()
        told = {
            "plan": str(packed.plan),
            "metric": packed.metric,
            "rows": len(packed),
            "dim": packed.dim,
            "bytes_per_row": packed.bytes_per_row,
            "shared_bytes": packed.shared_bytes,
            "nbytes": packed.nbytes,
            "disk_bytes": packed.disk_bytes,
            "least_memory": packed.least_memory,
            "on_disk": {name: column.nbytes for name, column in packed.on_disk.items()},
            "space": packed.space,
            "ids": packed.ids is not None,
            "texts": packed.texts is not None,
        }
    if as_json:
        click.echo(dump(told))
        return
    for key, value in told.items():
        click.echo(f"{key}: {one_line(dump(value) if isinstance(value, dict) else value)}")


@cli.command()
@click.argument("room", required=False)
@AS_JSON
def methods(room: str | None, as_json: bool) -> None:
    """List every method: its room, status, papers and what it is."""
    found = nearfield.methods(room)
    if as_json:
        keys = ("name", "room", "summary", "paper", "papers", "needs", "status", "slow")
        click.echo(dump([{k: getattr(m, k) for k in keys} for m in found]))
        return
    for m in found:
        click.echo(f"{m.room:9} {m.name:22} {m.status:12} {m.summary}")


def claim_text(claim: dict[str, str]) -> str:
    """A claim, its figure, and what it leaves out of the paper's."""
    without = f" (without {claim['without']})" if claim.get("without") else ""
    return f"{claim['claim']}{without} {claim['figure']}"


@cli.command()
@click.option("--served", is_flag=True, help="Only papers that a method serves.")
@AS_JSON
def papers(served: bool, as_json: bool) -> None:
    """List all papers, how much of each is here, the methods that serve it, and what their claims tests measured."""
    found = [p for p in nearfield.papers() if p["methods"] or p["claims"] or not served]
    if as_json:
        click.echo(dump(found))
        return
    for paper in found:
        names = ", ".join(paper["methods"]) or "no method yet"
        click.echo(f"{paper['id']}  {paper['title']}\n      {names}")
        if paper["state"] != "none":
            click.echo(f"      {paper['state']:8} " + (f"without {paper['missing']}" if paper["missing"] else "of it"))
        for claim in paper["claims"]:
            click.echo(f"      {claim['status']:8} {claim_text(claim)}".rstrip())


@cli.command()
@click.argument("suites", nargs=-1)
@click.option("--quick", is_flag=True, help="Few rows, to see that everything works; nothing is kept.")
@AS_JSON
def bench(suites: tuple[str, ...], quick: bool, as_json: bool) -> None:
    """Run benchmark SUITES (all when none is named) of a checkout against peers."""
    import runpy
    from pathlib import Path

    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "bench" / "run.py").is_file():
            sys.argv = ["bench", *suites, *["--quick"] * quick, *["--json"] * as_json]
            runpy.run_path(str(folder / "bench" / "run.py"), run_name="__main__")
            return
    raise BadInput("bench: expected to run inside a checkout of nearfield, where bench/run.py is; got " + str(here))


@cli.command()
@click.option("--out", default="nearfield-demo", show_default=True, help="Folder for the file and the picture.")
@click.option("--limit", type=click.IntRange(min=100), default=None, help="Only so many passages.")
@AS_JSON
def demo(out: str, limit: int | None, as_json: bool) -> None:
    """Show the main job on the docstrings of the standard library."""
    from nearfield.demo import run

    told = run(out, lambda line: click.echo(line, err=as_json), limit=limit)
    if as_json:
        click.echo(dump(told))


for _made in cli_collection.VERBS:
    cli.add_command(_made)


def main(arguments: list[str] | None = None) -> None:
    """The entry point: runs a verb, and turns errors into one line and an exit code."""
    code = guarded(lambda: cli.main(args=arguments, prog_name="nearfield", standalone_mode=False))
    sys.exit(code)


def guarded(run: Callable[[], Any]) -> int:
    """Run, and return the exit code: 2 for a user's error, 130 for Ctrl-C, 0 for a closed pipe."""
    try:
        result = run()
        return result if isinstance(result, int) else 0
    except NearfieldError as error:
        click.echo(f"nearfield: {one_line(error)}", err=True)
        return 2
    except click.ClickException as error:
        hint = " (see --help)" if isinstance(error, click.UsageError) else ""
        click.echo(f"nearfield: {one_line(error.format_message())}{hint}", err=True)
        return 2
    except (KeyboardInterrupt, click.Abort):
        click.echo("\n" * sys.stderr.isatty() + "nearfield: stopped", err=True)  # a terminal shows ^C on the line
        return 130
    except BrokenPipeError:
        # The reader went away (| head): leave quietly, and keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as stop:
        # click leaves with 1 where the reader went away, after wrapping stdout so that it stays silent.
        if type(sys.stdout).__name__.endswith("PacifyFlushWrapper"):
            return 0
        return stop.code if isinstance(stop.code, int) else 1
    except MemoryError:
        click.echo("nearfield: not enough memory; try a smaller --sample, or a file rather than an array", err=True)
        return 2
    except OSError as error:
        told = f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
        click.echo(f"nearfield: {one_line(told)}", err=True)
        return 2


__all__ = ["cli", "main"]
