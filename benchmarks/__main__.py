"""`./run bench`: one worker on one core drains a prepared backlog, all rules and transactions on.

Measured from the first record applied to the last expected output visible to a read_committed
reader. Then the same state is recovered by a new worker. Writes benchmarks/results.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.backlog import fill
from schemas.topics import Topics
from streams.local import LocalKafka
from tests.support.kafka import Kafka
from tests.support.worker import Process

RESULTS = Path(__file__).parent / "results.json"
PARTITIONS = 4


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--customers", type=int, default=200_000)
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="hitrun-bench-") as home,
        LocalKafka(quick_start=False, heap_mib=1024) as broker,
    ):
        kafka = Kafka(broker.bootstrap)
        topics = Topics(group="bench")
        for spec in topics.specs():
            kafka.create(
                {spec.name: PARTITIONS}, **{k.replace(".", "_"): v for k, v in spec.config.items()}
            )
        print(f"filling {chosen.events:,} events ...", flush=True)
        events, verdicts = asyncio.run(
            fill(
                broker.bootstrap,
                topics,
                events=chosen.events,
                customers=chosen.customers,
                partitions=PARTITIONS,
            )
        )
        env = {
            "HITRUN_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
            "HITRUN_GROUP": "bench",
            "HITRUN_HTTP_PORT": "0",
            # The backlog is a week old: its payments are silent by nature.
            "HITRUN_INPUT_SILENCE_MS": "0",
        }
        drain = asyncio.run(_drain(Path(home), env, broker.bootstrap, topics, events, verdicts))
        recovery = _recover(Path(home), env)
    results = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        "drain": drain,
        "recovery": recovery,
    }
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


async def _drain(
    home: Path, env: dict[str, str], bootstrap: str, topics: Topics, events: int, verdicts: int
) -> dict[str, float]:
    reader = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await reader.start()
    reader.assign([TopicPartition(topics.verdict, p) for p in range(PARTITIONS)])
    worker = Process("worker", home=home, env=env, name="drain")
    with worker:
        process = psutil.Process(worker.pid)
        process.cpu_affinity([0])
        started = peak = 0.0
        seen = 0
        while seen < verdicts:
            for records in (await reader.getmany(timeout_ms=100)).values():
                seen += len(records)
            if not worker.alive:
                raise SystemExit(worker.told("it ended"))
            peak = max(peak, process.memory_info().rss / 1e6)
            if not started and worker.events("web.listening"):
                samples = await asyncio.to_thread(worker.metrics)
                if samples.get("hitrun_events_total", 0) > 0:
                    started = time.monotonic()
                    first = samples["hitrun_events_total"]
                    spent = process.cpu_times()
                    before = spent.user + spent.system
        ended = time.monotonic()
        spent = process.cpu_times()
        cpu = spent.user + spent.system - before
        applied = worker.metrics()["hitrun_events_total"]
        worker.stop(within_s=60)
    await reader.stop()
    if applied != events or seen != verdicts:
        raise SystemExit(f"outputs are wrong: {applied} of {events} events, {seen} of {verdicts}")
    done = events - first
    return {
        "events": events,
        "verdicts": verdicts,
        "seconds": round(ended - started, 2),
        "events_per_s": round(done / (ended - started)),
        "cpu_s_per_million": round(cpu / done * 1e6, 2),
        "rss_mb": round(peak),
    }


def _recover(home: Path, env: dict[str, str]) -> dict[str, float]:
    with Process("worker", home=home, env=env, name="recover") as worker:
        started = time.monotonic()
        worker.wait_ready(within_s=300)
        took = time.monotonic() - started
        customers = worker.metrics()["hitrun_customers"]
        rss = psutil.Process(worker.pid).memory_info().rss / 1e6
    return {"customers": customers, "ready_s": round(took, 2), "rss_mb": round(rss)}


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
