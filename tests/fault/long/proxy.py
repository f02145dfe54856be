"""Between the workers and their broker stands a proxy of the test's own: it delays, stalls, goes
silent, cuts, and cuts at chosen requests of a transaction. The marketplace goes past it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from streams.local import LocalKafka
from streams.local.config import CLIENTS
from streams.local.probe import HOST, free_port
from tests.fault.long.scenario import (
    SESSION_MS,
    Arena,
    Crew,
    Outcome,
    Scenario,
    Stage,
    settle,
    verified,
)
from tests.support.flow import POLICY, SETTINGS
from tests.support.kafka import Kafka
from tests.support.proxy import ADD_PARTITIONS, END_TXN, INIT_PRODUCER_ID, PRODUCE, Proxy
from tests.support.waiting import poll
from tests.support.worker import Process

PARTITIONS = 4
ROUNDS = 3
"""Of every fault but the cuts at chosen requests."""
CUTS = 24
DELAY_S = 0.2
DELAYED_S = 10.0
STALL_S = 1.5 * SESSION_MS / 1000
SILENT_S = 6.0
REFUSED_S = 2.0
RECOVERED_S = 120.0
"""A request into a black hole is given up after 40 s, and only then a worker starts again."""

MOMENTS = (
    (END_TXN, True),
    (END_TXN, False),
    (PRODUCE, True),
    (PRODUCE, False),
    (ADD_PARTITIONS, True),
    (ADD_PARTITIONS, False),
)
"""Where connections are cut: at which request, and whether the broker has done it by then."""


@contextmanager
def _proxied() -> Iterator[tuple[Kafka, Proxy]]:
    """A broker that tells the clients of a second listener to come through the proxy."""
    direct, inner, controller = free_port(), free_port(), free_port()
    with Proxy(HOST, inner) as proxy:
        listeners = f"{CLIENTS}://{HOST}:{direct},PROXIED://{HOST}:{inner}"
        settings = {
            "listeners": f"{listeners},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"{CLIENTS}://{HOST}:{direct},PROXIED://{proxy.address}",
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "listener.security.protocol.map": (
                f"CONTROLLER:PLAINTEXT,{CLIENTS}:PLAINTEXT,PROXIED:PLAINTEXT"
            ),
        }
        with LocalKafka(port=direct, extra=settings) as broker:
            yield Kafka(broker.bootstrap), proxy


def _judged(workers: Sequence[Process], moment_ms: int) -> bool:
    """Whether every lane has an owner and a frontier that has passed the moment."""
    lanes = 0.0
    for worker in workers:
        before = int(time.time() * 1000)
        found = worker.metrics() if worker.alive and worker.events("web.listening") else {}
        if not (mine := found.get("hitrun_lanes", 0)):
            continue
        lanes += mine
        lag_ms = int(found.get("hitrun_frontier_lag_seconds", 1e9) * 1000)
        if found.get("hitrun_frontier_unknown_lanes") or before - lag_ms < moment_ms:
            return False
    return lanes == PARTITIONS


class _Run:
    """The faults of one run."""

    def __init__(self, arena: Arena, proxy: Proxy, crew: Crew) -> None:
        self.arena = arena
        self.proxy = proxy
        self.crew = crew
        self.dice = arena.dice
        self.met: Counter[str] = Counter()

    def recovered(self, name: str) -> None:
        """All lanes have judged up to this moment; counts the fault."""
        now, started = int(time.time() * 1000), time.monotonic()
        poll(
            lambda: self.crew.check() and _judged(self.crew.now(), now),
            within_s=RECOVERED_S,
            every_s=0.2,
            what=lambda: "\n".join(w.told("it does not go on") for w in self.crew.now()),
        )
        self.met[name] += 1
        seconds, ends = time.monotonic() - started, self.crew.ends.total()
        self.arena.say(f"{name}: judged again after {seconds:.1f} s, {ends} ends so far")

    def delay(self) -> None:
        """Slow both ways; the group and the transactions must bear it."""
        self.proxy.delay_s = DELAY_S
        time.sleep(DELAYED_S)
        self.recovered("delayed")  # while it is still slow
        self.proxy.delay_s = 0.0

    def stall(self) -> None:
        """Nothing moves, nothing is closed, for longer than the session."""
        self.proxy.stall()
        time.sleep(STALL_S)
        self.proxy.flow()
        self.recovered("stalled")

    def silence(self) -> None:
        """Half-open."""
        self.proxy.black_hole()
        time.sleep(SILENT_S)
        self.proxy.heal()
        self.recovered("half-open")

    def cut(self) -> None:
        """At once, and new ones are turned away for a while."""
        self.proxy.cut()
        time.sleep(self.dice.uniform(0.0, 1.0))
        self.recovered("cut")
        self.proxy.refuse()
        time.sleep(REFUSED_S)
        self.proxy.heal()
        self.recovered("turned away")

    def cut_at(self, number: int) -> None:
        """In the middle of a transaction, at a chosen request; every seventh in a takeover."""
        if number % 7 == 6:
            request, done = INIT_PRODUCER_ID, bool(number % 2)
            met = self.proxy.cut_at(request, done=done)
            self.crew.kill(number % 2)  # its lanes get new producers elsewhere
        else:
            request, done = MOMENTS[number % len(MOMENTS)]
            met = self.proxy.cut_at(request, done=done)
        name = f"request {request} {'done, not answered' if done else 'kept back'}"
        poll(met.is_set, within_s=40, what=f"no {name}")
        self.recovered(name)


def proxy(arena: Arena) -> Outcome:
    """See the module."""
    outcome, settings = Outcome(), SETTINGS | {"session_timeout_ms": SESSION_MS}
    rounds, cuts = arena.times(ROUNDS), arena.times(CUTS)
    with (
        _proxied() as (kafka, between),
        Stage(
            kafka, arena.home / "stage-1", partitions=PARTITIONS, policy=POLICY, **settings
        ) as stage,
    ):
        stage.create_topics()
        stage.set(kafka_bootstrap_servers=between.address)
        with Crew(stage, 2) as crew:
            crew.wait_ready()
            flow = arena.load(stage, seconds=rounds * 220 + cuts * 20, rate=60)
            run = _Run(arena, between, crew)
            for _ in range(rounds):
                for fault in (run.delay, run.stall, run.silence, run.cut):
                    fault()
            for number in range(cuts):
                run.cut_at(number)
            outcome.demand(flow.running, "the stream ended before the last fault")
            flow.stop()
            report = outcome.add(verified(stage, settle(stage, None, within_s=180)))
    outcome.faults = run.met.total()
    outcome.demand(between.cuts > cuts, f"only {between.cuts} connections were cut")
    outcome.demand(report.right > 10 * outcome.faults, f"only {report.right} verdicts to lose")
    outcome.notes = {"met": dict(run.met), "ends": dict(crew.ends), "verdicts": report.right}
    return outcome


SCENARIOS = [
    Scenario(
        5,
        "proxy",
        "a broker behind a proxy that delays, stalls, is half-open, cuts, also inside transactions",
        proxy,
    )
]
