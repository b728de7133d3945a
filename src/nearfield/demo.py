"""The main job on text that every machine has: the docstrings of Python's standard library."""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nearfield.core.errors import BadInput

QUESTIONS = (
    "compress a file with gzip",
    "find the longest common substring of two sequences",
    "send an email through an SMTP server",
    "parse command line arguments",
    "wait until several threads have finished",
    "random sample without replacement",
)
_SKIPPED = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "lib2to3"}
_SHORTEST = 40


def passages(folder: str | Path | None = None) -> tuple[list[str], list[str]]:
    """Names and docstrings of the modules, classes and functions below a folder (default: the library)."""
    root = Path(folder or sysconfig.get_paths()["stdlib"])
    seen: set[str] = set()
    names: list[str] = []
    texts: list[str] = []
    for path in sorted(root.rglob("*.py")):
        if _SKIPPED.isdisjoint(path.relative_to(root).parts):
            for name, text in _docstrings(path, root):
                if len(text) >= _SHORTEST and text not in seen and name not in names[-50:]:
                    seen.add(text)
                    names.append(name)
                    texts.append(text)
    if not texts:
        raise BadInput(f"demo: expected Python files with docstrings below {root}, found none")
    return _unique(names), texts


def _docstrings(path: Path, root: Path) -> Iterator[tuple[str, str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, ValueError, OSError):
        return
    module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    yield from _walk(tree, module)


def _walk(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        text = ast.get_docstring(node)
        if text:
            yield name, " ".join(text.split())[:2000]
        for child in node.body:
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from _walk(child, f"{name}.{child.name}")


def _unique(names: list[str]) -> list[str]:
    count: dict[str, int] = {}
    out = []
    for name in names:
        count[name] = count.get(name, 0) + 1
        out.append(name if count[name] == 1 else f"{name}#{count[name]}")
    return out


@contextmanager
def _folder(path: str | Path) -> Iterator[Path]:
    """The folder, made where it is not there; one that was made is taken away where it stays empty."""
    target = Path(path)
    made = not target.exists()
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "there is a file of that name" if target.exists() else error.strerror
        raise BadInput(f"out: expected a folder that is there or can be made, got {str(path)!r}: {why}") from None
    try:
        yield target
    finally:
        if made:
            with suppress(OSError):  # it holds something
                target.rmdir()


def run(out: str | Path, say: Callable[[str], None], *, keep: float = 0.98, limit: int | None = None) -> dict[str, Any]:
    """Encode, advise, compress, search: everything a newcomer wants to see, in one go."""
    with _folder(out) as target:
        return _run(target, say, keep, limit)


def _run(target: Path, say: Callable[[str], None], keep: float, limit: int | None) -> dict[str, Any]:
    import time

    import nearfield as nf
    from nearfield.core import rooms

    names, texts = passages()
    names, texts = names[:limit], texts[:limit]
    start = time.perf_counter()
    encoder = rooms.load("encoders", "static")()
    x = encoder.encode(texts)
    seconds = time.perf_counter() - start
    say(f"{len(texts)} docstrings of the standard library, encoded in {seconds:.1f} s: {x.shape[1]} dimensions\n")
    advice = nf.advise(x, keep=keep)
    say(str(advice))
    packed = advice.best.fit(x, ids=names, texts=texts, encoder=encoder)
    packed.save(target / "docstrings.nf")
    size = (target / "docstrings.nf").stat().st_size
    say(f"\n{target / 'docstrings.nf'}: {packed.bytes_per_row:g} bytes a row in place of {4 * x.shape[1]}")
    say(f"(the file, with ids and texts: {size / 1e6:.1f} MB)\n")
    back = nf.load(target / "docstrings.nf")
    found = back.search(list(QUESTIONS), k=3)
    for question, hits in zip(QUESTIONS, found):
        say(question)
        for hit in hits:
            say(f"  {hit.score:.3f}  {hit.id}: {(hit.text or '')[:90]}")
    picture: Path | None = target / "tradeoff.png"
    try:
        advice.plot(target / "tradeoff.png")
        say(f"\nthe trade-off, as a picture: {picture}")
    except ImportError as error:
        picture = None
        say(f"\nno picture: {error}")
    return {
        "rows": len(texts),
        "dim": packed.dim,
        "best": str(advice.best),
        "bytes_per_row": packed.bytes_per_row,
        "file": str(target / "docstrings.nf"),
        "picture": None if picture is None else str(picture),
        "answers": [{"question": q, "hits": hits} for q, hits in zip(QUESTIONS, found.to_dicts())],
    }
