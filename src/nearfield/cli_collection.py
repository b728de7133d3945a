"""Verbs of Collections: folders of rows that are added, searched, changed, kept sound."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import nearfield
from nearfield.cli_base import (
    AS_JSON,
    ENCODER,
    FORCE,
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
from nearfield.core.errors import BadInput, Corrupt
from nearfield.core.text import safe

if TYPE_CHECKING:
    from nearfield.collection.collection import Collection
    from nearfield.store.rows import RowBatch

_WHERE = click.option("--where", default=None, help="A filter, such as \"year > 2020 and lang in ('de', 'fr')\".")
_FIELD = click.option("--field", default=None, help="The vector field, where there are several.")
_SHOWN = 60


def is_collection(path: str) -> bool:
    """Whether a path leads to a Collection's folder, and not to the parts of a table."""
    from nearfield.store import io_parts

    if not os.path.isdir(path):
        return False
    return os.path.exists(os.path.join(path, "catalog.db")) or not io_parts.parts_in(path)


def _open(folder: str, *, write: bool = False, encoder: str | None = None) -> closing[Collection]:
    """A Collection that is there."""
    return closing(nearfield.open(folder, mode="a" if write else "r", encoder=encoder))


def _note_unknown(made: Collection, where: str | None) -> None:
    """Say on stderr which keys of a filter no row has yet; of those that look misspelt the library warns."""
    from nearfield.store.filters import misspelt, parse_where, unknown_paths

    if where is None:
        return
    parsed, keys = parse_where(where), made.keys()
    slips = misspelt(parsed, keys)
    for path, hint in unknown_paths(parsed, keys).items():
        if path not in slips:
            click.echo(f"note: no row has the key {one_line(repr(path))}; {one_line(hint)}", err=True)


def _ids(folder: Collection, given: Iterable[str]) -> list[Any]:
    """Ids as the Collection has them: numbers where these are numbers."""
    if folder.info()["ids"] != "int":
        return list(given)
    out = []
    for text in given:
        try:
            out.append(int(text))
        except ValueError:
            raise BadInput(f"ids: expected whole numbers, as those that are there, got {text!r}") from None
    return out


def _note_missing(made: Collection, ids: list[Any]) -> None:
    """Say on stderr which ids are not there; the verb ends with exit code 1."""
    there = {row.id for row in made.get(ids)}
    missing = [one_line(repr(name)) for name in ids if name not in there]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        click.echo(f"nearfield: no row has the id {', '.join(missing[:5])}{more}", err=True)
        verb().lacking = True


@click.command(cls=Verb)
@click.argument("folder")
@click.argument("files", nargs=-1, required=True)
@click.option("--id", "id_", default=None, help="Column or key of the ids (default: found by name).")
@click.option("--text", default=None, help="Column or key of the texts.")
@click.option("--vector", default=None, help="Column or key of the vectors.")
@click.option("--dim", type=int, default=None, help="Width of the vectors of a new collection (default: the file's).")
@click.option(
    "--tokenizer",
    default=None,
    help="How a new collection cuts words: snowball (the default), porter, unicode61, ascii, trigram, or a call.",
)
@click.option("--batch", type=click.IntRange(min=1), default=10_000, show_default=True, help="Rows of one commit.")
@click.option("--new-only", is_flag=True, help="Refuse ids that are there.")
@METRIC
@ENCODER
@ON_ZERO
@AS_JSON
def add(folder: str, files: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Write the rows of FILES into FOLDER, in place of those of the same ids; makes the collection if it is new.

    FILES: JSON lines, CSV, Parquet, Arrow, folders of Parquet or Arrow parts, BEIR folders, or vectors in any format
    that advise reads; ``-`` is standard input. Where no row of a file has a vector, titles and texts are encoded. Rows
    without ids are numbered behind those that are there: a file that is added twice is there twice.
    No file may replace rows that were numbered in the same call: put files with ids first.
    """
    from nearfield.collection import exchange

    names = {"id": given["id_"], "text": given["text"], "vector": given["vector"]}
    sources = [exchange.batches_of(file, given["batch"], **names) for file in files]
    first = next(sources[0], None)
    if first is None:
        raise BadInput(f"add: expected rows in {files[0]}, got none")
    sources[0] = chain([first], sources[0])
    again = (b for file in files for b in exchange.batches_of(file, given["batch"], **names))
    added = without = 0
    numbered: list[range] = []
    with closing(_for_rows(folder, first, again, given)) as made:
        for source in sources:
            done = exchange.load(
                made, source, new_only=given["new_only"], encoder=None, progress=progress_bar(), numbered=numbered
            )
            numbered += done.numbered
            added, without = added + done.rows, without + done.without
        told = {"folder": folder, "added": added, "rows": len(made)}
    if without:
        told["without_vector"] = without
    more = f"; {without:,} rows without a vector" if without else ""
    click.echo(dump(told) if as_json else f"{folder}: {added} rows written, {told['rows']} there{more}")


def _for_rows(folder: str, first: RowBatch, again: Iterable[RowBatch], given: dict[str, Any]) -> Collection:
    """The Collection, made to fit the first vector where it is not there."""
    if os.path.exists(os.path.join(folder, "catalog.db")):
        there: Collection = nearfield.open(folder, encoder=given["encoder"], dim=given["dim"])
        return there
    dim, encoder = given["dim"], given["encoder"]
    if dim is None and first.vectors:
        dim = _width(first) or next(filter(None, map(_width, again)), None)
        if dim is None:
            raise BadInput("add: expected a vector in some row, got none in any; say dim=, or correct the file")
    elif dim is None and encoder is None:
        encoder = "static"
    how = {"metric": given["metric"], "on_zero": given["on_zero"], "tokenizer": given["tokenizer"]}
    made: Collection = nearfield.open(folder, dim=dim, encoder=encoder, **how)
    return made


def _width(batch: RowBatch) -> int | None:
    """The width of the vectors of some rows, None where none of them has any."""
    value: Any
    for value in batch.vectors.values():
        if hasattr(value, "shape"):
            return int(value.shape[1])
        found = next((len(v) for v in value if v is not None and len(v)), None)
        if found is not None:
            return found
    return None


def search_rows(folder: str, text: str | None, queries: Any, given: dict[str, Any]) -> None:
    """Search a Collection and print what is found; see the verb ``search``."""
    with _open(folder, encoder=given["encoder"]) as made:
        how = {"k": given["k"], "where": given["where"], "field": given["field"], "budget": given["budget"],
               "fuse": given["fuse"], "explain": given["explain"], "on_zero": given["on_zero"]}  # fmt: skip
        _note_unknown(made, given["where"])
        if queries is None:
            found = [made.search(text=text, **how)]
        elif isinstance(queries, list):
            found = [made.search(q, **how) for q in queries]
        else:
            found = list(made.search(queries, **how))
        for number, hits in enumerate(found):
            _print_hits(hits, number if len(found) > 1 else None, given["as_json"])


def _print_hits(hits: Any, number: int | None, json_: bool) -> None:
    print_lines(_hit_line(hit, number, json_) for hit in hits)
    if hits.explain is not None:
        click.echo(dump(hits.explain), err=True)


def _hit_line(hit: Any, number: int | None, json_: bool) -> str:
    if json_:
        return dump(({} if number is None else {"query": number}) | hit.to_dict())
    told = [] if number is None else [str(number)]
    return "\t".join([*told, one_line(hit.id), f"{hit.score:.4f}", one_line(hit.text or dump(hit.meta))[:200]])


@click.command(cls=Verb)
@click.argument("folder")
@click.argument("ids", nargs=-1)
@_WHERE
@click.option("--limit", type=click.IntRange(min=1), default=None, help="At most so many rows.")
@click.option("--vectors", is_flag=True, help="With their vectors.")
@AS_JSON
def get(folder: str, ids: tuple[str, ...], where: str | None, limit: int | None, vectors: bool, as_json: bool) -> None:
    """Print the rows of FOLDER with these IDS, or those that --where lets through, a line of JSON each."""
    if not ids and where is None and limit is None:
        raise BadInput("get: expected ids, --where or --limit, got none of them")
    with _open(folder) as made:
        _note_unknown(made, where)
        rows = made.get(_ids(made, ids), limit=limit) if ids else made.get(where=where, limit=limit)
        _note_missing(made, _ids(made, ids))
        print_lines(dump(row.to_dict(vectors=vectors)) for row in rows)


@click.command(cls=Verb)
@click.argument("folder")
@click.argument("ids", nargs=-1)
@_WHERE
@AS_JSON
def rm(folder: str, ids: tuple[str, ...], where: str | None, as_json: bool) -> None:
    """Delete the rows of FOLDER with these IDS, or those that --where lets through."""
    if bool(ids) == (where is not None):
        raise BadInput("rm: expected either ids or --where, and not both")
    with _open(folder, write=True) as made:
        _note_unknown(made, where)
        _note_missing(made, _ids(made, ids))
        count = made.delete(_ids(made, ids)) if ids else made.delete(where=where)
        told = {"folder": folder, "deleted": count, "rows": len(made)}
    click.echo(dump(told) if as_json else f"{folder}: {count} rows deleted, {told['rows']} left")


@click.command(cls=Verb)
@click.argument("folder")
@click.argument("ids", nargs=-1)
@_WHERE
@click.option("--meta", required=True, help='Keys to merge, as JSON: {"lang": "de", "old": null}; null removes one.')
@click.option("--replace", is_flag=True, help="Put these keys in place of all others.")
@AS_JSON
def update(folder: str, ids: tuple[str, ...], where: str | None, meta: str, replace: bool, as_json: bool) -> None:
    """Change the metadata of rows of FOLDER, by IDS or by --where."""
    if bool(ids) == (where is not None):
        raise BadInput("update: expected either ids or --where, and not both")
    try:
        value = json.loads(meta)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BadInput(f"meta: expected a JSON object, got {meta[:_SHOWN]!r}")
    with _open(folder, write=True) as made:
        _note_unknown(made, where)
        chosen = {"ids": _ids(made, ids)} if ids else {"where": where}
        _note_missing(made, _ids(made, ids))
        count = made.update(**chosen, meta=value, replace=replace)
    told = {"folder": folder, "updated": count}
    click.echo(dump(told) if as_json else f"{folder}: {count} rows changed")


@click.command(cls=Verb)
@click.argument("folder")
@click.option("--purge", is_flag=True, help="Leave no trace of what was deleted on the disk.")
@AS_JSON
def compact(folder: str, purge: bool, as_json: bool) -> None:
    """Merge the segments of FOLDER, drop what was deleted and give the space back."""
    with _open(folder, write=True) as made:
        before = made.info()["bytes"]
        made.compact(purge=purge, progress=progress_bar())
        now = made.info()
        told = {
            "folder": folder,
            "bytes_before": before,
            **{k: now[k] for k in ("bytes", "live_bytes", "rows")},
        }
    shown = f"{folder}: {before:,} bytes before, {told['bytes']:,} now, {told['live_bytes']:,} of them live"
    click.echo(dump(told) if as_json else shown)


@click.command(cls=Verb)
@click.argument("folder")
@AS_JSON
def check(folder: str, as_json: bool) -> None:
    """Read every byte of FOLDER; a line for each thing that is wrong, and then exit code 1."""
    try:
        with _open(folder) as made:
            found = made.check(progress_bar())
    except Corrupt as error:  # so damaged that it does not open
        found = [str(error)]
    if as_json:
        click.echo(dump({"folder": folder, "sound": not found, "found": found}))
    else:
        click.echo("\n".join(map(one_line, found)) if found else f"{folder}: sound")
    if found:
        raise click.exceptions.Exit(1)


@click.command(cls=Verb)
@click.argument("folder")
@click.option("--dry-run", is_flag=True, help="Only tell what would be lost.")
@AS_JSON
def repair(folder: str, dry_run: bool, as_json: bool) -> None:
    """Make a damaged FOLDER one that opens again; tells what is lost. The catalogue of before is kept."""
    from nearfield.collection.health import repair as run

    found = run(Path(folder), dry_run=dry_run)
    if as_json:
        click.echo(dump({"folder": folder, "dry_run": dry_run, "lost": found}))
        return
    click.echo("\n".join(map(one_line, found)) if found else f"{folder}: nothing to repair")


@click.command(cls=Verb)
@click.argument("folder")
@click.argument("target")
@AS_JSON
def backup(folder: str, target: str, as_json: bool) -> None:
    """Write a consistent copy of FOLDER into TARGET, a new folder, while others read and write."""
    with _open(folder, write=os.access(folder, os.W_OK)) as made:
        made.backup(target, progress_bar())
        told = {"folder": folder, "copy": target, "rows": len(made)}
    click.echo(dump(told) if as_json else f"{target}: a copy of {told['rows']} rows")


@click.command(cls=Verb)
@click.argument("folder")
@click.argument("out")
@_WHERE
@click.option("--no-vectors", is_flag=True, help="Leave the vectors out.")
@click.option("--no-guard", is_flag=True, help="CSV: write text as it is, also what a spreadsheet runs as a formula.")
@FORCE
@AS_JSON
def export(folder: str, out: str, where: str | None, as_json: bool, **given: Any) -> None:
    """Write the rows of FOLDER into OUT: .jsonl, .csv, .parquet or .arrow; ``-`` prints them as JSON lines."""
    with _open(folder) as made:
        _note_unknown(made, where)
        how = {"vectors": not given["no_vectors"], "guard": not given["no_guard"], "overwrite": given["force"]}
        count = made.export(Path(out), where=where, progress=progress_bar(), **how)
    piping = verb().piping
    told = {"folder": folder, "file": "-" if piping else out, "rows": count}
    click.echo(dump(told) if as_json else f"{told['file']}: {count} rows", err=piping)


@click.command(cls=Verb)
@click.argument("folder")
@click.option("--plan", required=True, help="The plan, as advise prints it.")
@_FIELD
@click.option("--originals", type=click.Choice(["keep", "float16", "drop"]), default="keep", show_default=True,
              help="Whether the vectors are kept beside their codes.")  # fmt: skip
@SEED
@AS_JSON
def recode(folder: str, plan: str, field: str | None, originals: str, seed: int, as_json: bool) -> None:
    """Encode every row of FOLDER under a plan and search by its codes; goes on where it was stopped."""
    with _open(folder, write=True) as made:
        before = made.info()["bytes"]
        made.recode(plan, field=field, originals=originals, rng=seed, progress=progress_bar())
        told = {"folder": folder, "plans": made.plans, "bytes_before": before, "bytes": made.info()["bytes"]}
    shown = f"{folder}: {told['plans']}, {before:,} bytes before, {told['bytes']:,} now"
    click.echo(dump(told) if as_json else shown)


@click.command(cls=Verb)
@click.argument("folder")
@click.option("-k", default=10, show_default=True, help="Neighbours: recall@k.")
@click.option("--budget", type=int, default=None, help="Rows that the first stage may score for a query.")
@_FIELD
@SEED
@AS_JSON
def recall(folder: str, k: int, budget: int | None, field: str | None, seed: int, as_json: bool) -> None:
    """Measure live recall of FOLDER against exact search, with an interval."""
    with _open(folder) as made:
        report = made.recall(k, field=field, budget=budget, rng=seed)
    click.echo(dump(report.to_dict()) if as_json else safe(str(report), keep="\n"))


@click.command(cls=Verb)
@click.argument("folder")
@_FIELD
@click.option("--alarm", type=float, default=0.01, show_default=True, help="How often a false alarm may be raised.")
@click.option("--set-canaries", type=int, default=None, metavar="K", help="Remember queries with the K rows they find.")
@SEED
@AS_JSON
def watch(folder: str, field: str | None, alarm: float, set_canaries: int | None, seed: int, as_json: bool) -> None:
    """Tell whether FOLDER still answers as it did: recall, canary queries, drift of the newest rows."""
    with _open(folder, write=set_canaries is not None) as made:
        if set_canaries is not None:
            count = made.set_canaries(k=set_canaries, field=field)
            click.echo(dump({"canaries": count}) if as_json else f"{folder}: {count} canary queries")
            return
        found = made.watch(field=field, alarm=alarm, rng=seed)
    if as_json:
        click.echo(dump({name: report.to_dict() for name, report in found.items()}))
        return
    for report in found.values():
        click.echo(safe(str(report), keep="\n"))


def describe(folder: str, json_: bool) -> None:
    """Tell what a Collection holds; see the verb ``info``."""
    with _open(folder) as made:
        told = made.info()
    if json_:
        click.echo(dump(told))
        return
    for key, value in told.items():
        if key == "fields":
            for name, field in value.items():
                shown = ", ".join(f"{k} {v}" for k, v in field.items() if v not in (None, {}))
                click.echo(f"field {one_line(name)}: {one_line(shown)}")
        elif key == "keys":
            for name, types in value.items():
                click.echo(f"key {one_line(name)}: {', '.join(types)}")
        else:
            shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else one_line(value)
            click.echo(f"{key}: {shown}")


VERBS = [add, get, rm, update, compact, check, repair, backup, export, recode, recall, watch]
