"""Why a worker ends, named after what its operator does next."""

from __future__ import annotations


class HaltWorker(Exception):
    """Going on would pass something over; a restart halts again until a person acts. Exit 4."""


class RestartWorker(Exception):
    """This process can't go on, a new one can: the supervisor restarts it. Exit 1."""
