"""What was announced, held against the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

from schemas.faults import Reason
from schemas.outputs import (
    CustomerChanged,
    OutputEvent,
    ReminderDue,
    VerdictDetected,
    VerdictWithdrawn,
)
from streams.demo.play import Act, Pace, Truth

Announcement = tuple[str, str | None]
"""("detected", None) or ("withdrawn", its cause)."""

SHOWN_PROBLEMS: Final = 100
NEAR: Final = 0.8
"""Of a margin: beyond it something may have fallen on the other side."""


class Expected(Struct):
    """What a market's play must lead to; `expect` each thing it yields."""

    truths: dict[str, Truth] = field(default_factory=dict)
    dead_letters: Counter[Reason] = field(default_factory=Counter)
    events: int = 0

    def expect(self, played: Act | Truth) -> None:
        """One thing that was played."""
        if isinstance(played, Truth):
            self.truths[played.checkout_id] = played
            return
        self.events += 1
        if played.fault is not None:
            self.dead_letters[played.fault] += 1

    def strikes(self) -> Counter[str]:
        """Of each customer, at the end."""
        return Counter(t.customer_id for t in self.truths.values() if t.strike)


class Heard:
    """What the outputs said, in their order."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.duplicates: list[str] = []
        self.verdicts: dict[str, list[Announcement]] = {}
        self.reminders: Counter[str] = Counter()
        self.strikes: dict[str, int] = {}
        self.dead_letters: Counter[str] = Counter()

    def hear(self, event: OutputEvent) -> bool:
        """One announcement; False for one heard before."""
        if not self._first(event.id, event.subject):
            return False
        if isinstance(event, VerdictDetected):
            self.verdicts.setdefault(event.data.checkout_id, []).append(("detected", None))
        elif isinstance(event, VerdictWithdrawn):
            told = ("withdrawn", str(event.data.cause))
            self.verdicts.setdefault(event.data.checkout_id, []).append(told)
        elif isinstance(event, ReminderDue):
            self.reminders[event.data.checkout_id] += 1
        elif isinstance(event, CustomerChanged):
            self.strikes[event.data.customer_id] = event.data.strikes
        return True

    def hear_dead_letter(self, place: str, reason: str) -> bool:
        """One dead letter; `place` names the record it was. False for one heard before."""
        if not self._first(place, place):
            return False
        self.dead_letters[reason] += 1
        return True

    def _first(self, what: str, name: str) -> bool:
        if what in self.ids:
            self.duplicates.append(name)
            return False
        self.ids.add(what)
        return True


class CaseScore(Struct):
    """How often a case was played, and how often all was right."""

    truth: Truth
    """One of them, for what must be said."""
    played: int = 0
    right: int = 0


class Score(Struct):
    """The end of a demo. `right`, `missed` and `false` count checkouts; what was missed or said
    wrongly besides (a dead letter, a customer's strikes) is counted there as well."""

    checkouts: int = 0
    events: int = 0
    right: int = 0
    missed: int = 0
    false: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    seconds: float = 0.0
    quiet: int = 0
    """Right, but never announced and taken back: the workers were behind, and knew better."""
    problems: list[str] = field(default_factory=list)
    cases: dict[str, CaseScore] = field(default_factory=dict)

    @property
    def perfect(self) -> bool:
        """Nothing missed, nothing false, nothing twice."""
        return not (self.missed or self.false or self.duplicates)

    def public(self) -> dict[str, int | float]:
        """For --score."""
        return {
            "checkouts": self.checkouts,
            "events": self.events,
            "right": self.right,
            "missed": self.missed,
            "false": self.false,
            "duplicates": self.duplicates,
            "dead_letters": self.dead_letters,
            "seconds": self.seconds,
        }

    def problem(self, text: str) -> None:
        """Names one, of the first hundred."""
        if len(self.problems) < SHOWN_PROBLEMS:
            self.problems.append(text)


def wanted(truth: Truth) -> list[Announcement]:
    """What must have been said of a checkout, exactly."""
    said: list[Announcement] = [("detected", None)] if truth.detected else []
    return said if truth.cause is None else [*said, ("withdrawn", truth.cause)]


def complete(expected: Expected, heard: Heard) -> bool:
    """Whether as much was said as must be: no use to wait longer."""
    verdicts = all(
        len(heard.verdicts.get(each.checkout_id, ())) >= len(wanted(each))
        for each in expected.truths.values()
    )
    return verdicts and heard.dead_letters.total() >= expected.dead_letters.total()


class Leave(Struct, frozen=True):
    """What need not be said because the workers were behind (one was killed, or the machine was
    busy elsewhere) for longer than the market has slack."""

    quiet: bool
    """A verdict that would be taken back: they knew better before anybody had to be accused."""
    reminders: bool
    """One that would have come too late."""
    per_checkout: int
    """The most reminders there may be of one."""


def judge(expected: Expected, heard: Heard, *, pace: Pace, slowest_ms: int) -> Score:
    """The score. `slowest_ms` is the longest time between the moment something had to be said and
    the moment it was."""
    leave = Leave(
        quiet=slowest_ms > NEAR * pace.late_ms,
        reminders=slowest_ms > NEAR * pace.sure_ms,
        per_checkout=pace.policy.reminders.per_checkout,
    )
    score = Score(checkouts=len(expected.truths), events=expected.events)
    score.duplicates = len(heard.duplicates)
    for name in heard.duplicates:
        score.problem(f"{name}: said twice")
    for truth in expected.truths.values():
        case = score.cases.setdefault(truth.case, CaseScore(truth))
        case.played += 1
        missing, wrong, quiet = _checkout(truth, heard, leave)
        if wrong:
            score.false += 1
            score.problem(f"{truth.checkout_id} ({truth.case}): {wrong}")
        elif missing:
            score.missed += 1
            score.problem(f"{truth.checkout_id} ({truth.case}): {missing}")
        else:
            score.right += 1
            score.quiet += quiet
            case.right += 1
    for checkout_id in (heard.verdicts.keys() | heard.reminders.keys()) - expected.truths.keys():
        score.false += 1
        score.problem(f"{checkout_id}: nobody played it, and something was said of it")
    _strikes(score, expected, heard)
    _dead_letters(score, expected, heard)
    return score


def _checkout(truth: Truth, heard: Heard, leave: Leave) -> tuple[str, str, bool]:
    """(what is missing, what is wrong, whether it was settled quietly)."""
    said, must = heard.verdicts.get(truth.checkout_id, []), wanted(truth)
    quiet = leave.quiet and truth.cause is not None and not said
    if not quiet and said != must:
        if said == must[: len(said)]:
            return f"{_in_words(must[len(said) :])} was not said", "", False
        return "", f"{_in_words(said)} was said, not {_in_words(must)}", False
    sent, due = heard.reminders[truth.checkout_id], truth.reminders
    if sent > leave.per_checkout or (due is not None and sent > due):
        return "", f"{sent} reminders, not {leave.per_checkout if due is None else due}", False
    if due is not None and sent < due and not leave.reminders:
        return f"{sent} reminders, not {due}", "", False
    return "", "", quiet


def _in_words(said: Iterable[Announcement]) -> str:
    words = [kind if cause is None else f"{kind} ({cause})" for kind, cause in said]
    return ", ".join(words) or "nothing"


def _strikes(score: Score, expected: Expected, heard: Heard) -> None:
    must = expected.strikes()
    for customer_id in sorted(must.keys() | heard.strikes.keys()):
        said = heard.strikes.get(customer_id, 0)
        if said == must[customer_id]:
            continue
        if said < must[customer_id]:
            score.missed += 1
        else:
            score.false += 1
        score.problem(f"{customer_id}: {said} strikes, not {must[customer_id]}")


def _dead_letters(score: Score, expected: Expected, heard: Heard) -> None:
    score.dead_letters = heard.dead_letters.total()
    must: Counter[str] = Counter({str(k): n for k, n in expected.dead_letters.items()})
    for reason in sorted(must.keys() | heard.dead_letters.keys()):
        said = heard.dead_letters[reason]
        if said == must[reason]:
            continue
        score.missed += max(0, must[reason] - said)
        score.false += max(0, said - must[reason])
        score.problem(f"{said} dead letters with the reason {reason}, not {must[reason]}")
