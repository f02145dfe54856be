"""`hitrun`, but a process that rebuilds ends (as by kill -9) as soon as the first lane's former
state is gone and its first position is written."""

import os
from collections.abc import Sequence

from streams import takeover
from streams.cli import main


class Halfway(takeover.Lane):  # type: ignore[misc,name-defined]
    async def empty(self, keys: Sequence[bytes]) -> None:
        await super().empty(keys)
        os._exit(9)


if __name__ == "__main__":
    takeover.Lane = Halfway  # type: ignore[misc,attr-defined]
    main()
