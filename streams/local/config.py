"""What a local broker is told: everything small and quick, all on the loopback interface."""

import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from streams.local.probe import HOST


@dataclass(frozen=True, slots=True)
class Ports:
    """The two ports of a node: for clients, and for the controllers' quorum."""

    broker: int
    controller: int


CLIENTS = "CLIENTS"
"""Name of the listener on a node's port, for clients and between brokers. Protocols are extra
settings, such as listener.security.protocol.map=CLIENTS:SASL_SSL,CONTROLLER:SSL."""

SCRAM_ROUNDS = 4096
"""The fewest that Kafka takes; passwords here are a test's."""

INTERNAL_PARTITIONS = 8
"""Of the offsets and the transaction topic; Kafka's default of 50 makes the first use slow."""


def broker_properties(
    *, node: int, ports: Sequence[Ports], log_dir: Path, extra: Mapping[str, str]
) -> dict[str, str]:
    """Return server.properties of one node (numbered from 1) of a combined KRaft cluster."""
    own = ports[node - 1]
    replication = min(3, len(ports))
    in_sync = 2 if replication == 3 else 1
    voters = ",".join(f"{n}@{HOST}:{p.controller}" for n, p in enumerate(ports, start=1))
    properties = {
        "process.roles": "broker,controller",
        "node.id": str(node),
        "controller.quorum.voters": voters,
        "listeners": f"{CLIENTS}://{HOST}:{own.broker},CONTROLLER://{HOST}:{own.controller}",
        "advertised.listeners": f"{CLIENTS}://{HOST}:{own.broker}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": CLIENTS,
        "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,{CLIENTS}:PLAINTEXT",
        "log.dirs": str(log_dir),
        "auto.create.topics.enable": "false",
        "default.replication.factor": str(replication),
        "min.insync.replicas": str(in_sync),
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        # An upstream that died with its transaction open holds readers back for its timeout plus
        # this interval (default 10 s).
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
        "log.cleaner.dedupe.buffer.size": str(32 * 1024 * 1024),  # default: a quarter of our heap
        "num.network.threads": "2",
        "num.io.threads": "4",
        "num.recovery.threads.per.data.dir": "2",
    }
    for topic in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
        properties[f"{topic}.num.partitions"] = str(INTERNAL_PARTITIONS)
        properties[f"{topic}.replication.factor"] = str(replication)
    properties["transaction.state.log.min.isr"] = str(in_sync)
    properties["share.coordinator.state.topic.min.isr"] = str(in_sync)
    # A killed node is noticed after 3 s instead of 9: of three, its partitions move in 3-6 s; one
    # alone may register again that much sooner.
    properties["broker.session.timeout.ms"] = "3000"
    properties["broker.heartbeat.interval.ms"] = "400"
    properties.update(extra)
    return properties


def speaks_tls(properties: Mapping[str, str]) -> bool:
    """Whether clients of these brokers need TLS."""
    protocols = properties["listener.security.protocol.map"].split(",")
    return any(each.startswith(f"{CLIENTS}:") and each.endswith("SSL") for each in protocols)


def scram(user: str, password: str) -> str:
    """What the storage tool is told of a user: salted, because arguments can be seen by others."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, SCRAM_ROUNDS)
    fields = {
        "name": user,
        "iterations": str(SCRAM_ROUNDS),
        "salt": f'"{base64.b64encode(salt).decode()}"',
        "saltedpassword": f'"{base64.b64encode(salted).decode()}"',
    }
    return f"SCRAM-SHA-512=[{','.join(f'{key}={value}' for key, value in fields.items())}]"


def write_properties(path: Path, properties: Mapping[str, str]) -> None:
    """Write a Java properties file; back-slashes of a path are doubled."""
    lines = (f"{key}={value}\n" for key, value in properties.items())
    path.touch(mode=0o600)  # extra settings may hold passwords
    path.write_text("".join(lines).replace("\\", "\\\\"))


def java_options(*, heap_mib: int, quick_start: bool, tmp: Path) -> list[str]:
    """Return the JVM's options.

    `quick_start` starts in seconds but never compiles to the full speed: off for benchmarks.
    """
    options = [
        f"-Xmx{heap_mib}m",
        f"-Djava.io.tmpdir={tmp}",  # the compression libraries unpack themselves there
        "-XX:-UsePerfData",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        # It warns 20 times a second while a node of the quorum is down or the broker still starts.
        "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients.NetworkClient=error",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    ]
    if quick_start:
        options += ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    return options
