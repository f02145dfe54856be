"""The real rules behind the same face as the oracle: agents feed a Ledger, no Kafka.

The only file of tests/support that knows `domain/`; keep it apart from the oracle.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

import orjson

from domain.customer import decode
from domain.flush import Flush
from domain.ledger import Ledger
from domain.policy import Policy, parse_policy
from tests.support.builders import Record, ms
from tests.support.scenarios import Outcome, Scenario, event_number

_AGENTS: dict[str, Any] = {}
_POLICIES: dict[str, Policy] = {}


def policy_of(toml: str = "") -> Policy:
    """The real policy of a policy file's text."""
    if toml not in _POLICIES:
        _POLICIES[toml] = parse_policy(toml, name="test")
    return _POLICIES[toml]


def feed(ledger: Ledger, role: str, records: list[Record]) -> None:
    """What the lane does with a batch of one topic."""
    if role not in _AGENTS:
        _AGENTS[role] = importlib.import_module(f"agents.{role}")
    _AGENTS[role].feed(ledger, records)


class Real:
    """One lane without Kafka: its ledger, its changelog and everything it said."""

    def __init__(self, policy: Policy | None = None, *, upstream_delay: int = 5_000) -> None:
        self.policy = policy or policy_of()
        self.delay = upstream_delay
        self.ledger = Ledger(policy=self.policy)
        self.changelog: dict[bytes, bytes] = {}
        self.outputs: list[dict[str, Any]] = []
        self.dead_letters: list[tuple[Any, str, str]] = []
        self.skipped: Counter[str] = Counter()
        self.now = 0

    # ------------------------------------------------------------ what a lane does

    def feed(self, role: str, *records: Record) -> None:
        feed(self.ledger, role, list(records))

    def flush(self, clock: int | None = None) -> Flush:
        """A transaction: what it writes is kept."""
        flush = self.ledger.flush(clock_ms=self.now if clock is None else clock)
        for key, value in flush.changelog:
            if value is None:
                self.changelog.pop(key, None)
            else:
                self.changelog[key] = value
        for output in flush.outputs:
            if output.value is not None:
                event = orjson.loads(output.value)
                assert output.key.decode() == event["data"]["customer_id"]
                self.outputs.append(event | {"role": output.role})
        for letter in flush.dead_letters:
            self.dead_letters.append((letter.record, letter.reason, letter.detail))
        return flush

    def fire(self, to: int, clock: int | None = None) -> None:
        """Moves the frontier there in one step and judges everybody due."""
        self.now = max(self.now, to)
        while self.ledger.fire(frontier_ms=to, clock_ms=clock or self.now) == 2000:
            self.flush(clock)
        self.flush(clock)

    def advance(self, to: int) -> None:
        """Moves the frontier (and the clock) through every due moment up to `to`."""
        while self.now and self.ledger.next_due_ms <= to:
            due = self.ledger.next_due_ms
            self.fire(max(due, self.now))
            if self.ledger.next_due_ms <= due:
                raise AssertionError(f"due at {due}, judged, and still due")
        self.fire(max(to, self.now))

    def crash(self) -> None:
        """A new ledger from the changelog: what was not flushed is gone."""
        self.skipped += self.ledger.stats.skipped
        self.ledger = Ledger(policy=self.policy)
        self.ledger.restore(list(self.changelog.items()))
        self.ledger.restored(frontier_ms=self.now)

    def check_state(self) -> None:
        """The changelog is the ledger's state, and its sums are right."""
        assert dict(self.ledger.records) == self.changelog
        assert self.ledger.count == len(self.changelog)
        fresh = Ledger(policy=self.policy)
        fresh.restore(self.changelog.items())
        fresh.restored()
        assert fresh.checksum == self.ledger.checksum
        assert fresh.stats.open_checkouts == self.ledger.stats.open_checkouts

    def run(
        self,
        records: Iterable[tuple[str, Record]],
        until: int,
        *,
        held: tuple[int, int] | None = None,
        unknown_until: int | None = None,
    ) -> None:
        """Replays records in the order of their arrival, one by one, as `hitrun replay` does."""
        for role, record in records:
            target = record.timestamp - self.delay
            if held and held[0] <= target < held[1]:
                target = held[0]
            if unknown_until is None:
                if not self.now:
                    self.fire(target)
                self.advance(target)
            self.feed(role, record)
            self.flush()
        if unknown_until is not None:
            self.fire(unknown_until)
        self.advance(until)

    # ------------------------------------------------------------ what stands

    def standings(self, customer: str = "c1") -> dict[str, str]:
        """What the record says of every confirmed checkout, as last judged."""
        value = self.changelog.get(customer.encode())
        if value is None:
            return {}
        return {
            checkout.checkout_id: checkout.standing.word
            for checkout in decode(value).checkouts
            if checkout.confirmed is not None
        }

    def said(self, type_: str, **data: object) -> list[dict[str, Any]]:
        """The outputs of a type whose data has these values."""
        return [
            output
            for output in self.outputs
            if output["type"] == type_
            and all(output["data"].get(name) == value for name, value in data.items())
        ]

    def announced(self, customer: str = "c1") -> dict[str, bool]:
        """By checkout: whether it stands announced as unpaid. Checks the sequence on the way."""
        state: dict[str, tuple[bool, int]] = {}
        ids = [output["id"] for output in self.outputs]
        assert len(ids) == len(set(ids)), "an id twice"
        for output in self.outputs:
            data = output["data"]
            if output["role"] != "verdict" or data["customer_id"] != customer:
                continue
            unpaid, sequence = state.get(data["checkout_id"], (False, 0))
            if output["type"].endswith("detected"):
                assert not unpaid
                assert data["sequence"] == sequence + 1
                state[data["checkout_id"]] = (True, sequence + 1)
            else:
                assert unpaid
                assert data["sequence"] == sequence
                state[data["checkout_id"]] = (False, sequence)
        return {checkout: unpaid for checkout, (unpaid, _) in state.items()}

    def customer_says(self, customer: str = "c1") -> tuple[int, str]:
        """Strikes and advice as last announced."""
        last = (0, "none")
        said = self.said("hitrun.customer.changed", customer_id=customer)
        for version, output in enumerate(said, 1):
            assert output["data"]["version"] == version
            last = (output["data"]["strikes"], output["data"]["recommended_action"])
        return last


def by_rules(scenario: Scenario) -> Outcome:
    """Runs a scenario through the real rules."""
    real = Real(policy_of(scenario.policy_toml), upstream_delay=scenario.upstream_delay)
    real.run(
        scenario.records,
        scenario.until,
        held=scenario.held,
        unknown_until=scenario.unknown_until,
    )
    real.check_state()
    names: dict[str, str] = {}
    for key in real.changelog:
        names |= real.standings(key.decode())
    customer = scenario.expect.get("customer", "c1")
    strikes, advice = real.customer_says(customer)
    return Outcome(
        outputs=[o for o in real.outputs if o["role"] != "command"],
        standings=names,
        strikes=strikes,
        advice=advice,
        dead_letters=[(event_number(r), {reason}) for r, reason, _ in real.dead_letters],
        skipped=dict(+(real.skipped + real.ledger.stats.skipped)),
    )


def comparable(output: dict[str, Any]) -> dict[str, Any]:
    """An output with its times as ms, to be compared with the announcer's."""
    return {
        "type": output["type"],
        "id": output["id"],
        "time": None if output["time"] is None else ms(output["time"]),
        "data": {name: _plain(name, value) for name, value in output["data"].items()},
    }


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, str) and name in _TIMES:
        return ms(value)
    return sorted(value) if name == "order_ids" else value


_TIMES = ("confirmed_at", "pay_by", "verdict_at", "send_before", "at")
