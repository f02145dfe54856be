"""`hitrun redrive` in transactions of ten letters, killed (-9) at its third commit: just before it
or just after it, as DIE says."""

import os
import signal

from streams import redrive
from streams.cli import main

LETTERS, AT_COMMIT = 10, 3


class DyingProducer(redrive.AIOKafkaProducer):  # type: ignore[misc,name-defined]
    commits = 0

    async def commit_transaction(self) -> None:
        self.commits += 1
        if self.commits == AT_COMMIT and os.environ["DIE"] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        await super().commit_transaction()
        if self.commits == AT_COMMIT:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    redrive.AIOKafkaProducer = DyingProducer  # type: ignore[misc,attr-defined]
    redrive.LETTERS_A_TRANSACTION = LETTERS  # type: ignore[misc]
    main()
