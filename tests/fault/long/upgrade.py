"""From one version to the next and back: recorded states are taken up, two workers are exchanged
one by one under load, and a state of a newer version is refused.

The old version is the newest tag, or HEAD~1 while there is none; OLD=<ref> names another.
"""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import time
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec

from streams import position as positions
from tests.fault.long.scenario import Arena, Crew, Outcome, Scenario, Stage, settle, verified
from tests.fixtures.record import PARTITIONS, changelog_of, found
from tests.support import builders
from tests.support.builders import record
from tests.support.crew import KILLED, RESTART, lanes_of
from tests.support.kafka import Sent
from tests.support.waiting import poll
from tests.support.worker import Process

ROOT = Path(__file__).parents[3]
PLAIN = ("-m", "streams.cli")
ROUNDS = 4
"""Of old -> new -> old: four workers are exchanged in each."""


# ---------------------------------------------------------------------- recorded states


def _loaded(arena: Arena, stage: Stage, home: Path, *, newer: int = 0) -> None:
    """The recorded changelog, in this cluster: its inputs are gone, so the position begins anew.
    The position is changed as a map, not by our own types: whatever else is in it stays."""
    cluster = arena.kafka.administer(_cluster_id)
    records = []
    for partition, entries in changelog_of(home).items():
        for key, value in entries:
            if key == positions.KEY and value is not None:
                place = msgspec.msgpack.decode(value)
                place |= {"cluster": cluster, "next": {}, "version": place["version"] + newer}
                value = msgspec.msgpack.encode(place)
            records.append(Sent(stage.changelog, value, key, partition))
    stage.kafka.produce(records)


async def _cluster_id(admin: Any) -> str:
    return str((await admin.describe_cluster())["cluster_id"])


def _stage_of(arena: Arena, home: Path) -> Stage:
    return arena.stage(policy=(home / "policy.toml").read_text(), partitions=PARTITIONS)


def _takes_up(arena: Arena, outcome: Outcome, home: Path) -> None:
    """A worker of today goes on with the state: it says what falls due, and takes back a verdict
    that was announced before when its payment comes after all."""
    lanes = json.loads((home / "expected.json").read_text())["partitions"]
    unpaid = [
        (customer, checkout)
        for lane in lanes.values()
        for customer, known in lane["standings"].items()
        for checkout, standing in known.items()
        if standing == "unpaid"
    ]
    with _stage_of(arena, home) as stage:
        _loaded(arena, stage, home)
        worker = stage.worker().wait_ready()
        customers = sum(lane["count"] for lane in lanes.values())
        outcome.demand(
            worker.metrics()["hitrun_customers"] == customers,
            f"{home.name}: {worker.metrics()['hitrun_customers']} customers, not {customers}",
        )
        at = int(time.time() * 1000)
        paid = [
            record(builders.payment("after-all", k, customer=c, at=at), partition=-1)
            for c, k in unpaid
        ]
        stage.kafka.produce([Sent(stage.topic("payment"), r.value, r.key) for r in paid])
        poll(
            lambda: len(stage.kafka.read(stage.topic("verdict"))) >= len(unpaid),
            within_s=30,
            every_s=0.3,
            what=lambda: worker.told("verdicts are not taken back"),
        )
        settle(stage, None, partitions=PARTITIONS)
        said = [json.loads(r.value) for r in stage.kafka.read(stage.topic("verdict"))]
        back = Counter(
            (e["data"]["customer_id"], e["data"]["checkout_id"])
            for e in said
            if e["type"].endswith("withdrawn") and e["data"]["cause"].startswith("paid")
        )
        outcome.demand(back == Counter(unpaid), f"{home.name}: taken back: {back}")
        outcome.demand(len(unpaid) > 10, f"{home.name}: only {len(unpaid)} verdicts to take back")
        outcome.demand(worker.stop() == 0, "it did not stop in order")
        outcome.records += customers
        outcome.faults += 1


def _refuses_newer(arena: Arena, outcome: Outcome, home: Path) -> None:
    """A state of a version that is not known is not guessed at."""
    with _stage_of(arena, home) as stage:
        _loaded(arena, stage, home, newer=1_000)
        worker = stage.worker()
        code = worker.wait(within_s=40)
        whys = [event["why"] for event in worker.events("worker.halted")]
        outcome.demand(code == 4, f"a newer state ends it with {code}, not 4")
        outcome.demand("written by a newer hitrun" in str(whys), f"it says {whys}")
        said = stage.kafka.read(*map(stage.topic, ("verdict", "reminder", "customer")))
        outcome.demand(not said, f"it has said {len(said)} things")
        outcome.faults += 1


# ---------------------------------------------------------------------- one by one, under load


def _old_version(home: Path) -> tuple[str, Path]:
    """Its name and its sources, taken out of the repository into a directory of their own."""
    ref = os.environ.get("OLD") or _git("describe", "--tags", "--abbrev=0") or "HEAD~1"
    commit = _git("rev-parse", "--short", ref)
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True)
    place = home / f"old-{commit}"
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as sources:
        sources.extractall(place, filter="data")
    return f"{ref} ({commit})", place


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _is_of(worker: Process, sources: Path) -> bool:
    """Whether the process runs these sources."""
    environ = Path(f"/proc/{worker.pid}/environ").read_bytes().split(b"\0")
    return f"PYTHONPATH={sources}".encode() in environ


def _exchange(crew: Crew, place: int, sources: Path) -> None:
    """SIGTERM, and the next one in its place is of the other version."""
    crew.env = {"PYTHONPATH": str(sources)}
    leaving = crew.now()[place]
    leaving.terminate()
    poll(
        lambda: crew.check() and crew.now()[place] is not leaving,
        within_s=40,
        what=lambda: leaving.told("it does not end"),
    )
    crew.wait_ready()
    poll(lambda: crew.check() and lanes_of(crew.now()) == 4, within_s=40, what="lanes are missing")
    assert _is_of(crew.now()[place], sources)


def _rolls(arena: Arena, outcome: Outcome) -> None:
    name, old = _old_version(arena.home)
    rounds = arena.times(ROUNDS)
    with (
        arena.stage() as stage,
        Crew(
            stage,
            2,
            program=PLAIN,
            env={"PYTHONPATH": str(old)},
            expected=(0, RESTART, KILLED),
        ) as crew,
    ):
        crew.wait_ready()
        flow = arena.load(stage, seconds=rounds * 90, rate=60)
        for number in range(rounds):
            for sources in (ROOT, old):
                for place in (0, 1):
                    _exchange(crew, place, sources)
                    outcome.faults += 1
                    if place == 0 and number % 2:  # both are at work: the one not exchanged dies
                        crew.kill(1)  # and comes back of the other version already
                        outcome.faults += 1
                        crew.wait_ready()
            arena.say(f"round {number + 1}, {flow.sent} records sent")
        for place in (0, 1):
            _exchange(crew, place, ROOT)
            outcome.faults += 1
        flow.stop()
        report = outcome.add(verified(stage, settle(stage, None, within_s=120)))
        outcome.demand(report.right > 20 * rounds, f"only {report.right} verdicts to lose")
        gained = sum(len(p.events("partition.gained")) for p in stage.processes)
        outcome.demand(gained >= 8 * rounds, f"lanes moved only {gained} times")
        outcome.notes |= {"old": name, "ends": dict(crew.ends), "lanes moved": gained}


def upgrade(arena: Arena) -> Outcome:
    """See the module."""
    outcome = Outcome()
    states = found()
    for home in states:
        _takes_up(arena, outcome, home)
    outcome.demand(bool(states), "no state is recorded")
    _refuses_newer(arena, outcome, states[-1])
    arena.say(f"{len(states)} recorded states taken up, a newer one refused")
    _rolls(arena, outcome)
    return outcome


SCENARIOS = [
    Scenario(
        11,
        "upgrade",
        "recorded states taken up, newer ones refused; two workers exchanged old -> new -> old",
        upgrade,
    )
]
