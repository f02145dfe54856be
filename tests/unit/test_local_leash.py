"""streams/local/leash.py: a child ends when its parent ends, however that ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from streams.local.leash import Leashed
from streams.local.probe import command_line
from tests.support.waiting import poll

PARENT = """
import os, sys, time
from pathlib import Path
from streams.local.leash import Leashed
null = Path(os.devnull)
child = Leashed([sys.executable, "-c", "import time; time.sleep(60)"], out=null, err=null)
print(child.pid, flush=True)
time.sleep(60)
"""


def leashed(script: str, home: Path) -> Leashed:
    return Leashed([sys.executable, "-c", script], out=home / "out", err=home / "err")


def test_the_child_of_a_killed_parent_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    poll(lambda: command_line(child).startswith(sys.executable), within_s=5)
    parent.kill()
    parent.wait()
    poll(lambda: "sleep" not in command_line(child), within_s=5)


def test_a_frozen_child_of_a_killed_parent_is_killed_too() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    # Not before it has become the program: until then it holds the watchdog's pipe.
    poll(lambda: command_line(child).startswith(sys.executable), within_s=5)
    os.kill(child, signal.SIGSTOP)
    parent.kill()
    parent.wait()
    poll(lambda: "sleep" not in command_line(child), within_s=5)


def test_output_goes_to_the_files_and_the_exit_code_comes_back(tmp_path: Path) -> None:
    child = leashed(
        "import sys; print('said'); print('logged', file=sys.stderr); sys.exit(7)", tmp_path
    )
    assert child.wait(timeout_s=10) == 7
    assert (tmp_path / "out").read_text() == "said\n"
    assert (tmp_path / "err").read_text() == "logged\n"


def test_sigterm_reaches_a_frozen_child(tmp_path: Path) -> None:
    child = leashed("import time; time.sleep(60)", tmp_path)
    child.signal(signal.SIGSTOP)
    child.signal(signal.SIGTERM)
    assert child.wait(timeout_s=5) == -signal.SIGTERM


def test_a_child_that_does_not_end_in_time_is_killed(tmp_path: Path) -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(1, flush=True); time.sleep(60)"
    )
    (tmp_path / "out").touch()
    child = leashed(script, tmp_path)
    poll((tmp_path / "out").read_text, within_s=5)
    child.signal(signal.SIGTERM)
    assert child.wait(timeout_s=0.2) == -signal.SIGKILL
