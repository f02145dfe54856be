"""The least that each principal must be allowed to do: the one list behind docs/security.md.

A test makes exactly these ACLs on a broker that refuses everything else, and does each one's work
with them; another holds the table in the docs to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest

from schemas.topics import STREAMS, Announced, Topics

Operation = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs"]
Resource = Literal["Topic", "Group", "TransactionalId"]

RESOURCES: Final = {"Topic": 2, "Group": 3, "TransactionalId": 5}
OPERATIONS: Final = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10}
LITERAL, PREFIXED, ALLOW = 3, 4, 3

ANNOUNCED: Final[tuple[Announced, ...]] = ("verdict", "reminder", "customer")


@dataclass(frozen=True)
class Acl:
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
        Acl("Read", "Topic", topics.verdict, "a first start takes over what was announced"),
        Acl("Read", "Topic", topics.customer, "a first start takes over what was announced"),
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


TITLES: Final = {
    worker: "`hitrun worker`",
    create: "`hitrun topics create`",
    check: "`hitrun topics check`",
    redrive: "`hitrun redrive`",
    producers: "Producers of the inputs",
    consumers: "Consumers of the outputs",
}


def tables(topics: Topics) -> str:
    """All of it as docs/security.md has it."""
    parts = []
    for acls, title in TITLES.items():
        rows = [f"### {title}", "", "| allow | on | named | for |", "|---|---|---|---|"]
        for acl in acls(topics):
            name = f"`{acl.name}`" + (" (prefix)" if acl.prefixed else "")
            rows.append(f"| {acl.operation} | {acl.resource} | {name} | {acl.why} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


async def allow(admin: AIOKafkaAdminClient, user: str, acls: Sequence[Acl]) -> None:
    """Makes the ACLs; from then on (a moment later) the user may do this."""
    node = admin._client.get_random_node()
    for acl in acls:
        pattern = PREFIXED if acl.prefixed else LITERAL
        operation = OPERATIONS[acl.operation]
        answer = await admin._client.send(
            node,
            CreateAclsRequest(
                RESOURCES[acl.resource], acl.name, pattern, f"User:{user}", "*", operation, ALLOW
            ),
        )
        for code, message in answer.creation_responses:
            if code:
                raise for_code(code)(message)
