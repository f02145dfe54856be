"""A fault of ours in one record does not stop the line, and accuses nobody."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support import builders
from tests.support.flow import POLICY, SETTINGS, Flow, create_topics, mix, settle, verified
from tests.support.kafka import Kafka
from tests.support.sending import sent
from tests.support.stage import Stage
from tests.support.stumbling import SAYS, STUMBLES_OVER
from tests.support.waiting import poll

STUMBLING = ("-m", "tests.support.stumbling")


@pytest.mark.slow
def test_a_fault_in_judging_is_a_dead_letter_with_its_traceback_and_accuses_nobody(
    kafka: Kafka, tmp_path: Path
) -> None:
    with Stage(kafka, tmp_path, policy=POLICY, **SETTINGS) as stage:
        create_topics(stage)
        worker = stage.worker(program=STUMBLING).wait_ready()
        # given a checkout that would be a verdict, were its payment not the record that trips us
        who: dict[str, Any] = {"customer": "odd-customer", "checkout_id": STUMBLES_OVER}
        at = int(time.time() * 1000)
        kafka.produce(
            [
                sent(stage, builders.checkout(at=at, **who)),
                sent(stage, builders.payment(at=at, status="failed", **who)),
            ]
        )
        dead = stage.dead_letters_of("payment")
        (letter,) = poll(lambda: kafka.read(dead), within_s=20, every_s=0.2, what="no dead letter")
        headers = dict(letter.headers)
        assert headers["hitrun.error.reason"] == b"internal"
        detail = headers["hitrun.error.detail"].decode()
        assert detail.startswith("Traceback")
        assert f"ZeroDivisionError: {SAYS}" in detail
        assert worker.wait_event("fault.isolated")["records"] == 1
        assert "odd-customer" not in worker.stderr()
        # when everybody else goes on, over a restart too
        flow = Flow(stage, mix(seed=31, checkouts=150, seconds=2)).start()
        poll(lambda: flow.sent > 200, within_s=20)
        assert worker.stop() == 0
        again = stage.worker(program=STUMBLING).wait_ready()
        # then
        report = verified(stage, settle(stage, flow), allow_internal=True)
        assert report.ok, report.text()
        assert report.right > 30
        accused = [json.loads(r.value)["subject"] for r in kafka.read(stage.topic("verdict"))]
        assert STUMBLES_OVER not in accused
        assert len(kafka.read(dead)) == 1
        assert again.stop() == 0
