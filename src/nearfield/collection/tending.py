"""Upkeep after writes: in the call where it is short, beside what goes on where graphs have to be mended and extended.

A crash loses nothing: what is rewritten beside is files that nothing names until one commit swaps them in.
"""

from __future__ import annotations

import warnings

from nearfield.collection import upkeep
from nearfield.collection.state import State
from nearfield.core.errors import UpkeepWarning
from nearfield.core.indexes import Step
from nearfield.search.background import Job, Stopped

ASIDE = 8192  # rows of fields under a Plan, from which a rewriting takes longer than a write should
OUTRUN = 64  # segments, from which writes wait for what goes on beside them


class Tending:
    """The upkeep of an open Collection."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._job: Job | None = None
        self._failure: Exception | None = None  # of what went on beside, until it is done again or told

    def after_write(self) -> None:
        """Do what is due, or begin it."""
        snapshot = self._state.seen()
        rows = upkeep.due_rows(snapshot)
        if not rows:
            return
        if self._failure is not None or not snapshot.plans or rows < ASIDE or not self._begin():
            self._failure = None
            upkeep.maintain(self._state)  # which raises what goes wrong, to whom it concerns
        elif len(snapshot.segments) > OUTRUN:
            self.wait()

    def _begin(self) -> bool:
        if self._job is not None and self._job.alive:
            return True
        self._job = Job(self._run)
        try:
            self._job.start()
        except RuntimeError:  # there are no more threads to be had
            self._job = None
        return self._job is not None

    def _run(self, step: Step) -> None:
        try:
            upkeep.maintain(self._state, step)
        except Stopped:
            raise
        except Exception as error:
            self._failure = error  # the next write does it in its own call

    def tell(self) -> None:
        """Warn of what failed and was not done again since, once."""
        failure, self._failure = self._failure, None
        if failure is not None:
            warnings.warn(
                f"{self._state.folder}: upkeep in the background failed ({type(failure).__name__}: {failure}); "
                "nothing is lost, and the next write does it again",
                UpkeepWarning,
                stacklevel=3,
            )

    def wait(self) -> None:
        """Let what goes on come to its end; an interrupt ends it."""
        if self._job is None:
            return
        try:
            self._job.wait()
        except BaseException:
            self._job.stop()
            raise

    def stop(self) -> None:
        """End what goes on, and leave no trace of it; it is due again after the next write."""
        if self._job is not None:
            self._job.stop()
