"""What must hold in a simulated world, beside what the verifier says of its outputs."""

from __future__ import annotations

from streams import position as positions
from streams.lane import Lane
from tests.simulation import faults
from tests.simulation.kafka import Cluster
from tests.simulation.plan import Plan
from tests.simulation.worker import INPUTS, TOPICS

HONEST_SKEW_MS = 60_000
"""A clock that is off by no more may move time by so much too far."""


class Violation(Exception):
    """`kind`: false, missed, duplicate, wrong (what the verifier says of the outputs); frontier,
    stale (time was moved too far); died, stalled, state."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


def frontier(cluster: Cluster, plan: Plan, lane: Lane, *, skew_ms: int) -> None:
    """Its word, when it has just moved: of what was appended before it + upstream_delay nothing is
    missing, readable or not; and payments are not silent."""
    t0_ms = lane.frontier.value_ms + plan.delay_ms
    slack_ms = abs(skew_ms) if abs(skew_ms) <= HONEST_SKEW_MS else 0
    if t0_ms > cluster.now_ms + slack_ms:
        raise Violation("frontier", f"lane {lane.partition} is ahead of time")
    for topic, stream in INPUTS.items():
        log = cluster.log(topic, lane.partition)
        for entry in log.entries[lane.next.get(stream, 0) :]:
            if entry is None or (entry.txn is not None and entry.txn.committed is False):
                continue
            if entry.broker_ms < t0_ms - slack_ms:
                raise Violation("frontier", f"lane {lane.partition} passed {topic}@{entry.offset}")
    fresh_ms = t0_ms - plan.silence_ms
    if plan.silence_ms and faults.silent(cluster, lane.partition, lane.next, fresh_ms):
        raise Violation("stale", f"lane {lane.partition} goes on without payments")


def state(cluster: Cluster, lane: Lane) -> None:
    """At the end the changelog says what the lane knows, and all inputs are read."""
    table: dict[bytes, bytes] = {}
    told = b""
    for entry in cluster.log(TOPICS.changelog, lane.partition).readable():
        assert entry.key is not None
        if entry.key == positions.KEY:
            told = entry.value or b""
        elif entry.value is None:
            table.pop(entry.key, None)
        else:
            table[entry.key] = entry.value
    if table != dict(lane.ledger.records):
        raise Violation("state", f"the changelog of lane {lane.partition} is another state")
    position = positions.decode(told)
    if (position.count, position.checksum) != (lane.ledger.count, lane.ledger.checksum):
        raise Violation("state", f"the sums of lane {lane.partition} are wrong")
    for topic, stream in INPUTS.items():
        if cluster.log(topic, lane.partition).readable(position.next[stream]):
            raise Violation("stalled", f"{topic}[{lane.partition}] is not read to its end")
