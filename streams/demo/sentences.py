"""Announcements as sentences for people."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from schemas.outputs import OutputEvent, ReminderDue, VerdictDetected, VerdictWithdrawn
from streams.recording import until_ms

METHODS: Final = {
    "cod": "cash on delivery",
    "e_wallet": "e-wallet",
    "qris": "QRIS",
    "virtual_account": "virtual account",
    "bank_transfer": "bank transfer",
    "other": "another way",
}
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
        words = f"{CAUSES[data.cause]} -> verdict withdrawn, {_strikes(data.strikes)} left"
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


def _strikes(count: int) -> str:
    return f"{count or 'no'} strike{'' if count == 1 else 's'}"


def method(name: str) -> str:
    """A payment method for people."""
    return METHODS.get(name, name)


def money(minor: int, currency: str) -> str:
    """150,000 IDR."""
    return f"{minor / 100:,.0f} {currency}"


def ago(ms: int) -> str:
    """18 s, 5 min, 3 h."""
    seconds = max(0, ms) / 1000
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
