"""Where a local Kafka keeps its files, and the locks that keep two processes apart."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from streams.local.faults import LocalKafkaError

LOCK_NAME = "hitrun.lock"


def cache_dir() -> Path:
    """The directory of what can be downloaded again: `HITRUN_CACHE_DIR`, else XDG's cache."""
    if own := os.environ.get("HITRUN_CACHE_DIR"):
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "hitrun"


def default_data_dir() -> Path:
    """Where `hitrun broker` keeps its topics unless told otherwise: XDG's state directory."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser().absolute() / "hitrun" / "kafka"


def make_dir(path: Path) -> None:
    """Make a directory; LocalKafkaError in words when that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot make the directory {path}: {error.strerror}; choose another one"
        raise LocalKafkaError(message) from error


def demand_space(path: Path, *, mib: int) -> None:
    """Raise LocalKafkaError when the disk of `path` (which exists) has less than `mib` MiB left."""
    free_mib = shutil.disk_usage(path).free // (1024 * 1024)
    if free_mib < mib:
        message = f"{path} has {free_mib} MiB of disk left and {mib} are needed; make some room"
        raise LocalKafkaError(message)


def try_lock(path: Path) -> IO[str] | None:
    """Take an exclusive lock on a file; None when another process has it.

    The system lets the lock go when this process ends, however it ends.
    """
    handle = path.open("a")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        return None
    return handle


@contextmanager
def wait_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file for a block; waits for another process to finish with it."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
