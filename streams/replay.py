"""The body of `hitrun replay`: recorded events through the rules, without Kafka.

One ledger stands for all partitions. Before each record the frontier moves to its arrival less
upstream_delay, through every due moment on the way; clock = the frontier. So the outputs are
those of a worker that never lagged.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import orjson

from agents import checkout, command, order, payment
from domain.ledger import DeadLetter, Ledger, Output
from domain.policy import Policy
from schemas.record import RawRecord
from schemas.topics import Topics
from streams.recording import Recorded, in_order_of_arrival, read
from streams.replay_diff import Story, differences, write_differences
from streams.settings import Settings, read_policy

FEEDS = {
    "checkout": checkout.feed,
    "payment": payment.feed,
    "order": order.feed,
    "command": command.feed,
}
SLICE = 2000
"""Customers judged at a time when many are due at once."""

SHOWN_BAD_LINES = 20


class Replay:
    """One policy's run over records in the order of their arrival."""

    def __init__(self, policy: Policy, *, topics: Topics, upstream_delay_ms: int) -> None:
        self._ledger = Ledger(policy=policy)
        self._command_topic = topics.command
        self._delay_ms = upstream_delay_ms
        self._now_ms = 0

    def feed(self, recorded: Recorded) -> Iterator[Output | DeadLetter]:
        """What is said before the record's arrival, and because of it."""
        arrival_ms = recorded.record.timestamp
        yield from self.until(arrival_ms - self._delay_ms)
        FEEDS[recorded.stream](self._ledger, [recorded.record])
        yield from self._flush()

    def until(self, at_ms: int) -> Iterator[Output | DeadLetter]:
        """Moves the frontier, and says what falls due on the way; it never goes back."""
        while self._now_ms > 0 and (due_ms := self._ledger.next_due_ms) <= at_ms:
            yield from self._fire(max(due_ms, self._now_ms))
            if self._ledger.next_due_ms <= due_ms:
                raise RuntimeError(f"somebody due at {due_ms} was judged and is still due")
        if at_ms > self._now_ms:
            yield from self._fire(at_ms)

    def _fire(self, at_ms: int) -> Iterator[Output | DeadLetter]:
        self._now_ms = at_ms
        more = True
        while more:
            fired = self._ledger.fire(frontier_ms=at_ms, clock_ms=at_ms, limit=SLICE)
            more = fired == SLICE
            yield from self._flush()

    def _flush(self) -> Iterator[Output | DeadLetter]:
        flush = self._ledger.flush(clock_ms=self._now_ms)
        yield from flush.outputs
        yield from flush.dead_letters
        for output in flush.outputs:
            if output.role == "command":  # what one lane tells another: here it is the same one
                told = RawRecord(self._command_topic, 0, 0, self._now_ms, output.key, output.value)
                FEEDS["command"](self._ledger, [told])
                yield from self._flush()


def run(
    settings: Settings,
    files: Sequence[str],
    *,
    until_ms: int | None,
    policy_file: Path | None,
    diff: bool,
    out: TextIO,
) -> int:
    """Returns the exit code: 1 when a line or a file could not be read (the others are judged all
    the same). Raises ConfigError for a policy that cannot be used."""
    policy = settings.policy if policy_file is None else read_policy(policy_file)
    told = _BadLines()
    records = _records(files, settings.topics, told)
    policies = [settings.policy, policy] if diff else [policy]
    replays = [
        Replay(each, topics=settings.topics, upstream_delay_ms=settings.upstream_delay_ms)
        for each in policies
    ]
    stories = [Story() for _ in policies]
    for recorded in records:
        for replay, story in zip(replays, stories, strict=True):
            _tell(replay.feed(recorded), None if diff else out, story, settings.topics)
    end_ms = until_ms if until_ms is not None or not records else records[-1].record.timestamp
    if end_ms is not None:
        for replay, story in zip(replays, stories, strict=True):
            _tell(replay.until(end_ms), None if diff else out, story, settings.topics)
    if diff:
        found = differences(*stories)
        write_differences(found, out, versions=(policies[0].version, policies[1].version))
    return told.code()


def line_of(said: Output | DeadLetter, topics: Topics) -> bytes:
    """One line of the output: {topic, key, value}; of a dead letter also reason and detail."""
    if isinstance(said, Output):
        key = said.key.decode()
        value = orjson.Fragment(said.value) if said.value is not None else None
        return orjson.dumps({"topic": topics.name(said.role), "key": key, "value": value})
    record = said.record
    return orjson.dumps(
        {
            "topic": topics.dlq(record.topic),
            "key": _shown(record.key),
            "value": _shown(record.value),
            "reason": said.reason,
            "detail": said.detail,
            "offset": record.offset,
            "timestamp": record.timestamp,
        }
    )


def _shown(content: bytes | None) -> str | None:
    """Bytes for eyes: what is no UTF-8 becomes \\xNN."""
    return None if content is None else content.decode("utf-8", "backslashreplace")


def _tell(
    said: Iterable[Output | DeadLetter], out: TextIO | None, story: Story, topics: Topics
) -> None:
    for each in said:
        if out is not None:
            out.write(line_of(each, topics).decode() + "\n")
        else:
            story.take(each)


class _BadLines:
    """Names the lines that could not be read, on stderr, and counts them."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, line: str) -> None:
        self._count += 1
        if self._count <= SHOWN_BAD_LINES:
            print(f"hitrun: {line}", file=sys.stderr)

    def code(self) -> int:
        """The exit code they come to."""
        if self._count > SHOWN_BAD_LINES:
            print(
                f"hitrun: and {self._count - SHOWN_BAD_LINES} more lines like that",
                file=sys.stderr,
            )
        return 1 if self._count else 0


def _records(files: Sequence[str], topics: Topics, told: _BadLines) -> list[Recorded]:
    with contextlib.ExitStack() as opened:
        sources = []
        for file in files:
            if file == "-":
                sources.append(("stdin", sys.stdin.buffer))
                continue
            try:
                sources.append((file, opened.enter_context(Path(file).open("rb"))))
            except OSError as error:
                told(f"{file}: {(error.strerror or str(error)).lower()}")
        return in_order_of_arrival(
            read(lines, topics=topics, name=name, bad=told) for name, lines in sources
        )
