"""Every topic: who writes it, who reads it, how it is kept. The one list that `hitrun topics`
makes and checks, and that deployment manifests are made from.

The key of every record is the customer_id in UTF-8 (of an incident: none), the partitioner is
murmur2. All topics have the inputs' partition count, and what concerns a customer goes to the
partition number its events came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

Stream = Literal["checkout", "payment", "order", "command"]
STREAMS: Final[tuple[Stream, ...]] = ("checkout", "payment", "order", "command")
"""The inputs: partition i of each belongs to lane i."""

Announced = Literal["verdict", "reminder", "customer"]
Role = Literal[Stream, Announced, "dlq", "changelog"]

REPLICATION: Final = 3
"""Copies of each partition, or as many as there are brokers."""

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_MIB: Final = 1024 * 1024

_APPENDED: Final = {"message.timestamp.type": "LogAppendTime"}
"""The moment of appending is what arrival, `future` and the broker's clock go by."""

_LETTERS: Final = {"max.message.bytes": str(4 * _MIB)}
"""Whatever the input topic took, with the reason in headers besides."""

_CHANGELOG: Final = {
    "cleanup.policy": "compact",
    **_APPENDED,
    # Compaction soon and often, or a takeover reads updates instead of customers.
    "segment.bytes": str(64 * _MIB),
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": str(_HOUR_MS),
    "max.message.bytes": str(4 * _MIB),
}


class TopicSpec(Struct, frozen=True):
    """One topic as it should be."""

    role: Role
    name: str
    written_by: str
    read_by: str
    config: Mapping[str, str]

    @property
    def compacted(self) -> bool:
        """The newest record of each key is kept, forever."""
        return self.config["cleanup.policy"] == "compact"

    def differs(self, actual: Mapping[str, str]) -> dict[str, tuple[str, str]]:
        """What a cluster has otherwise than it should: setting -> (wanted, actual). Longer
        retention and larger records do no harm; -1 is without end."""
        found: dict[str, tuple[str, str]] = {}
        for name, wanted in self.config.items():
            is_now = actual.get(name, "")
            if is_now != wanted and not (name in _AT_LEAST and _is_at_least(is_now, wanted)):
                found[name] = (wanted, is_now)
        return found


_AT_LEAST: Final = frozenset({"retention.ms", "max.message.bytes"})


def _is_at_least(actual: str, wanted: str) -> bool:
    return actual == "-1" or (actual.isdigit() and int(actual) >= int(wanted))


def durability(*, brokers: int, replication: int = REPLICATION) -> tuple[int, dict[str, str]]:
    """Replication factor and the settings that go with it: with three copies a write counts when
    two have it, so that one broker may be gone; with fewer every copy that is there counts."""
    factor = max(1, min(replication, brokers))
    return factor, {"min.insync.replicas": "2" if factor >= 3 else "1"}


def _kept(days: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * _DAY_MS)}


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

    def name(self, role: Stream | Announced) -> str:
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
        inputs: list[tuple[Stream, str, int]] = [
            ("checkout", "marketplace", 7),
            ("payment", "marketplace", 7),
            ("order", "marketplace", 7),
            ("command", "review queue, operators, hitrun", 400),
        ]
        specs = [
            TopicSpec(stream, self.name(stream), writer, "hitrun", _kept(days) | _APPENDED)
            for stream, writer, days in inputs
        ]
        outputs: list[tuple[Announced, str, dict[str, str]]] = [
            ("verdict", "marketplace, review queue", _kept(400)),
            ("reminder", "notification service", _kept(7)),
            ("customer", "checkout service, CRM", {"cleanup.policy": "compact"}),
        ]
        specs += [
            TopicSpec(role, self.name(role), "hitrun", reader, config)
            for role, reader, config in outputs
        ]
        specs += [
            TopicSpec("dlq", self.dlq(self.name(s)), "hitrun", "operators", _kept(30) | _LETTERS)
            for s in STREAMS
        ]
        specs.append(TopicSpec("changelog", self.changelog, "hitrun", "hitrun", _CHANGELOG))
        return specs
