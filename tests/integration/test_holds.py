"""What holds time or the worker: silent payments, an upstream's open transaction, a broken
producer; and that a person's word goes on from there."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from tests.support import builders
from tests.support.builders import Event
from tests.support.flow import POLICY, SETTINGS, create_topics, settle, verified
from tests.support.kafka import Kafka, Sent
from tests.support.sending import checkouts, now_ms, sent
from tests.support.stage import Stage
from tests.support.waiting import poll

PARTITIONS = 1
"""Payments of one customer are to be silence or life for all others too."""


def said(stage: Stage) -> list[str]:
    """The checkouts of all verdicts so far."""
    return [
        json.loads(record.value)["data"]["checkout_id"]
        for record in stage.kafka.read(stage.topic("verdict"))
    ]


@contextmanager
def stage_with(kafka: Kafka, home: Path, **settings: str | int) -> Iterator[Stage]:
    with Stage(kafka, home, partitions=PARTITIONS, policy=POLICY, **(SETTINGS | settings)) as stage:
        create_topics(stage, PARTITIONS)
        yield stage


@pytest.mark.slow
def test_no_verdict_while_payments_are_silent_although_checkouts_come(
    kafka: Kafka, tmp_path: Path
) -> None:
    with stage_with(kafka, tmp_path, input_silence_ms=1500) as stage:
        worker = stage.worker().wait_ready()
        kafka.produce(checkouts(stage, 25))
        poll(
            lambda: worker.metrics().get('hitrun_frontier_held_lanes{reason="stale_payments"}'),
            within_s=20,
            what=lambda: worker.told("it is not held"),
        )
        worker.stop()  # a restart does not forget the hold
        worker = stage.worker().wait_ready()
        time.sleep(5)
        assert said(stage) == []
        assert worker.events("frontier.held")

        def resumed() -> bool:
            event = builders.payment(
                customer="other", checkout_id="other", status="pending", at=now_ms()
            )
            kafka.produce([sent(stage, event)])
            return len(said(stage)) == 25

        poll(resumed, within_s=20, every_s=0.4, what=lambda: worker.told("still held"))
        report = verified(stage, now_ms() - 2500, partitions=PARTITIONS)
        assert report.ok, report.text()


@pytest.mark.slow
def test_an_upstream_transaction_that_is_open_holds_time_and_its_payment_counts(
    kafka: Kafka, tmp_path: Path
) -> None:
    with stage_with(kafka, tmp_path) as stage:
        worker = stage.worker().wait_ready()
        poll(
            lambda: worker.metrics()["hitrun_frontier_unknown_lanes"] == 0,
            within_s=10,
            what="now unknown",
        )
        unpaid, paid = checkouts(stage, 2)
        kafka.produce([unpaid, paid])
        event = builders.payment(checkout_id="k1", customer="kc1", at=now_ms())
        with open_transaction(kafka, sent(stage, event)):
            time.sleep(6)  # both verdicts would have been due for seconds
            assert said(stage) == []
            lag = worker.metrics()["hitrun_frontier_lag_seconds"]
            assert lag > 4, lag
        now = settle(stage, None, partitions=PARTITIONS)
        assert said(stage) == ["k0"]
        report = verified(stage, now, partitions=PARTITIONS)
        assert report.ok, report.text()


@contextmanager
def open_transaction(kafka: Kafka, record: Sent) -> Iterator[None]:
    """A producer that has written a record and not committed it until the block ends."""
    written, close = threading.Event(), threading.Event()

    async def hold() -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap, transactional_id=kafka.unique("upstream")
        )
        await producer.start()
        try:
            async with producer.transaction():
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


@pytest.mark.slow
def test_binary_mode_reads_as_structured_mode(kafka: Kafka, tmp_path: Path) -> None:
    with stage_with(kafka, tmp_path) as stage:
        stage.worker().wait_ready()
        at = now_ms()

        def binary(event: Event) -> Sent:
            made = builders.binary(event)
            topic = stage.topic(builders.ROLE_OF_TYPE[event["type"]])
            return Sent(topic, made.value, made.key, headers=made.headers)

        both: list[dict[str, Any]] = [{"checkout_id": f"k{n}", "customer": f"c{n}"} for n in (1, 2)]
        kafka.produce(
            [binary(builders.checkout(at=at, **who)) for who in both]
            + [binary(builders.payment(at=at + 500, **both[1]))]
        )
        now = settle(stage, None, partitions=PARTITIONS)
        assert said(stage) == ["k1"]
        assert kafka.read(stage.dead_letters_of("checkout")) == []
        report = verified(stage, now, partitions=PARTITIONS)
        assert report.ok, report.text()


@pytest.mark.slow
def test_a_broken_producer_halts_the_worker_until_a_person_accepts(
    kafka: Kafka, tmp_path: Path
) -> None:
    with stage_with(kafka, tmp_path) as stage:
        topic, dead = stage.topic("payment"), stage.dead_letters_of("payment")
        worker = stage.worker().wait_ready()
        kafka.produce([Sent(topic, b"rubbish", b"x") for _ in range(2500)] + checkouts(stage, 1))
        assert worker.wait(within_s=30) == 4
        assert topic in worker.events("worker.halted")[-1]["why"]
        letters = len(kafka.read(dead))
        assert letters > 2000

        again = stage.worker()
        assert again.wait(within_s=30) == 4
        assert again.events("worker.halted")
        assert len(kafka.read(dead)) == letters, "a halted worker goes on writing"

        accepted = stage.worker("--accept-dead-letters", topic).wait_ready()
        now = settle(stage, None, partitions=PARTITIONS)
        assert said(stage) == ["k0"]
        report = verified(stage, now, partitions=PARTITIONS)
        assert report.ok, report.text()
        assert len(kafka.read(dead)) == 2500
        assert accepted.stop() == 0
