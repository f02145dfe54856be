"""LocalKafka: one or three brokers on this machine, for as long as a process needs them."""

import base64
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from streams.local.config import (
    Ports,
    broker_properties,
    java_options,
    scram,
    speaks_tls,
    write_properties,
)
from streams.local.faults import LocalKafkaError
from streams.local.jars import ensure_jars
from streams.local.java import java_program
from streams.local.node import Files, Node
from streams.local.paths import LOCK_NAME, demand_space, make_dir, try_lock
from streams.local.probe import HOST, free_port, port_is_free

READY_S = 90.0
"""One node is ready in 2-5 s, three in 7-16 s; a loaded machine takes longer."""

NEEDED_MIB = 500
"""Disk that a demo or a test run uses at most."""

TEMPORARY = "hitrun-kafka-"
YOUNG_S = 60.0
"""A directory that was just made may not be locked yet."""


class LocalKafka:
    """A Kafka of this process: it ends with it, even by kill -9; its data stays if `data` is given.

    ```python
    with LocalKafka() as kafka:
        print(kafka.bootstrap)
    ```
    """

    def __init__(
        self,
        data: Path | None = None,
        *,
        port: int = 0,
        nodes: int = 1,
        heap_mib: int = 512,
        quick_start: bool = True,
        extra: Mapping[str, str] | None = None,
        users: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Describe a cluster; nothing happens before `start` or `with`.

        data: directory of topics and logs, made if missing; None is a temporary one.
        port: of the first node, the others have the next ones; 0 means free ports.
        quick_start: False for benchmarks (see config.java_options).
        extra: broker settings beyond, or instead of, those of config.py; clients may need TLS then.
        users: name -> password, for SCRAM-SHA-512; known from the first start of the data on.
        say: gets short lines about what takes long.
        """
        self._given = data
        self._first_port = port
        self._count = nodes
        self._heap_mib = heap_mib
        self._quick_start = quick_start
        self._extra = dict(extra or {})
        self._users = dict(users or {})
        self._say = say
        self._lock: IO[str] | None = None
        self._claims: list[IO[str]] = []
        self.data = Path() if data is None else data.absolute()
        self.nodes: list[Node] = []

    @property
    def bootstrap(self) -> str:
        """What clients connect to: host:port of every node, with commas."""
        return ",".join(f"{HOST}:{node.port}" for node in self.nodes)

    def start(self) -> Self:
        """Start all nodes and return when they answer. Raises LocalKafkaError in words.

        When it raises, or is interrupted, nothing is left running.
        """
        if self._lock is not None:
            return self
        jars = ensure_jars(say=self._say)
        try:
            self._occupy()
            self._prepare(jars)
            for node in self.nodes:
                node.launch()
            deadline = time.monotonic() + READY_S
            for node in self.nodes:
                node.wait_ready(deadline=deadline)
        except BaseException:  # Ctrl-C too
            self.stop(kill=True)
            raise
        return self

    def stop(self, *, kill: bool = False) -> None:
        """Stop all nodes (with `kill` at once) and let the data directory go. Can be repeated."""
        # All at the same time: the last of three controllers would wait for its quorum in vain.
        for node in self.nodes:
            node.signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            for node in self.nodes:
                node.wait()
        finally:  # an impatient second Ctrl-C
            for node in self.nodes:
                node.signal(signal.SIGKILL)
                node.wait()
            if self._given is None and self._lock is not None:
                shutil.rmtree(self.data, ignore_errors=True)
            for claim in self._claims:
                Path(claim.name).unlink(missing_ok=True)
            for held in (self._lock, *self._claims):
                if held is not None:
                    held.close()
            self._lock, self._claims = None, []

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Nobody will read temporary data again: no need to close its logs in order.
        self.stop(kill=self._given is None)

    def kill_node(self, number: int = 1) -> None:
        """kill -9 of one node (numbered from 1), as a power cut would."""
        node = self.nodes[number - 1]
        node.signal(signal.SIGKILL)
        node.wait()

    def stop_node(self, number: int = 1) -> None:
        """Stop one node in order, as a rolling upgrade would."""
        node = self.nodes[number - 1]
        node.signal(signal.SIGTERM)
        node.wait()

    def start_node(self, number: int = 1) -> None:
        """Start a node again, with its data and on its port; returns when it answers."""
        node = self.nodes[number - 1]
        node.launch()
        node.wait_ready(deadline=time.monotonic() + READY_S)

    def freeze_node(self, number: int = 1) -> None:
        """SIGSTOP: the node keeps its connections and answers nothing until `thaw_node`."""
        self.nodes[number - 1].signal(signal.SIGSTOP)

    def thaw_node(self, number: int = 1) -> None:
        """SIGCONT after `freeze_node`."""
        self.nodes[number - 1].signal(signal.SIGCONT)

    def running(self) -> bool:
        """Whether every node's process is alive."""
        return bool(self.nodes) and all(node.pid is not None for node in self.nodes)

    def _occupy(self) -> None:
        """Make and lock the data directory: two brokers on one directory would destroy it."""
        if self._given is None:
            _sweep_temporary()
            self.data = Path(tempfile.mkdtemp(prefix=TEMPORARY))
        make_dir(self.data)
        demand_space(self.data, mib=NEEDED_MIB)
        self._lock = try_lock(self.data / LOCK_NAME)
        if self._lock is None:
            message = (
                f"another hitrun uses {self.data} at this moment; stop it (Ctrl-C where it runs) "
                "or choose another directory"
            )
            raise LocalKafkaError(message)

    def _prepare(self, jars: list[Path]) -> None:
        """Write every node's settings and, the first time, its empty storage."""
        count_file = self.data / "nodes"
        if count_file.exists() and count_file.read_text().strip() != str(self._count):
            before = count_file.read_text().strip()
            message = f"{self.data} was made with {before} nodes: start it with --nodes {before}"
            raise LocalKafkaError(message)
        java = java_program()
        class_path = ":".join(str(jar) for jar in jars)
        ports = self._choose_ports()
        self.nodes = []
        formats: list[tuple[Node, subprocess.Popen[bytes]]] = []
        for number in range(1, self._count + 1):
            home = self.data / f"node-{number}"
            make_dir(home / "tmp")
            options = java_options(
                heap_mib=self._heap_mib, quick_start=self._quick_start, tmp=home / "tmp"
            )
            command = [str(java), *options, "-cp", class_path]
            properties = home / "server.properties"
            main = [*command, "kafka.Kafka", str(properties)]
            settings = broker_properties(
                node=number, ports=ports, log_dir=Files(home).log_dir, extra=self._extra
            )
            port, tls = ports[number - 1].broker, speaks_tls(settings)
            node = Node(number=number, port=port, home=home, java=main, tls=tls)
            node.end_orphan()
            write_properties(properties, settings)
            self.nodes.append(node)
            if not (node.files.log_dir / "meta.properties").exists():
                formats.append((node, self._format(node, command)))
        for node, process in formats:
            if process.wait() != 0:
                message = f"Kafka cannot write its storage:\n{node.last_words()}"
                raise LocalKafkaError(message)
        count_file.write_text(f"{self._count}\n")

    def _claim(self, port: int) -> bool:
        """Whether no other start of this user has it: Kafka listens only seconds later."""
        name = f"hitrun-{os.getuid()}-port-{port}.lock"
        claim = try_lock(Path(tempfile.gettempdir()) / name)
        if claim is not None:
            self._claims.append(claim)
        return claim is not None

    def _format(self, node: Node, command: list[str]) -> subprocess.Popen[bytes]:
        tool = ["kafka.tools.StorageTool", "format", "-g", "-t", self._cluster_id()]
        for name, password in self._users.items():
            tool += ["-S", scram(name, password)]
        with node.files.log.open("ab") as log:
            return subprocess.Popen(
                [*command, *tool, "-c", str(node.files.properties)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _cluster_id(self) -> str:
        path = self.data / "cluster.id"
        if not path.exists():
            made = "-"
            while made.startswith("-"):  # the storage tool would take it for an option
                made = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            path.write_text(f"{made}\n")
        return path.read_text().strip()

    def _choose_ports(self) -> list[Ports]:
        taken: set[int] = set()
        chosen = []
        for index in range(self._count):
            port = self._first_port + index if self._first_port else _another_port(taken)
            if self._first_port and not (self._claim(port) and port_is_free(port)):
                message = (
                    f"port {port} is taken, perhaps by another Kafka: stop that one, or choose "
                    "another port with --port (0 is any free one)"
                )
                raise LocalKafkaError(message)
            taken.add(port)
            chosen.append(port)
        return [Ports(broker=port, controller=_another_port(taken)) for port in chosen]


def _another_port(taken: set[int]) -> int:
    while (port := free_port()) in taken:
        pass
    taken.add(port)
    return port


def _sweep_temporary() -> None:
    """Remove the temporary directories of killed runs: those whose lock nobody holds."""
    for old in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*/{LOCK_NAME}"):
        try:
            if time.time() - old.stat().st_mtime < YOUNG_S:
                continue
            lock = try_lock(old)
        except OSError:  # another user's
            continue
        if lock is not None:
            with lock:
                shutil.rmtree(old.parent, ignore_errors=True)
