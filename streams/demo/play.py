"""What a played marketplace is made of: records, the truth of each checkout, a buyer who acts.

Pure: the times come from the policy and the opening, the chances from a seed. Nothing here asks
the rules what becomes of a checkout: each case says it.
"""

from __future__ import annotations

import random
from typing import Final, Literal

import orjson
from msgspec import Struct

from domain.policy import Policy
from schemas.codec import rfc3339
from schemas.faults import Reason
from schemas.topics import Stream

SHORT: Final = ("card", "e_wallet", "qris")
LONG: Final = ("virtual_account", "bank_transfer", "counter", "installment", "other")
PREPAID: Final = SHORT + LONG

CURRENCY: Final = "IDR"
CONFIRMED: Final = "marketplace.checkout.confirmed"
METHOD_CHANGED: Final = "marketplace.checkout.method_changed"
CANCELLED: Final = "marketplace.checkout.cancelled"
PAYMENT: Final = "marketplace.payment.updated"
ORDER: Final = "marketplace.order.updated"
OVERTURN: Final = "hitrun.verdict.overturn"

_STREAM: Final[dict[str, Stream]] = {
    CONFIRMED: "checkout",
    METHOD_CHANGED: "checkout",
    CANCELLED: "checkout",
    PAYMENT: "payment",
    ORDER: "order",
    OVERTURN: "command",
}

SLACK_MS: Final = 4_000
"""How far a worker on a slow machine may be behind without blurring the truth."""

Cause = Literal[
    "paid_in_time",
    "paid_late",
    "reopened",
    "cancelled",
    "presumed_paid",
    "superseded",
    "overturned",
]


class Act(Struct, frozen=True):
    """One record to append."""

    at_ms: int
    stream: Stream
    key: bytes | None
    value: bytes | None
    confirms: bool = False
    """A checkout begins with it."""
    fault: Reason | None = None
    """It belongs to the dead letters, for this reason."""


class Truth(Struct, frozen=True):
    """What must become of a checkout, by construction of its case."""

    checkout_id: str
    customer_id: str
    case: str
    standing: str
    """At the very end, in the words of the rules."""
    detected: bool
    cause: Cause | None
    """Of the withdrawal that must follow the detection."""
    reminders: int | None
    """How many exactly; None where it hangs on the customer's other checkouts or on a moment."""

    @property
    def strike(self) -> bool:
        """Whether it still counts against the customer at the end."""
        return self.detected and self.cause is None


class Pace(Struct, frozen=True):
    """A policy's times, and how late is surely late."""

    policy: Policy
    upstream_delay_ms: int

    @property
    def late_ms(self) -> int:
        """After verdict_at: what is told then comes surely after the announcement."""
        return 2 * self.upstream_delay_ms + SLACK_MS

    @property
    def sure_ms(self) -> int:
        """After a reminder's moment: by then it was surely sent."""
        return self.upstream_delay_ms + SLACK_MS // 2

    @property
    def life_ms(self) -> int:
        """From a case's beginning to the last word said of it, at the very longest."""
        longest = max(self.window_ms(method) for method in PREPAID)
        # The latest word, or a window that began anew before its half was over.
        more = max(self.late_ms, longest // 2)
        return longest + self.policy.verdict.after_silence_ms + more

    def window_ms(self, method: str) -> int:
        """How long a payment by it is awaited; of COD (no window) the unit its steps go by."""
        return self.policy.payment_window_ms.get(method, self.policy.payment_window_ms["card"])


class Checkout:
    """One checkout being played. Its moments are fractions of its payment window."""

    def __init__(self, buyer: Buyer, checkout_id: str, at_ms: int, method: str) -> None:
        self.buyer = buyer
        self.id = checkout_id
        self.at_ms = at_ms
        self.method = method
        self.amount = buyer.chance.randint(20, 900) * 100_000
        self.window_ms = buyer.pace.window_ms(method)
        self.pay_by_ms = at_ms + self.window_ms
        verdict = buyer.pace.policy.verdict
        self.verdict_ms = self.pay_by_ms + verdict.after_silence_ms
        self.afterwards_ms = self.verdict_ms + buyer.pace.late_ms
        """Surely after a verdict by silence was announced."""
        self._said = 0

    def after(self, fraction: float) -> int:
        """The moment when so much of the window is over."""
        return self.at_ms + int(self.window_ms * fraction)

    def silence(self, fraction: float) -> int:
        """The moment when so much of the wait between pay_by and verdict is over."""
        return self.pay_by_ms + int((self.verdict_ms - self.pay_by_ms) * fraction)

    def some_time(self) -> int:
        """Some moment clearly within the window."""
        return self.after(self.buyer.chance.uniform(0.15, 0.85))

    def confirm(self, *, told_ms: int | None = None, **more: object) -> None:
        """Confirms it, told at once unless said otherwise."""
        chance = self.buyer.chance
        known = {
            "amount_minor": self.amount,
            "currency": CURRENCY,
            "payment_method": self.method,
            "channel": chance.choice(("app", "app", "online")),
            "time_zone": "Asia/Jakarta",
            "language": "id",
        }
        self._say(CONFIRMED, self.at_ms, told_ms, known | more)

    def change_method(self, at_ms: int, method: str) -> None:
        """Another method is chosen."""
        self._say(METHOD_CHANGED, at_ms, None, {"payment_method": method})

    def cancel(self, at_ms: int, by: str, **more: object) -> None:
        """The whole checkout is cancelled."""
        self._say(CANCELLED, at_ms, None, {"by": by, **more})

    def pay(
        self,
        at_ms: int,
        *,
        status: str = "paid",
        number: int = 1,
        amount: int | None = None,
        told_ms: int | None = None,
        times: int = 1,
        **more: object,
    ) -> None:
        """A payment's news of `at_ms`; `number` tells its payments apart, `times` how often the
        same event is told."""
        data: dict[str, object] = {
            "payment_id": f"pay-{self.id[3:]}-{number}",
            "status": status,
            "amount_minor": self.amount if amount is None else amount,
            "currency": CURRENCY,
        }
        if status == "paid":
            data["paid_at"] = rfc3339(at_ms)
        self._say(PAYMENT, at_ms, told_ms, data | more)
        said = self.buyer.acts[-1]
        for repeat in range(1, times):
            again_ms = said.at_ms + repeat * self.window_ms // 20
            self.buyer.acts.append(Act(again_ms, said.stream, said.key, said.value))

    def order(self, at_ms: int, status: str, *, number: int = 1, **more: object) -> None:
        """News of one of its orders."""
        order_id = self.order_id(number)
        self._say(ORDER, at_ms, None, {"order_id": order_id, "status": status, **more})

    def order_id(self, number: int) -> str:
        """Of its order with this number."""
        return f"or-{self.id[3:]}-{number}"

    def overturn(self, at_ms: int) -> None:
        """A person says that this was no hit-and-run."""
        self._say(OVERTURN, at_ms, None, {"decided_by": "care-7", "reason": "bank was on strike"})

    def spoiled(self, at_ms: int, fault: Reason, **wrong: object) -> None:
        """A payment's record with something wrong in it: a dead letter, and who sent it is known,
        so that nobody may accuse this buyer. `key` and `time` are the record's, the rest data."""
        key, dated_ms = wrong.pop("key", self.buyer.key), wrong.pop("dated_ms", at_ms)
        assert isinstance(dated_ms, int)
        assert key is None or isinstance(key, bytes)
        data: dict[str, object] = {
            "payment_id": f"pay-{self.id[3:]}-9",
            "status": "paid",
            "amount_minor": self.amount,
            "currency": CURRENCY,
            "paid_at": rfc3339(dated_ms),
        }
        value = self._event(PAYMENT, dated_ms, data | wrong)
        self.buyer.acts.append(Act(at_ms, "payment", key, value, fault=fault))

    def _say(self, kind: str, at_ms: int, told_ms: int | None, data: dict[str, object]) -> None:
        self.buyer.acts.append(
            Act(
                at_ms if told_ms is None else told_ms,
                _STREAM[kind],
                self.buyer.key,
                self._event(kind, at_ms, data),
                confirms=kind == CONFIRMED,
            )
        )

    def _event(self, kind: str, at_ms: int, data: dict[str, object]) -> bytes:
        self._said += 1
        return orjson.dumps(
            {
                "specversion": "1.0",
                "id": f"{self.id}/{self._said}",
                "source": "demo/marketplace",
                "type": kind,
                "time": rfc3339(at_ms),
                "subject": self.id,
                "data": {"customer_id": self.buyer.id, "checkout_id": self.id, **data},
            }
        )

    # The truth

    def becomes(
        self,
        standing: str,
        *,
        detected: bool = False,
        withdrawn: Cause | None = None,
        quiet_ms: int | None = None,
        reminders: bool = True,
    ) -> None:
        """Says the truth. No reminder comes once `quiet_ms` is over (what stops them was told
        then); `reminders` False: not to be said how many."""
        self.buyer.truths.append(
            Truth(
                self.id,
                self.buyer.id,
                self.buyer.case,
                standing,
                detected or withdrawn is not None,
                withdrawn,
                self._reminders(quiet_ms) if reminders else None,
            )
        )

    def _reminders(self, quiet_ms: int | None) -> int | None:
        """How many must come, if that is certain: a step must be clearly before what stops it, or
        after; and clearly apart from the one before."""
        pace = self.buyer.pace
        policy = pace.policy.reminders
        if quiet_ms is not None and quiet_ms <= self.at_ms:
            return 0
        send_before_ms = self.pay_by_ms - policy.latest_before_pay_by_ms
        due = sorted(
            self.pay_by_ms - step.offset_ms if step.before_pay_by else self.at_ms + step.offset_ms
            for step in policy.steps.get(self.method, ())
        )
        due = [at_ms for at_ms in due if self.at_ms < at_ms <= send_before_ms]
        if quiet_ms is not None:
            # Appended a moment late, it might not stop a step due in that moment.
            if any(quiet_ms <= at_ms < quiet_ms + SLACK_MS // 4 for at_ms in due):
                return None
            due = [at_ms for at_ms in due if at_ms < quiet_ms]
        if not due:
            return 0
        if not self.buyer.alone or policy.quiet_hours is not None:
            return None
        ends = [send_before_ms if quiet_ms is None else min(send_before_ms, quiet_ms)] * len(due)
        apart = zip(due[1:], due[:-1], strict=True)
        if any(end - at_ms < pace.sure_ms for at_ms, end in zip(due, ends, strict=True)) or any(
            later - earlier < policy.per_customer_gap_ms + pace.sure_ms for later, earlier in apart
        ):
            return None
        return min(len(due), policy.per_checkout, policy.per_customer_week)


class Buyer:
    """Whoever plays a case: collects its records and truths."""

    def __init__(
        self, *, chance: random.Random, pace: Pace, customer_id: str, at_ms: int, alone: bool
    ) -> None:
        """alone: this customer comes with this one case only, so nothing else touches it."""
        self.chance = chance
        self.pace = pace
        self.id = customer_id
        self.key = customer_id.encode()
        self.at_ms = at_ms
        self.alone = alone
        self.case = ""
        self.acts: list[Act] = []
        self.truths: list[Truth] = []

    def checkout(self, method: str | tuple[str, ...] = PREPAID, *, later_ms: int = 0) -> Checkout:
        """A new checkout; its confirmation is not told yet. Of several methods one is chosen."""
        chosen = method if isinstance(method, str) else self.chance.choice(method)
        checkout_id = f"co-{self.chance.getrandbits(40):010x}"
        return Checkout(self, checkout_id, self.at_ms + later_ms, chosen)
