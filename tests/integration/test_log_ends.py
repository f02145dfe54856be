"""What a leader has appended and nobody can read yet: the high watermark does not tell of it."""

import asyncio
import time

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.local import LocalKafka
from streams.log_ends import log_ends
from tests.support.kafka import Kafka
from tests.support.nodes import leader_of

TOPIC = "replicated"
HIDDEN = 7
WITHIN_S = 20.0


async def reads_on(consumer: AIOKafkaConsumer, tp: TopicPartition, end: int) -> None:
    until = time.monotonic() + WITHIN_S
    while (await consumer.end_offsets([tp]))[tp] < end:
        assert time.monotonic() < until, f"the high watermark does not come to {end}"
        await asyncio.sleep(0.1)


@pytest.mark.slow
def test_what_a_frozen_follower_hides_is_seen() -> None:
    with LocalKafka(nodes=3) as local:
        kafka = Kafka(local.bootstrap)
        kafka.create({TOPIC: 1}, replication=3)
        leader = leader_of(kafka, TOPIC, 0)
        follower = leader % 3 + 1
        tp = TopicPartition(TOPIC, 0)

        async def look() -> None:
            consumer = AIOKafkaConsumer(bootstrap_servers=local.bootstrap)
            producer = AIOKafkaProducer(bootstrap_servers=local.bootstrap, acks=1)
            await consumer.start()
            await producer.start()
            try:
                await producer.send_and_wait(TOPIC, b"seen", partition=0)
                await reads_on(consumer, tp, 1)
                local.freeze_node(follower)
                for _ in range(HIDDEN):
                    await producer.send_and_wait(TOPIC, b"appended", partition=0)
                assert (await consumer.end_offsets([tp]))[tp] == 1
                assert await log_ends(consumer, [tp]) == {tp: 1 + HIDDEN}
                local.thaw_node(follower)
                await reads_on(consumer, tp, 1 + HIDDEN)
            finally:
                await producer.stop()
                await consumer.stop()

        asyncio.run(look())
