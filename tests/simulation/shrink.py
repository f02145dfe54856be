"""Makes a failing plan small: fewer steps, the same kind of violation."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.simulation.plan import Plan, Step

Fails = Callable[[Plan], bool]


def shrunk(plan: Plan, fails: Fails, *, within_s: float = 60.0) -> Plan:
    """`fails(plan)` is true. Leaves out ever smaller runs of steps as long as the rest fails, then
    makes the steps that are left plainer."""
    until = time.monotonic() + within_s
    steps = plan.steps
    size = max(len(steps) // 2, 1)
    while time.monotonic() < until:
        before = len(steps)
        at = 0
        while at < len(steps) and time.monotonic() < until:
            rest = steps[:at] + steps[at + size :]
            if fails(plan.but(rest)):
                steps = rest
            else:
                at += size
        if size > 1:
            size = max(size // 2, 1)
        elif len(steps) == before:
            break
    return plan.but(_plainer(plan, steps, fails, until))


def _plainer(plan: Plan, steps: list[Step], fails: Fails, until: float) -> list[Step]:
    """Work is fetching, judging and writing all there is; no record is in a transaction."""
    for at, step in enumerate(steps):
        plain = step
        if step[1] == "work":
            plain = [step[0], "work", step[2], "fdmt", 100, None]
        elif step[1] == "append":
            plain = [*step[:-1], None]
        if plain != step and time.monotonic() < until:
            other = [*steps[:at], plain, *steps[at + 1 :]]
            if fails(plan.but(other)):
                steps = other
    return steps
