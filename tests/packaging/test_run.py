"""./run from the outside, with stand-ins for what would take long."""

import os
import subprocess
from pathlib import Path

import pytest
import typer

from streams.cli import app

ROOT = Path(__file__).parents[2]
PROGRAMS = ("sh", "dirname", "cat", "cut")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A directory of programs without any Python, to be the PATH."""
    place = tmp_path / "bin"
    place.mkdir()
    for name in PROGRAMS:
        for base in ("/usr/bin", "/bin"):
            if (Path(base) / name).exists() and not (place / name).exists():
                (place / name).symlink_to(Path(base) / name)
    return place


def run(*arguments: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "run"), *arguments],
        env={"PATH": str(path), "HOME": str(path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def stand_in(bare: Path, name: str, script: str) -> None:
    program = bare / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_run_alone_lists_what_it_can_do_without_any_python(bare: Path) -> None:
    shown = run(path=bare)
    assert shown.returncode == 0
    words = ("demo", "test", "lint", "bench", "faults", "worker", "broker", "replay")
    assert all(f"./run {word}" in shown.stdout for word in words)


def test_no_python_is_told(bare: Path) -> None:
    told = run("demo", path=bare)
    assert told.returncode == 1
    assert "apt install python3 python3-venv" in told.stderr


def test_a_python_that_is_too_old_is_told_with_its_version(bare: Path) -> None:
    stand_in(bare, "python3", 'case "$1" in -V) echo "Python 3.9.2";; *) exit 1;; esac')
    told = run("demo", path=bare)
    assert told.returncode == 1
    assert "3.11 or later is needed, and python3 is 3.9.2" in told.stderr


def test_a_newer_python_beside_an_old_one_is_taken(bare: Path) -> None:
    stand_in(bare, "python3", "exit 1")
    stand_in(bare, "python3.12", 'case "$*" in *install.py*) echo "taken: $*";; esac')
    taken = run("test", "-k", "one two", path=bare)
    assert taken.returncode == 0
    assert taken.stdout == "taken: -I requirements/install.py ./run test -k one two\n"


def test_an_unknown_command_is_told_before_anything_is_made(bare: Path) -> None:
    told = run("nonsense", path=bare)
    assert (told.returncode, told.stdout) == (2, "")
    assert "there is no command nonsense" in told.stderr
    assert "./run demo" in told.stderr


def words() -> list[str]:
    return [*typer.main.get_group(app).commands, "faults"]


@pytest.mark.parametrize("command", words())
def test_every_command_of_hitrun_is_one_of_run(bare: Path, command: str) -> None:
    stand_in(bare, "python3", 'case "$*" in *install.py*) echo "taken: $*";; esac')
    assert run(command, path=bare).stdout.endswith(f" ./run {command}\n")


def test_the_scripts_are_executable_and_posix() -> None:
    for script in (ROOT / "run", ROOT / ".ci" / "run"):
        assert os.access(script, os.X_OK)
        assert subprocess.run(["/bin/sh", "-n", str(script)], check=False).returncode == 0
