"""Waiting for something with an end."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def poll(
    condition: Callable[[], T],
    *,
    within_s: float,
    every_s: float = 0.05,
    what: str | Callable[[], str] = "",
) -> T:
    """The first true value of `condition()`; AssertionError naming `what` after the time.

    `what` may be a function, called only on failure: the end of a log, the state of things.
    """
    until = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            telling = what() if callable(what) else what
            raise AssertionError(f"not within {within_s:g} s: {telling or condition}")
        time.sleep(every_s)
