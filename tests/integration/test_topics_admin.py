"""`hitrun topics create` and `check` on a real Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from streams.settings import Settings
from streams.topics_admin import Actual, TopicReport, check_topics, compare, connected
from tests.support.kafka import Kafka
from tests.support.stage import Stage


def settings_of(stage: Stage) -> Settings:
    names = {name.removeprefix("HITRUN_").lower(): value for name, value in stage.env.items()}
    return Settings.model_validate(names)


def report_of(stage: Stage) -> TopicReport:
    settings = settings_of(stage)

    async def ask() -> TopicReport:
        async with connected(settings) as admin:
            return await check_topics(admin, settings)

    return asyncio.run(ask())


def config_of(stage: Stage, topic: str) -> Mapping[str, str]:
    from streams.topics_admin import _actual

    async def ask() -> Mapping[str, str]:
        async with connected(settings_of(stage)) as admin:
            return (await _actual(admin, [topic]))[topic].config or {}

    return asyncio.run(ask())


def test_what_create_makes_check_finds_nothing_wrong_with(stage: Stage) -> None:
    code, out, err = stage.hitrun("topics", "create")
    assert code == 0, err
    assert out.count("created") == 12
    code, out, err = stage.hitrun("topics", "check")
    assert (code, out) == (0, "all 12 topics are as they should be, with 4 partitions\n"), err
    changelog = config_of(stage, stage.changelog)
    assert changelog["cleanup.policy"] == "compact"
    assert changelog["message.timestamp.type"] == "LogAppendTime"
    assert changelog["segment.bytes"] == str(64 * 1024 * 1024)
    assert changelog["max.message.bytes"] == str(4 * 1024 * 1024)
    assert config_of(stage, stage.topic("reminder"))["retention.ms"] == str(7 * 86_400_000)


def test_create_leaves_alone_what_is_there_and_takes_its_partition_count(stage: Stage) -> None:
    inputs = {stage.topic(role): 3 for role in ("checkout", "payment", "order")}
    stage.kafka.create(inputs, message_timestamp_type="CreateTime")
    code, out, err = stage.hitrun("topics", "create")
    assert code == 0, err
    assert out.count("there ") == 3
    assert "the input topics have 3 partitions" in err
    report = report_of(stage)
    assert report.partitions == 3
    assert report.errors == []
    told = {(each.topic, each.what) for each in report.warnings}
    assert told == {(name, "message.timestamp.type") for name in inputs}
    assert stage.hitrun("topics", "check")[0] == 0, "a warning stops nobody"
    assert stage.hitrun("topics", "create")[1].count("there ") == 12


def test_a_dry_run_makes_nothing(stage: Stage) -> None:
    code, out, _ = stage.hitrun("topics", "create", "--dry-run")
    assert (code, out.count("missing")) == (0, 12)
    assert not any(name.startswith(stage.prefix) for name in stage.kafka.topics())


def test_what_would_break_co_partitioning_or_lose_state_is_an_error(stage: Stage) -> None:
    stage.kafka.create({stage.topic("order"): 6})
    stage.kafka.create({stage.changelog: 4}, cleanup_policy="compact,delete")
    stage.kafka.create({stage.topic("payment"): 4}, cleanup_policy="compact")
    code, out, _ = stage.hitrun("topics", "create")
    assert (code, out) == (1, ""), "which count would be right is not ours to guess"
    stage.kafka.create({stage.topic("checkout"): 4, stage.topic("checkout") + ".dlq": 4})
    errors = {(each.topic, each.what) for each in report_of(stage).errors}
    assert (stage.topic("order"), "partitions") in errors
    assert (stage.changelog, "cleanup.policy") in errors
    assert (stage.topic("payment"), "cleanup.policy") in errors
    assert (stage.topic("checkout") + ".dlq", "max.message.bytes") in errors
    assert (stage.topic("verdict"), "topic") in errors, "missing"
    code, out, _ = stage.hitrun("topics", "check")
    assert code == 1
    line = next(line for line in out.splitlines() if stage.changelog in line and "cleanup" in line)
    assert line.split()[:5] == [
        "error", stage.changelog, "cleanup.policy", "compact", "compact,delete",
    ]  # fmt: skip


def test_a_kafka_that_does_not_answer_is_told_in_a_line(tmp_path: Path) -> None:
    with Stage(Kafka("127.0.0.1:1"), tmp_path) as nowhere:
        code, out, err = nowhere.hitrun("topics", "check")
    assert (code, out) == (1, "")
    assert "hitrun: Kafka at 127.0.0.1:1: " in err
    assert "Traceback" not in err


# What differs, without a cluster


def whole(settings: Settings, **other: str) -> dict[str, Actual]:
    """All topics as they should be, each with these settings besides."""
    return {
        spec.name: Actual(12, 3, {**spec.config, "min.insync.replicas": "2", **other})
        for spec in settings.topics.specs()
    }


def found(actual: dict[str, Actual]) -> list[tuple[str, str, str]]:
    specs = Settings.model_construct().topics.specs()
    extra = {"min.insync.replicas": "2"}
    told = compare(specs, actual, replication=3, extra=extra)
    return [(each.severity, each.topic, each.what) for each in told]


def test_more_than_asked_for_does_no_harm() -> None:
    actual = whole(Settings.model_construct())
    assert found(actual) == []
    name = "marketplace.payment.v1"
    config = {**(actual[name].config or {}), "retention.ms": "-1", "segment.ms": "1"}
    assert found(actual | {name: Actual(12, 5, config)}) == []


@pytest.mark.parametrize(
    ("topic", "setting", "value", "severity"),
    [
        ("marketplace.payment.v1", "retention.ms", "1000", "warning"),
        ("hitrun.verdict.v1", "retention.ms", "1000", "warning"),
        ("hitrun.customer.v1", "cleanup.policy", "delete", "warning"),
        ("hitrun-customers-changelog", "message.timestamp.type", "CreateTime", "warning"),
        ("hitrun-customers-changelog", "max.compaction.lag.ms", "9999999999", "warning"),
        ("hitrun-customers-changelog", "min.insync.replicas", "1", "warning"),
        ("hitrun-customers-changelog", "min.insync.replicas", "4", "error"),
        ("hitrun-customers-changelog", "max.message.bytes", "1048588", "error"),
        ("hitrun-customers-changelog", "cleanup.policy", "delete", "error"),
    ],
)
def test_how_bad_a_difference_is(topic: str, setting: str, value: str, severity: str) -> None:
    actual = whole(Settings.model_construct())
    config = {**(actual[topic].config or {}), setting: value}
    assert found(actual | {topic: Actual(12, 3, config)}) == [(severity, topic, setting)]


def test_hidden_settings_and_few_copies_are_told() -> None:
    actual = whole(Settings.model_construct())
    name = "hitrun.verdict.v1"
    assert found(actual | {name: Actual(12, 3, None)}) == [("warning", name, "settings")]
    assert found(actual | {name: Actual(12, 2, actual[name].config)}) == [
        ("warning", name, "replication")
    ]
