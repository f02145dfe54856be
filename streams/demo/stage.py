"""The demo's order of events: Kafka, topics, workers, marketplace, audience, score."""

from __future__ import annotations

import asyncio
import io
import os
import random
import signal
import time
from pathlib import Path
from typing import Final

import orjson
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from streams.demo.ending import print_advice, print_score, program
from streams.demo.market import demo_market, demo_policy_text
from streams.demo.score import Score
from streams.demo.screen import Screen
from streams.demo.show import DemoFailed, Show
from streams.demo.supervisor import Supervisor
from streams.local import LocalKafka, LocalKafkaError
from streams.settings import Settings
from streams.topics_admin import create

PARTITIONS: Final = 4
PER_SECOND: Final = 12.0
"""Cases begun per second; about three times as many events."""

DEFAULT_S: Final = 60
LEAST_OPEN_MS: Final = 6_000
UPSTREAM_DELAY_MS: Final = 500
KEEP_LOOK_S: Final = 0.5
INTERRUPTED: Final = 130
"""As shells say it of Ctrl-C."""


class Request(Struct, kw_only=True):
    """What was asked for."""

    workers: int
    seconds: int
    seed: int
    score: Path | None
    keep: bool
    port: int


def main(
    *,
    workers: int = 1,
    seconds: int | None = None,
    seed: int | None = None,
    score: Path | None = None,
    keep: bool = False,
    port: int = 0,
) -> int:
    """Runs the demo; 0 when the score is perfect, 1 when not or when it could not run, 130 when it
    was interrupted. `port` is Kafka's, 0 a free one."""
    chosen = random.SystemRandom().randrange(1, 100_000) if seed is None else seed
    request = Request(
        workers=workers,
        seconds=DEFAULT_S if seconds is None else seconds,
        seed=chosen,
        score=score,
        keep=keep,
        port=port,
    )
    console, errors = Console(), Console(stderr=True)
    # SIGTERM (kill, the end of a container) ends it as Ctrl-C does, wherever it is.
    # A shell without job control starts what runs in its background deaf to SIGINT, and then
    # nothing would end it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        return _run(console, request)
    except KeyboardInterrupt:
        console.print("\nStopped. Nothing is left running.", highlight=False)
        return INTERRUPTED
    except (LocalKafkaError, DemoFailed) as error:
        errors.print(Text(f"\n{error}", "red"))
        return 1


def _run(console: Console, request: Request) -> int:
    began_s = time.monotonic()
    screen = Screen(
        console, title=f"hitrun demo: a marketplace on a real Kafka, seed {request.seed}"
    )
    with screen, _kafka(screen, request) as kafka:
        screen.say(f"Kafka answers at {kafka.bootstrap}; making its topics")
        settings = _settings(kafka.bootstrap)
        if create(settings, out=io.StringIO()):
            raise DemoFailed("the topics could not be made; `hitrun topics create` says why")
        screen.say(f"starting {_count(request.workers, 'worker')}")
        home = kafka.data / "demo"  # gone with Kafka's own data, even after a kill -9
        home.mkdir(exist_ok=True)
        crew = Supervisor(request.workers, home=home, env=_environment(kafka.bootstrap, home))
        try:
            score = asyncio.run(_show(screen, crew, settings, request).run())
            score.seconds = round(time.monotonic() - began_s, 1)
            screen.view.phase, screen.view.left_s, screen.view.done = "done", None, 1.0
            screen.close()
            _tell(console, score, request)
            if request.keep:
                _stay(console, crew, settings)
        finally:
            crew.stop()
    return 0 if score.perfect else 1


def _kafka(screen: Screen, request: Request) -> LocalKafka:
    screen.say("starting a real Kafka on this machine")
    return LocalKafka(port=request.port, say=screen.say)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _tell(console: Console, score: Score, request: Request) -> None:
    print_score(console, score)
    print_advice(console, seed=request.seed, workers=request.workers)
    if request.score is not None:
        request.score.write_bytes(orjson.dumps(score.public(), option=orjson.OPT_INDENT_2) + b"\n")


def _show(screen: Screen, crew: Supervisor, settings: Settings, request: Request) -> Show:
    market = demo_market(
        seed=request.seed,
        open_ms=0,
        per_second=PER_SECOND,
        upstream_delay_ms=UPSTREAM_DELAY_MS,
    )
    market.open_ms = max(LEAST_OPEN_MS, request.seconds * 1000 - market.life_ms)
    return Show(
        screen=screen,
        crew=crew,
        topics=settings.topics,
        bootstrap=settings.kafka_bootstrap_servers,
        market=market,
        partitions=PARTITIONS,
    )


def _environment(bootstrap: str, home: Path) -> dict[str, str]:
    """The workers' variables: nothing of a real installation gets into the demo."""
    policy = home / "policy.toml"
    policy.write_text(demo_policy_text(), encoding="utf-8")
    base = {key: value for key, value in os.environ.items() if not key.startswith("HITRUN_")}
    return base | {
        "HITRUN_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "HITRUN_GROUP": "demo",
        "HITRUN_POLICY_FILE": str(policy),
        "HITRUN_HTTP_PORT": "0",
        "HITRUN_TOPIC_PARTITIONS": str(PARTITIONS),
        "HITRUN_UPSTREAM_DELAY_MS": str(UPSTREAM_DELAY_MS),
        "HITRUN_COMMIT_INTERVAL_MS": "250",
        "HITRUN_SESSION_TIMEOUT_MS": "6000",
    }


def _settings(bootstrap: str) -> Settings:
    """Our own; without a look at the environment, for the same reason."""
    values = {
        "kafka_bootstrap_servers": bootstrap,
        "group": "demo",
        "topic_partitions": PARTITIONS,
    }
    return Settings.model_construct(**values)  # type: ignore[arg-type]


def _stay(console: Console, crew: Supervisor, settings: Settings) -> None:
    """Until Ctrl-C, with the workers looked after."""
    bootstrap, topics = settings.kafka_bootstrap_servers, settings.topics
    hitrun = f"HITRUN_KAFKA_BOOTSTRAP_SERVERS={bootstrap} HITRUN_GROUP=demo {program()}"
    console.print("\nKafka and the workers are still running", style="bold")
    lines = [
        f"kcat -b {bootstrap} -C -t {topics.verdict} -X isolation.level=read_committed",
        f"kcat -b {bootstrap} -C -t {topics.dlq(topics.payment)} -f '%h\\n'",
        *(f"curl http://127.0.0.1:{w.port()}/metrics" for w in crew.workers if w.port()),
        f"{hitrun} topics check",
        f"{hitrun} redrive {topics.dlq(topics.payment)} --dry-run",
    ]
    for line in lines:
        console.print(Text(f"  {line}"), soft_wrap=True)
    console.print(
        Text.assemble(("Ctrl-C ends it all", "bold"), f" (or: kill {os.getpid()})"), soft_wrap=True
    )
    try:
        while True:
            for told in crew.keep():
                console.print(Text(told, "cyan"))
            time.sleep(KEEP_LOOK_S)
    except KeyboardInterrupt:
        console.print("\nEnding. Nothing is left running.", highlight=False)
