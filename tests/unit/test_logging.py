"""The log: JSON lines of a closed set of events, and never a customer in them."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.logging import QUIET_S, LogEvent, Repeats, configure_logging, say

ROOT = Path(__file__).parents[2]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    out = io.StringIO()
    configure_logging("info", stream=out)
    yield out
    root.handlers, root.level = before, level
    logging.captureWarnings(capture=False)


def lines(log: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_its_fields(log: io.StringIO) -> None:
    say("partition.recovered", partition=3, seconds=0.5)
    (line,) = lines(log)
    assert line.pop("timestamp")
    assert line == {
        "level": "info",
        "event": "partition.recovered",
        "partition": 3,
        "seconds": 0.5,
    }


def test_customers_are_never_logged(log: io.StringIO) -> None:
    say("fault.isolated", customer_id="c-1", checkout_id="k-1", key="c-1", partition=1)
    assert "c-1" not in log.getvalue()
    assert "k-1" not in log.getvalue()


def test_libraries_are_heard_from_warnings_on_in_the_same_form(log: io.StringIO) -> None:
    logging.getLogger("aiokafka.client").info("chatter")
    logging.getLogger("aiokafka.client").warning("lost %s", "node 1")
    (line,) = lines(log)
    assert (line["event"], line["logger"], line["message"]) == (
        "library.said",
        "aiokafka.client",
        "lost node 1",
    )


def test_an_event_that_is_not_listed_is_told_and_ends_nobody(log: io.StringIO) -> None:
    say("no.such", partition=1)
    (line,) = lines(log)
    assert (line["event"], line["name"], line["level"]) == ("unlisted", "no.such", "warning")


def sources() -> dict[str, str]:
    """Of all that may say something, but for the list itself."""
    files = [f for room in ("streams", "agents") for f in (ROOT / room).rglob("*.py")]
    return {f.name: f.read_text() for f in files if f.name != "logging.py"}


def test_every_event_the_sources_say_is_in_the_list() -> None:
    known = {each.event for each in LogEvent}
    assert len(known) == len(LogEvent)
    for name, text in sources().items():
        said = set(re.findall(r"\bsay\(\s*\"([a-z_]+\.[a-z_.]+)\"", text))
        assert said <= known, f"{name}: {said - known}"


def test_every_event_of_the_list_is_said_somewhere() -> None:
    own = {LogEvent.LIBRARY_SAID, LogEvent.UNLISTED}  # said by the log itself, see above
    all_of_it = "\n".join(sources().values())
    assert [e.event for e in LogEvent if e not in own and f'"{e.event}"' not in all_of_it] == []


def test_a_line_of_a_library_that_comes_again_and_again_is_told_once_and_counted() -> None:
    now = 0.0
    repeats = Repeats(lambda: now)

    def passes(message: str, *values: object, name: str = "aiokafka") -> logging.LogRecord | None:
        record = logging.LogRecord(name, logging.ERROR, "x.py", 1, message, values, None)
        return record if repeats.filter(record) else None

    assert passes("no connection to %s", 1)
    assert [passes("no connection to %s", n) for n in range(500)] == [None] * 500
    assert passes("something else")
    assert passes("no connection to %s", 1, name="other")
    now = QUIET_S
    again = passes("no connection to %s", 2)
    assert again is not None
    assert again.__dict__["repeated"] == 500
    assert passes("no connection to %s", 3) is None


def test_what_a_rebalance_always_brings_is_not_told(log: io.StringIO) -> None:
    library = logging.getLogger("aiokafka.consumer.group_coordinator")
    library.error("OffsetCommit failed for group %s due to group error (%s), will rejoin", "g", "e")
    library.warning("Heartbeat failed for group %s because it is rebalancing", "g")
    assert lines(log) == []


def test_our_own_lines_are_never_held_back(log: io.StringIO) -> None:
    for _ in range(3):
        say("kafka.awaited")
    assert len(lines(log)) == 3
