"""Ends a process whose event loop stands still: its other watchdogs stand still with it.

The consumer's thread would go on with its heartbeats, and nobody else would get the lanes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from streams.faults import RestartWorker

EVERY_S = 5.0
MISSED = 12
"""Looks without a beat in between. Looks are counted, not seconds: a frozen process takes none."""


class LoopWatch(threading.Thread):
    """Started when the loop is; `beat` at least every EVERY_S, `over` at the end."""

    def __init__(self, end: Callable[[BaseException], object], *, every_s: float = EVERY_S) -> None:
        """`end` is called from this thread and should not return."""
        super().__init__(name="loop-watch", daemon=True)
        self._end = end
        self._every_s = every_s
        self._beats = 0
        self._over = threading.Event()

    def beat(self) -> None:
        """The loop is alive."""
        self._beats += 1

    def over(self) -> None:
        """The process ends by itself."""
        self._over.set()

    def run(self) -> None:
        seen, missed = -1, 0
        while not self._over.wait(self._every_s):
            missed = missed + 1 if self._beats == seen else 0
            seen = self._beats
            if missed >= MISSED:
                seconds = MISSED * self._every_s
                self._end(RestartWorker(f"the event loop has stood still for {seconds:.0f} s"))
                return
