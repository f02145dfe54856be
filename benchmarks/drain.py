"""A prepared backlog, drained by one worker on one core; and the state it leaves, taken over.

Measured from the first record applied to the last expected output visible to a read_committed
reader; the outputs are counted.
"""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.arena import Arena, Spent
from benchmarks.backlog import fill


def measure_drain(bench: Arena, *, events: int, customers: int) -> dict[str, float]:
    """Fills the topics, then drains them. SystemExit when an output is missing or too many."""
    return asyncio.run(_drain(bench, events, customers))


async def _drain(bench: Arena, events: int, customers: int) -> dict[str, float]:
    written, verdicts = await fill(
        bench.bootstrap,
        bench.topics,
        events=events,
        customers=customers,
        partitions=bench.partitions,
    )
    reader = AIOKafkaConsumer(
        bootstrap_servers=bench.bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    await reader.start()
    reader.assign([TopicPartition(bench.topics.verdict, p) for p in range(bench.partitions)])
    with bench.worker("drain") as worker:
        spent: Spent | None = None
        first = peak = 0.0
        seen = 0
        while seen < verdicts:
            for records in (await reader.getmany(timeout_ms=100)).values():
                seen += len(records)
            if not worker.alive:
                raise SystemExit(worker.told("it ended"))
            if spent is None and worker.events("web.listening"):
                samples = await asyncio.to_thread(worker.metrics)
                if samples.get("hitrun_events_total", 0) > 0:
                    spent = Spent(worker.pid)
                    first = samples["hitrun_events_total"]
            if spent is not None:
                peak = max(peak, spent.rss_mb)
        assert spent is not None
        wall_s, cpu_s = spent.wall_s, spent.cpu_s
        applied = worker.metrics()["hitrun_events_total"]
        worker.stop(within_s=60)
    await reader.stop()
    if applied != written or seen != verdicts:
        raise SystemExit(f"outputs are wrong: {applied} of {written} events, {seen} of {verdicts}")
    done = written - first
    return {
        "events": written,
        "verdicts": verdicts,
        "seconds": round(wall_s, 2),
        "events_per_s": round(done / wall_s),
        "cpu_s_per_million": round(cpu_s / done * 1e6, 2),
        "rss_mb": round(peak),
    }


def measure_recovery(bench: Arena) -> dict[str, float]:
    """A new worker takes over the state that the former one left."""
    with bench.worker("recover") as worker:
        worker.wait_ready(within_s=300)
        took = worker.wait_event("rebalance.done")["seconds"]
        customers = worker.metrics()["hitrun_customers"]
        rss_mb = Spent(worker.pid).rss_mb
        worker.stop(within_s=60)
    return {"customers": customers, "takeover_s": took, "rss_mb": round(rss_mb)}
