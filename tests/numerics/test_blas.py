"""NumPy's OpenBLAS is held to one thread by whoever asks, and given back by the last."""

from __future__ import annotations

import pytest

from nearfield.numerics import blas


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of threads in the order in which they were set, of a BLAS that begins with four."""
    told = [4]
    monkeypatch.setattr(blas, "_openblas", lambda: (lambda: told[-1], told.append))
    return told


def test_the_last_to_leave_gives_back_what_the_first_found(threads: list[int]) -> None:
    first, second = blas.one_thread(), blas.one_thread()
    with first:
        second.__enter__()
    assert threads == [4, 1]  # the second still holds it
    second.__exit__(None, None, None)
    assert threads == [4, 1, 4]


def test_it_is_given_back_where_the_work_fails(threads: list[int]) -> None:
    with pytest.raises(ZeroDivisionError), blas.one_thread():
        1 / 0  # noqa: B018
    assert threads == [4, 1, 4]


def test_another_blas_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "_openblas", lambda: None)
    with blas.one_thread():
        assert blas._HELD.holders == 0


def test_the_openblas_that_numpy_brings_is_found() -> None:
    found = blas._openblas()
    if found is None:
        pytest.skip("NumPy uses another BLAS here")
    before = found[0]()
    with blas.one_thread():
        assert found[0]() == 1
    assert found[0]() == before
