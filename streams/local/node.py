"""One broker process: started, watched, stopped, killed; never left behind."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from streams.local.faults import LocalKafkaError
from streams.local.probe import answers, command_line, kill

STOP_S = 20.0
"""A clean stop takes 1-3 s; after this the broker is killed, which costs no acknowledged record."""

LOG_LIMIT = 16 * 1024 * 1024
"""Bytes of a node's log above which the next start begins a new one (the former one is kept)."""

# Says its pid on stdout (the watchdog's pipe), then becomes the JVM, so that the watchdog knows
# the process before it exists.
_BECOME = 'log=$1; shift; echo $$; exec "$@" >>"$log" 2>&1 </dev/null'

# The other end of its input is held by us alone: when we die, however we die, `read` ends.
_WATCHDOG = 'trap "" INT TERM HUP; read -r pid || exit 0; read -r _; kill -9 "$pid" 2>/dev/null'


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

    def __init__(self, *, number: int, port: int, home: Path, java: list[str]) -> None:
        self.number = number
        self.port = port
        self.files = Files(home)
        self._java = java
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._leash = -1

    @property
    def pid(self) -> int | None:
        """The JVM's process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def launch(self) -> None:
        """Start the process; `wait_ready` tells when it serves."""
        if self.pid is not None:
            return
        self._release()
        shutil.rmtree(self.files.tmp, ignore_errors=True)
        self.files.tmp.mkdir()
        if self.files.log.exists() and self.files.log.stat().st_size > LOG_LIMIT:
            self.files.log.replace(self.files.log.with_suffix(".log.old"))
        reading, self._leash = os.pipe()
        try:
            self._watchdog = subprocess.Popen(
                ["/bin/sh", "-c", _WATCHDOG],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _BECOME, "sh", str(self.files.log), *self._java],
                stdout=self._leash,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for us; we stop the broker in order
            )
        finally:
            os.close(reading)
        self.files.pid.write_text(f"{self._process.pid}\n")

    def wait_ready(self, *, deadline: float) -> None:
        """Return when the broker answers; LocalKafkaError with its last words when it ended."""
        while not answers(self.port):
            if self.pid is None:
                message = f"Kafka ended while it was starting:\n{self.last_words()}"
                raise LocalKafkaError(message)
            if time.monotonic() > deadline:
                message = f"Kafka was not ready in time:\n{self.last_words()}"
                raise LocalKafkaError(message)
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the JVM if it runs (SIGSTOP and SIGCONT freeze and thaw it)."""
        if self._process is not None and self.pid is not None:
            self._process.send_signal(number)

    def wait(self, *, timeout_s: float = STOP_S) -> None:
        """Wait for the end after a SIGTERM or SIGKILL; kills when it takes too long. Tidies up."""
        if self._process is not None:
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._release()
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

    def _release(self) -> None:
        """End the watchdog; the process it watches has been reaped, so it must not fire."""
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.wait()
            self._watchdog = None
        if self._leash >= 0:
            os.close(self._leash)
            self._leash = -1
        self._process = None
