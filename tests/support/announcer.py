"""What should be said, and when: a naive clockwork over the oracle, for small histories.

Judges everybody from scratch at every moment at which anything could change, one after another,
and writes down the differences. Slow on purpose; the same stepping as `hitrun replay`: before a
record the frontier moves through all moments up to its arrival - upstream_delay, and the clock is
the frontier.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tests.support.oracle import (
    Case,
    Checkout,
    Customer,
    Policy,
    figures,
    leaves_day,
    output_id,
    standings,
    withdrawn_cause,
)
from tests.support.reading import DAY, AnyRecord, Fact, Reading, read

Step = tuple[str, int, str]  # checkout, base, name of the step


def zone_of(name: str | None, policy: Policy) -> ZoneInfo:
    """The buyer's zone; the default when none is said or it is unknown."""
    default = ZoneInfo(policy["reminders"]["default_time_zone"])
    if not name:
        return default
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return default


def after_quiet_hours(clock: int, zone: ZoneInfo, quiet: Sequence[str]) -> int:
    """`clock`, or the end of the quiet hours it lies in (the first, where clocks change)."""
    if not quiet:
        return clock
    start, end = ((int(t[:2]), int(t[3:])) for t in quiet)
    local = datetime.fromtimestamp(clock / 1000, UTC).astimezone(zone)
    now = (local.hour, local.minute)
    within = start <= now < end if start <= end else (now >= start or now < end)
    if not within:
        return clock
    day = local.date() if now < end else local.date() + timedelta(days=1)
    opens = datetime(day.year, day.month, day.day, *end, tzinfo=zone, fold=0)
    return int(opens.astimezone(UTC).timestamp() * 1000)


def steps_of(case: Case, policy: Policy) -> list[tuple[int, str]]:
    """(moment, name) of the reminder steps that exist for a prepaid checkout."""
    if case.pay_by is None:
        return []
    latest = case.pay_by - policy["reminders"]["latest_before_pay_by"]
    found = []
    for name, offset in policy["reminders"]["steps"][case.method]:
        moment = case.pay_by + offset if offset < 0 else case.base + offset
        if case.base < moment <= latest:
            found.append((moment, name))
    return found


@dataclass
class Said:
    """What was announced of a checkout."""

    sequence: int = 0
    unpaid: bool = False
    id: str = ""
    known: int = 0
    dated: int = 0


@dataclass
class Book:
    """A customer's facts and all that was said about it."""

    customer: Customer
    facts: list[Fact] = field(default_factory=list)
    said: dict[str, Said] = field(default_factory=dict)
    figures: tuple[int, str] = (0, "none")
    version: int = 0
    done: set[tuple[Step, int]] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)
    """Where each checkout stood when it was last judged."""
    sent_steps: set[Step] = field(default_factory=set)
    moved: dict[Step, int] = field(default_factory=dict)
    sent: list[tuple[int, str]] = field(default_factory=list)


class Announcer:
    """Feed it the records in the order of their arrival; `outputs` is what should be said."""

    def __init__(self, policy: Policy, *, upstream_delay: int = 5_000) -> None:
        self.policy = policy
        self.delay = upstream_delay
        self.now = 0
        self.books: dict[str, Book] = {}
        self.outputs: list[dict[str, Any]] = []
        self.dead_letters: list[tuple[AnyRecord, tuple[str, ...]]] = []
        self.skipped: list[str] = []

    def run(
        self,
        records: Iterable[tuple[str, AnyRecord]],
        until: int,
        *,
        held: tuple[int, int] | None = None,
        unknown_until: int | None = None,
    ) -> None:
        """Replays (role, record) pairs; `held`: the frontier stands still between the two
        moments; `unknown_until`: a backlog, read with an unknown frontier that then is this."""
        for place, (role, record) in enumerate(records):
            target = record.timestamp - self.delay
            if unknown_until is not None:
                target = 0
            elif held and held[0] <= target < held[1]:
                target = held[0]
            self.advance(target)
            self.apply(read(role, record, self.policy, place=place), record)
        if unknown_until is not None:
            self._judge_all(unknown_until)
        self.advance(until)

    def apply(self, reading: Reading, record: AnyRecord) -> None:
        if reading.skip:
            self.skipped.append(reading.skip)
            return
        if reading.faults:
            self.dead_letters.append((record, reading.faults))
            if not (reading.customer and reading.checkout):
                return
        customer = reading.customer or ""
        book = self.books.setdefault(customer, Book(Customer(customer)))
        if reading.fact and self._too_late(book, reading.fact):
            self.skipped.append("too_late")
            return
        if reading.fact and self._beyond_caps(book, reading.fact):
            self.dead_letters.append((record, ("limit",)))
            reading.fact = None
        if reading.fact:
            book.customer.add(reading.fact)
            book.facts.append(reading.fact)
        else:
            book.customer.hold(reading.checkout or "", record.timestamp)
        self._judge(book, self.now)

    def _too_late(self, book: Book, fact: Fact) -> bool:
        """A confirmed event first told when it would already be forgotten as settled."""
        checkout = book.customer.checkouts.get(fact.checkout, Checkout(fact.checkout))
        if fact.kind != "confirmed" or checkout.confirmed or not self.now:
            return False
        newest = max(f.at for f in [fact, *checkout.facts()])
        return newest + self.policy["retention"]["settled"] <= self.now

    def _beyond_caps(self, book: Book, fact: Fact) -> bool:
        """Whether a fact is one too many, in the order of arrival."""
        caps, all_checkouts = self.policy["caps"], book.customer.checkouts
        checkout = all_checkouts.get(fact.checkout)
        if fact.kind == "confirmed" and (checkout is None or not checkout.confirmed):
            cases = standings(book.customer, self.now, self.policy).values()
            return sum(case.name == "open" for case in cases) >= caps["open_checkouts"]
        if checkout is None:
            orphans = [c for c in all_checkouts.values() if not c.confirmed and c.facts()]
            return len(orphans) >= caps["orphans"]
        if fact.kind == "payment":
            return len({*checkout.payment, fact.data["payment_id"]}) > caps["payments"]
        if fact.kind == "order":
            listed = [o["order_id"] for c in checkout.confirmed for o in c.data.get("orders", [])]
            known = {*checkout.order, *listed}
            return fact.data["order_id"] not in known and len(known) >= caps["orders"]
        if fact.kind == "changed":
            return len({c.id for c in checkout.changed} | {fact.id}) > caps["method_changes"]
        return False

    def advance(self, to: int) -> None:
        """Moves the frontier through every moment of interest up to `to`."""
        while True:
            moments = [m for m in self._moments() if self.now < m <= to]
            if not moments or self.now == 0:
                break
            self._judge_all(min(moments))
        self._judge_all(max(to, self.now))

    def _judge_all(self, now: int) -> None:
        self.now = now
        for book in self.books.values():
            self._judge(book, now)

    def _moments(self) -> list[int]:
        found: list[int] = []
        for book in self.books.values():
            for case in standings(book.customer, self.now, self.policy).values():
                found += [case.verdict_at or 0, case.dated or 0]
                found.append(case.base + self.policy["verdict"]["cod_lapses_after"])
                for start in (case.confirmed_at, case.dated):
                    if start is not None:
                        found += [
                            (start // DAY + self.policy["strikes"][key] // DAY) * DAY
                            for key in ("window", "cod_window")
                        ]
                found += [moment for moment, _ in steps_of(case, self.policy)]
            found += book.moved.values()
        return found

    # ------------------------------------------------------------ one customer, one moment

    def _judge(self, book: Book, now: int) -> None:
        if now == 0:
            return
        cases = standings(book.customer, now, self.policy)
        day = now // DAY
        for id, case in sorted(cases.items()):
            said = book.said.setdefault(id, Said())
            if (case.name == "unpaid") == said.unpaid:
                continue
            if case.name == "unpaid":
                if leaves_day(case, self.policy) > day:  # else it would be forgotten already
                    self._detected(book, case, said, cases)
            else:
                self._withdrawn(book, case, said, figures(cases, day, self.policy))
        self._reminders(book, cases, now)
        after = figures(cases, day, self.policy)
        if (after["strikes"], after["recommended_action"]) != book.figures:
            book.figures = (after["strikes"], after["recommended_action"])
            book.version += 1
            self._say(
                "hitrun.customer.changed",
                output_id(book.customer.id, "customer", book.version),
                now,
                {"customer_id": book.customer.id, "version": book.version} | after,
            )

    def _say(self, type: str, id: str, time: int | None, data: dict[str, Any]) -> None:
        self.outputs.append({"type": type, "id": id, "time": time, "data": data, "said": self.now})

    def _detected(self, book: Book, case: Case, said: Said, cases: dict[str, Case]) -> None:
        said.sequence += 1
        said.unpaid = True
        said.known = len(book.facts)
        said.id = output_id(book.customer.id, case.id, "detected", said.sequence)
        assert case.dated is not None
        said.dated = case.dated
        figure = figures(cases, case.dated // DAY, self.policy)
        self._say(
            "hitrun.verdict.detected",
            said.id,
            case.dated,
            {
                "customer_id": book.customer.id,
                "checkout_id": case.id,
                "order_ids": sorted(order.id for order in case.orders if order.id),
                "amount_minor": case.amount,
                "due_minor": case.due,
                "received_minor": case.received,
                "currency": case.currency,
                "payment_method": case.method,
                "confirmed_at": case.confirmed_at,
                "pay_by": case.pay_by,
                "verdict_at": case.dated,
                "reason": "cod_refused" if case.method == "cod" else "never_paid",
                "rule": case.rule,
                "advisory": True,
                "sequence": said.sequence,
            }
            | figure,
        )

    def _withdrawn(self, book: Book, case: Case, said: Said, figure: dict[str, Any]) -> None:
        said.unpaid = False
        same_cart = {case.id} | {
            id
            for id, checkout in book.customer.checkouts.items()
            if case.cart is not None
            and any(c.data.get("cart_id") == case.cart for c in checkout.confirmed)
        }
        before = {f.id for f in book.facts[: said.known]}
        since = [
            f.at for f in book.facts[said.known :] if f.checkout in same_cart and f.id not in before
        ]
        self._say(
            "hitrun.verdict.withdrawn",
            output_id(book.customer.id, case.id, "withdrawn", said.sequence),
            None if case.name == "held" else max(since, default=said.dated),
            {
                "customer_id": book.customer.id,
                "checkout_id": case.id,
                "detected_id": said.id,
                "cause": withdrawn_cause(case),
                "sequence": said.sequence,
            }
            | figure,
        )

    def _reminders(self, book: Book, cases: dict[str, Case], now: int) -> None:
        reached: list[tuple[int, str, str, Case]] = []
        for id, case in cases.items():
            reopened = book.names.get(id, "open") != "open"
            book.names[id] = case.name
            best: tuple[int, int, str] | None = None
            for moment, name in steps_of(case, self.policy):
                step = (id, case.base, name)
                if (step, moment) in book.done or step in book.sent_steps:
                    continue
                at = book.moved.get(step, moment)
                if at > now:
                    continue
                book.done.add((step, moment))
                book.moved.pop(step, None)
                if reopened and not (case.again and name.startswith("-")):
                    continue  # reached before it was open again: not made up for
                best = max(best, (moment, at, name)) if best else (moment, at, name)
            if best is not None:
                reached.append((best[1], id, best[2], case))
        for at, id, name, case in sorted(reached, key=lambda r: r[:2]):
            self._remind(book, case, id, name, at, now)

    def _remind(self, book: Book, case: Case, id: str, name: str, at: int, now: int) -> None:
        rules = self.policy["reminders"]
        assert case.pay_by is not None
        send_before = case.pay_by - rules["latest_before_pay_by"]
        allowed = case.data.get("reminders_allowed", True)
        if case.name != "open":
            return  # before the quiet hours: what is not open when it is reached is dropped
        zone = zone_of(case.data.get("time_zone"), self.policy)
        opens = after_quiet_hours(now, zone, rules["quiet_hours"])
        if opens > now:
            if opens <= send_before:
                step = (id, case.base, name)
                book.moved[step] = opens
                book.done -= {d for d in book.done if d[0] == step}
            return
        if case.waiting or case.held or not allowed:
            return
        mine = [when for when, checkout in book.sent if checkout == id]
        week = [when for when, _ in book.sent if when > now - 7 * DAY]
        if (
            now > send_before
            or len(mine) >= rules["per_checkout"]
            or len(week) >= rules["per_customer_week"]
            or (book.sent and now - book.sent[-1][0] < rules["per_customer_gap"])
        ):
            return
        book.sent.append((now, id))
        book.sent_steps.add((id, case.base, name))
        self._say(
            "hitrun.reminder.due",
            output_id(book.customer.id, id, "reminder", case.base, name),
            at,
            {
                "customer_id": book.customer.id,
                "checkout_id": id,
                "number": len(mine) + 1,
                "template": "balance_reminder" if case.received else "payment_reminder",
                "due_minor": case.due - case.received,
                "currency": case.currency,
                "payment_method": case.method,
                "pay_by": case.pay_by,
                "send_before": send_before,
                "tone": "soft",
            }
            | {name: case.data[name] for name in ("language",) if name in case.data}
            | ({"time_zone": zone.key} if zone.key == case.data.get("time_zone") else {}),
        )
