"""All customers of one lane: facts go in, one transaction's worth of differences comes out.

The lane's loop: `apply`/`reject`/`skip` for what was read, `fire` when the frontier moved, then
`flush` and write what it returns in one transaction. Records at rest are bytes; a touched
customer is decoded once and encoded at the flush. No clock, no I/O.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from zlib import crc32

from msgspec import Struct, field, structs

from domain.customer import NEVER_MS, Customer, Standing, decode, due_of, encode, open_of
from domain.flush import DeadLetter, Flush, Output, Stats
from domain.intake import Desk, Fact, Hold, Told, tell
from domain.judge import Session, due_ms, is_empty, judge
from domain.policy import Policy
from domain.seed import seeded_advice, seeded_reminder, seeded_verdict
from domain.timers import Timers
from schemas.events import InputEvent
from schemas.faults import RejectRecord, SkipReason
from schemas.partition import partition_of
from schemas.record import Record
from schemas.topics import Announced

__all__ = ["DeadLetter", "Flush", "Ledger", "Output", "Stats"]

RETRY_MS = 3_600_000
"""A customer that cannot be judged because of a fault of ours is tried again after so long."""

_CHECKSUM_MASK = 2**64 - 1


class _Live(Struct):
    """A customer touched since the last flush."""

    customer_id: str
    customer: Customer
    facts: list[tuple[Fact, Record | None]] = field(default_factory=list)
    """What was told since, in order, to tell it again if judging trips over one of them."""
    news: dict[str, int | None] = field(default_factory=dict)
    touched: bool = False
    fired: bool = False
    """Its timer entry was taken."""
    everything: bool = False


class Ledger:
    """See the module. Not thread-safe; one per lane."""

    def __init__(self, *, policy: Policy, partition: int = 0, partitions: int = 1) -> None:
        self.policy = policy
        self.partition = partition
        self.partitions = partitions
        self.stats = Stats()
        self._now_ms = 0
        self._history_low_ms: int | None = None
        self._table: dict[bytes, bytes] = {}
        self._live: dict[bytes, _Live] = {}
        self._checksum = 0
        self._timers = Timers(self._due_of)
        self._to_rejudge: list[bytes] = []
        self._outputs: list[Output] = []
        self._dead_letters: list[DeadLetter] = []
        self._desk = self._new_desk()

    # What the lane asks

    @property
    def now_ms(self) -> int:
        """The frontier last fired; 0 = not known yet."""
        return self._now_ms

    @property
    def count(self) -> int:
        """Live records, as of the last flush."""
        return len(self._table)

    @property
    def checksum(self) -> int:
        """Sum modulo 2**64 of crc32(value, crc32(key)) over the live records."""
        return self._checksum

    @property
    def records(self) -> Mapping[bytes, bytes]:
        """The records at rest, to look at."""
        return MappingProxyType(self._table)

    @property
    def next_due_ms(self) -> int:
        """Nobody is due before this moment (a lower bound); NEVER_MS when nobody ever is. While
        `now` is 0 `fire` takes nobody, whatever this says."""
        return 0 if self._to_rejudge else self._timers.next_due_ms

    @property
    def rejudging(self) -> bool:
        """Customers are left that have not been judged since `rejudge_all`. Until then the
        position must not name the new policy."""
        return bool(self._to_rejudge)

    def knows(self, customer_id: str) -> bool:
        """Whether a record of the customer is here, or begun."""
        key = customer_id.encode()
        return key in self._table or key in self._live

    def customer(self, customer_id: str) -> Customer | None:
        """A copy of the record as of the last flush, to look at."""
        value = self._table.get(customer_id.encode())
        return None if value is None else decode(value)

    # What the agents tell

    def apply(self, event: InputEvent, record: Record) -> None:
        """Merges the facts of one decoded, checked event. Judges nothing yet. Raises RejectRecord
        ("limit", "invalid"); whatever it raises, the record is as it was before."""
        self.stats.events += 1
        self._tell(event.data.customer_id, event, record)

    def reject(self, record: Record, fault: RejectRecord) -> None:
        """Takes a dead letter; holds its checkout when its ids could be read (row 9) and its
        customer lives here: is known, or belongs to this partition by a key that is in order.
        Otherwise it is for the agents to tell the right one (`hitrun.event.misplaced`)."""
        self.stats.dead_letters[fault.reason] += 1
        self._dead_letters.append(DeadLetter(record, fault.reason, fault.detail))
        customer_id, checkout_id = fault.customer_id, fault.checkout_id
        if customer_id is None or checkout_id is None:
            return
        if not self.knows(customer_id) and (
            fault.reason == "key"
            or partition_of(customer_id.encode(), self.partitions) != self.partition
        ):
            return
        self._tell(customer_id, Hold(checkout_id, record.timestamp), None)

    def skip(self, reason: SkipReason) -> None:
        """Counts a record that is none of ours."""
        self.stats.skipped[reason] += 1

    def emit(self, output: Output) -> None:
        """Adds an output to the next flush."""
        self._outputs.append(output)

    def seed(
        self,
        role: Announced,
        key: bytes,
        value: bytes | None,
        timestamp_ms: int,
    ) -> None:
        """Takes what was announced as announced (rebuild). Call in the order of the topic, before
        the inputs are read; flush now and then. `timestamp_ms` is the record's."""
        fact: Fact | None
        if role == "verdict":
            fact = seeded_verdict(value)
        elif role == "customer":
            fact = seeded_advice(value)
        else:
            fact = seeded_reminder(value, timestamp_ms)
        if fact is not None:
            self._tell(key.decode(), fact, None)

    def reading_history(self, lowest_append_ms: int | None) -> None:
        """While history is being read again: the lowest append time reached among the inputs, by
        which what is settled is forgotten. None: history is over, `now` counts."""
        self._history_low_ms = lowest_append_ms
        self._desk = self._new_desk()

    # What the lane does

    def fire(self, *, frontier_ms: int, clock_ms: int, limit: int = 2000) -> int:
        """Moves `now` to `frontier_ms` (never back) and marks up to `limit` customers whose
        moment has come, the oldest first, to be judged at the next flush. Returns how many; as
        long as that is `limit`, flush and fire again. `clock_ms` is not used: reminders take
        the clock of the flush."""
        del clock_ms
        if frontier_ms > self._now_ms:
            self._now_ms = frontier_ms
            self._desk = self._new_desk()
        if self._now_ms <= 0:
            return 0
        fired = 0
        while self._to_rejudge and fired < limit:
            key = self._to_rejudge.pop()
            if key in self._table:
                self._open(key).everything = True
                fired += 1
        for key in self._timers.take(self._now_ms, limit - fired):
            live = self._open(key)
            if not live.fired:
                live.fired = True
                fired += 1
        return fired

    def flush(self, *, clock_ms: int) -> Flush:
        """Judges everybody touched or fired since the last flush, once, and returns what must be
        written in one transaction. A record that did not change is not written."""
        result = Flush(outputs=self._outputs, dead_letters=self._dead_letters)
        session = Session(
            policy=self.policy,
            now_ms=self._now_ms,
            clock_ms=clock_ms,
            forget_ms=self._now_ms if self._history_low_ms is None else self._history_low_ms,
            stats=self.stats,
        )
        for key, live in self._live.items():
            if not (live.touched or live.fired or live.everything):
                continue
            self.stats.judged += 1
            customer = live.customer
            try:
                outputs = judge(
                    live.customer_id, customer, live.news, session, everything=live.everything
                )
                due = self._due(customer, session)
            except Exception:  # noqa: BLE001 - a fault of ours, found record by record
                customer, outputs, due = self._isolate(key, live, session)
            result.outputs += outputs
            self._store(key, customer, due, result, fired=live.fired)
        self._live = {}
        self._outputs, self._dead_letters = [], []
        if self._timers.size > 2 * len(self._table) + 1024:
            self._rebuild_timers()
        return result

    def restore(self, entries: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Records of the changelog, in its order. Values stay bytes. Keys that begin with a zero
        byte are the partition's own, not customers; none is known yet."""
        table = self._table
        for key, value in entries:
            if key[:1] == b"\0":
                continue
            if value is None:
                table.pop(key, None)
            else:
                table[key] = value

    def restored(self, *, frontier_ms: int = 0) -> None:
        """After the last `restore`: counts, sums, builds the timer index. `frontier_ms` is the
        position's: without it `now` is 0 until `fire`, and what is judged meanwhile is judged
        again."""
        self._now_ms = max(self._now_ms, frontier_ms)
        self._desk = self._new_desk()
        total = opens = 0
        for key, value in self._table.items():
            total += crc32(value, crc32(key))
            opens += open_of(value)
        self._checksum = total & _CHECKSUM_MASK
        self.stats.open_checkouts = opens
        self._rebuild_timers()

    def rejudge_all(self) -> None:
        """Another policy (or another incident): everybody is due, in slices taken by `fire`."""
        self._to_rejudge = list(self._table)

    # Inside

    def _new_desk(self) -> Desk:
        known_ms = self._now_ms if self._history_low_ms is None else 0
        return Desk(self.policy, self.stats, self._now_ms, known_ms)

    def _due_of(self, key: bytes) -> int | None:
        value = self._table.get(key)
        return None if value is None else due_of(value)

    def _rebuild_timers(self) -> None:
        self._timers.rebuild((key, due_of(value)) for key, value in self._table.items())

    def _former(self, key: bytes) -> Customer:
        value = self._table.get(key)
        return Customer() if value is None else decode(value)

    def _open(self, key: bytes) -> _Live:
        live = self._live.get(key)
        if live is None:
            live = self._live[key] = _Live(key.decode(), self._former(key))
        return live

    def _tell(self, customer_id: str, fact: Fact, record: Record | None) -> None:
        key = customer_id.encode()
        live = self._live.get(key)
        if live is None:
            live = self._live[key] = _Live(customer_id, self._former(key))
        try:
            told = tell(live.customer, fact, self._desk)
        except RejectRecord:
            raise
        except Exception:
            # It may have changed half of the record: tell the others again, on the former one.
            live.customer = self._former(key)
            for earlier, _ in live.facts:
                tell(live.customer, earlier, self._desk)
            raise
        if told is None:
            return
        live.facts.append((fact, record))
        live.touched = True
        live.everything = live.everything or told.everything
        _note_news(live.news, told)

    def _due(self, customer: Customer, session: Session) -> int | None:
        """The due moment to store, or None when the record is to be deleted."""
        if is_empty(customer) and (customer.announced is None or session.now_ms > 0):
            return None
        due = due_ms(customer, session)
        if due <= session.now_ms and session.now_ms > 0:
            due = session.now_ms + 60_000  # only while history is read again; never spin
        return due

    def _store(
        self, key: bytes, customer: Customer, due: int | None, result: Flush, *, fired: bool
    ) -> None:
        old = self._table.get(key)
        if due is None:
            if old is None:
                return
            del self._table[key]
            result.changelog.append((key, None))
        else:
            value = encode(customer, due)
            if fired or old is None or due < due_of(old):
                self._timers.add(key, due)
            if value == old:
                return
            self._table[key] = value
            self._checksum += crc32(value, crc32(key))
            self.stats.open_checkouts += customer.open_count
            result.changelog.append((key, value))
        if old is not None:
            self._checksum -= crc32(old, crc32(key))
            self.stats.open_checkouts -= open_of(old)
        self._checksum &= _CHECKSUM_MASK

    def _isolate(
        self, key: bytes, live: _Live, session: Session
    ) -> tuple[Customer, list[Output], int | None]:
        """Judging raised. From the former record on, tells and judges fact by fact; the records
        that raise become dead letters and hold their checkouts, the others count."""
        trial, alone = self._former(key), structs.replace(session, stats=Stats())
        good: list[Fact] = []
        for fact, record in live.facts:
            before = encode(trial, NEVER_MS)
            try:
                told = tell(trial, fact, self._desk)
                if told is not None:
                    news: dict[str, int | None] = {}
                    _note_news(news, told)
                    judge(live.customer_id, trial, news, alone, everything=told.everything)
                good.append(fact)
            except Exception:  # noqa: BLE001 - whatever it is, the other records count
                trial = decode(before)
                if record is not None and not isinstance(fact, Hold):
                    self.stats.dead_letters["internal"] += 1
                    self._dead_letters_of(record)
                checkout_id = _checkout_id_of(fact)
                if checkout_id is not None:
                    good.append(Hold(checkout_id, 0 if record is None else record.timestamp))
        # What is left is judged once: in between nothing stands, and nothing is announced.
        customer, everything = self._former(key), live.everything
        news = {}
        for fact in good:
            told = tell(customer, fact, self._desk)
            if told is not None:
                everything = everything or told.everything
                _note_news(news, told)
        before = encode(customer, NEVER_MS)
        try:
            outputs = judge(live.customer_id, customer, news, session, everything=everything)
            return customer, outputs, self._due(customer, session)
        except Exception:  # noqa: BLE001 - nothing to blame it on: hold and try later
            customer = decode(before)
        for checkout in customer.checkouts:
            if checkout.standing in (Standing.NEW, Standing.OPEN):
                checkout.held = True
        return customer, [], session.now_ms + RETRY_MS

    def _dead_letters_of(self, record: Record) -> None:
        self._dead_letters.append(DeadLetter(record, "internal", traceback.format_exc()))


def _note_news(news: dict[str, int | None], told: Told) -> None:
    """Of several facts of a checkout the newest event time counts."""
    if told.checkout_id is None:
        return
    known_ms = news.get(told.checkout_id)
    if known_ms is None or (told.news_ms is not None and told.news_ms > known_ms):
        news[told.checkout_id] = told.news_ms


def _checkout_id_of(fact: Fact) -> str | None:
    data = getattr(fact, "data", fact)
    checkout_id = getattr(data, "checkout_id", None)
    return checkout_id if isinstance(checkout_id, str) else None
