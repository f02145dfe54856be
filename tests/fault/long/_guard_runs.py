"""The smallest run for each guard in which it is missed: `guards` plays each with it and without.

A run gets an arena and the program of its workers, and returns what was caught, "" when all held.
It is the same run both times: it must not know which one it is in.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import Topics
from tests.fault.long.scenario import Arena, Crew, settle
from tests.support import builders
from tests.support.dumps import verify_records
from tests.support.flow import CLOCKS_MS, POLICY
from tests.support.kafka import Kafka, Sent
from tests.support.reading import policy_from
from tests.support.sending import checkouts, now_ms, sent
from tests.support.stage import INPUTS, OUTPUTS, Stage
from tests.support.stumbling import STUMBLES_OVER
from tests.support.verifier import Report
from tests.support.waiting import poll
from tests.support.worker import Process

Program = tuple[str, str, str]
Run = Callable[[Arena, Program], str]

UNPAID = 10
"""Checkouts that nobody pays: so many verdicts there are to lose or to say twice."""


# ---------------------------------------------------------------------- what all of them need


def who(number: int, prefix: str = "k") -> dict[str, Any]:
    return {"checkout_id": f"{prefix}{number}", "customer": f"{prefix}c{number}"}


def payments(
    stage: Stage, count: int, *, prefix: str = "k", at: int | None = None, **data: Any
) -> list[Sent]:
    at = at or now_ms()
    return [sent(stage, builders.payment(at=at, **who(n, prefix), **data)) for n in range(count)]


def said(stage: Stage, role: str = "verdict") -> int:
    return len(stage.kafka.read(stage.topic(role)))


def until_said(stage: Stage, count: int, *, within_s: float = 30, role: str = "verdict") -> None:
    poll(
        lambda: said(stage, role) >= count,
        within_s=within_s,
        every_s=0.2,
        what=lambda: "\n".join(p.told("nothing is said") for p in stage.processes),
    )


def worker(stage: Stage, program: Program, name: str, **env: Path) -> Process:
    """With a file for its moment: `moment(stage, name)`."""
    paths = {"MOMENT": moment(stage, name)} | env
    return stage.worker(
        name=name, program=program, env={key: str(path) for key, path in paths.items()}
    )


def moment(stage: Stage, name: str) -> Path:
    return stage.home / f"moment-{name}"


def until_met(stage: Stage, name: str) -> None:
    """The worker has come to its moment."""
    poll(
        lambda: not moment(stage, name).exists(),
        within_s=40,
        what=lambda: "\n".join(p.told("no such moment") for p in stage.processes),
    )


def judged(stage: Stage, now: int, *, partitions: int = 1, **options: Any) -> Report:
    """The verification, also of `more` inputs that are gone from Kafka by now."""
    names = {role: stage.topic(role) for role in (*INPUTS, *OUTPUTS)}
    letters = [stage.dead_letters_of(role) for role in INPUTS]
    records = [*options.pop("more", ()), *stage.kafka.read(*names.values(), *letters)]
    return verify_records(
        records,
        names=names,
        policy=policy_from((stage.home / "policy.toml").read_text()),
        now=now,
        now_upper=now_ms(),
        upstream_delay=int(stage.env["HITRUN_UPSTREAM_DELAY_MS"]),
        partitions=partitions,
        slack=CLOCKS_MS,
        **options,
    )


def text(report: Report) -> str:
    """What the verifier found, "" if nothing."""
    found = {
        "lost": report.missed,
        "false": report.false,
        "said twice": report.duplicates,
        "with wrong content": report.wrong_states,
    }
    counts = ", ".join(f"{count} {name}" for name, count in found.items() if count)
    return f"verifier: {counts or report.problems[0]}" if report.problem_count else ""


def finish(stage: Stage, *, least: int, partitions: int = 1, **options: Any) -> str:
    """What a run came to, when all of it should be judged by now. `least`: verdicts that stand."""
    caught = []
    try:
        now = settle(stage, None, partitions=partitions, within_s=15)
    except AssertionError:
        caught.append("time stands still")
        now = now_ms() - 3_000
    report = judged(stage, now, partitions=partitions, **options)
    caught.append(text(report))
    caught += halts(stage)
    whole = "; ".join(dict.fromkeys(filter(None, caught)))
    assert whole or report.right >= least, f"only {report.right} verdicts: nothing to miss"
    return whole


def halts(stage: Stage) -> list[str]:
    """Workers that ended with 4, and why."""
    whys = [e["why"] for p in stage.processes for e in p.events("worker.halted")]
    return [f"a worker refuses (exit 4): {_short(why)}" for why in whys]


def _short(why: str) -> str:
    for sign in ("is damaged", "input lost"):
        if sign in why:
            return f"“{sign}”"
    return why


# ---------------------------------------------------------------------- two owners


def _frozen(stage: Stage, program: Program, at: str) -> Process:
    """The first worker, which stands still at this moment of the verdicts' transaction."""
    first = worker(stage, program, "first").wait_ready()
    stage.kafka.produce(checkouts(stage, UNPAID))
    until_said(stage, UNPAID, role="reminder")  # the next transaction is the verdicts'
    moment(stage, "first").write_text(f"freeze {at}")
    until_met(stage, "first")
    return first


def fencing(arena: Arena, program: Program) -> str:
    with arena.stage(partitions=1) as stage:
        first = _frozen(stage, program, "decided")
        worker(stage, program, "second").wait_ready()
        until_said(stage, UNPAID)
        first.thaw()
        poll(
            lambda: not first.alive or first.get("/health/ready")[0] == 200,
            within_s=30,
            what=lambda: first.told("it neither ended nor joined"),
        )
        return finish(stage, least=UNPAID)


def _second_stands_still(
    arena: Arena, program: Program, at: str, until: Callable[[Stage, Process], None]
) -> str:
    """While it has read the state, the first one goes on with its transaction."""
    with arena.stage(partitions=1) as stage:
        first = _frozen(stage, program, at)
        moment(stage, "second").write_text("freeze restored")
        second = worker(stage, program, "second")
        until(stage, second)
        first.thaw()
        poll(lambda: not first.alive or said(stage) >= UNPAID, within_s=20, what="it is silent")
        if first.alive:
            first.kill()
        until_met(stage, "second")
        second.thaw()
        return finish(stage, least=UNPAID)


def init_before_read(arena: Arena, program: Program) -> str:
    return _second_stands_still(
        arena, program, "decided", lambda stage, _: until_met(stage, "second")
    )


def high_watermark_restore(arena: Arena, program: Program) -> str:
    def reads(_: Stage, second: Process) -> None:
        second.wait_event("partition.gained")
        time.sleep(1.5)  # it reads, up to the end or to what is open

    return _second_stands_still(arena, program, "acknowledged", reads)


def generation_rule(arena: Arena, program: Program) -> str:
    with arena.stage(partitions=1) as stage:
        quiet = stage.home / "quiet"
        first = worker(stage, program, "first", QUIET=quiet).wait_ready()
        quiet.touch()  # it would meet the fence with its next write, before it hears of the group
        first.freeze()
        second = worker(stage, program, "second").wait_ready()
        assert second.stop() == 0
        first.thaw()
        poll(
            lambda: len(first.events("rebalance.done")) > 1 and first.get("/health/ready")[0],
            within_s=30,
            what=lambda: first.told("it did not come back"),
        )
        quiet.unlink()
        stage.kafka.produce(checkouts(stage, UNPAID))
        poll(lambda: not first.alive or said(stage) >= UNPAID, within_s=20, what="it is silent")
        if not first.alive:
            why = first.events("worker.failed")[-1]
            return f"the worker ends by the fence (exit 1, {why['error']})"
        return finish(stage, least=UNPAID)


def gate(arena: Arena, program: Program) -> str:
    with arena.stage(partitions=2) as stage:
        late = stage.home / "late"
        worker(stage, program, "first", LATE=late).wait_ready()
        late.touch()
        stage.kafka.produce(payments(stage, UNPAID, prefix="other", status="pending"))
        poll(lambda: late.read_text(), within_s=10, what="no payment was fetched")
        worker(stage, program, "second").wait_ready()
        stage.kafka.produce(checkouts(stage, UNPAID))
        return finish(stage, least=UNPAID, partitions=2)


# ---------------------------------------------------------------------- one owner


def await_all_futures(arena: Arena, program: Program) -> str:
    with arena.stage(partitions=1) as stage, Crew(stage, 1, program=program) as crew:
        crew.wait_ready()
        stage.kafka.produce(checkouts(stage, UNPAID))
        until_said(stage, UNPAID, role="reminder")
        _limit(stage, "verdict", 100)  # the verdicts' batch is refused, the others are not
        until = time.monotonic() + 5
        poll(lambda: crew.check() and time.monotonic() > until, within_s=10)
        _limit(stage, "verdict", 1_000_000)
        crew.wait_ready()
        return finish(stage, least=UNPAID)


def _limit(stage: Stage, role: str, size: int) -> None:
    """How large a batch this topic takes."""
    names = {r: stage.topic(r) for r in (*INPUTS, *OUTPUTS)}
    (spec,) = (s for s in Topics(group=stage.group, **names).specs() if s.name == names[role])
    config = dict(spec.config) | {"max.message.bytes": str(size)}
    resource = ConfigResource(ConfigResourceType.TOPIC, spec.name, config)
    stage.kafka.administer(lambda admin: admin.alter_configs([resource]))


def frontier_hold(arena: Arena, program: Program) -> str:
    with arena.stage(partitions=1) as stage:
        worker(stage, program, "first").wait_ready()
        stage.kafka.produce(checkouts(stage, UNPAID) + checkouts(stage, UNPAID, prefix="paid"))
        with open_transaction(stage.kafka, payments(stage, UNPAID, prefix="paid")):
            time.sleep(6)  # all verdicts would have been due for seconds
        return finish(stage, least=UNPAID)


@contextmanager
def open_transaction(kafka: Kafka, records: Sequence[Sent]) -> Iterator[None]:
    """An upstream that has written records and does not commit them until the block ends."""
    written, close = threading.Event(), threading.Event()

    async def hold() -> None:
        producer = AIOKafkaProducer(**kafka.client, transactional_id=kafka.unique("upstream"))
        await producer.start()
        try:
            async with producer.transaction():
                for record in records:
                    await producer.send_and_wait(record.topic, record.value, record.key)
                written.set()
                await asyncio.to_thread(close.wait, 60)
        finally:
            await producer.stop()

    thread = threading.Thread(target=lambda: asyncio.run(hold()), daemon=True)
    thread.start()
    assert written.wait(20), "nothing was written"
    try:
        yield
    finally:
        close.set()
        thread.join(20)


def staleness_hold(arena: Arena, program: Program) -> str:
    """Payments are made in time, and the topic hears of them when all verdicts would be due."""
    paid = 25
    with arena.stage(partitions=1, input_silence_ms=1500) as stage:
        worker(stage, program, "first").wait_ready()
        at = now_ms()
        stage.kafka.produce(checkouts(stage, paid, prefix="paid") + checkouts(stage, UNPAID))
        time.sleep(6)
        accused = said(stage)
        stage.kafka.produce(payments(stage, paid, prefix="paid", at=at + 500))
        other = payments(stage, 1, prefix="other", status="pending")
        stage.kafka.produce(other)  # of now: they are no longer silent
        rest = finish(stage, least=UNPAID)
        if rest or not accused:
            return rest
        assert said(stage) > accused, "nobody's verdict was taken back"
        return f"{accused} accused while payments were silent, {paid} of them had paid in time"


def clock_hold(arena: Arena, program: Program) -> str:
    """Its clock runs ahead, by more than the time there is to pay."""
    policy = POLICY.replace('card = "1500ms"', 'card = "110s"', 1).replace('["500ms"]', "[]")
    with arena.stage(partitions=1, policy=policy) as stage:
        drift = stage.home / "drift"
        first = worker(stage, program, "first", DRIFT=drift).wait_ready()
        stage.kafka.produce(checkouts(stage, UNPAID))
        drift.touch()
        until = time.monotonic() + 13

        def over() -> bool:
            stage.kafka.produce(payments(stage, 1, prefix="other", status="pending"))
            return time.monotonic() > until or said(stage) > 0

        poll(over, within_s=30, every_s=0.1)
        stage.kafka.produce(payments(stage, UNPAID))
        report = judged(stage, now_ms() - 20_000)
        held = [event["reason"] for event in first.events("frontier.held")]
        assert text(report) or held == ["clock"], held
        return text(report)


def gap_check(arena: Arena, program: Program) -> str:
    """Payments are deleted before the worker, which stands still, has read them."""
    with arena.stage(partitions=1) as stage:
        first = worker(stage, program, "first").wait_ready()
        stage.kafka.produce(payments(stage, 1, prefix="before", status="pending"))
        settle(stage, None, partitions=1)
        first.freeze()
        time.sleep(0.4)  # a fetch under way is answered by then, without what comes now
        stage.kafka.produce(checkouts(stage, UNPAID))
        stage.kafka.produce(payments(stage, UNPAID))
        topic = stage.topic("payment")
        lost = stage.kafka.read(topic)
        tp = TopicPartition(topic, 0)
        delete = {tp: RecordsToDelete(before_offset=lost[-1].offset + 1)}
        stage.kafka.administer(lambda admin: admin.delete_records(delete))
        first.thaw()  # no payment follows: there is only the position to see it by
        return _refused(stage, first, "input lost", more=lost)


def position_checksum(arena: Arena, program: Program) -> str:
    """A record of the changelog is deleted by a stranger."""
    with arena.stage(partitions=1) as stage:
        first = worker(stage, program, "first").wait_ready()
        stage.kafka.produce(checkouts(stage, UNPAID))
        until_said(stage, UNPAID, role="reminder")
        assert first.stop() == 0
        stage.kafka.produce([Sent(stage.changelog, None, b"kc0", 0)])
        return _refused(stage, worker(stage, program, "second"), "is damaged")


def _refused(stage: Stage, process: Process, sign: str, **options: Any) -> str:
    """What went wrong when the worker does not end with 4, saying why and nothing else."""
    poll(lambda: not process.alive or said(stage) > 0, within_s=30, every_s=0.1, what="it hangs")
    if not process.alive:
        code = process.wait(within_s=1)
        assert code == 4, process.told("not by a halt")
        assert sign in process.events("worker.halted")[-1]["why"]
        assert said(stage) == 0
        return ""
    return finish(stage, least=UNPAID, **options)


def dedupe_by_facts(arena: Arena, program: Program) -> str:
    """Half is paid after the verdict, and told twice."""
    with arena.stage(partitions=1) as stage:
        worker(stage, program, "first").wait_ready()
        stage.kafka.produce(checkouts(stage, UNPAID) + checkouts(stage, UNPAID, prefix="half"))
        until_said(stage, 2 * UNPAID)
        half = payments(stage, UNPAID, prefix="half", amount=5_000)
        stage.kafka.produce(half + half)
        until_said(stage, 3 * UNPAID)
        return finish(stage, least=UNPAID)


def record_isolation(arena: Arena, program: Program) -> str:
    """One record makes judging raise."""
    odd: dict[str, Any] = {"customer": "odd-customer", "checkout_id": STUMBLES_OVER}
    with (
        arena.stage(partitions=1) as stage,
        Crew(stage, 1, program=program, expected=(1,)) as crew,
    ):
        crew.wait_ready()
        at = now_ms()
        trip = [builders.checkout(at=at, **odd), builders.payment(at=at, status="failed", **odd)]
        stage.kafka.produce([*(sent(stage, e) for e in trip), *checkouts(stage, UNPAID)])
        poll(lambda: crew.ends[1] > 2 or said(stage) >= UNPAID, within_s=60, every_s=0.2)
        ends = crew.ends[1]
        whole = finish(stage, least=UNPAID, allow_internal=True)
        told = json.dumps(
            [e.get("error") for p in stage.processes for e in p.events("worker.failed")]
        )
        assert not ends or "ZeroDivisionError" in told, told
        return f"worker after worker ends (exit 1); {whole}" if ends else whole
