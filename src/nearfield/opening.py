"""``nearfield.open``: whatever is there, a Collection's folder, a file of codes or a table of words."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from nearfield.core.habits import answering
from nearfield.core.protocols import Metric
from nearfield.store.fields import Field
from nearfield.store.tokenizers import Tokenizer


@answering
def open(
    path: str | os.PathLike[str],
    *,
    dim: int | None = None,
    metric: Metric | None = None,
    fields: Mapping[str, Field] | None = None,
    encoder: Any = None,
    mode: str = "a",
    durability: str = "full",
    on_zero: str | None = None,
    tokenizer: str | Tokenizer | None = None,
    keep_queries: int = 0,
    timeout: float = 5.0,
) -> Any:
    """Create or open a Collection, a folder of rows; or open a file: a ``Packed``, or a table of ``Words``.

    Parameters
    ----------
    path: the folder; what is there is opened, else it is created, which needs ``dim``, ``fields`` or ``encoder``.
    dim: width of the vectors of one dense field, named ``vector``.
    metric: ``cosine`` (default), ``dot``, ``l2`` or ``hamming``.
    fields: several fields by name: ``{"body": dense(384), "terms": sparse(), "tokens": ragged(128)}``.
    encoder: makes vectors of texts: a name, or an object with ``encode``. It is recorded, and another one refused.
    mode: ``"a"`` opens or creates, ``"r"`` only reads, ``"x"`` only creates.
    durability: ``"full"``: a write that returned survives a power cut. ``"relaxed"``: it survives the end of the
        process; a power cut may take the last writes, whole, newest first.
    on_zero: ``"keep"`` lets zero vectors in under cosine, with score 0; the default refuses them.
    tokenizer: how a new Collection cuts texts into words for BM25: ``snowball`` (the default: English stems, and stop
        words left out of queries), ``porter``, ``unicode61``, ``ascii``, ``trigram``, a call such as
        ``snowball(language='german', stop_words=['und'])``, or a ``Tokenizer``. It is recorded.
    keep_queries: how many of the last query vectors a new Collection keeps, for ``advise`` and ``recall``.
    timeout: seconds to wait for another writer before ``Locked``.

    Raises ``BadInput`` where nothing is there and nothing says what to create, ``Unsupported`` where what is asked for
    is not what is there, ``Corrupt`` naming the file that is damaged.
    """
    if isinstance(path, (str, os.PathLike)) and os.path.isfile(path):
        return _file(os.fspath(path))
    from nearfield.collection.opening import opened

    return opened(
        path, dim=dim, metric=metric, fields=fields, encoder=encoder, mode=mode, durability=durability,
        on_zero=on_zero, tokenizer=tokenizer, keep_queries=keep_queries, timeout=timeout,
    )  # fmt: skip


def _file(path: str) -> Any:
    """A file by its kind."""
    from nearfield.search.file import load
    from nearfield.search.words import KIND, open_words
    from nearfield.store.segments import kind_of

    return open_words(path) if kind_of(path) == KIND else load(path)
