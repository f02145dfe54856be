"""The names and call orders of Faust and aiokafka that streams/ overrides or leans on.

They are private or undocumented, so the versions are pinned; when one is raised these tests say
what has to be looked at again.
"""

import asyncio
import inspect
from importlib.metadata import version
from types import SimpleNamespace

import aiokafka
import faust
import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import Assignment, SubscriptionState
from aiokafka.errors import KafkaError
from aiokafka.protocol.offset import OffsetRequest, OffsetResetStrategy
from faust.app.base import BootStrategy
from faust.tables.manager import TableManager
from faust.transport.consumer import Consumer, ThreadDelegateConsumer
from faust.transport.drivers import aiokafka as driver
from faust.types.tables import TableManagerT

from streams.lanes import Lanes
from streams.transport import BatchConsumer, BatchConsumerThread, BatchTransport


@pytest.mark.parametrize(
    ("name", "pinned"),
    [("faust-streaming", "0.15.3"), ("aiokafka", "0.14.0"), ("mode-streaming", "0.7.1")],
)
def test_the_pinned_versions_are_installed(name: str, pinned: str) -> None:
    assert version(name) == pinned


def test_lanes_have_all_that_faust_calls_on_a_table_manager() -> None:
    abstract = TableManagerT.__abstractmethods__
    missing = [name for name in abstract if getattr(Lanes, name) is getattr(TableManagerT, name)]
    assert missing == []


def test_faust_calls_the_table_manager_in_the_order_the_lanes_expect() -> None:
    revoked = inspect.getsource(faust.App._on_partitions_revoked)
    places = [
        revoked.index("self.tables.on_partitions_revoked"),
        revoked.index("consumer.stop_flow"),
        revoked.index("self.flow_control.clear"),
        revoked.index("self.on_partitions_revoked.send"),
    ]
    assert places == sorted(places)
    assigned = inspect.getsource(faust.App._on_partitions_assigned)
    places = [
        assigned.index("consumer.pause_partitions"),
        assigned.index("self.topics.on_partitions_assigned"),
        assigned.index("self.tables.on_rebalance"),
    ]
    assert places == sorted(places)
    stopping = inspect.getsource(faust.App._stop_consumer)
    assert stopping.index("tables.on_partitions_revoked") < stopping.index("self.tables.stop")


def test_faust_starts_the_fetcher_in_recovery_only_so_that_we_must() -> None:
    assert "_fetcher" not in inspect.getsource(BootStrategy.server)
    assert "_fetcher.stop" in inspect.getsource(TableManager.on_stop)


def test_the_driver_hooks_exist_and_are_overridden() -> None:
    assert BatchTransport.Consumer is BatchConsumer
    assert "_new_consumer_thread" in vars(ThreadDelegateConsumer)
    assert "_create_worker_consumer" in vars(driver.AIOKafkaConsumerThread)
    assert "getmany" in vars(Consumer)
    assert {"_new_consumer_thread", "getmany"} <= vars(BatchConsumer).keys()
    assert "_create_worker_consumer" in vars(BatchConsumerThread)
    drain = inspect.getsource(Consumer._drain_messages)
    assert "getmany(timeout=" in drain
    assert "self.suspend_flow.wait()" in drain


def test_aiokafka_still_has_what_the_fetch_reads() -> None:
    fetched = inspect.signature(Fetcher.fetched_records)
    assert list(fetched.parameters) == ["self", "partitions", "timeout", "max_records"]
    for name in ("fetch_context", "reassignment_in_progress", "subscription"):
        assert hasattr(SubscriptionState, name)
    for name in ("tps", "active", "state_value"):
        assert hasattr(Assignment, name)


def test_a_fetcher_that_ended_in_the_background_ends_the_fetch() -> None:
    """It logs "Unexpected error in fetcher routine" (a connection that closes while it is written
    to is enough) and never fetches again; aiokafka's own getmany would not notice either."""
    assert "self._fetch_task = create_task(" in inspect.getsource(Fetcher.__init__)
    assert hasattr(GroupCoordinator, "check_errors")

    async def fetch() -> None:
        task = asyncio.get_running_loop().create_future()
        task.set_exception(KafkaError("Unexpected error during data retrieval"))
        thread = BatchConsumerThread.__new__(BatchConsumerThread)
        consumer = SimpleNamespace(
            _coordinator=SimpleNamespace(check_errors=lambda: None),
            _fetcher=SimpleNamespace(_fetch_task=task),
        )
        thread._ensure_consumer = lambda: consumer
        await thread._fetch({aiokafka.TopicPartition("t", 0)})

    with pytest.raises(KafkaError, match="during data retrieval"):
        asyncio.run(fetch())


def test_the_ends_of_logs_are_asked_for_with_what_aiokafka_has() -> None:
    assert list(inspect.signature(OffsetRequest).parameters) == [
        "replica_id",
        "isolation_level",
        "topics",
    ]
    assert OffsetResetStrategy.LATEST == -1
    for name in ("send", "force_metadata_update"):
        assert hasattr(AIOKafkaClient, name)
    assert hasattr(ClusterMetadata, "leader_for_partition")
    assert "replica_id" not in inspect.signature(aiokafka.AIOKafkaConsumer.end_offsets).parameters


def test_a_commit_does_not_look_at_failed_batches_so_that_we_must() -> None:
    commit = inspect.getsource(aiokafka.AIOKafkaProducer.commit_transaction)
    assert "future" not in commit
