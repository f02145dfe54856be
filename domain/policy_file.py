"""Reads a policy file: values with their units, and every problem with its line.

tomllib tells no lines, so a small scanner finds them. Nothing here knows what a policy holds:
`domain.policy` asks for each key once, which is how unknown keys are found.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar
from zoneinfo import ZoneInfo

from msgspec import Struct

_T = TypeVar("_T")

DAY_MS = 86_400_000
LONGEST_MS = 3_660 * DAY_MS
"""Ten years: far beyond any use, and safe to add to any time that a date can hold."""

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}
_DURATION = re.compile(r"([0-9]+)(ms|s|m|h|d)")
_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_TOML_PLACE = re.compile(r" ?\(at (?:line ([0-9]+), column [0-9]+|end of document)\)")


class Problem(Struct, frozen=True, order=True):
    """One thing that is wrong with a policy file."""

    line: int
    """From 1; of the key it is about. Of several keys, the last one that the file says."""
    text: str
    """What is wrong and what to do, in one sentence."""


class PolicyError(Exception):
    """The policy cannot be used; mend the file. `problems` holds all of them, by line."""

    def __init__(self, name: str, problems: Iterable[Problem]) -> None:
        self.name = name
        self.problems = tuple(sorted(problems))
        super().__init__(
            "\n".join(f"{name}:{p.line or 1}: {p.text}" for p in self.problems) or name
        )


def duration_ms(text: str) -> int | None:
    """Milliseconds of "250ms", "90s", "15m", "4h" or "30d"; None when it is no duration."""
    match = _DURATION.fullmatch(text)
    if match is None or len(match[1]) > 15:
        return None
    return int(match[1]) * _UNITS_MS[match[2]]


def duration_text(ms: int) -> str:
    """The shortest way to write a duration: 14_400_000 -> "4h"."""
    for unit in ("d", "h", "m", "s"):
        if ms and ms % _UNITS_MS[unit] == 0:
            return f"{ms // _UNITS_MS[unit]}{unit}"
    return f"{ms}ms" if ms else "0s"


class PolicyFile:
    """The text of a policy file, asked key by key; what is wrong is collected, not raised.

    A key that is wrong answers its default, so that the questions after it make sense.
    Keys are dotted: "verdict.after_expiry".
    """

    def __init__(self, text: str, *, name: str) -> None:
        """Raises PolicyError when the text is no TOML."""
        self.name = name
        self.problems: list[Problem] = []
        self.values: dict[str, object] = {}
        """Every value asked for, in its smallest unit: what the policy's version is made of."""
        self._durations: dict[str, str] = {}
        """As they are written."""
        text = text.removeprefix("\ufeff")
        try:
            self._raw: dict[str, object] = tomllib.loads(text)
        except ValueError as error:  # TOMLDecodeError is one, an integer of 5,000 digits another
            raise PolicyError(name, [_syntax(str(error), text)]) from None
        except RecursionError:
            raise PolicyError(name, [Problem(1, "this is no TOML: nested too deeply")]) from None
        self._lines = lines_of(text)
        self._blamed: set[str] = set()

    # What a key holds

    def has(self, key: str) -> bool:
        """Whether the file says the key itself."""
        return self._find(key) is not None

    def duration(self, key: str, default: str, *, positive: bool = False) -> int:
        """Milliseconds. `positive`: 0 is refused."""
        found = self._find(key)
        ms = duration_ms(found) if isinstance(found, str) else None
        if found is not None and (ms is None or ms > LONGEST_MS or (positive and ms == 0)):
            self.problem(key, _why_no_duration(found, ms, default))
            ms = None
        written = found if isinstance(found, str) and ms is not None else default
        self._durations[key] = written
        return self._keep(key, duration_ms(written) or 0)

    def days(self, key: str, default: str) -> int:
        """A duration of whole days, at least one; answers days."""
        days, rest = divmod(self.duration(key, default, positive=True), DAY_MS)
        if rest:
            self.problem(key, f'must be whole days, such as "{max(days, 1)}d"')
        return days

    def whole(self, key: str, default: int, *, least: int, most: int = 1_000_000) -> int:
        """An integer from `least` to `most`, both inclusive."""
        found = self._find(key)
        value = default if found is None else found
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.problem(key, f"must be a whole number from {least} to {most}, not {_show(value)}")
            value = default
        return self._keep(key, value)

    def share(self, key: str, default: float) -> float:
        """A number from 0 to 1, both inclusive."""
        found = self._find(key)
        value = default if found is None else found
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            self.problem(key, f"must be a number from 0 to 1, not {_show(value)}")
            value = default
        return self._keep(key, float(value))

    def zone(self, key: str, default: str) -> str:
        """The name of an IANA time zone."""
        found = self._find(key)
        value = default if found is None else found
        if not isinstance(value, str) or not _is_zone(value):
            self.problem(key, f'{_show(value)} is no IANA time zone (they look like "{default}")')
            value = default
        return self._keep(key, value)

    def quiet_hours(self, key: str, default: tuple[str, str]) -> tuple[int, int] | None:
        """Minutes of the day from (inclusive) and to (exclusive); None: off."""
        found = self._find(key)
        texts = list(default) if found is None else found
        minutes = _minutes(texts)
        if minutes is None or len(minutes) not in (0, 2):
            self.problem(
                key, f'must be ["HH:MM", "HH:MM"] (from 00:00 to 23:59) or [], not {_show(texts)}'
            )
            minutes = _minutes(list(default)) or []
        elif minutes and minutes[0] == minutes[1]:
            self.problem(key, "begins and ends at the same minute; [] turns quiet hours off")
        self._keep(key, minutes)
        return (minutes[0], minutes[1]) if minutes else None

    def texts(self, key: str, default: Sequence[str]) -> tuple[str, ...]:
        """A list of texts of 1-128 printable code points."""
        found = self._find(key)
        value = list(default) if found is None else found
        if not isinstance(value, list) or not all(map(_is_id, value)):
            self.problem(key, f"must be a list of texts of 1-128 characters, not {_show(value)}")
            value = list(default)
        return tuple(self._keep(key, value))

    def as_toml(self) -> str:
        """All keys asked for, with the values in force, as a policy file."""
        sections: dict[str, list[str]] = {}
        for key, value in self.values.items():
            section, _, name = key.rpartition(".")
            if key in self._durations:
                shown = f'"{self._durations[key]}"'
            elif key == "reminders.quiet_hours" and isinstance(value, list):
                shown = _show([f"{minute // 60:02}:{minute % 60:02}" for minute in value])
            else:
                shown = json.dumps(value, ensure_ascii=False)
            said = "" if self.has(key) else "  # default"
            sections.setdefault(section, []).append(f"{name} = {shown}{said}")
        return "\n".join("\n".join((f"[{name}]", *lines, "")) for name, lines in sections.items())

    # What is wrong

    def problem(self, key: str, text: str, *others: str) -> None:
        """Blames a key, or the last of several that the file says. `text` goes on after the
        keys' name."""
        keys = [key, *others]
        self._blamed.update(keys)
        line = max(self._line(each) for each in keys)
        self.problems.append(Problem(line, f"{key} {text}"))

    def demand(self, holds: object, key: str, text: str, *others: str) -> None:
        """A combination that must hold; says nothing when one of the keys is wrong by itself."""
        if not holds and self._blamed.isdisjoint([key, *others]):
            line = max(self._line(each) for each in (key, *others))
            self.problems.append(Problem(line, f"{key} {text}"))

    def finish(self) -> None:
        """After the last question: what nobody asked for is unknown. Raises PolicyError with all
        problems when there are any."""
        self._unknown(self._raw, ())
        if self.problems:
            raise PolicyError(self.name, self.problems)

    # Inside

    def _keep(self, key: str, value: _T) -> _T:
        self.values[key] = value
        return value

    def _find(self, key: str) -> object | None:
        node: object = self._raw
        for part in key.split("."):
            if not isinstance(node, dict):
                return None  # told by _unknown
            node = node.get(part)
        return node

    def _line(self, key: str) -> int:
        """The line of a key the file says; 0 otherwise."""
        return self._nearest_line(tuple(key.split("."))) if self.has(key) else 0

    def _nearest_line(self, path: tuple[str, ...]) -> int:
        while path and path not in self._lines:  # a key inside an inline table
            path = path[:-1]
        return self._lines.get(path, 0)

    def _unknown(self, table: Mapping[str, object], path: tuple[str, ...]) -> None:
        prefix = "".join(f"{part}." for part in path)
        known = {key[len(prefix) :].split(".")[0] for key in self.values if key.startswith(prefix)}
        tables = {
            key[len(prefix) :].split(".")[0]
            for key in self.values
            if key.startswith(prefix) and "." in key[len(prefix) :]
        }
        for name, value in table.items():
            here = (*path, name)
            line, shown = self._nearest_line(here), ".".join(here)
            if name not in known:
                self.problems.append(Problem(line, self._unknown_text(name, shown, known, path)))
            elif name in tables and isinstance(value, dict):
                self._unknown(value, here)
            elif name in tables:
                self.problems.append(Problem(line, f"{shown} must be a table: [{shown}]"))

    def _unknown_text(self, name: str, shown: str, known: set[str], path: tuple[str, ...]) -> str:
        kind = "key" if path else "section"
        near = difflib.get_close_matches(name, sorted(known), n=1)
        if near:
            return f"{shown} is no {kind} of a policy; did you mean {'.'.join((*path, near[0]))}?"
        elsewhere = sorted(key for key in self.values if key.split(".")[-1] == name)
        if elsewhere:
            return f"{shown} is no {kind} of a policy; did you mean {elsewhere[0]}?"
        return f"{shown} is no {kind} of a policy; there are {', '.join(sorted(known))}"


def _syntax(message: str, text: str) -> Problem:
    place = _TOML_PLACE.search(message)
    line = int(place[1]) if place and place[1] else text.count("\n") + 1
    return Problem(line, f"this is no TOML: {_TOML_PLACE.sub('', message)}")


def _why_no_duration(found: object, ms: int | None, default: str) -> str:
    form = f'a duration is a text of a whole number and ms, s, m, h or d, such as "{default}"'
    if ms is not None:
        return "must be longer than 0" if ms == 0 else "is longer than ten years (3660d)"
    if isinstance(found, str) and found.startswith("-"):
        return f"must not be negative ({found}); {form}"
    return f"is {_show(found)}; {form}"


def _show(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not there, no name at all, a folder as "Asia" is
        return False
    return True


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 128 and value.isprintable()


def _minutes(texts: object) -> list[int] | None:
    if not isinstance(texts, list):
        return None
    matches = [_TIME_OF_DAY.fullmatch(text) if isinstance(text, str) else None for text in texts]
    minutes = [int(match[1]) * 60 + int(match[2]) for match in matches if match is not None]
    return minutes if len(minutes) == len(texts) else None


# Lines of keys

_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'  # longest first: the multi-line texts
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|[\[\]{}=.,\n]"
    r"|[^\s\[\]{}=.,\"'\#]+",
    re.DOTALL,
)


def lines_of(text: str) -> dict[tuple[str, ...], int]:
    """The line (from 1) of each key and table header of a valid TOML text, by its path. Keys
    inside inline tables are left out: they are on the line of the key that holds the table, or
    soon after. A table's own line is its header's, else that of its first key."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    key: list[str] = []
    in_value = in_header = False
    depth, line = 0, 1
    for match in _TOKEN.finditer(text):
        token, start = match[0], line
        line += token.count("\n")
        if token[0] == "#":
            continue
        if in_value:
            depth += (token in "[{") - (token in "]}")
            in_value = not (token == "\n" and depth == 0)
        elif token == "[" and not key:
            in_header, table = True, ()
        elif token == "]" and in_header:
            in_header, table, key = False, tuple(key), []
            _note(lines, table, start)
        elif token == "=":
            _note(lines, (*table, *key), start)
            in_value, depth, key = True, 0, []
        elif token not in ".\n]":
            key.append(_name(token))
    return lines


def _note(lines: dict[tuple[str, ...], int], path: tuple[str, ...], line: int) -> None:
    for length in range(1, len(path) + 1):
        lines.setdefault(path[:length], line)


def _name(token: str) -> str:
    if token[0] not in "\"'":
        return token
    return next(iter(tomllib.loads(f"{token} = 0")))  # a quoted key, with its escapes
