"""The record of one customer: facts, and what was last announced of them.

At rest a record is bytes: a version byte, its next due moment (8 bytes, signed big-endian
milliseconds, readable without decoding the rest) and a msgpack array. The customer's id is the
key and not repeated inside.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from msgspec import Struct, msgpack

from domain.facts import Cancellation, Confirmed, MethodChange, Order, Overturn, Payment

RECORD_VERSION: Final = 1
"""First byte of a record. A reader of another version must not guess."""

NEVER_MS: Final = 2**62
"""A due moment that does not come."""

DAY_MS: Final = 86_400_000


class Standing(IntEnum):
    """Where a checkout stands. The numbers are stored: never renumber, only append."""

    NEW = 0
    """Not judged yet."""
    OPEN = 1
    PAID = 2
    PRESUMED_PAID = 3
    CANCELLED = 4
    SUPERSEDED = 5
    PARTLY_PAID = 6
    EXCUSED = 7
    HELD = 8
    OVERTURNED = 9
    LAPSED = 10
    UNPAID = 11

    @property
    def word(self) -> str:
        """As outputs and people spell it: "presumed_paid"."""
        return self.name.lower()


BOUGHT: Final = (Standing.PAID, Standing.PRESUMED_PAID)
"""Standings that make a checkout a purchase."""


class Said(Struct, array_like=True, gc=False):
    """What was announced of a checkout's verdict."""

    sequence: int
    """Of the newest detected verdict, from 1."""
    verdict_ms: int | None
    """The `verdict_at` announced; None: withdrawn since."""
    policy_version: str
    """The policy the verdict was announced under; facts arriving since bring it up to date."""
    news_ms: int | None = None
    """Newest event time among facts that changed since (the checkout's or its cart's)."""


class Reminded(Struct, array_like=True, gc=False):
    """What became of a checkout's reminder steps."""

    base_ms: int
    """`done` and `moved` belong to this base; another base starts them anew."""
    done: dict[str, int]
    """Steps sent (NEVER_MS) or dropped (their moment), as the policy names them. A dropped step
    comes again only if its pay_by, and so its moment, moves on."""
    sent: int = 0
    """Reminders really sent for this checkout, whatever the base."""
    moved: tuple[str, int] | None = None
    """A step that quiet hours moved, and to when."""
    until_ms: int = 0
    """Rebuild: what was reached up to then, of whatever base, is done (see domain/reminders.py)."""
    ids: tuple[str, ...] = ()
    """Rebuild: the reminders that the topic says were sent."""


class Forgotten(Struct, array_like=True, gc=False):
    """What this checkout's standing rests on although its cart's other checkouts are forgotten."""

    bought: bool = False
    """One of them was paid or presumed paid (row 5)."""
    strike: tuple[int, str] | None = None
    """The first of them that was or would have been a strike: date and checkout_id (row 10)."""


class Checkout(Struct, array_like=True, gc=False):
    """Facts of one checkout and its standing when last judged.

    Without `confirmed` it holds orphans: facts (or a hold) of a checkout not yet told."""

    checkout_id: str
    confirmed: Confirmed | None = None
    payments: list[Payment] = []
    orders: list[Order] = []
    changes: list[MethodChange] = []
    cancelled: Cancellation | None = None
    overturned: Overturn | None = None
    held: bool = False
    """An event of it went to the dead letters."""
    newest_ms: int = 0
    """Greatest event time told of it."""
    standing: Standing = Standing.NEW
    dated_ms: int | None = None
    """The date of the strike that it is, or would be (rows 10 and 11)."""
    leaves_day: int = 0
    """The first UTC day (since 1970) on which that strike no longer counts."""
    due_ms: int = 0
    """When it must be judged again although no fact came."""
    said: Said | None = None
    reminded: Reminded | None = None
    forgotten: Forgotten | None = None
    from_verdict: bool = False
    """`confirmed` was taken from an announced verdict (rebuild), its event not seen."""


class Bucket(Struct, array_like=True, gc=False):
    """Purchases folded away, by the UTC day (since 1970) of `confirmed_at`."""

    day: int
    purchases: int = 0
    discounted: int = 0
    told: int = 0
    """How many of them said whether they were discounted."""


class Past(Struct, array_like=True, gc=False):
    """What is left of forgotten purchases: all that strikes and profile still ask for."""

    buckets: list[Bucket] = []
    first: tuple[int, str] | None = None
    """confirmed_at and checkout_id of the first purchase ever folded."""
    first_channel: str | None = None
    first_arrived_by: str | None = None
    last_day: int = 0
    purchases: int = 0
    """All of them, also those whose bucket is gone."""
    categories: list[str] = []
    many: bool = False
    """More categories than are kept."""
    online_only: bool | None = None
    elsewhere: bool | None = None


class Announced(Struct, array_like=True, frozen=True, gc=False):
    """The newest `hitrun.customer.changed`."""

    version: int
    strikes: int
    action: str


class Customer(Struct, array_like=True, gc=False):
    """The record. `open_count` comes first so that it can be read from the bytes."""

    open_count: int = 0
    checkouts: list[Checkout] = []
    past: Past | None = None
    reminded_ms: list[int] = []
    """When (by the wall clock) the last reminders were really sent, ascending."""
    announced: Announced | None = None
    folded_until_ms: int = 0
    """Checkouts confirmed up to then were folded because of the cap: one told again is not new."""

    def find(self, checkout_id: str) -> Checkout | None:
        """The checkout, or the orphans, of that id."""
        for checkout in self.checkouts:
            if checkout.checkout_id == checkout_id:
                return checkout
        return None


class UnknownVersion(ValueError):
    """A record of another version: start a worker that knows it, or rebuild."""


_encoder = msgpack.Encoder()
_decoder = msgpack.Decoder(Customer)
_VERSION_BYTE = bytes([RECORD_VERSION])
_HEADER = 9


def encode(customer: Customer, due_ms: int) -> bytes:
    """The record at rest."""
    return b"".join(
        (_VERSION_BYTE, due_ms.to_bytes(8, "big", signed=True), _encoder.encode(customer))
    )


def decode(value: bytes) -> Customer:
    """The record to work on. Raises UnknownVersion, or msgspec.DecodeError if it is damaged."""
    if value[0] != RECORD_VERSION:
        raise UnknownVersion(f"record version {value[0]}, this worker knows {RECORD_VERSION}")
    return _decoder.decode(memoryview(value)[_HEADER:])


def due_of(value: bytes) -> int:
    """The next due moment of a record at rest."""
    return int.from_bytes(value[1:_HEADER], "big", signed=True)


def open_of(value: bytes) -> int:
    """How many checkouts of a record at rest are open (at most 255 are told apart).

    The msgpack array header is one byte (fewer than 16 fields), the first field a small integer:
    itself up to 127, else 0xcc and a byte."""
    first = value[_HEADER + 1]
    return first if first < 128 else value[_HEADER + 2]
