"""What a stranger writes in the place of a value: of another type, out of range, or almost right."""

from __future__ import annotations

import json
import random
import warnings
from typing import Any

import numpy as np

ESCAPE = "\x1b[31m\u202ered\x9b"
OTHERS: list[Any] = [
    None, True, False, "", "text", ESCAPE, [], [1, 2], [[]], {}, {"a": 1}, 0, 1, -1, 7, 2.5, -1e300, 2**31, 2**53,
    2**63, -(2**63), 10**30, float("nan"), float("inf"), "0123456789abcdef", "../../etc/passwd", "l2", "hamming",
    "float16",
]  # fmt: skip
NUMBERS = [0, 1, 2, 7, 2**16, 2**31, 2**32 - 1, 2**62, -1, float("nan"), float("inf"), -float("inf"), 1e30]


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON document."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place for key, value in inner for place in [(node, key), *places(value)]]


def other_json(told: Any, draw: random.Random) -> Any:
    """A copy of a JSON document in which one thing is dropped, is something else, or is there under another name."""
    made = json.loads(json.dumps(told))
    found = places(made)
    if not found or draw.random() < 0.05:
        return draw.choice(OTHERS)
    container, key = draw.choice(found)
    old, way = container[key], draw.random()
    if way < 0.15:
        del container[key]
    elif way < 0.25 and isinstance(container, dict):
        container[draw.choice([ESCAPE, "0", "1", "99999999", "n", ""])] = container.pop(key)
    elif isinstance(old, (int, float)) and not isinstance(old, bool) and way < 0.7:
        container[key] = draw.choice(
            [old + 1, old - 1, -old, old * 2, old * 10**9, old + 0.5, str(old), [old], 5 * 10**7]
        )
    else:
        container[key] = draw.choice(OTHERS)
    return made


def other_array(values: np.ndarray, draw: random.Random) -> np.ndarray:
    """A copy of a column in which values are others, in another order, of another type or another number."""
    made = np.array(values)
    flat = made.reshape(-1)
    way = draw.choice(["odd", "odd", "odd", "swap", "bytes", "roll", "all", "type", "shape", "cut"])
    if not flat.size or way == "shape":
        return made.reshape(1, *made.shape)
    if way == "type":
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return made.astype(draw.choice(["<f4", "<f8", "<i8", "|u1", "<u4"]))
    if way == "cut":
        return made[: draw.randrange(len(made))]
    if way == "swap":
        a, b = draw.randrange(len(made)), draw.randrange(len(made))
        made[[a, b]] = made[[b, a]]
    elif way == "roll":
        made[:] = np.roll(made, 1, axis=0)
    elif way == "all":
        flat.view(np.uint8)[:] = draw.choice([0, 255, 127])
    elif way == "bytes":
        raw = flat.view(np.uint8)
        for _ in range(8):
            raw[draw.randrange(raw.size)] = draw.randrange(256)
    else:
        for _ in range(draw.choice([1, 1, 4])):
            flat[draw.randrange(flat.size)] = _as(draw.choice(NUMBERS), made.dtype)
    return made


def _as(value: float, dtype: np.dtype[Any]) -> Any:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if dtype.kind == "f":
            return np.float64(value).astype(dtype)
        whole = int(value) if np.isfinite(value) and abs(value) < 2**63 else 9
        return np.int64(whole).astype(dtype)
