"""`hitrun`, but a transaction stays between its judging and its begin for a while: a freeze or a
kill then nearly always finds one that is decided and not written."""

import asyncio

from streams import takeover
from streams.cli import main

PAUSE_S = 0.4


class SlowProducer(takeover.AIOKafkaProducer):  # type: ignore[misc,name-defined]
    async def begin_transaction(self) -> None:
        await asyncio.sleep(PAUSE_S)
        await super().begin_transaction()


if __name__ == "__main__":
    takeover.AIOKafkaProducer = SlowProducer  # type: ignore[misc,attr-defined]
    main()
