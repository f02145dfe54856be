"""What was announced, held against the truth."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field

from streams.demo.market import Truth


class Score(Struct):
    """The end of a demo. Perfect: nothing missed, false or duplicate, all dead letters there."""

    checkouts: int = 0
    events: int = 0
    right: int = 0
    missed: int = 0
    false: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def perfect(self) -> bool:
        return not (self.missed or self.false or self.duplicates or self.problems)


class Said:
    """What the verdict topic said of each checkout, in its order."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.duplicates = 0
        self.of: dict[str, list[tuple[str, str | None]]] = {}

    def hear(self, event_id: str, checkout_id: str, kind: str, cause: str | None) -> bool:
        """One announcement; False for one heard before."""
        if event_id in self.ids:
            self.duplicates += 1
            return False
        self.ids.add(event_id)
        self.of.setdefault(checkout_id, []).append((kind, cause))
        return True


def wanted(truth: Truth) -> list[tuple[str, str | None]]:
    """What must have been said of a checkout, exactly."""
    said: list[tuple[str, str | None]] = []
    if truth.detected:
        said.append(("detected", None))
    if truth.cause is not None:
        said.append(("withdrawn", truth.cause))
    return said


def complete(truths: Iterable[Truth], said: Said) -> bool:
    """Whether all that must be said has been said."""
    return all(len(said.of.get(t.checkout_id, ())) >= len(wanted(t)) for t in truths)


def judge(truths: list[Truth], said: Said, *, dead_letters: int, expected_dead: int) -> Score:
    """Right, missed (something was not said), false (something else was)."""
    score = Score(checkouts=len(truths), duplicates=said.duplicates, dead_letters=dead_letters)
    for truth in truths:
        got, must = said.of.get(truth.checkout_id, []), wanted(truth)
        if got == must:
            score.right += 1
        elif got == must[: len(got)]:
            score.missed += 1
            score.problems.append(f"{truth.checkout_id} ({truth.case}): said {got}, missing {must}")
        else:
            score.false += 1
            score.problems.append(f"{truth.checkout_id} ({truth.case}): said {got}, not {must}")
    known = {truth.checkout_id for truth in truths}
    for checkout_id in said.of.keys() - known:
        score.false += 1
        score.problems.append(f"{checkout_id}: nobody played it")
    if dead_letters != expected_dead:
        score.problems.append(f"{dead_letters} dead letters, {expected_dead} expected")
    return score
