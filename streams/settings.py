"""Where a worker runs: `HITRUN_*` environment variables, or `.env` beside it for development.

What is decided about customers is no setting but policy (`domain/policy.py`).
"""

from __future__ import annotations

import difflib
import os
import ssl
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NotRequired, TypedDict, TypeVar

from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.policy import DEFAULT_POLICY, Policy, PolicyError, parse_policy, policy_toml
from schemas.topics import Topics
from streams.faults import ConfigError
from streams.tls import EndsAtOnce

__all__ = [
    "ConfigError",
    "KafkaOptions",
    "Settings",
    "kafka_client_options",
    "load_settings",
    "policy_in_words",
    "read_policy",
    "unknown_variables",
]

T = TypeVar("T")

PREFIX: Final = "HITRUN_"
ENV_FILE: Final = Path(".env")

FOREIGN: Final = frozenset({"HITRUN_CACHE_DIR", "HITRUN_JAVA", "HITRUN_PROPERTY_EXAMPLES"})
"""Variables of other parts (the local Kafka, the tests): known, but no settings."""

Capitals = BeforeValidator(lambda said: said.upper() if isinstance(said, str) else said)
Small = BeforeValidator(lambda said: said.lower() if isinstance(said, str) else said)
Milliseconds = Annotated[int, Field(ge=0, le=366 * 86_400_000)]
Mechanism = Annotated[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], Capitals]
Protocol = Annotated[Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], Capitals]


class KafkaOptions(TypedDict):
    """What every aiokafka client is made with: `AIOKafkaConsumer(**kafka_client_options(s))`."""

    bootstrap_servers: str
    security_protocol: str
    ssl_context: NotRequired[ssl.SSLContext]
    sasl_mechanism: NotRequired[str]
    sasl_plain_username: NotRequired[str]
    sasl_plain_password: NotRequired[str]


class Settings(BaseSettings):
    """Read by `load_settings`, which explains what is wrong; the fields' names in capital letters
    after HITRUN_ are the variables."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True
    )

    kafka_bootstrap_servers: str = "localhost:9092"
    kafka_security_protocol: Protocol = "PLAINTEXT"
    kafka_sasl_mechanism: Mechanism = "SCRAM-SHA-512"
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_sasl_password_file: Path | None = None
    """Instead of the password itself; read anew by each client, so that it can be rotated."""
    kafka_tls_ca_file: Path | None = None
    """Of those who signed the brokers' certificates; none: the system's."""
    kafka_tls_cert_file: Path | None = None
    kafka_tls_key_file: Path | None = None
    kafka_tls_key_password_file: Path | None = None
    kafka_wait_ms: Annotated[int, Field(ge=0, le=86_400_000)] = 120_000
    """How long to wait, at the start, for a Kafka that does not answer."""

    group: str = "hitrun"
    group_instance_id: str | None = None
    shadow: bool = False
    """A second worker beside the real one: see `group_id`."""

    policy_file: Path | None = None
    erasure_key_file: Path | None = None

    commit_interval_ms: Annotated[int, Field(ge=10, le=10_000)] = 250
    session_timeout_ms: Annotated[int, Field(ge=1_000, le=300_000)] = 10_000
    upstream_delay_ms: Milliseconds = 5_000
    """A fact appended up to this long after `verdict_at` still prevents the verdict."""
    input_silence_ms: Milliseconds = 900_000
    """Payments silent for so long are presumed down; 0: never."""

    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Field(ge=0, le=65_535)] = 6066
    """0: a free one, told in the log."""

    topic_checkout: str = "marketplace.checkout.v1"
    topic_payment: str = "marketplace.payment.v1"
    topic_order: str = "marketplace.order.v1"
    topic_command: str = "hitrun.command.v1"
    topic_verdict: str = "hitrun.verdict.v1"
    topic_reminder: str = "hitrun.reminder.v1"
    topic_customer: str = "hitrun.customer.v1"
    topic_partitions: Annotated[int, Field(ge=1, le=10_000)] = 12
    topic_replication: Annotated[int, Field(ge=1, le=100)] | None = None
    """None: 3, or the number of brokers if there are fewer."""

    log_level: Annotated[Literal["debug", "info", "warning", "error"], Small] = "info"

    @property
    def group_id(self) -> str:
        """The consumer group; changelog and transactional ids are named after it. A shadow has
        its own."""
        return f"{self.group}-shadow" if self.shadow else self.group

    @cached_property
    def topics(self) -> Topics:
        """The topics' names in force."""
        return Topics(
            checkout=self.topic_checkout,
            payment=self.topic_payment,
            order=self.topic_order,
            command=self.topic_command,
            verdict=self.topic_verdict,
            reminder=self.topic_reminder,
            customer=self.topic_customer,
            group=self.group_id,
        )

    @cached_property
    def policy(self) -> Policy:
        """The policy in force. Raises ConfigError, though not after `load_settings`."""
        return DEFAULT_POLICY if self.policy_file is None else read_policy(self.policy_file)


def load_settings(env_file: Path | None = ENV_FILE) -> Settings:
    """The settings of this process. Raises ConfigError with every problem of the variables and of
    the files they name, the policy's included."""
    from streams.settings_problems import in_words, problems_of  # it needs the class above

    try:
        settings = _from_environment(env_file)
    except ValidationError as error:
        told = [in_words(str(each["loc"][0]), each, env_file) for each in error.errors()]
        # The others are checked as well: with the broken ones at their defaults.
        broken = {str(each["loc"][0]) for each in error.errors()}
        defaults = {name: Settings.model_fields[name].default for name in broken}
        rest = _from_environment(env_file, **defaults)
        raise ConfigError([*told, *problems_of(rest, apart_from=broken)]) from None
    if problems := problems_of(settings):
        raise ConfigError(problems)
    return settings


def read_policy(file: Path) -> Policy:
    """The policy of a file. Raises ConfigError with every problem, each with its line."""
    return _read(file, parse_policy)


def policy_in_words(file: Path | None) -> str:
    """A policy file with every key and the value in force; None: the defaults. Raises as
    read_policy."""
    return policy_toml("", name="the defaults") if file is None else _read(file, policy_toml)


def _read(file: Path, reader: Callable[..., T]) -> T:
    try:
        return reader(file.read_text(encoding="utf-8"), name=str(file))
    except PolicyError as error:
        raise ConfigError([f"{error.name}:{p.line}: {p.text}" for p in error.problems]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{file}: not UTF-8 text"]) from None
    except OSError as error:
        raise ConfigError([f"{file}: {reason_of(error)}"]) from None


def kafka_client_options(settings: Settings) -> KafkaOptions:
    """Addresses, TLS and SASL for any aiokafka client; reads the files it needs. Raises ConfigError
    when one of them cannot be used."""
    options = KafkaOptions(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        security_protocol=settings.kafka_security_protocol,
    )
    if "SSL" in settings.kafka_security_protocol:
        options["ssl_context"] = ssl_context(settings)
    if settings.kafka_security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_username or ""
        options["sasl_plain_password"] = _password(settings)
    return options


def unknown_variables(env_file: Path | None = ENV_FILE) -> list[str]:
    """A sentence for each HITRUN_ variable that no setting has: a slip, most likely. A warning
    only, since a newer version's settings may be there for a while during an upgrade."""
    known = {variable(name) for name in Settings.model_fields} | FOREIGN
    told = []
    for name in sorted(said_variables(env_file)):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
            hint = f"; did you mean {near[0]}?" if near else ""
            told.append(f"{name} is no setting of hitrun and has no effect{hint}")
    return told


def variable(name: str) -> str:
    """The environment variable of a field."""
    return f"{PREFIX}{name.upper()}"


def said_variables(env_file: Path | None) -> dict[str, str | None]:
    """Variables as they are in force, by name in capital letters."""
    said = {} if env_file is None else {k.upper(): v for k, v in dotenv_values(env_file).items()}
    return said | {name.upper(): value for name, value in os.environ.items()}


def _from_environment(env_file: Path | None, **instead: object) -> Settings:
    arguments: dict[str, Any] = {"_env_file": env_file, **instead}
    return Settings(**arguments)


def _password(settings: Settings) -> str:
    if settings.kafka_sasl_password is not None:
        return settings.kafka_sasl_password.get_secret_value()
    file = settings.kafka_sasl_password_file
    return _first_line(file, "kafka_sasl_password_file") if file is not None else ""


def _first_line(file: Path, name: str) -> str:
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise ConfigError([f"{variable(name)}: the file cannot be read as text"]) from None


def ssl_context(settings: Settings) -> ssl.SSLContext:
    """Of the TLS files. Raises ConfigError naming the variable of the one that cannot be used."""
    name = "kafka_tls_ca_file"
    try:
        context = ssl.create_default_context(cafile=settings.kafka_tls_ca_file)
        context.sslobject_class = EndsAtOnce
        if settings.kafka_tls_cert_file is not None:
            name = "kafka_tls_cert_file"
            locked = settings.kafka_tls_key_password_file
            # Never None: OpenSSL would ask for it on the terminal.
            password = _first_line(locked, "kafka_tls_key_password_file") if locked else ""
            context.load_cert_chain(
                settings.kafka_tls_cert_file, settings.kafka_tls_key_file, password
            )
    except (ssl.SSLError, OSError) as error:
        file = getattr(settings, name)
        why = error.reason or str(error) if isinstance(error, ssl.SSLError) else reason_of(error)
        raise ConfigError([f"{variable(name)}: {file}: cannot be used ({why})"]) from None
    return context


def reason_of(error: OSError) -> str:
    """Why a file cannot be used, in the system's words."""
    return (error.strerror or str(error)).lower()
