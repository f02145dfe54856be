"""From a changelog partition back to a lane's state, up to what was committed.

Read by a consumer without a group, read_committed, up to the *high watermark*: the last stable
offset would stop short of what a transaction left open hides. Call it only after the lane's
producer was started, which completes or aborts what the former owner left; reading before that
is wrong.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from domain.ledger import Ledger
from schemas.topics import Topics
from streams import position as positions
from streams.faults import HaltWorker, RestartWorker
from streams.position import Position

REBUILD = "start from an empty state with --rebuild"

STALL_S = 60.0
"""Without progress for so long a restore is given up; the process is restarted."""


async def read_to_end(
    options: Mapping[str, Any],
    watermarks: AIOKafkaConsumer,
    tp: TopicPartition,
    take: Callable[[list[ConsumerRecord]], None],
) -> None:
    """Hands all records of a partition to `take(records)`, up to the high watermark, for which
    `watermarks`, a started read_uncommitted consumer, is asked."""
    consumer = AIOKafkaConsumer(
        **options,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=8 * 1024 * 1024,
    )
    await consumer.start()
    try:
        consumer.assign([tp])
        end: int = (await watermarks.end_offsets([tp]))[tp]
        first: int = (await consumer.beginning_offsets([tp]))[tp]
        consumer.seek(tp, first)
        moved = time.monotonic()
        at = -1
        while (position := await consumer.position(tp)) < end:
            if position > at:
                at, moved = position, time.monotonic()
            elif time.monotonic() - moved > STALL_S:
                raise RestartWorker(f"reading {tp.topic}[{tp.partition}] stands still at {at}")
            found = await consumer.getmany(tp, timeout_ms=200, max_records=5000)
            for records in found.values():
                take(records)
                await asyncio.sleep(0)
    finally:
        await consumer.stop()


async def restore(
    options: Mapping[str, Any],
    watermarks: AIOKafkaConsumer,
    topics: Topics,
    partition: int,
    ledger: Ledger,
) -> Position | None:
    """Fills the ledger; returns the position, None when the lane never had one. Raises
    HaltWorker when the state is not what the position says it is."""
    found: list[bytes] = []

    def take(records: list[ConsumerRecord]) -> None:
        entries = []
        for record in records:
            if record.key == positions.KEY:
                found[:] = [] if record.value is None else [record.value]
            else:
                entries.append((record.key, record.value))
        ledger.restore(entries)

    changelog = topics.changelog
    await read_to_end(options, watermarks, TopicPartition(changelog, partition), take)
    if not found:
        if ledger.records:
            raise HaltWorker(
                f"{changelog}[{partition}] has records but no position: it is not, or not all "
                f"of, a changelog of hitrun; {REBUILD}"
            )
        ledger.restored()
        return None
    try:
        position = positions.decode(found[0])
    except msgspec.DecodeError as error:
        why = f"unreadable position: {error}; {REBUILD}"
        raise HaltWorker(f"{changelog}[{partition}]: {why}") from error
    if position.version > positions.VERSION:
        raise HaltWorker(
            f"{changelog}[{partition}] was written by a newer hitrun (state version "
            f"{position.version}, this one reads up to {positions.VERSION}): run that one, or "
            f"{REBUILD}"
        )
    ledger.restored(frontier_ms=position.frontier.frontier_ms)
    if (ledger.count, ledger.checksum) != (position.count, position.checksum):
        raise HaltWorker(
            f"{changelog}[{partition}] is damaged: {ledger.count} records with checksum "
            f"{ledger.checksum:x}, the position says {position.count} with {position.checksum:x}; "
            f"{REBUILD}"
        )
    return position
