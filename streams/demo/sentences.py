"""Announcements as sentences for people."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from schemas.outputs import OutputEvent, ReminderDue, VerdictDetected, VerdictWithdrawn
from streams.recording import until_ms
from streams.words import ago, count, method, money

CAUSES: Final = {
    "paid_in_time": "it was paid in time, and we were told late",
    "paid_late": "it was paid after all",
    "reopened": "it is awaited again",
    "cancelled": "it was cancelled by the seller",
    "presumed_paid": "its goods were shipped",
    "superseded": "the same cart was bought again and paid",
    "partly_paid": "half of it was paid",
    "excused": "it was not the buyer's fault",
    "held": "one of its records could not be used",
    "overturned": "a person overturned it",
    "lapsed": "nothing more was heard of it",
}
SHORT_CAUSES: Final = {
    "paid_in_time": "paid in time, told late",
    "paid_late": "paid after all",
    "cancelled": "cancelled by the seller",
    "presumed_paid": "shipped",
    "superseded": "bought again",
    "overturned": "overturned by a person",
}

KINDS: Final = {
    # kind: (style, mark, mark where there is no Unicode)
    "detected": ("red", "✗", "x"),
    "withdrawn": ("green", "✓", "+"),
    "reminder": ("yellow", "•", "-"),
    "dead letter": ("magenta", "!", "!"),
    "step": ("dim", "·", " "),
    "worker": ("bold cyan", "↻", "*"),
}


class Sentence(Struct, frozen=True):
    """What happened, in words."""

    kind: str
    """One of KINDS."""
    subject: str
    """The checkout, short; may be empty."""
    words: str


def sentence(event: OutputEvent, *, said_ms: int) -> Sentence | None:
    """A verdict or a reminder in words; None for the others. `said_ms` is when it was said."""
    short = event.subject.removeprefix("co-")[:6]
    if isinstance(event, VerdictDetected):
        return Sentence("detected", short, _detected(event, said_ms))
    if isinstance(event, VerdictWithdrawn):
        data = event.data
        words = f"{CAUSES[data.cause]} -> verdict withdrawn, {count(data.strikes, 'strike')} left"
        return Sentence("withdrawn", short, words)
    if isinstance(event, ReminderDue):
        due = event.data
        what = "balance reminder" if due.template == "balance_reminder" else "reminder"
        left = ago(until_ms(due.pay_by) - said_ms)
        words = (
            f"{money(due.due_minor, due.currency)} by {method(due.payment_method)}, "
            f"not paid, {left} left -> soft {what}"
        )
        return Sentence("reminder", short, words)
    return None


def _detected(event: VerdictDetected, said_ms: int) -> str:
    data = event.data
    why = "refused at the door" if data.reason == "cod_refused" else "never paid"
    if data.received_minor:
        why = "never paid in full"
    advice = data.recommended_action.replace("_", " ")
    return (
        f"{money(data.amount_minor, data.currency)} by {method(data.payment_method)}, confirmed "
        f"{ago(said_ms - until_ms(data.confirmed_at))} ago, {why} -> hit-and-run detected, "
        f"strike {data.strikes}, advice: {advice}"
    )
