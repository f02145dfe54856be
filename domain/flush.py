"""What a ledger hands to the lane: everything one transaction must write, and plain counters."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from msgspec import Struct, field

from domain.reminders import Plan
from schemas.record import Record

Role = Literal["verdict", "reminder", "customer", "command"]


class Output(Struct, frozen=True):
    """One record for an output topic."""

    role: Role
    key: bytes
    value: bytes | None
    """None: a tombstone (of a customer event, when the record is deleted)."""
    partition: int | None = None
    """None: the lane's own. Only `hitrun.event.misplaced` names another."""


class DeadLetter(Struct, frozen=True):
    """A record to be copied byte for byte to the DLQ of its topic."""

    record: Record
    reason: str
    detail: str


class Flush(Struct):
    """One transaction's worth. `changelog` values of None are tombstones."""

    changelog: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)


class Stats(Struct):
    """Counters since the ledger was made, for the runtime to export. Nothing is decided by them."""

    events: int = 0
    """Events applied, repeats included."""
    conflicts: int = 0
    """Confirmed events of a known checkout that say other things."""
    skipped: Counter[str] = field(default_factory=Counter)
    """By SkipReason, and "too_late": told when it would already be forgotten."""
    detected: int = 0
    withdrawn: Counter[str] = field(default_factory=Counter)
    """By cause."""
    reminders_sent: int = 0
    reminders_dropped: Counter[str] = field(default_factory=Counter)
    """By DropReason."""
    unknown_zones: int = 0
    """Due steps whose buyer's zone is no IANA zone: the default was used."""
    customers_changed: int = 0
    dead_letters: Counter[str] = field(default_factory=Counter)
    """By reason."""
    holds_dropped: int = 0
    """Holds of unknown checkouts that found no room."""
    forgotten: int = 0
    """Checkouts and orphans let go."""
    folded: int = 0
    """Checkouts let go early, because of the cap."""
    judged: int = 0
    """Sittings: customers judged, once per flush."""
    open_checkouts: int = 0
    """A gauge, over the whole ledger."""

    def take_plan(self, plan: Plan) -> None:
        """Counts what became of reminder steps."""
        self.reminders_sent += len(plan.sent)
        self.unknown_zones += plan.unknown_zones
        if plan.dropped:
            self.reminders_dropped.update(plan.dropped)
