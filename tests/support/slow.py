"""`hitrun`, but a transaction stays between its judging and its begin for a while: a kill then
nearly always finds one that is decided and not written. And when the file named by FREEZE_AT
exists, the worker takes it away and freezes itself (SIGSTOP) just before it sends a verdict: the
worst moment there is, met every time."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from streams import takeover
from streams.cli import main

PAUSE_S = 0.4


def freeze_if_told() -> None:
    flag = Path(os.environ.get("FREEZE_AT", "/dev/null/none"))
    if flag.exists():
        flag.unlink()
        os.kill(os.getpid(), signal.SIGSTOP)


class SlowProducer(takeover.AIOKafkaProducer):  # type: ignore[misc,name-defined]
    async def begin_transaction(self) -> None:
        await asyncio.sleep(PAUSE_S)
        await super().begin_transaction()

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> Any:
        if topic.endswith(".verdict"):
            freeze_if_told()
        return await super().send_batch(batch, topic, partition=partition)


if __name__ == "__main__":
    takeover.AIOKafkaProducer = SlowProducer  # type: ignore[misc,attr-defined]
    main()
