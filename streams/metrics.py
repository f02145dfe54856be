"""What a worker tells Prometheus: one closed set, read from the lanes when scraped.

Nothing here costs anything per event: the lanes keep plain counters. No label names a customer.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import get_args

from msgspec import Struct, field
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from domain.flush import Stats
from domain.frontier import HoldReason
from schemas.faults import Reason
from schemas.topics import STREAMS
from streams.lane import Lane, wall_ms


class Tally(Struct):
    """What a worker did with lanes it no longer has, so that its counters never fall; and what
    belongs to no lane."""

    events: int = 0
    commits: int = 0
    commit_s: float = 0.0
    stats: Stats = field(default_factory=Stats)
    rebalances: int = 0
    takeover_s: float = 0.0
    """Of the last rebalance: until every lane of the new split was at work."""

    def take(self, lane: Lane) -> None:
        """Call when a lane is given up, at once."""
        self.events += lane.events
        self.commits += lane.commits
        self.commit_s += lane.commit_s
        for name in Stats.__struct_fields__:
            mine, its = getattr(self.stats, name), getattr(lane.ledger.stats, name)
            if isinstance(mine, Counter):
                mine.update(its)
            elif name != "open_checkouts":  # a gauge: the next owner's
                setattr(self.stats, name, mine + its)


class LaneCollector(Collector):
    """Sums over a worker's lanes, those it had before included where they count something."""

    def __init__(self, lanes: Callable[[], Iterable[Lane]], tally: Tally) -> None:
        self._lanes = lanes
        self._tally = tally

    def collect(self) -> Iterator[Metric]:
        lanes = list(self._lanes())
        yield from self._counters(lanes)
        yield from self._gauges(lanes)
        yield from self._time(lanes)

    def _counters(self, lanes: Sequence[Lane]) -> Iterator[Metric]:
        former = self._tally
        ever: list[Lane | Tally] = [former, *lanes]
        stats = [former.stats, *(lane.ledger.stats for lane in lanes)]
        yield _counter("hitrun_events", "Records read.", sum(x.events for x in ever))
        commits = sum(x.commits for x in ever)
        yield _counter("hitrun_commits", "Transactions committed.", commits)
        yield SummaryMetricFamily(
            "hitrun_transaction_seconds",
            "From a transaction's begin to its commit.",
            count_value=commits,
            sum_value=sum(x.commit_s for x in ever),
        )
        yield _counter("hitrun_detected", "Verdicts announced.", sum(x.detected for x in stats))
        yield _by("hitrun_withdrawn", "Verdicts taken back.", "cause", [x.withdrawn for x in stats])
        yield _counter("hitrun_reminders", "Reminders sent.", sum(x.reminders_sent for x in stats))
        yield _by(
            "hitrun_reminders_dropped",
            "Reminder steps not sent.",
            "reason",
            [x.reminders_dropped for x in stats],
        )
        none: Counter[str] = Counter(dict.fromkeys(get_args(Reason), 0))  # the first one shows, too
        letters = [none, *(x.dead_letters for x in stats)]
        yield _by("hitrun_dead_letters", "Dead letters.", "reason", letters)
        yield _by("hitrun_skipped", "Records passed over.", "reason", [x.skipped for x in stats])
        yield _counter("hitrun_rebalances", "New splits of the partitions.", former.rebalances)

    def _gauges(self, lanes: Sequence[Lane]) -> Iterator[Metric]:
        stats = [lane.ledger.stats for lane in lanes]
        yield _gauge("hitrun_lanes", "Lanes owned.", len(lanes))
        yield _gauge("hitrun_lanes_ready", "Lanes at work.", sum(x.open for x in lanes))
        yield _gauge("hitrun_customers", "Customers known.", sum(x.ledger.count for x in lanes))
        yield _gauge(
            "hitrun_open_checkouts", "Checkouts waiting.", sum(x.open_checkouts for x in stats)
        )
        behind = GaugeMetricFamily(
            "hitrun_input_lag_records", "Offsets not applied yet.", labels=["stream"]
        )
        for stream in STREAMS:
            behind.add_metric([stream], sum(x.behind(stream) for x in lanes))
        yield behind
        yield _gauge(
            "hitrun_takeover_seconds",
            "How long the last rebalance took until all lanes were at work.",
            self._tally.takeover_s,
        )

    def _time(self, lanes: Sequence[Lane]) -> Iterator[Metric]:
        now_ms, now_s = wall_ms(), time.monotonic()
        # A now that is not known yet is behind at least since its lane was taken over: 0 would
        # tell an alert that all is well.
        lags = [
            (now_ms - x.frontier.value_ms) / 1000 if x.frontier.value_ms else now_s - x.taken_at
            for x in lanes
        ]
        yield _gauge(
            "hitrun_frontier_lag_seconds",
            "How far the slowest now is behind; not known yet: since its takeover.",
            max(lags, default=0.0),
        )
        yield _gauge(
            "hitrun_frontier_unknown_lanes",
            "Lanes that have not read their history to its end: nothing is announced there.",
            sum(x.frontier.value_ms == 0 for x in lanes),
        )
        held = Counter(x.frontier.held for x in lanes if x.frontier.held)
        gauge = GaugeMetricFamily(
            "hitrun_frontier_held_lanes", "Lanes whose now stands still.", labels=["reason"]
        )
        for reason in get_args(HoldReason):
            gauge.add_metric([reason], held[reason])
        yield gauge
        age = max((now_s - x.committed_at for x in lanes), default=0.0)
        yield _gauge("hitrun_commit_age_seconds", "Since the last commit of the oldest lane.", age)


def registry(lanes: Callable[[], Iterable[Lane]], tally: Tally) -> CollectorRegistry:
    """A registry of our own: nothing of the process leaks in unasked."""
    found = CollectorRegistry()
    found.register(LaneCollector(lanes, tally))
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
