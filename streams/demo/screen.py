"""What a person sees of a demo: a live screen on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from msgspec import Struct, field
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streams.demo.score import Score

METHODS = {
    "cod": "cash on delivery",
    "e_wallet": "e-wallet",
    "qris": "QRIS",
    "virtual_account": "virtual account",
    "bank_transfer": "bank transfer",
}
CAUSES = {
    "paid_in_time": "was paid in time, we were told late",
    "paid_late": "was paid after all",
    "cancelled": "was cancelled by the seller",
    "overturned": "was overturned by a person",
    "superseded": "was bought again and paid",
    "reopened": "is awaited again",
}
LATEST = 9
LINE_EVERY_S = 5.0


class View(Struct):
    """The figures of one moment."""

    phase: str = "starting"
    done: float = 0.0
    """0 to 1."""
    sent: int = 0
    rate: float = 0.0
    checkouts: int = 0
    open_checkouts: int = 0
    reminders: int = 0
    detected: int = 0
    withdrawn: int = 0
    dead_letters: int = 0
    behind_s: float | None = None
    workers: str = ""
    latest: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=LATEST))
    """(style, sentence), the newest last."""


def money(minor: int, currency: str) -> str:
    """150,000 IDR."""
    return f"{minor / 100:,.0f} {currency}"


def sentence(kind: str, data: dict[str, object]) -> tuple[str, str]:
    """(style, what happened in words) of an output event."""
    short = str(data["checkout_id"]).split("-")[1]
    if kind == "hitrun.verdict.detected":
        why = "refused at the door" if data["reason"] == "cod_refused" else "never paid"
        method = METHODS.get(str(data["payment_method"]), str(data["payment_method"]))
        amount = money(int(str(data["amount_minor"])), str(data["currency"]))
        advice = str(data["recommended_action"]).replace("_", " ")
        what = f"{short}  {amount} by {method}: {why} -> hit-and-run"
        return "red", f"{what}, strike {data['strikes']}, advice: {advice}"
    if kind == "hitrun.verdict.withdrawn":
        why = CAUSES.get(str(data["cause"]), str(data["cause"]))
        return "green", f"{short}  {why} -> verdict withdrawn, strikes now {data['strikes']}"
    amount = money(int(str(data["due_minor"])), str(data["currency"]))
    what = "balance" if data["template"] == "balance_reminder" else "payment"
    return "yellow", f"{short}  {amount} still open -> soft {what} reminder {data['number']}"


class Screen:
    """Use as a context; `show` a few times a second."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.view = View()
        self._live: Live | None = None
        self._said_at = 0.0

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False, transient=False)
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def say(self, words: str) -> None:
        """A step of the preparation."""
        self.view.phase = words
        if self._live is None:
            self.console.print(words, highlight=False)
        else:
            self.show()

    def happened(self, style: str, words: str) -> None:
        """An announcement; without a terminal it is a line."""
        self.view.latest.append((style, words))
        if self._live is None:
            self.console.print(words, highlight=False, soft_wrap=True)

    def show(self) -> None:
        """Draws, or prints a line of figures every few seconds."""
        if self._live is not None:
            self._live.update(self._draw(), refresh=True)
            return
        now = time.monotonic()
        if now - self._said_at >= LINE_EVERY_S and self.view.sent:
            self._said_at = now
            v = self.view
            behind = "?" if v.behind_s is None else f"{v.behind_s:.1f} s"
            self.console.print(
                f"-- {v.phase}: {v.checkouts} checkouts ({v.open_checkouts} open), "
                f"{v.sent} events, {v.reminders} reminders, {v.detected} detected, "
                f"{v.withdrawn} withdrawn, {v.dead_letters} dead letters, {behind} behind",
                highlight=False,
            )

    def _draw(self) -> Panel:
        v = self.view
        figures = Table.grid(padding=(0, 3), expand=True)
        for _ in range(4):
            figures.add_column(ratio=1)

        def cell(label: str, value: str, style: str = "bold") -> Text:
            return Text.assemble((value, style), " ", (label, "dim"))

        behind = "-" if v.behind_s is None else f"{v.behind_s:.1f} s"
        figures.add_row(
            cell("events", f"{v.sent:,}"),
            cell("events/s", f"{v.rate:,.0f}"),
            cell("checkouts", f"{v.checkouts:,}"),
            cell("open", f"{v.open_checkouts:,}"),
        )
        figures.add_row(
            cell("reminders", f"{v.reminders:,}", "bold yellow"),
            cell("detected", f"{v.detected:,}", "bold red"),
            cell("withdrawn", f"{v.withdrawn:,}", "bold green"),
            cell("dead letters", f"{v.dead_letters:,}"),
        )
        lines = [
            Text(words, style=style, overflow="ellipsis", no_wrap=True) for style, words in v.latest
        ]
        lines += [Text("")] * (LATEST - len(lines))
        foot = Text.assemble(
            (v.phase, "bold"), ("   behind now: ", "dim"), behind, "   ", (v.workers, "dim")
        )
        return Panel(
            Group(
                ProgressBar(total=1.0, completed=v.done),
                Text(""),
                figures,
                Text(""),
                *lines,
                Text(""),
                foot,
            ),
            title="hitrun demo: a marketplace, a real Kafka, verdicts as they fall",
            border_style="cyan",
        )


def final(console: Console, score: Score, advice: Callable[[], list[str]]) -> None:
    """The score and what to try next."""
    table = Table(
        title="The score against the truth", title_justify="left", box=None, padding=(0, 2)
    )
    for name in ("checkouts", "right", "missed", "false", "duplicates", "dead letters"):
        table.add_column(name, justify="right")
    table.add_row(
        *(
            f"{each:,}"
            for each in (
                score.checkouts,
                score.right,
                score.missed,
                score.false,
                score.duplicates,
                score.dead_letters,
            )
        )
    )
    console.print()
    console.print(table)
    if score.perfect:
        console.print(
            "Perfect: every hit-and-run found, nobody accused who paid, nothing said twice.",
            style="green",
        )
    for problem in score.problems[:10]:
        console.print(f"  {problem}", style="red", highlight=False)
    for line in advice():
        console.print(line, highlight=False, soft_wrap=True)
