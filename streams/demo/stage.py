"""The demo's order of events: Kafka, topics, workers, marketplace, audience, score."""

from __future__ import annotations

import asyncio
import io
import os
import random
import re
import signal
import tempfile
import time
import urllib.request
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from rich.console import Console

from schemas.topics import STREAMS, Topics
from streams.demo.market import LAST_MS, Plan, encode, plan
from streams.demo.score import Said, Score, complete, judge
from streams.demo.screen import Screen, final, sentence
from streams.demo.supervisor import Supervisor
from streams.local import LocalKafka, LocalKafkaError
from streams.settings import Settings
from streams.topics_admin import create

PARTITIONS = 4
PER_SECOND = 12.0
"""Checkouts confirmed per second; about four times as many events."""

DEFAULT_S = 60
GRACE_S = 20.0
"""How long after the last word the last verdicts may still take on a slow machine."""

READY_S = 60.0
SHOW_S = 0.25


class DemoFailed(Exception):
    """The demo cannot go on; the text says why and what to do."""


def main(
    *,
    workers: int = 1,
    seconds: int | None = None,
    seed: int | None = None,
    score: Path | None = None,
    keep: bool = False,
) -> int:
    """Runs the demo; 0 when the score is perfect, 1 when not or when it could not run."""
    console = Console()
    chosen = random.SystemRandom().randrange(1, 100_000) if seed is None else seed
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="hitrun-demo-") as home:
            return _run(
                console, Path(home), workers, seconds or DEFAULT_S, chosen, score, keep=keep
            )
    except KeyboardInterrupt:
        console.print("\nStopped. Nothing is left running.")
        return 1
    except (LocalKafkaError, DemoFailed) as error:
        console.print(f"\n{error}", style="red", highlight=False)
        return 1


def _run(
    console: Console,
    home: Path,
    workers: int,
    seconds: int,
    seed: int,
    score_file: Path | None,
    *,
    keep: bool,
) -> int:
    began = time.monotonic()
    policy = home / "policy.toml"
    policy.write_text(resources.files("streams.demo").joinpath("policy.toml").read_text())
    with Screen(console) as screen:
        screen.say(f"starting a real Kafka on this machine (seed {seed})")
        with LocalKafka(say=screen.say) as kafka:
            env = _environment(kafka.bootstrap, policy)
            settings = _settings(env)
            screen.say("making the topics")
            if create(settings, out=io.StringIO()):
                raise DemoFailed("the topics could not be made")
            crew = Supervisor(workers, home, env)
            try:
                screen.say("starting the workers")
                show = _Show(screen, crew, settings.topics, kafka.bootstrap, seed, seconds)
                score = asyncio.run(show.run())
                score.seconds = round(time.monotonic() - began, 1)
                screen.view.phase = "done"
                screen.show()
                if score_file is not None:
                    score_file.write_bytes(orjson.dumps(_public(score), option=orjson.OPT_INDENT_2))
                if keep:
                    _stay(console, crew, kafka.bootstrap, settings.topics)
            finally:
                crew.stop()
    final(console, score, lambda: _advice(seed, workers))
    return 0 if score.perfect else 1


def _public(score: Score) -> dict[str, object]:
    names = (
        "checkouts", "events", "right", "missed", "false", "duplicates", "dead_letters", "seconds"
    )  # fmt: skip
    return {name: getattr(score, name) for name in names}


def _environment(bootstrap: str, policy: Path) -> dict[str, str]:
    base = {key: value for key, value in os.environ.items() if not key.startswith("HITRUN_")}
    return base | {
        "HITRUN_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "HITRUN_GROUP": "demo",
        "HITRUN_POLICY_FILE": str(policy),
        "HITRUN_HTTP_PORT": "0",
        "HITRUN_TOPIC_PARTITIONS": str(PARTITIONS),
        "HITRUN_UPSTREAM_DELAY_MS": "1000",
        "HITRUN_SESSION_TIMEOUT_MS": "6000",
    }


def _settings(env: dict[str, str]) -> Settings:
    return Settings(
        kafka_bootstrap_servers=env["HITRUN_KAFKA_BOOTSTRAP_SERVERS"],
        group="demo",
        topic_partitions=PARTITIONS,
    )


def _advice(seed: int, workers: int) -> list[str]:
    other = 2 if workers == 1 else 1
    return [
        "Try next:",
        f"  ./run demo --seed {seed} --workers {other}   the same marketplace, other workers",
        "  ./run demo --keep                  leaves it all running, to look around",
        "  ./run replay FILE                  judge recorded events without Kafka",
    ]


def _stay(console: Console, crew: Supervisor, bootstrap: str, topics: Topics) -> None:
    console.print("\nEverything is still running; Ctrl-C ends it.", style="bold")
    console.print(f"  kcat -b {bootstrap} -C -t {topics.verdict} -X isolation.level=read_committed")
    for worker in crew.workers:
        console.print(f"  curl http://127.0.0.1:{worker.port()}/metrics")
    try:
        while True:
            crew.keep()
            time.sleep(0.5)
    except KeyboardInterrupt:
        console.print("Ending.")


class _Show:
    """One performance."""

    def __init__(
        self,
        screen: Screen,
        crew: Supervisor,
        topics: Topics,
        bootstrap: str,
        seed: int,
        seconds: int,
    ) -> None:
        self.screen, self.crew, self.topics, self.bootstrap = screen, crew, topics, bootstrap
        open_ms = max(3_000, seconds * 1_000 - LAST_MS)
        self.plan: Plan = plan(seed=seed, open_ms=open_ms, per_second=PER_SECOND)
        self.last_ms = open_ms + LAST_MS
        self.said = Said()
        self.dead = 0
        self.ended = False

    async def run(self) -> Score:
        await self._wait_ready()
        readers = asyncio.create_task(self._listen())
        looks = asyncio.create_task(self._look())
        try:
            await self._play()
            await self._settle()
        finally:
            self.ended = True
            await asyncio.gather(readers, looks)
        score = judge(
            self.plan.truths,
            self.said,
            dead_letters=self.dead,
            expected_dead=self.plan.dead_letters,
        )
        score.events = self.screen.view.sent
        return score

    async def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while True:
            self.crew.keep()
            self.screen.show()
            pages = [
                await asyncio.to_thread(_page, w.port(), "/health/ready") for w in self.crew.workers
            ]
            if all(page is not None for page in pages):
                return
            halted = [w for w in self.crew.workers if w.halted or w.restarts > 2]
            if halted or time.monotonic() > deadline:
                worker = (halted or self.crew.workers)[0]
                raise DemoFailed(f"{worker.name} does not get ready:\n{worker.last_words()}")
            await asyncio.sleep(SHOW_S)

    async def _play(self) -> None:
        """Appends the plan's acts at their times."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, enable_idempotence=True, linger_ms=5
        )
        await producer.start()
        try:
            begin = time.monotonic()
            opened_at = datetime.now(UTC)
            view = self.screen.view
            view.phase = "the marketplace is open"
            for number, act in enumerate(self.plan.acts):
                wait = act.at_ms / 1000 - (time.monotonic() - begin)
                if wait > 0:
                    await asyncio.sleep(wait)
                await producer.send(
                    self.topics.name(act.stream),
                    value=encode(act, number, opened_at),
                    key=act.customer_id.encode(),
                )
                view.sent += 1
                view.checkouts += act.kind == "marketplace.checkout.confirmed"
                view.done = act.at_ms / self.last_ms
            await producer.flush()
        finally:
            await producer.stop()

    async def _settle(self) -> None:
        """Waits until all that must be said was said, or too long."""
        self.screen.view.phase = "closed; the last verdicts fall"
        self.screen.view.done = 1.0
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline:
            if complete(self.plan.truths, self.said) and self.dead >= self.plan.dead_letters:
                break
            await asyncio.sleep(SHOW_S)
        await asyncio.sleep(2.0)  # what would be said too much comes now

    async def _listen(self) -> None:
        """Hears outputs and dead letters as any consumer should: read_committed."""
        t = self.topics
        dlqs = [t.dlq(t.name(stream)) for stream in STREAMS]
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
        )
        await consumer.start()
        try:
            consumer.assign(
                [
                    TopicPartition(x, p)
                    for x in (t.verdict, t.reminder, *dlqs)
                    for p in range(PARTITIONS)
                ]
            )
            while not self.ended:
                for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                    for record in records:
                        if tp.topic in dlqs:
                            self.dead += 1
                            self.screen.view.dead_letters += 1
                        else:
                            self._hear(orjson.loads(record.value))
        finally:
            await consumer.stop()

    def _hear(self, event: dict[str, object]) -> None:
        kind, data, view = str(event["type"]), event["data"], self.screen.view
        assert isinstance(data, dict)
        if kind == "hitrun.reminder.due":
            view.reminders += 1
        else:
            word = kind.rpartition(".")[2]
            if not self.said.hear(str(event["id"]), data["checkout_id"], word, data.get("cause")):
                return
            if word == "detected":
                view.detected += 1
            else:
                view.withdrawn += 1
        self.screen.happened(*sentence(kind, data))

    async def _look(self) -> None:
        """Keeps workers running and the figures fresh."""
        view = self.screen.view
        sent, at = 0, time.monotonic()
        while not self.ended:
            self.crew.keep()
            pages = [
                await asyncio.to_thread(_page, w.port(), "/metrics") for w in self.crew.workers
            ]
            found = [page for page in pages if page]
            view.open_checkouts = int(sum(_sample(p, "hitrun_open_checkouts") for p in found))
            lags = [_sample(p, "hitrun_frontier_lag_seconds") for p in found]
            view.behind_s = max(lags, default=None)
            view.workers = f"{len(found)} of {len(self.crew.workers)} workers"
            now = time.monotonic()
            if now - at >= 1.0:
                view.rate, sent, at = (view.sent - sent) / (now - at), view.sent, now
            self.screen.show()
            await asyncio.sleep(SHOW_S)


def _page(port: int | None, path: str) -> str | None:
    """A worker's page, None when it does not answer 200."""
    if port is None:
        return None
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as page:
            text: str = page.read().decode()
            return text
    except OSError:
        return None


def _sample(page: str, name: str) -> float:
    found = re.search(rf"^{name} ([0-9.e+-]+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0
