"""Keeps worker processes running: restarts what ends, with back-off, and ends with its owner."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import orjson

from streams.local.leash import Leashed

HALTED = 4
BACK_OFF_S = (0.5, 1.0, 2.0, 5.0, 10.0)
STEADY_S = 30.0
"""After running so long a worker's next end counts as its first."""

STOP_S = 20.0


class Worker:
    """One place for a worker process."""

    def __init__(self, name: str, home: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.err = home / f"{name}.err"
        self._out = home / f"{name}.out"
        self._env = env
        self._ends = 0
        self._again_at = 0.0
        self.restarts = -1
        self.halted = False
        self.process: Leashed | None = None
        self._started_at = 0.0

    def keep(self) -> None:
        """Call now and then: starts it when it should run and does not."""
        now = time.monotonic()
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return
            self.process.wait(timeout_s=1)
            self.process = None
            self.halted = code == HALTED
            self._ends = 1 if now - self._started_at > STEADY_S else self._ends + 1
            self._again_at = now + BACK_OFF_S[min(self._ends, len(BACK_OFF_S)) - 1]
        if self.halted or now < self._again_at:
            return
        self.restarts += 1
        self._started_at = now
        self.process = Leashed(
            [sys.executable, "-m", "streams.cli", "worker"],
            out=self._out,
            err=self.err,
            env=self._env,
        )

    def port(self) -> int | None:
        """Where its web listens, once it does."""
        for line in reversed(self._lines()):
            if b'"web.listening"' in line:
                port = orjson.loads(line).get("port")
                return port if isinstance(port, int) else None
        return None

    def last_words(self) -> str:
        """Its last lines, for a person."""
        return b"\n".join(self._lines()[-6:]).decode(errors="replace")

    def _lines(self) -> list[bytes]:
        return self.err.read_bytes().splitlines() if self.err.exists() else []


class Supervisor:
    """Some workers with the same settings, one per core."""

    def __init__(self, count: int, home: Path, env: Mapping[str, str]) -> None:
        self.workers = [Worker(f"worker-{i + 1}", home, env) for i in range(count)]

    def keep(self) -> None:
        """Call a few times a second."""
        for worker in self.workers:
            worker.keep()

    def stop(self) -> None:
        """SIGTERM to all, SIGKILL to those that take too long."""
        running = [worker.process for worker in self.workers if worker.process is not None]
        for process in running:
            process.signal(signal.SIGTERM)
        for process in running:
            process.wait(timeout_s=STOP_S)
        for worker in self.workers:
            worker.process = None
