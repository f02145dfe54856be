"""From a decision to the event that tells it. Pure wording: nothing is decided here."""

from __future__ import annotations

from datetime import datetime, timezone

from domain.case import Case
from domain.customer import Checkout, Said, Standing
from domain.facts import ORDER_STATUSES, PAYMENT_STATUSES
from domain.flush import Output
from domain.policy import Policy
from domain.reminders import Sent
from domain.standing import Judgement
from domain.strikes import Figures
from schemas.outputs import encode, event_id


def t(ms: int | None) -> str | None:
    return (
        None
        if ms is None
        else datetime.fromtimestamp(ms / 1000, tz=timezone.utc)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def fig(f: Figures) -> dict[str, object]:
    return {
        "strikes": f.strikes,
        "checkouts": f.checkouts,
        "unpaid_share": f.unpaid_share,
        "recommended_action": f.action,
    }


def detected(
    customer_id: str,
    case: Case,
    judgement: Judgement,
    sequence: int,
    figures: Figures,
    policy: Policy,
) -> Output:
    c, k = case.confirmed, case.checkout
    order_ids = [o for o, _ in c.orders]
    order_ids += [o.order_id for o in k.orders if o.order_id not in order_ids]
    return Output(
        "verdict",
        customer_id.encode(),
        encode(
            {
                "type": "hitrun.verdict.detected",
                "id": event_id(customer_id, k.checkout_id, "detected", sequence),
                "subject": k.checkout_id,
                "time": t(judgement.dated_ms),
                "data": {
                    "customer_id": customer_id,
                    "checkout_id": k.checkout_id,
                    "order_ids": order_ids,
                    "amount_minor": c.amount_minor,
                    "due_minor": case.due,
                    "received_minor": case.received,
                    "currency": c.currency,
                    "payment_method": case.method,
                    "confirmed_at": t(c.at_ms),
                    "pay_by": t(case.pay_by_ms),
                    "verdict_at": t(judgement.dated_ms),
                    "reason": "cod_refused" if judgement.rule == "c3" else "never_paid",
                    "rule": judgement.rule,
                    "evidence": [{"fact": f, "at": t(a), "id": i} for f, a, i in evidence(case)],
                    **fig(figures),
                    "advisory": True,
                    "policy_version": policy.version,
                    "sequence": sequence,
                },
            }
        ),
    )


def evidence(case: Case) -> list[tuple[str, int, str]]:
    """What the verdict rests on, by time: the confirmed event, method changes, the newest event of
    every payment and order, the refusal and the cancellation."""
    checkout, confirmed = case.checkout, case.confirmed
    facts = [("confirmed", confirmed.at_ms, confirmed.event_id)]
    facts += [("method_changed", c.at_ms, c.event_id) for c in checkout.changes]
    facts += [
        (f"payment_{PAYMENT_STATUSES[p.rank]}", p.at_ms, p.event_id) for p in checkout.payments
    ]
    for order in checkout.orders:
        facts.append((f"order_{ORDER_STATUSES[order.rank]}", order.at_ms, order.event_id))
        if order.refused is not None and order.refused[1] != order.event_id:
            facts.append(("order_refused", *order.refused))
    if checkout.cancelled is not None:
        facts.append(("cancelled", checkout.cancelled.at_ms, checkout.cancelled.event_id))
    facts.sort(key=lambda fact: (fact[1], fact[2]))
    return facts


def cause_of(case: Case, judgement: Judgement) -> str:
    """Why a verdict no longer stands."""
    if judgement.standing is Standing.PAID:
        return "paid_late" if case.late else "paid_in_time"
    if judgement.standing is Standing.OPEN:
        return "reopened"
    return judgement.standing.word


def withdrawn(
    customer_id: str,
    checkout: Checkout,
    said: Said,
    cause: str,
    at_ms: int,
    figures: Figures,
    policy: Policy,
) -> Output:
    k = checkout.checkout_id
    return Output(
        "verdict",
        customer_id.encode(),
        encode(
            {
                "type": "hitrun.verdict.withdrawn",
                "id": event_id(customer_id, k, "withdrawn", said.sequence),
                "subject": k,
                "time": t(at_ms),
                "data": {
                    "customer_id": customer_id,
                    "checkout_id": k,
                    "detected_id": event_id(customer_id, k, "detected", said.sequence),
                    "cause": cause,
                    "at": t(at_ms),
                    **fig(figures),
                    "policy_version": policy.version,
                    "sequence": said.sequence,
                },
            }
        ),
    )


def reminder(customer_id: str, sent: Sent, policy: Policy) -> Output:
    case = sent.case
    c, k = case.confirmed, case.checkout
    return Output(
        "reminder",
        customer_id.encode(),
        encode(
            {
                "type": "hitrun.reminder.due",
                "id": event_id(customer_id, k.checkout_id, "reminder", case.base_ms, sent.step),
                "time": t(sent.at_ms),
                "data": {
                    "customer_id": customer_id,
                    "checkout_id": k.checkout_id,
                    "number": sent.number,
                    "template": "balance_reminder" if case.received > 0 else "payment_reminder",
                    "due_minor": case.due - case.received,
                    "currency": c.currency,
                    "payment_method": case.method,
                    "pay_by": t(case.pay_by_ms),
                    "send_before": t(sent.send_before_ms),
                    "time_zone": sent.zone,
                    "language": c.language,
                    "tone": "soft",
                    "policy_version": policy.version,
                },
            }
        ),
    )


def changed(
    customer_id: str, figures: Figures, version: int, now_ms: int, policy: Policy
) -> Output:
    return Output(
        "customer",
        customer_id.encode(),
        encode(
            {
                "type": "hitrun.customer.changed",
                "id": event_id(customer_id, "customer", version),
                "time": t(now_ms),
                "data": {
                    "customer_id": customer_id,
                    **fig(figures),
                    "version": version,
                    "policy_version": policy.version,
                },
            }
        ),
    )


def customer_gone(customer_id: str) -> Output:
    return Output("customer", customer_id.encode(), None)
