"""streams/local: settings of a broker, ports, paths, Java."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.local.cluster import LocalKafka
from streams.local.config import Ports, broker_properties, scram, speaks_tls, write_properties
from streams.local.faults import LocalKafkaError
from streams.local.java import java_program
from streams.local.paths import cache_dir, demand_space, try_lock
from streams.local.probe import answers, free_port, port_is_free

THREE = [Ports(1, 2), Ports(3, 4), Ports(5, 6)]


def properties(ports: list[Ports], node: int = 1, **extra: str) -> dict[str, str]:
    return broker_properties(node=node, ports=ports, log_dir=Path("/d"), extra=extra)


def test_one_node_keeps_one_copy() -> None:
    made = properties(THREE[:1])
    assert made["offsets.topic.replication.factor"] == "1"
    assert made["transaction.state.log.min.isr"] == "1"
    assert made["controller.quorum.voters"] == "1@127.0.0.1:2"
    assert made["auto.create.topics.enable"] == "false"


def test_three_nodes_keep_three_copies_and_demand_two() -> None:
    made = properties(THREE, node=2)
    assert made["node.id"] == "2"
    assert made["transaction.state.log.replication.factor"] == "3"
    assert made["min.insync.replicas"] == "2"
    assert made["listeners"] == "CLIENTS://127.0.0.1:3,CONTROLLER://127.0.0.1:4"
    assert made["controller.quorum.voters"].count("@") == 3


def test_everything_listens_on_the_loopback_interface_only() -> None:
    for key in ("listeners", "advertised.listeners"):
        assert all("127.0.0.1" in part for part in properties(THREE)[key].split(","))


def test_extra_settings_win() -> None:
    assert properties(THREE, **{"min.insync.replicas": "1"})["min.insync.replicas"] == "1"


def test_a_taken_port_is_told_with_its_number(tmp_path: Path, taken_port: int) -> None:
    with pytest.raises(LocalKafkaError, match=rf"port {taken_port} is taken.*--port"):
        LocalKafka(tmp_path, port=taken_port)._choose_ports()


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_listener_that_is_no_kafka_does_not_answer(taken_port: int) -> None:
    assert not port_is_free(taken_port)
    assert not answers(taken_port, timeout_s=0.1)


def test_a_free_port_is_free_and_nobody_answers() -> None:
    port = free_port()
    assert port_is_free(port)
    assert not answers(port)


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HITRUN_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "hitrun"
    monkeypatch.setenv("HITRUN_CACHE_DIR", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"


def test_a_java_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HITRUN_JAVA", "/nowhere/java")
    with pytest.raises(LocalKafkaError, match="HITRUN_JAVA"):
        java_program()


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with pytest.raises(LocalKafkaError, match="make some room"):
        demand_space(tmp_path, mib=10**9)


def test_a_lock_is_had_by_one_at_a_time(tmp_path: Path) -> None:
    first = try_lock(tmp_path / "lock")
    assert first is not None
    assert try_lock(tmp_path / "lock") is None
    first.close()
    again = try_lock(tmp_path / "lock")
    assert again is not None
    again.close()


def test_clients_need_tls_when_their_listener_has_it() -> None:
    key = "listener.security.protocol.map"
    assert not speaks_tls(properties(THREE))
    assert speaks_tls(properties(THREE, **{key: "CONTROLLER:PLAINTEXT,CLIENTS:SASL_SSL"}))
    assert not speaks_tls(properties(THREE, **{key: "CLIENTS:SASL_PLAINTEXT,CONTROLLER:SSL"}))


def test_a_user_s_password_is_no_argument_of_the_storage_tool() -> None:
    told = scram("me", "a-password")
    assert told.startswith("SCRAM-SHA-512=[name=me,iterations=4096,salt=")
    assert "a-password" not in told
    assert told != scram("me", "a-password")  # salted


def test_settings_with_passwords_are_for_their_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "server.properties"
    write_properties(file, {"ssl.keystore.password": "s"})
    assert file.stat().st_mode & 0o077 == 0
