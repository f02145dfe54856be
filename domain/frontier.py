"""How far one lane's `now` may move: the frontier.

`now` is the time up to which all inputs of a lane are known to be complete. Neither the wall
clock nor the newest event time moves it; the lane proves completeness (it has applied all up to
the ends of the inputs' logs, read *after* `t0`) and this class decides whether that proof may be
used.
Pure: every clock reading is an argument.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

HoldReason = Literal["clock", "stale_payments"]

CLOCK_TOLERANCE_MS = 60_000
"""A worker whose clock differs from the broker's by more than this may not move time."""

STALE_AFTER_CHECKOUTS = 20
"""So many checkouts confirmed since the newest payment make the silence of payments suspicious;
with fewer it may as well be a quiet night."""


class FrontierState(Struct, array_like=True, frozen=True):
    """What the position keeps, so that a takeover neither falls back nor forgets a hold."""

    frontier_ms: int = 0
    newest_payment_ms: int = 0
    newest_checkouts_ms: tuple[int, ...] = ()
    stale: bool = False


class Frontier:
    """One lane's frontier. How a lane uses it:

    1. per applied batch: `note_payments` / `note_checkouts` with the event times in it
       (`paid_at` does not matter, `time` does), repeats do no harm;
    2. after a commit: `note_clock` with the broker's append time and the lane's own clock;
    3. every tick: read `t0`, then the ends of the inputs' logs; when the lane has reached them and
       all fetched records are applied: `advance(t0_ms=t0)`. While recovering or rebalancing it
       simply does not call.

    `held` says why the last `advance` did not move, for metric and alert.
    """

    __slots__ = ("_checkouts", "_clock_off_ms", "_delay_ms", "_payment_ms", "_silence_ms",
                 "_stale", "_value_ms", "held")  # fmt: skip

    def __init__(
        self, *, upstream_delay_ms: int, silence_ms: int, state: FrontierState | None = None
    ) -> None:
        """`upstream_delay_ms`: how late a record may be appended after its event.
        `silence_ms`: how old the newest payment may be; 0 switches the stale hold off."""
        state = state or FrontierState()
        self._delay_ms = upstream_delay_ms
        self._silence_ms = silence_ms
        self._value_ms = state.frontier_ms
        self._payment_ms = state.newest_payment_ms
        self._checkouts = list(state.newest_checkouts_ms)
        """Distinct times of the newest checkouts, a heap of at most STALE_AFTER_CHECKOUTS."""
        heapq.heapify(self._checkouts)
        self._stale = state.stale
        self._clock_off_ms = 0
        self.held: HoldReason | None = None

    @property
    def value_ms(self) -> int:
        """The frontier now; 0 = not known yet."""
        return self._value_ms

    @property
    def clock_off_ms(self) -> int:
        """The lane's clock less the broker's at the last commit."""
        return self._clock_off_ms

    def note_payment(self, at_ms: int) -> None:
        """A payment event dated `at_ms` was applied."""
        if at_ms > self._payment_ms:
            self._payment_ms = at_ms

    def note_payments(self, ats_ms: Iterable[int]) -> None:
        """The event times of a batch's payments."""
        self._payment_ms = max(self._payment_ms, max(ats_ms, default=0))

    def note_checkout(self, at_ms: int) -> None:
        """A checkout confirmed at `at_ms` was applied. Two of the same millisecond count once,
        which is what makes repeats harmless."""
        heap = self._checkouts
        if len(heap) < STALE_AFTER_CHECKOUTS:
            if at_ms not in heap:
                heapq.heappush(heap, at_ms)
        elif at_ms > heap[0] and at_ms not in heap:
            heapq.heapreplace(heap, at_ms)

    def note_checkouts(self, ats_ms: Iterable[int]) -> None:
        """The confirmation times of a batch's checkouts."""
        for at_ms in ats_ms:
            self.note_checkout(at_ms)

    def note_clock(self, *, broker_ms: int, clock_ms: int) -> None:
        """The append time of the lane's last commit and the lane's clock at that moment."""
        self._clock_off_ms = clock_ms - broker_ms

    def advance(self, *, t0_ms: int) -> int:
        """All inputs are complete up to what had been appended at `t0_ms`: moves the frontier to
        `t0_ms - upstream_delay` unless something holds it. Returns it; never falls."""
        self.held = self._hold(t0_ms)
        if self.held is None:
            self._value_ms = max(self._value_ms, t0_ms - self._delay_ms)
        return self._value_ms

    def state(self) -> FrontierState:
        """What the position must keep."""
        return FrontierState(
            self._value_ms, self._payment_ms, tuple(sorted(self._checkouts)), self._stale
        )

    def _hold(self, t0_ms: int) -> HoldReason | None:
        if abs(self._clock_off_ms) > CLOCK_TOLERANCE_MS:
            return "clock"
        if self._silence_ms == 0:
            return None
        if self._payment_ms >= t0_ms - self._silence_ms:
            self._stale = False
        elif len(self._checkouts) == STALE_AFTER_CHECKOUTS:
            # The oldest of the 20 newest checkouts is newer than any payment. Once stale, only a
            # fresh payment ends it: a producer working off its backlog must not end it half way.
            self._stale = self._stale or self._checkouts[0] > self._payment_ms
        return "stale_payments" if self._stale else None
