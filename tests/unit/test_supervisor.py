"""The supervisor, with small programs in the workers' place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.demo import supervisor
from streams.demo.supervisor import SOURCES, Supervisor

LISTENING = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print('{"event":"worker.starting"}', file=sys.stderr)
print('{"event":"web.listening","port":4711}', file=sys.stderr, flush=True)
time.sleep(60)
"""
DEAF = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('{"event":"web.listening","port":1}', file=sys.stderr, flush=True)
time.sleep(60)
"""


@contextmanager
def crew(tmp_path: Path, program: str, count: int = 1) -> Iterator[Supervisor]:
    command = (sys.executable, "-c", program)
    found = Supervisor(count, home=tmp_path, env=dict(os.environ), command=command)
    try:
        yield found
    finally:
        found.stop(timeout_s=5)


def until(what: Callable[[], object], supervised: Supervisor) -> list[str]:
    """Keeps the crew until something is so; what was told meanwhile."""
    told: list[str] = []
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        told += supervised.keep()
        time.sleep(0.02)
    return told


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_workers_run_in_their_home_and_say_their_port(tmp_path: Path) -> None:
    with crew(tmp_path, LISTENING, 2) as supervised:
        workers = supervised.workers
        assert until(lambda: all(w.port() == 4711 for w in workers), supervised) == []
        assert len({w.pid for w in workers}) == 2
        assert supervised.restarts == 0
        pids = [w.pid for w in workers]
    assert not any(alive(pid) for pid in pids if pid)
    assert [w.pid for w in workers] == [None, None]


def test_a_worker_that_is_killed_is_started_again_and_has_a_new_port(tmp_path: Path) -> None:
    with crew(tmp_path, LISTENING) as supervised:
        worker = supervised.workers[0]
        until(worker.port, supervised)
        former = worker.pid
        assert former is not None
        os.kill(former, signal.SIGKILL)
        told = until(lambda: worker.restarts == 1 and worker.port(), supervised)
        assert told == ["worker-1 was ended by SIGKILL; it is started again in 0.5 s"]
        assert worker.pid != former


def test_what_ends_again_and_again_is_started_at_longer_intervals(tmp_path: Path) -> None:
    with crew(tmp_path, "import sys; print('no way', file=sys.stderr); sys.exit(1)") as supervised:
        told = until(lambda: supervised.workers[0].restarts == 2, supervised)
        assert told[:2] == [
            "worker-1 ended with 1; it is started again in 0.5 s",
            "worker-1 ended with 1; it is started again in 1 s",
        ]
        assert "no way" in supervised.workers[0].last_words()


def test_a_worker_that_halted_or_is_misconfigured_is_not_started_again(tmp_path: Path) -> None:
    for code in (3, 4):
        with crew(tmp_path, f"raise SystemExit({code})") as supervised:
            worker = supervised.workers[0]
            (told,) = until(lambda worker=worker: worker.given_up, supervised)
            assert told.startswith(f"worker-1 ended with {code}: ")
            assert supervised.keep() == []
            assert worker.pid is None


def test_a_worker_that_does_not_heed_sigterm_is_killed(tmp_path: Path) -> None:
    with crew(tmp_path, DEAF) as supervised:
        worker = supervised.workers[0]
        until(worker.port, supervised)
        pid = worker.pid
        assert pid is not None
        supervised.stop(timeout_s=0.3)
        assert not alive(pid)
        supervised.stop()  # can be repeated


def test_workers_end_with_their_owner_even_when_it_is_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"""
import os, sys, time
from pathlib import Path
from streams.demo.supervisor import Supervisor
crew = Supervisor(1, home=Path({str(tmp_path)!r}), env=dict(os.environ),
                  command=(sys.executable, "-c", {LISTENING!r}))
while crew.workers[0].port() is None:
    crew.keep()
    time.sleep(0.02)
print(crew.workers[0].pid, flush=True)
time.sleep(60)
""",
        ],
        cwd=SOURCES,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    with owner:
        worker = int(owner.stdout.readline())
        assert alive(worker)
        owner.kill()
    deadline = time.monotonic() + 10
    while alive(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_worker_does_not_read_the_dot_env_of_where_the_demo_was_started(tmp_path: Path) -> None:
    program = "import os, sys; print(os.getcwd(), file=sys.stderr); raise SystemExit(3)"
    with crew(tmp_path, program) as supervised:
        until(lambda: supervised.workers[0].given_up, supervised)
        assert supervised.workers[0].last_words() == str(tmp_path.resolve())


def test_the_workers_program_is_our_own_console_script() -> None:
    assert supervisor.WORKER[1:] == ("-m", "streams.cli", "worker")
    assert (SOURCES / "streams" / "cli.py").is_file()
