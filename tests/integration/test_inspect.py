"""`hitrun inspect` beside a running worker: three checkouts in words, read from the changelog."""

import json
import time
from pathlib import Path

import pytest

from tests.support import builders
from tests.support.flow import POLICY, SETTINGS, create_topics
from tests.support.kafka import Kafka, Sent
from tests.support.stage import Stage
from tests.support.waiting import poll

HOUR = 3_600_000


@pytest.mark.slow
def test_an_unpaid_a_paid_and_an_open_checkout_are_told_in_words(
    kafka: Kafka, tmp_path: Path
) -> None:
    with Stage(kafka, tmp_path, policy=POLICY, **SETTINGS) as stage:
        create_topics(stage)
        worker = stage.worker().wait_ready()
        tell_three(stage)
        poll(
            lambda: kafka.read(stage.topic("verdict")),
            within_s=30,
            what=lambda: worker.told("no verdict"),
        )
        written = writes_of(stage)

        code, out, err = stage.hitrun("inspect", "c1")
        assert (code, err) == (0, "")
        words = " ".join(out.split())
        assert "Checkout never: 100 IDR by card: unpaid: a strike (row 12)" in words
        assert "no money came, and nothing excuses it" in words
        assert "Checkout good: 100 IDR by card: paid (row 3)" in words
        assert "Checkout waits: 100 IDR by virtual account: open (row 6)" in words
        assert "1 strike and 1 purchase in the last 90 days" in words
        assert "Note:" not in words

        later = builders.rfc3339(int(time.time() * 1000) + 2 * HOUR)
        code, out, err = stage.hitrun("inspect", "c1", "--json", "--at", later)
        assert (code, err) == (0, "")
        standings = {c["checkout_id"]: c["standing"] for c in json.loads(out)["checkouts"]}
        assert standings == {"never": "unpaid", "good": "paid", "waits": "unpaid"}

        code, out, err = stage.hitrun("inspect", "nobody")
        assert (code, err) == (1, "")
        assert out.startswith("nobody is not known")
        code, out, err = stage.hitrun("inspect", "c1", "--at", "2026-01-01T00:00:00Z")
        assert (code, out) == (2, "")
        assert "is not kept" in " ".join(err.replace("│", "").split())

        assert worker.alive
        assert worker.stop() == 0
        assert writes_of(stage) == written, "looking writes nothing"
        stage.set(group="another")
        code, out, err = stage.hitrun("inspect", "c1")
        assert (code, out) == (3, "")
        assert "there is no topic another-customers-changelog" in err


def writes_of(stage: Stage) -> int:
    return sum(record.key == b"c1" for record in stage.kafka.read(stage.changelog))


def tell_three(stage: Stage) -> None:
    now = int(time.time() * 1000)
    events = [
        builders.checkout("never", at=now),
        builders.checkout("good", at=now),
        builders.payment("p1", checkout_id="good", at=now + 10),
        builders.checkout("waits", at=now, method="virtual_account", pay_by=now + HOUR),
    ]
    sent = []
    for event in events:
        made = builders.record(event)
        topic = stage.topic(builders.ROLE_OF_TYPE[event["type"]])
        sent.append(Sent(topic, made.value, made.key))
    stage.kafka.produce(sent)
