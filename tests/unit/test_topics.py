"""Topics as data, and the partition of a key."""

import random

import pytest
from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from schemas.partition import murmur2, partition_of
from schemas.topics import STREAMS, Topics, durability

DAY_MS = 86_400_000
SPECS = {spec.name: spec for spec in Topics().specs()}


def test_every_topic_is_there_once_with_its_default_name() -> None:
    assert list(SPECS) == [
        "marketplace.checkout.v1",
        "marketplace.payment.v1",
        "marketplace.order.v1",
        "hitrun.command.v1",
        "hitrun.verdict.v1",
        "hitrun.reminder.v1",
        "hitrun.customer.v1",
        "marketplace.checkout.v1.dlq",
        "marketplace.payment.v1.dlq",
        "marketplace.order.v1.dlq",
        "hitrun.command.v1.dlq",
        "hitrun-customers-changelog",
    ]


def test_names_and_group_are_settings() -> None:
    topics = Topics(checkout="shop.checkouts", group="blue")
    names = [spec.name for spec in topics.specs()]
    assert "shop.checkouts" in names
    assert "shop.checkouts.dlq" in names
    assert topics.changelog == "blue-customers-changelog"
    assert topics.stream_of("shop.checkouts") == "checkout"
    assert topics.stream_of("marketplace.checkout.v1") is None
    assert list(topics.inputs().values()) == list(STREAMS)


@pytest.mark.parametrize("name", [*Topics().inputs(), "hitrun-customers-changelog"])
def test_what_time_is_read_from_is_stamped_by_the_broker(name: str) -> None:
    assert SPECS[name].config["message.timestamp.type"] == "LogAppendTime"


@pytest.mark.parametrize(
    ("name", "days"),
    [
        ("marketplace.checkout.v1", 7),
        ("marketplace.payment.v1", 7),
        ("marketplace.order.v1", 7),
        ("hitrun.command.v1", 400),
        ("hitrun.verdict.v1", 400),
        ("hitrun.reminder.v1", 7),
        ("marketplace.payment.v1.dlq", 30),
    ],
)
def test_retention(name: str, days: int) -> None:
    config = SPECS[name].config
    assert config["cleanup.policy"] == "delete"
    assert config["retention.ms"] == str(days * DAY_MS)


@pytest.mark.parametrize("name", ["hitrun.customer.v1", "hitrun-customers-changelog"])
def test_what_keeps_the_newest_of_each_key_is_compacted_and_never_deleted(name: str) -> None:
    assert SPECS[name].compacted
    assert "retention.ms" not in SPECS[name].config


def test_the_changelog_is_compacted_soon_and_often() -> None:
    config = SPECS["hitrun-customers-changelog"].config
    assert config["segment.bytes"] == str(64 * 1024 * 1024)
    assert config["min.cleanable.dirty.ratio"] == "0.1"
    assert config["max.compaction.lag.ms"] == "3600000"


@pytest.mark.parametrize("name", ["marketplace.order.v1.dlq", "hitrun-customers-changelog"])
def test_dead_letters_and_changelog_take_large_records(name: str) -> None:
    assert SPECS[name].config["max.message.bytes"] == str(4 * 1024 * 1024)


def test_every_topic_names_its_writer_and_reader() -> None:
    assert all(spec.written_by and spec.read_by for spec in SPECS.values())


def test_longer_retention_does_no_harm_shorter_does() -> None:
    spec = SPECS["marketplace.checkout.v1"]
    good = dict(spec.config)
    assert spec.differs(good) == {}
    assert spec.differs(good | {"retention.ms": str(8 * DAY_MS)}) == {}
    assert spec.differs(good | {"retention.ms": "-1"}) == {}
    short = str(7 * DAY_MS - 1)
    wanted = str(7 * DAY_MS)
    assert spec.differs(good | {"retention.ms": short}) == {"retention.ms": (wanted, short)}


def test_another_setting_is_told_with_what_was_wanted() -> None:
    spec = SPECS["marketplace.checkout.v1"]
    actual = dict(spec.config) | {"message.timestamp.type": "CreateTime"}
    del actual["cleanup.policy"]
    assert spec.differs(actual) == {
        "cleanup.policy": ("delete", ""),
        "message.timestamp.type": ("LogAppendTime", "CreateTime"),
    }


@pytest.mark.parametrize(
    ("brokers", "replication", "factor", "in_sync"),
    [(1, 3, 1, "1"), (2, 3, 2, "1"), (3, 3, 3, "2"), (5, 3, 3, "2"), (5, 1, 1, "1")],
)
def test_three_copies_two_in_sync_where_there_are_three_brokers(
    brokers: int, replication: int, factor: int, in_sync: str
) -> None:
    assert durability(brokers=brokers, replication=replication) == (
        factor,
        {"min.insync.replicas": in_sync},
    )


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    ],
)
def test_murmur2_is_javas(key: bytes, hashed: int) -> None:
    """The values of Kafka's own test of its partitioner; signed there."""
    assert murmur2(key) == hashed & 0xFFFFFFFF


@given(st.binary(max_size=80))
def test_murmur2_is_aiokafkas(key: bytes) -> None:
    assert murmur2(key) == aiokafka_murmur2(key) & 0xFFFFFFFF
    assert partition_of(key, 12) == (aiokafka_murmur2(key) & 0x7FFFFFFF) % 12


def test_keys_spread_over_all_partitions() -> None:
    rng = random.Random(7)
    found = {partition_of(rng.randbytes(16), 12) for _ in range(500)}
    assert found == set(range(12))
