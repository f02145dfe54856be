"""The wheel: what is in it, and that it works in an environment that knows nothing else."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = {"agents", "domain", "schemas", "streams"}


def call(
    *command: str | Path, cwd: Path, within_s: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a program outside of the checkout, with nothing of this environment's Python in sight."""
    env = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTHON", "HITRUN", "VIRTUAL"))
    }
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network."""
    home = tmp_path_factory.mktemp("wheel")
    built = call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", home, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    (path,) = home.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin/ of a fresh environment with the locked run-time packages and the wheel, no more."""
    home = tmp_path_factory.mktemp("clean")
    made = call(sys.executable, "-m", "venv", "venv", cwd=home)
    assert made.returncode == 0, made.stderr
    bin_dir = home / "venv" / "bin"
    pip = [bin_dir / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    locked = ["--require-hashes", "--only-binary", ":all:", "-r", ROOT / "requirements/base.txt"]
    got = call(*pip, *locked, cwd=home)
    if "NewConnectionError" in got.stderr and not os.environ.get("CI"):
        pytest.skip("no network, and a clean environment needs its packages")
    assert got.returncode == 0, got.stderr
    put = call(*pip, "--no-deps", "--no-index", wheel, cwd=home)
    assert put.returncode == 0, put.stderr
    return bin_dir


def test_the_wheel_has_the_four_rooms_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == ROOMS
    assert not [name for name in names if "__pycache__" in name or name.endswith((".log", ".env"))]


def test_the_wheel_has_the_data_files(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    here = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert not here - names
    assert "streams/local/jars.lock" in names


def test_the_wheel_carries_the_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]


def test_a_wheel_can_be_made_from_the_sdist(tmp_path: Path, wheel: Path) -> None:
    made = call(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=ROOT)
    assert made.returncode == 0, made.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (source,) = (path for path in tmp_path.iterdir() if path.is_dir())
    again = call(
        sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=source
    )
    assert again.returncode == 0, again.stderr
    names = set(zipfile.ZipFile(tmp_path / wheel.name).namelist())
    assert names == set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_it_works_in_a_clean_environment(clean: Path) -> None:
    home = clean.parents[1]
    shown = call(clean / "hitrun", "--help", cwd=home)
    assert shown.returncode == 0, shown.stderr
    assert all(word in shown.stdout for word in ("worker", "demo", "replay", "policy"))
    version = call(clean / "hitrun", "version", cwd=home)
    assert version.returncode == 0, version.stderr
    assert "0." in version.stdout
    policy = call(clean / "hitrun", "policy", "show", cwd=home)
    assert policy.returncode == 0, policy.stderr
    assert "per_customer_gap" in policy.stdout


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_without_the_local_extra_a_broker_tells_what_to_install(clean: Path) -> None:
    code = "from streams.local.java import java_program; java_program()"
    told = call(clean / "python", "-c", code, cwd=clean.parents[1])
    assert told.returncode == 1
    assert "pip install 'hitrun[local]'" in told.stderr
