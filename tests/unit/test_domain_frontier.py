"""The frontier: what moves it, what holds it, and that it never falls."""

from __future__ import annotations

import pytest

from domain.frontier import Frontier, FrontierState

T0 = 1_800_000_000_000
MINUTE = 60_000
SILENCE = 15 * MINUTE


def frontier(state: FrontierState | None = None) -> Frontier:
    return Frontier(upstream_delay_ms=5_000, silence_ms=SILENCE, state=state)


def test_it_follows_t0_by_the_upstream_delay() -> None:
    lane = frontier()
    assert lane.value_ms == 0
    assert lane.advance(t0_ms=T0) == T0 - 5_000


def test_it_never_falls_below_itself_or_the_position() -> None:
    lane = frontier(FrontierState(frontier_ms=T0))
    assert lane.advance(t0_ms=T0 - MINUTE) == T0


@pytest.mark.parametrize(("off", "held"), [(60_000, None), (60_001, "clock"), (-60_001, "clock")])
def test_a_clock_more_than_a_minute_off_holds_it(off: int, held: str | None) -> None:
    lane = frontier()
    lane.note_clock(broker_ms=T0, clock_ms=T0 + off)
    lane.advance(t0_ms=T0)
    assert lane.held == held


@pytest.mark.parametrize(("checkouts", "held"), [(19, None), (20, "stale_payments")])
def test_twenty_checkouts_since_an_old_payment_hold_it(checkouts: int, held: str | None) -> None:
    lane = frontier()
    lane.note_payment(T0 - SILENCE - 1)
    lane.note_checkouts(T0 - MINUTE + i for i in range(checkouts))
    lane.advance(t0_ms=T0)
    assert lane.held == held


def test_a_payment_exactly_the_silence_old_is_fresh() -> None:
    lane = frontier()
    lane.note_checkouts(T0 - MINUTE + i for i in range(20))
    lane.note_payments([T0 - SILENCE])
    lane.advance(t0_ms=T0)
    assert lane.held is None


def test_a_repeated_checkout_counts_once() -> None:
    lane = frontier()
    lane.note_payment(T0 - SILENCE - 1)
    lane.note_checkouts([T0 - MINUTE] * 50)
    lane.advance(t0_ms=T0)
    assert lane.held is None


def test_a_stale_hold_ends_only_with_a_fresh_payment_also_after_a_takeover() -> None:
    lane = frontier()
    lane.note_checkouts(T0 - MINUTE * 30 + i for i in range(20))
    lane.advance(t0_ms=T0)
    assert lane.held == "stale_payments"
    lane = frontier(lane.state())
    lane.note_payment(T0 - MINUTE * 20)  # newer than all checkouts, yet not fresh
    lane.advance(t0_ms=T0)
    assert lane.held == "stale_payments"
    lane.note_payment(T0 - SILENCE)
    assert lane.advance(t0_ms=T0) == T0 - 5_000
    assert lane.held is None


def test_silence_zero_switches_the_stale_hold_off() -> None:
    lane = Frontier(upstream_delay_ms=0, silence_ms=0)
    lane.note_checkouts(range(T0, T0 + 30))
    assert lane.advance(t0_ms=T0) == T0
