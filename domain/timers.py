"""Finds the customers whose due moment has been reached, without decoding anybody.

An index of about ten bytes a customer: far moments lie unsorted in buckets of a minute, only the
bucket whose time has come is sorted. An entry is never moved: when a customer's due moment is
postponed the old entry stays, is found in its time, and then goes on to the new moment. So a
customer has one entry at or before its due moment; a second one, left when a moment was brought
forward, melts into the first where they meet, and the index is made anew when such leftovers
outnumber the customers.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable

from domain.customer import NEVER_MS

BUCKET_MS = 60_000


class Timers:
    """`due_of(key)` must answer the present due moment of a key, or None when it is gone."""

    __slots__ = ("_buckets", "_due_of", "_near", "_opened", "_order", "size")

    def __init__(self, due_of: Callable[[bytes], int | None]) -> None:
        self._due_of = due_of
        self.size = 0
        """Entries, leftovers included."""
        self._clear()

    def _clear(self) -> None:
        self._buckets: dict[int, list[bytes]] = {}
        self._order: list[int] = []
        """The buckets' numbers, a heap."""
        self._near: list[tuple[int, bytes]] = []
        """Entries of opened buckets, a heap."""
        self._opened = -1
        self.size = 0

    def rebuild(self, dues: Iterable[tuple[bytes, int]]) -> None:
        """Forgets all entries and takes these: every customer with its due moment."""
        self._clear()
        for key, due_ms in dues:
            self.add(key, due_ms)

    def add(self, key: bytes, due_ms: int) -> None:
        """An entry at `due_ms`. Needed for a new key, a moment brought forward and a key just
        taken; not for one postponed."""
        if due_ms >= NEVER_MS:
            return
        self.size += 1
        bucket = due_ms // BUCKET_MS
        if bucket <= self._opened:
            heapq.heappush(self._near, (due_ms, key))
        elif (entries := self._buckets.get(bucket)) is not None:
            entries.append(key)
        else:
            self._buckets[bucket] = [key]
            heapq.heappush(self._order, bucket)

    @property
    def next_due_ms(self) -> int:
        """No customer is due before this moment (a lower bound: the start of a bucket while it
        is unopened, or an entry since postponed). NEVER_MS when there is none."""
        near_ms = self._near[0][0] if self._near else NEVER_MS
        return min(near_ms, self._order[0] * BUCKET_MS) if self._order else near_ms

    def take(self, now_ms: int, limit: int) -> list[bytes]:
        """Up to `limit` keys due at or before `now_ms`, the oldest moment first. They lose their
        entries: `add` each again when its next moment is known. A key may come twice."""
        taken: list[bytes] = []
        near, order = self._near, self._order
        while len(taken) < limit:
            while (
                order
                and order[0] * BUCKET_MS <= now_ms
                and not (near and near[0][0] < order[0] * BUCKET_MS)
            ):
                self._open(heapq.heappop(order))
            if not near or near[0][0] > now_ms:
                break
            entry_ms, key = heapq.heappop(near)
            self.size -= 1
            due_ms = self._due_of(key)
            if due_ms is None:
                continue
            if due_ms > entry_ms:
                self.add(key, due_ms)
            else:
                taken.append(key)
        return taken

    def _open(self, bucket: int) -> None:
        entries = self._buckets.pop(bucket)
        self._opened = bucket
        self.size -= len(entries)
        for key in dict.fromkeys(entries):
            due_ms = self._due_of(key)
            if due_ms is not None:
                self.add(key, due_ms)
