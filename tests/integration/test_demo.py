"""`hitrun demo` as a newcomer runs it: perfect, whoever is killed, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from schemas.partition import partition_of
from schemas.topics import STREAMS
from streams.demo.cases import CASES
from streams.demo.simulate import simulate
from streams.faults import ConfigError
from streams.settings import Settings
from tests.support.kafka import Kafka

HITRUN = (sys.executable, "-m", "streams.cli")
SOURCES = Path(__file__).parents[2]
RUN_S = 110.0


class Demo:
    """One that runs, with its lines in a file."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.out = home / "demo.out"
        self.temporary = home / "tmp"
        self.temporary.mkdir()
        # Something of a real installation, which must not get into the demo.
        env = os.environ | {
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(SOURCES),
            "HITRUN_KAFKA_BOOTSTRAP_SERVERS": "kafka.invalid:9092",
            "HITRUN_TOPIC_VERDICT": "theirs",
        }
        (home / ".env").write_text("HITRUN_GROUP=theirs\nHITRUN_KAFKA_SECURITY_PROTOCOL=SSL\n")
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                [*HITRUN, "demo", *arguments], stdout=out, stderr=out, cwd=home, env=env
            )
        self._seen: set[psutil.Process] = set()

    def told(self) -> str:
        return self.out.read_text(errors="replace")

    def children(self) -> set[psutil.Process]:
        """All processes it ever had."""
        with suppress(psutil.NoSuchProcess):
            self._seen |= set(psutil.Process(self.process.pid).children(recursive=True))
        return self._seen

    def until(self, what: Callable[[], object], *, within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while not what():
            assert self.process.poll() is None, self.told()
            assert time.monotonic() < deadline, self.told()
            self.children()
            time.sleep(0.1)

    def end(self, *, within_s: float = RUN_S) -> int:
        """Its exit code, when it has ended by itself."""
        deadline = time.monotonic() + within_s
        while (code := self.process.poll()) is None:
            assert time.monotonic() < deadline, self.told()
            self.children()
            time.sleep(0.1)
        return code

    def left(self) -> list[str]:
        """Processes and files it left, after a moment."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            running = [str(child) for child in self._seen if child.is_running()]
            if not running:
                break
            time.sleep(0.1)
        return running


@contextmanager
def demo(home: Path, *arguments: str) -> Iterator[Demo]:
    running = Demo(home, *arguments)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


@pytest.mark.slow
def test_the_demo_is_perfect_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with demo(tmp_path, "--seconds", "10", "--seed", "5", "--score", "score.json") as show:
        assert show.end() == 0, show.told()
        assert show.left() == []
        assert list(show.temporary.iterdir()) == []
        told = show.told()
    assert "hit-and-run detected, strike 1, advice: none" in told
    assert "verdict withdrawn" in told
    assert "soft reminder" in told
    assert "dead letter, key: the record has no key" in told
    assert "Perfect: every hit-and-run found" in told
    score = json.loads((tmp_path / "score.json").read_text())
    assert score["right"] == score["checkouts"] > 45
    assert (score["missed"], score["false"], score["duplicates"]) == (0, 0, 0)
    assert score["events"] > 100
    assert score["dead_letters"] >= 4


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    with demo(tmp_path, "--seconds", "10", "--seed", "6", "--workers", "2") as show:
        show.until(lambda: "hit-and-run detected" in show.told())
        workers = [p for p in show.children() if p.is_running() and "worker" in p.cmdline()[-1:]]
        assert len(workers) == 2
        workers[0].kill()
        assert show.end() == 0, show.told()
        assert "was ended by SIGKILL; it is started again" in show.told()
        assert show.left() == []


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("starting a real Kafka", signal.SIGINT),
        ("starting 1 worker", signal.SIGINT),
        ("the marketplace is open", signal.SIGINT),
        ("soft reminder", signal.SIGTERM),
    ],
)
def test_interrupted_it_ends_in_order(tmp_path: Path, moment: str, number: signal.Signals) -> None:
    with demo(tmp_path, "--seconds", "30", "--seed", "7") as show:
        show.until(lambda: moment in show.told())
        show.process.send_signal(number)
        assert show.end(within_s=30) == 130
        assert "Nothing is left running." in show.told()
        assert "Traceback" not in show.told()
        assert show.left() == []
        assert list(show.temporary.iterdir()) == []


def test_killed_it_takes_everything_with_it(tmp_path: Path) -> None:
    with demo(tmp_path, "--seconds", "30", "--seed", "8") as show:
        show.until(lambda: "soft reminder" in show.told())
        show.process.kill()
        show.process.wait()
        assert show.left() == []


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with demo(tmp_path, "--port", str(port)) as show:
            assert show.end(within_s=30) == 1
            assert f"port {port} is taken" in show.told()
            assert "Traceback" not in show.told()


@pytest.mark.slow
def test_kept_it_stays_until_it_is_told_to_end(tmp_path: Path) -> None:
    with demo(tmp_path, "--seconds", "10", "--seed", "9", "--keep") as show:
        show.until(lambda: "Ctrl-C ends it all" in show.told(), within_s=RUN_S)
        bootstrap = re.search(r"kcat -b (\S+)", show.told())
        metrics = re.search(r"curl http://127.0.0.1:(\d+)/metrics", show.told())
        assert bootstrap is not None
        assert metrics is not None
        host, _, port = bootstrap[1].partition(":")
        for where in (int(port), int(metrics[1])):
            socket.create_connection((host, where), timeout=5).close()
        show.process.send_signal(signal.SIGTERM)
        assert show.end(within_s=30) == 0, show.told()
        assert show.left() == []


def test_simulate_sends_to_the_partitions_where_javas_clients_would(
    kafka: Kafka, tmp_path: Path
) -> None:
    topics = {f"topic_{stream}": kafka.unique(stream) for stream in STREAMS}
    topic = topics["topic_checkout"]
    settings = Settings.model_construct(kafka_bootstrap_servers=kafka.bootstrap, **topics)
    kafka.create({topic: 4})
    with pytest.raises(ConfigError, match=r"there is no topic payment-.*topics create"):
        simulate(settings, out=None, rate=1.0, customers=1, seconds=1, seed=1)
    kafka.create({name: 4 for name in topics.values() if name != topic})
    shares = {case.__name__: 0 for case, _ in CASES} | {"free_of_charge": 1}
    truth = tmp_path / "truth.ndjson"
    code = simulate(
        settings,
        out=None,
        rate=40.0,
        customers=20,
        seconds=1,
        seed=2,
        truth=truth,
        shares=shares,
    )
    assert code == 0
    records = [record for record in kafka.read(topic) if record.value]
    checkouts = {json.loads(line).get("checkout_id") for line in truth.open("rb")}
    ours = [json.loads(r.value)["subject"] for r in records if b"demo/marketplace" in r.value]
    assert len(ours) > 10
    assert set(ours) == checkouts - {None}
    assert all(r.partition == partition_of(r.key, 4) for r in records)
