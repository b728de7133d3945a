"""One error family: each message says what was expected, what came and what to do.

Every error that nearfield raises on purpose is a ``NearfieldError``; the command line turns any of
them into one line on stderr and exit code 2.
"""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable
from typing import Any

from nearfield.core.text import safe


class NearfieldError(Exception):
    """The base of every error that nearfield raises on purpose: one line, whatever a file or a user put into it."""

    def __init__(self, message: object = "", *more: Any) -> None:
        super().__init__(safe(str(message)), *more)


class BadInput(NearfieldError, ValueError):
    """Data of the wrong shape, width, type or value; names the first offending rows."""


class BadRows(BadInput):
    """Rows that cannot be used, such as NaN or, under cosine, zeros; names them by number."""


class Exists(BadInput):
    """Ids that are there already, where new ones were expected; names the first of them."""


class BadParameter(NearfieldError, ValueError):
    """A parameter outside its range; names the parameter, the range and the value."""


class BadCall(NearfieldError, TypeError):
    """A call with arguments that the function does not take; names those that it does."""


class BadPlan(NearfieldError, ValueError):
    """Plan text that cannot be read or cannot run; says where and what would."""


class Unknown(NearfieldError, LookupError):
    """A name that no room knows; offers the nearest known names."""


class NotFitted(NearfieldError, RuntimeError):
    """A method was used before ``fit``."""


class NotInductive(NearfieldError, TypeError):
    """A method cannot encode rows that it was not fitted on; says why."""


class MissingExtra(NearfieldError, ImportError):
    """An optional package is missing; says which extra to install."""


class Corrupt(NearfieldError, OSError):
    """A file is damaged; names the file and the place."""


class NotWritten(NearfieldError, OSError):
    """A file could not be written; names it, says why and what to do."""


class Replaced(NotWritten):
    """The folder of a collection was replaced, moved or deleted while it was open; nothing was written."""


class StorageFull(NotWritten):
    """The disk is full; what was there before is intact."""


class Locked(NearfieldError, TimeoutError):
    """Another writer holds the lock; ``pid``, ``host`` and ``since`` tell which."""

    def __init__(self, message: str, pid: int = 0, host: str = "", since: str = "") -> None:
        super().__init__(message)
        self.pid, self.host, self.since = pid, host, since


class ReadOnly(NearfieldError, PermissionError):
    """A write where only reading was asked for, or is possible; says why."""


class Cancelled(NearfieldError, TimeoutError):
    """A search was stopped before it was done: by its timeout, or because it was asked to."""


class DataWarning(UserWarning):
    """Something in the user's data is odd, and is used all the same; the command line tells it in one line."""


class UnknownKey(DataWarning):
    """A filter names a key that no row has, and that is nearly the name of one: it may be misspelt."""


class UpkeepWarning(UserWarning):
    """Work in the background failed, and is begun again; searches go on with what was there, which may be slower."""


class Unsupported(NearfieldError, TypeError):
    """Two parts do not go together (a layout, a metric, a kind); names both."""


def warn(message: str, category: type[Warning] = DataWarning) -> None:
    """Warn at the line that called into this package, however deep inside it something was found."""
    frame, level = sys._getframe(1).f_back, 3
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith("nearfield."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint naming the closest known names.

    >>> did_you_mean("rabbitq", ["rabitq", "pq"])
    "did you mean 'rabitq'? known: pq, rabitq"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
    guess = "did you mean " + " or ".join(repr(c) for c in close) + "? " if close else ""
    return f"{guess}known: {', '.join(names)}"


class BadFilter(BadInput):
    """A filter that cannot be read, or that compares what does not compare; says where and what was expected."""
