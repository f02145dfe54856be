"""One broker process: started, watched, stopped, killed; never left behind."""

import contextlib
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from streams.local.faults import LocalKafkaError
from streams.local.leash import Leashed
from streams.local.probe import answers, command_line, kill

STOP_S = 20.0
"""A clean stop takes 1-3 s; after this the broker is killed, which costs no acknowledged record."""

LOG_LIMIT = 16 * 1024 * 1024
"""Bytes of a node's log above which the next start begins a new one (the former one is kept)."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where a node keeps its things."""

    home: Path

    @property
    def properties(self) -> Path:
        return self.home / "server.properties"

    @property
    def log_dir(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "kafka.log"

    @property
    def pid(self) -> Path:
        return self.home / "pid"

    @property
    def tmp(self) -> Path:
        return self.home / "tmp"


class Node:
    """A broker of a LocalKafka; made by it, not by you."""

    def __init__(self, *, number: int, port: int, home: Path, java: list[str], tls: bool) -> None:
        """`tls` is about its port for clients."""
        self.number = number
        self.port = port
        self.tls = tls
        self.files = Files(home)
        self._java = java
        self._process: Leashed | None = None

    @property
    def pid(self) -> int | None:
        """The JVM's process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def launch(self) -> None:
        """Start the process; `wait_ready` tells when it serves."""
        if self.pid is not None:
            return
        self.wait(timeout_s=0)
        self.files.tmp.mkdir(parents=True, exist_ok=True)
        if self.files.log.exists() and self.files.log.stat().st_size > LOG_LIMIT:
            self.files.log.replace(self.files.log.with_suffix(".log.old"))
        self._process = Leashed(self._java, out=self.files.log, err=self.files.log)
        self.files.pid.write_text(f"{self._process.pid}\n")

    def wait_ready(self, *, deadline: float) -> None:
        """Return when the broker answers; LocalKafkaError with its last words when it ended."""
        while not answers(self.port, tls=self.tls):
            if self.pid is None:
                message = f"Kafka ended while it was starting:\n{self.last_words()}"
                raise LocalKafkaError(message)
            if time.monotonic() > deadline:
                message = f"Kafka was not ready in time:\n{self.last_words()}"
                raise LocalKafkaError(message)
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the JVM if it runs (SIGSTOP and SIGCONT freeze and thaw it)."""
        if self._process is not None:
            self._process.signal(number)

    def wait(self, *, timeout_s: float = STOP_S) -> None:
        """Wait for the end after a SIGTERM or SIGKILL; kills when it takes too long. Tidies up."""
        if self._process is not None:
            self._process.wait(timeout_s=timeout_s)
            self._process = None
        self.files.pid.unlink(missing_ok=True)
        shutil.rmtree(self.files.tmp, ignore_errors=True)

    def end_orphan(self) -> None:
        """Kill a broker of an earlier run that its watchdog has not got yet.

        Only with the data directory's lock in hand: then nobody else can want it alive.
        """
        with contextlib.suppress(OSError, ValueError):
            pid = int(self.files.pid.read_text())
            until = time.monotonic() + 10
            while str(self.files.properties) in command_line(pid) and time.monotonic() < until:
                kill(pid)
                time.sleep(0.05)
        self.files.pid.unlink(missing_ok=True)

    def last_words(self) -> str:
        """The end of the log: errors first, for a message to a person."""
        try:
            lines = self.files.log.read_text(errors="replace").splitlines()[-400:]
        except OSError:
            lines = []
        telling = [line for line in lines if "ERROR" in line or "Exception" in line] or lines
        return "\n".join([*telling[-6:], f"(its log: {self.files.log})"])
