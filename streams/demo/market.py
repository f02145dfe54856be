"""A simulated marketplace with known truth: each checkout plays one case, and what must become of
it follows from the case, never from the rules' code.

Pure and seeded: a plan of what is appended when. All times are ms after the opening. Windows are
those of policy.toml beside this file; what is told late is told clearly late, nothing near an
edge, so that a slow machine does not blur the truth.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import orjson
from msgspec import Struct

from schemas.topics import Stream

Told = Literal["detected", "withdrawn"]

SHORT: Final = ("card", "e_wallet", "qris")
LONG: Final = ("virtual_account", "bank_transfer", "counter", "installment", "other")
SHORT_MS: Final = 4_000
LONG_MS: Final = 6_000
SILENCE_MS: Final = 7_000
LATE_MS: Final = 5_000
"""After verdict_at, upstream delay and commits: what comes then surely comes after the verdict."""

LAST_MS: Final = 20_000
"""The longest life of a checkout from confirmed to the last thing said of it."""


class Act(Struct, frozen=True):
    """One record to append. `data` None: a raw value that is no event."""

    at_ms: int
    stream: Stream
    customer_id: str
    kind: str
    data: dict[str, object] | None
    dated_ms: int
    """The event's own time; may be before or after `at_ms`."""
    raw: bytes = b""


class Truth(Struct, frozen=True):
    """What must become of a checkout."""

    checkout_id: str
    customer_id: str
    case: str
    detected: bool = False
    cause: str | None = None
    """Of the withdrawal after it, if there must be one."""


class Plan(Struct):
    """All acts in order of appending, the truth of each checkout, and dead letters to expect."""

    acts: list[Act]
    truths: list[Truth]
    dead_letters: int


class Checkout:
    """One checkout being played."""

    def __init__(self, chance: random.Random, number: int, at_ms: int, customer_id: str) -> None:
        self.chance = chance
        self.at_ms = at_ms
        self.customer_id = customer_id
        self.checkout_id = f"co-{chance.getrandbits(32):08x}-{number}"
        self.amount = chance.randint(20, 900) * 1_000_00
        self.method = chance.choice(SHORT + LONG)
        self.acts: list[Act] = []

    @property
    def window_ms(self) -> int:
        return SHORT_MS if self.method in SHORT else LONG_MS

    @property
    def pay_by_ms(self) -> int:
        return self.at_ms + self.window_ms

    @property
    def verdict_ms(self) -> int:
        return self.pay_by_ms + SILENCE_MS

    def say(
        self, stream: Stream, kind: str, at_ms: int, /, *, late_ms: int = 0, **data: object
    ) -> None:
        """Dated `at_ms`, appended `late_ms` later."""
        self._act(stream, kind, at_ms, late_ms, data)

    def _act(
        self, stream: Stream, kind: str, at_ms: int, late_ms: int, data: dict[str, object]
    ) -> None:
        ids = {"customer_id": self.customer_id, "checkout_id": self.checkout_id}
        self.acts.append(Act(at_ms + late_ms, stream, self.customer_id, kind, ids | data, at_ms))

    def confirm(self, *, late_ms: int = 0, **more: object) -> None:
        self.say(
            "checkout",
            "marketplace.checkout.confirmed",
            self.at_ms,
            late_ms=late_ms,
            amount_minor=self.amount,
            currency="IDR",
            payment_method=self.method,
            channel="app",
            **more,
        )

    def pay(
        self,
        at_ms: int,
        *,
        status: str = "paid",
        part: int = 1,
        parts: int = 1,
        late_ms: int = 0,
        **more: object,
    ) -> None:
        data: dict[str, Any] = {
            "payment_id": f"pay-{self.checkout_id}-{part}",
            "status": status,
            "amount_minor": self.amount // parts,
            "currency": "IDR",
        }
        if status == "paid":
            data["paid_at"] = at_ms  # becomes a time when it is encoded
        data |= more
        self._act("payment", "marketplace.payment.updated", at_ms, late_ms, data)

    def order(self, at_ms: int, status: str, **more: object) -> None:
        data = {"order_id": f"or-{self.checkout_id}", "status": status, **more}
        self._act("order", "marketplace.order.updated", at_ms, 0, data)

    def soon(self) -> int:
        """Some moment clearly within the window."""
        return self.at_ms + self.chance.randint(500, self.window_ms - 1_000)


Case = Callable[[Checkout], Truth]


def _truth(c: Checkout, case: str, *, detected: bool = False, cause: str | None = None) -> Truth:
    return Truth(c.checkout_id, c.customer_id, case, detected, cause)


def paid(c: Checkout) -> Truth:
    c.confirm()
    at_ms = c.soon()
    c.pay(at_ms - 300, status="pending")
    for _ in range(c.chance.choice((1, 1, 1, 3))):
        c.pay(at_ms)
    return _truth(c, "paid in time")


def payment_first(c: Checkout) -> Truth:
    c.confirm(late_ms=800)
    c.pay(c.at_ms + 200)
    return _truth(c, "payment told before its checkout")


def paid_between(c: Checkout) -> Truth:
    c.confirm()
    c.pay(c.pay_by_ms + 1_500)
    return _truth(c, "paid late, before the verdict")


def hit_and_run(c: Checkout) -> Truth:
    c.confirm()
    return _truth(c, "never paid", detected=True)


def timed_out(c: Checkout) -> Truth:
    c.confirm()
    c.say(
        "checkout",
        "marketplace.checkout.cancelled",
        c.pay_by_ms + 1_000,
        by="system",
        reason="payment_timeout",
    )
    return _truth(c, "never paid, cancelled by the platform's time-out", detected=True)


def told_late(c: Checkout) -> Truth:
    c.confirm()
    at_ms = c.soon()
    c.pay(at_ms, late_ms=c.verdict_ms + LATE_MS - at_ms)
    return _truth(c, "paid in time, told after the verdict", detected=True, cause="paid_in_time")


def paid_after(c: Checkout) -> Truth:
    c.confirm()
    c.pay(c.verdict_ms + LATE_MS)
    return _truth(c, "paid after the verdict", detected=True, cause="paid_late")


def two_halves(c: Checkout) -> Truth:
    c.confirm()
    c.amount -= c.amount % 2
    c.pay(c.at_ms + 500, part=1, parts=2)
    c.pay(c.soon() + 500, part=2, parts=2)
    return _truth(c, "paid in two halves")


def half(c: Checkout) -> Truth:
    c.confirm()
    c.pay(c.soon(), part=1, parts=2)
    return _truth(c, "half paid, then silence")


def issuer(c: Checkout) -> Truth:
    c.confirm()
    c.pay(c.soon(), status="failed", failure_side="issuer")
    return _truth(c, "refused by the card's issuer")


def other_method(c: Checkout) -> Truth:
    c.method = "card"
    c.confirm()
    c.pay(c.at_ms + 400, status="failed", failure_side="issuer")
    c.say(
        "checkout",
        "marketplace.checkout.method_changed",
        c.at_ms + 1_500,
        payment_method="virtual_account",
    )
    return _truth(c, "another method chosen, nothing paid", detected=True)


def buyer_cancels(c: Checkout) -> Truth:
    c.confirm()
    c.say("checkout", "marketplace.checkout.cancelled", c.soon(), by="buyer")
    return _truth(c, "cancelled by the buyer in time")


def seller_cancels(c: Checkout) -> Truth:
    c.confirm()
    c.say("checkout", "marketplace.checkout.cancelled", c.verdict_ms + LATE_MS, by="seller")
    return _truth(c, "cancelled by the seller later", detected=True, cause="cancelled")


def refused(c: Checkout) -> Truth:
    c.method = "cod"
    c.confirm()
    c.order(c.at_ms + 1_000, "shipped")
    c.order(c.at_ms + 3_000, "refused", by="buyer")
    c.order(c.at_ms + 5_000, "returned")
    return _truth(c, "cash on delivery, refused at the door", detected=True)


def delivered(c: Checkout) -> Truth:
    c.method = "cod"
    c.confirm()
    c.order(c.at_ms + 1_000, "shipped")
    c.order(c.at_ms + 3_000, "delivered")
    return _truth(c, "cash on delivery, delivered")


def refunded(c: Checkout) -> Truth:
    c.confirm()
    c.pay(c.at_ms + 600)
    c.pay(c.at_ms + 5_000, status="refunded")
    return _truth(c, "paid, then refunded")


def foreign(c: Checkout) -> Truth:
    c.confirm()
    c.pay(c.soon(), currency="USD")
    return _truth(c, "paid in another currency")


def shipped(c: Checkout) -> Truth:
    c.confirm()
    c.order(c.at_ms + 2_000, "shipped")
    return _truth(c, "goods shipped, payment never told")


def overturned(c: Checkout) -> Truth:
    c.confirm()
    c.say(
        "command",
        "hitrun.verdict.overturn",
        c.verdict_ms + LATE_MS,
        decided_by="care-7",
        reason="bank strike",
    )
    return _truth(c, "overturned by a person", detected=True, cause="overturned")


CASES: Final[tuple[tuple[Case, int], ...]] = (
    (paid, 560),
    (payment_first, 25),
    (paid_between, 50),
    (hit_and_run, 110),
    (timed_out, 25),
    (told_late, 25),
    (paid_after, 25),
    (two_halves, 20),
    (half, 20),
    (issuer, 20),
    (other_method, 20),
    (buyer_cancels, 20),
    (seller_cancels, 10),
    (refused, 15),
    (delivered, 20),
    (refunded, 10),
    (foreign, 5),
    (shipped, 10),
    (overturned, 10),
)
"""The cases and their shares, per mille."""

POISON_EVERY: Final = 60
"""After so many checkouts a record that no one can use."""


def plan(*, seed: int, open_ms: int, per_second: float, customers: int | None = None) -> Plan:
    """The whole run: checkouts are confirmed until `open_ms`, by `customers` buyers (half as many
    as checkouts if not said); the last word comes at most LAST_MS after that."""
    chance = random.Random(seed)
    cases = [case for case, share in CASES for _ in range(share)]
    result = Plan([], [], 0)
    at_ms, number = 0.0, 0
    while at_ms < open_ms:
        number += 1
        # Each case comes once at the beginning, so that even a short demo has them all.
        case = CASES[number % len(CASES)][0] if number <= len(CASES) else chance.choice(cases)
        customer = f"buyer-{chance.randint(1, customers or 1 + number // 2):05d}"
        checkout = Checkout(chance, number, int(at_ms), customer)
        result.truths.append(case(checkout))
        result.acts += checkout.acts
        if number % POISON_EVERY == POISON_EVERY // 2:
            result.acts.append(poison(chance, int(at_ms), number))
            result.dead_letters += 1
        at_ms += chance.expovariate(per_second / 1000)
    result.acts += heartbeat(chance, open_ms + LAST_MS)
    result.acts.sort(key=lambda act: act.at_ms)
    return result


HALF_AN_EVENT: Final = orjson.dumps(
    {
        "specversion": "1.0",
        "id": "x",
        "source": "m",
        "type": "marketplace.payment.updated",
        "time": "2026-01-01T00:00:00Z",
        "data": {"customer_id": "nobody", "amount_minor": "12"},
    }
)


def poison(chance: random.Random, at_ms: int, number: int) -> Act:
    """A record for the dead letters."""
    raw = chance.choice(
        (
            b"\xff\xfe not json",
            b'{"hello": "world"}',
            HALF_AN_EVENT,
        )
    )
    return Act(at_ms, "payment", f"poison-{number}", "", None, at_ms, raw)


def heartbeat(chance: random.Random, until_ms: int) -> Iterator[Act]:
    """Somebody always pays somewhere: payments of checkouts that are none of ours keep the
    frontier moving, as on any busy day."""
    for number, at_ms in enumerate(range(0, until_ms, 500)):
        buyer = f"elsewhere-{chance.randint(1, 400)}"
        yield Act(
            at_ms,
            "payment",
            buyer,
            "marketplace.payment.updated",
            {
                "customer_id": buyer,
                "checkout_id": f"elsewhere-{number}",
                "payment_id": f"elsewhere-{number}",
                "status": "pending",
                "amount_minor": 1_000,
                "currency": "IDR",
            },
            at_ms,
        )


def encode(act: Act, number: int, opened_at: datetime) -> bytes:
    """The record's value, for a marketplace that opened at `opened_at`."""
    if act.data is None:
        return act.raw
    data = dict(act.data)
    if isinstance(paid_ms := data.get("paid_at"), int):
        data["paid_at"] = _rfc3339(opened_at, paid_ms)
    # What is told again is the same event, with the same id.
    event_id = f"{act.kind}-{data['checkout_id']}-{act.dated_ms}-{data.get('status', number)}"
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": event_id[:128],
            "source": "demo/marketplace",
            "type": act.kind,
            "time": _rfc3339(opened_at, act.dated_ms),
            "subject": data["checkout_id"],
            "data": data,
        }
    )


def _rfc3339(opened_at: datetime, ms: int) -> str:
    return (opened_at + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")
