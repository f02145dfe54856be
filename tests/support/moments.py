"""`hitrun`, but a chosen moment can be met: the file named by MOMENT says "kill commit" or
"freeze half", and the worker does that to itself when it gets there, once.

The moments, in their order: `fenced` (a lane's producer is started, nothing is read yet),
`restored` (read, the gate still closed), `opened` (the first turn of a lane it owns), `begin`
(judged, nothing sent), `half` (one batch of the transaction sent, others not), `verdict` (just
before a verdict is sent), `commit` (everything acknowledged, not committed), `committed` (the
broker knows, nobody else does), `revoked` (a rebalance begins).

STEP_S makes each step of a transaction take so long.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streams import lanes, takeover
from streams.cli import main

MOMENTS = (
    "fenced",
    "restored",
    "opened",
    "begin",
    "half",
    "verdict",
    "commit",
    "committed",
    "revoked",
)
_FILE = Path(os.environ.get("MOMENT", "/dev/null/none"))
_STEP_S = float(os.environ.get("STEP_S", "0"))


def reach(moment: str) -> None:
    """Does what the file says if it names this moment."""
    try:
        action, wanted = _FILE.read_text().split()
    except (OSError, ValueError):
        return
    if wanted == moment:
        _FILE.unlink()
        os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)


class Producer(takeover.AIOKafkaProducer):  # type: ignore[misc,name-defined]
    """Passes the moments of a transaction."""

    _sent = 0

    async def start(self) -> None:
        await super().start()
        reach("fenced")

    async def begin_transaction(self) -> None:
        reach("begin")
        await asyncio.sleep(_STEP_S)
        self._sent = 0
        await super().begin_transaction()

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> Any:
        if self._sent == 1:
            reach("half")
        if "verdict" in topic:
            reach("verdict")
        self._sent += 1
        return await super().send_batch(batch, topic, partition=partition)

    async def commit_transaction(self) -> None:
        await asyncio.sleep(_STEP_S)
        reach("commit")
        await super().commit_transaction()
        reach("committed")


class Lane(takeover.Lane):  # type: ignore[misc,name-defined]
    """Passes the moments of ownership."""

    def check_letters(self) -> None:
        if not self.open and self.commits == 0:
            reach("restored")
        super().check_letters()

    async def turn(self) -> None:
        if self.commits == 0:
            reach("opened")
        await super().turn()


class Lanes(lanes.Lanes):
    """Passes the moment of a rebalance."""

    def on_partitions_revoked(self, revoked: Any) -> None:
        reach("revoked")
        super().on_partitions_revoked(revoked)


def install() -> None:
    """Puts all of it in its place."""
    from streams import app

    takeover.AIOKafkaProducer = Producer  # type: ignore[misc,attr-defined]
    takeover.Lane = Lane  # type: ignore[misc,attr-defined]
    app.Lanes = Lanes  # type: ignore[misc,attr-defined]


def run(arguments: Sequence[str] = ()) -> None:
    """The command line, with the moments in."""
    install()
    sys.argv[1:] = list(arguments or sys.argv[1:])
    main()


if __name__ == "__main__":
    run()
