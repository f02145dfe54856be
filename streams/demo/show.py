"""One performance of the demo: the market is played to Kafka, and heard as any consumer would."""

from __future__ import annotations

import asyncio
import re
import textwrap
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import Final

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord

from schemas.outputs import OutputEvent, ReminderDue, VerdictDetected, VerdictWithdrawn
from schemas.outputs import decode_output as decode
from schemas.topics import STREAMS, Topics
from streams.demo.market import Market
from streams.demo.play import Act
from streams.demo.score import Expected, Heard, Score, complete, judge
from streams.demo.screen import Screen
from streams.demo.sentences import Sentence, sentence
from streams.demo.supervisor import Supervisor
from streams.letters import DETAIL, PREFIX, REASON
from streams.recording import until_ms

READY_S: Final = 60.0
GRACE_S: Final = 30.0
"""How long after the last record the last verdicts may still take on a slow machine."""

AFTER_S: Final = 1.5
"""What would be said too much comes within this."""

SHOW_S: Final = 0.25
PAGE_S: Final = 2.0
LONGEST_DETAIL: Final = 60


class DemoFailed(Exception):
    """The demo cannot go on; the text says why and what to do."""


class Show:
    """Call `run` once."""

    def __init__(
        self,
        *,
        screen: Screen,
        crew: Supervisor,
        topics: Topics,
        bootstrap: str,
        market: Market,
        partitions: int,
    ) -> None:
        self._screen = screen
        self._crew = crew
        self._topics = topics
        self._bootstrap = bootstrap
        self._market = market
        self._partitions = partitions
        self._expected = Expected()
        self._heard = Heard()
        self._begins_s = 0.0
        self._slowest_ms = 0
        self._ended = False

    async def run(self) -> Score:
        """From workers that start to the score. Raises DemoFailed."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._look())
                await self._wait_ready()
                tasks.create_task(self._listen())
                await self._play()
                await self._settle()
                self._ended = True
        except BaseExceptionGroup as group:
            # Whoever failed first; the others were cancelled for it.
            raise group.exceptions[0] from None
        restarted = self._crew.restarts > 0
        return judge(
            self._expected,
            self._heard,
            pace=self._market.pace,
            slowest_ms=FOREVER_MS if restarted else self._slowest_ms,
        )

    async def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while True:
            pages = await self._pages("/metrics")
            ready = await self._pages("/health/ready")
            lanes = sum(_sample(page, "hitrun_lanes") for page in pages)
            if len(ready) == len(self._crew.workers) and lanes == self._partitions:
                return
            if time.monotonic() > deadline:
                worker = self._crew.workers[0]
                raise DemoFailed(f"the workers do not get ready:\n{worker.last_words()}")
            await asyncio.sleep(SHOW_S)

    async def _play(self) -> None:
        """Appends the market's records at their times."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, enable_idempotence=True, acks="all", linger_ms=5
        )
        await producer.start()
        try:
            view = self._screen.view
            view.phase = "the marketplace is open"
            self._begins_s = time.monotonic()
            opens_ms = int(datetime.now(UTC).timestamp() * 1000)
            for each in self._market.play(opens_ms=opens_ms):
                self._expected.expect(each)
                if not isinstance(each, Act):
                    continue
                after_s = (each.at_ms - opens_ms) / 1000
                if (wait_s := after_s - (time.monotonic() - self._begins_s)) > 0:
                    await asyncio.sleep(wait_s)
                if after_s * 1000 > self._market.open_ms:
                    view.phase = "closed; the last payments, the last verdicts"
                await producer.send(self._topics.name(each.stream), value=each.value, key=each.key)
                view.sent += 1
                view.checkouts += each.confirms
            await producer.flush()
        finally:
            await producer.stop()

    async def _settle(self) -> None:
        """Waits until all that must be said was said, or too long."""
        deadline = time.monotonic() + GRACE_S
        while not complete(self._expected, self._heard):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(SHOW_S)
        await asyncio.sleep(AFTER_S)

    async def _listen(self) -> None:
        """Hears outputs and dead letters as any consumer should: read_committed."""
        t = self._topics
        dlqs = [t.dlq(t.name(stream)) for stream in STREAMS]
        topics = (t.verdict, t.reminder, t.customer, *dlqs)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
        )
        await consumer.start()
        try:
            consumer.assign([TopicPartition(x, p) for x in topics for p in range(self._partitions)])
            while not self._ended:
                for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                    for record in records:
                        if tp.topic in dlqs:
                            self._hear_dead_letter(record)
                        elif record.value is not None:
                            self._hear(decode(record.value), record.timestamp)
        finally:
            await consumer.stop()

    def _hear(self, event: OutputEvent, said_ms: int) -> None:
        if not self._heard.hear(event):
            return
        view = self._screen.view
        if isinstance(event, VerdictDetected):
            view.detected += 1
            truth = self._expected.truths.get(event.data.checkout_id)
            if truth is not None and truth.strike:
                self._took(until_ms(event.time), said_ms)
        elif isinstance(event, VerdictWithdrawn):
            view.withdrawn[event.data.cause] += 1
        elif isinstance(event, ReminderDue):
            view.reminders += 1
            self._took(until_ms(event.time), said_ms)
        if (told := sentence(event, said_ms=said_ms)) is not None:
            self._screen.happened(told)

    def _took(self, due_ms: int, said_ms: int) -> None:
        """Something was said, so long after its moment."""
        self._slowest_ms = max(self._slowest_ms, said_ms - due_ms)

    def _hear_dead_letter(self, record: ConsumerRecord) -> None:
        headers = {name: bytes(value).decode("utf-8", "replace") for name, value in record.headers}
        reason, detail = headers.get(REASON, "unknown"), headers.get(DETAIL, "")
        place = "/".join(headers.get(f"{PREFIX}{n}", "?") for n in ("topic", "partition", "offset"))
        if self._heard.hear_dead_letter(place, reason):
            self._screen.view.dead_letters += 1
            what = _what_broke(record)
            why = textwrap.shorten(detail, LONGEST_DETAIL, placeholder="...")
            words = f"{what} -> dead letter, {reason}: {why}"
            self._screen.happened(Sentence("dead letter", "", words))

    async def _look(self) -> None:
        """Keeps workers running and the figures fresh. Raises DemoFailed."""
        view = self._screen.view
        sent, at_s = 0, time.monotonic()
        while not self._ended:
            for told in self._crew.keep():
                self._screen.happened(Sentence("worker", "", told))
            for worker in self._crew.workers:
                if worker.given_up:
                    raise DemoFailed(f"{worker.name} cannot go on:\n{worker.last_words()}")
            pages = await self._pages("/metrics")
            view.open_checkouts = int(sum(_sample(p, "hitrun_open_checkouts") for p in pages))
            if self._begins_s:
                lags = [_sample(page, "hitrun_frontier_lag_seconds") for page in pages]
                view.behind_s = max(lags, default=None)
            view.workers = self._workers(len(pages))
            now_s = time.monotonic()
            if now_s - at_s >= 1.0:
                view.rate, sent, at_s = (view.sent - sent) / (now_s - at_s), view.sent, now_s
            self._progress(now_s)
            self._screen.show()
            await asyncio.sleep(SHOW_S)

    def _progress(self, now_s: float) -> None:
        if self._begins_s:
            whole_s = (self._market.open_ms + self._market.life_ms) / 1000
            passed_s = now_s - self._begins_s
            self._screen.view.done = min(1.0, passed_s / whole_s)
            self._screen.view.left_s = whole_s - passed_s

    def _workers(self, answering: int) -> str:
        workers = self._crew.workers
        pids = ", ".join(str(w.pid) if w.pid else "starting" for w in workers)
        some = "worker" if len(workers) == 1 else "workers"
        here = "" if answering == len(workers) else f", {answering} answering"
        again = f", {self._crew.restarts} restarts" if self._crew.restarts else ""
        return f"{len(workers)} {some} (pid {pids}{here}{again})"

    async def _pages(self, path: str) -> list[str]:
        """The pages of those workers that answer 200."""
        ports = [port for w in self._crew.workers if (port := w.port()) is not None]
        pages = await asyncio.gather(*(asyncio.to_thread(page, port, path) for port in ports))
        return [each for each in pages if each is not None]


FOREVER_MS: Final = 2**62


def page(port: int, path: str) -> str | None:
    """A worker's page, None when it does not answer 200."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PAGE_S) as answer:
            text: str = answer.read().decode()
            return text
    except (OSError, ValueError):
        return None


def _sample(text: str, name: str) -> float:
    found = re.search(rf"^{name} ([0-9.e+-]+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _what_broke(record: ConsumerRecord) -> str:
    """Whose record it was, if that can be read."""
    stream = str(record.topic).split(".")[1]
    stream = f"an {stream}" if stream[0] in "aeiou" else f"a {stream}"
    try:
        checkout = orjson.loads(record.value)["data"]["checkout_id"]
        return f"{stream} record of {str(checkout).removeprefix('co-')[:6]}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"{stream} record of nobody"
