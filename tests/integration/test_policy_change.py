"""A worker started with another policy on the state of its predecessor."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from domain.policy import parse_policy
from streams.lane import SLICE
from tests.support import builders
from tests.support.flow import POLICY, SETTINGS, create_topics
from tests.support.kafka import Kafka
from tests.support.sending import sent
from tests.support.stage import Stage
from tests.support.waiting import poll

PATIENT = POLICY.replace('after_silence = "1500ms"', 'after_silence = "5m"')
WINDOW_MS, SILENCE_MS = 1_500, 1_500
"""Of a card in POLICY."""

MANY = SLICE + 300
"""More than one slice of one lane."""


def verdicts(stage: Stage) -> list[dict[str, Any]]:
    return [json.loads(record.value) for record in stage.kafka.read(stage.topic("verdict"))]


@pytest.mark.slow
def test_another_policy_judges_what_is_not_announced_and_leaves_what_is(
    kafka: Kafka, tmp_path: Path
) -> None:
    with Stage(kafka, tmp_path, partitions=1, policy=PATIENT, **SETTINGS) as stage:
        create_topics(stage, 1)
        worker = stage.worker().wait_ready()
        # given one verdict of the patient policy (an expiry was said), and many that wait for it
        at = int(time.time() * 1000)
        one: dict[str, Any] = {"customer": "told", "checkout_id": "told"}
        kafka.produce(
            [
                sent(stage, builders.checkout(at=at, **one)),
                sent(stage, builders.payment(at=at + 1_000, status="expired", **one)),
                *(
                    sent(stage, builders.checkout(f"k{n}", customer=f"c{n}", at=at))
                    for n in range(MANY)
                ),
            ]
        )
        poll(
            lambda: verdicts(stage) and worker.metrics()["hitrun_open_checkouts"] >= MANY,
            within_s=30,
            every_s=0.3,
            what=lambda: worker.told("no verdict"),
        )
        assert worker.stop() == 0
        # when the next worker has a policy by which all of them are over
        impatient = stage.home / "impatient.toml"
        impatient.write_text(POLICY)
        stage.set(policy_file=str(impatient))
        worker = stage.worker().wait_ready()
        changed = worker.wait_event("policy.changed")
        poll(
            lambda: len(verdicts(stage)) > MANY,
            within_s=30,
            every_s=0.3,
            what=lambda: worker.told("not all are told"),
        )
        # then each is told once, dated by the new policy, and the old verdict stands as it was
        former, later = (parse_policy(text, name="x").version for text in (PATIENT, POLICY))
        assert (changed["former"], changed["policy"]) == (former, later)
        found = verdicts(stage)
        assert {event["type"] for event in found} == {"hitrun.verdict.detected"}
        assert set(Counter(event["subject"] for event in found).values()) == {1}
        versions = {event["subject"]: event["data"]["policy_version"] for event in found}
        assert versions.pop("told") == former
        assert set(versions.values()) == {later}
        dates = {e["data"]["verdict_at"] for e in found if e["subject"] != "told"}
        assert dates == {builders.rfc3339(at + WINDOW_MS + SILENCE_MS)}
        # and the same policy again is no change
        assert worker.stop() == 0
        again = stage.worker().wait_ready()
        assert again.events("policy.changed") == []
        assert again.stop() == 0
