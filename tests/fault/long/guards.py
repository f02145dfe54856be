"""Every guard is missed: for each, the smallest run on a real Kafka that goes wrong without it and
well with it. The guards are taken away by patches in tests/support/unguarded.py.

GUARD=gate,fencing ./run faults guards     plays only these
"""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass

from tests.fault.long import _guard_runs as runs
from tests.fault.long.scenario import Arena, Outcome, Scenario
from tests.support.unguarded import without


@dataclass(frozen=True)
class Guard:
    """`name` is that of the patch, `done` what is done to find it missing."""

    name: str
    done: str
    run: runs.Run
    behind: str = ""
    """Another guard that would catch the same first: it is off both times."""
    simulated: str = ""
    """Its name in tests/simulation/guards.py."""


GUARDS = [
    Guard(
        "fencing",
        "the owner stands still with verdicts decided, another one takes over, it goes on",
        runs.fencing,
        simulated="fencing",
    ),
    Guard(
        "init-before-read",
        "the new owner has read the state, then the old one goes on with its transaction",
        runs.init_before_read,
        simulated="init before read",
    ),
    Guard(
        "high-watermark-restore",
        "the old owner commits what was open while the new one read the state",
        runs.high_watermark_restore,
        behind="init-before-read",
        simulated="high watermark when restoring",
    ),
    Guard(
        "await-all-futures",
        "the verdict topic refuses a batch (too large) that a transaction has with others",
        runs.await_all_futures,
    ),
    Guard(
        "generation-rule",
        "a worker stands still, its lane goes to another one and comes back",
        runs.generation_rule,
        simulated="generation rule",
    ),
    Guard(
        "frontier-hold",
        "payments lie in an upstream's transaction that is not committed",
        runs.frontier_hold,
        simulated="reading to the end",
    ),
    Guard(
        "staleness-hold",
        "payments made in time are told seconds after the verdicts' moment",
        runs.staleness_hold,
        simulated="staleness hold",
    ),
    Guard(
        "clock-hold",
        "the worker's clock runs 200 s ahead within 10 s, where there are 110 s to pay",
        runs.clock_hold,
        simulated="clock hold",
    ),
    Guard(
        "gap-check",
        "payments are deleted by Kafka before a worker that stands still has read them",
        runs.gap_check,
    ),
    Guard(
        "dedupe-by-facts",
        "half is paid, and told twice",
        runs.dedupe_by_facts,
    ),
    Guard(
        "record-isolation",
        "one record makes judging raise",
        runs.record_isolation,
        simulated="record isolation",
    ),
    Guard(
        "position-checksum",
        "a stranger deletes a record of the changelog",
        runs.position_checksum,
    ),
    Guard(
        "gate",
        "payments that were fetched before a rebalance reach their agent after it",
        runs.gate,
    ),
]


def guards(arena: Arena) -> Outcome:
    """See the module. Raises nothing: a run that breaks is a problem of its guard."""
    outcome = Outcome()
    chosen = os.environ.get("GUARD", "").split(",") if os.environ.get("GUARD") else None
    rows = []
    for guard in GUARDS:
        if chosen is not None and guard.name not in chosen:
            continue
        others = [guard.behind] if guard.behind else []
        on = _played(arena, guard, others)
        outcome.demand(on == "", f"{guard.name}, with all it needs: {on}")
        off = _played(arena, guard, [*others, guard.name])
        outcome.demand(
            off != "" and not off.startswith("broken"), f"{guard.name}, without it: {off or 'held'}"
        )
        arena.say(f"{guard.name}: {on or 'held'} / {off or 'NOT MISSED'}")
        outcome.faults += 2
        rows.append(_row(guard, on or "held", off or "**not missed**"))
    if chosen is None:
        outcome.notes["table"] = [
            "| without | what is done | with it | what finds that it is off | in the simulation |",
            "|---|---|---|---|---|",
            *rows,
        ]
    return outcome


def _played(arena: Arena, guard: Guard, off: list[str]) -> str:
    try:
        return guard.run(arena, without(off))
    except Exception:  # noqa: BLE001 - whatever it is, it is the result
        return f"broken: {traceback.format_exc()}"


def _row(guard: Guard, on: str, off: str) -> str:
    behind = f" (and without {guard.behind}, both times)" if guard.behind else ""
    simulated = guard.simulated or "no"
    return f"| {guard.name}{behind} | {guard.done} | {on} | {off} | {simulated} |"


SCENARIOS = [
    Scenario(
        13,
        "guards",
        "each guard switched off in turn: the run that is well with it goes wrong without it",
        guards,
    )
]
