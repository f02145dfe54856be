"""What the simulation found in the product, as the smallest plans that show it."""

from typing import Any

from tests.simulation.faults import JUDGING
from tests.simulation.guards import finds, found
from tests.simulation.plan import Plan, Step
from tests.support import builders
from tests.support.builders import START_MS, Event
from tests.support.reading import MINUTE, murmur2


def told(event: Event, *, late_ms: int = 0) -> Step:
    """The step that appends an event."""
    key = event["data"]["customer_id"]
    at_ms = builders.ms(event["time"]) - START_MS + late_ms
    role = builders.ROLE_OF_TYPE[event["type"]]
    text = builders.encode(event).decode("latin-1")
    return [at_ms, "append", role, murmur2(key.encode()) % 2, key, text, [], None]


def work(at_ms: int) -> list[Step]:
    return [[at_ms, "work", worker, "fdmt", 100, None] for worker in (0, 1)]


def test_a_plan_by_hand_runs_clean() -> None:
    steps = [told(builders.checkout("k1")), told(builders.payment(at="+4m")), *work(30 * MINUTE)]
    assert found(Plan(seed=0, start_ms=START_MS, steps=steps)) is None


def test_a_payment_that_trips_judging_over_never_strikes_in_between() -> None:
    who: dict[str, Any] = {"checkout_id": "k1", "customer": "c1"}
    steps = [
        *work(1),  # clocks are compared, or time would not move at the next one
        told(builders.checkout(at="+0", **who)),
        told(builders.payment(JUDGING, at="+3m", **who)),
        *work(30 * MINUTE),
    ]
    assert found(Plan(seed=0, start_ms=START_MS, steps=steps)) is None


def test_a_worker_that_starts_with_a_wrong_clock_moves_no_time() -> None:
    steps: list[Step] = [[0, "skew", 0, 90 * MINUTE], *work(1)]
    assert found(Plan(seed=0, start_ms=START_MS, steps=steps)) is None


def test_without_the_clock_hold_the_simulation_finds_time_moved_too_far() -> None:
    assert finds("clock hold", ["frontier"], seeds=range(12, 20)) is not None
