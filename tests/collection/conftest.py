"""A Collection over seeded rows, and what a plain dictionary says of the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nearfield as nf
from nearfield.collection import upkeep, writing
from nearfield.collection.collection import Collection


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seal, write segments and merge after few rows, so that all of it happens."""
    monkeypatch.setattr(writing, "SEAL_ROWS", 64)
    monkeypatch.setattr(writing, "DIRECT_ROWS", 40)
    monkeypatch.setattr(upkeep, "MOST_ROWS", 400)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[..., Collection]]:
    """Makes Collections in new folders, and closes them."""
    made: list[Collection] = []

    def make(name: str = "notes", **options: Any) -> Collection:
        made.append(nf.open(tmp_path / name, **options))
        return made[-1]

    yield make
    for collection in made:
        collection.close()


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)
