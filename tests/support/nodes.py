"""Who does what in a cluster of several nodes, so that a test can hit the one it means.

local.kill_node(leader_of(kafka, "topic", 0)); local.start_node(...)

All answer with a node's number as LocalKafka counts them, and ask again while it is being decided.
"""

from __future__ import annotations

from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

from tests.support.kafka import Kafka
from tests.support.waiting import poll

DECIDED_S = 30.0
"""An election after a kill takes 3-6 s."""


def leader_of(kafka: Kafka, topic: str, partition: int) -> int:
    """The node that leads a partition, also one of an internal topic."""

    async def ask(admin: AIOKafkaAdminClient) -> int:
        for each in await admin.describe_topics():
            for part in each["partitions"] if each["topic"] == topic else ():
                if part["partition"] == partition and part["error_code"] == 0:
                    return int(part["leader"])
        return 0

    return _decided(kafka, ask, f"no leader of {topic}[{partition}]")


def coordinator_of(kafka: Kafka, *, group: str = "", transactional_id: str = "") -> int:
    """The node that coordinates a group, or the transactions of an id."""

    async def ask(admin: AIOKafkaAdminClient) -> int:
        kind = 1 if transactional_id else 0
        return int(await admin.find_coordinator(group or transactional_id, kind))

    return _decided(kafka, ask, f"no coordinator of {group or transactional_id}")


def active_controller(kafka: Kafka) -> int:
    """The node that leads the quorum of the controllers. Metadata would name any broker."""

    async def ask(admin: AIOKafkaAdminClient) -> int:
        node = admin._client.get_random_node()
        answer = await admin._client.send(node, DescribeQuorum())
        (_, partitions, _), *_ = answer.topics
        _, error, leader, *_ = partitions[0]
        return 0 if error or answer.error_code else int(leader)

    return _decided(kafka, ask, "no active controller")


def in_sync(kafka: Kafka, replicas: int) -> bool:
    """Whether every partition has so many copies that are up to date: before that the end of one
    more node may cost the quorum of a topic."""

    async def ask(admin: AIOKafkaAdminClient) -> bool:
        return all(
            part["error_code"] == 0 and len(part["isr"]) >= replicas
            for each in await admin.describe_topics()
            for part in each["partitions"]
        )

    try:
        return bool(kafka.administer(ask))
    except (KafkaError, OSError, TimeoutError):  # it asked the node that is down
        return False


def _decided(kafka: Kafka, ask: Any, what: str) -> int:
    def look() -> int:
        try:
            found: int = kafka.administer(ask)
        except (KafkaError, OSError):  # it asked the node that is down
            return 0
        return max(found, 0)

    return poll(look, within_s=DECIDED_S, every_s=0.2, what=what)


REPLICAS = CompactArray(("replica_id", Int32), ("log_end_offset", Int64), ("tags", TaggedFields))


class DescribeQuorumResponse(Response):  # type: ignore[misc]
    """aiokafka has neither this nor the request."""

    API_KEY = 55
    API_VERSION = 0
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("high_watermark", Int64),
                        ("current_voters", REPLICAS),
                        ("observers", REPLICAS),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeQuorumRequest(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 55
    API_VERSION = 0
    RESPONSE_TYPE = DescribeQuorumResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("partitions", CompactArray(("partition", Int32), ("tags", TaggedFields))),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeQuorum(Request[DescribeQuorumRequest]):  # type: ignore[misc]
    """About the metadata log."""

    API_KEY = 55

    def build(self, request_struct_class: type[DescribeQuorumRequest]) -> DescribeQuorumRequest:
        return request_struct_class([("__cluster_metadata", [(0, {})], {})], {})
