"""A simulated marketplace with known truth: seeded, without a clock, endless if need be.

Each checkout plays one of the cases of cases.py, and what must become of it follows from the
case, never from the rules' code.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Final

import orjson
from msgspec import Struct

from domain.policy import Policy, parse_policy
from schemas.codec import rfc3339
from schemas.faults import Reason
from schemas.topics import Stream
from streams.demo.cases import CASES, Case, words
from streams.demo.play import Act, Buyer, Pace, Truth

POISON_EVERY: Final = 50
"""After so many cases comes a record that nobody can use, and one that nobody needs."""

ALONE: Final = 0.4
"""The share of buyers who come once, in the demo."""


class Market(Struct, kw_only=True):
    """A marketplace that can be opened. The same values play the same, moved in time."""

    policy: Policy
    upstream_delay_ms: int
    """The workers'; what is late is late by it."""
    seed: int
    per_second: float
    """Cases begun; most are one checkout with three or four events."""
    open_ms: int
    """For so long checkouts are confirmed."""
    customers: int = 150
    """Buyers who come again and again."""
    alone: float = 0.0
    """The share of cases whose buyer comes only this once."""
    weights: Mapping[str, int] = {}
    """Of cases by their function's name, instead of those of CASES."""

    @property
    def pace(self) -> Pace:
        """The policy's times."""
        return Pace(self.policy, self.upstream_delay_ms)

    @property
    def life_ms(self) -> int:
        """How long after the last confirmation there may still be something to say."""
        return self.pace.life_ms

    def play(self, *, opens_ms: int) -> Iterator[Act | Truth]:
        """Acts in order of appending, for a market that opens at `opens_ms`; each checkout's truth
        comes before its first act."""
        waiting: list[tuple[int, int, Act]] = []
        numbers = itertools.count()
        for at_ms, played in self._cases(opens_ms):
            while waiting and waiting[0][0] <= at_ms:
                yield heapq.heappop(waiting)[2]
            if isinstance(played, Act):
                heapq.heappush(waiting, (played.at_ms, next(numbers), played))
                continue
            yield from played.truths
            for act in played.acts:
                heapq.heappush(waiting, (act.at_ms, next(numbers), act))
        while waiting:
            yield heapq.heappop(waiting)[2]

    def _cases(self, opens_ms: int) -> Iterator[tuple[int, Buyer | Act]]:
        chance, pace = random.Random(self.seed), self.pace
        weights = [self.weights.get(case.__name__, weight) for case, weight in CASES]
        if not any(weights):
            return
        first = [case for (case, _), weight in zip(CASES, weights, strict=True) if weight]
        cases = [case for case, _ in CASES]
        after_ms = 0.0
        for number in itertools.count():
            after_ms += chance.expovariate(self.per_second / 1000)
            if after_ms >= self.open_ms:
                return
            # Each case once at the beginning, so that even a short demo has them all.
            case = first[number] if number < len(first) else chance.choices(cases, weights)[0]
            at_ms = opens_ms + int(after_ms)
            yield at_ms, self._buyer(case, chance, pace, at_ms)
            if number % POISON_EVERY == POISON_EVERY // 5:
                yield at_ms, poison(chance, at_ms)
                yield at_ms, useless(chance, at_ms)

    def _buyer(self, case: Case, chance: random.Random, pace: Pace, at_ms: int) -> Buyer:
        alone = chance.random() < self.alone
        who = (
            f"buyer-{chance.getrandbits(40):010x}"
            if alone
            else f"regular-{chance.randint(1, self.customers):05d}"
        )
        buyer = Buyer(chance=chance, pace=pace, customer_id=who, at_ms=at_ms, alone=alone)
        buyer.case = words(case)
        case(buyer)
        return buyer


def demo_policy_text() -> str:
    """The demo's policy.toml."""
    return resources.files("streams.demo").joinpath("policy.toml").read_text(encoding="utf-8")


def demo_policy() -> Policy:
    """The policy scaled to seconds."""
    return parse_policy(demo_policy_text(), name="the demo's policy.toml")


def demo_market(*, seed: int, open_ms: int, per_second: float, upstream_delay_ms: int) -> Market:
    """The marketplace of `hitrun demo`: many buyers come once, the others often."""
    return Market(
        policy=demo_policy(),
        upstream_delay_ms=upstream_delay_ms,
        seed=seed,
        per_second=per_second,
        open_ms=open_ms,
        alone=ALONE,
    )


_HALF_AN_EVENT: Final = {
    "specversion": "1.0",
    "id": "half",
    "source": "demo/marketplace",
    "type": "marketplace.payment.updated",
    "data": {"status": "paid"},
}


def poison(chance: random.Random, at_ms: int) -> Act:
    """A record for the dead letters of which nobody knows whose it is."""
    half = orjson.dumps(_HALF_AN_EVENT | {"time": rfc3339(at_ms)})
    kinds: tuple[tuple[Stream, bytes, Reason], ...] = (
        ("payment", b"\xff\xfe is no UTF-8", "malformed"),
        ("checkout", b'{"hello": "world"}', "malformed"),
        ("order", b"", "malformed"),
        ("payment", half, "invalid"),
    )
    stream, value, reason = chance.choice(kinds)
    key = f"poison-{chance.getrandbits(20):05x}".encode()
    return Act(at_ms, stream, key, value, fault=reason)


def useless(chance: random.Random, at_ms: int) -> Act:
    """A record that is passed over, as it should be: a tombstone, or a type that is not ours."""
    other = orjson.dumps(_HALF_AN_EVENT | {"type": "marketplace.payment.audited"})
    key = f"other-{chance.getrandbits(20):05x}".encode()
    return Act(at_ms, "payment", key, chance.choice((None, other)))
