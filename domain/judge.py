"""One customer's sitting: judge what changed or came due, say the difference, forget what is over.

`judge` is called once per customer and flush. It changes the record in place and returns the
events to send; if it raises, the caller throws the record away and decodes the former one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from domain import announce
from domain.case import COD, Case, Incident, read
from domain.customer import (
    BOUGHT,
    DAY_MS,
    NEVER_MS,
    Announced,
    Checkout,
    Customer,
    Forgotten,
    Said,
    Standing,
)
from domain.flush import Output, Stats
from domain.past import age, fold, past_due_ms
from domain.policy import Policy
from domain.reminders import DueStep, Plan, next_step_ms, reached_unseen, recall, send, take_due
from domain.standing import Judgement, standing_of, standings_of
from domain.strikes import Figures, figures, leaves_day

_UNSETTLED = (Standing.NEW, Standing.OPEN)
_KEPT = (Standing.NEW, Standing.OPEN, Standing.UNPAID)


class Session(Struct, frozen=True):
    """What all customers of a flush are judged by."""

    policy: Policy
    now_ms: int
    """The frontier; 0 = not known yet: nothing is said and nothing passes."""
    clock_ms: int
    forget_ms: int
    """`now`, or while history is read again the lowest append time reached."""
    stats: Stats
    incidents: Sequence[Incident] = ()


class _Judged(Struct, gc=False):
    case: Case
    judgement: Judgement


def judge(
    customer_id: str,
    customer: Customer,
    news: Mapping[str, int | None],
    session: Session,
    *,
    everything: bool = False,
) -> list[Output]:
    """Judges the checkouts in `news` (checkout_id -> newest event time of the facts that changed,
    None if it has none), those whose moment has come (`everything`: all) and all of their carts."""
    reached_ms = max(session.now_ms, session.forget_ms)
    docket = _docket(customer, news, reached_ms=reached_ms, everything=everything)
    if news:
        _note_news(customer, news, session)
    judged, former = _standings(docket, session)
    outputs: list[Output] = []
    if session.now_ms > 0:
        outputs += _verdicts(customer_id, customer, judged, session)
        if any(entry.judgement.standing is Standing.OPEN for entry in judged):
            outputs += _reminders(customer_id, customer, judged, former, session)
    _forget(customer, judged, session)
    for entry in judged:
        entry.case.checkout.due_ms = _due_ms(entry, session)
    if session.now_ms > 0:
        outputs += _advice(customer_id, customer, session)
    customer.open_count = min(
        255, sum(c.standing in _UNSETTLED and c.confirmed is not None for c in customer.checkouts)
    )
    return outputs


def due_ms(customer: Customer, session: Session) -> int:
    """When the customer must be judged again although no fact came: always after `now`, except
    while `now` is not known and something announced waits to be compared."""
    policy, now_ms = session.policy, session.now_ms
    due_ms = min((c.due_ms for c in customer.checkouts), default=NEVER_MS)
    if customer.past is not None:
        last = customer.past.buckets[-1]
        due_ms = min(due_ms, past_due_ms(last, policy.retention.history_ms))
    announced = customer.announced
    if announced is not None:
        if now_ms == 0:
            return 0
        if announced.strikes >= policy.strikes.human_review_at:
            # Purchases that enter or leave the window change the share, and with it the advice.
            due_ms = min(due_ms, (now_ms // DAY_MS + 1) * DAY_MS)
    return due_ms


def is_empty(customer: Customer) -> bool:
    """Nothing is left that any output could depend on."""
    return not customer.checkouts and customer.past is None


def _docket(
    customer: Customer, news: Mapping[str, int | None], *, reached_ms: int, everything: bool
) -> list[Checkout]:
    checkouts = customer.checkouts
    if everything or len(checkouts) == 1:
        return list(checkouts)
    docket = [c for c in checkouts if c.checkout_id in news or c.due_ms <= reached_ms]
    carts = {c.confirmed.cart_id for c in docket if c.confirmed is not None}
    carts.discard(None)
    if carts:
        listed = {id(c) for c in docket}
        docket += [
            c
            for c in checkouts
            if c.confirmed is not None and c.confirmed.cart_id in carts and id(c) not in listed
        ]
    return docket


def _note_news(customer: Customer, news: Mapping[str, int | None], session: Session) -> None:
    """Facts bring an announced verdict up to the policy in force, and date its withdrawal. Facts
    read again from history (`now` unknown) are not new: the verdict was announced on them."""
    announced = [
        (c, c.said)
        for c in customer.checkouts
        if c.said is not None and c.said.verdict_ms is not None
    ]
    if not announced:
        return
    within_ms = session.policy.verdict.superseded_within_ms
    fresh = [
        (c, at_ms) for c in customer.checkouts if (at_ms := news.get(c.checkout_id)) is not None
    ]
    for checkout, said in announced:
        if news.get(checkout.checkout_id) is not None and session.now_ms > 0:
            said.policy_version = session.policy.version
        for other, at_ms in fresh:
            if other is checkout or _share_cart(other, checkout, within_ms):
                said.news_ms = at_ms if said.news_ms is None else max(said.news_ms, at_ms)


def _share_cart(one: Checkout, other: Checkout, within_ms: int) -> bool:
    return (
        one.confirmed is not None
        and other.confirmed is not None
        and one.confirmed.cart_id is not None
        and one.confirmed.cart_id == other.confirmed.cart_id
        and abs(one.confirmed.at_ms - other.confirmed.at_ms) <= within_ms
    )


def _standings(
    docket: list[Checkout], session: Session
) -> tuple[list[_Judged], dict[str, Standing]]:
    """The standings of the docket's confirmed checkouts, written into them; and the former ones
    where they differ."""
    policy, now_ms = session.policy, session.now_ms
    cases = [
        read(c, c.confirmed, policy=policy, incidents=session.incidents)
        for c in docket
        if c.confirmed is not None
    ]
    if len(cases) == 1:  # nearly always, and this is done for every event
        judged = [_Judged(cases[0], standing_of(cases[0], now_ms=now_ms, policy=policy))]
    else:
        judged = list(map(_Judged, cases, standings_of(cases, now_ms=now_ms, policy=policy)))
    former: dict[str, Standing] = {}
    for entry in judged:
        checkout, judgement = entry.case.checkout, entry.judgement
        standing = judgement.standing
        if checkout.standing is not standing:
            former[checkout.checkout_id] = checkout.standing
            checkout.standing = standing
        checkout.dated_ms, checkout.leaves_day = judgement.dated_ms, 0
        if standing is Standing.UNPAID and judgement.dated_ms is not None:
            checkout.leaves_day = leaves_day(
                judgement.dated_ms, cod=entry.case.method == COD, policy=policy
            )
    return judged, former


def _verdicts(
    customer_id: str, customer: Customer, judged: list[_Judged], session: Session
) -> list[Output]:
    """Detected and withdrawn verdicts, in the order of their times."""
    policy, stats = session.policy, session.stats
    outputs: list[tuple[int, Output]] = []
    today = session.now_ms // DAY_MS
    of_day: dict[int, Figures] = {}
    for entry in judged:
        case, judgement = entry.case, entry.judgement
        checkout, said = case.checkout, case.checkout.said
        stands = said is not None and said.verdict_ms is not None
        dated_ms = judgement.dated_ms
        if judgement.standing is Standing.UNPAID and dated_ms is not None:
            if stands or checkout.leaves_day <= today:
                continue  # said already, or it would be forgotten already
            sequence = said.sequence + 1 if said is not None else 1
            checkout.said = Said(sequence, dated_ms, policy.version)
            at = _figures_on(dated_ms // DAY_MS, of_day, customer, policy)
            stats.detected += 1
            outputs.append(
                (dated_ms, announce.detected(customer_id, case, judgement, sequence, at, policy))
            )
        elif stands and said is not None and said.verdict_ms is not None:
            at_ms = said.verdict_ms if said.news_ms is None else said.news_ms
            checkout.said = Said(said.sequence, None, policy.version)
            cause = announce.cause_of(case, judgement)
            at = _figures_on(today, of_day, customer, policy)
            stats.withdrawn[cause] = stats.withdrawn.get(cause, 0) + 1
            outputs.append(
                (at_ms, announce.withdrawn(customer_id, checkout, said, cause, at_ms, at, policy))
            )
    if len(outputs) > 1:
        outputs.sort(key=lambda told: told[0])
    return [output for _, output in outputs]


def _figures_on(day: int, known: dict[int, Figures], customer: Customer, policy: Policy) -> Figures:
    """Counted once a day: a customer may have hundreds of verdicts of one day."""
    if day not in known:
        known[day] = figures(customer.checkouts, customer.past, day=day, policy=policy)
    return known[day]


def _reminders(
    customer_id: str,
    customer: Customer,
    judged: list[_Judged],
    former: Mapping[str, Standing],
    session: Session,
) -> list[Output]:
    rules, plan = session.policy.reminders, Plan([], [])
    due: list[DueStep] = []
    for entry in judged:
        case = entry.case
        if entry.judgement.standing is not Standing.OPEN or case.pay_by_ms is None:
            continue
        recall(customer_id, case, rules)
        step = take_due(case, now_ms=session.now_ms, policy=rules, dropped=plan.dropped)
        if step is None:
            continue
        was = former.get(case.checkout.checkout_id, Standing.NEW)
        if was is not Standing.NEW and reached_unseen(case, step):
            plan.dropped.append("not_open")
        else:
            due.append(step)
    if not due and not plan.dropped:
        return []
    send(due, customer, clock_ms=session.clock_ms, policy=session.policy, plan=plan)
    session.stats.take_plan(plan)
    return [announce.reminder(customer_id, sent, session.policy) for sent in plan.sent]


def _forget(customer: Customer, judged: list[_Judged], session: Session) -> None:
    """Lets go of what is over, noting first what other standings rest on."""
    policy, stats = session.policy, session.stats
    over = [entry.case.checkout for entry in judged if _is_over(entry, session)]
    gone = {id(checkout) for checkout in over}
    for checkout in customer.checkouts:
        if checkout.confirmed is None:
            checkout.due_ms = checkout.newest_ms + policy.retention.orphan_ms
            if checkout.due_ms <= session.forget_ms:
                gone.add(id(checkout))
    if len(customer.checkouts) > policy.caps.settled_checkouts:
        over += _beyond_cap(customer, gone, session)
        gone.update(id(checkout) for checkout in over)
    if not gone:
        return
    customer.checkouts = [c for c in customer.checkouts if id(c) not in gone]
    for checkout in over:
        bought = checkout.standing in BOUGHT
        if bought and checkout.confirmed is not None:
            customer.past = fold(customer.past, checkout, checkout.confirmed)
        if bought or checkout.dated_ms is not None:
            for other in customer.checkouts:
                if _share_cart(other, checkout, policy.verdict.superseded_within_ms):
                    _note_forgotten(other, checkout)
    stats.forgotten += len(gone)


def _is_over(entry: _Judged, session: Session) -> bool:
    """A settled checkout so long after its newest event, an unpaid one when its strike has left
    the window. What is announced and not yet withdrawn stays until that is said."""
    checkout = entry.case.checkout
    if checkout.standing is Standing.OPEN:
        return False
    if checkout.standing is Standing.UNPAID:
        return checkout.leaves_day * DAY_MS <= session.now_ms
    said = checkout.said
    if said is not None and said.verdict_ms is not None:
        return False
    return checkout.newest_ms + session.policy.retention.settled_ms <= session.forget_ms


def _beyond_cap(customer: Customer, gone: set[int], session: Session) -> list[Checkout]:
    """The oldest settled checkouts beyond those that are kept."""
    left = [
        (c.confirmed.at_ms, c.checkout_id, c)
        for c in customer.checkouts
        if c.confirmed is not None
        and c.standing not in _KEPT
        and id(c) not in gone
        and (c.said is None or c.said.verdict_ms is None)
    ]
    beyond = len(left) - session.policy.caps.settled_checkouts
    if beyond <= 0:
        return []
    left.sort(key=lambda entry: entry[:2])
    customer.folded_until_ms = max(customer.folded_until_ms, left[beyond - 1][0])
    session.stats.folded += beyond
    return [checkout for _, _, checkout in left[:beyond]]


def _note_forgotten(checkout: Checkout, gone: Checkout) -> None:
    note = checkout.forgotten or Forgotten()
    if gone.standing in BOUGHT:
        note.bought = True
    elif gone.dated_ms is not None:
        strike = (gone.dated_ms, gone.checkout_id)
        note.strike = strike if note.strike is None else min(note.strike, strike)
    checkout.forgotten = note


def _due_ms(entry: _Judged, session: Session) -> int:
    case, judgement = entry.case, entry.judgement
    checkout, said = case.checkout, case.checkout.said
    if session.now_ms == 0 and said is not None and said.verdict_ms is not None:
        return 0
    if judgement.standing is Standing.OPEN:
        until_ms = NEVER_MS if judgement.until_ms is None else judgement.until_ms
        return min(until_ms, next_step_ms(case, session.policy.reminders))
    if judgement.standing is Standing.UNPAID:
        return checkout.leaves_day * DAY_MS
    return checkout.newest_ms + session.policy.retention.settled_ms


def _advice(customer_id: str, customer: Customer, session: Session) -> list[Output]:
    """Says strikes and advice when they differ from what was said last."""
    policy, announced = session.policy, customer.announced
    if customer.past is not None:
        customer.past = age(
            customer.past, now_ms=session.now_ms, history_ms=policy.retention.history_ms
        )
    if announced is None and all(c.standing is not Standing.UNPAID for c in customer.checkouts):
        return []
    today = figures(customer.checkouts, customer.past, day=session.now_ms // DAY_MS, policy=policy)
    said = (announced.strikes, announced.action) if announced is not None else (0, "none")
    outputs: list[Output] = []
    if (today.strikes, today.action) != said:
        version = announced.version + 1 if announced is not None else 1
        customer.announced = Announced(version, today.strikes, today.action)
        session.stats.customers_changed += 1
        outputs.append(announce.changed(customer_id, today, version, session.now_ms, policy))
    if is_empty(customer) and customer.announced is not None:
        outputs.append(announce.customer_gone(customer_id))
    return outputs
