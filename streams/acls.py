"""The least that each principal must be allowed to do: the one list behind docs/security.md.

A worker asks Kafka for its own at the start (`missing`), because a refusal in the middle of a
transaction comes out of aiokafka as "not in a transaction". A test makes exactly these ACLs on a
broker that refuses everything else and does each principal's work with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String
from msgspec import Struct

from schemas.topics import STREAMS, Announced, Topics

Operation = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs"]
Resource = Literal["Topic", "Group", "TransactionalId"]

CODES: Final[dict[Operation, int]] = {
    "Read": 3,
    "Write": 4,
    "Create": 5,
    "Describe": 8,
    "DescribeConfigs": 10,
}
"""Kafka's numbers of the operations."""

ANNOUNCED: Final[tuple[Announced, ...]] = ("verdict", "reminder", "customer")


class Acl(Struct, frozen=True):
    """One permission."""

    operation: Operation
    resource: Resource
    name: str
    why: str
    prefixed: bool = False

    def __str__(self) -> str:
        return f"{self.operation} on {self.resource} {self.name}{'*' if self.prefixed else ''}"


def worker(topics: Topics) -> list[Acl]:
    """What `hitrun worker` needs. Read and Write bring Describe with them."""
    found = [Acl("Read", "Topic", name, "its input") for name in topics.inputs()]
    found.append(Acl("Write", "Topic", topics.command, "tells the lane of a misplaced event"))
    found += [Acl("Write", "Topic", topics.name(role), "announces") for role in ANNOUNCED]
    found += [
        Acl("Read", "Topic", topics.name(role), "a first start takes over what was announced")
        for role in ANNOUNCED
    ]
    found += [Acl("Write", "Topic", topics.dlq(n), "dead letters") for n in topics.inputs()]
    found += [
        Acl("Write", "Topic", topics.changelog, "its state and position"),
        Acl("Read", "Topic", topics.changelog, "its state and position"),
        Acl("Read", "Group", topics.group, "the lanes are shared out in this group"),
        Acl("Write", "TransactionalId", f"{topics.group}-", "a lane's transactions", prefixed=True),
    ]
    return found + see_settings(topics)


def see_settings(topics: Topics) -> list[Acl]:
    """Comparing a topic with what it should be; without it there is a warning per topic."""
    why = "compares its settings with what they should be"
    return [Acl("DescribeConfigs", "Topic", spec.name, why) for spec in topics.specs()]


def create(topics: Topics) -> list[Acl]:
    """`hitrun topics create`."""
    names = [spec.name for spec in topics.specs()]
    return [
        *(Acl("Create", "Topic", name, "makes it") for name in names),
        *(Acl("Describe", "Topic", name, "sees that it is there") for name in names),
    ]


def check(topics: Topics) -> list[Acl]:
    """`hitrun topics check`."""
    names = [spec.name for spec in topics.specs()]
    seen = [Acl("Describe", "Topic", name, "sees that it is there") for name in names]
    return seen + see_settings(topics)


def redrive(topics: Topics, *streams: str) -> list[Acl]:
    """`hitrun redrive` of the dead letters of these streams; none: of all."""
    group = f"{topics.group}-redrive-"
    names = [topics.name(stream) for stream in STREAMS if not streams or stream in streams]
    return [
        *(Acl("Read", "Topic", topics.dlq(name), "reads the letters") for name in names),
        *(Acl("Write", "Topic", name, "sends them back") for name in names),
        Acl("Read", "Group", group, "how far each reason was sent back", prefixed=True),
        Acl("Write", "TransactionalId", group, "once each", prefixed=True),
    ]


def inspect(topics: Topics) -> list[Acl]:
    """`hitrun inspect`, which joins no group."""
    return [Acl("Read", "Topic", topics.changelog, "a customer's record and the position")]


def producers(topics: Topics) -> list[Acl]:
    """The marketplace's, and those who send commands."""
    whose = {"command": "review queue, operators"}
    return [Acl("Write", "Topic", topics.name(s), whose.get(s, "marketplace")) for s in STREAMS]


def consumers(topics: Topics, group: str = "<its group>") -> list[Acl]:
    """Of the outputs, each of its own only."""
    readers = {spec.name: spec.read_by for spec in topics.specs()}
    names = [topics.name(role) for role in ANNOUNCED]
    return [
        *(Acl("Read", "Topic", name, readers[name]) for name in names),
        Acl("Read", "Group", group, "its place in what it reads"),
    ]


async def missing(admin: AIOKafkaAdminClient, wanted: Sequence[Acl]) -> list[str]:
    """A sentence for each of these ACLs on topics that we lack; Kafka is asked what we may do.
    DescribeConfigs is left out: `topics check` says what it cannot see. Groups and transactional
    ids are refused in words when they are first used."""
    acls = [a for a in wanted if a.resource == "Topic" and a.operation != "DescribeConfigs"]
    names = sorted({acl.name for acl in acls})
    node = admin._client.get_random_node()
    answer = await admin._client.send(node, _RightsRequest(names))
    bits: dict[str, int] = {
        name: 0 if error == TopicAuthorizationFailedError.errno else rights
        for error, name, _, _, rights in answer.topics
    }
    return [
        f"Kafka does not allow us {acl} ({acl.why}); docs/security.md lists the ACLs"
        for acl in acls
        # -2**31: a broker that does not say; a topic that is not there is told elsewhere.
        if bits.get(acl.name, -1) >= 0 and not bits[acl.name] >> CODES[acl.operation] & 1
    ]


class _RightsResponse(Response):
    """Metadata v8, with what the asking user may do; aiokafka's own stops at v5."""

    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(
                ("node_id", Int32),
                ("host", String("utf-8")),
                ("port", Int32),
                ("rack", String("utf-8")),
            ),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("name", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _RightsStruct(RequestStruct):
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _RightsResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _RightsRequest(Request[_RightsStruct]):
    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_RightsStruct]) -> _RightsStruct:
        return request_struct_class(self._topics, False, False, True)  # noqa: FBT003 - flags
