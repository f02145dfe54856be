"""The body of `hitrun inspect`: reads one customer's record from the changelog and tells it.

It asks nothing of the workers, joins no group and writes nothing."""

from __future__ import annotations

from typing import Final, TextIO
from zoneinfo import ZoneInfo

import msgspec
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from domain.customer import UnknownVersion
from schemas.codec import rfc3339
from schemas.partition import partition_of
from streams import acls
from streams import position as positions
from streams.faults import ConfigError
from streams.lane import wall_ms
from streams.position import Position
from streams.reasons import Told
from streams.refused import Refused
from streams.restore import read_to_end
from streams.settings import Settings, kafka_client_options
from streams.timeline import CheckoutStory, Known, Story, data, story
from streams.topics_admin import connected
from streams.topics_admin import run as run_with_kafka
from streams.words import Times, shown

FOUND: Final = 0
NOT_KNOWN: Final = 1


class Found(Struct):
    """What the changelog holds of a customer."""

    record: bytes | None = None
    deleted_ms: int | None = None
    """When its record was deleted, while Kafka still tells."""
    position: bytes | None = None
    partition: int = 0


def run(
    settings: Settings, customer_id: str, *, at_ms: int | None, as_json: bool, out: TextIO
) -> int:
    """Prints the story; returns the exit code."""
    found = run_with_kafka(_find(settings, customer_id), settings)
    position = _position(settings, found)
    now_ms = 0 if position is None else position.frontier.frontier_ms
    if at_ms is not None and 0 < at_ms < now_ms:
        raise BeforeNow(
            f"{rfc3339(at_ms)} is before {rfc3339(now_ms)}, up to which all is judged: what was "
            "known at an earlier time is not kept"
        )
    if found.record is None or position is None:
        _not_known(customer_id, found, out, as_json=as_json)
        return NOT_KNOWN
    known = Known(
        settings.policy,
        position.policy,
        now_ms,
        wall_ms(),
        settings.upstream_delay_ms,
        position.frontier.stale,
    )
    try:
        told = story(customer_id, found.record, known, at_ms=at_ms)
    except (UnknownVersion, msgspec.DecodeError) as error:
        raise ConfigError(
            [f"the record cannot be read by this version of hitrun: {error}; use the workers'"]
        ) from None
    if as_json:
        out.write(orjson.dumps(data(told), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        write(told, out)
    return FOUND


class BeforeNow(ValueError):
    """Wrong usage: a time that has passed."""


# Kafka


async def _find(settings: Settings, customer_id: str) -> Found:
    topic, key = settings.topics.changelog, customer_id.encode()
    async with connected(settings) as admin:
        if lacking := await acls.missing(admin, acls.inspect(settings.topics)):
            raise Refused(lacking)
        # All of them: asked by name, a broker may make the topic that is asked for.
        topics = {each["topic"]: each for each in await admin.describe_topics()}
    if topic not in topics:
        why = (
            f"there is no topic {topic}: no worker of the group {settings.group_id} has its "
            "state on this Kafka (HITRUN_GROUP, HITRUN_KAFKA_BOOTSTRAP_SERVERS)"
        )
        raise ConfigError([why])
    found = Found(partition=partition_of(key, len(topics[topic]["partitions"])))

    def take(records: list[ConsumerRecord]) -> None:
        for record in records:
            if record.key == key:
                found.record = record.value
                found.deleted_ms = record.timestamp if record.value is None else None
            elif record.key == positions.KEY:
                found.position = record.value

    options = kafka_client_options(settings)
    watermarks = AIOKafkaConsumer(**options)
    await watermarks.start()
    try:
        await read_to_end(options, watermarks, TopicPartition(topic, found.partition), take)
    finally:
        await watermarks.stop()
    return found


def _position(settings: Settings, found: Found) -> Position | None:
    where = f"{settings.topics.changelog}[{found.partition}]"
    if found.position is None:
        if found.record is not None:
            raise ConfigError([f"{where} has records but no position: a worker would refuse it"])
        return None
    try:
        position = positions.decode(found.position)
    except msgspec.DecodeError as error:
        raise ConfigError([f"{where}: unreadable position: {error}"]) from None
    if position.version > positions.VERSION:
        raise ConfigError([f"{where} was written by a newer hitrun: inspect with that one"])
    return position


# Printing


def _not_known(customer_id: str, found: Found, out: TextIO, *, as_json: bool) -> None:
    if found.deleted_ms is not None:
        why = (
            "was known, and is forgotten: nothing is kept of this customer any more (deleted on "
            f"{rfc3339(found.deleted_ms)})"
        )
    elif found.position is None:
        why = "is not known: no worker has kept anything yet where this customer would be"
    else:
        why = (
            "is not known: never heard of, or forgotten (what is settled is forgotten after a "
            "while, and so is who has nothing else)"
        )
    if as_json:
        told = {"customer_id": customer_id, "known": False, "why": why}
        out.write(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    _console(out).print(f"{shown(customer_id)} {why}.")


def write(told: Story, out: TextIO) -> None:
    """The story as text, wrapped to the terminal."""
    console = _console(out)
    when = _times(told.time_zone)
    _print(console, Text(f"Customer {shown(told.customer_id)}", style="bold"), indent=0)
    passed = "" if not told.until_then else ", if nothing more is told"
    now = f"As of {when(told.now_ms)}{passed}" if told.now_ms else "The time is not known yet"
    _print(console, Text(f"{now}. Times are those of {told.time_zone}."), indent=0, hang=0)
    for warning in told.warnings:
        _print(console, Text(f"Note: {warning}.", style="yellow"), indent=0)
    _section(console, "Until then", told.until_then, when)
    _section(console, "Strikes and advice", told.standing, when)
    _section(console, "Last announced", told.announced, when)
    for checkout in told.checkouts:
        _checkout(console, checkout)
    console.print()
    if not told.checkouts:
        console.print("No checkout is kept.")
    _section(console, "What happens next to the customer", told.next, when, gap=False)


def _checkout(console: Console, told: CheckoutStory) -> None:
    when = _times(told.time_zone)
    console.print()
    row = "" if told.rule is None else f" (row {told.rule})"
    title = Text(f"Checkout {shown(told.checkout_id)}: {shown(told.title)}{row}")
    title.stylize("bold red" if told.standing == "unpaid" else "bold")
    _print(console, title, indent=0)
    _print(console, Text(told.why), indent=2, hang=0)
    for name, lines in (
        ("What was told", told.told),
        ("Reminders", told.reminders),
        ("What happens next, if nothing more is told", told.next),
    ):
        _section(console, name, lines, when, indent=2, gap=False)


def _section(
    console: Console,
    name: str,
    lines: list[str] | list[Told],
    when: Times,
    *,
    indent: int = 0,
    gap: bool = True,
) -> None:
    if not lines:
        return
    if gap:
        console.print()
    _print(console, Text(name, style="underline"), indent=indent)
    for line in lines:
        if isinstance(line, Told):
            at = "" if line.at_ms is None else f"{when(line.at_ms)}  "
            _print(console, Text(at, style="cyan") + Text(line.words), indent=indent + 2)
        else:
            _print(console, Text(line), indent=indent + 2)


def _print(console: Console, text: Text, *, indent: int, hang: int = 2) -> None:
    """Wrapped, with nothing behind the words: people copy from it."""
    for number, part in enumerate(text.wrap(console, console.width - indent - hang)):
        part.rstrip()
        console.print(Text(" " * (indent + (hang if number else 0))) + part)


def _times(zone: str) -> Times:
    return Times(ZoneInfo(zone))


def _console(out: TextIO) -> Console:
    """Ids are not ours: no part of them is markup."""
    return Console(file=out, markup=False, emoji=False, highlight=False)
