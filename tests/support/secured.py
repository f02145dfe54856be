"""A broker that enforces: TLS, passwords (SCRAM), and ACLs without which nothing is allowed.

with secured(home) as place:
    place.allow("w", acls.worker(topics))
    place.settings("w")    # HITRUN_KAFKA_* of that user
"""

from __future__ import annotations

import os
import secrets
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from streams.acls import Acl
from streams.local import LocalKafka
from streams.local.java import java_program
from streams.tls import EndsAtOnce
from tests.support import permits
from tests.support.kafka import Kafka

ADMIN, BROKER = "admin", "broker"

LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule"
AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"


class Authority:
    """A certificate authority, made by the keytool that comes with the JVM."""

    def __init__(self, home: Path, name: str = "authority") -> None:
        self.home = home / name
        self.home.mkdir(parents=True)
        self.secret = secrets.token_hex(12)
        self.cert = self.home / "ca.pem"
        self._new_key("ca", "-ext", "bc:c", "-ext", "ku=keyCertSign")
        self._keytool("ca", "-exportcert", "-rfc", "-file", str(self.cert))

    def issue(self, name: str, *, ip: str) -> Path:
        """A key and its certificate for an address, and no other; a PKCS12 file."""
        request, signed = self.home / f"{name}.csr", self.home / f"{name}.pem"
        self._new_key(name)
        self._keytool(name, "-certreq", "-file", str(request))
        files = ["-infile", str(request), "-outfile", str(signed)]
        self._keytool("ca", "-gencert", "-rfc", "-ext", f"san=ip:{ip}", *files)
        signed.write_text(signed.read_text() + self.cert.read_text())
        self._keytool(name, "-importcert", "-noprompt", "-file", str(signed))
        return self.home / f"{name}.p12"

    def _new_key(self, name: str, *more: str) -> None:
        kind = ["-keyalg", "EC", "-groupname", "secp256r1", "-validity", "2"]
        self._keytool(name, "-genkeypair", *kind, "-dname", f"CN={name}", *more)

    def _keytool(self, name: str, *arguments: str) -> None:
        store = ["-keystore", str(self.home / f"{name}.p12"), "-storetype", "PKCS12"]
        done = subprocess.run(
            [
                str(java_program().with_name("keytool")),
                "-J-XX:TieredStopAtLevel=1",
                *arguments,
                *store,
                "-storepass:env",
                "STORE",
                "-alias",
                name,
            ],
            env=os.environ | {"STORE": self.secret},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


class Secured:
    """The broker and its users."""

    def __init__(self, home: Path, users: Sequence[str]) -> None:
        self.home = home
        self.authority = Authority(home)
        names = [ADMIN, BROKER, *users]
        self.passwords = {name: f"secret-{secrets.token_hex(8)}" for name in names}
        keys = self.authority.issue(BROKER, ip="127.0.0.1")
        login = f'{LOGIN} required username="{BROKER}" password="{self.passwords[BROKER]}";'
        self.local = LocalKafka(
            home / "kafka",
            users=self.passwords,
            extra={
                "listener.security.protocol.map": "CLIENTS:SASL_SSL,CONTROLLER:SSL",
                "ssl.keystore.type": "PKCS12",
                "ssl.keystore.location": str(keys),
                "ssl.keystore.password": self.authority.secret,
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.authority.cert),
                # Controllers know each other, and brokers, by their certificates.
                "listener.name.controller.ssl.client.auth": "required",
                "sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
                "listener.name.clients.scram-sha-512.sasl.jaas.config": login,
                "authorizer.class.name": AUTHORIZER,
                "allow.everyone.if.no.acl.found": "false",
                "super.users": f"User:{ADMIN};User:{BROKER};User:CN={BROKER}",
            },
        )

    @property
    def bootstrap(self) -> str:
        return self.local.bootstrap

    def secret_words(self) -> list[str]:
        """What must be printed nowhere."""
        return [*self.passwords.values(), self.authority.secret]

    def settings(self, user: str) -> dict[str, str]:
        """Of a `hitrun` process that is this user; the password is in a file."""
        file = self.home / f"{user}.password"
        file.write_text(f"{self.passwords[user]}\n")
        return {
            "HITRUN_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "HITRUN_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "HITRUN_KAFKA_SASL_USERNAME": user,
            "HITRUN_KAFKA_SASL_PASSWORD_FILE": str(file),
            "HITRUN_KAFKA_TLS_CA_FILE": str(self.authority.cert),
        }

    def kafka(self, user: str) -> Kafka:
        """The calls of tests/support/kafka.py as this user."""
        context = ssl.create_default_context(cafile=str(self.authority.cert))
        context.sslobject_class = EndsAtOnce
        return Kafka(
            self.bootstrap,
            security_protocol="SASL_SSL",
            ssl_context=context,
            sasl_mechanism="SCRAM-SHA-512",
            sasl_plain_username=user,
            sasl_plain_password=self.passwords[user],
        )

    @cached_property
    def admin(self) -> Kafka:
        return self.kafka(ADMIN)

    def allow(self, user: str, wanted: Sequence[Acl]) -> None:
        """Allows a user this and nothing else."""

        async def act(admin: AIOKafkaAdminClient) -> None:
            await permits.allow(admin, user, wanted)

        self.admin.administer(act)


@contextmanager
def secured(home: Path, users: Sequence[str]) -> Iterator[Secured]:
    """A started one, until the block ends."""
    place = Secured(home, users)
    with place.local:
        yield place
