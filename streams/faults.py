"""Why a worker ends, named after what its operator does next."""

from __future__ import annotations

from typing import Final

RESTART: Final = 1
MISCONFIGURED: Final = 3
HALTED: Final = 4
"""A worker's exit codes besides 0; a supervisor starts it again after the first one only."""


class HaltWorker(Exception):
    """Going on would pass something over; a restart halts again until a person acts: HALTED."""


class RestartWorker(Exception):
    """This process can't go on, a new one can: the supervisor restarts it: RESTART."""


class ConfigError(Exception):
    """The configuration cannot be used: mend it and start again: MISCONFIGURED. `problems` has
    all of them, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
