"""Topics that are not as they must be: partition counts raised, on a running group too, and every
way of making them wrong. A worker refuses with the reason; and docs/repartition.md, followed to the
letter, leads to another count."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka.admin import NewPartitions

from schemas.topics import Topics
from tests.fault.long.scenario import SESSION_MS, Arena, Flow, Outcome, Scenario, Stage
from tests.support.builders import TOPICS, Record
from tests.support.dumps import OUTPUTS as OUTPUT_NAMES
from tests.support.dumps import verify_records
from tests.support.flow import CLOCKS_MS, POLICY, SETTINGS, create_topics, mix, settle
from tests.support.kafka import Kafka
from tests.support.reading import AnyRecord, murmur2, policy_from
from tests.support.stage import INPUTS, OUTPUTS
from tests.support.verifier import Report
from tests.support.waiting import poll
from tests.support.worker import Process

FORMER, NEW = 4, 8
CONFIG, HALT = 3, 4
SEEN_S = 15.0
"""Workers look at the partition counts every second; the group would know after a minute."""
DELAY_MS = 2_500
"""A frontier this far behind has not passed what the counts had not told yet."""
ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "repartition.md"


def _settings() -> dict[str, str | int]:
    return SETTINGS | {"session_timeout_ms": SESSION_MS, "upstream_delay_ms": DELAY_MS}


def _raise(kafka: Kafka, topics: Sequence[str], count: int = NEW) -> None:
    """More partitions, as an operator makes them."""
    wanted = {name: NewPartitions(count) for name in topics}
    kafka.administer(lambda admin: admin.create_partitions(wanted))


def _whys(worker: Process) -> str:
    told = worker.events("topic.wrong") + worker.events("worker.halted")
    told += worker.events("worker.failed")
    return "\n".join(str(each.get("problem") or each.get("why")) for each in told)


def _said(stage: Stage) -> dict[tuple[str, int], int]:
    """How much each partition of the outputs holds; new and empty ones come in their own time."""
    ends = stage.kafka.ends(*(stage.topic(role) for role in OUTPUTS))
    return {place: end for place, end in ends.items() if end}


def _refuses(outcome: Outcome, name: str, stage: Stage, code: int, words: Sequence[str]) -> None:
    """A worker ends with this code and these words, and so does the next; counts the fault."""
    before = _said(stage)
    for attempt in (1, 2):
        worker = stage.worker(name=f"{name.replace(' ', '-')}-{attempt}")
        found, why = worker.wait(within_s=60), _whys(worker)
        outcome.demand(found == code, f"{name}, start {attempt}: exit {found}: {why}")
        missing = [word for word in words if word not in why]
        outcome.demand(not missing, f"{name}, start {attempt}: no {missing} in: {why}")
        outcome.demand("Traceback" not in worker.stderr(), worker.told("a trace"))
    outcome.demand(before == _said(stage), f"{name}: something was said nevertheless")
    outcome.notes.setdefault("refused", {})[name] = f"exit {code}"
    outcome.faults += 1


# ---------------------------------------------------------------- raised


@contextmanager
def _working(arena: Arena, name: str) -> Iterator[tuple[Stage, list[Process], Flow]]:
    """Two workers in the middle of a stream."""
    home = arena.home / name
    with Stage(arena.kafka, home, partitions=FORMER, policy=POLICY, **_settings()) as stage:
        create_topics(stage, FORMER)
        workers = [stage.worker(name=f"before-{n}") for n in (1, 2)]
        for worker in workers:
            worker.wait_ready(within_s=60)
        flow = Flow(stage, mix(seed=arena.seed, checkouts=600, seconds=15)).start()
        verdict = stage.topic("verdict")
        poll(lambda: len(stage.kafka.read(verdict)) > 40, within_s=60, every_s=0.5, what="no load")
        yield stage, workers, flow


def _more(arena: Arena, stage: Stage) -> Flow:
    """What a producer sends that knows the new count at once: also to partitions nobody reads."""
    return Flow(stage, mix(seed=arena.seed + 3, checkouts=200, seconds=4)).start()


def _end_of(outcome: Outcome, name: str, workers: Sequence[Process]) -> None:
    """Those that were running notice, and halt."""
    for worker in workers:
        code, why = worker.wait(within_s=SEEN_S), _whys(worker)
        good = code == HALT and f"has {NEW} partitions now, and had {FORMER}" in why
        outcome.demand(good and PAGE.name in why, f"{name}, running: exit {code}: {why}")


def one_raised(arena: Arena, outcome: Outcome) -> None:
    """One input gets more partitions under running workers; then the documented way out."""
    with _working(arena, "one") as (stage, workers, flow):
        _raise(stage.kafka, [stage.topic("payment")])
        more = _more(arena, stage)
        _end_of(outcome, "one raised", workers)
        flow.join()
        more.join()
        unread = [r for r in stage.kafka.read(stage.topic("payment")) if r.partition >= FORMER]
        outcome.demand(len(unread) > 20, "nothing went to the new partitions")
        words = (stage.topic("payment"), f"partitions is {NEW}, should be {FORMER}")
        _refuses(outcome, "one raised", stage, CONFIG, words)
        arena.say("one raised: refused")
        moved(arena, outcome, stage)


def all_raised(arena: Arena, outcome: Outcome) -> None:
    """All inputs under running workers; then every topic."""
    with _working(arena, "all") as (stage, workers, flow):
        _raise(stage.kafka, [stage.topic(role) for role in INPUTS])
        more = _more(arena, stage)
        _end_of(outcome, "all inputs raised", workers)
        flow.join()
        more.join()
        words = (stage.changelog, f"partitions is {FORMER}, should be {NEW}")
        _refuses(outcome, "all inputs raised", stage, CONFIG, words)
        _raise(stage.kafka, [stage.topic(role) for role in OUTPUTS])
        _raise(stage.kafka, [stage.dead_letters_of(role) for role in INPUTS])
        _raise(stage.kafka, [stage.changelog])
        made_for = (f"the inputs have {NEW} partitions", f"made for {FORMER}", "new topics")
        _refuses(outcome, "all topics raised", stage, HALT, made_for)
        arena.say("all raised: refused")


# ---------------------------------------------------------------- docs/repartition.md


class Moved(Stage):
    """The stage after the move: the names are those of the settings."""

    def topic(self, role: str) -> str:
        return self.env.get(f"HITRUN_TOPIC_{role.upper()}", "")


@dataclass
class Page:
    """docs/repartition.md as it is followed: its blocks, with this stage's names in them."""

    stage: Stage
    shells: list[str] = field(default_factory=list)
    program: str = ""

    def __post_init__(self) -> None:
        text = PAGE.read_text()
        own = {name: self.stage.topic(role) for role, name in (TOPICS | OUTPUT_NAMES).items()}
        for name, mine in (own | {"hitrun-p8": f"{self.stage.prefix}-p8"}).items():
            text = text.replace(name, mine)
        blocks = re.findall(r"```(sh|python)\n(.*?)```", text, flags=re.DOTALL)
        self.shells = [body for kind, body in blocks if kind == "sh"]
        (self.program,) = [body for kind, body in blocks if kind == "python"]
        (self.stage.home / "copy_topic.py").write_text(self.program)

    def run(self, block: str) -> str:
        """A block in a shell that has the exports; what it printed."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = os.environ | self.stage.env | {"PATH": path, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            ["sh", "-ec", f"{self.shells[0]}\n{block}"],
            cwd=self.stage.home,
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        return done.stdout

    def names(self) -> dict[str, str]:
        """The settings that its first block makes."""
        lines = (line.partition("=") for line in self.run("env").splitlines())
        return {name: value for name, _, value in lines if name.startswith("HITRUN_")}


def moved(arena: Arena, outcome: Outcome, former: Stage) -> None:
    """The page, step by step; what was before and what comes after is verified as one."""
    page = Page(former)
    _, make, copy, start = page.shells
    out = page.run(make)
    outcome.demand(f"with {NEW} partitions" in out, f"topics check said: {out}")
    settings = _settings()
    with Moved(arena.kafka, former.home, partitions=NEW, policy=POLICY, **settings) as stage:
        stage.env |= page.names()
        stage.group = stage.env["HITRUN_GROUP"]
        before = former.kafka.read(*(former.topic(role) for role in (*INPUTS, *OUTPUTS)))
        said = sum(r.topic == former.topic("verdict") for r in before)
        outcome.demand(said > 20, f"only {said} verdicts were said before")
        # The marketplace goes on at once, in the new topics.
        flow = Flow(stage, mix(seed=arena.seed + 7, checkouts=200, seconds=4)).start()
        told = page.run(copy)
        outcome.demand(told.count("readers begin at") == 7, f"the copy said: {told}")
        assert start.strip() == "hitrun worker"
        workers = [stage.worker(name=f"after-{n}") for n in (1, 2)]
        for worker in workers:
            worker.wait_ready(within_s=60)
        now = settle(stage, flow, partitions=NEW, within_s=120)
        report = outcome.add(_verified(former, stage, before, now))
        outcome.demand(report.right > said // 2 + 20, f"only {report.right} verdicts stand")
        for worker in workers:
            outcome.demand(worker.stop() == 0, worker.told("it did not stop in order"))
        _refuses_nothing(outcome, stage)
    outcome.notes["moved"] = {"said before": said, "standing after": report.right}
    outcome.faults += 1
    arena.say(f"moved to {NEW} partitions: {said} verdicts before, {report.right} stand after")


def _refuses_nothing(outcome: Outcome, stage: Stage) -> None:
    code, out, err = stage.hitrun("topics", "check")
    outcome.demand(code == 0, f"topics check after the move: {out}{err}")


def _verified(former: Stage, stage: Stage, before: Sequence[AnyRecord], now: int) -> Report:
    """As one history: the old topics as they were, with their partitions counted anew, and of the
    new ones what is no copy."""
    names = {role: stage.topic(role) for role in (*INPUTS, *OUTPUTS)}
    new_name = {former.topic(role): name for role, name in names.items()}
    records: list[AnyRecord] = [
        Record(
            topic=new_name[r.topic],
            value=r.value,
            key=r.key,
            timestamp=r.timestamp,
            partition=murmur2(r.key or b"") % NEW,
            offset=-1 - number,
            headers=r.headers,
        )
        for number, r in enumerate(before)
    ]
    copies = {(r.topic, r.key, r.value) for r in records}
    letters = [stage.dead_letters_of(role) for role in INPUTS]
    now_there = stage.kafka.read(*names.values(), *letters)
    records += [r for r in now_there if (r.topic, r.key, r.value) not in copies]
    return verify_records(
        records,
        names=names,
        policy=policy_from(POLICY),
        now=now,
        now_upper=now + 60_000,
        upstream_delay=DELAY_MS,
        partitions=NEW,
        slack=CLOCKS_MS,
    )


# ---------------------------------------------------------------- made wrong


@dataclass(frozen=True)
class Wrong:
    """One way of making topics wrong. `severity` error: `topics check` exits with 1 and a worker
    with 3; warning: with 0, and the worker says it and starts."""

    name: str
    role: str
    severity: str
    says: str
    config: Mapping[str, str] = field(default_factory=dict)
    partitions: int = FORMER
    missing: bool = False


DAY_MS = str(86_400_000)
WRONG = (
    Wrong("unequal counts", "order", "error", "a customer's events would not meet", partitions=6),
    Wrong("an output too narrow", "verdict", "error", "partitions is 2", partitions=2),
    Wrong("letters too narrow", "dlq", "error", "partitions is 2", partitions=2),
    Wrong(
        "changelog not compacted",
        "changelog",
        "error",
        "customers' state would be deleted",
        {"cleanup.policy": "delete"},
    ),
    Wrong(
        "changelog compacted and deleted",
        "changelog",
        "error",
        "customers' state would be deleted",
        {"cleanup.policy": "compact,delete"},
    ),
    Wrong(
        "compacted input",
        "payment",
        "error",
        "only the newest event of each customer would be kept",
        {"cleanup.policy": "compact"},
    ),
    Wrong("no dead letters", "dlq", "error", "hitrun topics create", missing=True),
    Wrong("no changelog", "changelog", "error", "hitrun topics create", missing=True),
    Wrong(
        "small letters",
        "dlq",
        "error",
        "a large record could never be written",
        {"max.message.bytes": "1048588"},
    ),
    Wrong(
        "times of producers",
        "payment",
        "warning",
        "the worker's clock stands in",
        {"message.timestamp.type": "CreateTime"},
    ),
    Wrong(
        "short retention",
        "payment",
        "warning",
        "a worker that was down for longer would lose events",
        {"retention.ms": DAY_MS},
    ),
    Wrong(
        "short retention of verdicts",
        "verdict",
        "warning",
        "a rebuild, find less",
        {"retention.ms": DAY_MS},
    ),
)


def _make(stage: Stage, wrong: Wrong) -> str:
    """All topics, one of them wrong; its name."""
    names = {role: stage.topic(role) for role in (*INPUTS, *OUTPUTS)}
    chosen = ""
    for spec in Topics(group=stage.group, **names).specs():
        it = spec.role == wrong.role and not chosen
        if it:
            chosen = spec.name
        if it and wrong.missing:
            continue
        config = dict(spec.config) | (dict(wrong.config) if it else {})
        count = wrong.partitions if it else FORMER
        stage.kafka.create({spec.name: count}, replication=1, **config)
    return chosen


def made_wrong(arena: Arena, outcome: Outcome) -> None:
    """Every case: what `topics check` says and how it exits, and what a worker does."""
    for number, wrong in enumerate(WRONG):
        home = arena.home / f"wrong-{number}"
        with Stage(arena.kafka, home, partitions=FORMER, policy=POLICY, **_settings()) as stage:
            topic = _make(stage, wrong)
            code, out, _ = stage.hitrun("topics", "check")
            wanted = 1 if wrong.severity == "error" else 0
            outcome.demand(code == wanted, f"{wrong.name}: topics check exits with {code}: {out}")
            lines = [line for line in out.splitlines() if line.startswith(wrong.severity)]
            outcome.demand(any(topic in line for line in lines), f"{wrong.name}: it says {out}")
            if wrong.severity == "error":
                _refuses(outcome, wrong.name, stage, CONFIG, (topic, wrong.says))
            else:
                worker = stage.worker().wait_ready(within_s=60)
                told = "\n".join(str(e["problem"]) for e in worker.events("topic.doubtful"))
                good = topic in told and wrong.says in told
                outcome.demand(good, f"{wrong.name}: no {wrong.says!r} of {topic} in: {told}")
                outcome.demand(worker.stop() == 0, worker.told("it did not stop in order"))
                outcome.faults += 1
        stage.kafka.delete(*(t for t in stage.kafka.topics() if t.startswith(stage.prefix)))
    arena.say(f"{len(WRONG)} ways to make topics wrong")


def partitions(arena: Arena) -> Outcome:
    """See the module."""
    outcome = Outcome()
    one_raised(arena, outcome)
    all_raised(arena, outcome)
    made_wrong(arena, outcome)
    return outcome


SCENARIOS = [
    Scenario(
        13,
        "partitions",
        "partition counts raised under running workers, topics made wrong: refused; "
        "docs/repartition.md followed",
        partitions,
    )
]
