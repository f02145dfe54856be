"""One record in a hundred is garbage of every kind, among kills; each is a dead letter once, to the
byte. Then they are mended and sent back, by a redrive that is killed in the middle."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fault.long.scenario import (
    Arena,
    Crew,
    Flow,
    Outcome,
    Scenario,
    Stage,
    Step,
    settle,
    verified,
)
from tests.support import builders
from tests.support.builders import Event, Record
from tests.support.flow import _step, mix, poison
from tests.support.moments import MOMENTS
from tests.support.reading import DAY, HOUR, MINUTE
from tests.support.stage import INPUTS
from tests.support.stumbling import STUMBLES_OVER
from tests.support.waiting import poll

KILLS = 30
EVERY_S = 4.5
RATE = 90
"""Checkouts a second; about 2.5 records each."""
POISON_EVERY_S = 20
"""A dose is 44 dead letters."""
WITH_FAULT = ("-m", "tests.support.stumbling_moments")
DYING = ("-m", "tests.support.dying_redrive")
ENOUGH_TO_DIE = 24
"""So many letters make transactions enough for the redrive to die twice."""
REASONS = {"malformed", "invalid", "key", "future", "limit", "internal"}


def more_poison(*, seed: int, at_ms: int) -> list[Step]:
    """What `poison` has not: caps, envelopes, binary mode, other topics' fields, our own fault."""
    name = f"worse{seed}"
    steps: list[Step] = []

    def raw(role: str, value: bytes, **fields: Any) -> None:
        def make(start: int) -> Record:
            del start
            return Record(builders.TOPICS[role], value, b"x", partition=-1, **fields)

        steps.append(Step(at_ms, role, make))

    def bad(event: Event, **changes: Any) -> None:
        data = event["data"] | changes.pop("data", {})
        steps.append(_step(event | changes | {"data": data}))

    def who(number: int) -> dict[str, Any]:
        return {"customer": f"{name}-{number}", "checkout_id": f"{name}-k{number}"}

    raw("payment", b"[" * 100_000)
    raw("payment", b'{"specversion":"1.0","n":NaN}')
    raw("order", b'"only text"')
    headers = [("ce_specversion", b"1.0"), ("ce_type", b"\xff"), ("trace", b"")]
    raw("checkout", b"{}", headers=headers)
    at = at_ms
    bad(builders.checkout(at=at, **who(1)), data={"currency": "rupiah"})
    bad(builders.checkout(at=at, **who(2)), data={"pay_by": builders.rfc3339(at - 1)})
    bad(builders.checkout(at=at, **who(3)), data={"pay_by": builders.rfc3339(at + 91 * DAY)})
    bad(builders.checkout(at=at, **who(4)), data={"orders": [{"seller_id": "s"}]})
    bad(builders.checkout(at=at, **who(5)), id="")
    bad(builders.checkout(at=at, **who(6)), id="x" * 129)
    bad(builders.order("o", at=at, status="refused", **who(7)))
    bad(builders.order("o", at=at, status="lost", **who(8)))
    bad(builders.overturn(at=at, **who(9)), data={"decided_by": None})
    bad(builders.cancelled(at=at, **who(10)), data={"by": "nobody"})
    ahead = {"paid_at": builders.rfc3339(at + HOUR)}
    steps.append(_step(builders.checkout(at=at, **who(11))))
    bad(builders.payment(at=at, **who(11)), data=ahead)
    steps += (  # two payments more than a checkout may have
        _step(builders.payment(f"p{n}", at=at, status="failed", **who(12))) for n in range(18)
    )
    for number in range(66):  # two orphans more than a customer may have
        orphan: dict[str, Any] = {"customer": f"{name}-13", "checkout_id": f"{name}-o{number}"}
        steps.append(_step(builders.payment(at=at, status="pending", **orphan)))
    odd: dict[str, Any] = {"customer": f"{name}-14", "checkout_id": STUMBLES_OVER}
    steps.append(_step(builders.checkout(at=at, **odd)))
    steps.append(_step(builders.payment(at=at + 700, **odd)))
    return steps


def steps_for(arena: Arena, seconds: float) -> tuple[list[Step], int]:
    """A mixed stream and its doses of poison, and how many doses."""
    steps = mix(seed=arena.seed, checkouts=int(seconds * RATE), seconds=seconds)
    moments = range(2_000, int(seconds * 1000), POISON_EVERY_S * 1000)
    for number, at_ms in enumerate(moments):
        seed = arena.seed * 1000 + number
        steps += poison(seed=seed, at_ms=at_ms, partitions=4)
        steps += more_poison(seed=seed, at_ms=at_ms)
    return steps, len(moments)


def poisoned(arena: Arena) -> Outcome:
    """See the module."""
    outcome, wanted = Outcome(), arena.times(KILLS)
    with arena.stage() as stage, Crew(stage, 2, program=WITH_FAULT) as crew:
        crew.wait_ready()
        steps, doses = steps_for(arena, wanted * EVERY_S)
        flow = Flow(stage, steps).start()
        _kill(arena, outcome, crew, flow, wanted)
        flow.join(within_s=240)
        now = settle(stage, None, within_s=180)
        report = outcome.add(verified(stage, now, allow_internal=True))
        reasons = _reasons(stage)
        arena.say(f"{flow.sent} records sent, dead letters: {dict(reasons)}")
        outcome.demand(set(reasons) == REASONS, f"not every reason is met: {dict(reasons)}")
        letters = report.dead_letters
        outcome.demand(letters >= 40 * doses, f"only {letters} dead letters of {doses} doses")
        outcome.demand(letters < 0.05 * flow.sent, f"{letters} of {flow.sent}: not a mix")
        outcome.demand(report.right > 10 * wanted, f"only {report.right} verdicts to lose")
        outcome.demand(outcome.faults >= wanted, f"only {outcome.faults} kills")
        mended = _redriven(arena, outcome, stage, crew)
        after = verified(stage, settle(stage, None, within_s=180), allow_internal=True)
        outcome.problems += after.problems
        outcome.records += after.records - report.records
        outcome.demand(after.dead_letters == letters, "a mended letter became one again")
        _judged(outcome, stage, mended)
        outcome.notes = {
            "dead letters": dict(reasons),
            "mended": len(mended),
            "ends": dict(crew.ends),
            "verdicts": after.right,
        }
    return outcome


def _kill(arena: Arena, outcome: Outcome, crew: Crew, flow: Flow, wanted: int) -> None:
    """One worker every few seconds, every second time at a chosen moment of a transaction."""
    dice = arena.dice
    moments = [moment for moment in MOMENTS if moment in ("begin", "half", "commit", "committed")]
    while outcome.faults < wanted and flow.running:
        place = outcome.faults % 2
        if outcome.faults % 4 < 2:
            file = crew.at(place, "kill", moments[outcome.faults // 4 % len(moments)])
            wait_met(crew, file)
        else:
            crew.kill(place)
        outcome.faults += 1
        time.sleep(dice.uniform(1.5, EVERY_S))
        crew.check()


def wait_met(crew: Crew, file: Path) -> None:
    """Somebody came to the moment of a file of `Crew.at`."""
    poll(lambda: crew.check() and not file.exists(), within_s=40, what="the moment did not come")


def _reasons(stage: Stage) -> Counter[str]:
    letters = stage.kafka.read(*(stage.dead_letters_of(role) for role in INPUTS))
    return Counter(dict(letter.headers)["hitrun.error.reason"].decode() for letter in letters)


# ---------------------------------------------------------------- mended and sent back


def _redriven(arena: Arena, outcome: Outcome, stage: Stage, crew: Crew) -> dict[str, str]:
    """Mends what can be mended and sends it back, killed twice on the way; event id -> role."""
    mended: dict[str, str] = {}
    for role in ("checkout", "payment"):
        dlq, file = stage.dead_letters_of(role), stage.home / f"{role}.ndjson"
        file.unlink(missing_ok=True)  # of an earlier run: a dump writes over nothing
        code, _, err = stage.hitrun("redrive", dlq, "--dump", str(file))
        outcome.demand(code == 0, f"redrive --dump: {err}")
        ids = mend(file, role, int(time.time() * 1000))
        mended |= dict.fromkeys(ids, role)
        for number, moment in enumerate(("before", "after")):
            dying = stage.start("redrive", dlq, "--from", str(file), program=DYING,
                                env={"DIE": moment})  # fmt: skip
            code = dying.wait(within_s=60)
            enough = role == "payment" and len(ids) >= ENOUGH_TO_DIE
            outcome.demand(not enough or code == -9, dying.told("the redrive was not killed"))
            outcome.faults += code == -9
            crew.kill(number)
            outcome.faults += 1
        code, out, err = stage.hitrun("redrive", dlq, "--from", str(file))
        outcome.demand(code == 0, f"redrive --from: {err}")
        code, out, err = stage.hitrun("redrive", dlq, "--from", str(file))
        outcome.demand(out.startswith("sent nothing"), f"sent again: {out}{err}")
        arena.say(f"{len(ids)} mended letters of {role} sent back")
    return mended


def mend(file: Path, role: str, now_ms: int) -> list[str]:
    """As a person would: payments are paid in time, garbage is the checkout it should have been
    (of somebody who never pays). What has no remedy is left out. Returns the events' ids."""
    kept, ids = [], []
    for line in file.read_text().splitlines():
        letter = json.loads(line)
        event = _mended(letter, role, now_ms)
        if event is not None:
            letter |= {"value": event, "key": event["data"]["customer_id"], "headers": []}
            kept.append(json.dumps(letter))
            ids.append(event["id"])
    file.write_text("".join(f"{line}\n" for line in kept))
    return ids


def _mended(letter: dict[str, Any], role: str, now_ms: int) -> Event | None:
    if letter["reason"] == "internal":
        return None
    value = letter["value"]
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    data = value.get("data") if isinstance(value, dict) else None
    id = f"mended/{role}/{letter['partition']}/{letter['offset']}"
    if role == "checkout":
        if letter["reason"] != "malformed":
            return None
        return builders.checkout(id, customer=f"{id}/c", at=now_ms, id=id)
    if not data or "customer_id" not in data or data["customer_id"].startswith("worse"):
        return None
    at = letter["timestamp"] - MINUTE
    who = {"customer": data["customer_id"], "checkout_id": data["checkout_id"]}
    return builders.payment(data["payment_id"], at=at, id=id, **who)


def _judged(outcome: Outcome, stage: Stage, mended: dict[str, str]) -> None:
    """Each came back once; the checkouts among them became verdicts."""
    outcome.demand(len(mended) >= 10, f"only {len(mended)} mended")
    came: Counter[str] = Counter()
    for role in set(mended.values()):
        for record in stage.kafka.read(stage.topic(role)):
            try:
                came[json.loads(record.value)["id"]] += 1
            except (ValueError, KeyError, TypeError, RecursionError):
                continue  # the garbage itself
    often = {id: came[id] for id in mended if came[id] != 1}
    outcome.demand(not often, f"mended letters that did not come back once: {often}")
    verdicts = stage.kafka.read(stage.topic("verdict"))
    said = {json.loads(record.value)["data"]["checkout_id"] for record in verdicts}
    silent = [id for id, role in mended.items() if role == "checkout" and id not in said]
    outcome.demand(not silent, f"mended and never judged: {silent}")


SCENARIOS = [
    Scenario(
        6,
        "poison",
        "1 % garbage of every kind, kill -9 all along; then mended and redriven, killed on the way",
        poisoned,
    )
]
