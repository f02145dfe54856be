"""Every topic: who writes it, who reads it, how it is kept. The one list that `hitrun topics`
makes and checks, and that deployment manifests are made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

Stream = Literal["checkout", "payment", "order", "command"]
STREAMS: tuple[Stream, ...] = ("checkout", "payment", "order", "command")
"""The inputs: partition i of each belongs to lane i."""

Role = Literal[
    "checkout", "payment", "order", "command", "verdict", "reminder", "customer", "dlq", "changelog"
]

_DAY_MS = 86_400_000
_MIB = 1024 * 1024


class TopicSpec(Struct, frozen=True):
    """One topic as it should be. All have the inputs' partition count."""

    role: Role
    name: str
    written_by: str
    read_by: str
    config: Mapping[str, str]


class Topics(Struct, frozen=True):
    """The names in force (settings), and what hangs on them."""

    checkout: str = "marketplace.checkout.v1"
    payment: str = "marketplace.payment.v1"
    order: str = "marketplace.order.v1"
    command: str = "hitrun.command.v1"
    verdict: str = "hitrun.verdict.v1"
    reminder: str = "hitrun.reminder.v1"
    customer: str = "hitrun.customer.v1"
    group: str = "hitrun"

    @property
    def changelog(self) -> str:
        """The customers' records and each lane's position."""
        return f"{self.group}-customers-changelog"

    def name(self, role: Stream | Literal["verdict", "reminder", "customer"]) -> str:
        """The topic of a role."""
        found: str = getattr(self, role)
        return found

    def dlq(self, topic: str) -> str:
        """Where the dead letters of an input topic go."""
        return f"{topic}.dlq"

    def inputs(self) -> dict[str, Stream]:
        """Input topic -> stream."""
        return {self.name(stream): stream for stream in STREAMS}

    def stream_of(self, topic: str) -> Stream | None:
        """The stream of an input topic, None for any other."""
        return self.inputs().get(topic)

    def specs(self) -> list[TopicSpec]:
        """All topics, inputs first."""
        delete = {"cleanup.policy": "delete"}
        appended = {"message.timestamp.type": "LogAppendTime"}
        specs = [
            TopicSpec(
                stream,
                self.name(stream),
                "marketplace" if stream != "command" else "operators, hitrun",
                "hitrun",
                {
                    **delete,
                    **appended,
                    "retention.ms": str((400 if stream == "command" else 14) * _DAY_MS),
                },
            )
            for stream in STREAMS
        ]
        specs += [
            TopicSpec(
                "verdict",
                self.verdict,
                "hitrun",
                "marketplace, review queue",
                {**delete, "retention.ms": str(400 * _DAY_MS)},
            ),
            TopicSpec(
                "reminder",
                self.reminder,
                "hitrun",
                "notification service",
                {**delete, "retention.ms": str(7 * _DAY_MS)},
            ),
            TopicSpec(
                "customer",
                self.customer,
                "hitrun",
                "checkout service, CRM",
                {"cleanup.policy": "compact"},
            ),
        ]
        specs += [
            TopicSpec(
                "dlq",
                self.dlq(self.name(stream)),
                "hitrun",
                "operators",
                {
                    **delete,
                    "retention.ms": str(30 * _DAY_MS),
                    "max.message.bytes": str(4 * _MIB),
                },
            )
            for stream in STREAMS
        ]
        specs.append(
            TopicSpec(
                "changelog",
                self.changelog,
                "hitrun",
                "hitrun",
                {
                    "cleanup.policy": "compact",
                    **appended,
                    "segment.bytes": str(64 * _MIB),
                    "min.cleanable.dirty.ratio": "0.1",
                    "max.compaction.lag.ms": "3600000",
                    "max.message.bytes": str(4 * _MIB),
                },
            )
        )
        return specs
