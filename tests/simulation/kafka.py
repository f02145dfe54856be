"""A Kafka in memory, as far as lanes can tell: logs with append times, transactions with markers,
fencing by epoch, high watermark and last stable offset, compaction.

`Producer` and `Consumer` stand in for aiokafka's. Every call of theirs passes `Host.at(point)`,
where a plan may hold its process up or end it. Markers may come late, so that a transaction that
is decided is not yet readable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from aiokafka import TopicPartition
from msgspec import Struct

APPENDED, CREATED = 1, 0
"""timestamp_type: LogAppendTime, CreateTime."""


class Fenced(Exception):
    """Somebody else took this transactional id over."""

    def __init__(self, transactional_id: str, why: str) -> None:
        super().__init__(f"{transactional_id}: {why}")
        self.transactional_id = transactional_id


class Killed(Exception):
    """This process is gone; whatever it still tries has no effect."""


class Host(Protocol):
    """The process a client belongs to."""

    cluster: Cluster

    @property
    def belongs(self) -> bool:
        """Whether the group's newest generation is the one it works for."""
        ...

    async def at(self, point: str) -> None:
        """The process is about to do this; it may be held up here, or end (Killed)."""
        ...


class Logged(Struct):
    """One record of a log, as aiokafka would hand it over."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    txn: Transaction | None
    broker_ms: int
    """When it really was appended, whatever its timestamp says."""

    @property
    def readable(self) -> bool:
        return self.txn is None or self.txn.committed is True


class Transaction:
    """`committed` is None while it is open."""

    __slots__ = ("committed", "logs")

    def __init__(self) -> None:
        self.committed: bool | None = None
        self.logs: list[Log] = []


class Log:
    """One partition. An offset without a record is a marker, or was compacted away."""

    __slots__ = ("entries", "tp", "unmarked")

    def __init__(self, tp: TopicPartition) -> None:
        self.tp = tp
        self.entries: list[Logged | None] = []
        self.unmarked: dict[Transaction, int] = {}

    @property
    def end(self) -> int:
        """The high watermark."""
        return len(self.entries)

    @property
    def stable(self) -> int:
        """The last stable offset: nobody reads past it with read_committed."""
        return min(self.unmarked.values(), default=len(self.entries))

    def readable(self, start: int = 0) -> list[Logged]:
        """All that read_committed readers see from `start` on."""
        return [e for e in self.entries[start : self.stable] if e is not None and e.readable]

    def fetch(self, start: int, most: int) -> tuple[list[Logged], int]:
        """Up to `most` records, and the position afterwards, which passes markers as well."""
        found: list[Logged] = []
        at = start
        for entry in self.entries[start : self.stable]:
            if entry is not None and entry.readable:
                if len(found) == most:
                    return found, at
                found.append(entry)
            at += 1
        return found, at

    def compact(self) -> None:
        """Keeps the newest readable record of each key, below the last stable offset."""
        newest: dict[bytes | None, int] = {}
        stable = self.stable
        for at, entry in enumerate(self.entries[:stable]):
            if entry is not None and entry.readable:
                newest[entry.key] = at
        keep = set(newest.values())
        for at in range(stable):
            if at not in keep:
                self.entries[at] = None


class Cluster:
    """All logs, all transactional ids, the broker's clock."""

    def __init__(self, *, start_ms: int, appended: Sequence[str], late_markers: bool) -> None:
        self.now_ms = start_ms
        self.logs: dict[tuple[str, int], Log] = {}
        self.late_markers = late_markers
        self.fencing = True
        self._appended = frozenset(appended)
        self.rightly: dict[str, bool] = {}
        """Whether who took a transactional id over last did so as a member of the group."""
        self._epochs: dict[str, int] = {}
        self._open: dict[str, Transaction] = {}
        self._decided: list[Transaction] = []

    def log(self, topic: str, partition: int) -> Log:
        place = (topic, partition)
        log = self.logs.get(place)
        if log is None:
            log = self.logs[place] = Log(TopicPartition(topic, partition))
        return log

    def append(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        *,
        created_ms: int | None = None,
        txn: Transaction | None = None,
    ) -> Logged:
        log = self.log(topic, partition)
        kind = APPENDED if created_ms is None or topic in self._appended else CREATED
        at_ms = self.now_ms if kind == APPENDED or created_ms is None else created_ms
        entry = Logged(
            topic, partition, log.end, at_ms, kind, key, value, tuple(headers), txn, self.now_ms
        )
        if txn is not None and log not in txn.logs:
            txn.logs.append(log)
            log.unmarked[txn] = log.end
        log.entries.append(entry)
        return entry

    def decide(self, txn: Transaction, *, commit: bool) -> None:
        """Commits or aborts; readable once its markers are written."""
        txn.committed = commit
        self._decided.append(txn)
        if not self.late_markers:
            self.write_markers()

    def write_markers(self) -> None:
        for txn in self._decided:
            for log in txn.logs:
                del log.unmarked[txn]
                log.entries.append(None)
        self._decided.clear()

    def relieve(self, log: Log) -> None:
        """A reader waits at the last stable offset: markers come, and what nobody goes on with
        runs into its time-out."""
        self.write_markers()
        for txn in list(log.unmarked):
            self.decide(txn, commit=False)
        self.write_markers()

    # Transactional ids

    def init(self, transactional_id: str, *, rightly: bool = True) -> int:
        """InitProducerId: fences the former owner, aborts what it left open. Its markers, and
        those of what it had committed, may come later."""
        epoch = self._epochs.get(transactional_id, 0) + 1
        self._epochs[transactional_id] = epoch
        self.rightly[transactional_id] = rightly
        if self.fencing:
            txn = self._open.pop(transactional_id, None)
            if txn is not None and txn.committed is None:
                self.decide(txn, commit=False)
        return epoch

    def begin(self, transactional_id: str, epoch: int) -> Transaction:
        self._check(transactional_id, epoch)
        txn = self._open[transactional_id] = Transaction()
        return txn

    def send(
        self, transactional_id: str, epoch: int, txn: Transaction, batch: Batch, tp: TopicPartition
    ) -> Metadata:
        self._check(transactional_id, epoch)
        if txn.committed is not None:
            raise Fenced(transactional_id, "the transaction ran into its time-out")
        last: Logged | None = None
        for created_ms, key, value, headers in batch.records:
            last = self.append(
                tp.topic, tp.partition, key, value, headers, created_ms=created_ms, txn=txn
            )
        assert last is not None
        return Metadata(last.timestamp, last.timestamp_type)

    def commit(self, transactional_id: str, epoch: int, txn: Transaction) -> None:
        self._check(transactional_id, epoch)
        if txn.committed is not None:
            raise Fenced(transactional_id, "the transaction ran into its time-out")
        self._open.pop(transactional_id, None)
        self.decide(txn, commit=True)

    def _check(self, transactional_id: str, epoch: int) -> None:
        if self.fencing and self._epochs[transactional_id] != epoch:
            raise Fenced(transactional_id, f"epoch {epoch}")


class Metadata(Struct):
    """What a producer hears of a batch it sent."""

    timestamp: int
    timestamp_type: int


class Batch:
    """aiokafka's batch builder."""

    __slots__ = ("records",)

    def __init__(self) -> None:
        self.records: list[tuple[int, bytes | None, bytes | None, Sequence[tuple[str, bytes]]]] = []

    def append(
        self,
        *,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> bool:
        self.records.append((timestamp, key, value, headers))
        return True

    def close(self) -> None:
        """Nothing is kept back."""


class Producer:
    """In place of aiokafka's transactional producer."""

    def __init__(self, *, model: Host, transactional_id: str, **_: Any) -> None:
        self._host = model
        self._id = transactional_id
        self._epoch = 0
        self._txn: Transaction | None = None

    async def start(self) -> None:
        await self._host.at("init")
        self._epoch = self._host.cluster.init(self._id, rightly=self._host.belongs)
        await self._host.at("inited")

    async def stop(self) -> None:
        """Leaves what is open for the next owner, as a process that ends does."""

    def create_batch(self) -> Batch:
        return Batch()

    async def begin_transaction(self) -> None:
        await self._host.at("begin")
        self._txn = None

    async def send_batch(
        self, batch: Batch, topic: str, *, partition: int
    ) -> asyncio.Future[Metadata]:
        await self._host.at("send")
        cluster = self._host.cluster
        if self._txn is None:  # as in Kafka, the broker hears of it with its first batch
            self._txn = cluster.begin(self._id, self._epoch)
        done = cluster.send(
            self._id, self._epoch, self._txn, batch, TopicPartition(topic, partition)
        )
        future: asyncio.Future[Metadata] = asyncio.get_running_loop().create_future()
        future.set_result(done)
        return future

    async def commit_transaction(self) -> None:
        await self._host.at("commit")
        assert self._txn is not None
        self._host.cluster.commit(self._id, self._epoch, self._txn)
        await self._host.at("committed")


class Consumer:
    """In place of aiokafka's consumer without a group."""

    def __init__(self, *, model: Host, **_: Any) -> None:
        self._host = model
        self._at: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        """Ready at once."""

    async def stop(self) -> None:
        """Nothing to let go of."""

    def assign(self, tps: Sequence[TopicPartition]) -> None:
        self._at = dict.fromkeys(tps, 0)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._at[tp] = offset

    async def position(self, tp: TopicPartition) -> int:
        return self._at[tp]

    def partitions_for_topic(self, _: str) -> set[int] | None:
        """Their number never changes here."""
        return None

    async def beginning_offsets(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, 0)

    async def end_offsets(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """High watermarks: it is a read_uncommitted consumer that asks."""
        await self._host.at("ends")
        cluster = self._host.cluster
        return {tp: cluster.log(tp.topic, tp.partition).end for tp in tps}

    async def getmany(
        self, tp: TopicPartition, *, timeout_ms: int, max_records: int
    ) -> dict[TopicPartition, list[Logged]]:
        del timeout_ms
        await self._host.at("read")
        cluster = self._host.cluster
        log = cluster.log(tp.topic, tp.partition)
        at = self._at[tp]
        found, self._at[tp] = log.fetch(at, max_records)
        if not found and self._at[tp] == at < log.end:
            cluster.relieve(log)
        return {tp: found} if found else {}
