"""Topics on brokers that make them by themselves, as Kafka does by default."""

from pathlib import Path

import pytest

from streams.local import LocalKafka
from tests.support.kafka import Kafka
from tests.support.stage import Stage


@pytest.mark.slow
def test_looking_makes_no_topic_and_create_makes_them_as_they_should_be(tmp_path: Path) -> None:
    """Asked for by name, they would be made: one partition, a changelog that is deleted."""
    with LocalKafka(extra={"auto.create.topics.enable": "true"}) as local:
        kafka = Kafka(local.bootstrap)
        with Stage(kafka, tmp_path) as stage:
            assert stage.hitrun("topics", "check")[0] == 1
            assert stage.hitrun("topics", "create", "--dry-run")[0] == 0
            assert not [name for name in kafka.topics() if name.startswith(stage.prefix)]
            stage.create_topics()
            code, out, err = stage.hitrun("topics", "check")
            assert code == 0, out + err
