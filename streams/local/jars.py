"""Kafka's jars: named and hashed in `jars.lock`, downloaded once, checked always."""

import functools
import hashlib
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from streams.local.faults import LocalKafkaError
from streams.local.paths import cache_dir, demand_space, make_dir, wait_lock

ATTEMPTS = 4
"""Tries for each jar, with 1, 2 and 4 s between them: a hiccup passes, an outage is told soon."""

THREADS = 8
"""Downloads at once: with one, latency makes the 46 jars take half a minute instead of seconds."""

TIMEOUT_S = 30
"""Silence of the server after which a download is tried again."""

NEEDED_MIB = 200
"""The jars take 45 MiB; the rest is for the copies under way."""

Download = Callable[["Jar", Path], Path]


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock: Maven coordinates and the sha256 that the file must have."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    @property
    def coordinates(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"


def read_lock(text: str) -> list[Jar]:
    """Parse lines of `group:artifact:version sha256`; raises ValueError on any other line."""
    jars = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            coordinates, sha256 = line.split()
            group, artifact, version = coordinates.split(":")
            jars.append(Jar(group, artifact, version, sha256))
    return jars


def locked_jars() -> list[Jar]:
    """The jars that this version of hitrun runs Kafka from."""
    return read_lock(resources.files("streams.local").joinpath("jars.lock").read_text())


def ensure_jars(
    *,
    say: Callable[[str], None] = lambda _: None,
    jars: Sequence[Jar] | None = None,
    directory: Path | None = None,
    download: Download | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> list[Path]:
    """Return the paths of all jars, each with the right sha256; downloads what is missing.

    Call it before every start of a broker: checking takes 0.1 s. Safe with two processes at once
    and when killed at any point: a file gets its name only after its hash was right.
    `say` gets a line before a download. Raises LocalKafkaError when a jar cannot be had.
    """
    wanted = locked_jars() if jars is None else list(jars)
    home = cache_dir() / "jars" if directory is None else directory
    make_dir(home)
    paths = [home / jar.file_name for jar in wanted]
    with ThreadPoolExecutor(THREADS) as pool:
        present = list(pool.map(_is_right, wanted, paths))
    if all(present):
        return paths
    with wait_lock(home / "download.lock"):
        # Whoever waited here finds the jars that the other process has fetched meanwhile.
        missing = [jar for jar in wanted if not _is_right(jar, home / jar.file_name)]
        if missing:
            demand_space(home, mib=NEEDED_MIB)
            say(f"downloading Kafka: {len(missing)} jars, once")
            _fetch_all(missing, home, download or _download_with_jgo, pause)
    return paths


def _fetch_all(
    missing: list[Jar], home: Path, download: Download, pause: Callable[[float], None]
) -> None:
    for old in home.glob("partial-*"):  # left by a killed process; we hold the lock
        shutil.rmtree(old, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix="partial-", dir=home))
    given_up = threading.Event()
    pool = ThreadPoolExecutor(THREADS)
    fetch = functools.partial(_fetch, home=home, partial=partial, download=download, pause=pause)
    try:
        for result in [pool.submit(fetch, jar, given_up=given_up) for jar in missing]:
            result.result()
    finally:
        # On Ctrl-C or a failed jar nobody waits for the others: a server may be silent for long.
        given_up.set()
        pool.shutdown(wait=False, cancel_futures=True)
        shutil.rmtree(partial, ignore_errors=True)


def _fetch(
    jar: Jar,
    *,
    home: Path,
    partial: Path,
    download: Download,
    pause: Callable[[float], None],
    given_up: threading.Event,
) -> None:
    problem = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            pause(2.0 ** (attempt - 1))
        if given_up.is_set():
            return
        try:
            # A directory for each attempt: half a file of the last one is in nobody's way.
            path = download(jar, partial / f"{jar.file_name}.{attempt}")
            found = _sha256(path)
            if found == jar.sha256:
                path.replace(home / jar.file_name)
                return
            problem = f"its sha256 is {found} instead of {jar.sha256}"
        except Exception as error:  # noqa: BLE001  jgo and requests raise many kinds; all mean "not had"
            problem = str(error) or type(error).__name__
    raise LocalKafkaError(
        f"cannot download {jar.coordinates}, {ATTEMPTS} times tried: {problem}\n"
        "Check the network (a proxy goes into HTTPS_PROXY) and run it again: what has arrived is "
        f"kept. Without a network: copy {home} from a machine where it worked."
    )


def _download_with_jgo(jar: Jar, directory: Path) -> Path:
    """Fetch one jar by its coordinates. jgo knows the repository, so no file of ours names a host.

    A wrong sha1 is only a warning in jgo 3.2: the caller compares the sha256 of the lock.
    """
    try:
        from jgo.maven import MavenContext  # optional: `pip install hitrun[local]`
    except ImportError as error:
        message = "jgo is missing: pip install 'hitrun[local]'"
        raise LocalKafkaError(message) from error
    logging.getLogger("jgo").setLevel(logging.ERROR)
    context = MavenContext(repo_cache=directory, timeout=TIMEOUT_S)
    component = context.project(jar.group, jar.artifact).at_version(jar.version)
    return Path(os.fspath(component.artifact().resolve()))


def _is_right(jar: Jar, path: Path) -> bool:
    try:
        return _sha256(path) == jar.sha256
    except OSError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
