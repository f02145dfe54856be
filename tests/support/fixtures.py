"""Fixtures that need a process or a directory; everything else is a builder or a plain call."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.local import LocalKafka
from tests.support.kafka import Kafka
from tests.support.stage import Stage


@pytest.fixture(scope="session")
def broker() -> Iterator[LocalKafka]:
    """One real Kafka for the session, on a free port. Tests that hurt a broker start their own."""
    with LocalKafka() as local:
        yield local


@pytest.fixture(scope="session")
def kafka(broker: LocalKafka) -> Kafka:
    """The session's Kafka to work with; use names from `unique`."""
    return Kafka(broker.bootstrap)


@pytest.fixture
def stage(kafka: Kafka, tmp_path: Path) -> Iterator[Stage]:
    """A stage with 4 partitions and the default policy; make a Stage yourself for another."""
    with Stage(kafka, tmp_path) as made:
        yield made
