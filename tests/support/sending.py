"""Events as records for Kafka.produce, addressed to a stage's own topics."""

from __future__ import annotations

import time

from tests.support import builders
from tests.support.builders import Event
from tests.support.kafka import Sent
from tests.support.stage import Stage


def now_ms() -> int:
    """The wall clock."""
    return int(time.time() * 1000)


def sent(stage: Stage, event: Event) -> Sent:
    """The event's record, in the stage's topic for it."""
    made = builders.record(event)
    return Sent(stage.topic(builders.ROLE_OF_TYPE[event["type"]]), made.value, made.key)


def checkouts(stage: Stage, count: int, *, prefix: str = "k") -> list[Sent]:
    """Confirmed just now and never paid, each of its own customer and millisecond: checkout
    `<prefix><n>` of customer `<prefix>c<n>`."""
    at = now_ms() - count
    return [
        sent(stage, builders.checkout(f"{prefix}{n}", customer=f"{prefix}c{n}", at=at + n))
        for n in range(count)
    ]
