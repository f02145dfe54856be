"""Where the logs of the inputs end: what the leaders have appended, readable yet or not.

The high watermark is not enough for the frontier. While a follower is dead and still counted among
the in-sync ones (up to `replica.lag.time.max.ms`, 30 s), it stands still, although the leader has
appended, and stamped, records that nobody can read yet: a payment among them would be passed. The
end of the leader's log is told to whoever does not ask as a consumer; `log_ends` asks so, and time
then waits until those records are readable, or gone with their leader.

aiokafka always asks as a consumer, so the request is made here, of its own parts, which
tests/contract/test_pinned_libraries.py holds. It can go when `end_offsets` can ask for this.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.offset import OffsetRequest, OffsetResetStrategy

NOBODY: Final = -3
"""The asking replica. A consumer (-1) gets the high watermark; -2 is answered by followers too, who
may be behind; every other number gets the log's end from the leader, and from nobody else."""

READ_UNCOMMITTED: Final = 0


async def log_ends(
    consumer: AIOKafkaConsumer, tps: Sequence[TopicPartition]
) -> dict[TopicPartition, int]:
    """The end of each log, never below its high watermark. A partition whose leader is just
    changing is left out. `consumer` is started and read_uncommitted. Raises KafkaError."""
    ends: dict[TopicPartition, int] = await consumer.end_offsets(tps)
    client = consumer._client
    asked: dict[int, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for tp in tps:
        leader = client.cluster.leader_for_partition(tp)
        if leader is None or leader < 0:
            ends.pop(tp, None)
        else:
            asked[leader][tp.topic].append((tp.partition, OffsetResetStrategy.LATEST))
    for leader, topics in asked.items():
        request = OffsetRequest(NOBODY, READ_UNCOMMITTED, list(topics.items()))
        try:
            answer = await client.send(leader, request)
        except KafkaError as error:
            if not error.retriable:
                raise
            for topic, partitions in topics.items():
                for partition, _ in partitions:
                    ends.pop(TopicPartition(topic, partition), None)
            continue
        for topic, partitions in answer.topics:
            for partition, code, *_, end in partitions:
                tp = TopicPartition(topic, partition)
                fault = for_code(code)
                if code == 0:
                    ends[tp] = max(ends.get(tp, 0), end)
                elif fault.retriable:
                    client.force_metadata_update()
                    ends.pop(tp, None)
                # else: a broker that tells nobody; its high watermark must do
    return ends
