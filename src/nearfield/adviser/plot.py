"""The picture of the trade-off: every plan, the frontier, the choice, and what cannot be reached."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from nearfield.adviser.advice import Advice
from nearfield.adviser.frontier import value
from nearfield.adviser.rows import Row
from nearfield.core.errors import BadInput
from nearfield.core.optional import require
from nearfield.store.atomic import AtomicFile, target

INK, SOFT, LINE, CHOSEN, SHADE = "#22303c", "#8a97a3", "#1b6ca8", "#d1495b", "#eef1f4"
FAMILIES = (
    ("re-scored", "#2a9d8f", "D"),
    ("reduced, then coded", "#e9a03b", "s"),
    ("reduced only", "#b8a9c9", "^"),
    ("coded", "#4c86b8", "o"),
)


def plot(advice: Advice, path: str | os.PathLike[str]) -> None:
    """Draw an Advice into a ``.png`` or ``.svg`` file."""
    canvases = backend_for(path)
    figure = require("matplotlib.figure", extra="plot").Figure(
        figsize=(10.5, 6.4), dpi=150, layout="constrained", facecolor="white"
    )
    canvas = canvases.FigureCanvas(figure)
    axes = figure.add_subplot()
    _frame(advice, axes)
    _unreachable(advice, axes)
    _points(advice, axes)
    _wishes(advice, axes)
    figure.draw_without_rendering()
    _names(advice, axes)
    _titles(advice, figure, axes)
    with AtomicFile(path) as made:
        with made.writing():
            canvas.print_figure(made.file, dpi=150, format=Path(path).suffix.lower()[1:])
        made.publish()


def backend_for(path: str | os.PathLike[str]) -> Any:
    """What draws into a file of this name; ``BadInput`` where nothing can, before there is anything to draw."""
    if not isinstance(path, (str, os.PathLike)) or Path(path).suffix.lower() not in (".png", ".svg"):
        raise BadInput(f"plot: expected a file ending in .png or .svg, got {path!r}")
    target(path)
    backend = "agg" if Path(path).suffix.lower() == ".png" else "svg"
    return require(f"matplotlib.backends.backend_{backend}", extra="plot")


def _family(row: Row) -> int:
    if "rescore(" in row.plan:
        return 0
    if "raw()" in row.plan:
        return 2 if "|" in row.plan else 3
    return 1 if "|" in row.plan else 3


def _frame(advice: Advice, axes: Any) -> None:
    """Axes: bytes a row on a log scale, in powers of two; quality below, up to its best."""
    ticker = require("matplotlib.ticker", extra="plot")

    sizes = [r.bytes_per_row for r in advice.plans]
    low, high = min(sizes) / 1.35, max(sizes) * 1.35
    values = sorted(value(r, advice.primary) for r in advice.plans if advice.primary in r.quality)
    top, bottom = values[-1], min(values[0], advice.frontier[0].quality[advice.primary].value)
    room = max(top - bottom, 0.02)
    axes.set_xscale("log", base=2)
    axes.set_xlim(low, high)
    axes.set_ylim(bottom - 0.04 * room, top + 0.13 * room)
    ticks = [2.0**i for i in range(40) if low <= 2.0**i <= high]
    axes.xaxis.set_major_locator(ticker.FixedLocator(ticks))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(SOFT)
    axes.tick_params(colors=INK, length=3, labelsize=9)
    axes.grid(True, color="#e3e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    times = axes.secondary_xaxis("top", functions=(_inverse(advice.full_bytes), _inverse(advice.full_bytes)))
    times.xaxis.set_major_locator(ticker.FixedLocator([2.0**i for i in range(-2, 12)]))
    times.xaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}x"))
    times.xaxis.set_minor_locator(ticker.NullLocator())
    times.tick_params(colors=SOFT, length=2, labelsize=8)
    times.spines["top"].set_visible(False)


def _inverse(full: int) -> Any:
    """Bytes to times smaller, and back."""

    def turn(v: Any) -> Any:
        with np.errstate(divide="ignore"):
            return full / np.asarray(v, dtype=np.float64)

    return turn


def _unreachable(advice: Advice, axes: Any) -> None:
    """Shade what lies above the frontier: no measured plan is there."""
    line = advice.frontier
    low, high = axes.get_xlim()
    bottom, top = axes.get_ylim()
    xs, ys = [low], [bottom]
    for row in line:
        xs += [row.bytes_per_row, row.bytes_per_row]
        ys += [ys[-1], value(row, advice.primary)]
    xs.append(high)
    ys.append(ys[-1])
    axes.fill_between(xs, ys, top, color=SHADE, linewidth=0, zorder=0)
    axes.plot(xs[2:], ys[2:], color=LINE, linewidth=1.6, zorder=2, solid_joinstyle="miter")
    axes.text(
        0.02, 0.955, "no plan measured reaches this corner", transform=axes.transAxes, fontsize=9, style="italic",
        color=SOFT, va="top",
    )  # fmt: skip


def _points(advice: Advice, axes: Any) -> None:
    for number, (name, colour, marker) in enumerate(FAMILIES):
        rows = [r for r in advice.plans if _family(r) == number and advice.primary in r.quality]
        for on_line in (False, True):
            some = [r for r in rows if r.frontier is on_line]
            if some:
                axes.scatter(
                    [r.bytes_per_row for r in some], [value(r, advice.primary) for r in some],
                    s=46 if on_line else 22, marker=marker, color=colour, alpha=1.0 if on_line else 0.55,
                    edgecolors="white", linewidths=0.7, zorder=4 if on_line else 3,
                )  # fmt: skip
        if rows:
            axes.scatter([], [], s=40, marker=marker, color=colour, label=name)
    chosen = advice.chosen
    at = (chosen.bytes_per_row, value(chosen, advice.primary))
    estimate = chosen.quality[advice.primary]
    axes.plot([at[0], at[0]], [estimate.low, estimate.high], color=CHOSEN, linewidth=1.4, zorder=4)
    axes.scatter(*at, s=230, facecolors="none", edgecolors=CHOSEN, linewidths=2.2, zorder=6, label="chosen")
    axes.plot([], [], color=LINE, linewidth=1.6, label="frontier")
    axes.legend(loc="lower right", frameon=True, framealpha=0.95, edgecolor="#d5dbe0", fontsize=9, labelcolor=INK)


def _wishes(advice: Advice, axes: Any) -> None:
    """The quality and the bytes that were asked for, as dashed lines."""
    style = {"color": CHOSEN, "linewidth": 1.0, "linestyle": (0, (4, 3)), "alpha": 0.8, "zorder": 1}
    if advice.target:
        axes.axhline(advice.target, **style)
    if "bytes" in advice.limits:
        axes.axvline(advice.limits["bytes"], **style)


def _names(advice: Advice, axes: Any) -> None:
    """Name the chosen plan and as many of the frontier as find room, without overlap."""
    text_class = require("matplotlib.text", extra="plot").Text
    renderer = axes.figure.canvas.get_renderer() if hasattr(axes.figure.canvas, "get_renderer") else None
    renderer = renderer or axes.figure._get_renderer()
    inside = axes.get_window_extent(renderer)
    taken = [axes.get_legend().get_window_extent(renderer).padded(4)]
    taken += [t.get_window_extent(renderer).padded(2) for t in axes.texts]
    dots = [axes.transData.transform((r.bytes_per_row, value(r, advice.primary))) for r in advice.plans]
    chosen = advice.chosen
    for row in [chosen, *(r for r in advice.frontier if r is not chosen)]:
        best: tuple[int, Any, Any] | None = None
        for place in _FAR_PLACES if row is chosen else _PLACES:
            text = _label(advice, axes, row, place)
            text.update_positions(renderer)
            box = text_class.get_window_extent(text, renderer).padded(3)  # without the arrow
            text.remove()
            if not _within(box, inside) or any(box.overlaps(other) for other in taken):
                continue
            covered = sum(bool(box.contains(*dot)) for dot in dots)
            if best is None or covered < best[0]:
                best = (covered, place, box)
            if covered == 0:
                break
        if best is not None and (row is chosen or best[0] == 0):
            _label(advice, axes, row, best[1])
            taken.append(best[2])


def _within(box: Any, inside: Any) -> bool:
    return bool(box.x0 >= inside.x0 and box.x1 <= inside.x1 and box.y0 >= inside.y0 and box.y1 <= inside.y1)


def _label(advice: Advice, axes: Any, row: Row, place: tuple[int, int, str, str]) -> Any:
    """The plan's text beside its point, with a thin line to it."""
    is_chosen = row is advice.chosen
    dx, dy, across, down = place
    return axes.annotate(
        row.plan, (row.bytes_per_row, value(row, advice.primary)), (dx, dy), textcoords="offset points",
        ha=across, va=down, fontsize=10 if is_chosen else 7.6, color=CHOSEN if is_chosen else INK,
        fontweight="bold" if is_chosen else "normal", zorder=7,
        arrowprops={"arrowstyle": "-", "color": CHOSEN if is_chosen else SOFT, "lw": 0.7,
                    "shrinkB": 9 if is_chosen else 3, "shrinkA": 1},
    )  # fmt: skip


_PLACES = (
    (-8, 8, "right", "bottom"), (-16, 18, "right", "bottom"), (-10, 0, "right", "center"), (-30, 26, "right", "bottom"),
    (9, -9, "left", "top"), (10, -22, "left", "top"), (0, 14, "center", "bottom"), (0, 28, "center", "bottom"),
    (16, -34, "left", "top"), (-44, 40, "right", "bottom"), (24, 22, "left", "bottom"),
)  # fmt: skip
_FAR_PLACES = (
    (-26, 26, "right", "bottom"), (-18, 14, "right", "bottom"), (24, -34, "left", "top"), (30, -60, "left", "top"),
    (-30, 50, "right", "bottom"), (0, 30, "center", "bottom"), (0, -40, "center", "top"), (-20, -30, "right", "top"),
)  # fmt: skip


def _titles(advice: Advice, figure: Any, axes: Any) -> None:
    row = advice.chosen
    axes.set_xlabel("bytes a row, everything included (above: how many times smaller)", color=INK, fontsize=10)
    axes.set_ylabel(f"{advice.primary}, all rows" if advice.primary == advice.recall_name else advice.primary,
                    color=INK, fontsize=10)  # fmt: skip
    found = (advice.verified or advice.predicted)[advice.primary]
    said = "verified" if advice.verified else "predicted"
    figure.suptitle(
        f"{row.plan}: {row.bytes_per_row:g} bytes a row, {row.smaller:.1f} times smaller, "
        f"{advice.primary} {found.value:.3f} ({said})",
        x=0.012, ha="left", fontsize=12.5, fontweight="bold", color=INK,
    )  # fmt: skip
    axes.set_title(
        f"{advice.rows:,} rows x {advice.dim}, {advice.metric}; {len(advice.plans)} plans; asked: {advice.wish}",
        loc="left", fontsize=9.5, color=SOFT, pad=8,
    )  # fmt: skip
