"""Faust fed with batches: one Faust message per topic partition and fetch.

Stock Faust spends four asyncio tasks, a lock, a queue and an ack on each record (about 1,400
events/s with a table). Here a message's value is a `Batch` of raw records, so all of that is paid
once per batch, and agents stay Faust agents: `async for batch in stream`.

This is the only file that knows aiokafka's consumer options and Faust's consumer internals. It
overrides `Consumer.getmany` (public), `Consumer._new_consumer_thread` and
`AIOKafkaConsumerThread._create_worker_consumer` (private, held by
tests/contract/test_pinned_libraries.py). It can go when Faust itself yields batches.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from msgspec import Struct

from streams.faults import RestartWorker

FETCH_WAIT_MS = 100
"""How long a broker may collect before it answers (Faust hard-codes 1500)."""

POLL_S = 0.1
"""How long to wait for records when there are none; positions are looked at as often."""

CLOSED_S = 0.02
"""How long to wait when no lane wants records."""

LEAVE_S = 5.0
"""How long leaving the group may take at the end; otherwise it finds out by the session."""

MAX_POLL_RECORDS = 8000
"""Records per fetch over all partitions: what one turn of the loop may take (about 0.1 s)."""


class Batch(Struct, frozen=True):
    """The records of one fetch from one topic partition, in their order, at least one."""

    topic: str
    partition: int
    epoch: int
    """Of the assignment they were fetched in; a batch of an older one is dropped."""
    records: Sequence[ConsumerRecord]


class Gates(Protocol):
    """What the driver asks of the lanes (`app.tables`)."""

    epoch: int

    def fetchable(self) -> set[TopicPartition]:
        """Partitions of open lanes that are not full."""
        ...

    async def handed(self, batch: Batch) -> None:
        """A batch is about to be queued for its agent."""
        ...

    async def reached(self, epoch: int, positions: dict[TopicPartition, int]) -> None:
        """All records below these offsets have been handed over."""
        ...

    def polled(self) -> None:
        """The fetch loop is alive."""
        ...

    def failed(self, error: BaseException) -> None:
        """The fetch loop ended with an error."""
        ...


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread with our own aiokafka consumer in it."""

    _lock: asyncio.Lock | None = None

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        conf = self.app.conf
        self._assignor = self.app.assignor
        return AIOKafkaConsumer(
            **self.app.options.kafka,
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            # Lanes always seek; what is gone is found by them (see Lanes.handed), not by a reset.
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            # Past this aiokafka leaves the group silently and for good: our watchdog is the judge.
            max_poll_interval_ms=86_400_000,
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            retry_backoff_ms=50,
            metadata_max_age_ms=60_000,
        )

    async def on_thread_stop(self) -> None:
        """Leaves the group if Kafka lets it; with Kafka gone aiokafka's fetcher raises here, and
        the end of the process would wait for the thread."""
        with contextlib.suppress(asyncio.CancelledError, KafkaError, OSError):
            async with asyncio.timeout(LEAVE_S):
                await super().on_thread_stop()

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """Called while an exception that ended the thread is handled. Mode would print a trace,
        and stop what needs this thread to stop."""
        del msg, fmt, kwargs
        error = sys.exc_info()[1]
        self.app.tables.failed(error or RestartWorker("the consumer's thread ended"))

    async def fetch(
        self, wanted: set[TopicPartition]
    ) -> tuple[dict[TopicPartition, list[ConsumerRecord]], dict[TopicPartition, int]]:
        """Records of the wanted partitions, and the position of each afterwards: positions also
        pass transaction markers, for which no record comes."""
        return await self.call_thread(self._fetch, wanted)  # type: ignore[no-any-return]

    async def _fetch(
        self, wanted: set[TopicPartition]
    ) -> tuple[dict[TopicPartition, list[ConsumerRecord]], dict[TopicPartition, int]]:
        consumer = self._ensure_consumer()
        # As getmany would: what ends in the background must end us, or nothing comes any more.
        consumer._coordinator.check_errors()
        if consumer._fetcher._fetch_task.done():
            consumer._fetcher._fetch_task.result()
            raise RestartWorker("aiokafka's fetcher has ended")
        subscriptions = consumer._subscription
        # Called during a reassignment, fetched_records would wait for its end, which may need us.
        if subscriptions.reassignment_in_progress or subscriptions.subscription is None:
            return {}, {}
        assignment = subscriptions.subscription.assignment
        wanted = {tp for tp in wanted if tp in assignment.tps}
        if not wanted:  # an empty set would mean: all
            return {}, {}
        async with self._one_at_a_time():
            with subscriptions.fetch_context():
                fetched = await consumer._fetcher.fetched_records(
                    wanted, timeout=POLL_S, max_records=MAX_POLL_RECORDS
                )
        if not assignment.active:
            return {}, {}
        positions = {}
        for tp in wanted:
            state = assignment.state_value(tp)
            if state is not None and state.has_valid_position:
                positions[tp] = state.position
        return fetched, positions

    async def seek_to(self, offsets: dict[TopicPartition, int]) -> None:
        """Puts the consumer where the lanes are."""
        await self.call_thread(self._seek_to, offsets)

    async def _seek_to(self, offsets: dict[TopicPartition, int]) -> None:
        consumer = self._ensure_consumer()
        # A fetch under way would move the position past what it then drops as outdated.
        async with self._one_at_a_time():
            for tp, offset in offsets.items():
                consumer.seek(tp, offset)

    def _one_at_a_time(self) -> asyncio.Lock:
        if self._lock is None:
            self._lock = asyncio.Lock()
        return self._lock

    async def commit_group(self, offsets: dict[TopicPartition, int]) -> None:
        """Group offsets, for lag dashboards only; nobody reads them back."""
        await self.call_thread(self._commit_group, offsets)

    async def _commit_group(self, offsets: dict[TopicPartition, int]) -> None:
        await self._ensure_consumer().commit(offsets)


class BatchConsumer(driver.Consumer):
    """Yields one message per topic partition and fetch."""

    _thread: BatchConsumerThread

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """See the module; `timeout` is Faust's and too long for us."""
        del timeout
        lanes: Gates = self.app.tables
        lanes.polled()
        wanted = lanes.fetchable() if self.flow_active else set()
        if not wanted:
            await asyncio.sleep(CLOSED_S)
            return
        epoch = lanes.epoch
        try:
            fetched, positions = await self._thread.fetch(wanted)
            for tp, records in fetched.items():
                if epoch != lanes.epoch or not self.flow_active:
                    return
                batch = Batch(tp.topic, tp.partition, epoch, records)
                await lanes.handed(batch)
                yield TP(tp.topic, tp.partition), self._batch_message(batch)
            await lanes.reached(epoch, positions)
        except (asyncio.CancelledError, GeneratorExit, driver.ConsumerStoppedError):
            raise
        except Exception as error:
            lanes.failed(error)
            raise

    def _batch_message(self, batch: Batch) -> ConsumerMessage:
        last = batch.records[-1]
        tp = TP(batch.topic, batch.partition)
        return ConsumerMessage(
            topic=batch.topic,
            partition=batch.partition,
            offset=last.offset,
            timestamp=last.timestamp / 1000.0,
            timestamp_type=last.timestamp_type,
            headers=None,
            key=None,
            value=batch,
            checksum=None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    def forget_read_offsets(self) -> None:
        """After a seek back: Faust drops what is below the offset it read last."""
        self._read_offset.clear()


class BatchTransport(driver.Transport):
    """Chosen by the broker URL's scheme, `hitrun://`."""

    Consumer: ClassVar[type[BatchConsumer]] = BatchConsumer
    driver_version = f"hitrun+{driver.Transport.driver_version}"
