"""One customer's record as a timeline in words. Pure: record, policy and `now` in, `Story` out.

The words are for a colleague in customer care; the same story is the data of `--json`."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from domain.case import Case, read
from domain.customer import DAY_MS, NEVER_MS, Checkout, Customer, Standing, decode, due_of
from domain.policy import Policy
from domain.reminders import zone_of
from domain.standing import Judgement, standings_of
from domain.strikes import figures
from schemas.codec import rfc3339
from streams.forecast import Ahead, Coming, run_ahead
from streams.past_steps import WHY_DROPPED, reminders, step_words
from streams.reasons import Row, Told, facts, same_cart, why
from streams.words import Times, count, listed, method, money, shown, span, utc_day

OVERDUE_MS: Final = 5 * 60_000
"""A record that should have been judged so long ago shows that no worker is at work on it."""

STANDINGS: Final = {
    Standing.NEW: "not judged yet",
    Standing.OPEN: "open",
    Standing.PAID: "paid",
    Standing.PRESUMED_PAID: "presumed paid",
    Standing.CANCELLED: "cancelled",
    Standing.SUPERSEDED: "superseded",
    Standing.PARTLY_PAID: "partly paid",
    Standing.EXCUSED: "excused",
    Standing.HELD: "held",
    Standing.OVERTURNED: "overturned",
    Standing.LAPSED: "lapsed",
    Standing.UNPAID: "unpaid: a strike",
}


class CheckoutStory(Struct, frozen=True):
    """One checkout."""

    checkout_id: str
    standing: str
    rule: str | None
    """The row of the decision table; None: nobody confirmed it yet."""
    title: str
    why: str
    time_zone: str
    told: list[Told]
    reminders: list[Told]
    next: list[Told]
    amount_minor: int | None = None
    due_minor: int | None = None
    received_minor: int | None = None
    currency: str | None = None
    payment_method: str | None = None
    pay_by_ms: int | None = None
    verdict_at_ms: int | None = None


class Story(Struct, frozen=True):
    """All that is told of a customer."""

    customer_id: str
    now_ms: int
    """The time the record stands for."""
    policy_version: str
    time_zone: str
    strikes: int
    unpaid_share: float
    recommended_action: str
    warnings: list[str]
    until_then: list[Told]
    """With --at: what happens before."""
    standing: list[str]
    """Strikes and advice, and how they come about."""
    announced: list[str]
    """What other systems were last told."""
    checkouts: list[CheckoutStory]
    next: list[Told]
    """About the customer as a whole."""


class Known(Struct, frozen=True):
    """What is known apart from the record."""

    policy: Policy
    judged_by: str
    """The version of the policy that the workers judge by."""
    now_ms: int
    """Of the position; 0: not known."""
    clock_ms: int
    delay_ms: int = 0
    """The workers' upstream delay: so far `now` is behind the clock by intent."""
    silent: bool = False
    """Payments are silent, so time stands still."""


def story(customer_id: str, record: bytes, known: Known, *, at_ms: int | None = None) -> Story:
    """The story of a record; with `at_ms`, as it would stand then if nothing more were told. Then
    the customer may be forgotten: a story without checkouts."""
    warnings = _warnings(record, known)
    now_ms, policy, passed = known.now_ms, known.policy, []
    customer, ahead = decode(record), []
    if now_ms > 0:
        if at_ms is not None:
            past = _run(customer_id, record, known, now_ms, at_ms)
            passed, now_ms = past.coming, at_ms
            record = past.record or b""
            customer = decode(record) if record else Customer()
        if record:
            ahead = _run(customer_id, record, known, now_ms, NEVER_MS).coming
    zone = _zone_of(customer, policy)
    when, teller = zone, _Teller(policy, zone)
    at = figures(customer.checkouts, customer.past, day=now_ms // DAY_MS, policy=policy)
    judged = _judged(customer, now_ms, policy)
    return Story(
        customer_id=customer_id,
        now_ms=now_ms,
        policy_version=policy.version,
        time_zone=when.zone.key,
        strikes=at.strikes,
        unpaid_share=at.unpaid_share,
        recommended_action=at.action,
        warnings=warnings,
        until_then=[teller.told(each, named=True) for each in passed],
        standing=_standing(customer, now_ms, policy),
        announced=_announced(customer, when),
        checkouts=[
            _checkout(c, customer, judged.get(c.checkout_id), now_ms, policy, ahead)
            for c in _in_order(customer)
        ],
        next=[teller.told(each) for each in ahead if each.checkout_id is None],
    )


def data(told: Story) -> dict[str, Any]:
    """The story as plain data: moments in RFC 3339, under names without `_ms`."""
    plain: dict[str, Any] = _plain(msgspec.to_builtins(told))
    return plain


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name.removesuffix("_ms"): rfc3339(each)
        if name.endswith("_ms") and isinstance(each, int)
        else _plain(each)
        for name, each in value.items()
    }


def _run(customer_id: str, record: bytes, known: Known, now_ms: int, until_ms: int) -> Ahead:
    return run_ahead(
        customer_id,
        record,
        policy=known.policy,
        now_ms=now_ms,
        clock_ms=known.clock_ms,
        until_ms=until_ms,
    )


def _warnings(record: bytes, known: Known) -> list[str]:
    found = []
    if known.judged_by != known.policy.version:
        found.append(
            f"the workers judge by policy {known.judged_by or '(none yet)'}, this command was "
            f"given {known.policy.version}: rows, dates and reminders below may differ from theirs"
        )
    if known.now_ms == 0:
        found.append(
            "the workers read the history anew and do not know the time yet: nothing is announced "
            "now, and what happens next cannot be told"
        )
    elif known.silent:
        found.append(
            "no payments reach the workers, so time stands still for them: no verdict and no "
            "reminder until payments come again"
        )
    elif due_of(record) < known.clock_ms - known.delay_ms - OVERDUE_MS:
        found.append(
            "something was due a while ago and was not done: no worker is at work here, or its "
            "time stands still"
        )
    return found


def _zone_of(customer: Customer, policy: Policy, checkout: Checkout | None = None) -> Times:
    """The zone of a checkout's buyer, or the one that the newest checkout told."""
    among = customer.checkouts if checkout is None else [checkout]
    said = [
        (c.confirmed.at_ms, c.confirmed.time_zone)
        for c in among
        if c.confirmed is not None and c.confirmed.time_zone is not None
    ]
    name = max(said)[1] if said else None
    return Times(zone_of(name, policy.reminders.default_time_zone)[0])


def _in_order(customer: Customer) -> list[Checkout]:
    """Newest first: that is the one people ask about."""
    return sorted(
        customer.checkouts,
        key=lambda c: (c.newest_ms if c.confirmed is None else c.confirmed.at_ms, c.checkout_id),
        reverse=True,
    )


def _judged(customer: Customer, now_ms: int, policy: Policy) -> dict[str, tuple[Case, Judgement]]:
    cases = [
        read(c, c.confirmed, policy=policy) for c in customer.checkouts if c.confirmed is not None
    ]
    found = standings_of(cases, now_ms=now_ms, policy=policy)
    return {
        case.checkout.checkout_id: (case, judgement)
        for case, judgement in zip(cases, found, strict=True)
    }


def _checkout(
    checkout: Checkout,
    customer: Customer,
    judged: tuple[Case, Judgement] | None,
    now_ms: int,
    policy: Policy,
    ahead: list[Coming],
) -> CheckoutStory:
    when = _zone_of(customer, policy, checkout)
    teller = _Teller(policy, when)
    coming = [teller.told(c) for c in ahead if c.checkout_id == checkout.checkout_id]
    told = CheckoutStory(
        checkout_id=checkout.checkout_id,
        standing="unconfirmed" if checkout.confirmed is None else checkout.standing.word,
        rule=None,
        title="nobody confirmed it yet",
        why="Something was told of it, but not that a buyer confirmed it. It waits for that word.",
        time_zone=when.zone.key,
        told=_sorted(facts(checkout, when)),
        reminders=[],
        next=coming,
    )
    if judged is None:
        return told
    case, judgement = judged
    cart = same_cart(customer, checkout, policy.verdict.superseded_within_ms)
    currency = case.confirmed.currency
    return replace(
        told,
        rule=judgement.rule,
        title=f"{money(case.confirmed.amount_minor, currency)} by {method(case.method)}: "
        f"{STANDINGS[checkout.standing]}",
        why=why(Row(case, judgement, policy, cart, when)) + _differs(checkout, judgement),
        told=_sorted([*facts(checkout, when), *_verdicts(checkout)]),
        reminders=_sorted(reminders(case, customer, now_ms=now_ms, policy=policy, when=when)),
        amount_minor=case.confirmed.amount_minor,
        due_minor=case.due,
        received_minor=case.received,
        currency=currency,
        payment_method=case.method,
        pay_by_ms=case.pay_by_ms,
        verdict_at_ms=case.verdict_ms,
    )


def _differs(checkout: Checkout, judgement: Judgement) -> str:
    if checkout.standing is judgement.standing:
        return ""
    return (
        f" (The record says {STANDINGS[checkout.standing]}; by the facts, the time and the policy "
        f"given here it is {STANDINGS[judgement.standing]}.)"
    )


def _verdicts(checkout: Checkout) -> list[Told]:
    said = checkout.said
    if said is None:
        return []
    if said.verdict_ms is not None:
        words = "hit-and-run detected: announced"
        words += "" if said.sequence == 1 else f", for the {said.sequence}. time"
        return [Told(said.verdict_ms, "detected", words)]
    words = "a hit-and-run was announced, and withdrawn since (the record does not keep when)"
    if said.sequence > 1:
        words = f"{count(said.sequence, 'time')} {words}"
    return [Told(None, "withdrawn", words)]


def _standing(customer: Customer, now_ms: int, policy: Policy) -> list[str]:
    day, rules = now_ms // DAY_MS, policy.strikes
    at = figures(customer.checkouts, customer.past, day=day, policy=policy)
    lines = []
    for checkout in _in_order(customer):
        dated_ms = checkout.dated_ms
        if checkout.standing is Standing.UNPAID and dated_ms is not None:
            lines.append(
                f"a strike of {utc_day(dated_ms // DAY_MS)} for {shown(checkout.checkout_id)}; it "
                f"counts until {utc_day(checkout.leaves_day - 1)} (days of UTC)"
            )
    bought = at.checkouts - at.strikes
    lines.append(
        f"{count(at.strikes, 'strike')} and {count(bought, 'purchase')} in the last "
        f"{rules.window_days} days"
    )
    how = {
        "none": f"fewer than {rules.require_prepayment_at} strikes",
        "require_prepayment": f"{rules.require_prepayment_at} strikes or more",
        "human_review": f"{rules.human_review_at} strikes or more, and at least "
        f"{rules.human_review_unpaid_share:.0%} of the checkouts are strikes",
    }[at.action]
    lines.append(f"advice: {_action(at.action)} ({how}). It is advice: nobody is blocked by it")
    return lines


def _announced(customer: Customer, when: Times) -> list[str]:
    """What `hitrun.customer.changed` said last. A profile of the buyer has its lines here."""
    lines = []
    if (said := customer.announced) is not None:
        lines.append(
            f"{count(said.strikes, 'strike')}, advice: {_action(said.action)} "
            f"(announcement {said.version})"
        )
    else:
        lines.append("nothing: there were no strikes to tell of")
    if customer.reminded_ms:
        lines.append(f"last reminders on {listed([when(ms) for ms in customer.reminded_ms])}")
    if (past := customer.past) is not None:
        first = "" if past.first is None else f", the first on {utc_day(past.first[0] // DAY_MS)}"
        lines.append(
            f"{count(past.purchases, 'earlier purchase')}{first}: only counted, their details are "
            "forgotten"
        )
    return lines


def _action(action: str) -> str:
    return action.replace("_", " ")


def _sorted(told: list[Told]) -> list[Told]:
    """By time; what has none comes last."""
    return sorted(told, key=lambda each: NEVER_MS if each.at_ms is None else each.at_ms)


class _Teller(Struct, frozen=True):
    """What is to come, in words."""

    policy: Policy
    when: Times

    def told(self, coming: Coming, *, named: bool = False) -> Told:
        """`named`: the sentence says which checkout it is about."""
        of = f"{shown(coming.checkout_id)}: " if named and coming.checkout_id is not None else ""
        return Told(coming.at_ms, coming.kind, of + self._words(coming))

    def _words(self, coming: Coming) -> str:
        if coming.kind == "reminder":
            return f"reminder {coming.number} is sent"
        if coming.kind == "moved":
            until = self.when(coming.moved_ms)
            return f"reminder, {step_words(coming.step)}: the buyer's night; it waits until {until}"
        if coming.kind == "dropped":
            reasons = " or ".join(WHY_DROPPED[each] for each in coming.reasons)
            return f"reminder, {step_words(coming.step)}: not sent; {reasons}"
        if coming.kind == "detected":
            return "it becomes unpaid: hit-and-run detected, a strike"
        if coming.kind == "withdrawn":
            return "the verdict is withdrawn"
        if coming.kind == "standing":
            return f"it becomes {STANDINGS[coming.standing]}"
        if coming.kind == "advice":
            strikes = count(coming.strikes, "strike")
            return f"announced: {strikes}, advice: {_action(coming.action)}"
        if coming.kind == "gone":
            return "everything about this customer is forgotten"
        if coming.standing is Standing.UNPAID:
            return "its strike has left the window, and it is forgotten"
        kept = span(self.policy.retention.settled_ms)
        return f"it is forgotten, {kept} after the last word of it"
