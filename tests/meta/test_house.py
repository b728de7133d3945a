"""The house keeps its shape: layers, sizes, names."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import nearfield
from nearfield.core import rooms
from nearfield.core.errors import MissingExtra

PACKAGE = Path(nearfield.__file__).parent
# Lower may not import higher; rooms are one layer and may not import one another.
LAYERS = [
    {"core"},
    {"numerics"},
    set(rooms.ROOMS),
    {"store"},
    {"search"},
    {"collection", "neighbors", "sklearn"},
    {"adviser"},
    {"about", "demo", "opening", "integrations"},
    {"cli_pipes"},
    {"cli_base"},
    {"cli_collection"},
    {"cli", "__main__"},
]
LEVEL = {name: i for i, names in enumerate(LAYERS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Full names of the package's own modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.startswith("nearfield.")}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "nearfield":
            if node.module == "nearfield":
                found |= {f"nearfield.{a.name}" for a in node.names}
            else:
                found.add(node.module)
                found |= {f"{node.module}.{a.name}" for a in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downward(path: Path) -> None:
    own = part(path)
    if own == "__init__":
        return
    for name in imports(path):
        target = name.split(".")[1]
        if target in LEVEL:
            assert LEVEL[target] <= LEVEL[own], f"{own} imports {name}, which is above it"
        if own in rooms.ROOMS and target in rooms.ROOMS:
            assert name == f"nearfield.{own}", f"a method imports another: {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_are_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 600


def test_only_optional_imports_extras() -> None:
    extras = {
        "sklearn",
        "umap",
        "torch",
        "snowballstemmer",
        "pyarrow",
        "h5py",
        "matplotlib",
        "sentence_transformers",
        "transformers",
    }
    extras |= {"haystack", "langchain_core", "llama_index", "mteb", "pandas", "polars", "datasets"}
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for_types: set[int] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                for_types |= {id(n) for n in ast.walk(node)}
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            bad = {n for n in names if n.split(".")[0] in extras}
            assert not bad or id(node) in for_types, f"{path.name} imports {bad}; go through core.optional.require"


def test_nothing_is_pickled_or_evaluated() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "compile"), f"{path.name} calls {called}"
                assert not called.startswith("pickle."), f"{path.name} calls {called}"
                for keyword in node.keywords:
                    if keyword.arg == "allow_pickle":
                        assert ast.unparse(keyword.value) == "False", f"{path.name} allows pickle"
            if isinstance(node, ast.Import):
                assert "pickle" not in {a.name for a in node.names}, path.name


def test_method_names_are_unique_over_all_rooms() -> None:
    names = [name for room in rooms.ROOMS for name in rooms.catalog(room)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("room", rooms.ROOMS)
def test_every_header_is_complete(room: str) -> None:
    for info in rooms.catalog(room).values():
        assert info.summary, info.name
        assert info.paper, f"{info.name} has no paper: line"
        assert info.status in ("proven", "experimental"), info.name


def test_proven_methods_have_a_claims_test() -> None:
    claims = Path(__file__).resolve().parents[1] / "claims"
    basics = {"raw", "bits", "flat", "identity", "center", "normalize"}  # the identity and its like claim nothing
    for room in rooms.ROOMS:
        for info in rooms.catalog(room).values():
            if info.status == "proven" and info.name not in basics:
                assert (claims / room / f"test_{info.name}.py").exists(), f"{room}/{info.name} is called proven"


def test_constructors_take_at_most_ten_parameters() -> None:
    for room in ("maps", "codecs", "indexes", "fusers"):
        for name in rooms.catalog(room):
            count = len(inspect.signature(rooms.load(room, name)).parameters)
            assert count <= 10, f"{name} takes {count} parameters"


def test_exemptions_are_few_and_reasoned() -> None:
    total = 0
    for room in ("maps", "codecs", "indexes", "fusers"):
        for name in rooms.catalog(room):
            skips = rooms.load(room, name).skips
            total += len(skips)
            assert all(len(reason) > 15 for reason in skips.values()), name
    assert total <= 25, f"{total} exemptions from conformance: too many"


def test_every_method_loads_without_its_extra() -> None:
    for room in rooms.ROOMS:
        for name in rooms.catalog(room):
            try:
                assert rooms.load(room, name) is not None
            except MissingExtra:  # pragma: no cover
                pytest.fail(f"{room}/{name} needs its extra to be imported; require it inside fit")


def test_public_things_are_documented() -> None:
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{path} has no docstring"
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name} has no docstring"
