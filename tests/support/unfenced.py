"""As `slow`, and with the guard off: every process has transactional ids of its own, so nobody who
takes a lane over fences its former owner. What then goes wrong shows what the guard is for."""

import os
from typing import Any

from streams import takeover
from streams.cli import main
from tests.support.slow import SlowProducer


class UnfencedProducer(SlowProducer):
    def __init__(self, *, transactional_id: str, **options: Any) -> None:
        super().__init__(transactional_id=f"{transactional_id}-{os.getpid()}", **options)


if __name__ == "__main__":
    takeover.AIOKafkaProducer = UnfencedProducer  # type: ignore[misc,attr-defined]
    main()
