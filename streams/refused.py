"""A Kafka that is there and does not want us: told at once and in words, never waited for.

aiokafka says only "unable to bootstrap" when it could not connect, whether nobody listens, a
certificate is wrong or a password; so we look ourselves, once, after it has failed.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from aiokafka import conn
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)

from streams.faults import ConfigError
from streams.settings import Settings, kafka_client_options, variable

CONNECT_MS: Final = 4_000

_NOT_ALLOWED: Final = {
    TopicAuthorizationFailedError: "topic",
    GroupAuthorizationFailedError: "group",
    TransactionalIdAuthorizationFailed: "transactional id",
    ClusterAuthorizationFailedError: "cluster",
}
_PASSWORD: Final = (AuthenticationFailedError, SaslAuthenticationFailed)
_MECHANISM: Final = (
    AuthenticationMethodNotSupported,
    IllegalSaslStateError,
    UnsupportedSaslMechanismError,
)
_GONE: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""A broker that is just ending or starting; not the protocol's fault."""


class Refused(ConfigError):
    """Kafka refuses us and will refuse us again: mend settings, passwords or ACLs."""


def not_allowed(error: BaseException) -> str | None:
    """In words, when an ACL is missing; else None."""
    for kind, resource in _NOT_ALLOWED.items():
        if isinstance(error, kind):
            named = ", ".join(str(each) for each in error.args) or "(not named)"
            return (
                f"Kafka does not allow it: {resource} {named}; docs/security.md lists the ACLs "
                "that are needed"
            )
    return None


async def refusal(settings: Settings, error: BaseException) -> Refused | None:
    """Why waiting is in vain after this failure; None when it may help. Never names a secret."""
    if told := not_allowed(error):
        return Refused([told])
    for address in settings.kafka_bootstrap_servers.split(","):
        if told := await _refused_at(address.strip(), settings):
            return Refused([told])
    return None


async def _refused_at(address: str, settings: Settings) -> str | None:
    host, _, port = address.rpartition(":")
    options = {k: v for k, v in kafka_client_options(settings).items() if k != "bootstrap_servers"}
    made = None
    try:
        async with asyncio.timeout(CONNECT_MS / 1000):
            made = await conn.create_conn(
                host.strip("[]"), int(port), request_timeout_ms=CONNECT_MS, **options
            )
    except (OSError, KafkaError) as error:
        return _in_words(address, error, settings)
    finally:
        if made is not None:
            made.close()
    return None


def _in_words(address: str, error: BaseException, settings: Settings) -> str | None:
    ca_file, user = variable("kafka_tls_ca_file"), settings.kafka_sasl_username
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"{address}: its certificate is not accepted: {error.verify_message} ({ca_file} says "
            f"who must have signed it, {variable('kafka_bootstrap_servers')} by what name it is "
            "called)"
        )
    if isinstance(error, ssl.SSLError) and not isinstance(error, _GONE):
        return (
            f"{address}: no TLS connection: {error.reason or error}; see "
            f"{variable('kafka_security_protocol')} and {variable('kafka_tls_cert_file')}"
        )
    if isinstance(error, _PASSWORD):
        return (
            f"{address} does not accept the password of {user}; see "
            f"{variable('kafka_sasl_username')} and {variable('kafka_sasl_password_file')}"
        )
    if isinstance(error, _MECHANISM):
        return (
            f"{address} does not take {variable('kafka_sasl_mechanism')}="
            f"{settings.kafka_sasl_mechanism}"
        )
    return None
