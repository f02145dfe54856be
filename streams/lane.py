"""One lane: partition i of every input, its customers, and one transaction at a time.

A lane owns the transactional producer `<group>-<i>`; taking a lane over starts that producer
anew, which fences the former owner, so a zombie's writes never become visible. One transaction
holds outputs, dead letters, one changelog record per changed customer and the position.

The traps of aiokafka's transactional producer that this file is written around (measured on
0.14.0): `commit_transaction` commits although a batch failed, so *every* future is awaited before
it; after a failed batch or a fence the producer is useless, so any exception ends the process.
There is no repair path: the next owner starts from what was committed.

Knows nothing of Faust.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from agents.intake import Fed
from domain.flush import DeadLetter, Flush
from domain.frontier import CLOCK_TOLERANCE_MS, Frontier
from domain.ledger import Ledger
from schemas.outputs import HEADERS
from schemas.record import RawRecord, Record
from schemas.topics import STREAMS, Stream, Topics
from streams import position as positions
from streams.faults import HaltWorker
from streams.logging import say
from streams.position import LETTER_WINDOW, Letters, Position

FULL_EVENTS = 20_000
"""A transaction is begun at the latest after so many events, whatever the interval."""

WAITING_EVENTS = 40_000
"""A lane with so many events applied and not committed is not fetched for."""

SLICE = 2_000
"""Timers are judged in slices, so that thousands due at once (after downtime) never block."""

APPENDED = 1
"""timestamp_type of LogAppendTime."""

LOST_S = 15.0
"""An input that ends before the position for so long was truncated."""

BATCH_BYTES = 512 * 1024
MAX_MARKS = 256
IDLE_POSITION_S = 3600.0
"""An idle lane writes its position so often: brokers forget a transactional id after 7 days."""

Feed = Callable[[Ledger, Sequence[Record]], Fed]


def wall_ms() -> int:
    """The worker's clock, ms since the epoch."""
    return time.time_ns() // 1_000_000


class Lane:
    """See the module. `open` is the gate: while it is closed nothing is applied or fetched."""

    def __init__(
        self,
        partition: int,
        *,
        ledger: Ledger,
        frontier: Frontier,
        position: Position,
        producer: AIOKafkaProducer,
        topics: Topics,
        commit_interval_s: float,
        clock: Callable[[], int] = wall_ms,
    ) -> None:
        self.partition = partition
        self.ledger = ledger
        self.frontier = frontier
        self.producer = producer
        self.topics = topics
        self.clock = clock
        self.open = False
        self.next: dict[Stream, int] = dict(position.next)
        self.position = position
        self.reached: dict[Stream, int] = {}
        self.seen: dict[Stream, int] = {}
        """The next offset after what was fetched, whether applied or not; missing: `next`."""
        self.letters: dict[Stream, Letters] = {s: Letters() for s in STREAMS} | position.letters
        self.in_flight: dict[Stream, int] = dict.fromkeys(STREAMS, 0)
        self.waiting = 0
        self.committed_at = time.monotonic()
        """When all that was applied was known to be committed."""
        self._written_at = self.committed_at
        self.taken_at = self.committed_at
        self.commits = 0
        self.commit_s = 0.0
        """Spent in transactions, from begin to committed."""
        self.events = 0
        self._interval_s = commit_interval_s
        self._marks: deque[tuple[int, dict[Stream, int]]] = deque()
        self._ends: dict[Stream, int] | None = None
        self._appended: dict[Stream, int] = {}
        if frontier.value_ms == 0:
            ledger.reading_history(0)
        self._dirty = False
        self._compared_ms: int | None = None
        """`_drift_ms` when the broker's time was last compared with the clock."""
        self._wake = asyncio.Event()
        self._committing = asyncio.Lock()
        self._more_due = False
        self._lost_since: float | None = None

    # ------------------------------------------------------------------ in

    def handed(self, stream: Stream) -> None:
        """A batch was queued for its agent."""
        self.in_flight[stream] += 1

    def feed(self, stream: Stream, batch: Sequence[ConsumerRecord], feed: Feed) -> None:
        """Applies a batch. Whether its dead letters are too many is for the next `turn` to say,
        once they are committed, counters included."""
        ledger = self.ledger
        records: Sequence[Record] = batch
        if batch[0].timestamp_type != APPENDED:
            records = _stamped(batch, self.clock())
        dead = ledger.stats.dead_letters.total()
        fed = feed(ledger, records)
        if stream == "payment":
            self.frontier.note_payments(fed.beats)
        elif stream == "checkout":
            self.frontier.note_checkouts(fed.beats)
        self.next[stream] = records[-1].offset + 1
        self._appended[stream] = records[-1].timestamp
        self.in_flight[stream] -= 1
        self.waiting += len(records)
        self.events += len(records)
        self._dirty = True
        dead = ledger.stats.dead_letters.total() - dead
        self._count_letters(stream, len(records), dead, fed.misplaced)
        if self.waiting >= FULL_EVENTS:
            self._wake.set()

    def at(self, stream: Stream, offset: int) -> None:
        """All records below `offset` were handed over; markers are passed as well."""
        self.reached[stream] = offset
        if self.in_flight[stream] == 0 and offset > self.next.get(stream, 0):
            self.next[stream] = offset

    def mark(self, t0_ms: int, ends: dict[Stream, int], applied: dict[Stream, int]) -> None:
        """At `t0_ms` (read before), the inputs had grown to `ends` (see log_ends.py); `applied` is
        `next` as it was before they were asked. Raises HaltWorker when an input ends before it and
        stays so: right after an election a leader may not know its own end yet."""
        lost = [(s, end) for s, end in ends.items() if end < applied.get(s, 0)]
        if not lost:
            self._lost_since = None
        elif self._lost_since is None:
            self._lost_since = time.monotonic()
        elif time.monotonic() - self._lost_since > LOST_S:
            stream, end = lost[0]
            topic, at = self.topics.name(stream), applied[stream]
            raise input_lost(topic, self.partition, at, f"ends at {end}, before the position {at}")
        self._ends = ends
        if len(self._marks) == MAX_MARKS:  # the oldest will be passed first, the newest says most
            self._marks.pop()
        self._marks.append((t0_ms, ends))

    def behind(self, stream: Stream) -> int:
        """How many offsets of an input are not applied, as last measured."""
        if self._ends is None:
            return 0
        return max(0, self._ends.get(stream, 0) - self.next.get(stream, 0))

    @property
    def full(self) -> bool:
        return self.waiting >= WAITING_EVENTS

    def check_letters(self) -> None:
        """Raises HaltWorker while a producer's records count as broken."""
        for stream, letters in self.letters.items():
            if letters.broken:
                topic = self.topics.name(stream)
                say(
                    "dead_letters.many",
                    topic=topic,
                    partition=self.partition,
                    records=letters.records,
                    dead=letters.dead,
                    misplaced=letters.misplaced,
                )
                raise HaltWorker(
                    f"{letters.dead} dead letters, {letters.misplaced} of them on wrong "
                    f"partitions, among {letters.records} records of {topic}[{self.partition}]: "
                    f"its producer looks broken. Mend it, then go on with: "
                    f"hitrun worker --accept-dead-letters {topic}"
                )

    def accept_letters(self, stream: Stream) -> None:
        """A person let them pass. Written with the next turn, also when no input comes: otherwise
        a restart without that word would halt again."""
        self.letters[stream] = Letters()
        self._dirty = True

    def _count_letters(self, stream: Stream, records: int, dead: int, misplaced: int) -> None:
        letters = self.letters[stream]
        letters.records += records
        letters.dead += dead
        letters.misplaced += misplaced
        if letters.records >= LETTER_WINDOW and not letters.broken:
            self.letters[stream] = Letters()

    # ------------------------------------------------------------------ out

    async def run(self) -> None:
        """The lane's loop while it is open: every interval, or when a lot was applied."""
        while True:
            if not (self._more_due and self.open):  # closed, it must not spin
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._interval_s)
            self._wake.clear()
            if self.open:
                await self.turn()

    async def turn(self) -> None:
        """Moves the frontier, judges, and writes one transaction if there is anything to write."""
        async with self._committing:
            if self._clock_known():
                self._advance()
            else:  # only a commit tells the broker's time, and time waits for it
                self._dirty = True
            frontier_ms = self.frontier.value_ms
            clock_ms = self.clock()
            fired = self.ledger.fire(frontier_ms=frontier_ms, clock_ms=clock_ms, limit=SLICE)
            self._more_due = fired >= SLICE
            idle = time.monotonic() - self._written_at > IDLE_POSITION_S
            if not (self._dirty or fired or idle):
                self.committed_at = time.monotonic()
                return
            await self._transaction(self.ledger.flush(clock_ms=clock_ms), clock_ms)
            self.check_letters()

    async def empty(self, keys: Sequence[bytes]) -> None:
        """Rebuild: deletes the former records of the changelog. Only the last transaction leaves a
        state that fits its position, and it has what was announced before as well: a rebuild that
        is cut short is either refused (begin again) or forgets no announcement."""
        clock_ms = self.clock()
        tombstones: list[tuple[bytes, bytes | None]] = [(key, None) for key in keys]
        while len(tombstones) > FULL_EVENTS:
            part, tombstones = tombstones[:FULL_EVENTS], tombstones[FULL_EVENTS:]
            await self._transaction(Flush(changelog=part), clock_ms)
        flush = self.ledger.flush(clock_ms=clock_ms)
        flush.changelog[:0] = tombstones
        await self._transaction(flush, clock_ms)

    async def park(self) -> None:
        """Commits what is applied, with the gate closed."""
        async with self._committing:
            if self._dirty:
                clock_ms = self.clock()
                await self._transaction(self.ledger.flush(clock_ms=clock_ms), clock_ms)

    def close(self) -> None:
        """Shuts the gate, at once: what is fetched but not applied will be fetched again."""
        self.open = False
        self.reached.clear()
        self.seen.clear()
        self.in_flight = dict.fromkeys(STREAMS, 0)
        self._marks.clear()

    def _advance(self) -> None:
        # From the newest on: one whose records went with their leader will never be passed.
        reached, marks = None, self._marks
        for place in range(len(marks) - 1, -1, -1):
            if self._passed(marks[place][1]):
                reached = marks[place][0]
                for _ in range(place + 1):
                    marks.popleft()
                break
        unknown = self.frontier.value_ms == 0
        if reached is not None:
            self.frontier.advance(t0_ms=reached)
        if unknown:
            history_ms = self._history_low_ms() if self.frontier.value_ms == 0 else None
            self.ledger.reading_history(history_ms)

    def _clock_known(self) -> bool:
        """Whether the clock was compared with the broker's, and has not been set anew since."""
        compared_ms = self._compared_ms
        return compared_ms is not None and (
            abs(self._drift_ms() - compared_ms) <= CLOCK_TOLERANCE_MS
        )

    def _drift_ms(self) -> int:
        """The clock less one that nobody sets."""
        return self.clock() - int(time.monotonic() * 1000)

    def _history_low_ms(self) -> int:
        """While `now` is not known: the lowest append time reached among the inputs that are not
        read to their end. Nothing newer may be forgotten meanwhile."""
        if self._ends is None:
            return 0
        unread = [s for s, end in self._ends.items() if self.reached.get(s, -1) < end]
        return min((self._appended.get(s, 0) for s in unread), default=0)

    def _passed(self, ends: dict[Stream, int]) -> bool:
        return all(
            self.in_flight[stream] == 0 and self.reached.get(stream, -1) >= end
            for stream, end in ends.items()
        )

    async def _transaction(self, flush: Flush, clock_ms: int) -> None:
        """Everything or nothing. The position is taken here, before the first await. Records are
        stamped with the clock they were judged by: a reminder decided just before its
        `send_before` must not seem to be sent after it."""
        position = Position(
            next=dict(self.next),
            frontier=self.frontier.state(),
            policy=self.position.policy if self.ledger.rejudging else self.ledger.policy.version,
            cluster=self.position.cluster,
            partitions=self.position.partitions,
            letters={s: Letters(x.records, x.dead, x.misplaced) for s, x in self.letters.items()},
            count=self.ledger.count,
            checksum=self.ledger.checksum,
        )
        self.position = position
        self.waiting = 0
        self._dirty = False
        now_ms, drift_ms = wall_ms(), self._drift_ms()
        writer = _Writer(self.producer, clock_ms)
        changelog = self.topics.changelog
        for key, value in flush.changelog:
            writer.add(changelog, self.partition, key, value)
        writer.add(changelog, self.partition, positions.KEY, positions.encode(position))
        for output in flush.outputs:
            partition = self.partition if output.partition is None else output.partition
            topic = self.topics.name(output.role)
            writer.add(topic, partition, output.key, output.value, HEADERS)
        for letter in flush.dead_letters:
            record = letter.record
            dlq = self.topics.dlq(record.topic)
            headers = (*record.headers, *_letter_headers(letter, now_ms))
            writer.add(dlq, self.partition, record.key, record.value, headers)
        if internal := sum(letter.reason == "internal" for letter in flush.dead_letters):
            say("fault.isolated", partition=self.partition, records=internal)
        began = time.monotonic()
        await self.producer.begin_transaction()
        done = await writer.send()
        await self.producer.commit_transaction()
        self.committed_at = self._written_at = time.monotonic()
        self.commits += 1
        self.commit_s += self.committed_at - began
        broker_ms = max(
            (d.timestamp for d in done if d and d.timestamp_type == APPENDED), default=None
        )
        if broker_ms is not None:
            self.frontier.note_clock(broker_ms=broker_ms, clock_ms=now_ms)
        self._compared_ms = drift_ms


def input_lost(topic: str, partition: int, position: int, why: str) -> HaltWorker:
    """Says that records were deleted before they were read; returns what to raise."""
    say("input.lost", topic=topic, partition=partition, position=position)
    return HaltWorker(f"input lost: {topic}[{partition}] {why}")


def _stamped(records: Sequence[Record], clock_ms: int) -> list[Record]:
    """Of a CreateTime topic: its timestamps are the producer's word, so the worker's clock stands
    in for the append time."""
    return [
        RawRecord(r.topic, r.partition, r.offset, clock_ms, r.key, r.value, tuple(r.headers))
        for r in records
    ]


class _Writer:
    """Collects records into batches per topic partition and sends them in one transaction."""

    def __init__(self, producer: AIOKafkaProducer, now_ms: int) -> None:
        self._producer = producer
        self._now_ms = now_ms
        self._open: dict[tuple[str, int], Any] = {}
        self._full: list[tuple[tuple[str, int], Any]] = []

    def add(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        place = (topic, partition)
        builder = self._open.get(place)
        if builder is not None:
            if builder.append(timestamp=self._now_ms, key=key, value=value, headers=list(headers)):
                return
            self._full.append((place, builder))
        builder = self._open[place] = self._producer.create_batch()
        builder.append(timestamp=self._now_ms, key=key, value=value, headers=list(headers))

    async def send(self) -> list[Any]:
        """Sends all and waits for *every* batch (see the module); raises when one failed."""
        futures = []
        for (topic, partition), builder in [*self._full, *self._open.items()]:
            builder.close()
            futures.append(await self._producer.send_batch(builder, topic, partition=partition))
        return list(await asyncio.gather(*futures))


def _letter_headers(letter: DeadLetter, now_ms: int) -> list[tuple[str, bytes]]:
    record = letter.record
    told = {
        "reason": letter.reason,
        "detail": letter.detail[:8192],
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "timestamp": str(record.timestamp),
        "at": str(now_ms),
    }
    return [(f"hitrun.error.{name}", text.encode()) for name, text in told.items()]
