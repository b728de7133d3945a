"""nearfield: one engine for embeddings.

Measure the trade-off between size, speed and quality on your own vectors, pick the smallest plan
that keeps the quality you ask for, and search with it.

>>> import numpy as np, nearfield as nf
>>> x = np.random.default_rng(0).normal(size=(200, 32)).astype("float32")
>>> packed = nf.Plan("pca(dim=16) | int8() | rescore(codec='float16', depth=10)").fit(x)
>>> int(packed.search(x[:1], k=1).ids[0, 0])
0
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true; importing typing for it would take most of the time here

__version__ = "0.1.0"

# name -> the module that holds it; imported at first use, so that `import nearfield` costs nothing
_LAZY = {
    "Words": "nearfield.search.words",
    "convert": "nearfield.search.words_convert",
    "concat": "nearfield.search.words_views",
    "open": "nearfield.opening",
    "Collection": "nearfield.collection.collection",
    "dense": "nearfield.store.fields",
    "sparse": "nearfield.store.fields",
    "ragged": "nearfield.store.fields",
    "key": "nearfield.store.filters",
    "Tokenizer": "nearfield.store.tokenizers",
    "HyDE": "nearfield.search.hyde",
    "Plan": "nearfield.search.plan",
    "Packed": "nearfield.search.packed",
    "load": "nearfield.search.file",
    "advise": "nearfield.adviser.advise",
    "audit": "nearfield.adviser.audit",
    "methods": "nearfield.about",
    "info": "nearfield.about",
    "papers": "nearfield.about",
    "Bitmap": "nearfield.core.bitmaps",
    "Hits": "nearfield.core.hits",
    "Report": "nearfield.core.report",
    "NearfieldError": "nearfield.core.errors",
}

if TYPE_CHECKING:
    from typing import Any

    from nearfield.about import info as info
    from nearfield.about import methods as methods
    from nearfield.about import papers as papers
    from nearfield.adviser.advise import advise as advise
    from nearfield.adviser.audit import audit as audit
    from nearfield.collection.collection import Collection as Collection
    from nearfield.core.bitmaps import Bitmap as Bitmap
    from nearfield.core.errors import NearfieldError as NearfieldError
    from nearfield.core.hits import Hits as Hits
    from nearfield.core.report import Report as Report
    from nearfield.opening import open as open
    from nearfield.search.file import load as load
    from nearfield.search.hyde import HyDE as HyDE
    from nearfield.search.packed import Packed as Packed
    from nearfield.search.plan import Plan as Plan
    from nearfield.search.words import Words as Words
    from nearfield.search.words_convert import convert as convert
    from nearfield.search.words_views import concat as concat
    from nearfield.store.fields import dense as dense
    from nearfield.store.fields import ragged as ragged
    from nearfield.store.fields import sparse as sparse
    from nearfield.store.filters import key as key
    from nearfield.store.tokenizers import Tokenizer as Tokenizer

__all__ = [
    "Collection", "Hits", "HyDE", "NearfieldError", "Packed", "Plan", "Report", "Tokenizer", "Words", "advise", "audit",
    "concat",
    "convert", "dense", "info", "key", "load", "methods", "open", "papers", "ragged", "sparse",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    from nearfield.core.errors import did_you_mean

    raise AttributeError(f"module 'nearfield' has no attribute {name!r}; {did_you_mean(name, __all__)}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
