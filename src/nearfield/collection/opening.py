"""Creating and opening a Collection: names that are safe, settings that agree with what is there."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from nearfield.collection.collection import Collection
from nearfield.collection.encoding import space_of
from nearfield.collection.state import Settings, State, looks_like_one
from nearfield.core.arrays import check_on_zero
from nearfield.core.checks import real, whole
from nearfield.core.errors import BadInput, ReadOnly, Unsupported
from nearfield.core.protocols import METRICS, Metric
from nearfield.search.encoding import as_encoder, loads
from nearfield.store.catalog import Durability
from nearfield.store.catalog_file import NAME
from nearfield.store.fields import Field, check_fields, dense
from nearfield.store.locks import LEASES
from nearfield.store.parts import FOLDER
from nearfield.store.tokenizers import Tokenizer, as_tokenizer

_RESERVED = re.compile(r"(?i:con|prn|aux|nul|com\d|lpt\d)(\..*)?")
DEFAULT = "vector"
_OWN = (FOLDER, LEASES, "lock", "work")  # what a creation that goes on, or was cut short, has made


def opened(
    path: str | os.PathLike[str], *, dim: int | None, metric: Metric | None, fields: Mapping[str, Field] | None,
    encoder: Any, mode: str, durability: str, on_zero: str | None, tokenizer: str | Tokenizer | None,
    keep_queries: int, timeout: float,
) -> Collection:  # fmt: skip
    """Create or open; see ``nearfield.open``."""
    _check_choices(mode, durability, metric, on_zero)
    timeout = real("timeout", timeout, "a finite number of seconds, at least 0", least=0)
    keep_queries = whole("keep_queries", keep_queries)
    cut = None if tokenizer is None else as_tokenizer(tokenizer)
    if cut is not None:
        cut.check()
    folder = Path(os.path.realpath(check_folder(path)))  # a name that leads here now may lead elsewhere later
    there = looks_like_one(folder)
    if mode == "x" and there:
        raise BadInput(f"{folder}: expected no collection there with mode='x', got one; open it without")
    wanted = _wanted_fields(dim, fields, encoder)
    how: dict[str, Any] = {"mode": mode, "durability": cast(Durability, durability), "timeout": timeout}
    if there:
        state = State(folder, create=mode != "r" and wanted is not None, **how)
        settings = state.settings()
        if settings is None and wanted is None:
            state.close()
            raise BadInput(f"{folder}: a collection that was never made to the end; pass dim= or fields= to make it")
    else:
        if mode == "r":
            raise BadInput(f"{folder}: no collection there to read")
        if wanted is None:
            raise BadInput(f"{folder}: no collection there; to create one pass dim=, fields= or encoder=")
        _first_records(wanted, metric, on_zero, cut, keep_queries)  # refused before there is a folder
        _make_folder(folder)
        state = State(folder, create=True, **how)
        settings = state.settings()
    made = False
    try:
        if settings is None:
            settings, made = _create(state, wanted or {}, metric, on_zero, cut, keep_queries)
        if mode == "x" and not made:
            raise BadInput(f"{folder}: expected no collection there with mode='x', got one; open it without")
        _agree(state, settings, dim, metric, wanted if fields is not None else None, on_zero, cut)
        out = Collection(state, settings, encoder)
        if encoder is not None and there:
            _agree_encoder(out, encoder)
        return out
    except BaseException:
        state.close()
        raise


def _check_choices(mode: str, durability: str, metric: Any, on_zero: Any) -> None:
    if mode not in ("a", "r", "x"):
        raise BadInput(f"mode: expected 'a' (create or open), 'r' (read only) or 'x' (create), got {mode!r}")
    if durability not in ("full", "relaxed"):
        raise BadInput(f"durability: expected 'full' or 'relaxed', got {durability!r}")
    if metric is not None and metric not in METRICS:
        raise BadInput(f"metric: expected one of {', '.join(METRICS)}, got {metric!r}")
    if on_zero is not None:
        check_on_zero(on_zero)


def check_folder(path: Any) -> Path:
    """The folder of a Collection: any path whose last part every system can hold as a name; links are not followed."""
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise BadInput(f"expected the folder of a collection, got {path!r}")
    name = os.fspath(path)
    if not isinstance(name, str) or "\0" in name:
        raise BadInput(f"expected the folder of a collection, got {name!r}")
    if name == "-":
        raise BadInput("'-': expected a folder, which is no stream; for a folder of that name: ./-")
    folder = Path(name)
    if folder.name in ("", ".."):  # as inside the folder itself: what it is called must be looked up
        folder = _resolved(name)
    last = folder.name
    if not last or "\\" in last or ":" in last or last != last.strip(" ") or last.endswith("."):
        raise BadInput(
            f"{name!r}: expected a folder whose name every system can hold, without '..', '\\', ':' or a last dot"
        )
    if _RESERVED.fullmatch(last) or any(ord(c) < 32 for c in last):
        raise BadInput(f"{name!r}: {last!r} is a reserved name or holds control characters; choose another")
    try:
        os.fsencode(name)  # a lone surrogate is no name
        if folder.is_symlink():
            raise BadInput(f"{name!r}: is a link; open the folder that it leads to")
        if folder.exists() and not folder.is_dir():
            raise BadInput(f"{name!r}: expected a folder, got a file")
    except (OSError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{name[:80]!r}: cannot be used as a folder ({getattr(error, 'strerror', error)})") from None
    return folder


def _resolved(name: str) -> Path:
    try:
        return Path(name).resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise BadInput(f"{name[:80]!r}: cannot be used as a folder ({getattr(error, 'strerror', error)})") from None


def _make_folder(folder: Path) -> None:
    try:
        others = [p.name for p in folder.iterdir() if p.name not in _OWN] if folder.exists() else []
        if any(not name.startswith(NAME) for name in others) and not looks_like_one(folder):
            raise BadInput(
                f"{folder}: expected an empty or new folder for a collection, got one that holds other files"
            )
        folder.mkdir(exist_ok=True)
        (folder / FOLDER).mkdir(exist_ok=True)
    except FileNotFoundError:
        raise BadInput(f"{folder}: the folder {str(folder.parent)!r} does not exist; create it first") from None
    except PermissionError as error:
        raise ReadOnly(f"{folder}: cannot be made ({error.strerror}); choose another place") from None
    except OSError as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{folder}: cannot be made ({error.strerror}); choose another name") from None


def _wanted_fields(dim: int | None, fields: Mapping[str, Field] | None, encoder: Any) -> dict[str, Field] | None:
    if fields is not None:
        if dim is not None:
            raise BadInput("open: expected either dim= or fields=, got both")
        check_fields(fields)
        return dict(fields) if encoder is None else with_space(dict(fields), encoder)
    if encoder is not None and dim is None:
        dim = getattr(as_encoder(encoder), "dim", None)
        if dim is None:
            raise BadInput("open: expected dim=, as the encoder does not say how wide its vectors are")
    out = None if dim is None else {DEFAULT: dense(dim)}
    return out if out is None or encoder is None else with_space(out, encoder)


def _create(
    state: State, wanted: dict[str, Field], metric: Metric | None, on_zero: str | None, tokenizer: Tokenizer | None,
    keep_queries: int,
) -> tuple[Settings, bool]:  # fmt: skip
    """Make what is not there yet; False where somebody else made it meanwhile."""
    settings, fields = _first_records(wanted, metric, on_zero, tokenizer, keep_queries)
    made = state.make(settings, fields)
    return state.settings() or settings, made


def _first_records(
    wanted: dict[str, Field], metric: Metric | None, on_zero: str | None, tokenizer: Tokenizer | None, keep_queries: int
) -> tuple[Settings, dict[str, Field]]:
    """What a new Collection is made with."""
    settings = Settings(metric or "cosine", on_zero or "raise", str(tokenizer or Tokenizer()), keep_queries)
    if settings.metric == "hamming" and list(wanted) == [DEFAULT]:
        wanted = {DEFAULT: dense(wanted[DEFAULT].dim, metric="hamming")}
    return settings, {name: field.within(settings.metric) for name, field in wanted.items()}


def _agree(
    state: State, settings: Settings, dim: int | None, metric: Metric | None, fields: dict[str, Field] | None,
    on_zero: str | None, tokenizer: Tokenizer | None,
) -> None:  # fmt: skip
    """What was asked for must be what is there."""
    pairs = (("metric", metric, settings.metric), ("on_zero", on_zero, settings.on_zero),
             ("tokenizer", None if tokenizer is None else str(tokenizer), settings.tokenizer))  # fmt: skip
    for name, asked, known in pairs:
        if asked is not None and asked != known:
            raise Unsupported(f"{state.folder}: has {name} {known!r}, got {name}={asked!r}; open it without")
    snapshot = state.snapshot()
    there = {name: snapshot.fields[number] for name, number in snapshot.names.items()}
    if dim is not None and dim != next((f.dim for f in there.values() if f.kind == "dense"), None):
        known_fields = ", ".join(f"{n} ({f})" for n, f in there.items()) or "no fields"
        raise Unsupported(f"{state.folder}: has {known_fields}, got dim={dim}; open it without dim=")
    for name, field in (fields or {}).items():
        if name not in there or replace(there[name], space=()) != replace(field.within(settings.metric), space=()):
            known_fields = ", ".join(f"{n} ({f})" for n, f in there.items()) or "no fields"
            raise Unsupported(f"{state.folder}: has {known_fields}, got {name} ({field}); see add_field")


def _agree_encoder(collection: Collection, encoder: Any) -> None:
    """The encoder must be the one that made the rows."""
    for name, field in collection.fields.items():
        if field.kind == "dense":
            made = as_encoder(encoder, dict(field.space)) if loads(encoder) else encoder
            collection.check_encoder(name, field, made)
            return


def with_space(fields: dict[str, Field], encoder: Any) -> dict[str, Field]:
    """The first dense field with the record of its encoder."""
    out = dict(fields)
    for name, field in fields.items():
        if field.kind == "dense":
            out[name] = replace(field, space=tuple(sorted(space_of(encoder).items())))
            break
    return out
