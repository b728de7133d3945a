"""The command line run in this process, under any version of click that is allowed."""

from __future__ import annotations

import inspect
from typing import Any

from click.testing import CliRunner

from nearfield import cli

# Since 8.2 stderr always comes apart from stdout; before it does so where it is asked for.
APART = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}


def run(*arguments: Any, given: str | bytes | None = None) -> tuple[int, str, str]:
    """Run with ``given`` on standard input; returns (exit code, stdout, stderr)."""
    with CliRunner(**APART).isolation(given) as streams:
        code = cli.guarded(lambda: cli.cli.main([str(a) for a in arguments], "nearfield", standalone_mode=False))
        return code, streams[0].getvalue().decode(), streams[1].getvalue().decode()
