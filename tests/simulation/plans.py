"""Plans from seeds: a small market over half an hour or so, and everything that goes wrong."""

from __future__ import annotations

import random
from typing import Any

from tests.simulation.faults import APPLYING, JUDGING
from tests.simulation.plan import Plan, Step
from tests.simulation.worker import INPUTS, LANES
from tests.simulation.world import WORKERS
from tests.support import builders
from tests.support.builders import Event, Record
from tests.support.reading import DAY, MINUTE, SECOND, murmur2

STARTS_MS = [
    builders.START_MS,
    builders.ms("2026-03-02T23:50:00Z"),  # midnight comes in between: days of strikes
]
POINTS = ["init", "inited", "read", "seek", "ends", "begin", "send", "send", "commit", "committed"]
ROLES = list(INPUTS.values())
EDGES = [3, 4, 5, 8, 12, 16, 18, 20, 26]
"""Minutes from a checkout at which something falls due."""


class Planner:
    """One plan's dice."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.dice = random.Random(seed)
        self.start_ms = self.dice.choice(STARTS_MS)
        self.steps: list[Step] = []
        self.edges: list[int] = []
        self.length = self.dice.choice([15, 30, 45]) * MINUTE
        self.open: list[int] = []
        self.txn = 0
        self.outage: tuple[int, int] | None = None

    def plan(self) -> Plan:
        dice = self.dice
        silence = dice.choice([0, 0, 3 * MINUTE])
        if silence:
            self.payments_fall_silent()
        self.market()
        if dice.random() < 0.5:
            self.poison()
        self.upstream_transactions()
        self.work()
        self.trouble()
        self.steps.sort(key=lambda step: step[0])
        return Plan(
            seed=self.seed, start_ms=self.start_ms, steps=self.steps, silence_ms=silence,
            delay_ms=dice.choice([5_000, 5_000, 0, 30_000]),
            late_markers=dice.random() < 0.3,
            slice=dice.choice([2_000, 2_000, 1, 3]),
            forgets=dice.random() < 0.1,
        )  # fmt: skip

    # ------------------------------------------------------------------ what is told

    def append(self, at_ms: int, event: Event, *, role: str | None = None, **fields: Any) -> None:
        shape = builders.binary if self.dice.random() < 0.1 else builders.record
        record = shape(event, role=role, **fields)
        self.append_record(at_ms, role or builders.ROLE_OF_TYPE[event["type"]], record)

    def append_record(self, at_ms: int, role: str, record: Record, wrong: int = 0) -> None:
        key = record.key
        partition = (murmur2(key or b"") + wrong) % LANES
        step = [
            at_ms, "append", role, partition,
            None if key is None else key.decode("latin-1"),
            None if record.value is None else record.value.decode("latin-1"),
            [[name, value.decode("latin-1")] for name, value in record.headers],
            None,
        ]  # fmt: skip
        self.steps.append(step)

    def tell(self, event: Event) -> None:
        """By a producer that is mostly prompt, sometimes late, and repeats itself."""
        dice = self.dice
        at = builders.ms(event["time"]) - self.start_ms
        late = dice.choice([0, 0, 0, 200, 2 * SECOND, 4 * SECOND])
        if dice.random() < 0.08:
            late = dice.choice([6 * SECOND, MINUTE, 4 * MINUTE, 9 * MINUTE])
        appended = at + late
        if event["type"].startswith("marketplace.payment") and self.outage is not None:
            first, last = self.outage
            if first <= appended < last:
                appended = last + dice.randrange(5_000)
        self.append(appended, event)
        if dice.random() < 0.07:
            self.append(appended + dice.choice([0, 300, 5 * SECOND, 5 * MINUTE]), event)

    def market(self) -> None:
        dice = self.dice
        customers = [f"c{n}" for n in range(dice.randrange(3, 11))]
        for number in range(dice.randrange(12, 34)):
            at = dice.randrange(int(self.length * 0.7))
            self.edges += [at + edge * MINUTE for edge in EDGES]
            for event in self.fate(f"k{number}", dice.choice(customers), self.start_ms + at):
                self.tell(event)

    def payments_fall_silent(self) -> None:
        """Their producer is down for a while; buyers go on, and do pay."""
        dice = self.dice
        first = dice.randrange(self.length // 2)
        self.outage = (first, first + dice.choice([10, 20]) * MINUTE)
        names = [n for n in (f"s{i}" for i in range(80)) if murmur2(n.encode()) % LANES == 0]
        for number, name in enumerate(names[: dice.choice([12, 24, 24])]):
            at = self.start_ms + first + number * dice.choice([1, 4, 6]) * SECOND
            self.edges.append(at - self.start_ms + 20 * MINUTE)
            same: dict[str, Any] = {"checkout_id": f"s{number}", "customer": name}
            self.tell(builders.checkout(at=at, **same))
            if dice.random() < 0.7:
                self.tell(builders.payment(at=at + MINUTE, **same))

    def fate(self, checkout: str, customer: str, at: int) -> list[Event]:
        """What is said of one checkout."""
        dice = self.dice
        method = dice.choice(["card", "card", "qris", "virtual_account", "cod"])
        same: dict[str, Any] = {"checkout_id": checkout, "customer": customer}
        order: dict[str, Any] = {"order_id": f"{checkout}-o"}
        told = [
            builders.checkout(
                at=at,
                method=method,
                cart_id=dice.choice([None, None, "basket", "bag"]),
                orders=dice.choice([None, [order], [order | {"amount_minor": 10_000}]]),
                reminders_allowed=dice.choice([None, None, None, False]),
                **same,
            )
        ]

        def minutes(*after: int) -> int:
            return at + dice.choice(after) * MINUTE + dice.choice([0, 0, 1, -1])

        order |= same
        if method == "cod":
            status = dice.choice(["refused", "refused", "refused", "delivered", "shipped"])
            by = dice.choice(["buyer", "buyer", "courier"]) if status == "refused" else None
            told.append(builders.order(at=minutes(2, 10), status=status, by=by, **order))
            return told
        for name in dice.sample(["p1", "p2", "p3"], dice.choice([0, 0, 1, 1, 2])):
            currency = dice.choice(["IDR"] * 15 + ["USD"])
            amount = dice.choice([10_000, 10_000, 10_000, 5_000])
            for status in dice.sample(
                ["pending", "failed", "failed", "expired", "paid", "paid", "refunded"],
                dice.choice([1, 1, 2]),
            ):
                more: dict[str, Any] = {}
                if status == "failed":
                    more["failure_side"] = dice.choice([None, "buyer", "issuer", "provider"])
                told.append(
                    builders.payment(
                        name, id=f"{checkout}/{len(told)}",
                        at=minutes(1, 2, 7, 8, 11, 12, 18, 25), status=status,
                        currency=currency, amount=amount, **more, **same,
                    )
                )  # fmt: skip
        if dice.random() < 0.3:
            status = dice.choice(["shipped", "cancelled", "cancelled", "placed"])
            by = dice.choice(["buyer", "seller", "system"]) if status == "cancelled" else None
            reason = dice.choice([None, "payment_timeout"]) if status == "cancelled" else None
            at_ = minutes(2, 8, 12, 18, 24)
            told.append(builders.order(at=at_, status=status, by=by, reason=reason, **order))
        if dice.random() < 0.12:
            by = dice.choice(["buyer", "seller"])
            told.append(builders.cancelled(at=minutes(2, 12, 18, 22), by=by, **same))
        if dice.random() < 0.12:
            other = dice.choice(["virtual_account", "qris"])
            told.append(builders.changed(at=minutes(2, 5, 8), method=other, **same))
        if dice.random() < 0.12:
            told.append(builders.overturn(at=minutes(10, 19, 25), **same))
        return told

    def poison(self) -> None:
        """Records of every row of the error table; most would hold a checkout that is a verdict
        otherwise."""
        dice = self.dice
        bare: list[tuple[bytes | None, bytes | None]] = [
            (b"garbage \xff", b"x"), (b"", b"x"), (b'{"specversion":"0.3"}', b"x"),
            (b"[1,2]", None), (None, b"x"),
            (b'{"specversion":"1.0","id":"u","source":"s","type":"other.thing"}', b"x"),
        ]  # fmt: skip
        for value, key in dice.sample(bare, 3):
            headers = dice.choice([[], [("trace", b"\x00\x01")]])
            record = Record("", value, key, headers=headers)
            self.append_record(dice.randrange(self.length), dice.choice(ROLES), record)
        rows = [
            "invalid",
            "float",
            "unkeyed",
            "key",
            "partition",
            "future",
            "old",
            APPLYING,
            JUDGING,
        ]
        for number, row in enumerate(dice.sample(rows, dice.randrange(2, 6))):
            at = dice.randrange(int(self.length * 0.7))
            who: dict[str, Any] = {"customer": f"bad{number}", "checkout_id": f"bad-k{number}"}
            self.tell(builders.checkout(at=self.start_ms + at, **who))
            self.edges.append(at + 18 * MINUTE)
            self.poisoned(row, at + 3 * MINUTE, who)

    def poisoned(self, row: str, at: int, who: dict[str, Any]) -> None:
        time = self.start_ms + at
        paid = builders.payment("p1", at=time, **who)
        if row in ("invalid", "float"):
            data = {"status": "perhaps"} if row == "invalid" else {"amount_minor": 100.0}
            paid["data"] |= data
        elif row == "future":
            paid = builders.payment("p1", at=time + 10 * MINUTE, **who)
        elif row == "old":
            paid = builders.payment("p1", at=time - 500 * DAY, **who)
        elif row in (JUDGING, APPLYING):
            paid = builders.payment(row, at=time, **who)
        if row != JUDGING:
            paid["source"] = "poison"
        record = builders.record(paid)
        own = murmur2(record.key or b"") % LANES
        if row == "unkeyed":
            record.key = None
        elif row == "key":
            record.key = b"somebody-else"
        wrong = int(row == "partition")
        if row in ("unkeyed", "key"):
            wrong = (own - murmur2(record.key or b"")) % LANES
        self.append_record(at, "payment", record, wrong)

    def upstream_transactions(self) -> None:
        """Some producers write in transactions, which stay open for a while, or fail."""
        dice = self.dice
        for _ in range(dice.choice([0, 1, 2, 4])):
            first = dice.randrange(self.length)
            last = first + dice.choice([2 * SECOND, 30 * SECOND, 6 * MINUTE, 12 * MINUTE])
            role = dice.choice(["payment", "payment", "checkout", "order"])
            self.txn += 1
            for step in self.steps:
                told = step[1] == "append" and step[2] == role and first <= step[0] < last
                if told and step[-1] is None and dice.random() < 0.6:
                    step[-1] = self.txn
            self.steps.append([last, "decide", self.txn, dice.random() < 0.8])

    # ------------------------------------------------------------------ what workers do

    def work(self) -> None:
        dice = self.dice
        end = self.length + 15 * MINUTE
        moments = [dice.randrange(end) for _ in range(dice.randrange(15, 45))]
        appended = [step[0] for step in self.steps if step[1] == "append"]
        moments += [a + dice.choice([0, 1, 3_000]) for a in dice.sample(appended, 15)]
        near = [0, 1, 4_999, 5_000, 5_001, 6_000, 30_001, 40_000]
        moments += [e + dice.choice(near) for e in dice.sample(self.edges, 15)]
        lag = (dice.randrange(end), dice.choice(ROLES))
        lag_end = lag[0] + dice.choice([0, 0, 5, 15]) * MINUTE
        for at in moments:
            muted = lag[1] if lag[0] <= at < lag_end else None
            for name in dice.choice([[0, 1], [0, 1], [0, 1], [0], [1], [1, 0]]):
                ops = dice.choice(
                    ["fdmt", "fdmt", "fdmfdt", "mfdt", "fdt", "mt", "f", "d", "fm", "fdmtfdmt"]
                )
                self.steps.append([at, "work", name, ops, dice.choice([1, 2, 5, 100]), muted])

    def trouble(self) -> None:
        """Crashes, freezes, slow transactions, rebalances, clocks, restarts, compaction."""
        dice = self.dice
        end = self.length + 15 * MINUTE
        for _ in range(dice.choice([0, 1, 2, 3, 5, 8])):
            at, name = dice.randrange(end), dice.randrange(WORKERS)
            what = dice.choices(
                ["trap", "kill", "rebalance", "skew", "compact", "markers", "policy", "rebuild"],
                [12, 2, 4, 2, 3, 2, 1, 1],
            )[0]
            pause = dice.choice([SECOND, 20 * SECOND, 2 * MINUTE, 10 * MINUTE])
            code = dice.randrange(4)
            if what == "trap":
                self.trap(at, name, pause, code)
            elif what == "kill":
                self.steps.append([at, "kill", name])
                self.steps.append([at + pause // 2, "rebalance", code])
                self.steps.append([at + pause, "start", name, dice.randrange(4)])
            elif what == "rebalance":
                self.steps.append([at, "rebalance", code])
            elif what == "skew":
                self.clock(at, name, pause)
            elif what == "compact":
                self.steps.append([at, "compact", dice.randrange(LANES)])
            elif what == "policy":
                self.steps.append([at, "policy", 1])
                for other in range(WORKERS):
                    self.steps.append([at + other * 1_000, "kill", other])
                    self.steps.append([at + other * 1_000 + 500, "start", other, code])
            elif what == "rebuild":
                self.steps.append([at, "rebuild", code])
            else:
                self.steps.append([at, "markers"])

    def clock(self, at: int, name: int, pause: int) -> None:
        """A worker's clock is a little off; or it starts on a machine whose clock is quite wrong,
        which is put right later, by another start."""
        dice = self.dice
        if dice.random() < 0.6:
            skew = dice.choice([1_000, -1_000, 3_000, 20_000, -20_000])
            self.steps.append([at, "skew", name, skew])
            return
        wrong = dice.choice([70_000, 10 * MINUTE, 90 * MINUTE, -70_000, -10 * MINUTE])
        for moment, skew in (at, wrong), (at + 2 * pause, 0):
            self.steps.append([moment, "kill", name])
            self.steps.append([moment, "skew", name, skew])
            self.steps.append([moment + 1, "start", name, dice.randrange(4)])
            self.steps.append([moment + 2, "work", name, "fdmtmt", 100, None])

    def trap(self, at: int, name: int, pause: int, code: int) -> None:
        """Somebody is held up, frozen or killed at a point of a transaction or a takeover; the
        group goes on without it, and it comes back."""
        dice = self.dice
        how = dice.choice(["slow", "freeze", "freeze", "kill"])
        skip = dice.choice([0, 0, 0, 1, 2])
        self.steps.append([at, "trap", name, dice.choice(POINTS), skip, how])
        if dice.random() < 0.4:  # it is met in a takeover
            self.steps.append([at + 1, "rebalance", dice.randrange(4)])
        self.steps.append([at + 2, "work", name, "fdmt", 100, None])
        if how != "slow" or dice.random() < 0.3:
            self.steps.append([at + pause // 2, "rebalance", code])
            if dice.random() < 0.6:
                self.steps.append([at + pause // 2 + 1, "work", 1 - name, "fdmt", 100, None])
        self.steps.append([at + pause, "start" if how == "kill" else "thaw", name])
        if how == "kill":
            self.steps[-1].append(dice.randrange(4))
            return
        if dice.random() < 0.5:
            self.steps.append([at + pause + 1, "work", name, "fdmt", 100, None])
        self.steps.append([at + pause + 2, "start", name, dice.randrange(4)])
        if dice.random() < 0.7:
            self.steps.append([at + pause + 5, "rebalance", dice.randrange(4)])


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    return Planner(seed).plan()
