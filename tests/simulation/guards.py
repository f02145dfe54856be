"""The guards, each taken away by a patch: the simulation must then find something.

What finds it is named by the kind of the violation (see world.Violation).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

from aiokafka import TopicPartition

from domain.frontier import Frontier
from domain.ledger import Ledger
from streams.lane import Lane
from tests.simulation import kafka, world
from tests.simulation.checks import Violation
from tests.simulation.plan import Plan
from tests.simulation.plans import plan_of
from tests.simulation.worker import TOPICS, SimLane, SimLanes
from tests.simulation.world import play


class OlderPosition(SimLane):
    """Reads a few records again that its state already has."""

    def __init__(self, partition: int, **kwargs: Any) -> None:
        super().__init__(partition, **kwargs)
        self.next = {stream: max(0, offset - 3) for stream, offset in self.next.items()}


class LateProducer(kafka.Producer):
    """Fences the former owner only when it writes for the first time."""

    async def start(self) -> None:
        """Later."""

    async def begin_transaction(self) -> None:
        if self._epoch == 0:
            await super().start()
        await super().begin_transaction()


class KeepsLanes(SimLanes):
    """Keeps its lanes whatever generations it missed."""

    async def _take_over(self, partitions: set[int], generation: int) -> None:
        self.generation = generation - 1
        await super()._take_over(partitions, generation)


def _patched(
    place: Any, name: str, value: Any
) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    return lambda: mock.patch.object(place, name, value)


def _stable_ends(of: Callable[[str], bool]) -> Any:
    """end_offsets that tell the last stable offset of some topics."""
    real = kafka.Consumer.end_offsets

    async def end_offsets(
        self: kafka.Consumer, tps: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        ends = await real(self, tps)
        cluster = self._host.cluster
        return {
            tp: cluster.log(tp.topic, tp.partition).stable if of(tp.topic) else end
            for tp, end in ends.items()
        }

    return end_offsets


def _raises(*_: Any, **__: Any) -> Any:
    """In place of the search for the record that is to blame."""
    raise RuntimeError("a fault of ours, and nobody looks for the record that is to blame")


WITHOUT: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
    "fencing": contextlib.nullcontext,
    "generation rule": contextlib.nullcontext,
    "high watermark when restoring": _patched(
        kafka.Consumer, "end_offsets", _stable_ends(lambda topic: topic == TOPICS.changelog)
    ),
    "high watermark of the inputs": _patched(
        kafka.Consumer, "end_offsets", _stable_ends(lambda topic: topic != TOPICS.changelog)
    ),
    "init before read": _patched(world, "Producer", LateProducer),
    "reading to the end": _patched(Lane, "_passed", lambda *_: True),
    "staleness hold": _patched(Frontier, "_hold", lambda *_: None),
    "clock hold": _patched(Frontier, "note_clock", lambda *_, **__: None),
    "position": _patched(world, "SimLane", OlderPosition),
    "record isolation": _patched(Ledger, "_isolate", _raises),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "fencing": {"fencing": False},
    "generation rule": {"make_lanes": KeepsLanes},
}


@contextlib.contextmanager
def off(guard: str) -> Iterator[dict[str, Any]]:
    """Without this guard; yields the options to play a plan with."""
    with WITHOUT[guard]():
        yield OPTIONS.get(guard, {})


def found(plan: Plan, *, without: str | None = None, watching: bool = True) -> str | None:
    """The kind of violation this plan leads to. `watching`: see World."""
    with contextlib.ExitStack() as stack:
        options = stack.enter_context(off(without)) if without else {}
        try:
            play(plan, watching=watching, **options)
        except Violation as violation:
            return violation.kind
    return None


def finds(guard: str, kinds: Sequence[str], *, seeds: range, watching: bool = True) -> int | None:
    """The first seed whose plan leads to a violation of such a kind without the guard, and to none
    with it."""
    for seed in seeds:
        plan = plan_of(seed)
        kind = found(plan, without=guard, watching=watching)
        if kind in kinds and found(plan, watching=watching) is None:
            return seed
    return None
