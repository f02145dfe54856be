"""`hitrun topics create` and `check`, and what a worker asks of its topics before it starts.

`schemas/topics.py` says how every topic should be; here it is made so, or compared with the
cluster. Topics that are there are never changed.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, TextIO, TypeVar

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from msgspec import Struct

from schemas.topics import REPLICATION, TopicSpec, durability
from streams.refused import refusal
from streams.settings import Settings, kafka_client_options

T = TypeVar("T")

ANSWER_MS: Final = 20_000
OFFSETS_S: Final = 30.0
"""How long a group's coordinator may take to know its offsets."""

READY_S: Final = 30.0
"""How long a new topic may take to have leaders."""

TRANSACTION_TIMEOUT_MS: Final = 15_000
"""What a worker's transactions ask of the broker's `transaction.max.timeout.ms`."""

IDLE_ID_MS: Final = 2 * 86_400_000
"""A lane writes at least daily; a broker must not forget its transactional id before."""

MISSING: Final = "(missing)"


class Finding(Struct, frozen=True):
    """One thing that is otherwise than it should be."""

    severity: Literal["error", "warning"]
    """error: a worker must not start."""
    topic: str
    """Or the broker it is about."""
    what: str
    wanted: str
    found: str
    why: str
    """What would happen, in words."""

    def __str__(self) -> str:
        return f"{self.topic}: {self.what} is {self.found}, should be {self.wanted}: {self.why}"


class Actual(Struct, frozen=True):
    """A topic as the cluster has it."""

    partitions: int
    replication: int
    config: Mapping[str, str] | None
    """None: we are not allowed to see it."""


class TopicReport(Struct, frozen=True):
    """What a comparison came to."""

    findings: tuple[Finding, ...]
    partitions: int
    """Of the checkout topic; 0 when it is missing."""
    cluster_id: str
    brokers: int

    @property
    def errors(self) -> list[Finding]:
        """What a worker must not start with."""
        return [each for each in self.findings if each.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """What it should be told of."""
        return [each for each in self.findings if each.severity == "warning"]


# For the worker


async def check_topics(admin: AIOKafkaAdminClient, settings: Settings) -> TopicReport:
    """Compares the topics with the cluster. Raises KafkaError when it does not answer."""
    cluster = await admin.describe_cluster()
    specs = settings.topics.specs()
    actual = await _actual(admin, [spec.name for spec in specs])
    brokers = len(cluster["brokers"])
    replication, extra = _durability(settings, brokers)
    found = compare(specs, actual, replication=replication, extra=extra)
    found += await _broker_findings(admin, [each["node_id"] for each in cluster["brokers"]])
    there = actual.get(settings.topics.checkout)
    return TopicReport(
        tuple(sorted(found, key=lambda each: (each.severity, each.topic))),
        there.partitions if there is not None else 0,
        str(cluster.get("cluster_id") or ""),
        brokers,
    )


async def group_offsets(
    admin: AIOKafkaAdminClient, group: str, places: list[TopicPartition]
) -> dict[TopicPartition, int]:
    """The group's offsets, 0 where it has none. Never fewer than asked for: aiokafka overlooks an
    error of the whole answer (a coordinator that is just loading), and "none" would be taken for
    a group that never read. Asked for by partition, the answer is then seen to be empty. Raises
    ConnectionError after OFFSETS_S."""
    until = time.monotonic() + OFFSETS_S
    while True:
        try:
            found = await admin.list_consumer_group_offsets(group, partitions=places)
            if len(found) == len(places):
                return {tp: max(0, told.offset) for tp, told in found.items()}
            why = "the group's coordinator is not ready"
        except KafkaError as error:
            if not error.retriable:
                raise
            why = str(error)
        if time.monotonic() > until:
            raise ConnectionError(f"how far {group} is cannot be read: {why}")
        await asyncio.sleep(0.2)


# For people


def create(settings: Settings, *, out: TextIO, dry_run: bool = False) -> int:
    """Makes the topics that are missing, with the inputs' partition count where inputs are there
    already. Returns 1 when one could not be made, or the inputs differ among themselves."""

    async def act() -> int:
        async with connected(settings) as admin:
            return await _create(admin, settings, out, dry_run=dry_run)

    return run(act(), settings)


def check(settings: Settings, *, out: TextIO) -> int:
    """Prints what differs. Returns 1 when a worker would refuse to start."""

    async def act() -> TopicReport:
        async with connected(settings) as admin:
            return await check_topics(admin, settings)

    report = run(act(), settings)
    if not report.findings:
        out.write(f"all {len(settings.topics.specs())} topics are as they should be, ")
        out.write(f"with {report.partitions} partitions\n")
        return 0
    rows = [("", "topic", "what", "wanted", "found", "why")]
    rows += [(f.severity, f.topic, f.what, f.wanted, f.found, f.why) for f in report.findings]
    _table(rows, out)
    return 1 if report.errors else 0


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client, closed at the end."""
    admin = AIOKafkaAdminClient(**kafka_client_options(settings), request_timeout_ms=ANSWER_MS)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


def run(work: Coroutine[Any, Any, T], settings: Settings) -> T:
    """Runs a command's work; a Kafka that does not answer is a ConnectionError in words."""
    try:
        return asyncio.run(work)
    except KafkaError as error:
        if refused := asyncio.run(refusal(settings, error)):
            raise refused from error
        servers = settings.kafka_bootstrap_servers
        where = "is it running there? HITRUN_KAFKA_BOOTSTRAP_SERVERS says where"
        raise ConnectionError(f"Kafka at {servers}: {error}; {where}") from error


# Comparing


def compare(
    specs: Sequence[TopicSpec],
    actual: Mapping[str, Actual],
    *,
    replication: int,
    extra: Mapping[str, str],
) -> list[Finding]:
    """What differs; `extra` are settings that every topic of ours should have besides its own."""
    first = actual.get(specs[0].name)
    found: list[Finding] = []
    for spec in specs:
        topic = actual.get(spec.name)
        if topic is None:
            found.append(
                Finding("error", spec.name, "topic", "there", MISSING, "see `hitrun topics create`")
            )
            continue
        if first is not None and topic.partitions != first.partitions:
            found.append(
                Finding(
                    "error",
                    spec.name,
                    "partitions",
                    str(first.partitions),
                    str(topic.partitions),
                    f"as {specs[0].name} has, or a customer's events would not meet",
                )
            )
        if topic.replication < replication:
            wanted, is_now = str(replication), str(topic.replication)
            why = "a broker that goes takes data along"
            found.append(Finding("warning", spec.name, "replication", wanted, is_now, why))
        found += _config_findings(spec, topic, extra)
    return found


def _config_findings(spec: TopicSpec, topic: Actual, extra: Mapping[str, str]) -> list[Finding]:
    if topic.config is None:
        why = "we may not see its settings (ACL DescribeConfigs)"
        return [Finding("warning", spec.name, "settings", "readable", "hidden", why)]
    found = []
    for name, (wanted, is_now) in spec.differs(topic.config).items():
        severity, why = _verdict(spec, name, is_now)
        found.append(Finding(severity, spec.name, name, wanted, is_now or "(unset)", why))
    # Inputs belong to the marketplace: how many copies it wants is its own affair.
    copies, least = extra.get("min.insync.replicas", "1"), topic.config.get("min.insync.replicas")
    if least is not None and least.isdigit():
        if int(least) > topic.replication:
            found.append(
                Finding(
                    "error",
                    spec.name,
                    "min.insync.replicas",
                    f"at most {topic.replication}",
                    least,
                    "with so few copies nothing can ever be written",
                )
            )
        elif int(least) < int(copies) and spec.written_by == "hitrun":
            why = "a write counts before a second broker has it"
            found.append(Finding("warning", spec.name, "min.insync.replicas", copies, least, why))
    return found


def _verdict(spec: TopicSpec, name: str, is_now: str) -> tuple[Literal["error", "warning"], str]:
    """How bad it is, and what would happen."""
    is_input = spec.read_by == "hitrun" and spec.role != "changelog"
    if name == "cleanup.policy" and spec.role == "changelog":
        return "error", "customers' state would be deleted"
    if name == "cleanup.policy" and is_input and "compact" in is_now:
        return "error", "only the newest event of each customer would be kept"
    if name == "cleanup.policy":
        return "warning", "records go sooner, or stay longer, than readers were told"
    if name == "max.message.bytes":
        return "error", "a large record could never be written and would stop its worker"
    if name == "message.timestamp.type" and is_input:
        return "warning", "the worker's clock stands in for the moment of appending"
    if name == "message.timestamp.type":
        return "warning", "a worker whose clock is wrong would not be noticed"
    if name == "retention.ms" and is_input:
        return "warning", "a worker that was down for longer would lose events"
    if name == "retention.ms":
        return "warning", "readers who come late, and a rebuild, find less"
    return "warning", "takeovers read more than they need to"


async def _broker_findings(admin: AIOKafkaAdminClient, nodes: Sequence[int]) -> list[Finding]:
    """Of the brokers' own settings; nothing when we are not allowed to see them."""
    found: list[Finding] = []
    for node in nodes:
        resource = ConfigResource(ConfigResourceType.BROKER, str(node))
        config = (await _configs(admin, [resource])).get(str(node)) or {}
        for name, least, severity, why in _BROKER:
            is_now = config.get(name, "")
            if is_now.isdigit() and int(is_now) < least:
                found.append(
                    Finding(severity, f"broker {node}", name, f"at least {least}", is_now, why)
                )
    return found


_BROKER: Final[tuple[tuple[str, int, Literal["error", "warning"], str], ...]] = (
    (
        "transaction.max.timeout.ms",
        TRANSACTION_TIMEOUT_MS,
        "error",
        "workers' transactions would be refused",
    ),
    (
        "transactional.id.expiration.ms",
        IDLE_ID_MS,
        "warning",
        "an idle worker's right to write would be forgotten",
    ),
)


# Asking the cluster


async def _actual(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, Actual]:
    """Those of the topics that are there. The cluster is asked for all it has: asked by name, a
    broker with auto.create.topics.enable, Kafka's default, would make the missing ones its way."""
    wanted = set(names)
    described = {
        each["topic"]: each["partitions"]
        for each in await admin.describe_topics()
        if each["error_code"] == 0 and each["topic"] in wanted
    }
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in described]
    configs = await _configs(admin, resources) if resources else {}
    return {
        name: Actual(
            len(partitions), min(len(each["replicas"]) for each in partitions), configs.get(name)
        )
        for name, partitions in described.items()
    }


async def _configs(
    admin: AIOKafkaAdminClient, resources: list[ConfigResource]
) -> dict[str, dict[str, str]]:
    """The settings of each topic or broker that may be seen, by its name."""
    found: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs(resources):
        for code, _, _, name, entries in answer.resources:
            if code == 0:
                found[name] = {entry[0]: entry[1] or "" for entry in entries}
    return found


# Making


async def _create(
    admin: AIOKafkaAdminClient, settings: Settings, out: TextIO, *, dry_run: bool
) -> int:
    specs = settings.topics.specs()
    actual = await _actual(admin, [spec.name for spec in specs])
    inputs = {actual[name].partitions for name in settings.topics.inputs() if name in actual}
    if len(inputs) > 1:
        _say("the input topics differ in their partition counts; nothing was made: see check")
        return 1
    partitions = inputs.pop() if inputs else settings.topic_partitions
    if partitions != settings.topic_partitions:
        _say(
            f"the input topics have {partitions} partitions, so that is what the others get "
            f"(HITRUN_TOPIC_PARTITIONS is {settings.topic_partitions})"
        )
    brokers = len((await admin.describe_cluster())["brokers"])
    replication, extra = _durability(settings, brokers)
    missing = [spec for spec in specs if spec.name not in actual]
    wanted = [
        NewTopic(spec.name, partitions, replication, topic_configs={**spec.config, **extra})
        for spec in missing
    ]
    refused: dict[str, str] = {}
    if wanted and not dry_run:
        answer = await admin.create_topics(wanted, timeout_ms=ANSWER_MS)
        for name, code, message in answer.topic_errors:
            if code not in (0, TopicAlreadyExistsError.errno):  # somebody else was quicker
                refused[name] = message or for_code(code).__name__
        await _until_ready(admin, {spec.name for spec in missing} - refused.keys())
    done = "missing" if dry_run else "created"
    for spec in specs:
        state = "there" if spec.name in actual else "failed" if spec.name in refused else done
        out.write(f"{state:<8} {spec.name}\n")
    for name, why in refused.items():
        _say(f"{name} could not be made: {why}")
    return 1 if refused else 0


async def _until_ready(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    """Until every partition has a leader: a worker started right behind finds them all."""
    until = time.monotonic() + READY_S
    while names:
        for each in await admin.describe_topics(sorted(names)):
            led = all(part["leader"] >= 0 for part in each["partitions"])
            if each["error_code"] == 0 and led:
                names.discard(each["topic"])
        if names and time.monotonic() > until:
            raise ConnectionError(f"made, but without leaders after {READY_S:g} s: {sorted(names)}")
        if names:
            await asyncio.sleep(0.1)


def _durability(settings: Settings, brokers: int) -> tuple[int, dict[str, str]]:
    return durability(brokers=brokers, replication=settings.topic_replication or REPLICATION)


# Printing


def _table(rows: Sequence[tuple[str, ...]], out: TextIO) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        out.write("  ".join(cells).rstrip() + "\n")


def _say(line: str) -> None:
    print(f"hitrun: {line}", file=sys.stderr)
