"""Generates the pages of the documentation that say what the code says: python scripts/make_docs.py [--check]

``docs/methods/*.md`` come from each method's file and its recorded claims, ``docs/cli.md`` from the command
line's own help, ``docs/papers.md`` from the list of papers. ``--check`` writes nothing and fails where a page
differs from what the code says now.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
import textwrap
import types
import typing
from pathlib import Path
from typing import Any

import click
import numpy as np

import nearfield
from nearfield.cli import claim_text, cli
from nearfield.core import rooms
from nearfield.core.codecs import Codec
from nearfield.core.maps import Map
from nearfield.search import rescore

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
NOTE = "<!-- Made by scripts/make_docs.py from the code. Change the code, then run: python scripts/make_docs.py -->\n"
ROOM_WORDS = {
    "maps": "Vectors to vectors: reduce, whiten, rotate. They stand first in a plan.",
    "codecs": "Vectors to bytes, and scores from those bytes. A plan has one.",
    "indexes": "Find the best rows. A plan has one; `flat` where none is named.",
    "encoders": "Texts to vectors. They stand outside of plans: `fit(encoder=)`, `--encoder`.",
    "fusers": "Several ranked lists of one query become one: `search(fuse=)` of a collection, `--fuse`.",
    "measures": "Vectors to a value, its interval and how to read it: `nearfield inspect`.",
    "steps": "What stands behind the index in a plan.",
}

# where to read of what is no method of a room
GUIDES = {
    "words": "how/words.md",
    "hyde": "how/texts.md",
    "collection": "how/collections.md",
    "filtering": "how/search.md",
    "tiers": "how/big-files.md",
}


def prose(text: str) -> str:
    """A docstring as Markdown: code spans, fenced examples, lists of parameters."""
    out: list[str] = []
    lines = inspect.cleandoc(text).splitlines()
    fenced = False
    for i, line in enumerate(lines):
        follows = lines[i + 1] if i + 1 < len(lines) else ""
        if set(line) == {"-"} and len(line) > 2:
            continue
        if follows and set(follows) == {"-"} and len(follows) > 2:
            out += [f"**{line}**", ""]
            continue
        if line.startswith(">>>") and not fenced:
            fenced = True
            out.append("```pycon")
        elif fenced and not line.strip():
            fenced = False
            out.append("```")
        out.append(line if fenced else re.sub(r"``([^`]+)``", r"`\1`", line))
    if fenced:
        out.append("```")
    return "\n".join(out).replace("::\n\n    ", ":\n\n    ").strip()


def cell(text: str) -> str:
    """Text that may stand in a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def kind_of(hint: Any) -> tuple[str, str]:
    """An annotation as (type, what is allowed)."""
    rules: list[str] = []
    if typing.get_origin(hint) is typing.Annotated:
        hint, *extra = typing.get_args(hint)
        rules = [str(rule) for rule in extra]
    if isinstance(hint, types.UnionType):
        names = [getattr(k, "__name__", str(k)).replace("NoneType", "None") for k in typing.get_args(hint)]
        return " or ".join(names), "; ".join(rules)
    return getattr(hint, "__name__", str(hint)), "; ".join(rules)


def parameters(cls: type) -> list[tuple[str, str, str, str]]:
    """(name, type, allowed, default) of each parameter, from annotations or the constructor's signature."""
    hints = typing.get_type_hints(cls, include_extras=True)
    if dataclasses.is_dataclass(cls):
        return [
            (f.name, *kind_of(hints[f.name]), "required" if f.default is dataclasses.MISSING else f"`{f.default!r}`")
            for f in dataclasses.fields(cls)
            if f.init
        ]
    own = typing.get_type_hints(cls if inspect.isfunction(cls) else cls.__init__, include_extras=True)
    return [
        (p.name, *kind_of(own[p.name]), "required" if p.default is p.empty else f"`{p.default!r}`")
        for p in list(inspect.signature(cls).parameters.values())
    ]


def parameter_table(cls: type) -> str:
    """The parameters as a table."""
    rows = parameters(cls)
    if not rows:
        return "It takes none."
    lines = ["| parameter | type | allowed | default |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {kind} | {cell(allowed) or 'any'} | {default} |" for name, kind, allowed, default in rows]
    return "\n".join(lines)


def members(cls: type) -> str:
    """The public methods and properties that the class itself defines, with their docstrings."""
    out = []
    for name, member in vars(cls).items():
        found = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if name.startswith("_") or name in ("examples",) or not inspect.isfunction(found) or not found.__doc__:
            continue
        head = name if isinstance(member, property) else f"{name}({call_of(found)})"
        out.append(f"`{head}`\n:   {textwrap.indent(prose(found.__doc__), '    ').strip()}\n")
    return "\n".join(out)


def call_of(function: Any) -> str:
    """The parameters of a function as one would read them, without types."""
    words, starred = [], False
    for p in inspect.signature(function).parameters.values():
        if p.name in ("self", "cls"):
            continue
        if p.kind is p.KEYWORD_ONLY and not starred:
            starred = True
            words.append("*")
        words.append(p.name if p.default is p.empty else f"{p.name}={p.default!r}")
    return ", ".join(words)


def status_of(info: rooms.Info) -> str:
    """The status and what it rests on."""
    if info.status == "experimental":
        return "experimental: measured and listed, never advised"
    path = f"tests/claims/{info.room}/test_{info.name}.py"
    return f"proven, by `{path}`" if (ROOT / path).exists() else "proven: nothing is claimed that needs a test"


def claims_of(info: rooms.Info) -> str:
    """What its claims test measured, from the record in the package."""
    record = json.loads((ROOT / "src/nearfield/data/claims.json").read_text(encoding="utf-8"))
    path = f"tests/claims/{info.room}/test_{info.name}.py"
    rows = [row for row in record if row["test"].split("::")[0] == path]
    if not rows:
        return "None is on record."
    lines = ["| claim | source | result | measured |", "|---|---|---|---|"]
    lines += [f"| {cell(r['claim'])} | {r['id']} | {r['status']} | {cell(r['figure'])} |" for r in rows]
    return "\n".join(lines)


def in_file(info: rooms.Info, cls: type) -> str:
    """What a fitted method keeps in a ``.nf`` file; empty where fitting needs an extra."""
    if info.room not in ("maps", "codecs") or info.needs != "numpy":
        return ""
    found: dict[str, str] = {}
    x = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    for method in cls.examples():
        rows = np.packbits(x > 0, axis=1) if info.name == "bits" else x
        if isinstance(method, (Map, Codec)):
            method.fit(rows, rows[:100], rng=np.random.default_rng(0))
        for name, value in method.state().items():
            array = isinstance(value, np.ndarray)
            kind = f"array, {value.dtype}, {value.ndim}-D" if array else f"JSON {type(value).__name__}"
            found.setdefault(name, kind)
    lines = ["| name | kind |", "|---|---|"] + [f"| `{name}` | {kind} |" for name, kind in sorted(found.items())]
    return "## In a `.nf` file\n\nIts fitted state ([format](../format.md#fitted-state)):\n\n" + "\n".join(lines) + "\n"


def method_page(info: rooms.Info) -> str:
    """One method's page."""
    cls = rescore.Rescore if info.room == "steps" else rooms.load(info.room, info.name)
    about = info.about.partition("\n\n")
    head, rest = prose(about[0]), prose(about[2])
    parts = [
        f"{NOTE}\n# {info.name}\n\n{head}\n",
        f"{rest}\n" if rest else "",
        f"| | |\n|---|---|\n| room | {info.room} |\n| paper | {cell(info.paper)} |\n| needs | {info.needs} |\n"
        f"| status | {status_of(info)} |\n"
        + (f"| left out of the default sweep | {info.slow} |\n" if info.slow else ""),
        f"## Parameters\n\n{parameter_table(cls)}\n",
        f"## What it does\n\n{prose(cls.__doc__ or '')}\n",
        members(cls),
        f"## Claims measured\n\n{claims_of(info)}\n",
        in_file(info, cls),
    ]
    return "\n".join(part for part in parts if part).rstrip() + "\n"


def all_methods() -> list[rooms.Info]:
    """Every method of the package's own rooms, and the rescore step."""
    own = [m for m in nearfield.methods() if m.module.startswith("nearfield.")]
    path = Path(rescore.__file__)
    return [*own, rooms._read(path, "steps", "rescore", "nearfield.search.rescore")]


def methods_index(found: list[rooms.Info]) -> str:
    """The page that lists all methods."""
    out = [
        f"{NOTE}\n# Methods\n\nOne file each; the file's name is the method's name. `nearfield methods` lists them.\n"
    ]
    for room, words in ROOM_WORDS.items():
        out += [f"## {room}\n\n{words}\n", "| method | what it is | status |", "|---|---|---|"]
        out += [f"| [{m.name}]({m.name}.md) | {cell(prose(m.summary))} | {m.status} |" for m in found if m.room == room]
        out.append("")
    return "\n".join(out)


def option_row(option: click.Option) -> str:
    """One option of a verb as a row of a table."""
    kind = "" if option.is_flag else option_type(option)
    words = (option.help or "").rstrip()
    if option.show_default and not option.is_flag:
        words += f" Default: `{option.default}`."
    if option.required:
        words += " Required."
    names = ", ".join(f"`{name}`" for name in option.opts)
    return f"| {names} | {cell(kind)} | {cell(words.strip())} |"


def option_type(option: click.Option) -> str:
    """What an option takes."""
    if isinstance(option.type, click.Choice):
        kind = " / ".join(option.type.choices)
    elif isinstance(option.type, click.Path):
        kind = "path"
    else:
        kind = {"integer": "whole number", "float": "number"}.get(option.type.name, "text")
    return f"{kind}, repeatable" if option.multiple else kind


def cli_page() -> str:
    """The command line, from its own help."""
    out = [
        f"{NOTE}\n# Command line\n\n{(cli.help or '').strip()}\n",
        "Results go to stdout, talk to stderr. A user's error is one line on stderr and exit code 2; Ctrl-C is 130.\n",
    ]
    for name, command in sorted(cli.commands.items()):
        arguments = [p for p in command.params if isinstance(p, click.Argument)]
        options = [p for p in command.params if isinstance(p, click.Option)]
        words = [f"[{a.human_readable_name}]" if not a.required else a.human_readable_name for a in arguments]
        usage = " ".join(["nearfield", name, *(["[OPTIONS]"] if options else []), *words])
        out.append(f"## {name}\n\n{prose(command.help or '')}\n\n```text\n{usage}\n```\n")
        if options:
            out += ["| option | takes | |", "|---|---|---|", *(option_row(o) for o in options), ""]
    return "\n".join(out).rstrip() + "\n"


def papers_page() -> str:
    """All papers, the methods that serve them, and what was measured."""
    papers = nearfield.papers()
    served = [p for p in papers if p["methods"]]
    claims = [c for p in papers for c in p["claims"]]
    states = {s: sum(p["state"] == s for p in papers) for s in ("whole", "part")}
    counts = {s: sum(c["status"] == s for c in claims) for s in ("held", "other", "untested")}
    out = [
        f"{NOTE}\n# Papers\n\n{len(papers)} papers; {len(served)} of them are served by a method of this release: "
        f"{states['whole']} "
        f"as a whole and {states['part']} in part, which says what is missing. "
        f"Claims: {counts['held']} held, {counts['other']} came out otherwise, {counts['untested']} untested "
        "(`make claims` measures them anew).\n",
        "| id | title | here | methods | claims |",
        "|---|---|---|---|---|",
    ]
    for paper in papers:
        links = ", ".join(f"[{name}]({GUIDES.get(name, f'methods/{name}.md')})" for name in paper["methods"])
        told = "<br>".join(cell(f"{c['status']}: {claim_text(c)}".strip(": ")) for c in paper["claims"])
        state = f"part: without {paper['missing']}" if paper["missing"] else paper["state"]
        out.append(f"| {paper['id']} | {cell(paper['title'])} | {cell(state)} | {links} | {told} |")
    return "\n".join(out) + "\n"


def pages() -> dict[Path, str]:
    """Every generated page, by its path."""
    found = all_methods()
    out = {DOCS / "methods" / f"{info.name}.md": method_page(info) for info in found}
    out[DOCS / "methods" / "index.md"] = methods_index(found)
    out[DOCS / "cli.md"] = cli_page()
    out[DOCS / "papers.md"] = papers_page()
    return out


def main(arguments: list[str]) -> int:
    """Write the pages, or say which differ."""
    made = pages()
    stale = sorted(set((DOCS / "methods").glob("*.md")) - set(made))
    changed = [p for p, text in made.items() if not p.exists() or p.read_text(encoding="utf-8") != text]
    if "--check" in arguments:
        for path in [*changed, *stale]:
            print(f"{path.relative_to(ROOT)} is not what the code says; run: python scripts/make_docs.py")
        return 1 if changed or stale else 0
    (DOCS / "methods").mkdir(parents=True, exist_ok=True)
    for path in changed:
        path.write_text(made[path], encoding="utf-8")
    for path in stale:
        path.unlink()
    print(f"{len(made)} pages, {len(changed)} changed, {len(stale)} removed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
