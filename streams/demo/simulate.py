"""`hitrun simulate`: a marketplace's traffic, with the truth beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from msgspec import to_builtins

from schemas.codec import rfc3339
from schemas.topics import Topics
from streams.demo.cases import CASES, words
from streams.demo.market import Market
from streams.demo.play import Act, Truth
from streams.demo.score import Expected
from streams.faults import ConfigError
from streams.settings import Settings, kafka_client_options
from streams.words import ago

LONG_WAIT_MS: Final = 600_000
"""A simulation in real time that takes longer than this is told of."""


def parse_shares(told: Iterable[str]) -> dict[str, int]:
    """NAME=WEIGHT of cases, as `Market.weights`. Raises ValueError in words."""
    known = {case.__name__: (case, weight) for case, weight in CASES}
    found: dict[str, int] = {}
    for each in told:
        name, _, weight = each.partition("=")
        if name not in known or not weight.isdigit():
            cases = "\n".join(f"  {n}={w}  {words(c)}" for n, (c, w) in known.items())
            raise ValueError(f"{each} is not NAME=WEIGHT of a case; the cases are:\n{cases}")
        found[name] = int(weight)
    return found


def simulate(
    settings: Settings,
    *,
    out: Path | None,
    rate: float,
    customers: int,
    seconds: int,
    seed: int | None,
    truth: Path | None = None,
    shares: Mapping[str, int] | None = None,
) -> int:
    """To Kafka in real time, or to `records.ndjson` (for `hitrun replay`) and `truth.ndjson` in the
    directory `out`. Windows are those of the policy in force. `truth`: its file, if elsewhere."""
    market = Market(
        policy=settings.policy,
        upstream_delay_ms=settings.upstream_delay_ms,
        seed=random.SystemRandom().randrange(1, 100_000) if seed is None else seed,
        per_second=rate,
        open_ms=seconds * 1000,
        customers=customers,
        weights=dict(shares or {}),
    )
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        _write(settings, market, out / "records.ndjson", truth or out / "truth.ndjson")
        return 0
    if (whole_ms := market.open_ms + market.life_ms) > LONG_WAIT_MS:
        demo_policy = Path(__file__).with_name("policy.toml")
        _say(
            f"under this policy the last word comes in {ago(whole_ms)}; Ctrl-C ends it any time. "
            f"For windows of seconds, here and for the worker: HITRUN_POLICY_FILE={demo_policy}"
        )
    try:
        asyncio.run(_send(settings, market, truth))
    except KafkaError as error:
        servers = settings.kafka_bootstrap_servers
        _say(
            f"Kafka at {servers} does not take it: {error}; is it running there? "
            "HITRUN_KAFKA_BOOTSTRAP_SERVERS says where"
        )
        return 1
    return 0


def _write(settings: Settings, market: Market, records: Path, truth: Path) -> None:
    opens_ms = int(datetime.now(UTC).timestamp()) * 1000
    with records.open("w", encoding="utf-8") as lines, _truths(truth) as tell:
        for each in market.play(opens_ms=opens_ms):
            tell(each)
            if isinstance(each, Act):
                lines.write(_line(settings.topics, each) + "\n")
    until = rfc3339(opens_ms + market.open_ms + market.life_ms)
    _say(f"seed {market.seed}; next: hitrun replay {records} --until {until}")


def _line(topics: Topics, act: Act) -> str:
    """A record as `hitrun replay` reads it; bytes that are no UTF-8 as lone surrogates."""
    return json.dumps(
        {
            "topic": topics.name(act.stream),
            "key": _text(act.key),
            "timestamp": act.at_ms,
            "value": _text(act.value),
        },
        separators=(",", ":"),
    )


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode("utf-8", "surrogateescape")


@contextlib.contextmanager
def _truths(file: Path | None) -> Iterator[Callable[[Act | Truth], None]]:
    """Writes the truth: a line for each checkout, a last one for the dead letters."""
    if file is None:
        yield lambda _: None
        return
    expected = Expected()
    with file.open("wb") as lines:

        def tell(each: Act | Truth) -> None:
            if isinstance(each, Truth):
                lines.write(orjson.dumps(to_builtins(each)) + b"\n")
            else:
                expected.expect(each)

        yield tell
        lines.write(orjson.dumps({"dead_letters": dict(expected.dead_letters)}) + b"\n")


async def _check(settings: Settings) -> None:
    """Raises ConfigError for topics that are not there: a producer would wait for them."""
    admin = AIOKafkaAdminClient(**kafka_client_options(settings))
    try:
        await admin.start()
        there = set(await admin.list_topics())
    finally:
        await admin.close()
    missing = [
        f"there is no topic {name}: make the topics with `hitrun topics create`"
        for name in settings.topics.inputs()
        if name not in there
    ]
    if missing:
        raise ConfigError(missing)


async def _send(settings: Settings, market: Market, truth: Path | None) -> None:
    await _check(settings)
    producer = AIOKafkaProducer(
        **kafka_client_options(settings), enable_idempotence=True, acks="all", linger_ms=5
    )
    await producer.start()
    try:
        begins_s, opens_ms = time.monotonic(), int(datetime.now(UTC).timestamp() * 1000)
        _say(f"seed {market.seed}; the marketplace is open for {market.open_ms // 1000} s")
        with _truths(truth) as tell:
            for each in market.play(opens_ms=opens_ms):
                tell(each)
                if not isinstance(each, Act):
                    continue
                after_s = (each.at_ms - opens_ms) / 1000
                if (wait_s := after_s - (time.monotonic() - begins_s)) > 0:
                    await asyncio.sleep(wait_s)
                topic = settings.topics.name(each.stream)
                await producer.send(topic, value=each.value, key=each.key)
            await producer.flush()
    finally:
        await producer.stop()


def _say(line: str) -> None:
    print(f"hitrun: {line}", file=sys.stderr, flush=True)
