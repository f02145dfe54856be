"""Scenario files: the tricky cases as data, for the oracle, for the real rules and for replay.

A file holds one or more `[[scenario]]` tables. `events` are inline tables, one event a line:

    { at = "+0", confirmed = "k1", payment_method = "card", cart_id = "basket" }
    { at = "+3h", arrives = "+20h", payment = "p1", status = "paid" }

The word that names the kind (`confirmed`, `changed`, `cancelled`, `payment`, `order`, `overturn`,
`misplaced`) carries the id it is about; `of` names the checkout where the id is another (default
"k1"), `customer` defaults to "c1". `at` is the event time, `arrives` the append time (default: the
same). All else is event data. Besides: `attributes = {..}` overrides CloudEvents attributes,
`without = [..]` drops data fields, `key` (or `no_key = true`) sets another record key, `topic`
another role, `binary = true` sends it in binary mode, `times = 3` repeats the entry (# in its texts
is then the number), and `raw = ".."`, `hex = ".."` or `tombstone = true` with `topic` is a record
with a value of its own.

A scenario may also set `policy` (as in policy.toml), `held = [from, to]` (the frontier stands
still while arrivals lie between the two) and `unknown_until` (the records are a backlog, read with
an unknown frontier that then becomes this). `awaits = ".."` names a known fault that it waits for.

`expect` holds `until` (the end of time), `standings`, `strikes`, `advice`, and `outputs`: all that
is said, in any order, each with the fields that matter; `dead_letters` and `skipped` likewise.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import builders
from tests.support.announcer import Announcer
from tests.support.builders import TOPICS, Record, ms, rfc3339
from tests.support.oracle import figures, standings
from tests.support.reading import DAY, policy_from

FOLDER = Path(__file__).parents[1] / "scenarios"
TYPES = {
    "detected": "hitrun.verdict.detected",
    "withdrawn": "hitrun.verdict.withdrawn",
    "reminder": "hitrun.reminder.due",
    "changed": "hitrun.customer.changed",
}
_KINDS = ("confirmed", "changed", "cancelled", "payment", "order", "overturn", "misplaced")
_TIMES = {"pay_by", "paid_at", "send_before", "verdict_at", "confirmed_at", "at"}


@dataclass
class Outcome:
    """What a run of a scenario came to, whoever ran it."""

    outputs: list[dict[str, Any]]
    standings: dict[str, str]
    strikes: int
    advice: str
    dead_letters: list[tuple[int, set[str]]]
    skipped: dict[str, int]


@dataclass
class Scenario:
    """One scenario of a file."""

    id: str
    case: int | None
    title: str
    start: int
    events: list[dict[str, Any]]
    expect: dict[str, Any]
    policy_toml: str = ""
    held: tuple[int, int] | None = None
    unknown_until: int | None = None
    upstream_delay: int = 5_000
    awaits: str = ""
    """A known fault of the rules that keeps it from passing."""
    records: list[tuple[str, Record]] = field(default_factory=list)

    @property
    def until(self) -> int:
        return ms(self.expect["until"], self.start)

    def policy(self) -> dict[str, Any]:
        return policy_from(self.policy_toml)


def _toml(table: dict[str, Any]) -> str:
    """A policy table of a scenario as the text of a policy file."""
    lines: list[str] = []
    for section, values in table.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items() if key != "steps"]
        if "steps" in values:
            lines.append(f"[{section}.steps]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in values["steps"].items()]
    return "\n".join(lines)


def record_of(entry: dict[str, Any], start: int) -> tuple[str, Record]:
    """The (role, record) an event entry of a scenario stands for."""
    entry = dict(entry)
    at = entry.pop("at", "+0")
    arrives = entry.pop("arrives", None)
    key = entry.pop("key", None)
    no_key = entry.pop("no_key", False)
    role = entry.pop("topic", None)
    binary = entry.pop("binary", False)
    without = entry.pop("without", [])
    attributes = entry.pop("attributes", {})
    fields: dict[str, Any] = {}
    if key is not None or no_key:
        fields["key"] = None if no_key else key.encode()
    if not any(kind in entry for kind in _KINDS):
        value: bytes | None = None
        if "hex" in entry:
            value = bytes.fromhex(entry["hex"])
        elif "raw" in entry:
            value = entry["raw"].encode()
        elif not entry.get("tombstone"):
            raise ValueError(f"no event: {entry}")
        if not fields:
            fields["key"] = b"c1"
        when = ms(arrives if arrives is not None else at, start)
        return role, Record(TOPICS[role], value, timestamp=when, **fields)
    kind = next(kind for kind in _KINDS if kind in entry)
    ident = entry.pop(kind)
    of = entry.pop("of", "k1")
    event_id = entry.pop("id", None)
    common: dict[str, Any] = {"at": at, "start": start, "customer": entry.pop("customer", "c1")}
    if event_id is not None:
        common["id"] = event_id
    for short in ("amount", "method"):
        if f"{short}_minor" in entry:
            common[short] = entry.pop(f"{short}_minor")
    if kind in ("confirmed", "changed") and "payment_method" in entry:
        common["method"] = entry.pop("payment_method")
    if kind == "order" and "amount" in common:
        common["amount_minor"] = common.pop("amount")
    if kind in ("payment", "order"):
        event = getattr(builders, kind)(ident, of, **common, **entry)
    else:
        maker = builders.checkout if kind == "confirmed" else getattr(builders, kind)
        event = maker(ident, **common, **entry)
    event = {name: value for name, value in (event | attributes).items() if value != "absent"}
    for name in without:
        event["data"].pop(name, None)
    if "key" not in fields:
        fields["key"] = common["customer"].encode()
    make = builders.binary if binary else builders.record
    role = role or builders.ROLE_OF_TYPE.get(event.get("type", ""), None)
    if role is None:
        role = {"payment": "payment", "order": "order", "overturn": "command"}.get(kind, "checkout")
    return role, make(
        event,
        arrives=ms(at, start) if arrives is None else ms(arrives, start),
        role=role,
        **fields,
    )


def _copy(entry: dict[str, Any], number: int) -> dict[str, Any]:
    """One of `times` copies of an entry: # in its texts becomes the copy's number."""
    return {
        name: value.replace("#", str(number)) if isinstance(value, str) else value
        for name, value in entry.items()
        if name != "times"
    }


def load(path: Path) -> list[Scenario]:
    """All scenarios of a file."""
    file = tomllib.loads(path.read_text())
    found = []
    for number, table in enumerate(file["scenario"], 1):
        start = ms(table.get("start", file.get("start", builders.START)))
        held = table.get("held")
        scenario = Scenario(
            id=f"{path.stem}/{table.get('name', number)}",
            case=file.get("case"),
            title=file.get("title", ""),
            start=start,
            events=table["events"],
            expect=table["expect"],
            policy_toml=_toml(table.get("policy", file.get("policy", {}))),
            awaits=table.get("awaits", ""),
            held=(ms(held[0], start), ms(held[1], start)) if held else None,
            unknown_until=(ms(table["unknown_until"], start) if "unknown_until" in table else None),
        )
        pairs = []
        for index, entry in enumerate(table["events"]):
            for copy in range(1, entry.get("times", 1) + 1):
                role, record = record_of(_copy(entry, copy), start)
                pairs.append((index, role, record))
        if scenario.unknown_until is None:
            pairs.sort(key=lambda pair: pair[2].timestamp)
        offsets: Counter[str] = Counter()
        for index, role, record in pairs:
            record.offset = offsets[role]
            offsets[role] += 1
            record.headers = [*record.headers, ("scenario-event", str(index).encode())]
            scenario.records.append((role, record))
        found.append(scenario)
    return found


def all_scenarios() -> Iterator[Scenario]:
    for path in sorted(FOLDER.glob("*.toml")):
        yield from load(path)


def event_number(record: Any) -> int:
    """Which entry of the scenario's events a record came from."""
    return int(dict(record.headers)["scenario-event"])


def by_oracle(scenario: Scenario) -> Outcome:
    """Runs a scenario through the naive reading alone."""
    policy = scenario.policy()
    announcer = Announcer(policy, upstream_delay=scenario.upstream_delay)
    announcer.run(
        scenario.records,
        scenario.until,
        held=scenario.held,
        unknown_until=scenario.unknown_until,
    )
    names: dict[str, str] = {}
    strikes, advice = 0, "none"
    for id, book in sorted(announcer.books.items()):
        cases = standings(book.customer, scenario.until, policy)
        names |= {case.id: case.name for case in cases.values()}
        if id == scenario.expect.get("customer", "c1"):
            figure = figures(cases, scenario.until // DAY, policy)
            strikes, advice = figure["strikes"], figure["recommended_action"]
    return Outcome(
        outputs=announcer.outputs,
        standings=names,
        strikes=strikes,
        advice=advice,
        dead_letters=[(event_number(r), set(why)) for r, why in announcer.dead_letters],
        skipped=dict(Counter(announcer.skipped)),
    )


# ---------------------------------------------------------------- comparing


def normal(value: Any, name: str = "") -> Any:
    """Times as ms, so that ms and RFC 3339 compare."""
    if isinstance(value, str) and name in _TIMES | {"time"}:
        return ms(value)
    return value


def _wanted(entry: dict[str, Any], start: int) -> tuple[str, dict[str, Any]]:
    kind = next(kind for kind in TYPES if kind in entry)
    wanted: dict[str, Any] = {}
    for name, value in entry.items():
        if name == kind:
            wanted["customer_id" if kind == "changed" else "checkout_id"] = value
        elif name == "advice":
            wanted["recommended_action"] = value
        elif name in _TIMES | {"time"}:
            wanted[name] = ms(value, start)
        else:
            wanted[name] = value
    return TYPES[kind], wanted


def _fits(type: str, wanted: dict[str, Any], output: dict[str, Any]) -> bool:
    if output["type"] != type:
        return False
    has = output["data"] | {"time": output["time"]}
    return all(normal(has.get(name), name) == value for name, value in wanted.items())


def problems(scenario: Scenario, outcome: Outcome) -> list[str]:
    """Where an outcome differs from what the scenario expects; empty when it is right."""
    expect, found = scenario.expect, []
    for id, name in expect.get("standings", {}).items():
        if outcome.standings.get(id) != name:
            found.append(f"standing of {id}: {outcome.standings.get(id)}, expected {name}")
    if "strikes" in expect and outcome.strikes != expect["strikes"]:
        found.append(f"strikes: {outcome.strikes}, expected {expect['strikes']}")
    if "advice" in expect and outcome.advice != expect["advice"]:
        found.append(f"advice: {outcome.advice}, expected {expect['advice']}")
    left = [o for o in outcome.outputs if o["type"] not in map(TYPES.get, expect.get("any", []))]
    for entry in expect.get("outputs", []):
        type, wanted = _wanted(entry, scenario.start)
        fit = next((o for o in left if _fits(type, wanted, o)), None)
        if fit is None:
            found.append(f"not said: {entry}")
        else:
            left.remove(fit)
    found += [f"said besides: {_short(output, scenario.start)}" for output in left]
    wanted_dead = Counter((d["event"], d["reason"]) for d in expect.get("dead_letters", []))
    for number, reasons in outcome.dead_letters:
        hit = next((w for w in wanted_dead if w[0] == number and w[1] in reasons), None)
        if hit is None or not wanted_dead[hit]:
            found.append(f"dead letter besides: event {number} {reasons}")
        else:
            wanted_dead[hit] -= 1
    found += [f"no dead letter: {wanted}" for wanted in (+wanted_dead)]
    if outcome.skipped != expect.get("skipped", {}):
        found.append(f"skipped: {outcome.skipped}, expected {expect.get('skipped', {})}")
    return found


def _short(output: dict[str, Any], start: int) -> str:
    time = output["time"]
    if time is not None:
        minutes, rest = divmod(normal(time, "time") - start, 60_000)
        time = f"+{minutes // 60}h{minutes % 60}m{rest}ms"
    return f"{output['type']} at {time} {output['data']}"


# ---------------------------------------------------------------- to run one by hand


def scenario_to_ndjson(scenario: Scenario) -> str:
    """The records of a scenario, one JSON object a line, as `hitrun replay` reads them."""
    return "".join(_line(record) + "\n" for _, record in scenario.records)


def _line(record: Record) -> str:
    """One record; bytes that are no UTF-8 as escaped lone surrogates."""
    value = None if record.value is None else record.value.decode("utf-8", "surrogateescape")
    whole = {
        "topic": record.topic,
        "key": None if record.key is None else record.key.decode(),
        "timestamp": record.timestamp,
        "headers": {name: content.decode() for name, content in record.headers},
        "value": value,
    }
    return json.dumps(whole, ensure_ascii=value is not None and not value.isprintable())


def main() -> None:
    """`python -m tests.support.scenarios FILE [NAME]`: prints its records as NDJSON."""
    import sys

    for scenario in load(Path(sys.argv[1])):
        if len(sys.argv) < 3 or scenario.id.endswith("/" + sys.argv[2]):
            print(f"# {scenario.id}, until {rfc3339(scenario.until)}", file=sys.stderr)
            print(scenario_to_ndjson(scenario), end="")


if __name__ == "__main__":
    main()
