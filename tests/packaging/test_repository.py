"""What the tracked files must not say: where packages come from, and whose machine this was."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# In pieces, or this file would be the first to be found.
REGISTRIES = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "repo1.ma" + "ven",
    "ma" + "ven.org",
    "ma" + "ven.apache.org",
    "npm" + "js.org",
    "docker" + ".io",
    "gh" + "cr.io",
    "qu" + "ay.io",
    "gcr" + ".io",
    "golang" + ".org",
    "crates" + ".io",
]
MACHINE_PATHS = re.compile(r"(?<![\w.~$}/-])/(?:home|Users|root|work|mnt|srv)/[\w.-]+")
LOCKS = ["requirements/dev.txt", "requirements/base.txt"]


def tracked() -> list[Path]:
    """The files of the repository; without git (an unpacked archive) there is nothing to ask."""
    found = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if found.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in found.stdout.split("\0") if name and (ROOT / name).is_file()]


def texts() -> list[tuple[str, str]]:
    return [(str(path.relative_to(ROOT)), path.read_text(errors="replace")) for path in tracked()]


def test_no_file_names_a_package_registry() -> None:
    found = [f"{name}: {host}" for name, text in texts() for host in REGISTRIES if host in text]
    assert not found


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    found = [f"{name}: {hit}" for name, text in texts() for hit in MACHINE_PATHS.findall(text)]
    assert not found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_a_version_and_hashes_and_no_host(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    entries = [entry for entry in re.split(r"\n(?=\w)", text) if entry.strip()]
    assert len(entries) > 20
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert [entry.split()[0] for entry in entries if "==" not in entry.split()[0]] == []


def pins(lock: str) -> dict[str, str]:
    lines = re.findall(r"^([\w.-]+)(?:\[\w+\])?==(\S+)", (ROOT / lock).read_text(), re.MULTILINE)
    return dict(lines)


def test_the_two_locks_agree() -> None:
    dev, base = pins("requirements/dev.txt"), pins("requirements/base.txt")
    assert base.items() <= dev.items()


def test_the_locks_have_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    local = project["project"]["optional-dependencies"]["local"]
    direct = project["project"]["dependencies"]
    groups = project["dependency-groups"]["dev"]
    for lock, wanted in (("base", direct), ("dev", [*direct, *local, *groups])):
        have = pins(f"requirements/{lock}.txt")
        for requirement in wanted:
            name = re.split(r"[\[<>=~! ;]", requirement)[0].lower()
            assert name in have, f"{requirement} is not in {lock}.txt: ./run lock"
            if exact := re.search(r"==(\S+)", requirement):
                assert have[name] == exact[1]
