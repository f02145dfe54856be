"""streams/local/jars.py: nothing gets a jar's name that is not the jar."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.local.faults import LocalKafkaError
from streams.local.jars import ATTEMPTS, Jar, ensure_jars, locked_jars, read_lock

BODY = b"a jar"
JARS = [Jar("g", f"a{n}", "1", hashlib.sha256(BODY).hexdigest()) for n in range(12)]


def downloader(body: Callable[[Jar], bytes]) -> Callable[[Jar, Path], Path]:
    def download(jar: Jar, directory: Path) -> Path:
        directory.mkdir(parents=True)
        path = directory / jar.file_name
        path.write_bytes(body(jar))
        return path

    return download


def test_the_lock_names_each_jar_once_with_a_sha256() -> None:
    jars = locked_jars()
    assert len({jar.file_name for jar in jars}) == len(jars) > 40
    assert all(len(jar.sha256) == 64 for jar in jars)
    assert {"kafka_2.13", "slf4j-simple"} <= {jar.artifact for jar in jars}


def test_a_broken_lock_line_is_an_error() -> None:
    with pytest.raises(ValueError, match="unpack"):
        read_lock("group:artifact 1234")


def test_missing_jars_are_downloaded_once(tmp_path: Path) -> None:
    asked: list[str] = []
    download = downloader(lambda jar: asked.append(jar.artifact) or BODY)
    for _ in range(2):
        paths = ensure_jars(jars=JARS, directory=tmp_path, download=download)
    assert [path.read_bytes() for path in paths] == [BODY] * len(JARS)
    assert sorted(asked) == sorted(jar.artifact for jar in JARS)
    assert not list(tmp_path.glob("partial-*"))


def test_a_damaged_jar_is_downloaded_again(tmp_path: Path) -> None:
    (tmp_path / JARS[3].file_name).write_bytes(b"half a j")
    paths = ensure_jars(jars=JARS, directory=tmp_path, download=downloader(lambda _: BODY))
    assert paths[3].read_bytes() == BODY


def test_a_download_that_fails_at_first_is_tried_again(tmp_path: Path) -> None:
    answers = iter([OSError("reset"), b"half", BODY])
    pauses: list[float] = []

    def body(_: Jar) -> bytes:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    ensure_jars(jars=JARS[:1], directory=tmp_path, download=downloader(body), pause=pauses.append)
    assert pauses == [1.0, 2.0]


def test_a_wrong_sha256_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    count = 0

    def body(_: Jar) -> bytes:
        nonlocal count
        count += 1
        return b"another program"

    with pytest.raises(LocalKafkaError, match=r"cannot download g:a0:1.*sha256"):
        ensure_jars(
            jars=JARS[:1], directory=tmp_path, download=downloader(body), pause=lambda _: None
        )
    assert count == ATTEMPTS
    assert [path.name for path in tmp_path.iterdir()] == ["download.lock"]


def test_what_has_arrived_is_kept_when_another_jar_fails(tmp_path: Path) -> None:
    def body(jar: Jar) -> bytes:
        if jar.artifact == "a11":
            raise OSError("no route to host")
        return BODY

    with pytest.raises(LocalKafkaError, match=r"no route to host\nCheck the network"):
        ensure_jars(jars=JARS, directory=tmp_path, download=downloader(body), pause=lambda _: None)
    assert len(list(tmp_path.glob("*.jar"))) == 11


def test_two_at_once_download_each_jar_once(tmp_path: Path) -> None:
    asked: list[str] = []
    download = downloader(lambda jar: asked.append(jar.artifact) or BODY)
    both = [
        threading.Thread(
            target=ensure_jars, kwargs={"jars": JARS, "directory": tmp_path, "download": download}
        )
        for _ in range(2)
    ]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(asked) == len(JARS)


def test_the_rest_of_a_killed_download_is_swept(tmp_path: Path) -> None:
    (tmp_path / "partial-killed").mkdir()
    ensure_jars(jars=JARS, directory=tmp_path, download=downloader(lambda _: BODY))
    assert not list(tmp_path.glob("partial-*"))


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalKafkaError, match="cannot make the directory"):
        ensure_jars(jars=JARS, directory=tmp_path / "file" / "jars")
