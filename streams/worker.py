"""`hitrun worker`: from settings to a running Faust worker, and every way it ends.

Exit codes: 0 stopped by a signal; 1 this process can't go on (a supervisor restarts it); 3 the
configuration or the topics are wrong; 4 halted: going on would pass something over.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from mode.loop import use

from domain.policy import Policy
from streams import acls, ends
from streams.faults import HALTED, MISCONFIGURED, RESTART, HaltWorker, RestartWorker
from streams.logging import say
from streams.refused import Refused, not_allowed, refusal
from streams.settings import ConfigError, Settings, kafka_client_options
from streams.topics_admin import TRANSACTION_TIMEOUT_MS, check_topics, group_offsets

T = TypeVar("T")

ASKED_S = 0.05
"""How often a start looks whether it was asked to end."""


def end(error: BaseException) -> NoReturn:
    """The end of a process that can't go on: one line, and gone. What was open in Kafka is
    aborted by the next owner."""
    halted = isinstance(error, HaltWorker)
    where = "" if isinstance(error, HaltWorker | RestartWorker) else _trace(error)
    event = "worker.halted" if halted else "worker.failed"
    denied = not_allowed(error)
    # The words of an exception that nobody foresaw may hold a customer's id.
    foreseen = isinstance(error, HaltWorker | RestartWorker | KafkaError | OSError)
    why = denied or (foreseen and str(error)) or "see error and trace"
    say(event, error=type(error).__name__, why=why, trace=where)
    os._exit(HALTED if halted else MISCONFIGURED if denied else RESTART)


def _trace(error: BaseException) -> str:
    """Where it happened: files and lines, no values."""
    return " < ".join(
        f"{Path(frame.filename).name}:{frame.lineno}"
        for frame in reversed(traceback.extract_tb(error.__traceback__))
    )


def run(
    settings: Settings,
    policy: Policy,
    *,
    rebuild: bool = False,
    accept_dead_letters: list[str] | None = None,
) -> int:
    """Runs until a signal. Returns an exit code only when it could not start."""
    if settings.shadow:
        # Its outputs would go to the real topics: everything would be announced twice.
        say("worker.failed", why="HITRUN_SHADOW: shadow mode is not there yet; take it away")
        return MISCONFIGURED
    use("uvloop")  # before anything makes a loop
    # Past these it looks after every 100,000 allocations; the records are bytes, not objects.
    gc.set_threshold(100_000, 50, 50)
    ends.listen()
    say("worker.starting", group=settings.group_id, policy=policy.version)
    try:
        found = asyncio.run(_unless_asked_to_end(_look(settings)))
    except Refused as error:
        for problem in error.problems:
            say("worker.failed", why=problem)
        return MISCONFIGURED
    except ConfigError as error:
        for problem in error.problems:
            say("topic.wrong", problem=problem)
        return MISCONFIGURED
    except TimeoutError:
        say(
            "worker.failed",
            why=f"no Kafka at {settings.kafka_bootstrap_servers} for "
            f"{settings.kafka_wait_ms / 1000:g} s; is it running? Is the address right?",
        )
        return RESTART
    except asyncio.CancelledError:
        say("worker.stopped")
        return 0
    accept = frozenset(accept_dead_letters or [])
    if strange := accept - set(settings.topics.inputs()):
        say("worker.failed", why=f"--accept-dead-letters: no input topic: {sorted(strange)}")
        return MISCONFIGURED
    _start(settings, policy, found, rebuild=rebuild, accept=accept)
    return 0


class Found(NamedTuple):
    """What the cluster says before anything is started."""

    partitions: int
    cluster: str
    committed: frozenset[int]
    """Partitions the group has committed offsets of."""


async def _unless_asked_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Lets SIGTERM cancel it. Raises CancelledError then, even when it was done already."""
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.wait([task], timeout=ASKED_S)
        if ends.asked():
            task.cancel()
            await asyncio.wait([task])
            raise asyncio.CancelledError
    return task.result()


async def _look(settings: Settings) -> Found:
    """Waits for Kafka, checks the topics. Raises ConfigError, TimeoutError."""
    deadline = time.monotonic() + settings.kafka_wait_ms / 1000
    awaited = False
    while True:
        admin = AIOKafkaAdminClient(**kafka_client_options(settings), request_timeout_ms=10_000)
        try:
            await admin.start()
            found = await _topics(admin, settings)
        except (KafkaError, OSError) as error:
            if refused := await refusal(settings, error):
                raise refused from error
            if time.monotonic() > deadline:
                raise TimeoutError from error
            awaited = True
            say("kafka.awaited", servers=settings.kafka_bootstrap_servers, error=str(error)[:200])
            await asyncio.sleep(1.0)
        else:
            if awaited:
                say("kafka.reached", servers=settings.kafka_bootstrap_servers)
            return found
        finally:
            await admin.close()


async def _topics(admin: AIOKafkaAdminClient, settings: Settings) -> Found:
    if lacking := await acls.missing(admin, acls.worker(settings.topics)):
        raise Refused(lacking)
    report = await check_topics(admin, settings)
    for doubtful in report.warnings:
        say("topic.doubtful", problem=str(doubtful))
    if report.errors:
        raise ConfigError([str(wrong) for wrong in report.errors])
    places = [
        TopicPartition(topic, partition)
        for topic in settings.topics.inputs()
        for partition in range(report.partitions)
    ]
    offsets = await group_offsets(admin, settings.group_id, places)
    committed = frozenset(tp.partition for tp, at in offsets.items() if at > 0)
    return Found(report.partitions, report.cluster_id, committed)


def _start(
    settings: Settings,
    policy: Policy,
    found: Found,
    *,
    rebuild: bool,
    accept: frozenset[str],
) -> None:
    from streams.app import create_app
    from streams.metrics import registry
    from streams.options import WorkerOptions
    from streams.service import OrderlyWorker, Web

    options = WorkerOptions(
        kafka=dict(kafka_client_options(settings)),
        topics=settings.topics,
        policy=policy,
        partitions=found.partitions,
        cluster=found.cluster,
        committed=found.committed,
        commit_interval_s=settings.commit_interval_ms / 1000,
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        upstream_delay_ms=settings.upstream_delay_ms,
        silence_ms=settings.input_silence_ms,
        rebuild=rebuild,
        accept_dead_letters=accept,
        end=end,
        say=say,
    )
    app = create_app(settings, options)
    lanes = app.tables

    def why_not_ready() -> str | None:
        if not lanes.ready:
            return "not in the group yet, or taking lanes over"
        return None

    web = Web(
        host=settings.http_host,
        port=settings.http_port,
        ready=why_not_ready,
        registry=registry(lanes.lanes.values, lanes.tally),
    )
    worker = OrderlyWorker(app, web, options=options)
    try:
        worker.execute_from_commandline()
    except SystemExit as done:
        ends.deaf()
        if done.code:
            end(worker.crash_reason or RestartWorker(f"Faust ended it with {done.code}"))
        say("worker.stopped")
        raise
