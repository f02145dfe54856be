"""A `hitrun` process as tests run it: started, waited for, killed, frozen; it never outlives us."""

import contextlib
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from streams.local.leash import Leashed
from tests.support.waiting import poll

READY_S = 40.0
"""A worker is ready in 2-4 s on an idle machine."""

STOP_S = 20.0


class Process:
    """`python -m streams.cli ARGUMENTS`, its output in two files of `home`."""

    def __init__(
        self,
        *arguments: str,
        home: Path,
        env: Mapping[str, str],
        name: str = "worker",
        program: Sequence[str] = ("-m", "streams.cli"),
    ) -> None:
        """Start it. `env` is added to ours without any HITRUN_* of the machine; `program` names
        another entry module, e.g. one that switches a guard off."""
        self.name = name
        self.out = home / f"{name}.out"
        self.err = home / f"{name}.err"
        home.mkdir(parents=True, exist_ok=True)
        base = {key: value for key, value in os.environ.items() if not key.startswith("HITRUN_")}
        if cache := os.environ.get("HITRUN_CACHE_DIR"):
            base["HITRUN_CACHE_DIR"] = cache
        root = str(Path(__file__).parents[2])
        base["PYTHONPATH"] = root
        base["PYTHONUNBUFFERED"] = "1"
        self._process = Leashed(
            [sys.executable, *program, *arguments],
            out=self.out,
            err=self.err,
            env=base | dict(env),
            cwd=home,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    # ------------------------------------------------------------------ signals

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._process.signal(signal.SIGKILL)
        self._process.wait(timeout_s=STOP_S)

    def freeze(self) -> None:
        """SIGSTOP: a long pause, as of a virtual machine that is being moved."""
        self._process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.signal(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM, without waiting: see `wait`."""
        self._process.signal(signal.SIGTERM)

    def stop(self, *, within_s: float = STOP_S) -> int:
        """SIGTERM and its exit code; AssertionError when it takes too long."""
        self.terminate()
        return self.wait(within_s=within_s)

    def wait(self, *, within_s: float) -> int:
        """Its exit code when it has ended by itself; AssertionError when it does not."""
        poll(lambda: not self.alive, within_s=within_s, what=lambda: self.told("it did not end"))
        return self._process.wait(timeout_s=1)

    # ------------------------------------------------------------------ what it says

    def stdout(self) -> str:
        return self.out.read_text() if self.out.exists() else ""

    def stderr(self) -> str:
        return self.err.read_text(errors="replace") if self.err.exists() else ""

    def events(self, event: str | None = None) -> list[dict[str, Any]]:
        """Its log lines that are JSON objects, all or those of one event."""
        found = []
        for line in self.stderr().splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict) and event in (None, entry.get("event")):
                    found.append(entry)
        return found

    def wait_event(self, event: str, *, within_s: float = READY_S) -> dict[str, Any]:
        """The latest log line of an event, as soon as there is one."""

        def look() -> list[dict[str, Any]]:
            found = self.events(event)
            if not found and not self.alive:
                raise AssertionError(self.told(f"it ended before {event}"))
            return found

        return poll(look, within_s=within_s, what=lambda: self.told(f"no {event}"))[-1]

    # ------------------------------------------------------------------ its web

    def wait_ready(self, *, within_s: float = READY_S) -> Self:
        """Returns when /health/ready says yes."""
        self.wait_event("web.listening", within_s=within_s)

        def ready() -> bool:
            if not self.alive:
                raise AssertionError(self.told("it ended before it was ready"))
            return self.get("/health/ready")[0] == 200

        poll(ready, within_s=within_s, what=lambda: self.told("it is not ready"))
        return self

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page; status 0 when it does not answer."""
        port = self.wait_event("web.listening")["port"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as page:
                return int(page.status), page.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metrics(self) -> dict[str, float]:
        """Every sample of /metrics: 'name{labels}' -> value."""
        _, text = self.get("/metrics")
        samples = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                samples[name] = float(value)
        return samples

    def told(self, why: str) -> str:
        """For the message of a failed test: what happened and its last lines."""
        state = "it runs" if self.alive else f"it ended with {self._process.poll()}"
        last = "\n".join(self.stderr().splitlines()[-25:])
        return f"{self.name}: {why}; {state}; its last lines ({self.err}):\n{last}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.alive:
            self.kill()
        else:
            self._process.wait(timeout_s=1)
