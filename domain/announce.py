"""From a decision to the event that tells it. Pure wording: nothing is decided here."""

from __future__ import annotations

from typing import Literal

from domain.case import COD, Case
from domain.customer import Checkout, Said, Standing
from domain.facts import ORDER_STATUSES, PAYMENT_STATUSES
from domain.flush import Output
from domain.policy import Policy
from domain.reminders import Sent
from domain.standing import Judgement
from domain.strikes import Figures
from schemas.codec import rfc3339
from schemas.outputs import encode, event_id

Kind = Literal["detected", "withdrawn"]


def _or_none(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)


def _figures(figures: Figures) -> dict[str, object]:
    return {
        "strikes": figures.strikes,
        "checkouts": figures.checkouts,
        "unpaid_share": figures.unpaid_share,
        "recommended_action": figures.action,
    }


def detected(
    customer_id: str,
    case: Case,
    judgement: Judgement,
    sequence: int,
    figures: Figures,
    policy: Policy,
) -> Output:
    """`hitrun.verdict.detected`; `figures` are those of the day of verdict_at."""
    confirmed, checkout_id = case.confirmed, case.checkout.checkout_id
    assert judgement.dated_ms is not None
    verdict_at = rfc3339(judgement.dated_ms)
    order_ids = dict.fromkeys(order_id for order_id, _ in confirmed.orders)
    order_ids.update(dict.fromkeys(order.order_id for order in case.checkout.orders))
    data: dict[str, object] = {
        "customer_id": customer_id,
        "checkout_id": checkout_id,
        "order_ids": list(order_ids),
        "amount_minor": confirmed.amount_minor,
        "due_minor": case.due,
        "received_minor": case.received,
        "currency": confirmed.currency,
        "payment_method": case.method,
        "confirmed_at": rfc3339(confirmed.at_ms),
        "pay_by": _or_none(case.pay_by_ms),
        "verdict_at": verdict_at,
        "reason": "cod_refused" if case.method == COD else "never_paid",
        "rule": judgement.rule,
        "evidence": evidence(case),
        **_figures(figures),
        "advisory": True,
        "policy_version": policy.version,
        "sequence": sequence,
    }
    return _verdict("detected", customer_id, checkout_id, sequence, verdict_at, data)


def withdrawn(
    customer_id: str,
    checkout: Checkout,
    said: Said,
    cause: str,
    at_ms: int,
    figures: Figures,
    policy: Policy,
) -> Output:
    """`hitrun.verdict.withdrawn` of the verdict in `said`; `figures` are the customer's now."""
    checkout_id, sequence = checkout.checkout_id, said.sequence
    data: dict[str, object] = {
        "customer_id": customer_id,
        "checkout_id": checkout_id,
        "detected_id": event_id(customer_id, checkout_id, "detected", sequence),
        "cause": cause,
        "at": rfc3339(at_ms),
        **_figures(figures),
        "policy_version": policy.version,
        "sequence": sequence,
    }
    return _verdict("withdrawn", customer_id, checkout_id, sequence, rfc3339(at_ms), data)


def _verdict(
    kind: Kind,
    customer_id: str,
    checkout_id: str,
    sequence: int,
    time: str,
    data: dict[str, object],
) -> Output:
    event = {
        "type": f"hitrun.verdict.{kind}",
        "id": event_id(customer_id, checkout_id, kind, sequence),
        "subject": checkout_id,
        "time": time,
        "data": data,
    }
    return Output("verdict", customer_id.encode(), encode(event))


def evidence(case: Case) -> list[dict[str, object]]:
    """What the verdict rests on, by time: the confirmed event, method changes, the newest event of
    every payment and order, the buyer's refusal and the cancellation."""
    checkout, confirmed = case.checkout, case.confirmed
    facts = [(confirmed.at_ms, confirmed.event_id, "confirmed")]
    facts += [(c.at_ms, c.event_id, "method_changed") for c in checkout.changes]
    facts += [
        (p.at_ms, p.event_id, f"payment_{PAYMENT_STATUSES[p.rank]}") for p in checkout.payments
    ]
    for order in checkout.orders:
        facts.append((order.at_ms, order.event_id, f"order_{ORDER_STATUSES[order.rank]}"))
        if order.refused is not None and order.refused[1] != order.event_id:
            facts.append((*order.refused, "order_refused"))
    if checkout.cancelled is not None:
        facts.append((checkout.cancelled.at_ms, checkout.cancelled.event_id, "cancelled"))
    facts.sort()
    return [{"fact": fact, "at": rfc3339(at_ms), "id": name} for at_ms, name, fact in facts]


def cause_of(case: Case, judgement: Judgement) -> str:
    """Why a verdict no longer stands."""
    if judgement.standing is Standing.PAID:
        return "paid_late" if case.late else "paid_in_time"
    if judgement.standing is Standing.OPEN:
        return "reopened"
    return judgement.standing.word


def reminder(customer_id: str, sent: Sent, policy: Policy) -> Output:
    """`hitrun.reminder.due`."""
    case, checkout_id = sent.case, sent.case.checkout.checkout_id
    event = {
        "type": "hitrun.reminder.due",
        "id": event_id(customer_id, checkout_id, "reminder", case.base_ms, sent.step),
        "subject": checkout_id,
        "time": rfc3339(sent.at_ms),
        "data": {
            "customer_id": customer_id,
            "checkout_id": checkout_id,
            "number": sent.number,
            "template": "balance_reminder" if case.received > 0 else "payment_reminder",
            "due_minor": case.due - case.received,
            "currency": case.confirmed.currency,
            "payment_method": case.method,
            "pay_by": _or_none(case.pay_by_ms),
            "send_before": rfc3339(sent.send_before_ms),
            "time_zone": sent.zone,
            "language": case.confirmed.language,
            "tone": "soft",
            "policy_version": policy.version,
        },
    }
    return Output("reminder", customer_id.encode(), encode(event))


def changed(
    customer_id: str, figures: Figures, version: int, now_ms: int, policy: Policy
) -> Output:
    """`hitrun.customer.changed`: strikes and advice."""
    event = {
        "type": "hitrun.customer.changed",
        "id": event_id(customer_id, "customer", version),
        "subject": customer_id,
        "time": rfc3339(now_ms),
        "data": {
            "customer_id": customer_id,
            **_figures(figures),
            "version": version,
            "policy_version": policy.version,
        },
    }
    return Output("customer", customer_id.encode(), encode(event))


def customer_gone(customer_id: str) -> Output:
    """The tombstone of a customer event, when the record is deleted."""
    return Output("customer", customer_id.encode(), None)
