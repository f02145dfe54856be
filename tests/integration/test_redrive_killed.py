"""`hitrun redrive` killed in the middle: every letter goes back exactly once."""

from pathlib import Path

import pytest

from tests.support.dying_redrive import AT_COMMIT, LETTERS
from tests.support.kafka import Kafka, Sent
from tests.support.stage import Stage

COUNT = 60


@pytest.mark.parametrize(("moment", "went"), [("before", AT_COMMIT - 1), ("after", AT_COMMIT)])
def test_a_killed_redrive_goes_on_where_it_was(
    kafka: Kafka, tmp_path: Path, moment: str, went: int
) -> None:
    with Stage(kafka, tmp_path, partitions=1) as stage:
        topic, dlq = stage.topic("payment"), stage.dead_letters_of("payment")
        kafka.create({topic: 1, dlq: 1})
        headers = [("hitrun.error.reason", b"invalid")]
        values = [f'{{"n":{n}}}'.encode() for n in range(COUNT)]
        kafka.produce([Sent(dlq, value, b"c1", 0, headers=headers) for value in values])
        # when it is killed around its third commit
        program, env = ("-m", "tests.support.dying_redrive"), {"DIE": moment}
        killed = stage.start("redrive", dlq, program=program, env=env)
        assert killed.wait(within_s=30) == -9
        # and started again
        code, out, err = stage.hitrun("redrive", dlq)
        # then
        assert code == 0, err
        assert out.startswith(f"sent {COUNT - went * LETTERS} ")
        assert [record.value for record in kafka.read(topic)] == values
