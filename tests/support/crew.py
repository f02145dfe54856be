"""Workers that are started again whenever they end, as under a supervisor; their ends are kept.

with Crew(stage, 2) as crew:
    crew.kill(0)                    # started again by itself
    crew.at(1, "kill", "commit")    # kills itself when it gets there
"""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.support.stage import Stage
from tests.support.waiting import poll
from tests.support.worker import Process

WITH_MOMENTS = ("-m", "tests.support.moments")
RESTART = 1
"""The exit code of a worker that asks to be started again."""
KILLED = -9
PAUSE_S = 0.3


class Crew:
    """See the module. `size` can be changed at any time."""

    def __init__(
        self,
        stage: Stage,
        size: int,
        *,
        program: Sequence[str] = WITH_MOMENTS,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        expected: Sequence[int] = (RESTART, KILLED),
    ) -> None:
        """`expected`: exit codes after which a worker is started again; others fail the crew."""
        self.stage = stage
        self.size = size
        self.program = program
        self.arguments = arguments
        self.env = dict(env or {})
        self.expected = expected
        self.workers: list[Process] = []
        self.ends: Counter[int] = Counter()
        self.starts = 0
        self.error = ""
        """Why no worker is started any more; "" while all is well."""
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tend, daemon=True)

    def __enter__(self) -> Self:
        for _ in range(self.size):
            self.workers.append(self._start(len(self.workers)))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)
        with self._lock:
            for worker in self.workers:
                if worker.alive:
                    worker.thaw()
                    worker.kill()

    def wait_ready(self, *, within_s: float = 60.0) -> Self:
        """All of them are ready."""
        poll(
            lambda: self.check() and all(ready(worker) for worker in self.now()),
            within_s=within_s,
            what=lambda: "\n".join(w.told("not ready") for w in self.now()),
        )
        return self

    def check(self) -> bool:
        """AssertionError when a worker ended as it should not have."""
        assert not self.error, self.error
        return True

    def now(self) -> list[Process]:
        """The workers as they are."""
        with self._lock:
            return list(self.workers)

    def resize(self, size: int) -> None:
        """More workers, or fewer: the last ones get a SIGTERM and must end with 0."""
        with self._lock:
            self.size = size
            leaving = self.workers[size:]
            del self.workers[size:]
            while len(self.workers) < size:
                self.workers.append(self._start(len(self.workers)))
        for worker in leaving:
            code = worker.stop(within_s=40)
            self.ends[code] += 1
            early = code == -signal.SIGTERM and not worker.events()  # Python was still starting
            assert code == 0 or early or code in self.expected, worker.told(
                "it did not stop in order"
            )

    def kill(self, place: int) -> None:
        """kill -9."""
        with self._lock:
            if self.workers[place].alive:
                self.workers[place].kill()

    def at(self, place: int, action: str, moment: str) -> Path:
        """Tells a worker to "kill" or "freeze" itself at a moment; the file goes when it does."""
        file = self._moment(place)
        file.write_text(f"{action} {moment}")
        return file

    def _moment(self, place: int) -> Path:
        return self.stage.home / f"moment-{place}"

    def _start(self, place: int) -> Process:
        self.starts += 1
        env = self.env | {"MOMENT": str(self._moment(place))}
        return self.stage.worker(
            *self.arguments, name=f"{place}-{self.starts}", program=self.program, env=env
        )

    def _tend(self) -> None:
        while not self._over.wait(PAUSE_S):
            with self._lock:
                for place, worker in enumerate(self.workers):
                    if worker.alive:
                        continue
                    code = worker.wait(within_s=1)
                    self.ends[code] += 1
                    if code not in self.expected:
                        self.error = worker.told("an end that was not expected")
                        return
                    self.workers[place] = self._start(place)


def ready(worker: Process) -> bool:
    """Without waiting for it."""
    return (
        worker.alive
        and bool(worker.events("web.listening"))
        and worker.get("/health/ready")[0] == 200
    )


def lanes_of(workers: Sequence[Process]) -> int:
    """How many lanes they have together."""
    return int(
        sum(
            worker.metrics().get("hitrun_lanes", 0)
            for worker in workers
            if worker.alive and worker.events("web.listening")
        )
    )
