"""The timer index against a naive model, and its bounds."""

from __future__ import annotations

import random

from domain.customer import NEVER_MS
from domain.timers import BUCKET_MS, Timers


class Index:
    """Keys with due moments, kept as the ledger keeps them."""

    def __init__(self) -> None:
        self.dues: dict[bytes, int] = {}
        self.timers = Timers(self.dues.get)

    def put(self, key: bytes, due: int, *, taken: bool = False) -> None:
        old = self.dues.get(key)
        self.dues[key] = due
        if taken or old is None or due < old:
            self.timers.add(key, due)


def test_a_key_is_taken_at_its_moment_and_not_before() -> None:
    index = Index()
    index.put(b"a", 5 * BUCKET_MS + 7)
    assert index.timers.take(5 * BUCKET_MS + 6, 10) == []
    assert index.timers.next_due_ms == 5 * BUCKET_MS + 7
    assert index.timers.take(5 * BUCKET_MS + 7, 10) == [b"a"]
    assert index.timers.next_due_ms == NEVER_MS


def test_the_oldest_come_first_and_only_so_many() -> None:
    index = Index()
    for number, due in ((b"a", 3), (b"b", 1), (b"c", BUCKET_MS * 2), (b"d", 2)):
        index.put(number, due)
    assert index.timers.take(NEVER_MS - 1, 2) == [b"b", b"d"]
    assert index.timers.take(NEVER_MS - 1, 9) == [b"a", b"c"]


def test_a_postponed_key_keeps_one_entry_and_comes_at_its_new_moment() -> None:
    index = Index()
    index.put(b"a", 10)
    for due in range(11, 1000):
        index.put(b"a", due * BUCKET_MS)
    assert index.timers.size == 1
    assert index.timers.take(998 * BUCKET_MS, 9) == []
    assert index.timers.take(999 * BUCKET_MS, 9) == [b"a"]


def test_a_key_brought_forward_comes_at_its_new_moment() -> None:
    index = Index()
    index.put(b"a", 10 * BUCKET_MS)
    index.put(b"a", 3)
    assert index.timers.take(3, 9) == [b"a"]
    index.put(b"a", 20 * BUCKET_MS, taken=True)
    assert index.timers.take(19 * BUCKET_MS, 9) == []
    assert index.timers.take(20 * BUCKET_MS, 9) == [b"a"]
    assert index.timers.size == 0  # the leftover had melted into the new entry


def test_a_deleted_key_is_forgotten() -> None:
    index = Index()
    index.put(b"a", 10)
    del index.dues[b"a"]
    assert index.timers.take(10, 9) == []
    assert index.timers.size == 0


def test_against_a_model() -> None:
    rng = random.Random(7)
    for _ in range(30):
        index, now = Index(), 0
        for _ in range(400):
            key = bytes([rng.randrange(20)])
            if rng.random() < 0.7:
                index.put(key, now + 1 + rng.randrange(5 * BUCKET_MS))
                continue
            now += rng.randrange(2 * BUCKET_MS)
            expected = {k for k, due in index.dues.items() if due <= now}
            taken = index.timers.take(now, 1000)
            assert set(taken) == expected
            assert index.timers.next_due_ms > now
            for each in expected:
                index.put(each, now + 1 + rng.randrange(5 * BUCKET_MS), taken=True)
            assert index.timers.next_due_ms <= min(index.dues.values(), default=NEVER_MS)
