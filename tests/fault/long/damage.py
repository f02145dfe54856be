"""A full disk, and every way in which a state or an input can be less than it should be: each is
refused with a message that names the place and the way out, nothing is said on half a state, a
restart refuses again, and the way out leads out."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import Topics
from streams import position as positions
from streams.local import LocalKafka
from tests.fault.long.scenario import SESSION_MS, Arena, Crew, Flow, Outcome, Scenario, Stage
from tests.support.crew import lanes_of
from tests.support.dumps import verify_records
from tests.support.flow import (
    CLOCKS_MS,
    DELAY_MS,
    POLICY,
    SETTINGS,
    create_topics,
    mix,
    settle,
    verified,
)
from tests.support.kafka import Kafka, Sent
from tests.support.reading import AnyRecord, policy_from
from tests.support.stage import INPUTS, OUTPUTS
from tests.support.verifier import Report
from tests.support.waiting import poll
from tests.support.worker import Process

PARTITIONS = 2
HURT = 0
"""The partition that is damaged; the other one goes on as long as its worker lives."""

HALTED = 4
DISKS = 3
ROOM = 200_000
"""Bytes that still fit into a file when the disk is about to be full."""
FULL_S = 4.0
PATIENT_MS = 180_000

# Who is advised depends on strikes alone: what is lost of the paid history must not show.
STEADY = POLICY + "[strikes]\nhuman_review_unpaid_share = 0.0\n"


# ---------------------------------------------------------------- a full disk


def full_disk(arena: Arena) -> Outcome:
    """The broker's files may not grow: its append fails, it ends; later there is room again."""
    outcome, wanted = Outcome(), arena.times(DISKS)
    settings = SETTINGS | {"session_timeout_ms": SESSION_MS}
    with LocalKafka() as local:
        patient = Kafka(local.bootstrap, request_timeout_ms=PATIENT_MS)
        home = arena.home / "disk"
        with Stage(patient, home, partitions=PARTITIONS, policy=POLICY, **settings) as stage:
            create_topics(stage, PARTITIONS)
            with Crew(stage, 2) as crew:
                crew.wait_ready()
                flow = arena.load(stage, seconds=wanted * 60, rate=80)
                for _ in range(wanted):
                    _loaded(flow)
                    _fill(local)
                    time.sleep(FULL_S)
                    crew.check()
                    local.start_node()
                    poll(
                        lambda: crew.check() and lanes_of(crew.now()) == PARTITIONS,
                        within_s=120,
                        what=lambda: "\n".join(w.told("no owner") for w in crew.now()),
                    )
                    outcome.faults += 1
                    arena.say(f"{outcome.faults} full disks, {flow.sent} records sent")
                outcome.demand(flow.running, "the stream ended before the last fault")
                flow.stop()
                now = settle(stage, None, partitions=PARTITIONS, within_s=180)
                report = outcome.add(verified(stage, now, partitions=PARTITIONS))
    outcome.demand(report.right > 50 * wanted, f"only {report.right} verdicts to lose")
    outcome.notes["ends"] = dict(crew.ends)
    return outcome


def _loaded(flow: Flow) -> None:
    enough = flow.sent + 400
    poll(lambda: flow.sent > enough, within_s=60, what="no load")


def _fill(local: LocalKafka) -> None:
    """From now on no file of the broker gets longer than the longest log and a little; returns
    when a write has failed and the broker has ended of it."""
    (node,) = local.nodes
    longest = max(file.stat().st_size for file in node.files.log_dir.glob("*/*.log"))
    assert node.pid is not None
    limit = (longest + ROOM, resource.RLIM_INFINITY)
    resource.prlimit(node.pid, resource.RLIMIT_FSIZE, limit)
    poll(lambda: node.pid is None, within_s=60, every_s=0.1, what="the broker never noticed")


# ---------------------------------------------------------------- refused


@dataclass
class Ground:
    """One stage that is damaged and mended again and again."""

    arena: Arena
    stage: Stage
    outcome: Outcome
    more: int = 0
    gone: list[AnyRecord] = field(default_factory=list)
    """Inputs that were applied, and are not in their topics any more."""

    @property
    def changelog(self) -> str:
        """As messages name it."""
        return f"{self.stage.changelog}[{HURT}]"

    def flow(self) -> Flow:
        """A little of everything, of customers of its own."""
        self.more += 1
        steps = mix(seed=self.arena.seed + 100 * self.more, checkouts=100, seconds=1.5)
        return Flow(self.stage, steps).start()

    def worked(self, *arguments: str, flow: Flow | None = None) -> Report:
        """A worker to the end of all that is there, stopped in order; everything is verified."""
        stage = self.stage
        worker = stage.worker(*arguments).wait_ready(within_s=60)
        now = settle(stage, flow, partitions=PARTITIONS, within_s=90)
        assert worker.stop() == 0, worker.told("it did not stop in order")
        return self.verified(now)

    def verified(self, now: int) -> Report:
        """As `flow.verified`, with what is gone."""
        stage = self.stage
        names = {role: stage.topic(role) for role in (*INPUTS, *OUTPUTS)}
        letters = [stage.dead_letters_of(role) for role in INPUTS]
        return verify_records(
            [*self.gone, *stage.kafka.read(*names.values(), *letters)],
            names=names,
            policy=policy_from((stage.home / "policy.toml").read_text()),
            now=now,
            now_upper=int(time.time() * 1000),
            upstream_delay=DELAY_MS,
            partitions=PARTITIONS,
            slack=CLOCKS_MS,
        )

    def log(self) -> list[Any]:
        """The hurt partition of the changelog, committed records in their order."""
        return [r for r in self.stage.kafka.read(self.stage.changelog) if r.partition == HURT]

    def live(self) -> dict[bytes, bytes]:
        """What the hurt partition holds, without its position."""
        found: dict[bytes, bytes] = {}
        for record in self.log():
            if record.value is None:
                found.pop(record.key, None)
            else:
                found[record.key] = record.value
        found.pop(positions.KEY)
        return found

    def group_knows(self) -> bool:
        """Whether the group has committed offsets of the hurt partition."""

        async def ask(admin: AIOKafkaAdminClient) -> bool:
            found = await admin.list_consumer_group_offsets(self.stage.group)
            return any(tp.partition == HURT and told.offset > 0 for tp, told in found.items())

        return bool(self.stage.kafka.administer(ask))

    def write(self, key: bytes, value: bytes | None) -> None:
        """What a foreign producer does to the changelog."""
        self.stage.kafka.produce([Sent(self.stage.changelog, value, key, HURT)])

    def allow_deletion(self, *, allowed: bool) -> None:
        """Turns the changelog's cleanup policy to one with deletion, and back."""
        topics = Topics(group=self.stage.group)
        (config,) = [dict(s.config) for s in topics.specs() if s.role == "changelog"]
        if allowed:
            config["cleanup.policy"] = "compact,delete"
        resource = ConfigResource(ConfigResourceType.TOPIC, self.stage.changelog, config)
        self.stage.kafka.administer(lambda admin: admin.alter_configs([resource]))

    def delete(self, topic: str, before: int) -> None:
        """Takes away all records of the hurt partition below an offset, as retention does."""
        wanted = {TopicPartition(topic, HURT): RecordsToDelete(before)}
        self.stage.kafka.administer(lambda admin: admin.delete_records(wanted))


Damage = Callable[[Ground], Sequence[str]]
"""Does it; returns what the refusal must say."""


def truncated(ground: Ground) -> Sequence[str]:
    """The first half of the changelog is gone."""
    records = ground.log()
    ground.allow_deletion(allowed=True)  # a compacted topic has none otherwise
    ground.delete(ground.stage.changelog, records[len(records) // 2].offset)
    ground.allow_deletion(allowed=False)
    return (ground.changelog, "is damaged", "--rebuild")


def overwritten(ground: Ground) -> Sequence[str]:
    """A foreign producer changes a byte of a customer's record."""
    key, value = next(iter(ground.live().items()))
    ground.write(key, value[:-1] + bytes([value[-1] ^ 1]))
    return (ground.changelog, "is damaged", "--rebuild")


def tombstone(ground: Ground) -> Sequence[str]:
    """A foreign tombstone deletes a customer's record."""
    ground.write(next(iter(ground.live())), None)
    return (ground.changelog, "is damaged", "--rebuild")


def foreign(ground: Ground) -> Sequence[str]:
    """A record of nobody we know."""
    ground.write(b"somebody-else", next(iter(ground.live().values())))
    return (ground.changelog, "is damaged", "--rebuild")


def older(ground: Ground) -> Sequence[str]:
    """Compaction, or a restored copy, left a position that is older than the records."""
    found = [r.value for r in ground.log() if r.key == positions.KEY]
    ground.write(positions.KEY, found[len(found) // 2])
    return (ground.changelog, "is damaged", "--rebuild")


def no_position(ground: Ground) -> Sequence[str]:
    """The position alone is gone."""
    ground.write(positions.KEY, None)
    return (ground.changelog, "no position", "--rebuild")


def unreadable(ground: Ground) -> Sequence[str]:
    """What stands in the position's place is none."""
    ground.write(positions.KEY, b"{}")
    return (ground.changelog, "unreadable position", "--rebuild")


def newer(ground: Ground) -> Sequence[str]:
    """The state was written by a version that does not exist yet."""
    last = [r.value for r in ground.log() if r.key == positions.KEY][-1]
    position = positions.decode(last)
    position.version = positions.VERSION + 1
    ground.write(positions.KEY, positions.encode(position))
    return (ground.changelog, "written by a newer hitrun", "--rebuild")


def emptied(ground: Ground) -> Sequence[str]:
    """The changelog was deleted and made anew, empty: only the group remembers, once a worker has
    lived for the five seconds after which it commits offsets."""
    stage = ground.stage
    worker = stage.worker().wait_ready(within_s=60)
    poll(ground.group_knows, within_s=30, every_s=0.5, what="no offsets of the group")
    assert worker.stop() == 0, worker.told("it did not stop in order")
    stage.kafka.delete(stage.changelog)
    poll(lambda: stage.changelog not in stage.kafka.topics(), within_s=30, every_s=0.3)
    poll(lambda: stage.hitrun("topics", "create")[0] == 0, within_s=30, every_s=0.5)
    return (stage.changelog, "the state is lost", "--rebuild")  # whichever lane is first


def retention(ground: Ground) -> Sequence[str]:
    """A whole stream was deleted before anybody read it, and all that was read before it."""
    stage = ground.stage
    names = [stage.topic(role) for role in INPUTS]
    read = [r for r in stage.kafka.read(*names) if r.partition == HURT]
    ground.flow().join()
    for (topic, partition), end in stage.kafka.ends(*names).items():
        if partition == HURT:
            ground.delete(topic, end)
    ground.gone += read
    return ("input lost", f"[{HURT}]", "the position is", "--rebuild")


REFUSED: tuple[Damage, ...] = (
    truncated,
    overwritten,
    tombstone,
    foreign,
    older,
    no_position,
    unreadable,
    newer,
    emptied,
    retention,
)


def _said(stage: Stage) -> dict[tuple[str, int], int]:
    """The ends of what the hurt lane writes: not even a transaction's marker may be added."""
    topics = [stage.topic(role) for role in OUTPUTS]
    ends = stage.kafka.ends(*topics, stage.changelog)
    return {place: end for place, end in ends.items() if place[1] == HURT}


def refused_twice(ground: Ground, name: str, words: Sequence[str]) -> None:
    """A worker, and the next one, refuse in words and write nothing to the hurt lane."""
    outcome, before = ground.outcome, _said(ground.stage)
    for attempt in ("first", "second"):
        worker = ground.stage.worker(name=f"{name}-{attempt}")
        code = worker.wait(within_s=60)
        why = _why(worker)
        outcome.demand(code == HALTED, f"{name}, {attempt} start: exit {code}: {why}")
        for word in words:
            outcome.demand(word in why, f"{name}, {attempt} start: no {word!r} in: {why}")
        outcome.demand("Traceback" not in worker.stderr(), worker.told("a trace"))
        if attempt == "first":
            outcome.notes.setdefault("refused", {})[name] = why
    outcome.demand(_said(ground.stage) == before, f"{name}: something was written nevertheless")


def _why(worker: Process) -> str:
    found = worker.events("worker.halted") or worker.events()
    return str(found[-1].get("why", "")) if found else worker.stderr()[-500:]


def refused(arena: Arena, outcome: Outcome) -> None:
    """Every damage in turn; after each a rebuild, and all that was ever sent is verified."""
    settings = SETTINGS | {"session_timeout_ms": SESSION_MS}
    home = arena.home / "refused"
    with Stage(arena.kafka, home, partitions=PARTITIONS, policy=STEADY, **settings) as stage:
        create_topics(stage, PARTITIONS)
        ground = Ground(arena, stage, outcome)
        outcome.demand(ground.worked(flow=ground.flow()).right > 15, "nothing to lose")
        for damage in REFUSED:
            name = damage.__name__
            words = damage(ground)
            flow = ground.flow()  # there is something to be silent about
            refused_twice(ground, name, words)
            report = ground.worked("--rebuild", flow=flow)
            outcome.problems += [f"{name}: {problem}" for problem in report.problems]
            outcome.faults += 1
            arena.say(f"{name}: refused twice, rebuilt; {report.right} verdicts stand")
        outcome.add(report)
        _kept(ground)
        elsewhere(ground)


def _kept(ground: Ground) -> None:
    """Retention takes what was read long ago: nobody minds."""
    stage = ground.stage
    names = [stage.topic(role) for role in INPUTS]
    read = [r for r in stage.kafka.read(*names) if r.partition == HURT]
    for topic in names:
        mine = [r.offset for r in read if r.topic == topic]
        if mine:
            ground.delete(topic, mine[-1])
    ground.gone += [r for r in read if r.offset < max(s.offset for s in read if s.topic == r.topic)]
    report = ground.worked(flow=ground.flow())
    ground.outcome.problems += [f"deleted below the position: {p}" for p in report.problems]
    ground.outcome.faults += 1


def elsewhere(ground: Ground) -> None:
    """The changelog is copied to another cluster, where its offsets mean nothing."""
    former = ground.stage
    records = former.kafka.read(former.changelog)
    with LocalKafka() as local:
        kafka = Kafka(local.bootstrap)
        home: Path = ground.arena.home / "elsewhere"
        settings = SETTINGS | {"session_timeout_ms": SESSION_MS}
        with Stage(kafka, home, partitions=PARTITIONS, policy=STEADY, **settings) as stage:
            create_topics(stage, PARTITIONS)
            kafka.produce(Sent(stage.changelog, r.value, r.key, r.partition) for r in records)
            other = Ground(ground.arena, stage, ground.outcome, more=ground.more)
            flow = other.flow()
            refused_twice(other, "elsewhere", ("belongs to cluster", "--rebuild"))
            report = other.outcome.add(other.worked("--rebuild", flow=flow))
            other.outcome.demand(report.right > 15, f"elsewhere: only {report.right} verdicts")
    ground.outcome.faults += 1


def damage(arena: Arena) -> Outcome:
    """See the module."""
    outcome = full_disk(arena)
    refused(arena, outcome)
    return outcome


SCENARIOS = [
    Scenario(
        10,
        "damage",
        "full disk; changelog truncated, changed, compacted wrongly, newer, foreign; inputs lost: "
        "refused, and rebuilt",
        damage,
    )
]
