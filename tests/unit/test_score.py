"""The score: what was announced, held against the truth."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from schemas.outputs import decode_output, encode
from streams.demo.market import demo_policy
from streams.demo.play import Act, Pace, Truth
from streams.demo.score import Expected, Heard, Score, complete, judge

PACE = Pace(demo_policy(), upstream_delay_ms=500)
STAMP = "2026-03-02T03:00:00.000Z"
FIGURES: dict[str, Any] = {
    "strikes": 1,
    "checkouts": 1,
    "unpaid_share": 1.0,
    "recommended_action": "none",
    "policy_version": "p",
}


def truth(checkout_id: str = "k1", **values: Any) -> Truth:
    defaults = {
        "customer_id": "c1",
        "case": "a case",
        "standing": "paid",
        "detected": False,
        "cause": None,
        "reminders": None,
    }
    return Truth(checkout_id, **(defaults | values))


UNPAID = truth(standing="unpaid", detected=True)
TAKEN_BACK = truth(detected=True, cause="paid_late")


class Ear:
    """Tells a `Heard` announcements in few words."""

    def __init__(self) -> None:
        self.heard = Heard()

    def detected(self, checkout_id: str = "k1", *, id: str = "d1", strikes: int = 1) -> Ear:
        self._hear(
            "hitrun.verdict.detected",
            id,
            checkout_id,
            order_ids=[],
            amount_minor=1,
            due_minor=1,
            received_minor=0,
            currency="IDR",
            payment_method="card",
            confirmed_at=STAMP,
            pay_by=STAMP,
            verdict_at=STAMP,
            reason="never_paid",
            rule="12",
            evidence=[],
            advisory=True,
            sequence=1,
            **FIGURES,
        )
        return self.customer(strikes)

    def withdrawn(self, cause: str = "paid_late", *, id: str = "w1") -> Ear:
        more = {"detected_id": "d1", "cause": cause, "at": STAMP, "sequence": 1}
        self._hear("hitrun.verdict.withdrawn", id, "k1", **more, **FIGURES)
        return self.customer(0)

    def reminder(self, number: int = 1) -> Ear:
        self._hear(
            "hitrun.reminder.due",
            f"r{number}",
            "k1",
            number=number,
            template="payment_reminder",
            due_minor=1,
            currency="IDR",
            payment_method="card",
            pay_by=STAMP,
            send_before=STAMP,
            time_zone=None,
            language=None,
            tone="soft",
            policy_version="p",
        )
        return self

    def customer(self, strikes: int) -> Ear:
        id = f"v{len(self.heard.ids)}"
        figures = FIGURES | {"strikes": strikes}
        self._hear("hitrun.customer.changed", id, "c1", version=1, **figures)
        return self

    def _hear(self, kind: str, id: str, checkout_id: str, **data: Any) -> None:
        ids = {"customer_id": "c1", "checkout_id": checkout_id}
        event = {"type": kind, "id": id, "subject": checkout_id, "time": STAMP, "data": ids | data}
        self.heard.hear(decode_output(encode(event)))


def scored(ear: Ear, *truths: Truth, slowest_ms: int = 0, **dead: int) -> Score:
    expected = Expected(truths={each.checkout_id: each for each in truths})
    expected.dead_letters = Counter(dead)  # type: ignore[arg-type]
    return judge(expected, ear.heard, pace=PACE, slowest_ms=slowest_ms)


def test_all_that_was_to_be_said_was_said() -> None:
    score = scored(Ear().detected(), UNPAID)
    assert score.perfect
    assert (score.checkouts, score.right) == (1, 1)
    assert score.problems == []


def test_a_verdict_that_was_not_said_is_missed() -> None:
    score = scored(Ear(), UNPAID)
    assert (score.right, score.false) == (0, 0)
    assert score.missed == 2  # and the customer's strike with it
    assert not score.perfect
    assert "detected was not said" in score.problems[0]


def test_an_accusation_of_somebody_who_paid_is_false() -> None:
    score = scored(Ear().detected(), truth())
    assert score.false == 2
    assert score.missed == 0
    assert "detected was said, not nothing" in score.problems[0]


def test_a_verdict_that_was_not_taken_back_is_missed() -> None:
    score = scored(Ear().detected(), TAKEN_BACK)
    assert score.missed == 1
    assert score.false == 1  # the strike that stays
    assert "withdrawn (paid_late) was not said" in score.problems[0]


def test_a_verdict_taken_back_for_another_cause_is_false() -> None:
    score = scored(Ear().detected().withdrawn("cancelled"), TAKEN_BACK)
    assert (score.false, score.missed) == (1, 0)


def test_something_said_of_a_checkout_nobody_played_is_false() -> None:
    assert scored(Ear().detected("k2", strikes=0)).false == 1


def test_the_same_announcement_twice_is_a_duplicate() -> None:
    score = scored(Ear().detected().detected(), UNPAID)
    assert score.duplicates == 1
    assert score.right == 1
    assert not score.perfect


def test_the_same_verdict_under_two_ids_is_false() -> None:
    assert scored(Ear().detected(id="d1").detected(id="d2"), UNPAID).false == 1


@pytest.mark.parametrize(
    ("sent", "right", "missed", "false"), [(0, 0, 1, 0), (1, 1, 0, 0), (2, 0, 0, 1)]
)
def test_reminders_are_counted_where_their_number_is_certain(
    sent: int, right: int, missed: int, false: int
) -> None:
    ear = Ear()
    for number in range(1, sent + 1):
        ear.reminder(number)
    score = scored(ear, truth(reminders=1))
    assert (score.right, score.missed, score.false) == (right, missed, false)


def test_more_reminders_than_a_checkout_may_have_are_false_though_their_number_is_not_certain() -> (
    None
):
    assert scored(Ear().reminder(1).reminder(2), truth()).perfect
    assert scored(Ear().reminder(1).reminder(2).reminder(3), truth()).false == 1


def test_the_customers_last_word_must_have_the_strikes_that_are_left() -> None:
    score = scored(Ear().detected().customer(2), UNPAID)
    assert score.false == 1
    assert score.problems == ["c1: 2 strikes, not 1"]


def test_dead_letters_are_counted_by_reason() -> None:
    ear = Ear()
    ear.heard.hear_dead_letter("t/0/1", "malformed")
    ear.heard.hear_dead_letter("t/0/2", "key")
    assert scored(ear, malformed=1, key=1).perfect
    score = scored(ear, malformed=2, invalid=0)
    assert (score.missed, score.false) == (1, 1)
    assert score.dead_letters == 2


def test_a_dead_letter_said_twice_is_a_duplicate() -> None:
    ear = Ear()
    assert ear.heard.hear_dead_letter("t/0/1", "malformed")
    assert not ear.heard.hear_dead_letter("t/0/1", "malformed")
    assert scored(ear, malformed=1).duplicates == 1


def test_workers_that_were_behind_may_settle_quietly_what_would_be_taken_back() -> None:
    slow_ms = PACE.late_ms
    score = scored(Ear(), TAKEN_BACK, slowest_ms=slow_ms)
    assert (score.right, score.quiet) == (1, 1)
    assert scored(Ear(), TAKEN_BACK, slowest_ms=PACE.late_ms // 2).missed == 1
    assert scored(Ear(), UNPAID, slowest_ms=slow_ms).missed, (
        "a verdict that stands is never let off"
    )
    assert scored(Ear().detected(), TAKEN_BACK, slowest_ms=slow_ms).missed, "once said, taken back"


def test_workers_that_were_behind_may_send_fewer_reminders_but_never_more() -> None:
    slow_ms = PACE.late_ms
    assert scored(Ear(), truth(reminders=1), slowest_ms=slow_ms).perfect
    assert scored(Ear().reminder(1), truth(reminders=0), slowest_ms=slow_ms).false == 1


def test_nothing_more_is_awaited_when_all_was_said() -> None:
    expected = Expected()
    expected.expect(UNPAID)
    expected.expect(Act(0, "payment", b"k", b"", fault="malformed"))
    ear = Ear()
    assert not complete(expected, ear.heard)
    ear.detected()
    assert not complete(expected, ear.heard)
    ear.heard.hear_dead_letter("t/0/1", "malformed")
    assert complete(expected, ear.heard)
    assert expected.events == 1


def test_the_score_file_has_the_agreed_figures() -> None:
    assert list(scored(Ear().detected(), UNPAID).public()) == [
        "checkouts",
        "events",
        "right",
        "missed",
        "false",
        "duplicates",
        "dead_letters",
        "seconds",
    ]
