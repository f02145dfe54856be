"""From a decision to the event that tells it. Pure wording: nothing is decided here."""

from __future__ import annotations

from domain.case import Case
from domain.customer import Checkout, Said, Standing
from domain.facts import ORDER_STATUSES, PAYMENT_STATUSES
from domain.flush import Output
from domain.policy import Policy
from domain.reminders import Sent
from domain.standing import Judgement
from domain.strikes import Figures
from schemas.outputs import encode, event_id


def detected(
    customer_id: str,
    case: Case,
    judgement: Judgement,
    sequence: int,
    figures: Figures,
    policy: Policy,
) -> Output:
    c = case.confirmed
    return Output(
        "verdict",
        customer_id.encode(),
        encode(
            {
                "type": "hitrun.verdict.detected",
                "id": event_id(customer_id, case.checkout.checkout_id, "detected", sequence),
                "subject": case.checkout.checkout_id,
                "time": judgement.dated_ms,
                "data": {
                    "rule": judgement.rule,
                    "due_minor": case.due,
                    "strikes": figures.strikes,
                    "checkouts": figures.checkouts,
                    "recommended_action": figures.action,
                    "evidence": evidence(case),
                    "sequence": sequence,
                },
            }
        ),
    )


def evidence(case: Case) -> list[tuple[str, int, str]]:
    checkout = case.checkout
    facts = [("confirmed", case.confirmed.at_ms, case.confirmed.event_id)]
    facts += [
        (f"payment_{PAYMENT_STATUSES[p.rank]}", p.at_ms, p.event_id) for p in checkout.payments
    ]
    facts += [(f"order_{ORDER_STATUSES[o.rank]}", o.at_ms, o.event_id) for o in checkout.orders]
    return sorted(facts, key=lambda f: f[1])


def cause_of(case: Case, judgement: Judgement) -> str:
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
    return Output(
        "verdict",
        customer_id.encode(),
        encode(
            {
                "type": "hitrun.verdict.withdrawn",
                "time": at_ms,
                "data": {
                    "checkout_id": checkout.checkout_id,
                    "cause": cause,
                    "sequence": said.sequence,
                    "strikes": figures.strikes,
                },
            }
        ),
    )


def reminder(customer_id: str, sent: Sent, policy: Policy) -> Output:
    return Output(
        "reminder",
        customer_id.encode(),
        encode(
            {
                "type": "hitrun.reminder.due",
                "time": sent.at_ms,
                "data": {"number": sent.number, "step": sent.step},
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
                "time": now_ms,
                "data": {
                    "strikes": figures.strikes,
                    "recommended_action": figures.action,
                    "version": version,
                },
            }
        ),
    )


def customer_gone(customer_id: str) -> Output:
    return Output("customer", customer_id.encode(), None)
