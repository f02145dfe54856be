"""A step of ./run: have Kafka's jars ready, then become the command of the arguments."""

import os
import sys

from streams.local.faults import LocalKafkaError
from streams.local.jars import ensure_jars


def main() -> int:
    """Return the exit code, unless there is a command to become."""
    try:
        ensure_jars(say=_say)
    except LocalKafkaError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        _say("interrupted; the next ./run goes on with what has arrived")
        os._exit(130)  # not waiting for downloads under way: nothing of theirs counts
    if command := sys.argv[1:]:
        os.execv(command[0], command)
    return 0


def _say(line: str) -> None:
    print(f"run: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
