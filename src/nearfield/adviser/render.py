"""The table of an Advice, as text and for rich."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from nearfield.adviser.advice import Advice
from nearfield.adviser.quality import Estimate
from nearfield.adviser.rows import Row

if TYPE_CHECKING:
    from rich.table import Table

_LEFT = ("", "plan")


def header(advice: Advice) -> str:
    """What was measured, in a line."""
    seen = "all rows" if advice.sample >= advice.rows else f"{advice.sample:,} sampled rows"
    return (
        f"{advice.rows:,} rows x {advice.dim}, {advice.metric}: {len(advice.plans)} plans measured on {seen} "
        f"with {advice.queries:,} queries; asked: {advice.wish}"
    )


def measures(advice: Advice) -> list[str]:
    """The quality columns: the primary measure first, the sample's own recall left to JSON."""
    names = [n for n in advice.plans[0].quality if not n.endswith("in the sample")] if advice.plans else []
    return sorted(names, key=lambda n: (n != advice.primary, n != advice.recall_name))


def cells(advice: Advice) -> tuple[list[str], list[list[str]]]:
    """Column heads and one row of text a plan, smallest plan first."""
    names = measures(advice)
    heads = ["", "plan", "bytes", "smaller", *(f"{n} [95%]" for n in names), "us/query", "fit s", "encode s"]
    heads += ["build s"] if advice.indexed else []
    rows = sorted(advice.plans, key=lambda r: (r.bytes_per_row, -_value(r, advice.primary), r.plan))
    return heads, [_cells(advice, row, names) for row in rows]


def _cells(advice: Advice, row: Row, names: list[str]) -> list[str]:
    mark = ">" if row.plan == str(advice.best) else "*" if row.frontier else ""
    quality = [_interval(row.quality[n]) if n in row.quality else "-" for n in names]
    plan = row.plan if row.proven else f"{row.plan} (experimental)"
    times = [_short(row.us_per_query), _short(row.fit_s), _short(row.encode_s)]
    if advice.indexed:
        times.append("" if row.build_s is None else _short(row.build_s))
    return [mark, plan, f"{row.bytes_per_row:g}", f"{row.smaller:.1f}x", *quality, *times]


def _value(row: Row, name: str) -> float:
    return row.quality[name].value if name in row.quality else 0.0


def _interval(e: Estimate) -> str:
    return f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}]"


def _short(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def text(advice: Advice) -> str:
    """The readable table with intervals, then the choice, the verification and the warnings."""
    heads, rows = cells(advice)
    widths = [max(len(head), *(len(r[i]) for r in rows)) for i, head in enumerate(heads)]
    lines = [header(advice), "", _line(heads, heads, widths), _line(["-" * w for w in widths], heads, widths)]
    lines += [_line(row, heads, widths) for row in rows]
    return "\n".join([*lines, "", *footer(advice)])


def _line(row: list[str], heads: list[str], widths: list[int]) -> str:
    out = [c.ljust(w) if h in _LEFT else c.rjust(w) for c, h, w in zip(row, heads, widths)]
    return "  ".join(out).rstrip()


def footer(advice: Advice) -> list[str]:
    """How to read the table, the choice, and everything said in words."""
    out = ["> chosen   * on the frontier: no smaller plan is as good", ""]
    out += _choice(advice)
    for word in advice.warnings:
        out += textwrap.wrap(f"warning: {word}", 110, subsequent_indent="  ")
    for note in advice.notes:
        out += textwrap.wrap(f"note: {note}", 110, subsequent_indent="  ")
    return out


def _choice(advice: Advice) -> list[str]:
    row = advice.chosen
    out = [f"best       {advice.best}"]
    out.append(
        f"           {row.bytes_per_row:g} bytes a row, {row.smaller:.1f} times smaller than {advice.full_bytes} "
        f"(+ {_size(row.shared_bytes)} shared); all rows: {_size(row.bytes_per_row * advice.rows)} "
        f"instead of {_size(advice.full_bytes * advice.rows)}"
    )
    out.append("predicted  " + _listed(advice.predicted))
    out.append("verified   " + (_listed(advice.verified) if advice.verified else "not asked for (verify=False)"))
    quick = next((r for r in advice.plans if r.plan == advice.fastest), None)
    if quick is not None and advice.indexed and quick.plan != row.plan:
        out.append(
            f"fastest    {quick.plan}\n           {_short(quick.us_per_query)} us a query in place of "
            f"{_short(row.us_per_query)}, {quick.bytes_per_row:g} bytes a row, built in "
            f"{_short(quick.fit_s + quick.encode_s + (quick.build_s or 0))} s"
        )
    return out


def _listed(figures: dict[str, Estimate]) -> str:
    return ", ".join(f"{n} {_interval(e)}" for n, e in figures.items() if not n.endswith("in the sample"))


def _size(count: float) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} B"


def table(advice: Advice) -> Table:
    """The same table for a terminal, coloured by rich."""
    from rich.table import Table

    heads, rows = cells(advice)
    out = Table(title=header(advice), title_justify="left", box=None, header_style="bold", pad_edge=False)
    for head in heads:
        options: dict[str, Any] = {} if head in _LEFT else {"justify": "right", "no_wrap": True}
        out.add_column(head, overflow="fold", **options)
    for row in rows:
        out.add_row(*row, style={">": "bold green", "*": "cyan"}.get(row[0], "dim"))
    return out
