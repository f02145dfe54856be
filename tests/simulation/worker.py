"""One worker of the simulation: the real Lanes, Takeover, restore and Lane on the model's clients.

Only what Faust and the fetch thread do is played here: batches are fetched, queued and handed to
the agents, the group's callbacks are called. Any exception that reaches `end` ends the process.
"""

from __future__ import annotations

import asyncio
import contextvars
import types
from collections import deque
from collections.abc import Coroutine
from typing import Any, Protocol

from aiokafka import TopicPartition
from faust.types import TP

from domain.policy import Policy
from schemas.topics import STREAMS, Stream, Topics
from streams.lane import Lane
from streams.lanes import Lanes
from streams.options import WorkerOptions
from streams.replay import FEEDS
from streams.takeover import Takeover
from streams.transport import Batch
from tests.simulation.kafka import Cluster, Consumer, Killed

TOPICS = Topics()
INPUTS = TOPICS.inputs()
LANES = 2
SPINS = 20_000
"""More turns of the event loop than any step can take: it waits for something that never comes."""

running: contextvars.ContextVar[Worker] = contextvars.ContextVar("running")
"""Whose code runs: it is by this worker's clock that time is told."""


class Stalled(Exception):
    """A step of a worker neither ends nor is held up by the plan."""


class Clock:
    """In place of the module `time` in streams/."""

    @staticmethod
    def time_ns() -> int:
        return running.get().clock_ms * 1_000_000

    @staticmethod
    def monotonic() -> float:
        return running.get().cluster.now_ms / 1000


class Still(Clock):
    """No time passes: for waits that only a plan makes long."""

    @staticmethod
    def monotonic() -> float:
        return 0.0


class Watch(Protocol):
    """Who is told what the workers do."""

    generation: int
    """The group's."""

    def advanced(self, worker: Worker, lane: Lane, before_ms: int) -> None:
        """A lane moved its frontier, before anything was said because of it."""
        ...

    def rebuilding(self, partition: int) -> None:
        """A lane starts from an empty state."""
        ...

    def died(self, worker: Worker, error: BaseException) -> None:
        """A process ended by itself."""
        ...


class SimLane(Lane):
    """The real lane; its turns are taken when the plan says so."""

    def __init__(self, partition: int, **kwargs: Any) -> None:
        self.worker = running.get()
        super().__init__(partition, clock=lambda: self.worker.clock_ms, **kwargs)

    def run(self) -> Any:
        """Waits until it is cancelled."""
        return asyncio.get_running_loop().create_future()

    def _advance(self) -> None:
        before_ms = self.frontier.value_ms
        super()._advance()
        if self.frontier.value_ms > before_ms:
            self.worker.watch.advanced(self.worker, self, before_ms)

    async def empty(self, keys: Any) -> None:
        self.worker.watch.rebuilding(self.partition)
        await super().empty(keys)


class SimLanes(Lanes):
    """The real lanes of a worker; `_measure` ends after one round."""

    rounds = 0

    @property
    def should_stop(self) -> bool:
        self.rounds += 1
        return self.rounds > 1

    async def measure(self) -> None:
        self.rounds = 0
        if any(lane.open for lane in self.lanes.values()):
            await self._guard(self._measure())


class Trap:
    """Where a process will be held up, and what then becomes of it."""

    def __init__(self, point: str, skip: int, how: str) -> None:
        self.point = point
        self.skip = skip
        self.how = how


class Worker:
    """One process."""

    def __init__(
        self,
        name: int,
        cluster: Cluster,
        watch: Watch,
        policy: Policy,
        *,
        rebuild: bool,
        silence_ms: int,
        delay_ms: int,
        skew_ms: int,
        make_lanes: type[SimLanes],
    ) -> None:
        self.name = name
        self.cluster = cluster
        self.watch = watch
        self.skew_ms = skew_ms
        self.dead = False
        self.frozen = False
        self.trap: Trap | None = None
        self.stuck: list[asyncio.Future[None]] = []
        self.caught: Trap | None = None
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.generation = 0
        """The newest it was given lanes in."""
        self.at_offset: dict[TopicPartition, int] = {}
        self.queue: deque[tuple[Stream, Batch]] = deque()
        options = WorkerOptions(
            kafka={"model": self}, topics=TOPICS, policy=policy, partitions=LANES,
            cluster="model", commit_interval_s=0, transaction_timeout_ms=60_000,
            upstream_delay_ms=delay_ms, silence_ms=silence_ms, rebuild=rebuild,
            end=self.end, say=lambda *_, **__: None,
        )  # fmt: skip
        running.set(self)
        watermarks = Consumer(model=self)
        self.lanes = make_lanes(_App(self, options))
        self.lanes._watermarks = watermarks
        self.lanes._maker = Takeover(options, watermarks)

    @property
    def clock_ms(self) -> int:
        """What this process takes for the time."""
        return self.cluster.now_ms + self.skew_ms

    @property
    def able(self) -> bool:
        return not (self.dead or self.frozen)

    @property
    def belongs(self) -> bool:
        return self.generation == self.watch.generation

    # What the clients and lanes call

    async def at(self, point: str) -> None:
        if self.dead:
            raise Killed
        trap = self.trap
        while self.frozen or (trap is not None and trap.point == point):
            if trap is not None and trap.point == point:
                if trap.skip > 0:
                    trap.skip -= 1
                    break
                self.trap, self.caught = None, trap
                trap = None
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.stuck.append(future)
            await future
            if self.dead:
                raise Killed

    def end(self, error: BaseException) -> None:
        if not self.dead:
            self.dead = True
            self.watch.died(self, error)

    def seek(self, offsets: dict[TopicPartition, int]) -> None:
        self.at_offset.update(offsets)

    # What the plan does with it

    async def run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Starts something and lets it run until it is done or held up."""
        running.set(self)
        while name in self.tasks:  # the former one is still held up
            name += "+"
        self.tasks[name] = asyncio.create_task(work)
        await self.settle()

    async def settle(self) -> None:
        """Until everything is done, or waits for what the plan holds up."""
        idle = 0
        for _ in range(SPINS):
            if self.caught is not None and self.caught.how != "slow":
                return
            for task in self.tasks.values():
                if not task.done():
                    break
            else:
                break
            # Held up: others of its tasks have some turns more, to get as far as they can.
            if self.stuck:
                idle += 1
                if idle > 30:
                    break
            await asyncio.sleep(0)
        else:
            raise Stalled(f"worker {self.name}: {list(self.tasks)}")
        for name in [n for n, task in self.tasks.items() if task.done()]:
            task = self.tasks.pop(name)
            if not task.cancelled():
                task.exception()  # `end` was told of it

    def release(self) -> None:
        """What was held up goes on."""
        stuck, self.stuck = self.stuck, []
        for future in stuck:
            if not future.done():
                future.set_result(None)

    async def kill(self) -> None:
        """As kill -9."""
        self.dead = True
        self.caught = None
        self.release()
        pending = [*self.tasks.values(), *self.lanes._loops.values()]
        if self.lanes._takeover is not None:
            pending.append(self.lanes._takeover)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        self.tasks.clear()

    def fetch(self, most: int, muted: Stream | None) -> None:
        """A round of the fetch loop: see transport.getmany."""
        lanes = self.lanes
        wanted = sorted(lanes.fetchable())
        positions = {}
        self._fetched: list[Batch] = []
        for tp in wanted:
            if INPUTS[tp.topic] == muted:
                continue
            log = self.cluster.log(tp.topic, tp.partition)
            found, self.at_offset[tp] = log.fetch(self.at_offset[tp], most)
            positions[tp] = self.at_offset[tp]
            if found:
                self._fetched.append(Batch(tp.topic, tp.partition, lanes.epoch, found))
        self._positions = positions

    async def fetched(self) -> None:
        lanes = self.lanes
        epoch = lanes.epoch
        for batch in self._fetched:
            if epoch != lanes.epoch:
                return
            await lanes.handed(batch)
            self.queue.append((INPUTS[batch.topic], batch))
        await lanes.reached(epoch, self._positions)

    def deliver(self, most: int) -> None:
        """The agents take some of the batches."""
        running.set(self)
        for _ in range(min(most, len(self.queue))):
            stream, batch = self.queue.popleft()
            try:
                self.lanes.feed(stream, batch, FEEDS[stream])
            except Exception:  # noqa: BLE001 - `end` was told of it
                return

    def join(self) -> None:
        """The group rebalances: what Faust calls first."""
        running.set(self)
        self.queue.clear()
        self.lanes.on_rebalance_start()
        self.lanes.on_partitions_revoked(set())

    def given(self, partitions: set[int], generation: int) -> Coroutine[Any, Any, None]:
        """What Faust calls at the end; lasts until the takeover is over."""
        self.generation = generation
        assigned = {TP(topic, p) for p in partitions for topic in INPUTS}

        async def take_over() -> None:
            await self.lanes.on_rebalance(assigned, set(), assigned, generation)
            if self.lanes._takeover is not None:
                await asyncio.wait([self.lanes._takeover])

        return take_over()


def _nothing(*_: Any, **__: Any) -> None:
    """Some part of Faust that has nothing to do here."""


async def _nothing_later(*_: Any, **__: Any) -> None:
    """The same, awaited."""


class _App:
    """As much of a Faust app as Lanes touches."""

    def __init__(self, worker: Worker, options: WorkerOptions) -> None:
        async def seek_to(offsets: dict[TopicPartition, int]) -> None:
            await worker.at("seek")
            worker.seek(offsets)

        self.options = options
        self.should_stop = False
        self.consumer = types.SimpleNamespace(
            forget_read_offsets=_nothing,
            resume_flow=_nothing,
            _thread=types.SimpleNamespace(seek_to=seek_to),
        )
        self.flow_control = types.SimpleNamespace(resume=_nothing)
        self._fetcher = types.SimpleNamespace(maybe_start=_nothing_later)
        self.on_rebalance_complete = types.SimpleNamespace(send=_nothing_later)
        self.on_rebalance_end = _nothing


assert set(INPUTS.values()) == set(STREAMS)
