"""SIGTERM at any moment of a worker's start: it ends in order, with 0, and soon."""

import time

from tests.support.flow import create_topics
from tests.support.stage import Stage


def test_a_worker_asked_to_end_at_any_moment_of_its_start_ends_in_order(stage: Stage) -> None:
    create_topics(stage)
    for part in range(6):
        worker = stage.worker()
        worker.wait_event("worker.starting")
        time.sleep(0.25 * part)  # the start takes about 1.5 s: some moment of each of its steps
        assert worker.stop(within_s=15) == 0, worker.told("not in order")
        assert worker.events("worker.stopped")
