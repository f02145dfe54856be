"""The verifier finds every kind of fault, and nothing in a right run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domain.flush import Flush
from tests.support import dumps, scenarios
from tests.support.announcer import Announcer
from tests.support.builders import START_MS, TOPICS, Record, encode, misplaced, record, rfc3339
from tests.support.builders import checkout as confirmed
from tests.support.builders import payment as paid
from tests.support.dumps import OUTPUTS
from tests.support.oracle import standings
from tests.support.reading import DAY, AnyRecord, murmur2, policy_from
from tests.support.real import Real
from tests.support.verifier import Report, Verifier, verify

SCENARIOS = [s for s in scenarios.all_scenarios() if s.unknown_until is None]
TOPIC = {
    "hitrun.verdict.detected": "verdicts",
    "hitrun.verdict.withdrawn": "verdicts",
    "hitrun.reminder.due": "reminders",
    "hitrun.customer.changed": "customers",
}
TIMES = ("confirmed_at", "pay_by", "verdict_at", "send_before")


class Run:
    """A run as it should be: a scenario, and what the announcer says of it as records."""

    def __init__(self, scenario: scenarios.Scenario) -> None:
        self.scenario = scenario
        announcer = Announcer(scenario.policy())
        announcer.run(scenario.records, scenario.until, held=scenario.held)
        self.outputs: dict[str, list[Record]] = {"verdicts": [], "reminders": [], "customers": []}
        for output in announcer.outputs:
            self.add(output)
        self.dead = [self.letter(r, why[0]) for r, why in announcer.dead_letters]

    def add(self, output: dict[str, Any]) -> None:
        data: dict[str, Any] = {
            name: rfc3339(value) if name in TIMES and value is not None else value
            for name, value in output["data"].items()
        } | {"policy_version": "v1"}
        at = output["time"]
        if at is None:
            at = max(
                (c.timestamp for _, c in self.scenario.records if c.timestamp <= output["said"]),
                default=0,
            )
            at = scenarios.ms(json.loads(self.scenario.records[0][1].value or b"{}")["time"])
        if output["type"].endswith("withdrawn"):
            data["at"] = rfc3339(at)
        if output["type"].endswith("detected"):
            data["evidence"] = [{"fact": "confirmed", "at": data["confirmed_at"], "id": "x"}]
        event = {
            "specversion": "1.0",
            "id": output["id"],
            "source": "hitrun",
            "type": output["type"],
            "time": rfc3339(at),
            "data": data,
        }
        if "checkout_id" in data:
            event["subject"] = data["checkout_id"]
        topic = TOPIC[output["type"]]
        said = output["said"] + (0 if topic == "reminders" else 5_200)
        self.outputs[topic].append(
            Record(topic, encode(event), data["customer_id"].encode(), said, offset=output["said"])
        )

    @staticmethod
    def letter(record: AnyRecord, reason: str) -> Record:
        error = {
            "reason": reason,
            "detail": "x",
            "topic": record.topic,
            "partition": "0",
            "offset": str(record.offset),
            "timestamp": str(record.timestamp),
            "at": "x",
        }
        headers = [(f"hitrun.error.{name}", value.encode()) for name, value in error.items()]
        return Record(
            record.topic + ".dlq",
            record.value,
            record.key,
            headers=[*record.headers, *headers],
        )

    def verify(self, slack: int = 0) -> Report:
        return verify(
            self.scenario.records,
            dead=self.dead,
            policy=self.scenario.policy(),
            now=self.scenario.until,
            policy_version="v1",
            slack=slack,
            **self.outputs,
        )


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.id)
def test_a_right_run_has_no_problems(scenario: scenarios.Scenario) -> None:
    # (its clock is the frontier, and so 5 s behind the append times)
    report = Run(scenario).verify(slack=5_000)
    assert report.ok, report.text()


def edit(record: Record, **fields: object) -> None:
    """Changes data fields of an output record; `_time` and so on change the envelope."""
    event = json.loads(record.value or b"")
    for name, value in fields.items():
        (event if name.startswith("_") else event["data"])[name.lstrip("_")] = value
    record.value = encode(event)


def _find(name: str) -> scenarios.Scenario:
    return next(s for s in SCENARIOS if s.id == name)


LATE = "case-02-paid-in-time-told-late/card"
DEAD = "case-25-dated-ahead/a payment"
STANDS = "case-10-buyer-cancels/1 ms after"

FAULTS: dict[str, tuple[str, Callable[[Run], object], str]] = {
    "a verdict missing": (STANDS, lambda r: r.outputs["verdicts"].clear(), "missed"),
    "said twice": (
        STANDS,
        lambda r: r.outputs["verdicts"].append(r.outputs["verdicts"][0]),
        "duplicates",
    ),
    "not withdrawn": (LATE, lambda r: r.outputs["verdicts"].pop(), "false"),
    "never unpaid": (
        "case-03-paid-after-the-verdict/card",
        lambda r: edit(r.outputs["verdicts"][0], verdict_at="2026-03-03T03:00:00.000Z"),
        "false",
    ),
    "said too early": (
        STANDS,
        lambda r: setattr(r.outputs["verdicts"][0], "timestamp", 0),
        "false",
    ),
    "withdrawn out of sequence": (
        LATE,
        lambda r: edit(r.outputs["verdicts"][1], sequence=2),
        "wrong_states",
    ),
    "another cause": (
        LATE,
        lambda r: edit(r.outputs["verdicts"][1], cause="paid_late"),
        "wrong_states",
    ),
    "another id": (STANDS, lambda r: edit(r.outputs["verdicts"][0], _id="x"), "wrong_states"),
    "another due": (
        STANDS,
        lambda r: edit(r.outputs["verdicts"][0], due_minor=1),
        "wrong_states",
    ),
    "another advice": (
        STANDS,
        lambda r: edit(r.outputs["verdicts"][0], recommended_action="human_review"),
        "wrong_states",
    ),
    "another partition": (
        STANDS,
        lambda r: setattr(r.outputs["verdicts"][0], "partition", 1),
        "wrong_states",
    ),
    "another policy version": (
        STANDS,
        lambda r: edit(r.outputs["verdicts"][0], policy_version="v2"),
        "wrong_states",
    ),
    "customer figures missing": (
        STANDS,
        lambda r: r.outputs["customers"].clear(),
        "wrong_states",
    ),
    "a reminder after send_before": (
        LATE,
        lambda r: setattr(r.outputs["reminders"][0], "timestamp", 10**13),
        "wrong_states",
    ),
    "a reminder with another number": (
        LATE,
        lambda r: edit(r.outputs["reminders"][0], number=2),
        "wrong_states",
    ),
    "a reminder at another time": (
        LATE,
        lambda r: edit(r.outputs["reminders"][0], _time="2026-03-02T04:00:00.001Z"),
        "wrong_states",
    ),
    "a dead letter missing": (DEAD, lambda r: r.dead.clear(), "wrong_states"),
    "a dead letter twice": (DEAD, lambda r: r.dead.append(r.dead[0]), "duplicates"),
    "a dead letter with another reason": (
        DEAD,
        lambda r: r.dead.__setitem__(0, r.letter(r.scenario.records[1][1], "key")),
        "wrong_states",
    ),
    "a dead letter that was good": (
        DEAD,
        lambda r: r.dead.append(r.letter(r.scenario.records[0][1], "invalid")),
        "wrong_states",
    ),
    "a dead letter changed": (
        DEAD,
        lambda r: setattr(r.dead[0], "value", b"other"),
        "wrong_states",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str) -> None:
    name, spoil, count = FAULTS[fault]
    run = Run(_find(name))
    spoil(run)
    report = run.verify()
    assert getattr(report, count) > 0, report.text()
    assert not report.ok


def test_a_verdict_against_a_payment_known_in_time_is_false() -> None:
    # given a payment appended 1 ms before the upstream delay after verdict_at is over
    scenario = _find(STANDS)
    run = Run(scenario)
    late = record(paid(at="+3h"), arrives="+100h+4999ms", offset=99)
    run.scenario.records.append(("payment", late))
    try:
        report = run.verify()
    finally:
        run.scenario.records.pop()
    # then the verdict was false when said
    assert report.false >= 1, report.text()


def test_a_checkout_judged_between_two_bounds_may_stand_either_way() -> None:
    event = record(confirmed(at="+0"))
    nothing: dict[str, Any] = {"verdicts": [], "policy": _find(LATE).policy()}
    verdict_at = event.timestamp + 100 * 3_600_000
    early = verify([("checkout", event)], now=verdict_at - 1, now_upper=verdict_at, **nothing)
    late = verify([("checkout", event)], now=verdict_at, now_upper=verdict_at, **nothing)
    assert (early.missed, late.missed) == (0, 1)


def test_a_run_of_the_real_rules_is_right_through_files(tmp_path: Path) -> None:
    # given every replayable scenario's story at once, each for a customer of its own
    real = Real()
    records = []
    for number, scenario in enumerate(SCENARIOS):
        if scenario.policy_toml or scenario.held or scenario.id.startswith("errors/"):
            continue
        for role, one in scenario.records:
            value = (one.value or b"").replace(b'"c1"', f'"customer-{number}"'.encode())
            key = f"customer-{number}".encode()
            if b'"customer-' in value:
                records.append(replace(one, key=key, value=value))
                assert role
    records.sort(key=lambda one: one.timestamp)
    for offset, one in enumerate(records):
        one.offset = offset
    # when it is run with a real clock a little ahead of the frontier
    written: list[Record] = list(records)
    roles = {topic: role for role, topic in TOPICS.items()}
    end = records[-1].timestamp + 5 * DAY

    def keep(flush: Flush, clock: int) -> None:
        for output in flush.outputs:
            topic = OUTPUTS[output.role]
            written.append(
                Record(topic, output.value, output.key, timestamp=clock, offset=len(written))
            )

        written.extend(Run.letter(dead.record, dead.reason) for dead in flush.dead_letters)

    def tick(to: int) -> None:
        real.ledger.fire(frontier_ms=to, clock_ms=to + 5_000)
        keep(real.ledger.flush(clock_ms=to + 5_000), to + 5_000)

    for one in records:
        target = one.timestamp - 5_000
        while real.ledger.next_due_ms <= target and real.ledger.now_ms:
            tick(max(real.ledger.next_due_ms, real.ledger.now_ms))
        tick(target)
        real.feed(roles[one.topic], one)
        keep(real.ledger.flush(clock_ms=one.timestamp), one.timestamp)
    while real.ledger.next_due_ms <= end:
        tick(real.ledger.next_due_ms)
    tick(end)
    # then the files of its topics are found right
    dumps.write(tmp_path / "run.ndjson", written)
    report = dumps.verify_records(
        dumps.read(tmp_path / "run.ndjson"), policy=policy_from(), now=end
    )
    assert report.right > 20
    assert report.ok, report.text()


@pytest.mark.parametrize("told", [True, False])
def test_a_stray_holds_its_checkout_from_its_command_on_or_if_there_is_none_at_once(
    told: bool,
) -> None:
    policy, late = policy_from(), START_MS + 10 * DAY
    own = murmur2(b"c1") % 2
    stray = record(paid(at="+1h"), partition=1 - own)
    inputs = [("checkout", record(confirmed(at="+0"), partition=own)), ("payment", stray)]
    if told:  # the lane that found it was down for a day
        command = record(misplaced(at="+1h"), arrives="+1d", partition=own)
        inputs.append(("command", command))
    verifier = Verifier(
        policy=policy,
        now=late,
        now_upper=late,
        upstream_delay=0,
        partitions=2,
        policy_version=None,
        slack=0,
        allow_internal=False,
    )
    verifier.read_inputs(inputs, [Run.letter(stray, "key")])
    names = [
        standings(customer, late, policy)["k1"].name
        for at in (START_MS + DAY // 2, START_MS + 2 * DAY)
        for customer in verifier.knowledge("c1", at, at)
    ]
    assert names == (["unpaid", "held"] if told else ["held", "held"])
    assert verifier.report.ok, verifier.report.text()
