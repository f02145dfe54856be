"""Keeps worker processes running: restarts what ends, with back-off, and ends with its owner."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import orjson

from streams.faults import HALTED, MISCONFIGURED
from streams.local.leash import Leashed

WORKER: Final = (sys.executable, "-m", "streams.cli", "worker")
SOURCES: Final = Path(__file__).parents[2]
"""Where our packages are: a worker runs in another directory, so that no `.env` gets into it."""

FINAL: Final = {
    MISCONFIGURED: "the configuration is wrong",
    HALTED: "it halted until a person acts",
}
"""Exit codes after which starting again would change nothing."""

BACK_OFF_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
STEADY_S: Final = 30.0
"""After running so long a worker's next end counts as its first."""

STOP_S: Final = 20.0
"""A worker finishes its transaction and leaves its group within 5 s; then it is killed."""

LAST_WORDS: Final = 6
TAIL_BYTES: Final = 16_384


class Worker:
    """One place for a worker process."""

    def __init__(
        self, name: str, home: Path, env: Mapping[str, str], command: Sequence[str] = WORKER
    ) -> None:
        """home: where it runs, and where what it prints is kept, in `<name>.err` and `.out`."""
        self.name = name
        self.process: Leashed | None = None
        self.restarts = 0
        self.given_up = False
        """It ended in a way that starting again does not mend."""
        self._home = home
        self._err = home / f"{name}.err"
        self._env = env
        self._command = command
        self._ends = 0
        self._again_at = 0.0
        self._started_at: float | None = None
        self._begins_at = 0
        self._port: int | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return None if self.process is None else self.process.pid

    def keep(self) -> str | None:
        """Call a few times a second: starts it when it should run and does not. Returns a sentence
        when it has ended."""
        now = time.monotonic()
        told = None
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return None
            told = self._ended(code, now)
        if self.process is None and not self.given_up and now >= self._again_at:
            self._start(now)
        return told

    def _ended(self, code: int, now: float) -> str:
        if self.process is not None:
            self.process.wait(timeout_s=1)
            self.process = None
        self._port = None
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        if code in FINAL:
            self.given_up = True
            return f"{self.name} {how}: {FINAL[code]}"
        steady = self._started_at is not None and now - self._started_at > STEADY_S
        self._ends = 1 if steady else self._ends + 1
        wait_s = BACK_OFF_S[min(self._ends, len(BACK_OFF_S)) - 1]
        self._again_at = now + wait_s
        return f"{self.name} {how}; it is started again in {wait_s:g} s"

    def _start(self, now: float) -> None:
        self.restarts += self._started_at is not None
        self._started_at = now
        self._begins_at = self._err.stat().st_size if self._err.exists() else 0
        path = os.pathsep.join(filter(None, (str(SOURCES), self._env.get("PYTHONPATH"))))
        self.process = Leashed(
            self._command,
            out=self._home / f"{self.name}.out",
            err=self._err,
            env={**self._env, "PYTHONPATH": path},
            cwd=self._home,
        )

    def port(self) -> int | None:
        """Where its web listens, once this process has said so."""
        if self._port is None and self.process is not None and self._err.exists():
            with self._err.open("rb") as said:
                said.seek(self._begins_at)
                self._port = next((p for line in said if (p := _port(line)) is not None), None)
        return self._port

    def last_words(self) -> str:
        """Its last lines, for a person."""
        if not self._err.exists():
            return "(it said nothing)"
        with self._err.open("rb") as said:
            said.seek(max(0, self._err.stat().st_size - TAIL_BYTES))
            lines = said.read().splitlines()
        return b"\n".join(lines[-LAST_WORDS:]).decode(errors="replace") or "(it said nothing)"


def _port(line: bytes) -> int | None:
    if b'"web.listening"' not in line or not line.endswith(b"\n"):
        return None
    try:
        port = orjson.loads(line).get("port")
    except (orjson.JSONDecodeError, AttributeError):
        return None
    return port if isinstance(port, int) else None


class Supervisor:
    """Some workers with the same settings, one per core.

    They end when this process ends, however it ends (see Leashed).
    """

    def __init__(
        self,
        count: int,
        *,
        home: Path,
        env: Mapping[str, str],
        command: Sequence[str] = WORKER,
    ) -> None:
        self.workers = [Worker(f"worker-{i + 1}", home, env, command) for i in range(count)]

    @property
    def restarts(self) -> int:
        """Of all workers."""
        return sum(worker.restarts for worker in self.workers)

    def keep(self) -> list[str]:
        """Call a few times a second. Returns a sentence for each worker that has ended."""
        return [told for worker in self.workers if (told := worker.keep()) is not None]

    def stop(self, *, timeout_s: float = STOP_S) -> None:
        """SIGTERM to all, SIGKILL to those that take longer. Nothing is left when it returns or is
        interrupted. Can be repeated."""
        deadline = time.monotonic() + timeout_s
        running = [worker.process for worker in self.workers if worker.process is not None]
        try:
            for process in running:
                process.signal(signal.SIGTERM)
            for process in running:
                process.wait(timeout_s=max(0.0, deadline - time.monotonic()))
        finally:  # an impatient second Ctrl-C
            for process in running:
                process.signal(signal.SIGKILL)
                process.wait(timeout_s=1)
            for worker in self.workers:
                worker.process = None
