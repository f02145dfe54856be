"""The last page of a demo: what was played, the score against the truth, what to try next."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from streams.demo.score import CaseScore, Score, wanted

WIDE: Final = 100
SHOWN: Final = 10
"""Problems named one by one."""


def program() -> str:
    """How people call us here."""
    run = Path("run")
    return "./run" if run.is_file() and os.access(run, os.X_OK) else "hitrun"


def print_score(console: Console, score: Score) -> None:
    """The table of cases, the score, and every problem in words."""
    console.print()
    console.print(_cases(console, score))
    console.print()
    console.print(_figures(console, score))
    console.print()
    if score.perfect:
        console.print(
            "Perfect: every hit-and-run found, nobody accused who paid, nothing said twice.",
            style="bold green",
        )
    if score.quiet:
        console.print(
            f"{score.quiet} accusations were never needed: the workers were behind for a while, "
            "and knew of the payment before they judged.",
            style="dim",
        )
    for problem in score.problems[:SHOWN]:
        console.print(Text(f"  {problem}", "red"))
    if len(score.problems) > SHOWN:
        console.print(Text(f"  and {len(score.problems) - SHOWN} more", "red"))


def _cases(console: Console, score: Score) -> Table:
    utf = console.encoding.lower().startswith("utf")
    wide = console.size.width >= WIDE
    table = Table(box=None, padding=(0, 1), title="What was played", title_justify="left")
    table.title_style = "bold"
    table.add_column("", width=1)
    table.add_column("", justify="right")
    table.add_column("", no_wrap=False)
    if wide:
        table.add_column("")
    for name, case in sorted(score.cases.items(), key=lambda each: -each[1].played):
        right = case.right == case.played
        mark = ("✓" if utf else "+") if right else ("✗" if utf else "x")
        row = [
            Text(mark, "green" if right else "bold red"),
            Text(f"{case.played}", "bold"),
            Text(name, "" if right else "bold red"),
        ]
        table.add_row(*row, *([_outcome(case)] if wide else []))
    table.show_header = False
    return table


def _outcome(case: CaseScore) -> Text:
    """What must be said of it."""
    said = wanted(case.truth)
    if not said:
        return Text(f"nothing is said ({case.truth.standing.replace('_', ' ')})", "dim")
    if case.truth.cause is None:
        return Text("hit-and-run", "red")
    return Text.assemble(
        ("hit-and-run", "red"), (", then ", "dim"), ("withdrawn", "green"),
        (f" ({case.truth.cause.replace('_', ' ')})", "dim"),
    )  # fmt: skip


def _figures(console: Console, score: Score) -> Table:
    table = Table(
        title="The score against the truth", title_justify="left", box=None, padding=(0, 1)
    )
    table.title_style = "bold"
    good = "bold green"
    figures = [
        ("checkouts", score.checkouts, "bold"),
        ("right", score.right, good),
        ("missed", score.missed, "bold red" if score.missed else good),
        ("false", score.false, "bold red" if score.false else good),
        ("duplicates", score.duplicates, "bold red" if score.duplicates else good),
        ("dead letters", score.dead_letters, "bold"),
    ]
    if console.size.width < 72:
        table.show_header = False
        table.add_column(justify="right")
        table.add_column()
        for name, value, style in figures:
            table.add_row(Text(f"{value:,}", style), name)
        return table
    for name, _, _ in figures:
        table.add_column(name, justify="right")
    table.add_row(*(Text(f"{value:,}", style) for _, value, style in figures))
    return table


def print_advice(console: Console, *, seed: int, workers: int) -> None:
    """What to try next."""
    hitrun = program()
    again = f"{hitrun} demo --seed {seed}"
    lines = [
        (f"{again} --workers 2", "the same; kill -9 one of them meanwhile")
        if workers == 1
        else (again, "the same, with one worker"),
        (f"{hitrun} demo --keep", "leaves it all running, for kcat and curl"),
        (f"{hitrun} simulate --out DIR", "such traffic as files, and the truth"),
        (f"{hitrun} replay FILE", "judge recorded events without Kafka"),
    ]
    console.print()
    console.print("Try next", style="bold")
    widest = max(len(command) for command, _ in lines)
    for command, about in lines:
        console.print(Text.assemble(f"  {command:<{widest}}", ("  " + about, "dim")))
