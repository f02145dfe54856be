"""Being asked to end (SIGTERM) before anybody is there to do it in order.

By itself the first process of a container does not hear SIGTERM; and a loop's own handlers lose
what comes while the loop is closing. So the signal is kept here from the start until Faust's
worker has handlers of its own, which looks here once when it has them.
"""

from __future__ import annotations

import signal

_asked: list[int] = []


def listen() -> None:
    """From now on SIGTERM is kept. Call it in the main thread."""
    signal.signal(signal.SIGTERM, lambda number, _: _asked.append(number))


def asked() -> bool:
    """Whether it has come."""
    return bool(_asked)


def deaf() -> None:
    """The end is under way: being asked again must not cut it short."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
