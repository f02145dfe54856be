"""What a long fault scenario is, what it works with and what it says."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streams.local import LocalKafka
from tests.support.crew import Crew
from tests.support.flow import POLICY, SETTINGS, Flow, Step, create_topics, mix, settle, verified
from tests.support.kafka import Kafka
from tests.support.stage import Stage
from tests.support.verifier import Report

SESSION_MS = 3_000
MOST_S = 1_800
"""A scenario that takes longer is ended and has failed."""


@dataclass
class Outcome:
    """What a scenario found. `problems` is empty when all held."""

    faults: int = 0
    records: int = 0
    """Input records whose effects were checked."""
    lost: int = 0
    false: int = 0
    duplicates: int = 0
    wrong_states: int = 0
    problems: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    """Counts worth knowing: restarts, takeovers, what was refused."""

    def add(self, report: Report) -> Report:
        """Adds a verification."""
        self.records += report.records
        self.lost += report.missed
        self.false += report.false
        self.duplicates += report.duplicates
        self.wrong_states += report.wrong_states
        self.problems += report.problems
        return report

    def demand(self, holds: bool, what: str) -> None:
        """Notes a promise that does not hold."""
        if not holds:
            self.problems.append(what)


@dataclass
class Arena:
    """What a scenario gets: a seed, a directory, and a Kafka when it asks for one."""

    home: Path
    seed: int
    broker: LocalKafka
    kafka: Kafka
    scale: float = 1.0
    """1 = as many faults as the guarantee speaks of; less while a scenario is being written."""
    started: float = field(default_factory=time.monotonic)

    @property
    def dice(self) -> random.Random:
        """A new one each time, always from the same seed."""
        return random.Random(self.seed)

    def stage(self, *, policy: str = POLICY, partitions: int = 4, **settings: str | int) -> Stage:
        """A stage with its topics; enter it."""
        settings = {"session_timeout_ms": SESSION_MS} | SETTINGS | settings
        self._stages = getattr(self, "_stages", 0) + 1
        home = self.home / f"stage-{self._stages}"
        stage = Stage(self.kafka, home, partitions=partitions, policy=policy, **settings)
        create_topics(stage, partitions)
        return stage

    def times(self, faults: int) -> int:
        """So many faults, by the scale."""
        return max(1, round(faults * self.scale))

    def load(self, stage: Stage, *, seconds: float, rate: float = 100, more: int = 0) -> Flow:
        """A mixed stream of `rate` checkouts a second (about 2.5 records each), begun."""
        steps = mix(seed=self.seed + more, checkouts=int(seconds * rate), seconds=seconds)
        return Flow(stage, steps).start()

    def say(self, text: str) -> None:
        """A line for whoever watches."""
        print(f"  {time.monotonic() - self.started:6.1f} s  {text}", flush=True)


@dataclass(frozen=True)
class Scenario:
    """One scenario: `number` is its place in the table, `about` one line for it."""

    number: int
    name: str
    about: str
    run: Callable[[Arena], Outcome]
    nodes: int = 1
    """Kafka nodes of its own cluster."""
    broker: Mapping[str, str] = field(default_factory=dict)
    """Broker settings."""
    most_s: float = MOST_S


__all__ = [
    "MOST_S",
    "SESSION_MS",
    "Arena",
    "Crew",
    "Flow",
    "Outcome",
    "Report",
    "Scenario",
    "Stage",
    "Step",
    "settle",
    "verified",
]
