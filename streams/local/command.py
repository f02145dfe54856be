"""The body of `hitrun broker`: the local Kafka alone, until Ctrl-C."""

import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from streams.local.cluster import LocalKafka
from streams.local.faults import LocalKafkaError
from streams.local.paths import default_data_dir


def main(*, data: Path | None = None, port: int = 9092, nodes: int = 1) -> int:
    """Run a Kafka until SIGINT, SIGTERM or SIGHUP, print its bootstrap address on stdout.

    data: None is a directory of the user's own (XDG_STATE_HOME). Returns the exit code: 0 ended on
    demand, 1 could not start or a broker died. To be called in the main thread (it takes signals).
    """
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        if ended.is_set():
            raise KeyboardInterrupt  # the second time: at once
        ended.set()

    kafka = LocalKafka(data or default_data_dir(), port=port, nodes=nodes, say=_say)
    try:
        _say("starting Kafka ...")
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # while starting: as Ctrl-C
        signal.signal(signal.SIGHUP, signal.default_int_handler)
        with kafka:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, end)
            print(kafka.bootstrap, flush=True)
            _say(f"Kafka is ready; its data and log are in {kafka.data}. Ctrl-C ends it.")
            while not ended.wait(0.5):
                if not kafka.running():
                    dead = [node for node in kafka.nodes if node.pid is None]
                    _say(f"Kafka ended by itself:\n{dead[0].last_words()}")
                    return 1
            _say("stopping Kafka ...")
    except LocalKafkaError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        return 0 if ended.is_set() else 130
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
