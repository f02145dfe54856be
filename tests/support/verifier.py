"""Checks a whole run from the outside: inputs and read_committed outputs against the oracle.

    report = verify(inputs, verdicts=..., reminders=..., customers=..., dead=..., policy=...,
                    now=lowest_final_frontier, now_upper=highest_possible_frontier)
    assert report.ok, report.text()

What was known when something was said is bounded by the append times: everything appended before
the moment in question + upstream_delay, and at most what was appended before the output's own
record timestamp. An announcement is right if it is right under any knowledge within the bounds.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.support.announcer import after_quiet_hours, steps_of, zone_of
from tests.support.oracle import (
    Case,
    Customer,
    Policy,
    figures,
    leaves_day,
    output_id,
    standings,
    with_advice,
    withdrawn_cause,
)
from tests.support.reading import DAY, AnyRecord, Fact, murmur2, read, time_ms

MOST_PROBLEMS = 200
MOST_COMBINATIONS = 300


@dataclass
class Report:
    """What the verifier found; `ok` when nothing is wrong."""

    records: int = 0
    """Input records."""
    events: int = 0
    """Good events among them."""
    checkouts: int = 0
    right: int = 0
    """Verdicts that stand at the end and should."""
    missed: int = 0
    """Checkouts that should stand as unpaid at the end and do not."""
    false: int = 0
    """Verdicts that were wrong when said, or that stand at the end and should not."""
    duplicates: int = 0
    """Outputs whose id was there before, and records twice in the dead letters."""
    wrong_states: int = 0
    """Outputs with a wrong field or out of sequence, and customers with wrong figures."""
    reminders: int = 0
    withdrawn: int = 0
    dead_letters: int = 0
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0

    def problem(self, text: str, **counts: int) -> None:
        self.problem_count += 1
        for name, count in counts.items():
            setattr(self, name, getattr(self, name) + count)
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(text)

    @property
    def ok(self) -> bool:
        return self.problem_count == 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        counts = {k: v for k, v in self.as_dict().items() if k != "problems"}
        return "\n".join([json.dumps(counts), *self.problems])


@dataclass(slots=True)
class Item:
    """A fact or a hold of a customer, with when and where it was appended."""

    appended: int
    place: int
    role: str
    checkout: str
    fact: Fact | None


@dataclass(slots=True)
class Said:
    """One output event."""

    type: str
    id: str
    time: int
    customer: str
    data: dict[str, Any]
    timestamp: int
    partition: int
    name: str


class Verifier:
    """One verification; `verify` is the way in."""

    def __init__(
        self,
        *,
        policy: Policy,
        now: int,
        now_upper: int,
        upstream_delay: int,
        partitions: int,
        policy_version: str | None,
        slack: int,
        allow_internal: bool,
    ) -> None:
        self.policy = policy
        self.now = now
        self.now_upper = now_upper
        self.delay = upstream_delay
        self.partitions = partitions
        self.policy_version = policy_version
        self.slack = slack
        self.allow_internal = allow_internal
        self.report = Report()
        self.items: dict[str, list[Item]] = defaultdict(list)
        self.where: dict[str, int] = {}
        self.strays: list[tuple[str, Item]] = []
        """Holds by records on a partition that is not their customer's."""

    # ------------------------------------------------------------ inputs and dead letters

    def read_inputs(
        self,
        inputs: Iterable[tuple[str, AnyRecord]],
        dead: Iterable[AnyRecord],
    ) -> None:
        letters: dict[tuple[str, int, int], AnyRecord] = {}
        reasons: dict[tuple[str, int, int], str] = {}
        for letter in dead:
            self.report.dead_letters += 1
            headers = dict(letter.headers or ())
            try:
                place = (
                    headers["hitrun.error.topic"].decode(),
                    int(headers["hitrun.error.partition"]),
                    int(headers["hitrun.error.offset"]),
                )
                reason = headers["hitrun.error.reason"].decode()
            except (KeyError, ValueError) as error:
                self._wrong(f"dead letter {letter.topic}@{letter.offset}: header {error!r}")
                continue
            if place in letters:
                self.report.problem(f"twice in the dead letters: {place}", duplicates=1)
            letters[place], reasons[place] = letter, reason
        for number, (role, record) in enumerate(inputs):
            self.report.records += 1
            place = (record.topic, record.partition, record.offset)
            letter = letters.pop(place, None)
            if letter is not None:
                self._compare_letter(record, letter)
            self._read(role, record, number, reasons.get(place))
        for customer, item in self.strays:
            # Its lane does not see the record: it hears of it by a command, at that one's time.
            told = {
                i.checkout for i in self.items[customer] if i.fact and i.fact.kind == "misplaced"
            }
            if item.checkout not in told:
                self.items[customer].append(item)
        for place in letters:
            self._wrong(f"dead letter of a record that is not among the inputs: {place}")

    def _compare_letter(self, record: AnyRecord, letter: AnyRecord) -> None:
        place = f"{record.topic}/{record.partition}@{record.offset}"
        if (letter.key, letter.value) != (record.key, record.value):
            self._wrong(f"dead letter of {place} is not the record byte for byte")
        own = [(n, v) for n, v in letter.headers if not n.startswith("hitrun.error.")]
        if own != list(record.headers or ()):
            self._wrong(f"dead letter of {place} lost its headers: {own}")
        if letter.partition != record.partition or letter.topic != f"{record.topic}.dlq":
            self._wrong(f"dead letter of {place} lies on {letter.topic}/{letter.partition}")
        headers = dict(letter.headers)
        for name in ("detail", "timestamp", "at"):
            if f"hitrun.error.{name}" not in headers:
                self._wrong(f"dead letter of {place} has no hitrun.error.{name}")

    def _read(self, role: str, record: AnyRecord, number: int, reason: str | None) -> None:
        place = f"{record.topic}/{record.partition}@{record.offset}"
        reading = read(
            role,
            record,
            self.policy,
            partitions=self.partitions,
            upstream_delay=self.delay,
            place=number,
        )
        fact = reading.fact
        if reason is None and reading.faults:
            self._wrong(f"not in the dead letters: {place}, {reading.faults}")
        if reason is not None and reason not in reading.faults:
            if reason == "internal":
                if not self.allow_internal:
                    self._wrong(f"dead letter internal: {place}")
            elif reason != "limit" or fact is None:
                expected = reading.faults or reading.skip or "good"
                self._wrong(f"dead letter {reason} of {place}, but it is {expected}")
            fact = None
        if reading.customer is None or reading.skip:
            return
        if fact is not None:
            self.report.events += 1
            self.where[fact.customer] = record.partition
        elif reading.checkout is None:
            return
        item = Item(record.timestamp, number, role, reading.checkout or "", fact)
        own = murmur2(reading.customer.encode()) % max(self.partitions, 1)
        if fact is None and self.partitions and record.partition != own:
            self.strays.append((reading.customer, item))
        else:
            self.items[reading.customer].append(item)

    # ------------------------------------------------------------ knowledge

    def _customer(self, id: str, items: Iterable[Item]) -> Customer:
        customer = Customer(id)
        for item in items:
            if item.fact is not None:
                customer.add(item.fact)
            else:
                customer.hold(item.checkout, item.appended, item.place)
        return customer

    def knowledge(self, id: str, surely_before: int, at_most: int) -> Iterator[Customer]:
        """The customer under every knowledge possible at some moment, least first.

        Everything appended before `surely_before`; of each input topic any first part of what
        was appended from there until `at_most`.
        """
        sure: list[Item] = []
        open_: dict[str, list[Item]] = defaultdict(list)
        for item in self.items.get(id, ()):
            if item.appended < surely_before - self.slack:
                sure.append(item)
            elif item.appended <= at_most + self.slack:
                open_[item.role].append(item)
        if not open_:
            yield self._customer(id, sure)
            return
        lists = [sorted(items, key=lambda i: (i.appended, i.place)) for items in open_.values()]
        in_order = sorted(itertools.chain(*lists), key=lambda i: (i.appended, i.place))
        for count in range(len(in_order) + 1):
            yield self._customer(id, sure + in_order[:count])
        combinations = itertools.product(*(range(len(items) + 1) for items in lists))
        for counts in itertools.islice(combinations, MOST_COMBINATIONS):
            chosen = [i for n, items in zip(counts, lists, strict=True) for i in items[:n]]
            yield self._customer(id, sure + chosen)

    # ------------------------------------------------------------ outputs

    def read_outputs(self, records: Iterable[AnyRecord], types: set[str]) -> list[Said]:
        """Parses outputs and checks their envelope; tombstones of the customer topic are kept."""
        found: list[Said] = []
        ids: set[str] = set()
        of_key: dict[str, set[str]] = defaultdict(set)
        for record in records:
            name = f"{record.topic}/{record.partition}@{record.offset}"
            key = (record.key or b"").decode()
            if record.value is None:
                ids -= of_key.pop(key, set())  # a tombstone ends the count, ids begin anew
                found.append(
                    Said("tombstone", "", 0, key, {}, record.timestamp, record.partition, name)
                )
                continue
            event = json.loads(record.value)
            data = event["data"]
            said = Said(
                event["type"],
                event["id"],
                time_ms(event["time"]),
                data["customer_id"],
                data,
                record.timestamp,
                record.partition,
                f"{event['type'].rsplit('.', 1)[-1]} of {data.get('checkout_id', key)} ({name})",
            )
            if said.type not in types:
                self._wrong(f"{name}: type {said.type}")
                continue
            if said.id in ids:
                self.report.problem(f"twice: {said.name}, {said.id}", duplicates=1)
                continue
            ids.add(said.id)
            of_key[key].add(said.id)
            found.append(said)
            wrong = []
            if event.get("specversion") != "1.0" or event.get("source") != "hitrun":
                wrong.append("specversion/source")
            if key != said.customer:
                wrong.append(f"key {key!r}")
            if "checkout_id" in data and event.get("subject") != data["checkout_id"]:
                wrong.append(f"subject {event.get('subject')!r}")
            if not event["time"].endswith("Z") or len(event["time"]) != 24:
                wrong.append(f"time {event['time']}")
            expected = self.where.get(said.customer)
            if expected is not None and said.partition != expected:
                wrong.append(f"partition, not {expected}")
            if self.partitions and murmur2(key.encode()) % self.partitions != said.partition:
                wrong.append("partition, not the key's")
            version = data.get("policy_version")
            if not version or (self.policy_version and version != self.policy_version):
                wrong.append(f"policy_version {version!r}")
            if wrong:
                self._wrong(f"{said.name}: {', '.join(wrong)}")
        return found

    def verdicts(self, said: list[Said]) -> dict[tuple[str, str], Said]:
        """Checks every verdict and their sequence; the last of each checkout."""
        last: dict[tuple[str, str], Said] = {}
        for one in said:
            place = (one.customer, one.data["checkout_id"])
            before = last.get(place)
            last[place] = one
            kind = "detected" if one.type.endswith("detected") else "withdrawn"
            sequence = one.data["sequence"]
            if kind == "detected":
                wanted = 1 if before is None else before.data["sequence"] + 1
                fits = before is None or before.type.endswith("withdrawn")
            else:
                self.report.withdrawn += 1
                wanted = before.data["sequence"] if before else None
                fits = before is not None and before.type.endswith("detected")
            if not fits or sequence != wanted:
                self._wrong(f"{one.name}: sequence {sequence} after {before and before.name}")
                continue
            if one.id != output_id(*place, kind, sequence):
                self._wrong(f"{one.name}: id {one.id}")
            if kind == "detected":
                self._detected(one)
            else:
                assert before is not None
                self._withdrawn(one, before)
        return last

    def _detected(self, said: Said) -> None:
        data = said.data
        dated = time_ms(data["verdict_at"])
        if said.timestamp + self.slack < dated + self.delay:
            self.report.problem(f"{said.name}: said {said.timestamp}, before {dated}", false=1)
        best: str | None = None
        for customer in self.knowledge(said.customer, dated + self.delay, said.timestamp):
            cases = standings(customer, dated, self.policy)
            case = cases.get(data["checkout_id"])
            if case is None or case.name != "unpaid" or case.dated != dated:
                continue
            later = standings(customer, max(dated, said.timestamp - self.delay), self.policy)
            wrong = differences(
                data,
                {
                    "amount_minor": case.amount,
                    "due_minor": case.due,
                    "received_minor": case.received,
                    "currency": case.currency,
                    "payment_method": case.method,
                    "confirmed_at": case.confirmed_at,
                    "pay_by": case.pay_by,
                    "reason": "cod_refused" if case.method == "cod" else "never_paid",
                    "rule": case.rule,
                    "advisory": True,
                },
            )
            orders = {order.id for order in case.orders} - {""}
            if set(data["order_ids"]) != orders:
                wrong.append(f"order_ids {data['order_ids']}, expected {sorted(orders)}")
            wrong += self._figures(data, dated // DAY, dated // DAY, [cases, later])
            if said.time != dated:
                wrong.append(f"time {said.time}, expected {dated}")
            wrong += evidence_faults(data["evidence"])
            if not wrong:
                return
            best = best or "; ".join(wrong)
        if best is None:
            self.report.problem(f"{said.name}: it was not unpaid by any knowledge", false=1)
        else:
            self._wrong(f"{said.name}: {best}")

    def _withdrawn(self, said: Said, detected: Said) -> None:
        data = said.data
        dated = time_ms(detected.data["verdict_at"])
        wrong = []
        if data["detected_id"] != detected.id:
            wrong.append(f"detected_id {data['detected_id']}")
        times = {item.fact.at for item in self.items[said.customer] if item.fact}
        if said.time not in times | {dated}:
            wrong.append(f"time {said.time} is of no event")
        if time_ms(data["at"]) != said.time:
            wrong.append(f"at {data['at']}")
        causes, best = set(), "; ".join(wrong)
        latest = max(dated, said.timestamp - self.delay)
        for customer in self.knowledge(said.customer, dated + self.delay, said.timestamp):
            # After a takeover the frontier lies behind: anywhere between the two.
            between = {
                at  # cash on delivery has no verdict_at: its strike is dated by the refusal
                for case in standings(customer, latest, self.policy).values()
                for at in (case.verdict_at, case.dated)
            }
            for now in [dated, latest, *(at for at in between if at and dated < at < latest)]:
                cases = standings(customer, now, self.policy)
                case = cases.get(data["checkout_id"])
                if case is None or case.name == "unpaid":
                    continue
                causes.add(withdrawn_cause(case))
                if withdrawn_cause(case) != data["cause"]:
                    continue
                numbers = self._figures(data, dated // DAY, latest // DAY, [cases])
                if not numbers and not wrong:
                    return
                best = best or "; ".join(numbers)
        if data["cause"] not in causes:
            best = f"cause {data['cause']}, possible {sorted(causes)}; {best}"
        self._wrong(f"{said.name}: {best}")

    def _figures(
        self, data: dict[str, Any], day: int, to: int, all_cases: list[dict[str, Case]]
    ) -> list[str]:
        """What is wrong with strikes, checkouts, unpaid_share and the advice of an output."""
        said = {
            name: data[name]
            for name in ("strikes", "checkouts", "unpaid_share", "recommended_action")
        }
        wrong = differences(said, with_advice(said["strikes"], said["checkouts"], self.policy))
        could = [figures(c, d, self.policy) for c in all_cases for d in {day, to}]
        for name in ("strikes", "checkouts"):
            numbers = [figure[name] for figure in could]
            if not min(numbers) <= said[name] <= max(numbers):
                wrong.append(f"{name} {said[name]}, expected {min(numbers)}..{max(numbers)}")
        return wrong

    def reminders(self, said: list[Said]) -> None:
        rules = self.policy["reminders"]
        by_customer: dict[str, list[Said]] = defaultdict(list)
        for one in said:
            self.report.reminders += 1
            mine = by_customer[one.customer]
            number = 1 + sum(o.data["checkout_id"] == one.data["checkout_id"] for o in mine)
            wrong = []
            if one.data["number"] != number or number > rules["per_checkout"]:
                wrong.append(f"number {one.data['number']}, it is the {number}.")
            if mine and one.timestamp - mine[-1].timestamp + self.slack < rules["per_customer_gap"]:
                wrong.append(f"{one.timestamp - mine[-1].timestamp} ms after {mine[-1].name}")
            week = [o for o in mine if o.timestamp > one.timestamp - 7 * DAY + self.slack]
            if len(week) >= rules["per_customer_week"]:
                wrong.append(f"{len(week)} before it in 7 days")
            if one.timestamp > time_ms(one.data["send_before"]):
                wrong.append(f"sent {one.timestamp}, after send_before")
            mine.append(one)
            wrong += self._reminder(one)
            if wrong:
                self._wrong(f"{one.name}: {'; '.join(wrong)}")

    def _reminder(self, said: Said) -> list[str]:
        """The best reading of a reminder: [] when some knowledge makes it right."""
        best = ["no step of that id and time under any knowledge"]
        data = said.data
        surely = min(said.time, said.timestamp - self.delay)
        for customer in self.knowledge(said.customer, surely, said.timestamp):
            for now in {said.time, max(said.time, said.timestamp - self.delay)}:
                case = standings(customer, now, self.policy).get(data["checkout_id"])
                if case is None or case.pay_by is None:
                    continue
                if not self._is_step(said, case):
                    continue
                allowed = case.data.get("reminders_allowed", True)
                wrong = []
                if case.name != "open" or case.waiting or case.held or not allowed:
                    wrong.append(f"not to be reminded: {case.name}, {case.waiting}, {case.held}")
                wrong += differences(
                    data,
                    {
                        "template": "balance_reminder" if case.received else "payment_reminder",
                        "due_minor": case.due - case.received,
                        "currency": case.currency,
                        "payment_method": case.method,
                        "pay_by": case.pay_by,
                        "send_before": case.pay_by
                        - self.policy["reminders"]["latest_before_pay_by"],
                        "language": case.data.get("language"),
                        "tone": "soft",
                    },
                )
                if not wrong:
                    return []
                best = wrong
        return best

    def _is_step(self, said: Said, case: Case) -> bool:
        zone = zone_of(case.data.get("time_zone"), self.policy)
        quiet = self.policy["reminders"]["quiet_hours"]
        for moment, name in steps_of(case, self.policy):
            if said.id != output_id(said.customer, case.id, "reminder", case.base, name):
                continue
            if said.time == moment:
                return True
            # moved out of the quiet hours: to their end, some time after the step
            before = said.time - 1
            if said.time > moment and after_quiet_hours(before, zone, quiet) == said.time:
                return True
        return False

    # ------------------------------------------------------------ the end

    def final(
        self, verdicts: dict[tuple[str, str], Said], customers: dict[str, list[Said]]
    ) -> None:
        """Compares what stands announced at the end with the oracle at both bounds of now."""
        for id in self.items:
            ends = []
            for customer in self.knowledge(id, self.now + self.delay, self.now_upper + DAY):
                for now in self._last_moments(customer):
                    cases = standings(customer, now, self.policy)
                    ends.append((cases, figures(cases, now // DAY, self.policy)))
            for checkout in ends[-1][0]:
                self.report.checkouts += 1
                self._final_checkout(id, checkout, ends, verdicts.get((id, checkout)))
            self._final_customer(id, ends, customers.get(id, []))
        for id, checkout in verdicts:
            if id not in self.items:
                self.report.problem(f"verdict for {id}/{checkout}, never heard of", false=1)

    def _last_moments(self, customer: Customer) -> list[int]:
        """The bounds of now, and whatever moments verdicts fall at in between."""
        cases = standings(customer, self.now_upper, self.policy).values()
        falls = [case.dated for case in cases if case.dated is not None]
        between = {at for at in falls if self.now < at < self.now_upper}
        return sorted({self.now, self.now_upper} | between)

    def _final_checkout(
        self,
        id: str,
        checkout: str,
        ends: list[tuple[dict[str, Case], dict[str, Any]]],
        last: Said | None,
    ) -> None:
        names = {cases[checkout].name for cases, _ in ends if checkout in cases}
        announced = last is not None and last.type.endswith("detected")
        if announced and "unpaid" in names:
            self.report.right += 1
        elif announced:
            assert last is not None
            self.report.problem(f"{last.name} stands, but it is {sorted(names)}", false=1)
        elif names == {"unpaid"} and not self._told_too_late(id, ends[-1][0][checkout]):
            self.report.problem(
                f"missed: {id}/{checkout}, last said {last and last.name}", missed=1
            )

    def _told_too_late(self, id: str, case: Case) -> bool:
        """First told when it, or its strike, would already be forgotten: not announced."""
        mine = [i for i in self.items[id] if i.checkout == case.id and i.fact]
        first = min(i.appended for i in mine if i.fact and i.fact.kind == "confirmed")
        newest = max(i.fact.at for i in mine if i.fact and i.appended <= first)
        if case.name == "unpaid" and leaves_day(case, self.policy) <= first // DAY:
            return True
        return newest + self.policy["retention"]["settled"] <= first

    def _final_customer(
        self, id: str, ends: list[tuple[dict[str, Case], dict[str, Any]]], said: list[Said]
    ) -> None:
        version, last = 0, None
        for one in said:
            last = one
            if one.type == "tombstone":
                version = 0
                continue
            data = one.data
            if data["version"] <= version:
                self._wrong(f"{one.name}: version {data['version']} after {version}")
            version = data["version"]
            if one.id != output_id(id, "customer", version):
                self._wrong(f"{one.name}: id {one.id}")
            numbers = {n: data[n] for n in ("strikes", "checkouts")}
            wrong = differences(data, with_advice(**numbers, policy=self.policy))
            if wrong:
                self._wrong(f"{one.name}: {'; '.join(wrong)}")
        stands = (0, "none")
        if last is not None and last.type != "tombstone":
            stands = (last.data["strikes"], last.data["recommended_action"])
        could = {(f["strikes"], f["recommended_action"]) for _, f in ends}
        too_late = any(self._told_too_late(id, case) for case in ends[-1][0].values())
        if stands not in could and not too_late:
            self._wrong(f"customer {id} stands as {stands}, expected {sorted(could)}")

    def _wrong(self, text: str) -> None:
        self.report.problem(text, wrong_states=1)


def differences(data: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Fields of an output that are not as expected; ms are compared as times."""
    wrong = []
    for name, value in expected.items():
        said = data.get(name)
        if isinstance(said, str) and isinstance(value, int) and not isinstance(value, bool):
            said = time_ms(said)
        if said != value:
            wrong.append(f"{name} {said!r}, expected {value!r}")
    return wrong


def evidence_faults(evidence: list[dict[str, Any]]) -> list[str]:
    times = [time_ms(one["at"]) for one in evidence]
    if not evidence or times != sorted(times):
        return [f"evidence not by time: {evidence}"]
    return [f"evidence {one}" for one in evidence if not one.get("fact")]


def verify(
    inputs: Iterable[tuple[str, AnyRecord]],
    *,
    verdicts: Iterable[AnyRecord],
    reminders: Iterable[AnyRecord] = (),
    customers: Iterable[AnyRecord] = (),
    dead: Iterable[AnyRecord] = (),
    policy: Policy,
    now: int,
    now_upper: int | None = None,
    upstream_delay: int = 5_000,
    partitions: int = 0,
    policy_version: str | None = None,
    slack: int = 0,
    allow_internal: bool = False,
    changelog: Iterable[AnyRecord] | None = None,  # noqa: ARG001 - room for a later check
) -> Report:
    """Checks a run.

    `inputs`: (role, record) of every input record, read committed. Outputs in the order of their
    offsets within each partition. `now`: every lane's frontier had reached this at the end;
    `now_upper`: none had passed this (default: the same). `partitions` 0: keys are not checked
    against partitions. `slack`: how far clocks (append times, sending times) may differ and how
    long a record may take to become readable after its append time, ms; 0 is strict.
    `changelog` is not looked at yet.
    """
    verifier = Verifier(
        policy=policy,
        now=now,
        now_upper=max(now, now_upper or now),
        upstream_delay=upstream_delay,
        partitions=partitions,
        policy_version=policy_version,
        slack=slack,
        allow_internal=allow_internal,
    )
    verifier.read_inputs(inputs, dead)
    last = verifier.verdicts(
        verifier.read_outputs(verdicts, {"hitrun.verdict.detected", "hitrun.verdict.withdrawn"})
    )
    verifier.reminders(verifier.read_outputs(reminders, {"hitrun.reminder.due"}))
    changed: dict[str, list[Said]] = defaultdict(list)
    for one in verifier.read_outputs(customers, {"hitrun.customer.changed"}):
        changed[one.customer].append(one)
    verifier.final(last, changed)
    return verifier.report


def counts(said: Iterable[AnyRecord]) -> Counter[str]:
    """How many outputs of each type there are."""
    return Counter(
        json.loads(record.value)["type"] if record.value else "tombstone" for record in said
    )
