"""What the lanes need to know, from settings, command line and cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from domain.policy import Policy
from schemas.topics import Topics


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """One worker's. `kafka` are aiokafka's client arguments; `end` ends the process with an
    error, `say` logs an event."""

    kafka: dict[str, Any]
    topics: Topics
    policy: Policy
    partitions: int
    cluster: str
    commit_interval_s: float
    transaction_timeout_ms: int
    upstream_delay_ms: int
    silence_ms: int
    end: Callable[[BaseException], None]
    say: Callable[..., None]
    rebuild: bool = False
    accept_dead_letters: frozenset[str] = frozenset()
    committed: frozenset[int] = frozenset()
    """Partitions for which the group had committed offsets when the worker started."""
