"""The local Kafka itself, and the calls of tests/support on it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.local import LocalKafka, LocalKafkaError
from streams.local.probe import answers, command_line, free_port
from tests.support.kafka import Kafka, Sent
from tests.support.nodes import active_controller, coordinator_of, leader_of
from tests.support.waiting import poll


def test_records_come_back_with_keys_headers_and_times(kafka: Kafka) -> None:
    topic = kafka.unique()
    kafka.create({topic: 3})
    kafka.produce([Sent(topic, b"v", key=b"k", timestamp_ms=1234, headers=[("h", b"x")])])
    (record,) = kafka.read(topic)
    assert (record.key, record.value, record.timestamp) == (b"k", b"v", 1234)
    assert list(record.headers) == [("h", b"x")]


def test_a_read_committed_reader_sees_neither_aborted_nor_open_transactions(kafka: Kafka) -> None:
    topic = kafka.unique()
    kafka.create({topic: 1})
    kafka.produce([Sent(topic, b"1")], transactional_id=topic)
    kafka.produce([Sent(topic, b"2")], transactional_id=topic, commit=False)
    kafka.produce([Sent(topic, b"3")])
    assert [record.value for record in kafka.read(topic)] == [b"1", b"3"]
    assert [record.value for record in kafka.read(topic, committed=False)] == [b"1", b"2", b"3"]


def test_topics_are_not_made_by_themselves(kafka: Kafka) -> None:
    with pytest.raises(AssertionError, match="there is no topic"):
        kafka.read(kafka.unique())


def test_its_data_survives_a_kill_and_a_restart_on_another_port(tmp_path: Path) -> None:
    with LocalKafka(tmp_path) as local:
        kafka = Kafka(local.bootstrap)
        kafka.create({"kept": 1}, retention_ms="-1")
        kafka.produce([Sent("kept", b"1")])
        local.kill_node()
        local.start_node()
        assert [record.value for record in kafka.read("kept")] == [b"1"]
    with LocalKafka(tmp_path, port=free_port()) as local:
        assert [record.value for record in Kafka(local.bootstrap).read("kept")] == [b"1"]
        with pytest.raises(LocalKafkaError, match="another hitrun uses"):
            LocalKafka(tmp_path).start()
        taken = local.nodes[0].port
        with pytest.raises(LocalKafkaError, match=f"port {taken} is taken"):
            LocalKafka(tmp_path / "other", port=taken).start()
    with pytest.raises(LocalKafkaError, match="made with 1 nodes"):
        LocalKafka(tmp_path, nodes=3).start()


def test_a_port_that_another_start_has_just_claimed_is_taken(tmp_path: Path) -> None:
    """Kafka listens only seconds after its start: until then the port looks free."""
    port = free_port()
    starting = LocalKafka(tmp_path / "first", port=port)
    assert starting._claim(port)
    with pytest.raises(LocalKafkaError, match=f"port {port} is taken"):
        LocalKafka(tmp_path / "second", port=port).start()
    (claim,) = starting._claims
    starting.stop()
    assert not Path(claim.name).exists()
    third = LocalKafka(tmp_path / "third", port=port)
    assert third._claim(port)
    third.stop()


BROKER = """
import sys
from collections.abc import Callable
from pathlib import Path
from streams.local.command import main
sys.exit(main(data=Path(sys.argv[1]), port=int(sys.argv[2])))
"""


def broker_command(data: Path, port: int) -> list[str]:
    return [sys.executable, "-c", BROKER, str(data), str(port)]


def test_hitrun_broker_prints_its_address_and_ends_in_order(tmp_path: Path) -> None:
    port = free_port()
    pipe = subprocess.PIPE
    broker = subprocess.Popen(broker_command(tmp_path, port), stdout=pipe, stderr=pipe, text=True)
    assert broker.stdout is not None
    assert broker.stdout.readline() == f"127.0.0.1:{port}\n"
    assert answers(port)
    broker.send_signal(signal.SIGINT)
    assert broker.wait(20) == 0
    assert not answers(port)


def test_nothing_is_left_of_a_killed_hitrun_broker_and_the_next_one_starts(tmp_path: Path) -> None:
    port = free_port()
    for _ in range(2):
        broker = subprocess.Popen(
            broker_command(tmp_path, port), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert broker.stdout is not None
        assert broker.stdout.readline()
        pid = int((tmp_path / "node-1" / "pid").read_text())
        assert str(tmp_path) in command_line(pid)
        os.kill(broker.pid, signal.SIGKILL)
        broker.wait()
        broker.stdout.close()
    poll(lambda: str(tmp_path) not in command_line(pid), within_s=5)


def test_an_interrupted_start_leaves_nothing(tmp_path: Path) -> None:
    broker = subprocess.Popen(
        broker_command(tmp_path, free_port()),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    pid_file = tmp_path / "node-1" / "pid"
    poll(lambda: pid_file.exists() and pid_file.read_text(), within_s=20)
    pid = int(pid_file.read_text())
    broker.send_signal(signal.SIGINT)
    assert broker.wait(20) == 130
    assert str(tmp_path) not in command_line(pid)
    assert not pid_file.exists()


def test_a_broker_that_cannot_start_tells_why(tmp_path: Path) -> None:
    with pytest.raises(LocalKafkaError, match=r"num\.io\.threads"):
        LocalKafka(tmp_path, extra={"num.io.threads": "many"}).start()


@pytest.mark.slow
def test_of_three_nodes_the_one_that_is_meant_can_be_killed_and_comes_back(tmp_path: Path) -> None:
    with LocalKafka(tmp_path, nodes=3) as local:
        kafka = Kafka(local.bootstrap)
        kafka.create({"three": 6}, replication=3)
        kafka.produce([Sent("three", b"1", key=str(n).encode()) for n in range(20)])
        kafka.produce([Sent("three", b"t", partition=0)], transactional_id="id")
        assert coordinator_of(kafka, group="some") in (1, 2, 3)
        victim = active_controller(kafka)
        port = local.nodes[victim - 1].port
        local.kill_node(victim)
        roles: list[Callable[[], int]] = [
            lambda: active_controller(kafka),
            lambda: leader_of(kafka, "three", 0),
            lambda: coordinator_of(kafka, transactional_id="id"),
        ]
        for role in roles:
            poll(lambda role=role: role() != victim, within_s=20)  # type: ignore[misc]
        kafka.produce([Sent("three", b"2", key=str(n).encode()) for n in range(20)])
        local.start_node(victim)
        assert local.nodes[victim - 1].port == port
        assert local.running()
        assert len(kafka.read("three")) == 41
