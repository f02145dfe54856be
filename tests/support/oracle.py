"""Another, naive reading of the rules: keeps every event, recomputes everything from scratch.

Written to be read beside the specification, not to be fast; it shares no code with `domain/`.
`Customer` holds one customer's facts; `standings(customer, now, policy)` says where each of its
checkouts stands, `figures(...)` what that makes of the customer.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.support.reading import DAY, ORDER_RANK, PAYMENT_RANK, Fact

NAMESPACE = uuid.UUID("9d1d647c-dc39-5f43-a8d0-ae112ca5431b")
NAMELESS = ""
CAME = ("paid", "refunded", "charged_back")

Policy = dict[str, Any]


def output_id(*parts: object) -> str:
    """The deterministic id of an output: uuid5 of the compact JSON array of its parts."""
    return str(uuid.uuid5(NAMESPACE, json.dumps(parts, ensure_ascii=False, separators=(",", ":"))))


# ---------------------------------------------------------------- facts


@dataclass(slots=True)
class Hold:
    """A dead letter (or a misplaced event) that names a checkout."""

    appended: int
    place: int = 0


@dataclass(slots=True)
class Checkout:
    """All events about one checkout, sorted by kind; `confirmed` may not have come yet."""

    id: str
    confirmed: list[Fact] = field(default_factory=list)
    changed: list[Fact] = field(default_factory=list)
    cancelled: list[Fact] = field(default_factory=list)
    payment: dict[str, list[Fact]] = field(default_factory=dict)
    order: dict[str, list[Fact]] = field(default_factory=dict)
    overturn: list[Fact] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)

    def facts(self) -> list[Fact]:
        told = [*self.confirmed, *self.changed, *self.cancelled, *self.overturn]
        for events in (*self.payment.values(), *self.order.values()):
            told += events
        return told


class Customer:
    """One customer's facts by checkout."""

    def __init__(self, id: str, facts: Iterable[Fact] = ()) -> None:
        self.id = id
        self.checkouts: dict[str, Checkout] = {}
        for fact in facts:
            self.add(fact)

    def _at(self, checkout: str) -> Checkout:
        if checkout not in self.checkouts:
            self.checkouts[checkout] = Checkout(checkout)
        return self.checkouts[checkout]

    def add(self, fact: Fact) -> None:
        checkout = self._at(fact.checkout)
        if fact.kind == "payment":
            checkout.payment.setdefault(fact.data["payment_id"], []).append(fact)
        elif fact.kind == "order":
            checkout.order.setdefault(fact.data["order_id"], []).append(fact)
        elif fact.kind == "misplaced":
            checkout.holds.append(Hold(fact.appended, fact.place))
        else:
            getattr(checkout, fact.kind).append(fact)

    def hold(self, checkout: str, appended: int, place: int = 0) -> None:
        self._at(checkout).holds.append(Hold(appended, place))

    def facts(self) -> list[Fact]:
        return [fact for checkout in self.checkouts.values() for fact in checkout.facts()]


def newest(events: list[Fact], rank: list[str]) -> Fact:
    return max(events, key=lambda e: (e.at, rank.index(e.data["status"]), e.id))


# ---------------------------------------------------------------- what the facts of a checkout are


@dataclass(slots=True)
class Payment:
    """A payment after merging its events."""

    id: str
    status: str
    at: int
    event_id: str
    amount: int
    currency: str
    paid_at: int | None
    reversed_at: int | None
    reversal_id: str
    method: str | None
    failure_side: str | None


def merge_payment(id: str, events: list[Fact]) -> Payment:
    def key(event: Fact) -> tuple[int, int, str]:
        return (event.at, PAYMENT_RANK.index(event.data["status"]), event.id)

    last = max(events, key=key)
    paid = [e for e in events if e.data["status"] == "paid"]
    status = last.data["status"]
    reversal = None
    if paid and status in ("failed", "cancelled"):
        after = max(key(e) for e in paid)
        reversal = min(
            (e for e in events if e.data["status"] in ("failed", "cancelled") and key(e) > after),
            key=key,
        )
    named = [e for e in events if "payment_method" in e.data]
    return Payment(
        id=id,
        status=status,
        at=last.at,
        event_id=last.id,
        amount=max(
            (e.data["amount_minor"] for e in events if e.data["status"] in CAME),
            default=0,
        ),
        currency=last.data["currency"],
        paid_at=max((e.data["paid_at"] for e in events if "paid_at" in e.data), default=None),
        reversed_at=reversal.at if reversal else None,
        reversal_id=reversal.id if reversal else "",
        method=max(named, key=key).data["payment_method"] if named else None,
        failure_side=last.data.get("failure_side"),
    )


@dataclass(slots=True)
class Order:
    """An order after merging its events and the checkout's cancellation into it."""

    id: str
    status: str | None
    at: int
    by: str | None
    reason: str | None
    share: int | None
    was_delivered: bool
    refused_by_buyer_at: int | None
    refused_by_other_at: int | None


def merge_order(id: str, events: list[Fact], cancel: Fact | None, share: int | None) -> Order:
    def key(event: Fact) -> tuple[int, int, str]:
        rank = "cancelled" if event.kind == "cancelled" else event.data["status"]
        return (event.at, ORDER_RANK.index(rank), event.id)

    said = [e for e in events if "amount_minor" in e.data]
    if said:
        share = max(said, key=key).data["amount_minor"]
    everything = [*events, cancel] if cancel else events
    last = max(everything, key=key) if everything else None
    refused = [e for e in events if e.data["status"] == "refused"]
    status = None
    if last:
        status = "cancelled" if last.kind == "cancelled" else last.data["status"]
    return Order(
        id=id,
        status=status,
        at=last.at if last else 0,
        by=last.data.get("by") if last else None,
        reason=last.data.get("reason") if last else None,
        share=share,
        was_delivered=any(e.data["status"] in ("delivered", "completed") for e in events),
        refused_by_buyer_at=min((e.at for e in refused if e.data["by"] == "buyer"), default=None),
        refused_by_other_at=min((e.at for e in refused if e.data["by"] != "buyer"), default=None),
    )


@dataclass(slots=True)
class Case:
    """One checkout, its facts merged and its terms worked out; then where it stands."""

    id: str
    amount: int
    currency: str
    confirmed_at: int
    cart: str | None
    data: dict[str, Any]
    payments: list[Payment]
    orders: list[Order]
    overturned: bool
    held: bool
    method: str = ""
    base: int = 0
    bases: list[tuple[int, str]] = field(default_factory=list)
    pay_by: int | None = None
    again: bool = False
    """pay_by was set anew by a reversal."""
    due: int = 0
    received: int = 0
    paid_at: int | None = None
    verdict_at: int | None = None
    # the standing
    name: str = ""
    rule: str = ""
    dated: int | None = None
    late: bool = False
    strikes_if_not_superseded: bool = False

    @property
    def waiting(self) -> bool:
        return any(p.status in ("pending", "authorized") for p in self.payments)


def case_of(checkout: Checkout, policy: Policy) -> Case | None:
    """The case of a checkout, without its standing; None while it is not confirmed."""
    if not checkout.confirmed:
        return None
    confirmed = min(checkout.confirmed, key=lambda e: (e.at, e.id))
    data = confirmed.data
    cancel = max(checkout.cancelled, key=lambda e: (e.at, e.id), default=None)
    listed = {o["order_id"]: o.get("amount_minor") for o in data.get("orders", [])}
    order_ids = [*listed, *(id for id in checkout.order if id not in listed)]
    if not order_ids:
        order_ids, listed = [NAMELESS], {NAMELESS: data["amount_minor"]}
    case = Case(
        id=checkout.id,
        amount=data["amount_minor"],
        currency=data["currency"],
        confirmed_at=confirmed.at,
        cart=data.get("cart_id"),
        data=data,
        payments=[merge_payment(id, events) for id, events in checkout.payment.items()],
        orders=[
            merge_order(id, checkout.order.get(id, []), cancel, listed.get(id)) for id in order_ids
        ],
        overturned=bool(checkout.overturn),
        held=bool(checkout.holds),
    )
    if any(p.currency != case.currency for p in case.payments):
        case.held = True
    set_terms(case, checkout.changed, policy)
    set_money(case)
    set_verdict_at(case, policy)
    return case


def set_terms(case: Case, changes: list[Fact], policy: Policy) -> None:
    """Method, base and pay_by: method changes and reversals together, in time order."""
    window = policy["payment_window"]

    def pay_by(method: str, at: int, given: int | None) -> int | None:
        if method == "cod":
            return None
        return given if given is not None else at + window[method]

    case.method = case.data["payment_method"]
    case.base = case.confirmed_at
    case.pay_by = pay_by(case.method, case.base, case.data.get("pay_by"))
    case.bases = [(case.base, case.method)]
    refusals = [
        at
        for order in case.orders
        for at in (order.refused_by_buyer_at, order.refused_by_other_at)
        if at is not None
    ]
    moves: list[tuple[int, int, str, Fact | None]] = [(e.at, 1, e.id, e) for e in changes] + [
        (p.reversed_at, 0, p.reversal_id, None) for p in case.payments if p.reversed_at is not None
    ]
    for at, _, _, change in sorted(moves, key=lambda m: m[:3]):
        if change is None:
            if case.pay_by is not None:
                case.again = at + window[case.method] > case.pay_by
                case.pay_by = max(case.pay_by, at + window[case.method])
            continue
        if case.pay_by is not None and at > case.pay_by:
            continue
        if refusals and at > min(refusals):
            continue
        case.method = change.data["payment_method"]
        case.base, case.again = at, False
        case.pay_by = pay_by(case.method, at, change.data.get("pay_by"))
        case.bases.append((case.base, case.method))


def excusable(order: Order) -> bool:
    return order.by != "buyer" and order.reason != "payment_timeout"


def set_money(case: Case) -> None:
    """What is due, what was received, and when the due was complete."""
    due = case.amount
    for order in case.orders:
        if order.status != "cancelled" or order.share is None:
            continue
        if case.method == "cod" and order.refused_by_buyer_at is not None:
            continue  # what comes after the buyer's refusal does not undo it (c3)
        in_time = case.pay_by is None or order.at <= case.pay_by
        if excusable(order) or (order.by == "buyer" and in_time):
            due -= order.share
    case.due = max(due, 0)

    came = [p for p in case.payments if p.status in CAME and p.currency == case.currency]
    case.received = sum(p.amount for p in came)
    if case.due == 0:
        case.paid_at = case.confirmed_at
        return
    so_far = 0
    for p in sorted(came, key=lambda p: (p.paid_at if p.paid_at is not None else p.at, p.id)):
        so_far += p.amount
        if so_far >= case.due:
            case.paid_at = p.paid_at  # None: not known (yet), and then not late
            break


def set_verdict_at(case: Case, policy: Policy) -> None:
    if case.pay_by is None:
        return
    verdict = policy["verdict"]
    sayings = []
    for p in case.payments:
        others_wait = any(
            q.status in ("pending", "authorized") for q in case.payments if q is not p
        )
        if p.status == "expired" and p.method in (None, case.method) and not others_wait:
            sayings.append(p.at)
    sayings += [
        order.at
        for order in case.orders
        if order.status == "cancelled" and order.reason == "payment_timeout"
    ]
    sayings = [at for at in sayings if at >= case.base]
    at = case.pay_by + verdict["after_silence"]
    if sayings:
        at = min(at, max(case.pay_by + verdict["after_expiry"], min(sayings)))
    for p in case.payments:
        if p.status in ("pending", "authorized"):
            at = max(at, p.at + verdict["processing"])
    case.verdict_at = at


# ---------------------------------------------------------------- standings


def standings(customer: Customer, now: int, policy: Policy) -> dict[str, Case]:
    """Every confirmed checkout of the customer with its standing at `now`."""
    cases = [case_of(checkout, policy) for checkout in customer.checkouts.values()]
    known = {case.id: case for case in cases if case is not None}
    within = policy["verdict"]["superseded_within"]
    for case in known.values():
        if case.method == "cod":
            _cod(case, now, policy)
        else:
            _prepaid_before_the_cart(case)

    def same_cart(case: Case) -> list[Case]:
        if case.cart is None:
            return []
        return [
            other
            for other in known.values()
            if other is not case
            and other.cart == case.cart
            and abs(other.confirmed_at - case.confirmed_at) <= within
        ]

    prepaid = [case for case in known.values() if case.method != "cod" and not case.name]
    bought = {c.id for c in known.values() if c.name in ("paid", "presumed_paid")}
    for case in prepaid:
        if any(other.id in bought for other in same_cart(case)):
            _stand(case, "superseded", "5")
        else:
            _prepaid_after_the_cart(case, now)
    for case in prepaid:
        if case.name:
            continue
        assert case.verdict_at is not None
        earlier = [
            other
            for other in same_cart(case)
            if other.strikes_if_not_superseded and (other.dated, other.id) < (case.dated, case.id)
        ]
        if earlier:
            _stand(case, "superseded", "10")
        elif case.overturned:
            _stand(case, "overturned", "11")
        else:
            _stand(case, "unpaid", "12")
    return known


def _stand(case: Case, name: str, rule: str) -> None:
    case.name, case.rule = name, rule


def _prepaid_before_the_cart(case: Case) -> None:
    """Rows 1 to 4: they need nothing but the checkout itself."""
    orders = case.orders
    all_cancelled = all(o.status == "cancelled" for o in orders)
    assert case.verdict_at is not None
    if (all_cancelled and all(excusable(o) for o in orders)) or (case.due == 0 and case.amount):
        return _stand(case, "cancelled", "1")
    by_buyer = [o.at for o in orders if o.status == "cancelled" and o.by == "buyer"]
    if (
        all_cancelled
        and by_buyer
        and max(by_buyer) <= case.verdict_at
        and not any(o.reason == "payment_timeout" for o in orders)
    ):
        return _stand(case, "cancelled", "2")
    if case.received >= case.due:
        assert case.pay_by is not None
        case.late = case.paid_at is not None and case.paid_at > case.pay_by
        return _stand(case, "paid", "3")
    moved = ("shipped", "delivered", "completed", "refused", "returned")
    if any(o.status in moved or o.was_delivered for o in orders):
        return _stand(case, "presumed_paid", "4")
    return None


def _prepaid_after_the_cart(case: Case, now: int) -> None:
    """Rows 6 to 9; what passes them would be a strike dated verdict_at."""
    assert case.verdict_at is not None
    attempts = [p for p in case.payments if p.at >= case.base]
    last = max(
        attempts,
        key=lambda p: (p.at, PAYMENT_RANK.index(p.status), p.event_id),
        default=None,
    )
    if now < case.verdict_at:
        _stand(case, "open", "6")
    elif case.received > 0:
        _stand(case, "partly_paid", "7")
    elif (
        last is not None
        and last.status == "failed"
        and last.failure_side in ("issuer", "provider", "fraud")
    ):
        _stand(case, "excused", "8")
    elif case.held:
        _stand(case, "held", "9")
    else:
        case.strikes_if_not_superseded = True
        case.dated = case.verdict_at


def _cod(case: Case, now: int, policy: Policy) -> None:
    by_buyer = [o.refused_by_buyer_at for o in case.orders if o.refused_by_buyer_at is not None]
    by_other = any(o.refused_by_other_at is not None for o in case.orders)
    if all(o.status == "cancelled" for o in case.orders) and not by_buyer:
        _stand(case, "cancelled", "c1")
    elif case.received >= case.due or any(o.was_delivered for o in case.orders):
        _stand(case, "paid", "c2")
    elif by_buyer:
        case.dated = min(by_buyer)
        if now < case.dated:
            _stand(case, "open", "c3")
        elif case.held:
            _stand(case, "held", "c3")
        else:
            case.strikes_if_not_superseded = True
            _stand(case, "overturned" if case.overturned else "unpaid", "c3")
    elif by_other:
        _stand(case, "excused", "c4")
    elif now >= case.base + policy["verdict"]["cod_lapses_after"]:
        _stand(case, "lapsed", "c5")
    else:
        _stand(case, "open", "c6")


# ---------------------------------------------------------------- the customer


def figures(cases: dict[str, Case], day: int, policy: Policy) -> dict[str, Any]:
    """strikes, checkouts, unpaid_share and recommended_action at a UTC day (ms // DAY)."""
    strikes_policy = policy["strikes"]
    window = strikes_policy["window"] // DAY
    cod_window = strikes_policy["cod_window"] // DAY
    strikes = purchases = 0
    for case in cases.values():
        if case.name == "unpaid":
            assert case.dated is not None
            days = cod_window if case.method == "cod" else window
            strikes += day - days < case.dated // DAY <= day
        elif case.name in ("paid", "presumed_paid"):
            purchases += day - window < case.confirmed_at // DAY <= day
    return with_advice(strikes, strikes + purchases, policy)


def leaves_day(case: Case, policy: Policy) -> int:
    """The first UTC day on which the strike of an unpaid checkout no longer counts."""
    assert case.dated is not None
    window = policy["strikes"]["cod_window" if case.method == "cod" else "window"]
    return int((case.dated + window) // DAY)


def with_advice(strikes: int, checkouts: int, policy: Policy) -> dict[str, Any]:
    rule = policy["strikes"]
    share = round(strikes / checkouts, 4) if checkouts else 0.0
    action = "none"
    if strikes >= rule["human_review_at"] and share >= rule["human_review_unpaid_share"]:
        action = "human_review"
    elif strikes >= rule["require_prepayment_at"]:
        action = "require_prepayment"
    return {
        "strikes": strikes,
        "checkouts": checkouts,
        "unpaid_share": share,
        "recommended_action": action,
    }


def withdrawn_cause(case: Case) -> str:
    if case.name == "paid":
        return "paid_late" if case.late else "paid_in_time"
    return "reopened" if case.name == "open" else case.name
