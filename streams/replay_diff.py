"""What another policy would have done: two runs over the same records, compared.

Compared is what people see: verdicts and how they ended, reminders sent, advice given.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TextIO

import msgspec
import orjson
from msgspec import Struct, field

from domain.ledger import DeadLetter, Output

What = Literal["verdict", "reminders", "advice", "dead_letters"]


class Difference(Struct, frozen=True):
    """One thing that would have gone otherwise."""

    what: What
    customer_id: str | None
    checkout_id: str | None
    before: str
    after: str


class Story(Struct):
    """What one run said, by whom it is about."""

    verdicts: dict[tuple[str, str], str] = field(default_factory=dict)
    """(customer, checkout) -> every verdict and withdrawal in order."""
    reminders: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """Their moments."""
    advice: dict[str, str] = field(default_factory=dict)
    """As it stands at the end."""
    dead_letters: dict[str, int] = field(default_factory=dict)
    """By reason."""

    def take(self, said: Output | DeadLetter) -> None:
        """Adds one thing that was said."""
        if isinstance(said, DeadLetter):
            self.dead_letters[said.reason] = self.dead_letters.get(said.reason, 0) + 1
            return
        if said.value is None:  # the customer's record is gone, and its event with it
            self.advice.pop(said.key.decode(), None)
            return
        if said.role == "command":
            return
        event = orjson.loads(said.value)
        data = event["data"]
        customer = data["customer_id"]
        if said.role == "verdict":
            whose = (customer, data["checkout_id"])
            if event["type"].endswith(".detected"):
                told = f"unpaid at {data['verdict_at']} (rule {data['rule']})"
            else:
                told = f"withdrawn: {data['cause']}"
            former = self.verdicts.get(whose)
            self.verdicts[whose] = told if former is None else f"{former}, {told}"
        elif said.role == "reminder":
            self.reminders.setdefault((customer, data["checkout_id"]), []).append(event["time"])
        else:
            self.advice[customer] = f"{data['recommended_action']}, strikes {data['strikes']}"


def differences(before: Story, after: Story) -> list[Difference]:
    """What differs, by customer and checkout."""
    found: list[Difference] = []
    for whose in sorted(before.verdicts.keys() | after.verdicts.keys()):
        one, other = (story.verdicts.get(whose, "no verdict") for story in (before, after))
        if one != other:
            found.append(Difference("verdict", *whose, one, other))
    for whose in sorted(before.reminders.keys() | after.reminders.keys()):
        one, other = (
            ", ".join(story.reminders.get(whose, ())) or "none" for story in (before, after)
        )
        if one != other:
            found.append(Difference("reminders", *whose, one, other))
    for customer in sorted(before.advice.keys() | after.advice.keys()):
        one, other = (story.advice.get(customer, "none, strikes 0") for story in (before, after))
        if one != other:
            found.append(Difference("advice", customer, None, one, other))
    for reason in sorted(before.dead_letters.keys() | after.dead_letters.keys()):
        one, other = (f"{reason}: {story.dead_letters.get(reason, 0)}" for story in (before, after))
        if one != other:
            found.append(Difference("dead_letters", None, None, one, other))
    order: dict[What, int] = {"verdict": 0, "reminders": 1, "advice": 2, "dead_letters": 3}
    return sorted(
        found, key=lambda each: (each.customer_id or "", each.checkout_id or "", order[each.what])
    )


def write_differences(
    found: Iterable[Difference], out: TextIO, *, versions: tuple[str, str]
) -> None:
    """A table for a terminal, NDJSON for everything else."""
    found = list(found)
    if not out.isatty():
        out.writelines(msgspec.json.encode(each).decode() + "\n" for each in found)
        return
    from rich.console import Console
    from rich.table import Table

    # Ids are not ours: no part of them is markup.
    console = Console(file=out, markup=False, emoji=False, highlight=False)
    table = Table(title=f"policy {versions[0]} -> {versions[1]}")
    for name in ("customer", "checkout", "what", "in force", "with the other policy"):
        table.add_column(name, overflow="fold")
    for each in found:
        whose = (each.customer_id or "", each.checkout_id or "")
        table.add_row(*whose, each.what, each.before, each.after)
    if found:
        console.print(table)
    counts = {what: sum(each.what == what for each in found) for what in ("verdict", "reminders")}
    customers = len({each.customer_id for each in found} - {None})
    console.print(
        f"checkouts judged otherwise: {counts['verdict']}, reminded otherwise: "
        f"{counts['reminders']}; customers in all: {customers}"
    )
