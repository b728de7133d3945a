"""Work on indexes that goes on in a thread of its own while rows come and go.

It begins with what is there, works on a copy without holding anybody up, and swaps it in at the end. It stops between
two steps when that is asked for, or when the interpreter ends.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable

from nearfield.core.indexes import Step

_RUNNING: weakref.WeakSet[Job] = weakref.WeakSet()


class Stopped(Exception):
    """Somebody asked for an end."""


class Job:
    """A thread that runs something, which calls what it is given between two steps."""

    def __init__(self, run: Callable[[Step], None]) -> None:
        self._stop = threading.Event()
        self._run = run
        self._thread = threading.Thread(target=self._go, name="nearfield-consolidate", daemon=True)

    def start(self) -> None:
        """Begin."""
        _RUNNING.add(self)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it goes on."""
        return self._thread.is_alive()

    def _go(self) -> None:
        try:
            self._run(self._step)
        except Stopped:
            return

    def _step(self, done: int, total: int) -> None:
        if self._stop.is_set():
            raise Stopped

    def wait(self) -> None:
        """Let it come to its end."""
        self._thread.join()

    def end(self) -> None:
        """Have it end between two steps."""
        self._stop.set()

    def stop(self) -> None:
        """End it, and wait until it has."""
        self.end()
        self._thread.join()


@atexit.register
def _stop_all() -> None:
    """A thread that is within native code when the interpreter goes would take the process with it."""
    for job in list(_RUNNING):
        job.stop()
