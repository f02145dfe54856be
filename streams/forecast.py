"""What happens to one customer if nothing more is told: the rules themselves, run ahead on a copy
of the record, from one due moment to the next. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from domain.customer import NEVER_MS, Checkout, Customer, Standing, decode, due_of
from domain.flush import Output
from domain.ledger import Ledger
from domain.policy import Policy

Kind = Literal[
    "reminder", "moved", "dropped", "detected", "withdrawn", "standing", "forgotten", "advice",
    "gone",
]  # fmt: skip

MOST_STEPS: Final = 5_000
"""More sittings than any record needs; a bound all the same."""


class Coming(Struct, frozen=True):
    """One thing that will happen, and when."""

    at_ms: int
    kind: Kind
    checkout_id: str | None = None
    step: str = ""
    """Of a reminder, as the policy names it."""
    number: int = 0
    """Of a reminder of its checkout."""
    reasons: tuple[str, ...] = ()
    """Of a dropped reminder: why, one of these."""
    moved_ms: int = 0
    standing: Standing = Standing.NEW
    """It has then; of what is forgotten: it had."""
    strikes: int = 0
    action: str = ""


class Ahead(Struct, frozen=True):
    """How far it was run, and what came of it."""

    coming: list[Coming]
    record: bytes | None
    """As it is then; None: forgotten."""


def run_ahead(
    customer_id: str, record: bytes, *, policy: Policy, now_ms: int, clock_ms: int, until_ms: int
) -> Ahead:
    """Runs from `now_ms` (which must be known) to `until_ms`. The clock goes with time, and is
    never before `clock_ms`."""
    key = customer_id.encode()
    ledger = Ledger(policy=policy)
    ledger.restore([(key, record)])
    ledger.restored(frontier_ms=now_ms)
    coming: list[Coming] = []
    before = record
    for _ in range(MOST_STEPS):
        due_ms = max(due_of(before), now_ms)
        if due_ms >= NEVER_MS or due_ms > until_ms:
            break
        drops = Counter(ledger.stats.reminders_dropped)
        ledger.fire(frontier_ms=due_ms, clock_ms=due_ms)
        outputs = ledger.flush(clock_ms=max(due_ms, clock_ms)).outputs
        reasons = tuple(sorted(ledger.stats.reminders_dropped - drops))
        after = ledger.records.get(key)
        coming += _happened(due_ms, before, after, outputs, reasons)
        if after is None:
            return Ahead(coming, None)
        if due_of(after) <= due_ms:  # it cannot be; never spin
            break
        before = after
    return Ahead(coming, before)


def _happened(
    at_ms: int,
    before: bytes,
    after: bytes | None,
    outputs: list[Output],
    reasons: tuple[str, ...],
) -> list[Coming]:
    """What one sitting changed."""
    found: list[Coming] = []
    announced: set[str] = set()
    for output in outputs:
        if output.value is None:
            continue  # a tombstone: the record is gone, which is told below
        event = msgspec.json.decode(output.value)
        told = _announced(at_ms, event)
        if told.checkout_id is not None and told.kind != "reminder":
            announced.add(told.checkout_id)
        found.append(told)
    customer = Customer() if after is None else decode(after)
    for was in decode(before).checkouts:
        found += _became(at_ms, was, customer.find(was.checkout_id), announced, reasons)
    if after is None:
        found.append(Coming(at_ms, "gone"))
    return found


def _announced(at_ms: int, event: dict[str, Any]) -> Coming:
    data, subject = event["data"], str(event["subject"])
    if event["type"] == "hitrun.reminder.due":
        return Coming(at_ms, "reminder", subject, number=data["number"])
    if event["type"] == "hitrun.customer.changed":
        strikes, action = data["strikes"], data["recommended_action"]
        return Coming(at_ms, "advice", strikes=strikes, action=action)
    kind: Kind = "detected" if event["type"] == "hitrun.verdict.detected" else "withdrawn"
    standing = Standing.UNPAID if kind == "detected" else Standing.NEW
    return Coming(at_ms, kind, subject, standing=standing)


def _became(
    at_ms: int,
    was: Checkout,
    now: Checkout | None,
    announced: set[str],
    reasons: tuple[str, ...],
) -> list[Coming]:
    """What became of one checkout, apart from what is announced of it."""
    if now is None:
        return [Coming(at_ms, "forgotten", was.checkout_id, standing=was.standing)]
    found: list[Coming] = []
    if now.standing is not was.standing and was.checkout_id not in announced:
        found.append(Coming(at_ms, "standing", was.checkout_id, standing=now.standing))
    if now.reminded is None or now.reminded == was.reminded:
        return found
    known = was.reminded.done if was.reminded is not None else {}
    moved = was.reminded.moved if was.reminded is not None else None
    steps = [
        step for step, ms in now.reminded.done.items() if known.get(step) != ms and ms != NEVER_MS
    ]
    if moved is not None and now.reminded.moved is None:
        steps.append(moved[0])
    waiting = now.reminded.moved
    for step in steps:
        if waiting is not None and waiting[0] == step:
            found.append(Coming(at_ms, "moved", was.checkout_id, step, moved_ms=waiting[1]))
        elif reasons and now.reminded.done.get(step) != NEVER_MS:
            found.append(Coming(at_ms, "dropped", was.checkout_id, step, reasons=reasons))
    return found
