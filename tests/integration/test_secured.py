"""The promises of docs/security.md, on a broker that enforces TLS, passwords and ACLs.

One short stream is worked through by principals that may do no more than the docs list; the tests
look at what came of it, what was printed, and what happens when something is missing.
"""

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import uvloop
from aiokafka import AIOKafkaConsumer

from schemas.topics import Topics
from streams import acls
from streams.acls import Acl
from tests.support import flow
from tests.support.flow import Flow, mix, poison, settle, verified
from tests.support.kafka import Kafka, run
from tests.support.secured import Authority, Secured, secured
from tests.support.stage import INPUTS, OUTPUTS, Stage
from tests.support.verifier import Report
from tests.support.worker import Process

PARTITIONS = 2
SEED = 4711
"""A number that is in the customers' ids and nowhere else."""

IDS = re.compile(rf"(c|k|bad){SEED + flow.SEED}")
REFUSED_S = 60.0
"""Half of the time a worker waits for a Kafka that is not there."""

LACKING = {
    "txn": ("Write", "TransactionalId", "{group}-"),
    "group": ("Read", "Group", "{group}"),
    "state-read": ("Read", "Topic", "{changelog}"),
    "state-write": ("Write", "Topic", "{changelog}"),
    "letters": ("Write", "Topic", "{payment}.dlq"),
    "command": ("Write", "Topic", "{command}"),
}
"""A user for each: what it lacks of a worker's ACLs."""


@dataclass
class Day:
    """What the principals did, before anything is judged."""

    place: Secured
    stage: Stage
    topics: Topics
    worker: Process
    report: Report
    pages: str = ""
    heard: list[bytes] = field(default_factory=list)
    arguments: str = ""
    listening: set[str] = field(default_factory=set)
    codes: dict[str, int] = field(default_factory=dict)

    def printed(self) -> str:
        return "".join(p.stdout() + p.stderr() for p in self.stage.processes)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    users = ["creator", "checker", "worker", "redriver", "inspector", "producer"]
    users += ["consumer", *LACKING]
    with secured(tmp_path_factory.mktemp("secured"), users) as made:
        yield made


@pytest.fixture(scope="module")
def day(place: Secured) -> Iterator[Day]:
    home = place.home / "stage"
    with Stage(
        place.admin, home, partitions=PARTITIONS, policy=flow.POLICY, **flow.SETTINGS
    ) as stage:
        names = {role: stage.topic(role) for role in (*INPUTS, *OUTPUTS)}
        topics = Topics(group=stage.group, **names)
        place.allow("creator", acls.create(topics))
        place.allow("checker", acls.check(topics))
        place.allow("worker", acls.worker(topics))
        place.allow("redriver", acls.redrive(topics, "payment"))
        place.allow("inspector", acls.inspect(topics))
        place.allow("producer", acls.producers(topics))
        place.allow("consumer", acls.consumers(topics, "crm"))
        yield _lived(place, stage, topics)


def _lived(place: Secured, stage: Stage, topics: Topics) -> Day:
    codes = {}
    stage.env |= place.settings("creator")
    codes["create"], *_ = stage.hitrun("topics", "create")
    worker = stage.worker(env=place.settings("worker")).wait_ready()
    now = _send(place, stage)
    pages = "".join(worker.get(page)[1] for page in ("/metrics", "/health/ready", "/health/live"))
    process = psutil.Process(worker.pid)
    arguments = " ".join(process.cmdline())
    broker = place.local.nodes[0].pid
    assert broker is not None
    arguments += " ".join(psutil.Process(broker).cmdline())
    listening = {
        each.laddr.ip
        for each in process.net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    }
    report = verified(stage, now, partitions=PARTITIONS)
    codes["worker"] = worker.stop()
    heard = _hear(place.kafka("consumer"), topics)
    stage.env |= place.settings("checker")
    codes["check"], *_ = stage.hitrun("topics", "check")
    stage.env |= place.settings("redriver")
    codes["redrive"], *_ = stage.hitrun("redrive", stage.dead_letters_of("payment"))
    codes["inspect, not allowed"], *_ = stage.hitrun("inspect", "nobody")
    stage.env |= place.settings("inspector")
    codes["inspect"], *_ = stage.hitrun("inspect", "nobody")
    stage.hitrun("policy", "show")
    return Day(place, stage, topics, worker, report, pages, heard, arguments, listening, codes)


def _send(place: Secured, stage: Stage) -> int:
    """A short stream with every kind of bad record that a broker takes, by the producer."""
    steps = mix(seed=SEED, checkouts=60, seconds=2)
    steps += poison(seed=SEED + flow.SEED, at_ms=500, partitions=PARTITIONS)
    steps = [step for step in steps if len(step.make(0).value or b"") < 900_000]
    admin, stage.kafka = stage.kafka, place.kafka("producer")
    sending = Flow(stage, steps).start()
    sending.join()
    stage.kafka = admin
    return settle(stage, sending, partitions=PARTITIONS)


def _hear(kafka: Kafka, topics: Topics) -> list[bytes]:
    """The verdicts, as a consumer with a group of its own gets them."""

    async def act() -> list[bytes]:
        async with AIOKafkaConsumer(
            topics.verdict,
            topics.customer,
            **kafka.client,
            group_id="crm",
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        ) as consumer:
            found: list[bytes] = []
            while not found:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    found += [record.value for record in records]
            return found

    return run(act())


def test_every_principal_does_its_work_with_no_more_than_the_listed_acls(day: Day) -> None:
    done = {"create": 0, "worker": 0, "check": 0, "redrive": 0}
    looked = {"inspect": 1, "inspect, not allowed": 3}  # read to the end: nobody is not known
    assert day.codes == done | looked, day.printed()[-3000:]
    assert day.report.ok, str(day.report)
    assert day.report.right > 0
    assert day.heard


def test_a_worker_with_its_acls_complains_of_nothing(day: Day) -> None:
    assert not day.worker.events("topic.doubtful")
    assert not day.worker.events("group.commit_failed")
    assert not [each for each in day.worker.events() if each["level"] == "error"]


def test_no_customer_is_named_in_logs_metrics_or_health(day: Day) -> None:
    letters = day.stage.kafka.read(*(day.stage.dead_letters_of(role) for role in INPUTS))
    assert len(letters) > 10  # there was something to say
    assert "hitrun_dead_letters" in day.pages
    assert not IDS.search(day.pages)
    found = IDS.search(day.worker.stderr())
    assert found is None, day.worker.stderr()[found.start() - 300 :][:600]


def test_the_pages_are_for_this_machine_only(day: Day) -> None:
    assert day.listening == {"127.0.0.1"}


def lacking(day: Day, user: str) -> Acl:
    operation, resource, name = LACKING[user]
    whose = {
        "group": day.topics.group,
        "changelog": day.topics.changelog,
        "payment": day.topics.payment,
        "command": day.topics.command,
    }
    wanted = (operation, resource, name.format(**whose))
    (found,) = (
        acl for acl in acls.worker(day.topics) if (acl.operation, acl.resource, acl.name) == wanted
    )
    return found


@pytest.mark.slow
def test_a_worker_that_lacks_one_acl_ends_and_names_it(day: Day) -> None:
    started = {}
    for user in LACKING:
        lack = lacking(day, user)
        day.place.allow(user, [acl for acl in acls.worker(day.topics) if acl != lack])
        started[user] = day.stage.worker(name=user, env=day.place.settings(user))
    for user, worker in started.items():
        lack = lacking(day, user)
        assert worker.wait(within_s=REFUSED_S) == 3, worker.told(str(lack))
        why = [each["why"] for each in worker.events("worker.failed")]
        assert len(why) == 1, worker.told(str(lack))
        assert lack.name in why[0]
        assert "docs/security.md" in why[0]


def test_who_is_not_who_they_say_ends_with_the_reason(day: Day, tmp_path: Path) -> None:
    good = day.place.settings("worker")
    port = day.place.local.nodes[0].port
    by_name = {"HITRUN_KAFKA_BOOTSTRAP_SERVERS": f"localhost:{port}"}
    wrong_file = tmp_path / "wrong"
    wrong_file.write_text("not-the-password\n")
    cases: dict[str, tuple[dict[str, str], str]] = {
        "authority": (
            {"HITRUN_KAFKA_TLS_CA_FILE": str(Authority(tmp_path, "other").cert)},
            "HITRUN_KAFKA_TLS_CA_FILE",
        ),
        "name": (by_name, "ostname mismatch"),
        "password": (
            {"HITRUN_KAFKA_SASL_PASSWORD_FILE": str(wrong_file)},
            "does not accept the password of worker",
        ),
        "mechanism": ({"HITRUN_KAFKA_SASL_MECHANISM": "PLAIN"}, "HITRUN_KAFKA_SASL_MECHANISM"),
    }
    started = {
        name: day.stage.worker(name=f"wrong-{name}", env=good | change)
        for name, (change, _) in cases.items()
    }
    for name, worker in started.items():
        assert worker.wait(within_s=REFUSED_S) == 3, worker.told(name)
        (failed,) = worker.events("worker.failed")
        assert cases[name][1] in failed["why"]
    day.stage.env |= good | cases["password"][0]
    code, _, said = day.stage.hitrun("topics", "check")
    assert (code, "does not accept the password of worker" in said) == (3, True), said


def test_no_secret_is_printed_or_among_the_arguments(day: Day) -> None:
    everything = day.printed() + day.arguments + day.pages
    everything += (day.place.local.data / "node-1" / "kafka.log").read_text()
    assert len(day.stage.processes) >= 6
    for secret in (*day.place.secret_words(), "not-the-password"):
        assert secret not in everything


def test_a_tls_connection_with_a_fetch_under_way_ends_at_once(day: Day) -> None:
    async def act() -> float:
        consumer = AIOKafkaConsumer(
            day.topics.verdict, **day.stage.kafka.client, fetch_max_wait_ms=20_000
        )
        await consumer.start()
        await consumer.getmany(timeout_ms=500)  # it is at the end: the broker waits for more
        before = time.monotonic()
        await consumer.stop()
        return time.monotonic() - before

    # asyncio and uvloop would wait for the broker's goodbye, up to half a minute.
    for runner in (asyncio.run, uvloop.run):
        assert runner(act()) < 5
