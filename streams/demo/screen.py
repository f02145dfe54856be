"""What a person sees of a demo: a live screen on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter, deque
from types import TracebackType
from typing import Final, Self

from msgspec import Struct, field
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streams.demo.sentences import KINDS, SHORT_CAUSES, Sentence

NARROW: Final = 64
"""Below this many columns the figures stand in two columns instead of four."""

LOW: Final = 18
"""Below this many rows there are no empty lines."""

BORDER: Final = 2
MOST_LINES: Final = 24
REMEMBERED: Final = 100
"""Sentences, for the screen to choose from."""

LINE_EVERY_S: Final = 5.0


class View(Struct):
    """The figures of one moment."""

    phase: str = "starting"
    done: float = 0.0
    """0 to 1."""
    left_s: float | None = None
    sent: int = 0
    rate: float = 0.0
    checkouts: int = 0
    open_checkouts: int = 0
    reminders: int = 0
    detected: int = 0
    withdrawn: Counter[str] = field(default_factory=Counter)
    """By cause."""
    dead_letters: int = 0
    behind_s: float | None = None
    workers: str = ""
    latest: deque[Sentence] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    """The newest last."""


class Screen:
    """Use as a context; `show` a few times a second."""

    def __init__(self, console: Console, *, title: str) -> None:
        self.console = console
        self.view = View()
        self._title = title
        self._plain = not console.encoding.lower().startswith("utf")
        self._live: Live | None = None
        self._told_at = 0.0

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(
                self._draw(), console=self.console, auto_refresh=False, vertical_overflow="crop"
            )
            self._live.__enter__()
        else:
            self.console.print(self._title, highlight=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the last picture standing; what is printed then comes below it."""
        if self._live is not None:
            self._live.update(self._draw(), refresh=True)
            self._live.__exit__(None, None, None)
            self._live = None

    def say(self, words: str) -> None:
        """A step of the preparation."""
        self.view.phase = words
        self.happened(Sentence("step", "", words))
        if self._live is not None:
            self.show()

    def happened(self, sentence: Sentence) -> None:
        """Something was announced; without a terminal it is a line."""
        self.view.latest.append(sentence)
        if not self.console.is_terminal:
            line = " ".join(filter(None, (self._mark(sentence), sentence.subject, sentence.words)))
            self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def show(self) -> None:
        """Draws, or prints a line of figures every few seconds."""
        if self._live is not None:
            self._live.update(self._draw(), refresh=True)
            return
        now = time.monotonic()
        if now - self._told_at >= LINE_EVERY_S and self.view.sent:
            self._told_at = now
            v = self.view
            self.console.print(
                f"-- {v.phase}: {v.checkouts} checkouts ({v.open_checkouts} open), "
                f"{v.sent} events ({v.rate:.0f}/s), {v.reminders} reminders, "
                f"{v.detected} detected, {v.withdrawn.total()} withdrawn, "
                f"{v.dead_letters} dead letters, {_behind(v)} behind",
                highlight=False,
                soft_wrap=True,
            )

    def _mark(self, sentence: Sentence) -> str:
        _, mark, plain = KINDS[sentence.kind]
        return plain if self._plain else mark

    def _draw(self) -> Panel:
        width = max(20, self.console.size.width - 4)
        figures = self._figures(width)
        airy: list[RenderableType] = [Text("")] if self.console.size.height >= LOW else []
        above: list[RenderableType] = [self._head(), self._bar(), *airy, figures]
        above += [self._causes(width), *airy]
        below: list[RenderableType] = [*airy, self._foot(width)]
        taken = BORDER + len(above) - 1 + figures.row_count + len(below)
        room = max(3, min(self.console.size.height - 1 - taken, MOST_LINES))
        return Panel(
            Group(*above, *self._latest(width, room), *below),
            title=Text(self._title, "bold", overflow="ellipsis", no_wrap=True),
            border_style="cyan",
        )

    def _head(self) -> RenderableType:
        v = self.view
        phase = Text(v.phase, "bold", overflow="ellipsis", no_wrap=True)
        left = Text("" if v.left_s is None else f"{max(0.0, v.left_s):.0f} s left", "dim")
        head = Table.grid(expand=True, padding=(0, 1))
        head.add_column(ratio=1, overflow="ellipsis", no_wrap=True)
        head.add_column(justify="right", no_wrap=True)
        head.add_row(phase, left)
        return head

    def _bar(self) -> RenderableType:
        grid = Table.grid(expand=True)  # alone it would not end its line
        grid.add_row(ProgressBar(total=1.0, completed=self.view.done))
        return grid

    def _figures(self, width: int) -> Table:
        v = self.view
        cells = [
            _cell(f"{v.sent:,}", "events"),
            _cell(f"{v.rate:,.0f}", "events/s"),
            _cell(f"{v.checkouts:,}", "checkouts"),
            _cell(f"{v.open_checkouts:,}", "open"),
            _cell(f"{v.reminders:,}", "reminders", "bold yellow"),
            _cell(f"{v.detected:,}", "detected", "bold red"),
            _cell(f"{v.withdrawn.total():,}", "withdrawn", "bold green"),
            _cell(f"{v.dead_letters:,}", "dead letters", "bold magenta"),
        ]
        columns = 4 if width >= NARROW else 2
        grid = Table.grid(expand=True, padding=(0, 1))
        for _ in range(columns):
            grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        for first in range(0, len(cells), columns):
            grid.add_row(*cells[first : first + columns])
        return grid

    def _causes(self, width: int) -> Text:
        """Why verdicts were withdrawn; as many as there is room for."""
        if not self.view.withdrawn:
            return Text("")
        line = Text("withdrawn: ", "dim")
        for cause, count in self.view.withdrawn.most_common():
            told = Text.assemble(
                ("" if line.plain.endswith(": ") else ", ", "dim"),
                (f"{count} ", "green"),
                (SHORT_CAUSES.get(cause, cause), "dim"),
            )
            if cell_len(line.plain) + cell_len(told.plain) > width:
                break
            line.append_text(told)
        return line

    def _latest(self, width: int, room: int) -> list[RenderableType]:
        """The newest sentences that fit into `room` lines, wrapped, the newest last. Reminders are
        many: they get a part of the room only."""
        lines: list[Text] = []
        reminders = 0
        for sentence in reversed(self.view.latest):
            if sentence.kind == "reminder":
                reminders += 1
                if reminders > max(1, room // 4):
                    continue
            style, *_ = KINDS[sentence.kind]
            indent = f"{self._mark(sentence)} {sentence.subject + '  ' if sentence.subject else ''}"
            words = Text(sentence.words, style)
            wrapped = words.wrap(self.console, max(10, width - cell_len(indent)))
            folded = [
                Text.assemble((indent if n == 0 else " " * cell_len(indent), style), part)
                for n, part in enumerate(wrapped)
            ]
            if lines and len(lines) + len(folded) > room:
                break
            lines = folded + lines
        return [*lines[-room:], *[Text("")] * (room - len(lines))]

    def _foot(self, width: int) -> Text:
        v = self.view
        parts = [f"{_behind(v)} behind"] if v.behind_s is not None else []
        text = "   ".join([*parts, v.workers] if v.workers else parts)
        foot = Text(text, "dim", overflow="ellipsis", no_wrap=True)
        foot.truncate(width, overflow="ellipsis")
        return foot


def _cell(value: str, label: str, style: str = "bold") -> Text:
    return Text.assemble((value, style), " ", (label, "dim"))


def _behind(view: View) -> str:
    return "?" if view.behind_s is None else f"{view.behind_s:.1f} s"
