"""The body of `hitrun redrive`: dead letters back to their topic, once each.

How far each reason of a DLQ has been sent back is kept in Kafka, as offsets of a consumer group
per DLQ and reason, written in the transaction that sends the records. So a redrive that is killed
goes on where it was, and letters of one reason can go back while those of another wait. (Kafka
forgets the offsets of an idle group after `offsets.retention.minutes`, 7 days; letters older than
that may then be sent again, which changes nothing: the same fact twice is one fact.)
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced
from msgspec import Struct

from schemas.partition import partition_of
from schemas.record import RawRecord
from streams.faults import RestartWorker
from streams.letters import REASONS, Letter, MendFile, letter_of, read_dump, write_dump
from streams.logging import say
from streams.settings import KafkaOptions, Settings, kafka_client_options
from streams.topics_admin import TRANSACTION_TIMEOUT_MS, connected, group_offsets
from streams.topics_admin import run as run_with_kafka

SUFFIX: Final = ".dlq"
LETTERS_A_TRANSACTION: Final = 500
LARGEST_BYTES: Final = 4 * 1024 * 1024
SEND_MS: Final = 30_000


class Sent(Struct):
    """What a run did, by reason."""

    sent: Counter[str]
    before: int = 0
    """Letters of a file that had been sent back already."""


def run(
    settings: Settings,
    topic: str,
    *,
    reason: str | None,
    dry_run: bool,
    dump: Path | None,
    source: Path | None,
    out: TextIO,
) -> int:
    """Returns the exit code. `topic` is the DLQ; at most one of dry_run, dump and source."""
    target = topic.removesuffix(SUFFIX)
    if target == topic or settings.topics.stream_of(target) is None:
        known = ", ".join(map(settings.topics.dlq, settings.topics.inputs()))
        return _failed(f"{topic} is no topic of dead letters; there are {known}", code=2)
    if reason is not None and reason not in REASONS:
        return _failed(f"{reason} is no reason; there are {', '.join(REASONS)}", code=2)
    reasons = REASONS if reason is None else (reason,)
    letters = None
    if source is not None:
        try:
            letters = read_dump(source, topics=settings.topics, target=target)
        except MendFile as error:
            return _failed(str(error))
        letters = [letter for letter in letters if letter.reason in reasons]
    work = _Redrive(settings, topic, target, reasons)
    if dump is not None:
        found = run_with_kafka(work.pending(), settings)
        write_dump(dump, found)
        out.write(f"{len(found)} dead letters are in {dump}; mend them, then: --from {dump}\n")
        return 0
    if dry_run:
        counts = Counter(each.reason for each in run_with_kafka(work.pending(), settings))
        out.write(f"would send {_in_words(counts)} to {target}\n")
        return 0
    done = run_with_kafka(work.send(letters), settings)
    say("redrive.done", topic=target, sent=dict(done.sent))
    out.write(f"sent {_in_words(done.sent)} to {target}\n")
    if done.before:
        out.write(f"left out {done.before} that had been sent back before\n")
    return 0


class _Redrive:
    """One DLQ, one run."""

    def __init__(self, settings: Settings, topic: str, target: str, reasons: Sequence[str]) -> None:
        self._settings = settings
        self._options: KafkaOptions = kafka_client_options(settings)
        self._topic = topic
        self._target = target
        self._reasons = reasons

    def _group(self, reason: str) -> str:
        return f"{self._settings.group_id}-redrive-{self._topic}-{reason}"

    async def pending(self) -> list[Letter]:
        """The letters that have not been sent back, by partition and offset."""
        next_of = await self._next_offsets()
        return [letter async for batch in self._read(next_of) for letter in batch]

    async def send(self, letters: Sequence[Letter] | None) -> Sent:
        """Sends what is pending, or of these (mended) letters those that are. In slices, in
        transactions that hold the records and how far their reason is."""
        done = Sent(Counter())
        # Starting it ends what an earlier redrive of this DLQ left open, and fences one that is
        # still alive; offsets that were read before could be old.
        async with self._producer() as producer:
            next_of = await self._next_offsets()
            partitions = len(await self._partitions(self._target))
            if letters is None:
                async for batch in self._read(next_of):
                    await self._send_slice(producer, batch, next_of, partitions, done)
                return done
            fresh = [each for each in letters if self._is_pending(each, next_of)]
            done.before = len(letters) - len(fresh)
            fresh.sort(key=lambda letter: (letter.record.partition, letter.record.offset))
            for first in range(0, len(fresh), LETTERS_A_TRANSACTION):
                batch = fresh[first : first + LETTERS_A_TRANSACTION]
                await self._send_slice(producer, batch, next_of, partitions, done)
        return done

    def _is_pending(self, letter: Letter, next_of: dict[tuple[str, int], int]) -> bool:
        return letter.record.offset >= next_of.get((letter.reason, letter.record.partition), 0)

    async def _send_slice(
        self,
        producer: AIOKafkaProducer,
        letters: Sequence[Letter],
        next_of: dict[tuple[str, int], int],
        partitions: int,
        done: Sent,
    ) -> None:
        """One transaction a reason: aiokafka enlists only the first group of a transaction."""
        for reason in sorted({letter.reason for letter in letters}):
            await producer.begin_transaction()
            futures, offsets = [], {}
            for letter in letters:
                if letter.reason == reason:
                    futures.append(await self._send_one(producer, letter.record, partitions))
                    number, after = letter.record.partition, letter.record.offset + 1
                    next_of[reason, number] = max(next_of.get((reason, number), 0), after)
                    offsets[TopicPartition(self._topic, number)] = next_of[reason, number]
            for future in futures:  # all of them before the commit, which a failure won't stop
                await future
            await producer.send_offsets_to_transaction(offsets, self._group(reason))
            await producer.commit_transaction()
            done.sent[reason] += len(futures)

    async def _send_one(
        self, producer: AIOKafkaProducer, record: RawRecord, partitions: int
    ) -> asyncio.Future[Any]:
        # A record without a key (an incident) belongs to the partition it came from.
        to = record.partition if record.key is None else partition_of(record.key, partitions)
        future: asyncio.Future[Any] = await producer.send(
            self._target,
            value=record.value,
            key=record.key,
            partition=to,
            headers=list(record.headers),
        )
        return future

    # Kafka

    @contextlib.asynccontextmanager
    async def _producer(self) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(
            **self._options,
            transactional_id=f"{self._settings.group_id}-redrive-{self._topic}",
            max_request_size=LARGEST_BYTES,
            # An open transaction hides what is behind it from workers: not for long.
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            request_timeout_ms=SEND_MS,
            retry_backoff_ms=20,
        )
        await producer.start()
        try:
            yield producer
        except BaseException as error:  # Ctrl-C too
            with contextlib.suppress(KafkaError, AssertionError):
                await producer.abort_transaction()
            if not isinstance(error, ProducerFenced):
                raise
            raise RestartWorker(
                f"another redrive of {self._topic} has begun; this one ends"
            ) from None
        finally:
            with contextlib.suppress(KafkaError):
                await producer.stop()

    async def _partitions(self, topic: str) -> list[int]:
        async with connected(self._settings) as admin:
            # All of them: asked by name, a broker may make the topic that is asked for.
            all_topics = await admin.describe_topics()
        found = next((each for each in all_topics if each["topic"] == topic), None)
        if found is None or found["error_code"] != 0:
            raise ConnectionError(f"there is no topic {topic}")
        return sorted(part["partition"] for part in found["partitions"])

    async def _next_offsets(self) -> dict[tuple[str, int], int]:
        """(reason, partition of the DLQ) -> the first letter that was not sent back."""
        places = [TopicPartition(self._topic, n) for n in await self._partitions(self._topic)]
        found: dict[tuple[str, int], int] = {}
        async with connected(self._settings) as admin:
            for reason in self._reasons:
                for tp, told in (await group_offsets(admin, self._group(reason), places)).items():
                    found[reason, tp.partition] = told
        return found

    async def _read(self, next_of: dict[tuple[str, int], int]) -> AsyncIterator[list[Letter]]:
        """The pending letters up to the present end, in slices."""
        consumer = AIOKafkaConsumer(
            **self._options,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=50,
            max_partition_fetch_bytes=2 * LARGEST_BYTES,
        )
        await consumer.start()
        try:
            numbers = await self._partitions(self._topic)
            consumer.assign([TopicPartition(self._topic, number) for number in numbers])
            ends: dict[Any, int] = await consumer.end_offsets(list(consumer.assignment()))
            for tp in ends:
                first = min(next_of.get((reason, tp.partition), 0) for reason in self._reasons)
                consumer.seek(tp, first)
            while [tp for tp, end in ends.items() if await consumer.position(tp) < end]:
                batches = await consumer.getmany(timeout_ms=200, max_records=LETTERS_A_TRANSACTION)
                letters = [
                    letter_of(record, target=self._target)
                    for tp, records in batches.items()
                    for record in records
                    if record.offset < ends[tp]
                ]
                yield [
                    letter
                    for letter in letters
                    if letter.reason in self._reasons and self._is_pending(letter, next_of)
                ]
        finally:
            await consumer.stop()


def _in_words(counts: Counter[str]) -> str:
    """Such as: 3 (2 invalid, 1 key)."""
    if not counts:
        return "nothing"
    parts = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    return f"{counts.total()} ({parts})"


def _failed(why: str, *, code: int = 1) -> int:
    print(f"hitrun: {why}", file=sys.stderr)
    return code
