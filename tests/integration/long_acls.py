"""Every ACL of a worker taken away, one at a time: it must end, with a line that names it.

Not collected by default (a minute or two):  ./run test tests/integration/long_acls.py
"""

from pathlib import Path

import pytest

from schemas.topics import Topics
from streams import acls
from tests.support.secured import secured
from tests.support.stage import INPUTS, OUTPUTS, Stage
from tests.support.worker import Process

AT_ONCE = 4
ENDED_S = 60.0


@pytest.mark.timeout(900)
def test_a_worker_names_whichever_acl_it_lacks(tmp_path: Path) -> None:
    names = [f"w{number}" for number in range(len(acls.worker(Topics())))]
    with secured(tmp_path, names) as place, Stage(place.admin, tmp_path / "stage") as stage:
        stage.env |= place.settings("admin")
        stage.create_topics()
        topics = Topics(group=stage.group, **{r: stage.topic(r) for r in (*INPUTS, *OUTPUTS)})
        cases = list(zip(names, acls.worker(topics), strict=True))
        wrong: list[str] = []
        for first in range(0, len(cases), AT_ONCE):
            started: dict[str, Process] = {}
            for user, lack in cases[first : first + AT_ONCE]:
                place.allow(user, [acl for acl in acls.worker(topics) if acl != lack])
                started[user] = stage.worker(name=user, env=place.settings(user))
            for user, lack in cases[first : first + AT_ONCE]:
                wrong += judged(started[user], lack)
        assert not wrong, "\n".join(wrong)


def judged(worker: Process, lack: acls.Acl) -> list[str]:
    if lack.operation == "DescribeConfigs":  # the one that costs only a warning
        worker.wait_event("topic.doubtful", within_s=ENDED_S)
        told = [each["problem"] for each in worker.events("topic.doubtful")]
        worker.kill()
        return [] if len(told) == 1 and lack.name in told[0] else [f"{lack}: {told}"]
    code = worker.wait(within_s=ENDED_S)
    why = [each["why"] for each in worker.events("worker.failed")]
    clear = code == 3 and len(why) == 1 and lack.name in why[0] and "docs/security.md" in why[0]
    return [] if clear else [f"{lack}: exit {code}, {why}"]
