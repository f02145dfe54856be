"""What can be wrong with the settings, in words, and all of it at once.

Only `streams.settings.load_settings` calls this, before anything else happens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

from pydantic_core import ErrorDetails

from schemas.topics import STREAMS, Stream
from streams.faults import ConfigError
from streams.settings import (
    Settings,
    reason_of,
    said_variables,
    ssl_context,
    variable,
)

SHORTEST_KEY: Final = 16
"""Bytes of the erasure key, at least."""

LONGEST_NAME: Final = 249
"""Of a topic, in Kafka; the changelog's and the DLQs' names contain others."""

OutputRole = Literal["verdict", "reminder", "customer"]

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_NAMED: Final[tuple[Stream | OutputRole, ...]] = (*STREAMS, "verdict", "reminder", "customer")


def problems_of(settings: Settings, *, apart_from: Iterable[str] = ()) -> list[str]:
    """What the types of the variables cannot say, one sentence each; nothing about variables
    whose value could not be read at all."""
    problems: list[str] = []
    unread = set(apart_from)
    if "kafka_bootstrap_servers" not in unread:
        problems += _address_problems(settings.kafka_bootstrap_servers)
    if "kafka_security_protocol" not in unread:
        problems += _security_problems(settings)
    problems += _name_problems(settings)
    for name in ("policy_file", "erasure_key_file"):
        file: Path | None = getattr(settings, name)
        if file is not None and (why := _unreadable(file)):
            problems.append(f"{variable(name)}: {file}: {why}")
        elif file is not None and name == "policy_file":
            try:
                _ = settings.policy
            except ConfigError as error:
                problems += error.problems
        elif file is not None and len(file.read_bytes().strip()) < SHORTEST_KEY:
            problems.append(f"{variable(name)}: {file}: a key has at least {SHORTEST_KEY} bytes")
    return problems


def in_words(name: str, error: ErrorDetails, env_file: Path | None) -> str:
    """A sentence about a variable that pydantic cannot read."""
    limits, kind = error.get("ctx", {}), error["type"]
    if kind == "literal_error":
        must = f"must be one of {limits['expected'].replace(' or ', ', ')}"
    elif kind.startswith("int_"):
        must = "must be a whole number"
    elif kind.startswith("bool_"):
        must = "must be true or false"
    elif kind == "greater_than_equal":
        must = f"must be at least {limits['ge']}"
    elif kind == "less_than_equal":
        must = f"must be at most {limits['le']}"
    else:
        must = error["msg"][:1].lower() + error["msg"][1:]
    value = said_variables(env_file).get(variable(name))
    secret = "password" in name  # a password's file too: people put the password itself there
    return f"{variable(name)} {must}" + ("" if value is None or secret else f", not {value!r}")


def _address_problems(servers: str) -> Iterator[str]:
    for address in servers.split(","):
        host, _, port = address.strip().rpartition(":")
        if not host or not port.isdecimal() or not 1 <= int(port) <= 65_535:
            yield (
                f"{variable('kafka_bootstrap_servers')} must be host:port, several with commas, "
                f"not {address.strip()!r}"
            )


def _security_problems(settings: Settings) -> Iterator[str]:
    protocol = settings.kafka_security_protocol
    said = {name for name in settings.model_fields_set if getattr(settings, name) is not None}
    with_tls, with_sasl = "SSL" in protocol, protocol.startswith("SASL")
    for name in sorted(said):
        if (name.startswith("kafka_tls_") and not with_tls) or (
            name.startswith("kafka_sasl_") and not with_sasl
        ):
            needed = "SSL or SASL_SSL" if "_tls_" in name else "SASL_SSL or SASL_PLAINTEXT"
            yield (
                f"{variable(name)} has no effect with "
                f"{variable('kafka_security_protocol')}={protocol}; it needs {needed}"
            )
    if with_sasl:
        if settings.kafka_sasl_username is None:
            yield f"{variable('kafka_sasl_username')} is missing; {protocol} needs it"
        both = {"kafka_sasl_password", "kafka_sasl_password_file"}
        if len(both & said) != 1:
            yield (
                f"{protocol} needs either {variable('kafka_sasl_password')} or "
                f"{variable('kafka_sasl_password_file')}"
            )
    if settings.kafka_tls_key_file is not None and settings.kafka_tls_cert_file is None:
        yield f"{variable('kafka_tls_key_file')} needs {variable('kafka_tls_cert_file')}"
    files = [name for name in sorted(said) if name.startswith("kafka_") and name.endswith("_file")]
    unreadable = False
    for name in files:
        file: Path = getattr(settings, name)
        if why := _unreadable(file):
            unreadable = True
            shown = "" if "password" in name else f"{file}: "
            yield f"{variable(name)}: {shown}{why}"
    if with_tls and not unreadable:
        try:
            ssl_context(settings)
        except ConfigError as error:
            yield from error.problems


def _name_problems(settings: Settings) -> Iterator[str]:
    names = {variable(f"topic_{role}"): settings.topics.name(role) for role in _NAMED}
    for where, name in {**names, variable("group"): settings.group}.items():
        if not _NAME.fullmatch(name) or name in (".", ".."):
            yield f"{where} may hold letters, digits, '.', '_' and '-' only, not {name!r}"
    longest = max(
        (settings.topics.changelog, *(settings.topics.dlq(n) for n in names.values())), key=len
    )
    if len(longest) > LONGEST_NAME:
        yield f"the topic {longest[:40]}... would have {len(longest)} characters; Kafka allows 249"
    owner: dict[str, str] = {
        settings.topics.changelog: f"the changelog of {variable('group')}",
        **{
            settings.topics.dlq(settings.topics.name(stream)): "the dead letters of "
            + variable(f"topic_{stream}")
            for stream in STREAMS
        },
    }
    for where, name in names.items():
        if name in owner:
            yield f"{where} and {owner[name]} are the same topic, {name!r}"
        owner.setdefault(name, where)


def _unreadable(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            return None if opened.read(1) else "the file is empty"
    except OSError as error:
        return reason_of(error)
