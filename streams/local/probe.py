"""Questions about ports and processes."""

import contextlib
import os
import random
import signal
import socket
import ssl
import struct
import subprocess
from pathlib import Path

HOST = "127.0.0.1"

_API_VERSIONS = struct.pack(">hhih", 18, 0, 1, 6) + b"hitrun"
"""ApiVersions request v0: api key, api version, correlation id, client id. Every Kafka answers."""


def port_is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port that nobody listens on.

    From 20000-32000, below the range that systems take for outgoing connections: a broker that is
    down for a moment must find its port again. Raises OSError when none is free.
    """
    for _ in range(1000):
        port = random.randrange(20000, 32000)
        if port_is_free(port):
            return port
    message = f"no free port between 20000 and 32000 on {HOST}"
    raise OSError(message)


def answers(port: int, *, tls: bool = False, timeout_s: float = 1.0) -> bool:
    """Whether a Kafka broker on the port answers requests: the moment clients can work with it.

    With `tls` no certificate is checked: nothing is sent that anybody may not see.
    """
    try:
        with contextlib.ExitStack() as stack:
            plain = socket.create_connection((HOST, port), timeout=timeout_s)
            connection: socket.socket = stack.enter_context(plain)
            if tls:
                unchecked = ssl._create_unverified_context()
                connection = stack.enter_context(unchecked.wrap_socket(plain))
            connection.sendall(struct.pack(">i", len(_API_VERSIONS)) + _API_VERSIONS)
            reply = b""
            while len(reply) < 10:
                more = connection.recv(10 - len(reply))
                if not more:
                    return False
                reply += more
    except OSError:
        return False
    _length, correlation, error = struct.unpack(">iih", reply)
    return bool(correlation == 1 and error == 0)


def command_line(pid: int) -> str:
    """The command line of a process, "" when there is none. Never signal a pid without a look."""
    try:
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    except OSError:
        pass
    if os.path.isdir("/proc/self"):  # noqa: PTH112  Linux: the process is gone
        return ""
    found = subprocess.run(  # macOS has no /proc
        ["ps", "-ww", "-o", "command=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip()


def kill(pid: int) -> None:
    """kill -9; a process that is gone already is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
