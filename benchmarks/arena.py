"""Where a figure is taken: a Kafka of its own, the topics, and workers on one core."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from msgspec import Struct

from schemas.topics import Topics
from streams.local import LocalKafka
from tests.support.kafka import Kafka
from tests.support.worker import Process

PARTITIONS = 4
WORKER_CORE = 0


class Arena(Struct):
    """One Kafka with empty topics."""

    bootstrap: str
    topics: Topics
    home: Path
    env: dict[str, str]
    partitions: int = PARTITIONS

    def worker(self, name: str, **settings: str) -> Process:
        """A worker on its core; `settings` without HITRUN_."""
        more = {f"HITRUN_{key.upper()}": value for key, value in settings.items()}
        process = Process("worker", home=self.home, env=self.env | more, name=name)
        if (os.cpu_count() or 1) > 1:
            psutil.Process(process.pid).cpu_affinity([WORKER_CORE])
        return process


@contextmanager
def arena(*, group: str = "bench", partitions: int = PARTITIONS) -> Iterator[Arena]:
    """A Kafka that is gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="hitrun-bench-") as home,
        LocalKafka(quick_start=False, heap_mib=1024) as broker,
    ):
        kafka = Kafka(broker.bootstrap)
        topics = Topics(group=group)
        for spec in topics.specs():
            config = {key.replace(".", "_"): value for key, value in spec.config.items()}
            kafka.create({spec.name: partitions}, **config)
        env = {
            "HITRUN_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
            "HITRUN_GROUP": group,
            "HITRUN_HTTP_PORT": "0",
            # A prepared backlog is days old: its payments are silent by nature.
            "HITRUN_INPUT_SILENCE_MS": "0",
        }
        yield Arena(broker.bootstrap, topics, Path(home), env, partitions)


class Spent:
    """CPU seconds and wall seconds of a process since it was made."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._wall = time.monotonic()
        self._cpu = self._now()

    def _now(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system

    @property
    def cpu_s(self) -> float:
        return self._now() - self._cpu

    @property
    def wall_s(self) -> float:
        return time.monotonic() - self._wall

    @property
    def rss_mb(self) -> float:
        return self._process.memory_info().rss / 1e6


def quantile(sorted_values: list[float], share: float) -> float:
    """The smallest value that `share` of all do not exceed."""
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]
