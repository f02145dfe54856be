"""All lanes of this worker: Faust's table manager, replaced.

Faust's own manager restores tables through recovery code that seeks before it clears, swallows
errors and compares generations too late. This one is set through the public setting
`TableManager` and gets the same calls. What Faust calls, in this order, is held by
tests/contract/test_pinned_libraries.py.

Revoked: at once and synchronously every gate closes; then each lane commits what it applied and
is parked. Assigned, in a task of its own so that heartbeats go on: unless the generation is the
last one + 1 nothing is kept (somebody else may have owned our lanes in between); lanes that went
elsewhere are dropped; kept lanes seek and go on; gained lanes start their producer (which fences
the former owner; reading anything before would be wrong), restore, seek, open.

Any exception here, in a fetch, a transaction or a missed deadline ends the process with one line.
There is no repair path.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Coroutine
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError
from faust.types import TP
from faust.types.tables import CollectionT, TableManagerT
from mode import Service

from schemas.topics import Stream
from streams.faults import HaltWorker, RestartWorker
from streams.lane import Feed, Lane, input_lost, wall_ms
from streams.log_ends import log_ends
from streams.loop_watch import LoopWatch
from streams.metrics import Tally
from streams.options import WorkerOptions
from streams.restore import REBUILD
from streams.takeover import Takeover
from streams.transport import Batch

DRAIN_S = 5.0
"""A lane that can't commit within this when revoked ends the process."""

WATCHDOG_S = 60.0
"""Live lanes that do not poll, or have input and do not commit, for so long end the process."""

KAFKA_GONE_S = 30.0
"""A Kafka that answers nothing for so long ends the process: longer than a broker's restart or an
election takes, shorter than the watchdog."""

IDLE_MEASURE_S = 1.0
"""How often a worker without open lanes asks whether Kafka is still there."""

GROUP_COMMIT_S = 5.0

COUNTS_MS = 1_000
"""How old our knowledge of the inputs' partition counts may be. Less than `upstream_delay`: what
went to a new partition must not be missed by a frontier that has passed it."""

GAIN_AT_ONCE = 4
"""Lanes restored side by side: most of a short restore is waiting for the broker."""


class Lanes(Service, TableManagerT):
    """See the module. Faust makes it as `app.tables`; `app.options` must be there before."""

    def __init__(self, app: Any, **kwargs: Any) -> None:
        Service.__init__(self, **kwargs)
        self.app = app
        self.data: dict[str, CollectionT] = {}
        self.actives_ready = False
        self.standbys_ready = True
        self.options: WorkerOptions = app.options
        self.lanes: dict[int, Lane] = {}
        self.epoch = 0
        self.generation = -2
        self.ready = False
        self._loops: dict[int, asyncio.Task[None]] = {}
        self._takeover: asyncio.Task[None] | None = None
        self._inputs = self.options.topics.inputs()
        self._polled_at = time.monotonic()
        self._registered = asyncio.Event()
        self._watermarks: AIOKafkaConsumer | None = None
        self._maker: Takeover
        self._held: dict[int, str | None] = {}
        self._was_ready = False
        self._loop_watch = LoopWatch(self.options.end)
        self.tally = Tally()

    def __hash__(self) -> int:
        return object.__hash__(self)

    # ------------------------------------------------------------------ what Faust calls

    def add(self, table: CollectionT) -> CollectionT:
        """One table, the read-only view."""
        self.data[table.name] = table
        return table

    @property
    def changelog_topics(self) -> set[str]:
        return {self.options.topics.changelog}

    async def on_start(self) -> None:
        for table in self.data.values():
            await table.maybe_start()
        self._watermarks = AIOKafkaConsumer(
            **self.options.kafka,
            isolation_level="read_uncommitted",
            request_timeout_ms=int(KAFKA_GONE_S * 1000),
            metadata_max_age_ms=COUNTS_MS,
        )
        await self._guard(self._watermarks.start())
        # All that is asked of it; else each look would be at all topics of the cluster.
        self._watermarks._client.set_topics([s.name for s in self.options.topics.specs()])
        self._maker = Takeover(self.options, self._watermarks)
        self._loop_watch.start()
        for work in (self._measure(), self._watchdog(), self._group_offsets()):
            self.add_future(self._guard(work))
        self._registered.set()

    async def wait_until_tables_registered(self) -> None:
        await self._registered.wait()

    async def wait_until_recovery_completed(self) -> bool:
        """False = go on starting; the first takeover does the rest."""
        return False

    def persist_offset_on_commit(self, store: Any, tp: TP, offset: int) -> None:
        raise NotImplementedError("the position is in the changelog")

    def on_commit(self, offsets: Any) -> None:
        """Faust's own commits do not exist: its topics have no acks."""

    def on_rebalance_start(self) -> None:
        """As early as it can be known (from the consumer's thread)."""
        self.actives_ready = False
        self.ready = False

    def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Synchronously: from here on nothing of the old generation is applied."""
        self.epoch += 1
        self.ready = False
        for lane in self.lanes.values():
            lane.close()
        if self._takeover is not None:
            self._takeover.cancel()
        if not self.app.should_stop:
            self.options.say("rebalance.started", lanes=len(self.lanes))

    async def drain(self, *_: Any, **__: Any) -> None:
        """Signal `app.on_partitions_revoked`: commit what is applied; lanes stay parked."""
        await self._guard(self._drain())

    async def _drain(self) -> None:
        if self._takeover is not None:
            _, unfinished = await asyncio.wait([self._takeover], timeout=DRAIN_S)
            if unfinished:
                raise RestartWorker(f"a takeover did not end within {DRAIN_S:.0f} s")
            self._takeover = None
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._stop_loops()
                await asyncio.gather(*(lane.park() for lane in self.lanes.values()))
        except TimeoutError as error:
            raise RestartWorker(f"a lane did not commit within {DRAIN_S:.0f} s") from error

    async def on_rebalance(
        self,
        assigned: set[TP],
        revoked: set[TP],
        newly_assigned: set[TP],
        generation_id: int = 0,
    ) -> None:
        """Returns at once: heartbeats wait for it, a takeover may be long."""
        partitions = {tp.partition for tp in assigned}
        for partition in partitions:
            whole = {TP(topic, partition) for topic in self._inputs}
            if not whole <= assigned:
                self.failed(
                    RestartWorker(f"got only a part of lane {partition}: workers differ in topics")
                )
        self._takeover = asyncio.create_task(
            self._guard(self._take_over(partitions, generation_id)), name="takeover"
        )

    async def on_stop(self) -> None:
        """SIGTERM: commit what is applied, close the producers."""
        self.on_partitions_revoked(set())
        await self._guard(self._drain())
        for lane in self.lanes.values():
            self.tally.take(lane)
        lanes = list(self.lanes.values())
        self.lanes.clear()
        for lane in lanes:
            await lane.producer.stop()
        await self.app._fetcher.stop()
        self._loop_watch.over()
        if self._watermarks is not None:
            await self._watermarks.stop()
        for table in self.data.values():
            await table.stop()

    # ------------------------------------------------------------------ takeover

    async def _take_over(self, partitions: set[int], generation: int) -> None:
        started = time.monotonic()
        epoch = self.epoch
        if generation != self.generation + 1:
            await self._drop(set(self.lanes))
        self.generation = generation
        await self._drop(set(self.lanes) - partitions)
        for lane in self.lanes.values():
            await self._open(lane)
        await self._resume_flow()
        some = asyncio.Semaphore(GAIN_AT_ONCE)

        async def gain(partition: int) -> None:
            async with some:
                lane = await self._maker.gain(partition)
                self.lanes[partition] = lane
                await self._open(lane)

        async with asyncio.TaskGroup() as gaining:
            for partition in sorted(partitions - set(self.lanes)):
                gaining.create_task(gain(partition))
        if epoch != self.epoch:
            return
        self.actives_ready = True
        self.ready = True
        self._maker.rebuild = False
        self.app.on_rebalance_end()
        self.tally.rebalances += 1
        self.tally.takeover_s = seconds = time.monotonic() - started
        if not self._was_ready:
            self._was_ready = True
            self.options.say("worker.ready", lanes=len(self.lanes))
        self.options.say("rebalance.done", lanes=len(self.lanes), seconds=round(seconds, 3))

    async def _resume_flow(self) -> None:
        """What Faust's recovery would do at its end; nobody else does it any more."""
        app = self.app
        app.consumer.forget_read_offsets()
        app.flow_control.resume()
        app.consumer.resume_flow()
        await app._fetcher.maybe_start()
        await app.on_rebalance_complete.send()

    async def _drop(self, partitions: set[int]) -> None:
        for partition in partitions:
            lane = self.lanes.pop(partition)
            self.tally.take(lane)
            await lane.producer.stop()
            self.options.say("partition.lost", partition=partition)

    async def _open(self, lane: Lane) -> None:
        """Seeks every input to the position and opens the gate."""
        tps = {
            stream: TopicPartition(topic, lane.partition) for topic, stream in self._inputs.items()
        }
        assert self._watermarks is not None
        begins = await self._watermarks.beginning_offsets(list(tps.values()))
        ends = await self._watermarks.end_offsets(list(tps.values()))
        offsets: dict[TopicPartition, int] = {}
        for stream, tp in tps.items():
            at = lane.next.setdefault(stream, begins[tp])
            if not begins[tp] <= at <= ends[tp]:
                why = f"holds offsets {begins[tp]} to {ends[tp]}, the position is {at}; {REBUILD}"
                raise input_lost(tp.topic, tp.partition, at, why)
            offsets[tp] = at
        await self.app.consumer._thread.seek_to(offsets)
        lane.open = True
        self._loops[lane.partition] = asyncio.create_task(
            self._guard(lane.run()), name=f"lane-{lane.partition}"
        )

    async def _stop_loops(self) -> None:
        """Lane loops end between transactions: `park` waits for the lock of the one under way."""
        loops, self._loops = self._loops, {}
        for partition, loop in loops.items():
            lane = self.lanes.get(partition)
            if lane is not None:
                async with lane._committing:
                    loop.cancel()
            else:
                loop.cancel()

    # ------------------------------------------------------------------ what the driver calls

    def fetchable(self) -> set[TopicPartition]:
        """See transport.Gates."""
        return {
            TopicPartition(topic, lane.partition)
            for lane in self.lanes.values()
            if lane.open and not lane.full
            for topic in self._inputs
        }

    async def handed(self, batch: Batch) -> None:
        """Notes a batch that is on its way; looks into a gap in the offsets: markers and
        compaction leave some, but aiokafka also jumps over what retention took away."""
        lane = self.lanes.get(batch.partition)
        if lane is None or not lane.open:
            return
        stream = self._inputs[batch.topic]
        await self._check_gaps(
            {TopicPartition(batch.topic, batch.partition): batch.records[0].offset}
        )
        if batch.epoch == self.epoch:  # else it was closed meanwhile
            lane.seen[stream] = batch.records[-1].offset + 1
            lane.handed(stream)

    async def _check_gaps(self, offsets: dict[TopicPartition, int]) -> None:
        """Each input goes on at this offset. Raises HaltWorker if what is jumped over is gone."""
        epoch, jumps = self.epoch, {}
        for tp, offset in offsets.items():
            lane, stream = self.lanes.get(tp.partition), self._inputs[tp.topic]
            if lane is not None and lane.open:
                expected = lane.seen.get(stream, lane.next[stream])
                if offset > expected:
                    jumps[tp] = expected
        if not jumps:
            return
        assert self._watermarks is not None
        begins = await self._watermarks.beginning_offsets(list(jumps))
        for tp, expected in jumps.items():
            if begins[tp] > expected and epoch == self.epoch:
                why = f"begins at {begins[tp]}, after the position {expected}; {REBUILD}"
                raise input_lost(tp.topic, tp.partition, expected, why)

    async def reached(self, epoch: int, positions: dict[TopicPartition, int]) -> None:
        """See transport.Gates. Positions are looked at as well: no record may follow what is
        gone."""
        if epoch != self.epoch:
            return
        await self._check_gaps(positions)
        if epoch != self.epoch:
            return
        for tp, offset in positions.items():
            lane, stream = self.lanes.get(tp.partition), self._inputs[tp.topic]
            if lane is not None and lane.open:
                lane.seen[stream] = offset
                lane.at(stream, offset)

    def polled(self) -> None:
        """See transport.Gates."""
        self._polled_at = time.monotonic()

    def feed(self, stream: Stream, batch: Batch, feed: Feed) -> None:
        """What the agents do with a batch."""
        lane = self.lanes.get(batch.partition)
        if lane is None or not lane.open or batch.epoch != self.epoch:
            return
        try:
            lane.feed(stream, batch.records, feed)
        except BaseException as error:
            self.failed(error)
            raise

    # ------------------------------------------------------------------ time

    async def _measure(self) -> None:
        """Reads how far the inputs have grown, for all lanes at once."""
        changelog = TopicPartition(self.options.topics.changelog, 0)
        assert self._watermarks is not None
        while not self.should_stop:
            await asyncio.sleep(self.options.commit_interval_s)
            lanes = [lane for lane in self.lanes.values() if lane.open]
            if not lanes:
                await asyncio.sleep(IDLE_MEASURE_S)
                # Only to hear from Kafka.
                await self._answered(self._watermarks.end_offsets([changelog]))
                continue
            epoch, t0_ms = self.epoch, wall_ms()
            tps = {
                TopicPartition(topic, lane.partition): (lane, stream)
                for lane in lanes
                for topic, stream in self._inputs.items()
            }
            applied = {lane.partition: dict(lane.next) for lane in lanes}
            ends: dict[int, dict[Stream, int]] = {lane.partition: {} for lane in lanes}
            for tp, end in (await self._answered(log_ends(self._watermarks, list(tps)))).items():
                lane, stream = tps[tp]
                ends[lane.partition][stream] = end
            if epoch != self.epoch:
                continue
            self._check_counts()
            for lane in lanes:
                if lane.open and len(ends[lane.partition]) == len(self._inputs):
                    lane.mark(t0_ms, ends[lane.partition], applied[lane.partition])
                    self._tell_hold(lane)

    def _check_counts(self) -> None:
        """Raises HaltWorker when an input has other partitions than it had at the start: nobody
        reads the new ones, and who has paid there would be judged. The group learns it late."""
        assert self._watermarks is not None
        for topic in self._inputs:
            found = self._watermarks.partitions_for_topic(topic)
            if found and len(found) != self.options.partitions:
                raise HaltWorker(
                    f"{topic} has {len(found)} partitions now, and had {self.options.partitions}: "
                    "make new topics and a new group, see docs/repartition.md"
                )

    async def _answered(
        self, question: Awaitable[dict[TopicPartition, int]]
    ) -> dict[TopicPartition, int]:
        """Raises RestartWorker when Kafka is gone: nothing else would notice, the clients try
        again for ever."""
        try:
            return await question
        except KafkaTimeoutError as error:
            raise RestartWorker(
                f"Kafka at {self.options.kafka['bootstrap_servers']} has not answered for "
                f"{KAFKA_GONE_S:.0f} s"
            ) from error

    def _tell_hold(self, lane: Lane) -> None:
        held = lane.frontier.held
        if held != self._held.get(lane.partition):
            self._held[lane.partition] = held
            event = "frontier.released" if held is None else "frontier.held"
            self.options.say(event, partition=lane.partition, reason=held)

    async def _watchdog(self) -> None:
        while not self.should_stop:
            await asyncio.sleep(5.0)
            self._loop_watch.beat()
            now = time.monotonic()
            lanes = [lane for lane in self.lanes.values() if lane.open]
            if lanes and now - self._polled_at > WATCHDOG_S:
                self.options.say("watchdog.expired", waits_for="polling")
                raise RestartWorker(f"has not polled for {WATCHDOG_S:.0f} s")
            for lane in lanes:
                if lane.waiting and now - lane.committed_at > WATCHDOG_S:
                    self.options.say(
                        "watchdog.expired", waits_for="a commit", partition=lane.partition
                    )
                    raise RestartWorker(
                        f"lane {lane.partition} has input and has not committed for "
                        f"{WATCHDOG_S:.0f} s"
                    )

    async def _group_offsets(self) -> None:
        """For dashboards and autoscalers only; a failure is nobody's loss."""
        while not self.should_stop:
            await asyncio.sleep(GROUP_COMMIT_S)
            offsets = {
                TopicPartition(self.options.topics.name(stream), lane.partition): offset
                for lane in self.lanes.values()
                if lane.open
                for stream, offset in lane.position.next.items()
            }
            if offsets and self.ready:
                try:
                    await self.app.consumer._thread.commit_group(offsets)
                except Exception as error:  # noqa: BLE001 - see above
                    self.options.say("group.commit_failed", error=repr(error))

    # ------------------------------------------------------------------ ends

    def failed(self, error: BaseException) -> None:
        """Ends the process; see the module."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        self.options.end(error)

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.failed(error)
            raise
