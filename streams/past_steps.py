"""What became of a checkout's reminders, as far as its record tells. Pure.

The record keeps that a step was dropped, not why; what can be said of the reason is inferred from
the facts, and called so. What lies ahead is `forecast.py`'s."""

from __future__ import annotations

from typing import Final

from domain.case import Case
from domain.customer import NEVER_MS, Customer, Reminded, Standing
from domain.policy import Policy
from domain.reminders import WEEK_MS, awake_at_ms, steps_of, zone_of
from streams.reasons import Told
from streams.words import Times, count, span

WHY_DROPPED: Final = {
    "overtaken": "a later one of this checkout was due as well",
    "not_open": "the checkout did not await a payment just then",
    "awaited": "a payment is under way",
    "held": "a message about it could not be used",
    "not_allowed": "the buyer wants no reminders",
    "too_late": "it is too late to be of use",
    "quiet_hours": "it falls into the buyer's night, and after it there is no time left",
    "checkout_cap": "enough were sent for this checkout",
    "customer_gap": "the buyer's last reminder is too recent",
    "customer_week": "enough were sent to the buyer within 7 d",
}
"""By DropReason; also what happens ahead is told by these."""

NO_REASON: Final = "the record does not keep why"


def step_words(name: str) -> str:
    """A step as people say it, by its name in the policy: "1h", "-4h"."""
    return f"{name[1:]} before pay-by" if name.startswith("-") else f"{name} after the checkout"


def reminders(
    case: Case, customer: Customer, *, now_ms: int, policy: Policy, when: Times
) -> list[Told]:
    """A line for each step that was reached, and for those that only the record knows."""
    record = case.checkout.reminded
    own = record if record is not None and record.base_ms == case.base_ms else None
    told: list[Told] = []
    sent_steps = 0
    steps = {name: at_ms for at_ms, name in steps_of(case, policy.reminders)}
    if own is not None:
        sent = _sent_times(own, steps, customer)
        sent_steps = sum(ms == NEVER_MS for ms in own.done.values())
        for name, done_ms in own.done.items():
            if own.moved is not None and own.moved[0] == name:
                words = f"it fell into the buyer's night and waits until {when(own.moved[1])}"
                told.append(_step(done_ms, "reminder_moved", name, words))
            elif done_ms != NEVER_MS:
                words = f"not sent; {_likely(done_ms, case, customer, policy)}"
                told.append(_step(done_ms, "reminder_dropped", name, words))
            elif name in sent:
                told.append(_step(sent[name], "reminder_sent", name, "sent"))
            else:
                words = "sent; the record does not keep the minute"
                told.append(_step(steps.get(name), "reminder_sent", name, words))
    for at_ms, name in steps_of(case, policy.reminders):
        if at_ms <= now_ms and (own is None or name not in own.done):
            told.append(_unseen(at_ms, name, record, case))
    if record is not None and record.sent > sent_steps:
        words = f"{count(record.sent - sent_steps, 'more reminder')} sent before, for an earlier "
        words += "time to pay, or before the workers' state was rebuilt"
        told.append(Told(None, "reminder_sent", words))
    if not case.confirmed.reminders_allowed and case.pay_by_ms is not None:
        told.append(Told(None, "reminders_not_allowed", "the buyer wants no reminders"))
    return told


def _step(at_ms: int | None, kind: str, name: str, words: str) -> Told:
    return Told(at_ms, kind, f"reminder, {step_words(name)}: {words}")


def _unseen(at_ms: int, name: str, record: Reminded | None, case: Case) -> Told:
    """A step that passed without anybody noting what became of it."""
    if record is not None and at_ms <= record.until_ms:
        words = "sent or dropped before the workers' state was rebuilt"
        return _step(at_ms, "reminder_unknown", name, words)
    if case.checkout.standing is Standing.OPEN:
        return _step(at_ms, "reminder_due", name, "due, a worker decides on it next")
    words = "not needed, no payment was awaited by then"
    return _step(at_ms, "reminder_dropped", name, words)


def _sent_times(own: Reminded, steps: dict[str, int], customer: Customer) -> dict[str, int]:
    """When each sent step was sent. The record keeps the customer's last few moments, not which
    reminder they were: known only while this checkout's are all of them."""
    sent = sorted((steps[n], n) for n, ms in own.done.items() if ms == NEVER_MS and n in steps)
    total = sum(_sent(c.reminded) for c in customer.checkouts)
    if not len(sent) == total == len(customer.reminded_ms):
        return {}
    return {name: ms for (_, name), ms in zip(sent, customer.reminded_ms, strict=True)}


def _sent(record: Reminded | None) -> int:
    return 0 if record is None else record.sent


def _likely(at_ms: int, case: Case, customer: Customer, policy: Policy) -> str:
    """What can be said of why a step of `at_ms` was dropped."""
    if not case.confirmed.reminders_allowed:
        return WHY_DROPPED["not_allowed"]
    reason = _inferred(at_ms, case, customer, policy)
    return NO_REASON if reason is None else f"most likely: {reason} ({NO_REASON})"


def _inferred(at_ms: int, case: Case, customer: Customer, policy: Policy) -> str | None:
    rules, record = policy.reminders, case.checkout.reminded
    if any(p.at_ms <= at_ms for p in case.checkout.payments) and case.received >= case.due:
        return "it was paid by then"
    if case.awaited_ms is not None and case.awaited_ms <= at_ms:
        return "a payment was under way"
    if case.held:
        return WHY_DROPPED["held"]
    zone, _ = zone_of(case.confirmed.time_zone, rules.default_time_zone)
    last_ms = (case.pay_by_ms or at_ms) - rules.latest_before_pay_by_ms
    if awake_at_ms(at_ms, zone, rules.quiet_hours) > last_ms:
        return "it fell into the buyer's night, and after it there was no time left"
    if _sent(record) >= rules.per_checkout:
        return WHY_DROPPED["checkout_cap"]
    if any(at_ms - rules.per_customer_gap_ms < ms <= at_ms for ms in customer.reminded_ms):
        return f"the buyer had been reminded less than {span(rules.per_customer_gap_ms)} before"
    week = sum(at_ms - WEEK_MS < ms <= at_ms for ms in customer.reminded_ms)
    return WHY_DROPPED["customer_week"] if week >= rules.per_customer_week else None
