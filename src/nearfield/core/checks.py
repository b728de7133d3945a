"""Numbers as people give them, Python's or NumPy's, checked and made Python's own before anything is kept of them.

One rule wherever a number is taken: NumPy's scalars, and arrays of no dimensions, stand for the number they hold; a
bool is no number; a whole number is never rounded from another.
"""

from __future__ import annotations

import math
from typing import Any

from nearfield.core.errors import BadInput, NearfieldError

_SHOWN = 60


def plain(value: Any) -> Any:
    """A scalar of NumPy, or an array of no dimensions (torch's too), as Python's own; anything else as it is.

    >>> import numpy as np
    >>> plain(np.int64(8)), plain(np.array(0.5)), plain([8])
    (8, 0.5, [8])
    """
    if getattr(value, "shape", None) != () or not hasattr(value, "item"):
        return value
    kind = getattr(getattr(value, "dtype", None), "kind", None)  # torch's types have none
    if kind == "f":
        return float(value)  # a long double gives itself as an item
    return value.item() if kind in (None, "b", "i", "u", "U") else value  # times would become whole numbers


def shown(value: object, most: int = _SHOWN) -> str:
    """A value for an error of one line: short, and even where it is a number of thousands of digits."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= most else text[: most - 3] + "..."


def whole(
    name: str, value: Any, least: int = 0, most: int | None = None, *, what: str = "a whole number",
    error: type[NearfieldError] = BadInput,
) -> int:  # fmt: skip
    """A whole number from ``least`` to ``most`` as Python's own, or an error that names it.

    >>> import numpy as np
    >>> whole("k", np.int32(3), 1)
    3
    """
    found = plain(value)
    if isinstance(found, bool) or not isinstance(found, int) or found < least or (most is not None and found > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise error(f"{name}: expected {what} {bounds}, got {shown(value)}")
    return int(found)


def real(
    name: str, value: Any, what: str = "a finite number", *, least: float = -math.inf, most: float = math.inf,
    above: float = -math.inf, below: float = math.inf, error: type[NearfieldError] = BadInput,
) -> float:  # fmt: skip
    """A finite number within bounds (``above`` and ``below`` are not allowed themselves) as Python's own.

    >>> import numpy as np
    >>> real("share", np.float64(0.5), "a share from 0 to 1", least=0, most=1)
    0.5
    """
    found = plain(value)
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        try:
            number = float(found)
        except OverflowError:
            number = math.inf
        if math.isfinite(number) and least <= number <= most and above < number < below:
            return number
    raise error(f"{name}: expected {what}, got {shown(value)}")


def check_progress(progress: Any) -> None:
    """Refuse what cannot be called as ``progress(stage, done, total)``, before any work is done."""
    if progress is not None and not callable(progress):
        raise BadInput(f"progress: expected a function of (stage, done, total), or None, got {type(progress).__name__}")
