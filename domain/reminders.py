"""Which reminder steps are due, which of them are sent, and why the others are not.

Steps belong to the base in force; what quiet hours moved waits in `Reminded.moved`. A step that
was reached is done, sent or not: what is dropped is not made up for.

A rebuild learns from the reminder topic what was sent, not which step it was. When a reminder was
sent, all steps up to its moment had been reached: those are done (`Reminded.until_ms`). Its own
step is done wherever pay_by moves it later; it is told by its id, which is made of base and step.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from domain.case import Case
from domain.customer import NEVER_MS, Customer, Reminded
from domain.policy import Policy, ReminderPolicy
from schemas.codec import to_ms
from schemas.outputs import event_id

DropReason = Literal[
    "overtaken",  # a later step of the checkout was reached at the same time
    "not_open",  # the checkout was not open when the step was reached
    "awaited",  # a payment is pending or authorized
    "held",  # an event of the checkout is a dead letter, or another currency was paid
    "not_allowed",  # reminders_allowed is false
    "too_late",  # clock is past send_before
    "quiet_hours",  # moved by quiet hours past send_before
    "checkout_cap",
    "customer_gap",
    "customer_week",
]

WEEK_MS = 7 * 86_400_000
"""The span of `per_customer_week`."""


class DueStep(Struct, frozen=True):
    """A step that `now` has reached."""

    case: Case
    name: str
    at_ms: int
    """Its moment, after quiet hours."""
    send_before_ms: int


class Sent(Struct, frozen=True):
    """A reminder to be announced."""

    case: Case
    step: str
    at_ms: int
    number: int
    """Of this checkout, from 1."""
    send_before_ms: int
    zone: str
    """The buyer's zone, or the default when it is not known."""


class Plan(Struct, gc=False):
    """What became of the steps of one sitting."""

    sent: list[Sent]
    dropped: list[DropReason]
    unknown_zones: int = 0


def steps_of(case: Case, policy: ReminderPolicy) -> list[tuple[int, str]]:
    """The steps of the base in force that exist, in time order: after the base and at or before
    send_before."""
    if case.pay_by_ms is None:
        return []
    send_before_ms = case.pay_by_ms - policy.latest_before_pay_by_ms
    steps = []
    for step in policy.steps.get(case.method, ()):
        at_ms = (
            case.pay_by_ms - step.offset_ms if step.before_pay_by else case.base_ms + step.offset_ms
        )
        if case.base_ms < at_ms <= send_before_ms:
            steps.append((at_ms, step.name))
    steps.sort()
    return steps


def next_step_ms(case: Case, policy: ReminderPolicy) -> int:
    """When the next step that is not done is due; NEVER_MS without one."""
    reminded, steps = case.checkout.reminded, steps_of(case, policy)
    if reminded is None:
        return steps[0][0] if steps else NEVER_MS
    if reminded.base_ms != case.base_ms:
        return next((at_ms for at_ms, _ in steps if at_ms > reminded.until_ms), NEVER_MS)
    left_ms = min(
        (at_ms for at_ms, name in steps if _is_left(reminded, at_ms, name)), default=NEVER_MS
    )
    return left_ms if reminded.moved is None else min(left_ms, reminded.moved[1])


def _is_left(reminded: Reminded, at_ms: int, name: str) -> bool:
    return at_ms > reminded.until_ms and at_ms > reminded.done.get(name, 0)


def take_due(
    case: Case, *, now_ms: int, policy: ReminderPolicy, dropped: list[DropReason]
) -> DueStep | None:
    """Marks every step that `now` has reached as done and returns the last of them."""
    if case.pay_by_ms is None or next_step_ms(case, policy) > now_ms:
        return None
    reminded = _of_base(case)
    reached = []
    if reminded.moved is not None and reminded.moved[1] <= now_ms:
        name, at_ms = reminded.moved  # reached before all others, whenever it was moved to
        reached.append((at_ms, name))
        reminded.moved = None
    for at_ms, name in steps_of(case, policy):
        if at_ms <= now_ms and _is_left(reminded, at_ms, name):
            reached.append((at_ms, name))
            reminded.done[name] = at_ms
    dropped.extend(["overtaken"] * (len(reached) - 1))
    at_ms, name = reached[-1]
    return DueStep(case, name, at_ms, case.pay_by_ms - policy.latest_before_pay_by_ms)


def reached_unseen(case: Case, step: DueStep) -> bool:
    """Of a checkout that was not open: whether the step was reached meanwhile, and so dropped (a
    settled checkout is not woken for its steps). Not so one before a pay_by that was just set
    anew by the reversal which opened the checkout again."""
    return not (case.again and step.name.startswith("-"))


def _of_base(case: Case) -> Reminded:
    """The checkout's memory of its steps, begun anew for another base."""
    checkout, former = case.checkout, case.checkout.reminded
    if former is None:
        checkout.reminded = Reminded(case.base_ms, {})
    elif former.base_ms != case.base_ms:
        checkout.reminded = Reminded(
            case.base_ms, {}, former.sent, until_ms=former.until_ms, ids=former.ids
        )
    else:
        return former
    return checkout.reminded


def recall(customer_id: str, case: Case, policy: ReminderPolicy) -> None:
    """Rebuild: which steps of a base that begins were sent already. Call it before `take_due`."""
    former = case.checkout.reminded
    if former is None or not former.ids or former.base_ms == case.base_ms:
        return
    reminded, checkout_id = _of_base(case), case.checkout.checkout_id
    for step in policy.steps.get(case.method, ()):
        if event_id(customer_id, checkout_id, "reminder", case.base_ms, step.name) in former.ids:
            reminded.done[step.name] = NEVER_MS


def note_sent(customer: Customer, sent_ms: int, policy: ReminderPolicy) -> None:
    """Counts for the customer's caps. Only the newest can ever matter: so many as a week may
    hold, at least the last one."""
    customer.reminded_ms = sorted([*customer.reminded_ms, sent_ms])[
        -max(1, policy.per_customer_week) :
    ]


def send(
    due: list[DueStep], customer: Customer, *, clock_ms: int, policy: Policy, plan: Plan
) -> None:
    """Decides what becomes of one customer's due steps: the earlier first, then by checkout_id.
    All of them belong to open checkouts. Sends count for the caps of those that follow."""
    rules = policy.reminders
    due.sort(key=lambda step: (step.at_ms, step.case.checkout.checkout_id))
    for step in due:
        zone, known = zone_of(step.case.confirmed.time_zone, rules.default_time_zone)
        plan.unknown_zones += not known
        reminded = _of_base(step.case)
        awake_ms = awake_at_ms(clock_ms, zone, rules.quiet_hours)
        if awake_ms > clock_ms:
            if awake_ms > step.send_before_ms:
                plan.dropped.append("quiet_hours")
            else:
                if reminded.moved is not None:
                    plan.dropped.append("overtaken")
                reminded.moved = (step.name, awake_ms)
            continue
        reason = _refusal(step, customer, reminded, clock_ms=clock_ms, policy=rules)
        if reason is not None:
            plan.dropped.append(reason)
            continue
        reminded.sent += 1
        reminded.done[step.name] = NEVER_MS
        note_sent(customer, clock_ms, rules)
        plan.sent.append(
            Sent(step.case, step.name, step.at_ms, reminded.sent, step.send_before_ms, zone.key)
        )


def _refusal(
    step: DueStep, customer: Customer, reminded: Reminded, *, clock_ms: int, policy: ReminderPolicy
) -> DropReason | None:
    """Why an open checkout's step is not sent at `clock_ms`, awake; None: it is."""
    case, sent_ms = step.case, customer.reminded_ms
    if case.awaited_ms is not None:
        return "awaited"
    if case.held:
        return "held"
    if not case.confirmed.reminders_allowed:
        return "not_allowed"
    if clock_ms > step.send_before_ms:
        return "too_late"
    if reminded.sent >= policy.per_checkout:
        return "checkout_cap"
    if sent_ms and clock_ms - max(sent_ms) < policy.per_customer_gap_ms:
        return "customer_gap"
    if sum(ms > clock_ms - WEEK_MS for ms in sent_ms) >= policy.per_customer_week:
        return "customer_week"
    return None


@lru_cache(maxsize=1024)
def zone_of(name: str | None, default: str) -> tuple[ZoneInfo, bool]:
    """The zone of that name and True, or the default and False when there is no such zone. Not
    telling one is not unknown."""
    if name is None:
        return ZoneInfo(default), True
    try:
        return ZoneInfo(name), True
    except (KeyError, ValueError, OSError):  # not found, not a name, a directory of zones
        return ZoneInfo(default), False


def awake_at_ms(clock_ms: int, zone: ZoneInfo, quiet: tuple[int, int] | None) -> int:
    """`clock_ms` itself outside quiet hours [from, to) (minutes of the local day), else the first
    moment at which the local clock shows `to` or, where a change of clocks skips it, is past it."""
    if quiet is None:
        return clock_ms
    start, end = quiet
    local = _local(clock_ms, zone)
    minute = local.hour * 60 + local.minute
    inside = start <= minute < end if start <= end else minute >= start or minute < end
    if not inside:
        return clock_ms
    day = local.date() + timedelta(days=1 if start > end and minute >= start else 0)
    wall = datetime.combine(day, time(end // 60, end % 60))  # a wall clock: the zone comes below
    for fold in (0, 1):
        moment_ms = to_ms(wall.replace(tzinfo=zone, fold=fold).astimezone(UTC))
        if moment_ms > clock_ms:
            break
    if _local(moment_ms, zone).replace(tzinfo=None, fold=0) == wall:
        return moment_ms
    return _end_of_gap(wall, zone)


def _local(ms: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(ms // 1000, tz=zone).replace(microsecond=ms % 1000 * 1000)


def _end_of_gap(wall: datetime, zone: ZoneInfo) -> int:
    """The moment of the change that skips `wall`: in a gap fold 1 lies before it, fold 0 after."""
    before = to_ms(wall.replace(tzinfo=zone, fold=1).astimezone(UTC))
    after = to_ms(wall.replace(tzinfo=zone, fold=0).astimezone(UTC))
    old = _local(before, zone).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        if _local(middle, zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after
