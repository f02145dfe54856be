"""The Faust application: the whole data path on one screen.

Kafka -> transport.BatchConsumer (one message per partition and fetch) -> these agents ->
lanes.Lanes.feed -> agents/*.py (decode, check) -> domain.ledger.Ledger (facts, standings) ->
lane.Lane (one Kafka transaction: outputs, dead letters, changelog, position).
"""

from __future__ import annotations

from typing import Any

import faust
from faust.app.base import BootStrategy
from faust.transport.drivers import TRANSPORTS

from agents import checkout, command, order, payment
from schemas.topics import Stream
from streams.lane import Feed
from streams.lanes import Lanes
from streams.options import WorkerOptions
from streams.settings import Settings
from streams.table import NAME, ReadOnlyTable

SCHEME = "hitrun"
TRANSPORTS.aliases[SCHEME] = "streams.transport:BatchTransport"


class Undecoded(faust.Schema):
    """Hands a batch through as it is: decoding belongs to the agents, where a bad record is a
    dead letter and not the end of the batch."""

    def compile(self, app: Any, **_: Any) -> Any:
        async def decode(message: Any, *, propagate: bool = False) -> Any:
            del propagate
            return app.create_event(None, message.value, message.headers, message)

        return decode


class LaneBoot(BootStrategy):
    """Lanes have producers of their own; Faust's is never started. Nor is Faust's web."""

    enable_kafka_producer = False
    enable_web = False


class HitrunApp(faust.App):
    """A Faust app that knows, before its tables are made, what they need."""

    BootStrategy = LaneBoot
    options: WorkerOptions

    def _create_directories(self) -> None:
        """Faust would make `<group>-data` in the current folder; all our state is in Kafka."""


def create_app(settings: Settings, options: WorkerOptions) -> HitrunApp:
    """The application of one worker."""
    session_s = settings.session_timeout_ms / 1000
    app = HitrunApp(
        settings.group_id,
        broker=f"{SCHEME}://{settings.kafka_bootstrap_servers.split(',')[0]}",
        TableManager=Lanes,
        Table=ReadOnlyTable,
        agent_supervisor="mode.CrashingSupervisor",
        autodiscover=False,
        broker_session_timeout=session_s,
        broker_heartbeat_interval=max(0.3, session_s / 5),
        broker_rebalance_timeout=max(30.0, session_s * 3),
        broker_request_timeout=max(40.0, session_s + 1),
        consumer_group_instance_id=settings.group_instance_id,
        consumer_max_fetch_size=1024 * 1024,
        stream_buffer_maxsize=16,  # batches
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        worker_redirect_stdouts=False,
        store="memory://",
    )
    app.options = options
    declare(app)
    app.on_partitions_revoked.connect(app.tables.drain)
    return app


def declare(app: HitrunApp) -> None:
    """The table and the four agents."""
    topics = app.options.topics
    app.Table(NAME, partitions=app.options.partitions, key_type=bytes, value_type=bytes)

    def agent(stream: Stream, feed: Feed) -> None:
        topic = app.topic(topics.name(stream), schema=Undecoded(), acks=False)

        async def take(batches: Any) -> None:
            async for batch in batches:
                app.tables.feed(stream, batch, feed)

        app.agent(topic, name=f"hitrun.{stream}")(take)

    agent("checkout", checkout.feed)
    agent("payment", payment.feed)
    agent("order", order.feed)
    agent("command", command.feed)
