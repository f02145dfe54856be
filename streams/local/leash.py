"""Child processes that end when we end, however we end: returned, Ctrl-C, kill -9.

prctl(PR_SET_PDEATHSIG) would be shorter, but it is Linux only and fires when the *thread* that
started the child ends; a pipe and a shell that waits for its end have neither fault.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

# Says its pid on stdout (the watchdog's pipe), then becomes the program: the watchdog knows the
# process before the program runs.
_BECOME = 'out=$1; err=$2; shift 2; echo $$; exec "$@" >>"$out" 2>>"$err" </dev/null'

# The other end of its input is held by us alone: when we are gone, `read` ends.
_WATCHDOG = 'trap "" INT TERM HUP; read -r pid || exit 0; read -r _; kill -9 "$pid" 2>/dev/null'


class Leashed:
    """A process on a leash: call `wait` once it has ended or been told to.

    Not for use after a fork: a forked copy of us would hold the leash, too.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        out: Path,
        err: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start a program in a session of its own; what it prints is appended to the two files.

        A terminal's Ctrl-C does not reach it: its owner stops it in order. Raises OSError.
        """
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
                ["/bin/sh", "-c", _BECOME, "sh", str(out), str(err), *command],
                stdin=subprocess.DEVNULL,
                stdout=self._leash,
                stderr=subprocess.DEVNULL,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
        finally:
            os.close(reading)

    @property
    def pid(self) -> int:
        """The process id; still that of no other process until `wait` has returned."""
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code (negative: the signal that ended it), None while it runs."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if it runs; SIGTERM also wakes a stopped process, so that it gets it."""
        self._process.send_signal(number)
        if number is signal.SIGTERM:
            self._process.send_signal(signal.SIGCONT)

    def wait(self, *, timeout_s: float) -> int:
        """Wait for its end, kill it after the time, take the leash off; returns the exit code."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if self._leash >= 0:
            # The pid may now become another process's: the watchdog goes before the pipe closes.
            self._watchdog.kill()
            self._watchdog.wait()
            os.close(self._leash)
            self._leash = -1
        return code
