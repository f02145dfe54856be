"""One simulated world: plays a plan, brings it to an end, and says what is wrong with it."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest import mock

import uvloop

from domain import ledger as ledgers
from domain.intake import tell
from domain.judge import judge
from domain.policy import Policy
from schemas.topics import Stream
from streams import lane as lane_module
from streams import lanes as lanes_module
from streams import restore as restore_module
from streams import takeover as takeover_module
from streams.lane import Lane
from tests.simulation import checks, faults
from tests.simulation.checks import HONEST_SKEW_MS, Violation
from tests.simulation.kafka import Cluster, Consumer, Fenced, Killed, Producer, Transaction
from tests.simulation.plan import POLICIES, POLICY, Plan, Step
from tests.simulation.worker import (
    INPUTS,
    LANES,
    TOPICS,
    Clock,
    SimLane,
    SimLanes,
    Still,
    Trap,
    Worker,
)
from tests.support import builders
from tests.support.dumps import verify_records
from tests.support.reading import DAY, HOUR, MINUTE, murmur2, policy_from
from tests.support.real import policy_of

WORKERS = 2
LATEST_VERDICT = 40 * MINUTE
"""From any event to the last thing that falls due because of it."""


@contextlib.contextmanager
def model_of_kafka() -> Iterator[None]:
    """streams/ meets the model instead of aiokafka and the clock."""
    patches: list[tuple[Any, str, Any]] = [
        (lane_module, "time", Clock),
        (lanes_module, "time", Clock),
        (takeover_module, "time", Clock),
        (restore_module, "time", Still),
        (restore_module, "AIOKafkaConsumer", Consumer),
        (lanes_module, "log_ends", Consumer.end_offsets),
        (takeover_module, "AIOKafkaProducer", Producer),
        (takeover_module, "Lane", SimLane),
        (lane_module, "say", lambda *_, **__: None),
        (ledgers, "judge", faults.failing_judge(judge)),
        (ledgers, "tell", faults.failing_tell(tell)),
    ]
    with contextlib.ExitStack() as stack:
        for place, name, value in patches:
            stack.enter_context(mock.patch.object(place, name, value))
        yield


def beat_names() -> list[str]:
    """For each lane a customer that lives there."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < LANES:
        name = f"beat{number}"
        found.setdefault(murmur2(name.encode()) % LANES, name)
        number += 1
    return [found[lane] for lane in range(LANES)]


BEATS = beat_names()


class World:
    """Make one per plan; `await play()` raises Violation."""

    def __init__(
        self,
        plan: Plan,
        *,
        fencing: bool = True,
        watching: bool = True,
        trace: bool = False,
        make_lanes: type[SimLanes] = SimLanes,
    ) -> None:
        """`watching`: whether time is looked at on every move, or only what is said in the end."""
        self.plan = plan
        self.watching = watching
        self.make_lanes = make_lanes
        self.found: Violation | None = None
        self.trace = trace
        self.policies: list[Policy] = [policy_of(text) for text in POLICIES]
        self.policy = 0
        self.policy_changed = False
        self.cluster = Cluster(
            start_ms=plan.start_ms,
            appended=[*INPUTS, TOPICS.changelog],
            late_markers=plan.late_markers,
        )
        self.cluster.fencing = fencing
        self.workers: list[Worker] = []
        self.skews = [0] * WORKERS
        self.largest_skew = 0
        self.wrong_clocks = False
        self.generation = 0
        self.upstream: dict[int, Transaction] = {}
        self.rebuilds: Counter[int] = Counter()
        self.ending = False
        self.counted: Counter[str] = Counter()

    # ------------------------------------------------------------------ the plan

    async def play(self) -> Counter[str]:
        """Returns what happened, counted."""
        with mock.patch.object(lane_module, "SLICE", self.plan.slice):
            try:
                self.workers = [self.worker(name) for name in range(WORKERS)]
                await self.do_rebalance(1)
                for step in self.plan.steps:
                    await self.step(step)
                await self.end()
                self.verify()
            finally:
                for worker in self.workers:
                    await worker.kill()
        return self.counted

    async def step(self, step: Step) -> None:
        at_ms, what, *args = step
        self.cluster.now_ms = max(self.cluster.now_ms, self.plan.start_ms + at_ms)
        if self.trace:
            print(self.cluster.now_ms - self.plan.start_ms, what, *args)
        done = getattr(self, f"do_{what}")(*args)
        if done is not None:
            await done
        self.counted[what] += 1

    def worker(self, name: int, *, rebuild: bool = False) -> Worker:
        return Worker(
            name, self.cluster, self, self.policies[self.policy], rebuild=rebuild,
            silence_ms=self.plan.silence_ms, delay_ms=self.plan.delay_ms,
            skew_ms=self.skews[name], make_lanes=self.make_lanes,
        )  # fmt: skip

    def do_append(
        self, role: Stream, partition: int, key: str | None, value: str | None,
        headers: list[list[str]], txn: int | None,
    ) -> None:  # fmt: skip
        """A record of a producer upstream; texts are latin-1, so that any bytes can be said."""
        upstream = None
        if txn is not None:
            upstream = self.upstream.setdefault(txn, Transaction())
        self.cluster.append(
            TOPICS.name(role),
            partition,
            None if key is None else key.encode("latin-1"),
            None if value is None else value.encode("latin-1"),
            [(name, content.encode("latin-1")) for name, content in headers],
            txn=upstream,
        )

    def do_decide(self, txn: int, commit: bool) -> None:
        """An upstream transaction ends."""
        upstream = self.upstream.pop(txn, None)
        if upstream is not None:
            self.cluster.decide(upstream, commit=commit)

    def do_markers(self) -> None:
        self.cluster.write_markers()

    def do_compact(self, lane: int) -> None:
        self.cluster.log(TOPICS.changelog, lane).compact()

    def do_policy(self, number: int) -> None:
        """For workers started from now on."""
        self.policy_changed = self.policy_changed or number != self.policy
        self.policy = number

    def do_skew(self, name: int, skew_ms: int) -> None:
        """A worker's clock is off by so much from now on."""
        self.skews[name] = self.workers[name].skew_ms = skew_ms
        if abs(skew_ms) <= HONEST_SKEW_MS:
            self.largest_skew = max(self.largest_skew, abs(skew_ms))
        else:
            self.wrong_clocks = True

    def do_trap(self, name: int, point: str, skip: int, how: str) -> None:
        """At this point the worker is held up (slow), frozen, or killed."""
        self.workers[name].trap = Trap(point, skip, how)

    async def do_work(self, name: int, ops: str, most: int, muted: Stream | None) -> None:
        """f: a fetch; d: the agents take it; m: how far the inputs have grown; t: lanes' turns."""
        worker = self.workers[name]
        for op in ops:
            if not worker.able:
                return
            if op == "f" and "fetch" not in worker.tasks:
                worker.fetch(most, muted)
                await self.run(worker, "fetch", worker.fetched())
            elif op == "d":
                worker.deliver(most)
                await self.sprung(worker)
            elif op == "m" and "measure" not in worker.tasks:
                await self.run(worker, "measure", worker.lanes.measure())
            elif op == "t":
                for partition, lane in sorted(worker.lanes.lanes.items()):
                    name_ = f"turn-{partition}"
                    there = not (worker.dead or worker.frozen)
                    if there and lane.open and name_ not in worker.tasks:
                        await self.run(worker, name_, worker.lanes._guard(lane.turn()))

    async def do_thaw(self, name: int) -> None:
        """What was held up or frozen goes on."""
        worker = self.workers[name]
        if worker.dead or not (worker.stuck or worker.frozen):
            return
        worker.frozen = False
        worker.release()
        await self.settle(worker)

    async def do_kill(self, name: int) -> None:
        await self.workers[name].kill()

    async def do_start(self, name: int, code: int) -> None:
        """Starts a worker that is not there; it joins the group."""
        if self.workers[name].dead:
            await self.workers[name].kill()
            self.workers[name] = self.worker(name)
            await self.do_rebalance(code)

    async def do_rebuild(self, code: int) -> None:
        """All workers are started again with --rebuild."""
        for name, worker in enumerate(self.workers):
            await worker.kill()
            self.workers[name] = self.worker(name, rebuild=True)
        await self.do_rebalance(code)

    async def do_rebalance(self, code: int) -> None:
        """Whoever is able is in the group afterwards; the bits of `code` deal the lanes out."""
        members = [w for w in self.workers if w.able]
        for worker in members:
            if any(name.startswith(("turn", "drain")) for name in worker.tasks):
                await self.do_thaw(worker.name)
            if worker.able:
                worker.join()
                await self.run(worker, "drain", worker.lanes.drain())
        members = [w for w in members if w.able and "drain" not in w.tasks]
        self.generation += 1
        shares: dict[int, set[int]] = {w.name: set() for w in members}
        for lane in range(LANES if members else 0):
            shares[members[(code >> lane) % len(members)].name].add(lane)
        for worker in members:
            work = worker.given(shares[worker.name], self.generation)
            await self.run(worker, "takeover", work)

    async def run(self, worker: Worker, name: str, work: Any) -> None:
        await worker.run(name, work)
        await self.sprung(worker)

    async def settle(self, worker: Worker) -> None:
        await worker.settle()
        await self.sprung(worker)

    async def sprung(self, worker: Worker) -> None:
        """A trap of the plan caught somebody, or a check did."""
        if self.found is not None:
            raise self.found
        trap, worker.caught = worker.caught, None
        if trap is None:
            return
        self.counted[f"{trap.how} at {trap.point}"] += 1
        if trap.how == "kill":
            await worker.kill()
        elif trap.how == "freeze":
            worker.frozen = True

    # ------------------------------------------------------------------ the end

    async def end(self) -> None:
        """Everybody is there again, clocks are right, producers tell the rest; all falls due."""
        self.ending = True
        for txn in list(self.upstream):
            self.do_decide(txn, True)
        for worker in self.workers:
            worker.trap = None
            self.do_skew(worker.name, 0)
            await self.do_thaw(worker.name)
            await self.do_work(worker.name, "fdmt", 100, None)
        self.cluster.write_markers()
        for name, worker in enumerate(self.workers):
            if worker.dead:
                await worker.kill()
                self.workers[name] = self.worker(name)
        await self.do_rebalance(1)
        await self.do_rebalance(2)
        leaps = [0, MINUTE, 3 * MINUTE, 10 * MINUTE, LATEST_VERDICT, MINUTE]
        for number, leap in enumerate(leaps + ([40 * DAY, HOUR] if self.plan.forgets else [])):
            self.cluster.now_ms += leap
            for lane, customer in enumerate(BEATS):
                beat = builders.payment(
                    f"beat{number}", customer=customer, at=self.cluster.now_ms, status="pending"
                )
                text = builders.encode(beat).decode("latin-1")
                self.do_append("payment", lane, customer, text, [], None)
            self.cluster.now_ms += 10 * self.plan.delay_ms
            for _ in range(3):
                for worker in self.workers:
                    self.cluster.write_markers()
                    await self.do_work(worker.name, "fdmtt", 1000, None)
        for worker in self.workers:
            if not worker.able:
                raise Violation("died", f"worker {worker.name} is not there at the end")

    def lanes(self) -> list[SimLane]:
        found = {p: lane for w in self.workers for p, lane in w.lanes.lanes.items() if lane.open}
        return [found[p] for p in sorted(found)]  # type: ignore[misc]

    # ------------------------------------------------------------------ what must hold

    def advanced(self, worker: Worker, lane: Lane, before_ms: int) -> None:
        del before_ms
        self.counted["frontier moved"] += 1
        if not self.watching:
            return
        checks.frontier(self.cluster, self.plan, lane, skew_ms=worker.skew_ms)

    def rebuilding(self, partition: int) -> None:
        self.rebuilds[partition] += 1

    def died(self, worker: Worker, error: BaseException) -> None:
        """A process may end by itself only when it was fenced, as somebody who no longer belongs
        to the group, or by such a one: frozen in a takeover, it fences whoever came after it."""
        if isinstance(error, Killed) or self.found is not None:
            return
        self.counted["fenced"] += isinstance(error, Fenced)
        if isinstance(error, Violation):
            self.found = error
        elif not isinstance(error, Fenced) or (
            worker.belongs and self.cluster.rightly[error.transactional_id]
        ):
            text = "".join(traceback.format_exception(error)[-6:])
            self.found = Violation("died", f"worker {worker.name} ended: {error!r}\n{text}")

    def verify(self) -> None:
        """The outputs, and the states behind them."""
        lanes = self.lanes()
        if len(lanes) != LANES:
            raise Violation("stalled", f"only {len(lanes)} lanes are open at the end")
        for lane in lanes:
            checks.state(self.cluster, lane)
        records, repeated = faults.read_all(
            self.cluster, self.rebuilds, true_times=self.wrong_clocks
        )
        if repeated:
            raise Violation("duplicate", f"dead letters twice: {repeated}")
        if self.wrong_clocks:  # reminders go by the worker's own clock
            records = [r for r in records if r.topic != TOPICS.reminder]
        frontiers = [lane.frontier.value_ms for lane in lanes]
        one_version = None if self.policy_changed else self.policies[0].version
        report = verify_records(
            records,
            policy=policy_from(POLICY),
            now=min(frontiers),
            now_upper=max(frontiers),
            upstream_delay=self.plan.delay_ms,
            partitions=LANES,
            policy_version=one_version,
            slack=self.largest_skew,
            allow_internal=True,
        )
        self.counted += Counter(
            right=report.right, withdrawn=report.withdrawn, reminders=report.reminders,
            letters=report.dead_letters, records=report.records,
        )  # fmt: skip
        for kind, count in (
            ("duplicate", report.duplicates), ("false", report.false), ("missed", report.missed),
            ("wrong", report.problem_count),
        ):  # fmt: skip
            if count:
                raise Violation(kind, report.text())


def play(plan: Plan, **options: Any) -> Counter[str]:
    """Plays a plan in an event loop of its own; raises Violation."""

    async def one() -> Counter[str]:
        return await World(plan, **options).play()

    with model_of_kafka(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(one())
