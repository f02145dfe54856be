"""What a worker tells Prometheus: one closed set, read from the lanes when scraped.

Nothing here costs anything per event: the lanes keep plain counters.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.lane import Lane, wall_ms


class LaneCollector(Collector):
    """Sums over the open lanes. Counters start anew with each takeover of a lane, which
    Prometheus takes for a restart."""

    def __init__(self, lanes: Callable[[], Iterable[Lane]]) -> None:
        self._lanes = lanes

    def collect(self) -> Iterator[Metric]:
        lanes = list(self._lanes())
        now_ms, now_s = wall_ms(), time.monotonic()
        stats = [lane.ledger.stats for lane in lanes]
        yield _counter("hitrun_events", "Records read.", sum(x.events for x in lanes))
        yield _counter("hitrun_commits", "Transactions committed.", sum(x.commits for x in lanes))
        yield _counter("hitrun_detected", "Verdicts announced.", sum(x.detected for x in stats))
        yield _by("hitrun_withdrawn", "Verdicts taken back.", "cause", [x.withdrawn for x in stats])
        yield _counter("hitrun_reminders", "Reminders sent.", sum(x.reminders_sent for x in stats))
        yield _by(
            "hitrun_reminders_dropped",
            "Reminder steps not sent.",
            "reason",
            [x.reminders_dropped for x in stats],
        )
        yield _by("hitrun_dead_letters", "Dead letters.", "reason", [x.dead_letters for x in stats])
        yield _by("hitrun_skipped", "Records passed over.", "reason", [x.skipped for x in stats])
        yield _gauge("hitrun_lanes", "Lanes owned.", len(lanes))
        yield _gauge("hitrun_customers", "Customers known.", sum(x.ledger.count for x in lanes))
        yield _gauge(
            "hitrun_open_checkouts", "Checkouts waiting.", sum(x.open_checkouts for x in stats)
        )
        lag = max(
            ((now_ms - x.frontier.value_ms) / 1000 for x in lanes if x.frontier.value_ms),
            default=0.0,
        )
        yield _gauge("hitrun_frontier_lag_seconds", "How far the slowest now is behind.", lag)
        held = Counter(x.frontier.held for x in lanes if x.frontier.held)
        gauge = GaugeMetricFamily(
            "hitrun_frontier_held_lanes", "Lanes whose now stands still.", labels=["reason"]
        )
        for reason in ("clock", "stale_payments"):
            gauge.add_metric([reason], held[reason])
        yield gauge
        age = max((now_s - x.committed_at for x in lanes), default=0.0)
        yield _gauge("hitrun_commit_age_seconds", "Since the last commit of the oldest lane.", age)


def registry(lanes: Callable[[], Iterable[Lane]]) -> CollectorRegistry:
    """A registry of our own: nothing of the process leaks in unasked."""
    found = CollectorRegistry()
    found.register(LaneCollector(lanes))
    return found


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(name, about, value=value)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value=value)


def _by(name: str, about: str, label: str, counts: list[Counter[str]]) -> Metric:
    family = CounterMetricFamily(name, about, labels=[label])
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    for key, value in sorted(total.items()):
        family.add_metric([key], value)
    return family
