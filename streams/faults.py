"""Why a worker ends, named after what its operator does next."""

from __future__ import annotations


class HaltWorker(Exception):
    """Going on would pass something over; a restart halts again until a person acts. Exit 4."""


class RestartWorker(Exception):
    """This process can't go on, a new one can: the supervisor restarts it. Exit 1."""


class ConfigError(Exception):
    """The configuration cannot be used: mend it and start again. Exit 3. `problems` has all of
    them, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
