"""Every block of code in the guides runs: Python in one namespace a page, ``nearfield`` commands through the CLI."""

from __future__ import annotations

import re
import shlex
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from nearfield.cli import cli
from nearfield.core.errors import MissingExtra

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "docs/index.md", *sorted((ROOT / "docs/how").glob("*.md"))]
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str, int]]:
    """(language, text, line) of each block that can be run."""
    text = page.read_text(encoding="utf-8")
    return [(m[1], m[2], text[: m.start()].count("\n") + 2) for m in BLOCK.finditer(text)]


def run_python(code: str, page: Path, line: int, namespace: dict) -> None:
    try:
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)
    except MissingExtra:
        assert "plot" in code, "only pictures may need an extra in a guide"


def run_shell(text: str) -> None:
    for line in text.splitlines():
        # A command that says "where ..." needs something that the page does not make.
        if not line.startswith("nearfield ") or " # where " in line.replace("  ", " "):
            continue
        result = CliRunner().invoke(cli, shlex.split(line, comments=True)[1:])
        if isinstance(result.exception, MissingExtra):
            continue
        assert result.exit_code == 0, f"{line}: {result.exception!r}\n{result.output}"
        assert result.stdout.strip(), line


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_code_of_the_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = blocks(page)
    assert found
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("guide")  # dataclasses look their module up
    monkeypatch.setitem(sys.modules, "guide", module)
    if page.parent.name != "how":  # first pages show the job on the reader's own files
        rng = np.random.default_rng(0)
        x = (rng.normal(size=(400, 384)) / np.sqrt(1 + np.arange(384))).astype(np.float32)
        np.save("corpus.npy", x)
        np.save("q.npy", x[:50])
        if page.name == "README.md":
            texts = ["a quarterly invoice" if i % 7 == 0 else f"the note of day {i}" for i in range(400)]
            meta = [{"user": i % 9, "day": f"2026-11-{1 + i % 28:02}"} for i in range(400)]
            vars(module).update(X=x, Q=x[:50], q=x[0], ids=[f"n{i}" for i in range(400)], texts=texts, meta=meta)
    for language, text, line in found:
        if language == "python":
            run_python(text, page, line, vars(module))
        else:
            run_shell(text)


def test_shell_examples_name_verbs_that_exist() -> None:
    for page in PAGES:
        for language, text, _ in blocks(page):
            for line in text.splitlines() if language == "sh" else []:
                if line.startswith("nearfield "):
                    assert line.split()[1] in cli.commands, f"{page.name}: {line}"
