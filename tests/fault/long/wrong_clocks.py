"""A worker's clock is an hour off, ahead or behind, from its start or all at once: its lanes stand
still, say why, and accuse nobody; right again, or taken over, they catch up."""

from __future__ import annotations

from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import Topics
from tests.fault.long.scenario import Arena, Outcome, Scenario, Stage, settle, verified
from tests.fault.long.time_goes_wrong import HELD, Watch, silent
from tests.support.crew import lanes_of
from tests.support.flow import alive
from tests.support.reading import HOUR
from tests.support.stage import INPUTS, OUTPUTS
from tests.support.waiting import poll
from tests.support.worker import Process

ROUNDS = 8
ROUND_S = 25
WRONG = ("-m", "tests.support.wrong_clock")
SILENT_S = 5


def clocks(arena: Arena) -> Outcome:
    """Beside a right one, or alone: every second pair of rounds the clock is set while it runs,
    every second four the wrong worker has all lanes."""
    outcome, rounds = Outcome(), max(2, arena.times(ROUNDS))
    with arena.stage() as stage:
        _stamped_by_the_broker(stage)
        watch = Watch(stage, lambda: alive(stage))
        right = stage.worker(name="right").wait_ready()
        flow = arena.load(stage, seconds=rounds * ROUND_S * 2, rate=50)
        for number in range(rounds):
            off_ms = HOUR if number % 2 == 0 else -HOUR
            later, alone = number // 2 % 2 == 1, number // 4 % 2 == 1
            right = _round(outcome, stage, watch, right, number, off_ms, later=later, alone=alone)
            words = f"{'set' if later else 'started'} {off_ms // 60_000:+} min"
            arena.say(f"round {number + 1}, {words}, {flow.sent} records sent")
        flow.stop()
        report = outcome.add(verified(stage, settle(stage, None, within_s=120)))
        outcome.demand(report.right > 50 * rounds, f"only {report.right} verdicts to lose")
        outcome.demand(right.alive, right.told("the right one ended"))
        outcome.notes["verdicts"] = report.right
    return outcome


def _round(
    outcome: Outcome,
    stage: Stage,
    watch: Watch,
    right: Process,
    number: int,
    off_ms: int,
    *,
    later: bool,
    alone: bool,
) -> Process:
    """One worker with a wrong clock comes and goes; the right one that is there afterwards."""
    file = stage.home / f"clock-{number}"
    _set(file, 0 if later else off_ms)
    env = {"CLOCK_OFF": str(file)}
    wrong = stage.worker(name=f"wrong-{number}", program=WRONG, env=env).wait_ready()
    lanes = 4 if alone else 2
    if alone:
        assert right.stop(within_s=40) == 0, right.told("it did not stop in order")
    poll(
        lambda: lanes_of([wrong]) == lanes,
        within_s=40,
        every_s=0.2,
        what=lambda: wrong.told("it has not got its lanes"),
    )
    _set(file, off_ms)
    outcome.faults += 1
    watch.wait_held("clock", lanes)
    poll(
        lambda: len(_held(wrong)) == lanes,
        within_s=5,
        what=lambda: wrong.told(f"the log tells of {_held(wrong)}, not of {lanes} lanes"),
    )
    held = _held(wrong)
    silent(outcome, watch, held, SILENT_S, f"a clock is off by {off_ms} ms")
    if later:  # set right as well
        _set(file, 0)
        poll(
            lambda: watch.metric(HELD.format("clock")) == 0 and watch.lag_s() < 2,
            within_s=20,
            every_s=0.2,
            what=lambda: wrong.told("right again, but time has not caught up"),
        )
    wrong.kill()
    if alone:
        right = stage.worker(name=f"right-{number}").wait_ready()
    poll(
        lambda: lanes_of([right]) == 4 and watch.lag_s() < 2,
        within_s=40,
        every_s=0.2,
        what=lambda: right.told("time has not caught up"),
    )
    return right


def _held(worker: Process) -> set[int]:
    """The lanes whose hold the log tells."""
    events = worker.events("frontier.held")
    return {event["partition"] for event in events if event["reason"] == "clock"}


def _set(file: Path, off_ms: int) -> None:
    new = file.with_suffix(".new")
    new.write_text(str(off_ms))
    new.replace(file)


def _stamped_by_the_broker(stage: Stage) -> None:
    """Of verdicts the verifier must know when they were said; a wrong clock cannot tell it."""
    names = {role: stage.topic(role) for role in (*INPUTS, *OUTPUTS)}
    specs = {spec.name: spec for spec in Topics(group=stage.group, **names).specs()}
    topic = stage.topic("verdict")
    config = dict(specs[topic].config) | {"message.timestamp.type": "LogAppendTime"}

    async def act(admin: AIOKafkaAdminClient) -> None:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, config)])

    stage.kafka.administer(act)


SCENARIOS = [
    Scenario(
        7,
        "clocks",
        "a worker's clock is an hour ahead or behind, from its start or set while it runs",
        clocks,
    )
]
