"""Whatever goes wrong over the contents of a file is the file's fault, and is told with its name in one line.

Checksums tell damage from what was written; what somebody wrote wrongly, or on purpose, may make any code fail in any
way: with a type that it does not know, a number out of range, an array of another shape.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from nearfield.core.errors import BadInput, Corrupt, MissingExtra, NearfieldError


@contextmanager
def blaming(path: str | os.PathLike[str], *, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn what fails inside into ``Corrupt`` that names the file; errors in ``but`` are none of its fault.

    A missing extra is not, nor what the machine itself refuses (a disk that fails, too many open files).
    """
    try:
        yield
    except MissingExtra:
        raise
    except but:
        raise
    except MemoryError:
        raise BadInput(f"{path}: reading it needs more memory than there is; free some, or write it again") from None
    except Exception as error:
        told = isinstance(error, NearfieldError)
        if told and str(path) in str(error):
            raise
        if isinstance(error, OSError) and not told:
            raise
        what = str(error) if told else f"what it says cannot be used ({error!r})"
        raise Corrupt(f"{path}: the checksums hold but the contents do not: {what}; write the file again") from None
