"""Dead letters as values, and as a file that people mend.

A line of the file is a record as `hitrun replay` reads it, so that a mended file can be tried
before it is sent, with `reason` and `detail` beside it. `partition` and `offset` are those in the
DLQ; they say which letter it is, leave them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

from msgspec import Struct

from schemas.faults import Reason
from schemas.record import RawRecord, Record
from schemas.topics import Topics
from streams.recording import BadLine, record_of

PREFIX: Final = "hitrun.error."
"""Of the headers that a worker adds to a dead letter."""
REASON: Final = f"{PREFIX}reason"
DETAIL: Final = f"{PREFIX}detail"
TIMESTAMP: Final = f"{PREFIX}timestamp"
REASONS: Final[tuple[str, ...]] = (*get_args(Reason), "unknown")
"""unknown: a record in the DLQ that no worker wrote."""


class Letter(Struct, frozen=True):
    """One dead letter."""

    record: RawRecord
    """As it came, but partition and offset are the letter's own, in the DLQ."""
    reason: str
    detail: str


class MendFile(Exception):
    """A file of letters that cannot be sent as it is: mend it and try again. Nothing was sent."""


def letter_of(record: Record, *, target: str) -> Letter:
    """The letter a record of the DLQ is; `target` is the topic it came from."""
    headers = dict(record.headers)
    told = headers.get(TIMESTAMP, b"")
    reason = headers.get(REASON, b"").decode("utf-8", "replace")
    own = tuple((n, bytes(v)) for n, v in record.headers if not n.startswith(PREFIX))
    return Letter(
        RawRecord(
            target,
            record.partition,
            record.offset,
            int(told) if told.isdigit() else record.timestamp,
            record.key,
            record.value,
            own,
        ),
        reason if reason in REASONS else "unknown",
        headers.get(DETAIL, b"").decode("utf-8", "replace"),
    )


def write_dump(file: Path, letters: Sequence[Letter]) -> None:
    """Writes them, readable for their owner only. Raises FileExistsError rather than write over a
    file that somebody may have mended."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.writelines(f"{_line(letter)}\n" for letter in letters)


def read_dump(file: Path, *, topics: Topics, target: str) -> list[Letter]:
    """The letters of a file. Raises MendFile with every line that cannot be one of `target`."""
    letters: dict[tuple[int, int], Letter] = {}
    wrong = []
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                letter = _read_line(line, topics=topics, target=target)
                place = (letter.record.partition, letter.record.offset)
                if place in letters:
                    raise BadLine(f"the same letter twice (partition {place[0]}, {place[1]})")
                letters[place] = letter
            except BadLine as why:
                wrong.append(f"{file}:{number}: {why}")
    if wrong:
        raise MendFile("\n".join([*wrong, "nothing was sent"]))
    return list(letters.values())


def _read_line(line: bytes, *, topics: Topics, target: str) -> Letter:
    record = record_of(line, topics=topics, offset=-1, former_ms=0).record
    if record.topic != target:
        raise BadLine(f"a record of {record.topic}, not of {target}")
    found = json.loads(line.decode("utf-8", "surrogateescape"))
    place = [found.get("partition"), found.get("offset")]
    if not all(isinstance(each, int) and each >= 0 for each in place):
        raise BadLine("partition and offset, which say what letter it is, are missing")
    reason, detail = found.get("reason"), found.get("detail", "")
    if reason not in REASONS:
        raise BadLine(f"reason is {reason!r}; leave it as it was")
    return Letter(record, reason, str(detail))


def _line(letter: Letter) -> str:
    record = letter.record
    return json.dumps(
        {
            "reason": letter.reason,
            "detail": letter.detail,
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "key": _text(record.key),
            "headers": [[name, _text(value)] for name, value in record.headers],
            "value": _value(record.value),
        }
    )


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode("utf-8", "surrogateescape")


def _value(content: bytes | None) -> object:
    """An object where that is the same to the byte (it is easier to mend), else the text."""
    text = _text(content)
    if text is None:
        return None
    try:
        found = json.loads(text)
        if isinstance(found, dict):
            again = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
            return found if again == text else text
    except (ValueError, RecursionError):
        pass
    return text
