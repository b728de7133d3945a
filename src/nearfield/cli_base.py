"""What all verbs share: options, one-line errors told as flags, progress."""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from datetime import date
from typing import Any, TextIO

import click

from nearfield.core.errors import DataWarning, NearfieldError
from nearfield.core.protocols import METRICS, Progress
from nearfield.core.text import safe, safe_json

METRIC = click.option("--metric", type=click.Choice(METRICS), default="cosine", show_default=True, help="What is near.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
SEED = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed gives the same bytes."
)
ON_ZERO = click.option("--on-zero", type=click.Choice(["raise", "keep"]), default="raise", show_default=True,
                     help="Zero vectors under cosine: refuse, or keep with score 0.")  # fmt: skip
ENCODER = click.option("--encoder", default=None, help="Encoder for texts (default: the one built in).")
FORCE = click.option("--force", is_flag=True, help="Replace a file that is there.")
KEY = click.option("--key", default=None, help="Name of the array, data set or column inside the file.")


# What is quoted and a call of a method in plan text, which are left as they are; an option as Python writes it, which
# stands as a word of its own: name=, name='value'; or its name before a colon, which says what the message is about.
_OPTION = (
    r"""(?<!\w)(?:'[^'\n]*'|"[^"\n]*")(?!\w)|\w+\((?:[^()]|\([^()]*\))*\)"""
    r"""|(?<![^\s(])([a-z]\w*)=("[^"]*"|'[^']*'|\.\.\.|-?\w+(?:\.\d+)?)?(?=[\s,;)]|\.?(?:\s|$))"""
    r"""|\A([a-z]\w*)(?=: )"""
)
_NAMES = {
    "rng": "seed",
    "overwrite": "force",
    "latency_us": "latency",
    "bytes": "bytes_",
    "all": "all_",
    "verify": "no_verify",
}


class Verb(click.Command):
    """A verb: what the library says about its options is told as the flags that the user can type."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; an error is one line, and so is a warning about the data."""
        with warnings.catch_warnings():
            warnings.simplefilter("always", DataWarning)
            warnings.showwarning = self._show
            try:
                return super().invoke(ctx)
            except NearfieldError as error:
                raise click.ClickException(self.in_flags(one_line(error))) from error
            except KeyboardInterrupt:
                raise click.Abort from None  # from KeyboardInterrupt click would make one, and print an empty line

    def in_flags(self, text: str) -> str:
        """The text with this verb's options as flags: ``on_zero='keep'`` becomes ``--on-zero keep``.

        What the user typed, such as the path ``seed=7/a.npy``, stays as it is.
        """
        return re.sub("|".join([*_typed(), _OPTION]), self._flag, text)

    def _flag(self, found: re.Match[str]) -> str:
        name, value = found[1] or found[3], (found[2] or "").strip("\"'")
        option = next((p for p in self.params if p.name == _NAMES.get(name, name)), None)
        if not isinstance(option, click.Option):
            return found[0]
        flag = max(option.opts, key=len)
        return flag if option.is_flag or not value else f"{flag} {value}"

    def _show(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        click.echo(f"nearfield: warning: {self.in_flags(one_line(message))}", err=True)


def _typed() -> list[str]:
    """What the user typed, as patterns: parts of paths that look like an option, and what a message may begin with."""
    context = click.get_current_context(silent=True)
    values = [] if context is None else list(context.params.values())
    words = [w for v in values for w in (v if isinstance(v, tuple) else [v]) if isinstance(w, str)]
    parts = sorted({part for word in words for part in word.split(os.sep) if "=" in part}, key=len, reverse=True)
    return [*map(re.escape, parts), *(rf"\A{re.escape(word)}(?=: )" for word in words)]


def one_line(what: object) -> str:
    """Text out of a file or a message on one line that does nothing else to a terminal."""
    return safe(" ".join(str(what).split()))


def plain(value: Any) -> Any:
    """What JSON cannot say: times as ISO text, arrays as lists."""
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


def dump(value: Any) -> str:
    """One line of JSON that does nothing else to a terminal."""
    return safe_json(json.dumps(value, ensure_ascii=False, default=plain))


def progress_bar() -> Progress | None:
    """Progress on stderr for a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        return None

    def show(what: str, done: int, total: int) -> None:
        end = "\n" if done >= total else ""
        click.echo(f"\r{what}: {done}/{total}\033[K{end}", err=True, nl=False)

    return show


def verb() -> Verb:
    """The verb that runs."""
    command = click.get_current_context().command
    if not isinstance(command, Verb):
        raise TypeError(f"{command.name} is not a verb")
    return command
