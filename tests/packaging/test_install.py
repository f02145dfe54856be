"""requirements/install.py: when .venv is made, left alone or made anew, and what it says."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "requirements" / "install.py"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, as if it stood in another checkout; commands are noted instead of run."""
    spec = importlib.util.spec_from_file_location("install", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "dev.txt").write_text("a==1")
    (tmp_path / "pyproject.toml").write_text("")
    venv = tmp_path / ".venv"
    module.ROOT, module.VENV, module.LOG = tmp_path, venv, venv / "install.log"
    module.PYTHON = venv / "bin" / "python"
    module.LOCKS, module.PROJECT = (tmp_path / "dev.txt",), (tmp_path / "pyproject.toml",)
    module.NEEDED_MIB = 1
    module.commands = []

    def note(command: list[str], **_: object) -> None:
        module.commands.append("venv" if "venv" in command[1:3] else command[-2])
        module.PYTHON.parent.mkdir(exist_ok=True)
        module.PYTHON.touch()

    monkeypatch.setattr(module, "_run", note)
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["install.py"])
    return module


def went(install: ModuleType) -> list[str]:
    """What the next run does."""
    install.commands.clear()
    assert install.main() == 0
    return list(install.commands)


WHOLE = ["venv", "-r", "-e"]


def test_it_is_made_once(install: ModuleType) -> None:
    assert went(install) == WHOLE
    assert went(install) == []


def test_another_lock_makes_it_anew(install: ModuleType) -> None:
    went(install)
    (install.ROOT / "dev.txt").write_text("a==2")
    assert went(install) == WHOLE


def test_another_project_file_installs_only_the_project(install: ModuleType) -> None:
    went(install)
    (install.ROOT / "pyproject.toml").write_text("[project]")
    assert went(install) == ["-e"]


def test_a_half_made_one_is_made_anew(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    note = install._run

    def interrupted(command: list[str], **options: object) -> None:
        note(command, **options)
        if "-r" in command:
            raise KeyboardInterrupt

    monkeypatch.setattr(install, "_run", interrupted)
    assert install.main() == 130
    monkeypatch.setattr(install, "_run", note)
    assert went(install) == WHOLE


def test_a_moved_checkout_is_made_anew(install: ModuleType, tmp_path: Path) -> None:
    went(install)
    install.ROOT = tmp_path / "elsewhere"
    install.ROOT.mkdir()
    assert went(install) == WHOLE


def test_a_python_without_venv_is_told_the_package(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    assert install.main() == 1
    assert "apt install python3-venv" in capsys.readouterr().err
    assert not install.VENV.exists()


def test_a_full_disk_is_told_before_anything_is_made(
    install: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    install.NEEDED_MIB = 10**9
    assert install.main() == 1
    assert "MiB of disk left" in capsys.readouterr().err
    assert not install.VENV.exists()


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("OSError: [Errno 28] No space left on device", "make room"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "the lock names"),
        ("Failed to establish a new connection", "HTTPS_PROXY"),
    ],
)
def test_a_failed_installation_says_what_to_do(install: ModuleType, said: str, hint: str) -> None:
    install.VENV.mkdir()
    install.LOG.write_text(said)
    with pytest.raises(install.InstallError, match=hint):
        install._give_up(["pip", "install"])
