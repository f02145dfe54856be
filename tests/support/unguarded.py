"""`hitrun` with guards switched off, by patches: there is no setting for it, and must not be.

    python -m tests.support.unguarded GUARD[,GUARD...] worker ...      ("nothing": all guards on)

What a run needs to meet the moment a guard is for comes with every guard, and with "nothing", so
that two runs differ in the guard alone: the moments of tests.support.moments and two more,
`decided` (verdicts are decided, their transaction not begun) and `acknowledged` (all of it is, and
nothing is committed); a record that trips judging (tests.support.stumbling); and, while the file
named by it exists: LATE, payments wait before their agent until the next takeover is over; QUIET,
lanes write nothing; DRIFT, the clock runs DRIFT_SPEED times too fast, by DRIFT_MOST_MS at most.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from domain import intake, ledger
from domain.frontier import Frontier
from streams import lane, lanes, restore, takeover
from streams.cli import main
from streams.faults import HaltWorker
from tests.support import moments, stumbling

DRIFT_SPEED = 20
DRIFT_MOST_MS = 200_000
_DRIFT = Path(os.environ.get("DRIFT", "/nonexistent"))
_LATE = Path(os.environ.get("LATE", "/nonexistent"))
_QUIET = Path(os.environ.get("QUIET", "/nonexistent"))

# ---------------------------------------------------------------------- what leads to the moment


class Producer(moments.Producer):
    """Knows whether its transaction has verdicts."""

    verdicts = False

    async def commit_transaction(self) -> None:
        if self.verdicts:
            moments.reach("acknowledged")
        await super().commit_transaction()


class Lane(moments.Lane):
    """Passes one moment more."""

    async def _transaction(self, flush: Any, clock_ms: int) -> None:
        self.producer.verdicts = any(output.role == "verdict" for output in flush.outputs)
        if self.producer.verdicts:
            moments.reach("decided")
        await super()._transaction(flush, clock_ms)

    async def turn(self) -> None:
        if not _QUIET.exists():  # noqa: ASYNC240 - a test's flag
            await super().turn()


class Lanes(moments.Lanes):
    """Its payments can be made to wait in front of their agent."""

    _kept: list[Any]

    def feed(self, stream: Any, batch: Any, feed: Any) -> None:
        if stream == "payment" and _LATE.exists():
            self._kept = [*getattr(self, "_kept", []), (stream, batch, feed)]
            _LATE.write_text("some are waiting")
        else:
            super().feed(stream, batch, feed)

    async def _take_over(self, partitions: set[int], generation: int) -> None:
        kept, self._kept = getattr(self, "_kept", []), []
        if kept:
            _LATE.unlink(missing_ok=True)  # noqa: ASYNC240 - a test's flag
        await super()._take_over(partitions, generation)
        for one in kept:
            super().feed(*one)


def _drifting_ms() -> int:
    now_ms = time.time_ns() // 1_000_000
    try:
        since_ms = now_ms - _DRIFT.stat().st_mtime_ns // 1_000_000
    except OSError:
        return now_ms
    return now_ms + min(DRIFT_MOST_MS, since_ms * DRIFT_SPEED)


def _install() -> None:
    from streams import app

    moments.install()
    takeover.AIOKafkaProducer = Producer  # type: ignore[attr-defined]
    takeover.Lane = Lane  # type: ignore[attr-defined]
    app.Lanes = Lanes  # type: ignore[attr-defined]
    ledger.judge = stumbling.stumbling_judge  # type: ignore[attr-defined]
    if "DRIFT" in os.environ:
        lane.wall_ms = lanes.wall_ms = _drifting_ms  # type: ignore[attr-defined]
        defaults = lane.Lane.__init__.__kwdefaults__
        assert defaults is not None
        defaults["clock"] = _drifting_ms


# ---------------------------------------------------------------------- the guards


def fencing() -> None:
    """Every process has transactional ids of its own: a new owner fences nobody."""
    guarded: Any = takeover.AIOKafkaProducer  # type: ignore[attr-defined]

    class Unfenced(guarded):  # type: ignore[misc]
        def __init__(self, *, transactional_id: str, **options: Any) -> None:
            super().__init__(transactional_id=f"{transactional_id}-{os.getpid()}", **options)

    takeover.AIOKafkaProducer = Unfenced  # type: ignore[attr-defined]


def init_before_read() -> None:
    """The state is read before the producer is started, which it is when it first writes."""
    guarded: Any = takeover.AIOKafkaProducer  # type: ignore[attr-defined]

    class Late(guarded):  # type: ignore[misc]
        started = False

        async def start(self) -> None:
            """Later."""

        async def begin_transaction(self) -> None:
            if not self.started:
                self.started = True
                await super().start()
            await super().begin_transaction()

    takeover.AIOKafkaProducer = Late  # type: ignore[attr-defined]


def high_watermark_restore() -> None:
    """A state is read up to the last stable offset."""
    guarded = restore.read_to_end

    async def to_the_stable_end(
        options: Any, watermarks: Any, tp: TopicPartition, take: Callable[[list[Any]], None]
    ) -> None:
        del watermarks
        stable = AIOKafkaConsumer(**options, isolation_level="read_committed")
        await stable.start()
        try:
            await guarded(options, stable, tp, take)
        finally:
            await stable.stop()

    restore.read_to_end = to_the_stable_end


def await_all_futures() -> None:
    """Batches are handed to the producer, and their fate is nobody's business."""

    async def send(self: Any) -> list[Any]:
        for (topic, partition), builder in [*self._full, *self._open.items()]:
            builder.close()
            await self._producer.send_batch(builder, topic, partition=partition)
        return []

    lane._Writer.send = send  # type: ignore[method-assign]


def generation_rule() -> None:
    """Lanes are kept whatever generations were missed."""
    guarded = lanes.Lanes._take_over

    async def keep(self: Any, partitions: set[int], generation: int) -> None:
        self.generation = generation - 1
        await guarded(self, partitions, generation)

    lanes.Lanes._take_over = keep  # type: ignore[method-assign]


def frontier_hold() -> None:
    """Time passes although the inputs are not read to their end."""
    lane.Lane._passed = lambda *_: True  # type: ignore[method-assign]


def staleness_hold() -> None:
    """Time passes although payments are silent."""
    guarded = Frontier._hold

    def hold(self: Frontier, t0_ms: int) -> Any:
        held = guarded(self, t0_ms)
        return None if held == "stale_payments" else held

    Frontier._hold = hold  # type: ignore[method-assign]


def clock_hold() -> None:
    """Nobody compares the clocks."""
    Frontier.note_clock = lambda *_, **__: None  # type: ignore[method-assign]


def gap_check() -> None:
    """What retention took away is jumped over, running and at a start."""
    guarded = lanes.Lanes._open

    async def anywhere(self: Any, made: Any) -> None:
        tps = {s: TopicPartition(topic, made.partition) for topic, s in self._inputs.items()}
        begins = await self._watermarks.beginning_offsets(list(tps.values()))
        for stream, tp in tps.items():
            made.next[stream] = max(made.next.get(stream, 0), begins[tp])
        await guarded(self, made)

    async def no_look(*_: Any) -> None:
        """Whatever is missing."""

    lanes.Lanes._open = anywhere  # type: ignore[method-assign,assignment]
    lanes.Lanes._check_gaps = no_look  # type: ignore[method-assign,assignment]


def dedupe_by_facts() -> None:
    """What an event of a payment says it brought counts with every event."""
    guarded = intake.tell_payment  # type: ignore[attr-defined]

    def add(payment: Any, event: Any, at_ms: int) -> bool:
        before = payment.settled_minor
        changed: bool = guarded(payment, event, at_ms)
        if before is None or event.data.status != "paid":
            return changed
        payment.settled_minor = before + event.data.amount_minor
        return True

    intake.tell_payment = add  # type: ignore[attr-defined]


def record_isolation() -> None:
    """An exception while judging goes its way."""

    def isolate(*_: Any) -> Any:
        raise  # noqa: PLE0704 - the one that is being handled

    ledger.Ledger._isolate = isolate  # type: ignore[method-assign,assignment]


def position_checksum() -> None:
    """A restored state is believed. (For workers with one lane.)"""
    guarded, decode = takeover.restore, restore.positions.decode  # type: ignore[attr-defined]
    found: list[Any] = []

    def keep(value: bytes) -> Any:
        found[:] = [decode(value)]
        return found[0]

    async def believe(*arguments: Any) -> Any:
        try:
            return await guarded(*arguments)
        except HaltWorker as error:
            if "is damaged" not in str(error):
                raise
            return found[0]

    restore.positions.decode = keep  # type: ignore[attr-defined]
    takeover.restore = believe  # type: ignore[attr-defined,assignment]


def gate() -> None:
    """Batches that were fetched before a rebalance are applied after it."""
    guarded = lanes.Lanes.feed

    def take(self: Any, stream: Any, batch: Any, feed: Any) -> None:
        guarded(self, stream, msgspec.structs.replace(batch, epoch=self.epoch), feed)

    lanes.Lanes.feed = take  # type: ignore[method-assign]


GUARDS: dict[str, Callable[[], None]] = {
    made.__name__.replace("_", "-"): made
    for made in (
        fencing,
        init_before_read,
        high_watermark_restore,
        await_all_futures,
        generation_rule,
        frontier_hold,
        staleness_hold,
        clock_hold,
        gap_check,
        dedupe_by_facts,
        record_isolation,
        position_checksum,
        gate,
    )
}


def without(guards: Sequence[str]) -> tuple[str, str, str]:
    """The `program` of a worker without these guards."""
    assert set(guards) <= set(GUARDS), guards
    return ("-m", "tests.support.unguarded", ",".join(guards) or "nothing")


if __name__ == "__main__":
    _install()
    off = sys.argv.pop(1)
    for name in off.split(",") if off != "nothing" else ():
        GUARDS[name]()
    main()
