"""Taking a lane over: fence its former owner, then read what was committed.

In this order and no other: starting the transactional producer (InitProducerId) fences the former
owner and completes or aborts what it left open; anything read before that may still change.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from domain.frontier import Frontier
from domain.ledger import Ledger
from schemas.topics import Announced
from streams.acls import ANNOUNCED
from streams.faults import HaltWorker, RestartWorker
from streams.lane import BATCH_BYTES, Lane
from streams.options import WorkerOptions
from streams.position import Position
from streams.restore import REBUILD, read_to_end, restore

START_S = 60.0
"""InitProducerId is tried again for ever; a coordinator that does not come ends the process."""


class Takeover:
    """Makes lanes; one per worker, because a rebuild happens once per process and partition."""

    def __init__(self, options: WorkerOptions, watermarks: AIOKafkaConsumer) -> None:
        """`watermarks` is a started read_uncommitted consumer without a group."""
        self.options = options
        self._watermarks = watermarks
        self._inputs = options.topics.inputs()
        self._rebuilt: set[int] = set()
        self.rebuild = options.rebuild
        """Until the worker is ready for the first time: a lane that comes to it days later has a
        state, and inputs may not reach back that far any more."""

    async def gain(self, partition: int) -> Lane:
        """A lane of our own, restored and closed. Raises HaltWorker when its state can't be
        trusted."""
        o = self.options
        started = time.monotonic()
        producer = AIOKafkaProducer(
            **o.kafka,
            transactional_id=f"{o.topics.group}-{partition}",
            transaction_timeout_ms=o.transaction_timeout_ms,
            max_batch_size=BATCH_BYTES,
            max_request_size=8 * 1024 * 1024,
            linger_ms=0,
            retry_backoff_ms=10,  # also the wait after CONCURRENT_TRANSACTIONS
            acks="all",
        )
        try:
            async with asyncio.timeout(START_S):
                await producer.start()  # InitProducerId: see the module
            o.say("partition.gained", partition=partition)
            ledger = Ledger(policy=o.policy, partition=partition, partitions=o.partitions)
            rebuild = self.rebuild and partition not in self._rebuilt
            if rebuild:
                former = await self._former_keys(partition)
                await self._seed(partition, ledger)
                position = self._beginning()
            else:
                position = await self._state(partition, ledger)
            lane = Lane(
                partition,
                ledger=ledger,
                frontier=Frontier(
                    upstream_delay_ms=o.upstream_delay_ms,
                    silence_ms=o.silence_ms,
                    state=position.frontier,
                ),
                position=position,
                producer=producer,
                topics=o.topics,
                commit_interval_s=o.commit_interval_s,
            )
            if rebuild:
                await lane.empty(former)
                self._rebuilt.add(partition)
                o.say("partition.rebuilt", partition=partition)
            self._accept(lane)
            lane.check_letters()
        except BaseException as error:
            await producer.stop()
            if isinstance(error, TimeoutError):
                raise RestartWorker(
                    f"lane {partition}: no producer within {START_S:.0f} s"
                ) from error
            raise
        o.say(
            "partition.recovered",
            partition=partition,
            customers=ledger.count,
            seconds=round(time.monotonic() - started, 3),
        )
        return lane

    def _accept(self, lane: Lane) -> None:
        """What a person let pass does not count again. With every takeover, so that it holds for
        lanes that come later; the count that follows is of new records."""
        for topic in self.options.accept_dead_letters:
            stream = self._inputs[topic]
            if (letters := lane.letters[stream]).broken:
                self.options.say(
                    "dead_letters.accepted",
                    topic=topic,
                    partition=lane.partition,
                    dead=letters.dead,
                    misplaced=letters.misplaced,
                )
            lane.accept_letters(stream)

    async def _state(self, partition: int, ledger: Ledger) -> Position:
        o = self.options
        position = await restore(o.kafka, self._watermarks, o.topics, partition, ledger)
        if position is None:
            if partition in o.committed:
                raise HaltWorker(
                    f"group {o.topics.group} has read partition {partition} before, but "
                    f"{o.topics.changelog}[{partition}] has no position: the state is lost; "
                    f"{REBUILD}"
                )
            await self._seed(partition, ledger)
            return self._beginning()
        if position.cluster != o.cluster:
            raise HaltWorker(
                f"the state of lane {partition} belongs to cluster {position.cluster}, this is "
                f"{o.cluster}: offsets of one mean nothing in another; {REBUILD}"
            )
        if position.partitions != o.partitions:
            raise HaltWorker(
                f"the inputs have {o.partitions} partitions, the state was made for "
                f"{position.partitions}: make new topics and a new group"
            )
        if position.policy != o.policy.version:
            o.say(
                "policy.changed",
                partition=partition,
                former=position.policy,
                policy=o.policy.version,
            )
            ledger.rejudge_all()
        return position

    def _beginning(self) -> Position:
        o = self.options
        return Position(policy=o.policy.version, cluster=o.cluster, partitions=o.partitions)

    async def _former_keys(self, partition: int) -> list[bytes]:
        """All live keys of the changelog, whatever its state."""
        live: set[bytes] = set()

        def take(records: list[Any]) -> None:
            for record in records:
                if record.value is None:
                    live.discard(record.key)
                elif record.key is not None:
                    live.add(record.key)

        changelog = TopicPartition(self.options.topics.changelog, partition)
        await self._read(changelog, take)
        return sorted(live)

    async def _seed(self, partition: int, ledger: Ledger) -> None:
        """An empty state takes what was announced before as announced."""
        topics = self.options.topics

        def take(role: Announced) -> Callable[[list[Any]], None]:
            def seed(records: list[Any]) -> None:
                for record in records:
                    if record.key is not None:
                        ledger.seed(role, record.key, record.value, record.timestamp)

            return seed

        for role in ANNOUNCED:
            await self._read(TopicPartition(topics.name(role), partition), take(role))

    async def _read(self, tp: TopicPartition, take: Callable[[list[Any]], None]) -> None:
        await read_to_end(self.options.kafka, self._watermarks, tp, take)
