"""Kafka is not there: at the start, for a moment, for good, and when the worker is to end. Each
test hurts a broker of its own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streams.local import LocalKafka
from tests.support.flow import POLICY, SETTINGS, Flow, create_topics, mix, settle, verified
from tests.support.kafka import Kafka
from tests.support.stage import Stage
from tests.support.waiting import poll
from tests.support.worker import Process

IMPATIENT = ("-m", "tests.support.impatient")
GONE_S = 4.0
"""See tests.support.impatient; 30 s otherwise."""

QUIET_BYTES = 100_000
"""What an outage of seconds may write to the log; aiokafka's clients would write megabytes."""


@contextmanager
def a_broker_of_our_own(home: Path) -> Iterator[tuple[LocalKafka, Stage]]:
    with LocalKafka(home / "kafka") as local:
        kafka = Kafka(local.bootstrap)
        # A short session: the group waits so long for a worker that could not leave it.
        settings = SETTINGS | {"session_timeout_ms": 2_000}
        with Stage(kafka, home / "stage", partitions=2, policy=POLICY, **settings) as stage:
            create_topics(stage, 2)
            yield local, stage


def last_line(worker: Process) -> str:
    return str(worker.events()[-1]["why"])


@pytest.mark.slow
def test_a_worker_waits_for_kafka_and_gives_up_with_one_clear_line(tmp_path: Path) -> None:
    with a_broker_of_our_own(tmp_path) as (local, stage):
        local.kill_node()
        stage.set(kafka_wait_ms=2_000)
        worker = stage.worker()
        worker.wait_event("kafka.awaited", within_s=15)
        assert worker.wait(within_s=20) == 1
        assert f"no Kafka at {local.bootstrap}" in last_line(worker)
        assert "Traceback" not in worker.stderr()

        # One that is asked to end while it waits does.
        stage.set(kafka_wait_ms=60_000)
        ended = stage.worker()
        ended.wait_event("kafka.awaited", within_s=15)
        assert ended.stop(within_s=5) == 0

        # And when Kafka comes in time, it works.
        patient = stage.worker()
        patient.wait_event("kafka.awaited", within_s=15)
        local.start_node()
        patient.wait_ready()
        flow = Flow(stage, mix(seed=21, checkouts=60, seconds=1)).start()
        report = verified(stage, settle(stage, flow, partitions=2), partitions=2)
        assert report.ok, report.text()
        assert report.right > 10
        assert patient.stop() == 0


@pytest.mark.slow
def test_kafka_gone_for_good_ends_the_worker_and_nothing_is_lost(tmp_path: Path) -> None:
    with a_broker_of_our_own(tmp_path) as (local, stage):
        worker = stage.worker(program=IMPATIENT).wait_ready()
        Flow(stage, mix(seed=22, checkouts=150, seconds=2)).start().join()
        local.kill_node()
        assert worker.wait(within_s=GONE_S * 2 + 5) == 1
        assert "has not answered for 4 s" in last_line(worker)
        assert "Traceback" not in worker.stderr()
        assert len(worker.stderr()) < QUIET_BYTES

        local.start_node()
        again = stage.worker().wait_ready()
        report = verified(stage, settle(stage, None, partitions=2), partitions=2)
        assert report.ok, report.text()
        assert report.right > 20
        assert again.stop() == 0


@pytest.mark.slow
def test_kafka_that_hangs_ends_the_worker_too(tmp_path: Path) -> None:
    with a_broker_of_our_own(tmp_path) as (local, stage):
        worker = stage.worker(program=IMPATIENT).wait_ready()
        local.freeze_node()
        try:
            assert worker.wait(within_s=GONE_S * 3 + 5) == 1
        finally:
            local.thaw_node()
        assert "has not answered for 4 s" in last_line(worker)


@pytest.mark.slow
def test_a_short_outage_is_survived(tmp_path: Path) -> None:
    with a_broker_of_our_own(tmp_path) as (local, stage):
        worker = stage.worker().wait_ready()
        flow = Flow(stage, mix(seed=23, checkouts=300, seconds=5)).start()
        poll(lambda: flow.sent > 300, within_s=20)
        local.kill_node()
        time.sleep(2)  # what is tested: how long it is away
        local.start_node()
        report = verified(stage, settle(stage, flow, partitions=2), partitions=2)
        assert report.ok, report.text()
        assert report.right > 40
        assert worker.stop() == 0
        assert len(worker.stderr()) < QUIET_BYTES


@pytest.mark.slow
def test_sigterm_ends_a_worker_whose_kafka_is_gone(tmp_path: Path) -> None:
    with a_broker_of_our_own(tmp_path) as (local, stage):
        worker = stage.worker().wait_ready()
        flow = Flow(stage, mix(seed=24, checkouts=60, seconds=1)).start()
        flow.join()
        local.kill_node()
        worker.terminate()
        assert worker.wait(within_s=18) in (0, 1)
        assert worker.events("worker.stopping")
        assert worker.events()[-1]["event"] in ("worker.stopped", "worker.failed")
        assert "Traceback" not in worker.stderr()

        local.start_node()
        again = stage.worker().wait_ready()
        report = verified(stage, settle(stage, None, partitions=2), partitions=2)
        assert report.ok, report.text()
        assert again.stop() == 0
