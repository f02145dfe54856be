"""What a worker says: JSON lines on stderr, from a closed set of events.

`say("partition.recovered", partition=3)`. An event is a dotted noun with one meaning and one
level; what varies is in fields. Customers' ids are never logged, nor are keys and values of
records: logs are kept longer, and seen by more people, than the data.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, MutableMapping
from enum import Enum
from typing import Any, Final, Literal, TextIO

import orjson
import structlog

Level = Literal["debug", "info", "warning", "error"]
Field = str | int | float | bool | None | list[str] | list[int] | dict[str, int]

LIBRARY: Final = "library.said"
NEVER: Final = frozenset({"customer", "customer_id", "checkout_id", "key", "value", "password"})
"""Fields that are taken out of every line, whoever put them in."""


class LogEvent(Enum):
    """Every event there is: its name, its level, and what it means. Names stay: alerts and
    people's searches hang on them."""

    def __init__(self, event: str, level: Level, meaning: str) -> None:
        self.event = event
        self.level: Level = level
        self.meaning = meaning

    WORKER_STARTING = ("worker.starting", "info", "A worker's first line: version and policy.")
    WORKER_READY = ("worker.ready", "info", "Its first partitions are recovered; it works.")
    WORKER_STOPPING = ("worker.stopping", "info", "Asked to end; open transactions are finished.")
    WORKER_STOPPED = ("worker.stopped", "info", "Its last line after an end in order.")
    WORKER_FAILED = ("worker.failed", "error", "It cannot go on; a restart can. Exit 1.")
    WORKER_HALTED = ("worker.halted", "error", "A restart would halt again: a person must act.")
    SETTING_UNKNOWN = ("setting.unknown", "warning", "A HITRUN_ variable that has no effect.")
    POLICY_CHANGED = ("policy.changed", "info", "Another policy than the state was judged by.")
    KAFKA_AWAITED = ("kafka.awaited", "warning", "Kafka does not answer yet; it is tried again.")
    KAFKA_REACHED = ("kafka.reached", "info", "Kafka answers.")
    TOPIC_WRONG = ("topic.wrong", "error", "A topic is so that a worker must not start.")
    TOPIC_DOUBTFUL = ("topic.doubtful", "warning", "A topic is not as it should be; work goes on.")
    WEB_LISTENING = ("web.listening", "info", "Health and metrics can be asked, at host and port.")
    REBALANCE_STARTED = ("rebalance.started", "info", "Partitions are given back for a new split.")
    REBALANCE_DONE = ("rebalance.done", "info", "All partitions of the new split are at work.")
    PARTITION_GAINED = ("partition.gained", "info", "A partition is ours; its state is read next.")
    PARTITION_RECOVERED = ("partition.recovered", "info", "Its state is complete, input goes on.")
    PARTITION_LOST = ("partition.lost", "info", "A partition went elsewhere; its state is dropped.")
    PARTITION_REBUILT = ("partition.rebuilt", "info", "Its state was made anew from the history.")
    FRONTIER_HELD = ("frontier.held", "warning", "Time stands still, and why: no verdicts now.")
    FRONTIER_RELEASED = ("frontier.released", "info", "Time goes on.")
    INPUT_LOST = ("input.lost", "error", "Records were deleted before they were read.")
    DEAD_LETTERS_MANY = ("dead_letters.many", "error", "So many that a producer must be broken.")
    DEAD_LETTERS_ACCEPTED = ("dead_letters.accepted", "warning", "An operator let them pass.")
    FAULT_ISOLATED = ("fault.isolated", "error", "A fault of ours in one record; see its DLQ.")
    GROUP_COMMIT_FAILED = ("group.commit_failed", "warning", "Lag is told late; nothing is lost.")
    WATCHDOG_EXPIRED = ("watchdog.expired", "error", "No progress for too long; the process ends.")
    REDRIVE_DONE = ("redrive.done", "info", "Dead letters were sent back to their topic.")
    LIBRARY_SAID = (LIBRARY, "info", "A line of a library: logger and message.")
    UNLISTED = ("unlisted", "warning", "A mistake of ours: an event that is not in this list.")


_BY_NAME: Final = {each.event: each for each in LogEvent}
_LOGGER: Final = logging.getLogger("hitrun")


QUIET_S: Final = 10.0
"""A library's line that says the same again (other values apart) is held back for so long: with
Kafka gone, aiokafka's clients would write some 200 kB a second."""

_MANY: Final = 1_000
_EXPECTED: Final = ("OffsetCommit failed", "Heartbeat failed for group")
"""Of aiokafka, at every rebalance; what matters of them is an event of ours."""


class Repeats(logging.Filter):
    """Lets the first of a library's same lines pass, later the next one with how many were not
    told. Ours all pass."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._told: dict[tuple[str, str], float] = {}
        self._kept: Counter[tuple[str, str]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter."""
        if record.name == _LOGGER.name:
            return True
        template = str(record.msg)
        if record.name.startswith("aiokafka") and template.startswith(_EXPECTED):
            return False
        line, now = (record.name, template), self._clock()
        if now - self._told.get(line, -QUIET_S) < QUIET_S:
            self._kept[line] += 1
            return False
        if len(self._told) >= _MANY:
            self._told.clear()
            self._kept.clear()
        self._told[line] = now
        record.repeated = self._kept.pop(line, 0)
        return True


def say(event: str, **fields: Field) -> None:
    """Logs one event of the closed set. A field `level` overrides the event's own."""
    known = _BY_NAME.get(event)
    if known is None:  # never a reason to end a worker; a test finds it
        fields, known = {**fields, "name": event}, LogEvent.UNLISTED
    level = str(fields.pop("level", known.level)).upper()
    number = logging.getLevelNamesMapping().get(level, logging.WARNING)
    _LOGGER.log(number, known.event, extra={"fields": fields})


def configure_logging(level: Level, *, pretty: bool = False, stream: TextIO | None = None) -> None:
    """Sends everything, the libraries' lines too, to stderr: JSON lines, or for people's eyes
    with `pretty`. Libraries are heard from warnings on, unless all is wanted ("debug")."""
    out = sys.stderr if stream is None else stream
    shared: list[structlog.typing.Processor] = [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.add_log_level,
        _one_shape,
    ]
    render: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta
    ]
    if pretty:
        plain = structlog.dev.plain_traceback  # frames with locals would show customers
        render.append(structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=plain))
    else:
        render += [structlog.processors.format_exc_info, _json]
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=render, foreign_pre_chain=shared)
    )
    root = logging.getLogger()
    if level != "debug":
        handler.addFilter(Repeats())
    root.handlers = [handler]
    root.setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    _LOGGER.setLevel(level.upper())
    logging.captureWarnings(capture=True)


def _one_shape(_: object, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Ours: the event and its fields. A library's: `library.said` with its words as a field."""
    record: logging.LogRecord = entry["_record"]
    fields = getattr(record, "fields", None)
    if record.name == _LOGGER.name and isinstance(fields, dict):
        entry.update({name: value for name, value in fields.items() if name not in NEVER})
    else:
        entry["logger"], entry["message"] = record.name, entry["event"]
        entry["event"] = LIBRARY
        if repeated := getattr(record, "repeated", 0):
            entry["repeated"] = repeated
    return entry


def _json(_: object, __: str, entry: MutableMapping[str, Any]) -> str:
    first = {name: entry.pop(name) for name in ("timestamp", "level", "event") if name in entry}
    return orjson.dumps(first | dict(entry), default=str).decode()
