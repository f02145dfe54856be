"""Half an hour of a business day in seconds, two workers, nothing broken on purpose: memory, open
files, lag and the time until a verdict is visible must not grow.

    ./run soak [--minutes 30]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from aiokafka import AIOKafkaConsumer

from tests.fault.long.scenario import Arena, Crew, Flow, Outcome, Scenario, Stage, settle
from tests.support.dumps import verify_records
from tests.support.flow import AFTER_MIX_S, CLOCKS_MS, DELAY_MS, POLICY, Step, _fate, _step
from tests.support.reading import policy_from, time_ms
from tests.support.stage import INPUTS, OUTPUTS
from tests.support.verifier import Report
from tests.support.worker import Process

MINUTES = 30
RATE = 120
"""Checkouts a second; about 300 events."""
CUSTOMERS = 20_000
"""They come back: ten times each in half an hour."""
PART_S = 20
"""The plan is made in parts: all of it at once would be a gigabyte."""
SAMPLE_S = 10
PARTITIONS = 4
PLAIN = ("-m", "streams.cli")
KEPT = '[retention]\nsettled = "20s"\n'
"""What is over is folded away while it runs, so the state grows by unpaid checkouts alone."""

GROWTH = 1.10
"""So much more may the last third's median be than the second's."""
FILES = 2
LATENCY_S = 0.2
"""Medians that near to each other are the same."""


# ---------------------------------------------------------------------- what comes in


def _part(seed: int, number: int) -> list[Step]:
    """As flow.mix, of customers who come back."""
    dice = random.Random(seed * 1_000_000 + number)
    steps: list[Step] = []
    count = RATE * PART_S
    for place in range(count):
        at = PART_S * 1000 * place // count
        customer = f"c{dice.randrange(CUSTOMERS)}"
        for event in _fate(dice, f"k{number}-{place}", customer, at):
            late = dice.choice([0, 0, 0, 20, 250, 600])
            steps.append(_step(event, late, binary=dice.random() < 0.2))
    return steps


class Day:
    """Parts one after the other, each begun in time, also while the former still ends."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self._stage, self._seed = stage, seed
        self._flows: list[Flow] = []
        self._number = 0
        self._next: Flow = self._made()
        self._begins = time.monotonic()
        self.sent = 0

    def go_on(self) -> None:
        """Call it often: begins the next part when it is time."""
        if time.monotonic() < self._begins:
            return
        self._flows.append(self._next.start())
        self._begins += PART_S
        self._next = self._made()
        for flow in [flow for flow in self._flows if not flow.running]:
            self._over(flow)

    def end(self) -> None:
        """Waits until all that was begun is sent."""
        for flow in list(self._flows):
            self._over(flow)

    def _made(self) -> Flow:
        self._number += 1
        return Flow(self._stage, _part(self._seed, self._number))

    def _over(self, flow: Flow) -> None:
        flow.join()
        self.sent += flow.sent
        self._flows.remove(flow)


# ---------------------------------------------------------------------- what is measured


class Listener:
    """Reads verdicts as a consumer does, and notes how long after their moment they are there."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.waits: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True)

    def start(self) -> Listener:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._over.set()
        self._thread.join(10)

    def taken(self) -> list[float]:
        """Those since the last call, s."""
        waits, self.waits = self.waits, []
        return waits

    async def _listen(self) -> None:
        consumer = AIOKafkaConsumer(
            self._stage.topic("verdict"),
            **self._stage.kafka.client,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=20,
        )
        await consumer.start()
        try:
            while not self._over.is_set():
                found = await consumer.getmany(timeout_ms=200)
                now_ms = time.time() * 1000
                for record in (one for some in found.values() for one in some):
                    event = json.loads(record.value)
                    if event["type"].endswith("detected"):
                        due_ms = time_ms(event["data"]["verdict_at"]) + DELAY_MS
                        self.waits.append((now_ms - due_ms) / 1000)
        finally:
            await consumer.stop()


@dataclass(frozen=True)
class Sample:
    """Of both workers together, or the worse of them."""

    rss_mb: float
    files: int
    lag: float
    """Records not applied yet."""
    frontier_s: float
    wait_s: float
    """Median from the moment of a verdict to its being visible."""
    wait_p99_s: float


def _sample(workers: Sequence[Process], waits: Sequence[float]) -> Sample:
    rss = files = 0
    lag = frontier = 0.0
    for worker in workers:
        status = Path(f"/proc/{worker.pid}/status").read_text()
        rss += int(status.split("VmRSS:")[1].split()[0])
        files += len(list(Path(f"/proc/{worker.pid}/fd").iterdir()))
        metrics = worker.metrics()
        lag += sum(v for name, v in metrics.items() if name.startswith("hitrun_input_lag_records"))
        frontier = max(frontier, metrics.get("hitrun_frontier_lag_seconds", 0.0))
    most = quantiles(waits, n=100)[-1] if len(waits) > 1 else 0.0
    return Sample(rss / 1024, files, lag, frontier, median(waits) if waits else 0.0, most)


def _thirds(samples: Sequence[Sample], of: Callable[[Sample], float]) -> tuple[float, float]:
    """Medians of the second and of the last third."""
    third = len(samples) // 3
    second, last = samples[third : 2 * third], samples[2 * third :]
    return median(map(of, second)), median(map(of, last))


def _judge(outcome: Outcome, samples: Sequence[Sample]) -> None:
    outcome.demand(len(samples) >= 9, f"only {len(samples)} samples")
    if len(samples) < 9:
        return
    rules: dict[str, tuple[Callable[[Sample], float], float, float]] = {
        # name: what, how much more it may be, what difference is none
        "rss_mb": (lambda s: s.rss_mb, GROWTH, 0),
        "files": (lambda s: s.files, 1, FILES),
        "lag_records": (lambda s: s.lag, GROWTH, RATE * 2.5),
        "frontier_s": (lambda s: s.frontier_s, GROWTH, LATENCY_S),
        "wait_s": (lambda s: s.wait_s, GROWTH, LATENCY_S),
        "wait_p99_s": (lambda s: s.wait_p99_s, GROWTH, 5 * LATENCY_S),
    }
    for name, (of, factor, free) in rules.items():
        second, last = _thirds(samples, of)
        outcome.notes[name] = [round(second, 3), round(last, 3), round(max(map(of, samples)), 3)]
        outcome.demand(last <= second * factor + free, f"{name} grows: {second:g} to {last:g}")


# ---------------------------------------------------------------------- whether it was right

_work: dict[str, Any] = {}
"""For the processes that verify: they are forked, and find the records here."""


def _verified_part(partition: int) -> Report:
    options = dict(_work)
    records = [r for r in options.pop("records") if r.partition == partition]
    return verify_records(records, **options)


def _verified(stage: Stage, now: int) -> list[Report]:
    """Partition by partition, as many at once as there are processors. Topic by topic, because a
    read has a deadline."""
    names = {role: stage.topic(role) for role in (*INPUTS, *OUTPUTS)}
    letters = [stage.dead_letters_of(role) for role in INPUTS]
    _work.update(
        records=[r for name in (*names.values(), *letters) for r in stage.kafka.read(name)],
        names=names,
        policy=policy_from((stage.home / "policy.toml").read_text()),
        now=now,
        now_upper=int(time.time() * 1000),
        upstream_delay=DELAY_MS,
        partitions=PARTITIONS,
        slack=CLOCKS_MS,
    )
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        return pool.map(_verified_part, range(PARTITIONS), chunksize=1)


def soak(arena: Arena) -> Outcome:
    """See the module."""
    outcome = Outcome()
    seconds = MINUTES * 60 * arena.scale
    with arena.stage(policy=POLICY + KEPT) as stage, Crew(stage, 2, program=PLAIN) as crew:
        crew.wait_ready()
        listener, day = Listener(stage).start(), Day(stage, arena.seed)
        samples: list[Sample] = []
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            day.go_on()
            if time.monotonic() - begun > SAMPLE_S * (len(samples) + 1):
                samples.append(_sample(crew.now(), listener.taken()))
                if len(samples) % 6 == 0:
                    arena.say(f"{day.sent} records sent, {samples[-1]}")
            crew.check()
            time.sleep(0.2)
        day.end()
        listener.stop()
        time.sleep(AFTER_MIX_S)
        now = settle(stage, None, within_s=120)
        arena.say(f"{day.sent} records sent, to be verified")
        right = sum(outcome.add(report).right for report in _verified(stage, now))
        outcome.demand(not crew.ends, f"a worker ended: {dict(crew.ends)}")
        outcome.demand(right > seconds * RATE / 10, f"only {right} verdicts stand")
        least = seconds * RATE * 2
        outcome.demand(day.sent >= least, f"only {day.sent} records: it could not keep up")
        outcome.notes |= {"minutes": round(seconds / 60, 1), "verdicts": right}
        outcome.notes |= {"samples": len(samples), "each": "medians of thirds 2 and 3, the most"}
        _judge(outcome, samples)
    return outcome


SCENARIOS = [
    Scenario(
        12,
        "soak",
        "half an hour at 300 events a second: memory, files, lag and latency stay what they are",
        soak,
        most_s=3 * 3600,
    )
]


def main() -> int:
    """As the scenario, with a length of its own."""
    parser = argparse.ArgumentParser(prog="./run soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    given, rest = parser.parse_known_args()
    scale = str(given.minutes / MINUTES)
    words = [sys.executable, "-m", "tests.fault.long", "soak", "--scale", scale, *rest]
    os.execv(sys.executable, words)


if __name__ == "__main__":
    raise SystemExit(main())
