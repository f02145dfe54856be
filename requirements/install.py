"""Makes .venv from the locks, for ./run: with the standard library only, by any Python 3.11+.

Once made it is left alone until a lock, the project file, the Python or the place changes.
It can be interrupted or killed at any moment: the stamp is written last, and what has no stamp is
made anew.
"""

import ctypes
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = VENV / "install.log"
LOCKS = (ROOT / "requirements" / "dev.txt",)
PROJECT = (ROOT / "pyproject.toml",)

ATTEMPTS = 3
"""Of the whole installation, 3 and 9 s apart; each download has its own retries besides."""

NEEDED_MIB = 900
"""The environment takes 450 MiB, downloads and their cache as much again."""


class InstallError(Exception):
    """Print the message and end."""


def main() -> int:
    """Bring .venv up to date, then become the command of the arguments; else the exit code."""
    try:
        with (ROOT / ".venv.lock").open("a") as lock:
            _wait_for(lock.fileno())
            _bring_up_to_date(keep=lock.fileno())
    except InstallError as error:
        return _tell(str(error))
    except OSError as error:
        return _tell(f"cannot prepare the Python environment in {ROOT}: {error}")
    except KeyboardInterrupt:
        _tell("interrupted; the next ./run starts this step again")
        return 130
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if len(sys.argv) > 1:
        os.execv(sys.argv[1], sys.argv[1:])
    return 0


def _wait_for(lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _tell("another ./run is preparing the Python environment; waiting for it ...")
        fcntl.flock(lock, fcntl.LOCK_EX)


def _bring_up_to_date(*, keep: int) -> None:
    base = _digest(LOCKS, f"{ROOT} {sys.version} {sys.executable}")
    whole = _digest(PROJECT, base)
    base_stamp, whole_stamp = VENV / "locked.stamp", VENV / "project.stamp"
    if not (_read(base_stamp) == base and PYTHON.exists()):
        _make(keep=keep)
        base_stamp.write_text(base)
    if _read(whole_stamp) != whole:
        whole_stamp.unlink(missing_ok=True)
        here = ["--no-deps", "--no-build-isolation", "-e", str(ROOT)]
        _run([*_installer(), *here], keep=keep, attempts=1)
        whole_stamp.write_text(whole)


def _make(*, keep: int) -> None:
    uv = shutil.which("uv")
    if uv is None:
        _demand_venv()
    free_mib = shutil.disk_usage(ROOT).free // (1024 * 1024)
    if free_mib < NEEDED_MIB:
        message = f"{ROOT} has {free_mib} MiB of disk left and {NEEDED_MIB} are needed"
        raise InstallError(message)
    _tell("preparing the Python environment in .venv (once; about half a minute) ...")
    shutil.rmtree(VENV, ignore_errors=True)
    VENV.mkdir(exist_ok=True)  # what a kill -9 left may still write there for a moment
    begun = time.monotonic()
    if uv is None:
        _run([sys.executable, "-m", "venv", str(VENV)], keep=keep, attempts=1)
    else:
        make = [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(VENV)]
        _run(make, keep=keep, attempts=1)
    # Wheels only: building a source package would fetch its tools without a hash.
    locked = ["--require-hashes", "--only-binary", ":all:", "-r", str(LOCKS[0])]
    _run([*_installer(), *locked], keep=keep, attempts=ATTEMPTS)
    _tell(f"the Python environment is ready ({time.monotonic() - begun:.0f} s)")


def _installer() -> list[str]:
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip", "install", "--python", str(PYTHON)]
    pip = [str(PYTHON), "-m", "pip", "--no-input", "--disable-pip-version-check"]
    return [*pip, "--retries", "3", "--timeout", "30", "install"]


def _demand_venv() -> None:
    """Debian ships Python without the part that makes environments."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        message = (
            f"{sys.executable} lacks the venv module. Debian, Ubuntu: apt install python3-venv "
            f"(or python{version}-venv)"
        )
        raise InstallError(message) from error


def _run(command: list[str], *, keep: int, attempts: int) -> None:
    for attempt in range(attempts):
        if attempt:
            pause = 3**attempt
            _tell(f"that did not work, trying again in {pause} s ...")
            time.sleep(pause)
        scratch = VENV / "tmp"  # not /tmp: what a killed pip leaves goes with the environment
        scratch.mkdir(exist_ok=True)
        with LOG.open("a") as log:
            # The child holds our lock too: should it outlive us, the next ./run waits for it.
            child = subprocess.Popen(
                command,
                env={**os.environ, "TMPDIR": str(scratch)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(keep,),
                preexec_fn=_die_with_parent(),  # noqa: PLW1509  there are no threads here
            )
        try:
            code = child.wait()
        except BaseException:  # Ctrl-C: the child got it too, if it came from a terminal
            child.terminate()
            child.wait()
            raise
        shutil.rmtree(scratch, ignore_errors=True)
        if code == 0:
            return
    _give_up(command)


def _give_up(command: list[str]) -> NoReturn:
    said = LOG.read_text(errors="replace")
    last = "\n".join("    " + line[:300] for line in said.strip().splitlines()[-5:])
    if "No space left" in said:
        hint = "The disk is full: make room (about 1 GiB) and run it again."
    elif "do not match the hashes" in said.lower() or "hash mismatch" in said.lower():
        hint = "A package is not the one the lock names: a proxy or mirror may have changed it."
    elif "install" in command:
        hint = (
            "Check the network and run it again; what has arrived is kept. A proxy goes into "
            "HTTPS_PROXY, a package index of your own into PIP_INDEX_URL (uv: UV_DEFAULT_INDEX)."
        )
    else:
        hint = "Remove .venv and run it again."
    message = f"cannot prepare the Python environment:\n{last}\n{hint}\n(all of it: {LOG})"
    raise InstallError(message)


def _die_with_parent() -> Callable[[], None] | None:
    """Return what makes a child on Linux end when we are killed; elsewhere the lock must do."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)  # loaded before the fork: after it, loading is not safe
    set_death_signal = 1

    def arrange() -> None:
        libc.prctl(set_death_signal, signal.SIGTERM)

    return arrange


def _digest(files: tuple[Path, ...], *more: str) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    for text in more:
        digest.update(text.encode())
    return digest.hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _tell(line: str) -> int:
    print(f"run: {line}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
