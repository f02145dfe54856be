"""A test's own place on the shared Kafka: topic names, group, settings, workers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.kafka import Kafka
from tests.support.worker import Process

INPUTS = ("checkout", "payment", "order", "command")
OUTPUTS = ("verdict", "reminder", "customer")


class Stage:
    """Names of one test; whatever it started is killed when the block ends.

    with Stage(kafka, tmp_path, partitions=4) as stage:
        stage.create_topics()
        worker = stage.worker().wait_ready()
    """

    def __init__(
        self,
        kafka: Kafka,
        home: Path,
        *,
        partitions: int = 4,
        policy: str | None = None,
        **settings: str | int,
    ) -> None:
        """policy: text of a policy file. settings: HITRUN_ names in lower case, e.g.
        upstream_delay_ms=200; they win over those chosen here."""
        self.kafka = kafka
        self.home = home
        self.prefix = kafka.unique()
        self.group = f"{self.prefix}-group"
        self.env = {
            "HITRUN_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
            "HITRUN_GROUP": self.group,
            "HITRUN_HTTP_PORT": "0",
            "HITRUN_TOPIC_PARTITIONS": str(partitions),
            "HITRUN_TOPIC_REPLICATION": "1",
        }
        for role in (*INPUTS, *OUTPUTS):
            self.env[f"HITRUN_TOPIC_{role.upper()}"] = self.topic(role)
        if policy is not None:
            home.mkdir(parents=True, exist_ok=True)
            file = home / "policy.toml"
            file.write_text(policy)
            self.env["HITRUN_POLICY_FILE"] = str(file)
        self.set(**settings)
        self.processes: list[Process] = []

    def topic(self, role: str) -> str:
        """The name of "checkout", "payment", ..., "verdict", ... in this test."""
        return f"{self.prefix}.{role}"

    def dead_letters_of(self, role: str) -> str:
        return f"{self.topic(role)}.dlq"

    @property
    def changelog(self) -> str:
        return f"{self.group}-customers-changelog"

    def set(self, **settings: str | int) -> None:
        """Change settings for what is started from now on."""
        self.env |= {f"HITRUN_{name.upper()}": str(value) for name, value in settings.items()}

    def create_topics(self) -> None:
        """`hitrun topics create`; AssertionError with what it said unless it went well."""
        code, _, err = self.hitrun("topics", "create")
        assert code == 0, err

    def worker(
        self,
        *arguments: str,
        name: str = "",
        program: Sequence[str] = ("-m", "streams.cli"),
        env: Mapping[str, str] | None = None,
    ) -> Process:
        """Start `hitrun worker`; does not wait for it."""
        return self.start("worker", *arguments, name=name, program=program, env=env)

    def hitrun(self, *arguments: str, within_s: float = 60.0) -> tuple[int, str, str]:
        """Run a command to its end: exit code, stdout, stderr."""
        process = self.start(*arguments)
        return process.wait(within_s=within_s), process.stdout(), process.stderr()

    def start(
        self,
        *arguments: str,
        name: str = "",
        program: Sequence[str] = ("-m", "streams.cli"),
        env: Mapping[str, str] | None = None,
    ) -> Process:
        """Start a command; does not wait for it."""
        process = Process(
            *arguments,
            home=self.home,
            env=self.env | dict(env or {}),
            name=name or f"{len(self.processes) + 1}-{arguments[0]}",
            program=program,
        )
        self.processes.append(process)
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self.processes:
            with process:
                pass
