"""What a person sees of a demo, at every width, and where there is no terminal."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from schemas.outputs import decode_output, encode
from streams.demo.ending import print_advice, print_score
from streams.demo.play import Truth
from streams.demo.score import CaseScore, Score
from streams.demo.screen import Screen
from streams.demo.sentences import Sentence, sentence
from streams.words import ago, money

DETECTED = Sentence(
    "detected", "4f2a81", "150,000 IDR by virtual account, confirmed 18 s ago, never paid -> x"
)
REMINDER = Sentence("reminder", "4f2a81", "150,000 IDR by card, not paid, 4 s left -> y")
SIZES = [(80, 24), (120, 40), (50, 20), (60, 15), (40, 14), (200, 60)]


def console(width: int = 80, height: int = 24, *, terminal: bool = True) -> Console:
    return Console(
        width=width,
        height=height,
        force_terminal=terminal,
        color_system=None,
        file=io.StringIO(),
        legacy_windows=False,
    )


def printed(of: Console) -> str:
    assert isinstance(of.file, io.StringIO)
    return of.file.getvalue()


def full(screen: Screen) -> None:
    view = screen.view
    view.phase, view.done, view.left_s = "the marketplace is open", 0.4, 20.0
    view.sent, view.rate, view.checkouts, view.open_checkouts = 12_345, 31.4, 4_000, 700
    view.reminders, view.detected, view.dead_letters = 1_200, 410, 7
    view.withdrawn.update({"paid_late": 30, "paid_in_time": 20, "overturned": 3, "cancelled": 2})
    view.behind_s, view.workers = 0.8, "2 workers (pid 123, 345)"
    for number in range(60):
        view.latest.append(REMINDER if number % 3 else DETECTED)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_screen_fits_the_terminal(width: int, height: int) -> None:
    where = console(width, height)
    screen = Screen(where, title="hitrun demo: a marketplace on a real Kafka, seed 1")
    for fill in (lambda _: None, full):
        fill(screen)
        start = len(printed(where))
        where.print(screen._draw())
        lines = printed(where)[start:].splitlines()
        assert len(lines) < height
        assert all(cell_len(line) == width for line in lines)


def test_reminders_leave_room_for_verdicts() -> None:
    where = console()
    screen = Screen(where, title="t")
    screen.view.latest.append(DETECTED)
    screen.view.latest.extend([REMINDER] * 50)
    where.print(screen._draw())
    assert "never paid" in printed(where)
    assert "4 s left" in printed(where)


def test_without_a_terminal_it_prints_lines() -> None:
    where = console(terminal=False)
    with Screen(where, title="t") as screen:
        screen.say("starting [a] real Kafka")
        screen.happened(DETECTED)
        full(screen)
        screen.show()
        screen.show()
    lines = printed(where).splitlines()
    assert lines[1] == "· starting [a] real Kafka"
    assert lines[2] == f"✗ 4f2a81 {DETECTED.words}"
    assert lines[3].startswith(
        "-- the marketplace is open: 4000 checkouts (700 open), 12345 events"
    )
    assert len(lines) == 4, "figures come every few seconds only"


def test_marks_are_plain_where_there_is_no_unicode() -> None:
    where = Console(file=io.TextIOWrapper(io.BytesIO(), encoding="ascii"), width=80)
    screen = Screen(where, title="t")
    assert screen._mark(DETECTED) == "x"


def test_a_verdict_is_a_sentence() -> None:
    event = decode_output(
        encode(
            {
                "type": "hitrun.verdict.detected",
                "id": "1",
                "subject": "co-4f2a81aabb",
                "time": "2026-03-02T03:00:16.000Z",
                "data": {
                    "customer_id": "c",
                    "checkout_id": "co-4f2a81aabb",
                    "order_ids": [],
                    "amount_minor": 15_000_000,
                    "due_minor": 15_000_000,
                    "received_minor": 0,
                    "currency": "IDR",
                    "payment_method": "virtual_account",
                    "confirmed_at": "2026-03-02T03:00:00.000Z",
                    "pay_by": None,
                    "verdict_at": "2026-03-02T03:00:16.000Z",
                    "reason": "never_paid",
                    "rule": "12",
                    "evidence": [],
                    "strikes": 2,
                    "checkouts": 2,
                    "unpaid_share": 1.0,
                    "recommended_action": "require_prepayment",
                    "advisory": True,
                    "policy_version": "p",
                    "sequence": 1,
                },
            }
        )
    )
    told = sentence(event, said_ms=1_772_420_418_000)
    assert told == Sentence(
        "detected",
        "4f2a81",
        "150,000 IDR by virtual account, confirmed 18 s ago, never paid -> hit-and-run detected, "
        "strike 2, advice: require prepayment",
    )


def test_money_and_times_in_words() -> None:
    assert money(15_000_000, "IDR") == "150,000 IDR"
    assert [ago(ms) for ms in (-5, 900, 18_000, 119_000, 120_000, 7_200_000)] == [
        "0 s",
        "1 s",
        "18 s",
        "119 s",
        "2 min",
        "2 h",
    ]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_last_page_says_the_score_and_what_went_wrong(width: int) -> None:
    where = console(width)
    truth = Truth("k1", "c1", "never paid", "unpaid", detected=True, cause=None, reminders=None)
    score = Score(checkouts=2, right=1, missed=1, problems=["k1 [x]: detected was not said"])
    score.cases["never paid"] = CaseScore(truth, played=2, right=1)
    print_score(where, score)
    print_advice(where, seed=5, workers=1)
    told = printed(where)
    assert "k1 [x]: detected was not said" in told
    assert "Perfect" not in told
    assert "missed" in told
    assert "--seed 5 --workers 2" in told
    assert ("hit-and-run" in told) == (width >= 100)
