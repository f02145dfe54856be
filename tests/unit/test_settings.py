"""Settings: defaults, variables, every problem at once in words, secrets that stay secret."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from domain.policy import DEFAULT_POLICY
from schemas.topics import Topics
from streams.settings import (
    ConfigError,
    Settings,
    kafka_client_options,
    load_settings,
    unknown_variables,
)


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No HITRUN_ variable of the machine, and no .env."""
    for name in os.environ:
        if name.upper().startswith("HITRUN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


def say_in(env: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        env.setenv(f"HITRUN_{name}", value)


def problems() -> list[str]:
    try:
        load_settings()
    except ConfigError as error:
        return error.problems
    return []


# What is in force


def test_without_any_variable_the_defaults_of_the_contract_hold() -> None:
    s = load_settings()
    assert s.kafka_bootstrap_servers == "localhost:9092"
    assert (s.group, s.commit_interval_ms, s.session_timeout_ms) == ("hitrun", 250, 10_000)
    assert (s.upstream_delay_ms, s.input_silence_ms) == (5_000, 900_000)
    assert (s.http_host, s.http_port) == ("127.0.0.1", 6066)
    assert (s.topic_partitions, s.topic_replication) == (12, None)
    assert s.topics.payment == "marketplace.payment.v1"
    assert s.topics.changelog == "hitrun-customers-changelog"
    assert s.policy == DEFAULT_POLICY


def test_variables_win_over_the_file_beside_and_empty_ones_say_nothing(
    env: pytest.MonkeyPatch,
) -> None:
    Path(".env").write_text("HITRUN_GROUP=from-file\nHITRUN_HTTP_PORT=1\n")
    say_in(env, HTTP_PORT="2", POLICY_FILE="", TOPIC_REPLICATION="")
    s = load_settings()
    assert (s.group, s.http_port, s.policy_file) == ("from-file", 2, None)


def test_a_shadow_has_group_and_changelog_of_its_own(env: pytest.MonkeyPatch) -> None:
    say_in(env, SHADOW="true")
    s = load_settings()
    assert s.group_id == "hitrun-shadow"
    assert s.topics.changelog == "hitrun-shadow-customers-changelog"
    assert s.topics.inputs() == Topics().inputs()


def test_the_policy_file_is_read(env: pytest.MonkeyPatch) -> None:
    Path("mine.toml").write_text('[payment_window]\ncard = "2h"\n')
    say_in(env, POLICY_FILE="mine.toml")
    assert load_settings().policy.payment_window_ms["card"] == 7_200_000


# What is wrong


def test_all_problems_are_told_at_once_each_naming_its_variable(env: pytest.MonkeyPatch) -> None:
    Path("mine.toml").write_text("[caps]\norders = 0\nordres = 1\n")
    say_in(
        env,
        COMMIT_INTERVAL_MS="soon",
        HTTP_PORT="70000",
        SHADOW="perhaps",
        LOG_LEVEL="loud",
        KAFKA_BOOTSTRAP_SERVERS="kafka",
        TOPIC_ORDER="an order",
        POLICY_FILE="mine.toml",
        ERASURE_KEY_FILE="nowhere",
    )
    told = problems()
    assert told == [
        "HITRUN_SHADOW must be true or false, not 'perhaps'",
        "HITRUN_COMMIT_INTERVAL_MS must be a whole number, not 'soon'",
        "HITRUN_HTTP_PORT must be at most 65535, not '70000'",
        "HITRUN_LOG_LEVEL must be one of 'debug', 'info', 'warning', 'error', not 'loud'",
        "HITRUN_KAFKA_BOOTSTRAP_SERVERS must be host:port, several with commas, not 'kafka'",
        "HITRUN_TOPIC_ORDER may hold letters, digits, '.', '_' and '-' only, not 'an order'",
        "mine.toml:2: caps.orders must be a whole number from 1 to 1000000, not 0",
        "mine.toml:3: caps.ordres is no key of a policy; did you mean caps.orders?",
        "HITRUN_ERASURE_KEY_FILE: nowhere: no such file or directory",
    ]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"SESSION_TIMEOUT_MS": "999"}, "HITRUN_SESSION_TIMEOUT_MS must be at least 1000"),
        ({"UPSTREAM_DELAY_MS": "-1"}, "HITRUN_UPSTREAM_DELAY_MS must be at least 0"),
        ({"TOPIC_PARTITIONS": "0"}, "HITRUN_TOPIC_PARTITIONS must be at least 1"),
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "must be one of 'PLAINTEXT', 'SSL'"),
        ({"GROUP": "a/b"}, "HITRUN_GROUP may hold letters"),
        ({"GROUP": "g" * 230}, "Kafka allows 249"),
        ({"TOPIC_ORDER": "marketplace.payment.v1"}, "are the same topic"),
        ({"TOPIC_CUSTOMER": "hitrun-customers-changelog"}, "the changelog of HITRUN_GROUP"),
        ({"TOPIC_VERDICT": "hitrun.command.v1.dlq"}, "dead letters of HITRUN_TOPIC_COMMAND"),
        ({"KAFKA_TLS_CA_FILE": "ca.pem"}, "has no effect with HITRUN_KAFKA_SECURITY_PROTOCOL"),
        ({"KAFKA_SASL_USERNAME": "me"}, "it needs SASL_SSL or SASL_PLAINTEXT"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "HITRUN_KAFKA_SASL_USERNAME is missing"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "either HITRUN_KAFKA_SASL_PASSWORD or"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "ssl", "KAFKA_TLS_CA_FILE": "empty"},
            "HITRUN_KAFKA_TLS_CA_FILE: empty: the file is empty",
        ),
        (
            {"KAFKA_SECURITY_PROTOCOL": "ssl", "KAFKA_TLS_CA_FILE": "text"},
            "HITRUN_KAFKA_TLS_CA_FILE: text: cannot be used",
        ),
        ({"ERASURE_KEY_FILE": "text"}, "a key has at least 16 bytes"),
        ({"POLICY_FILE": "."}, "HITRUN_POLICY_FILE: .: is a directory"),
    ],
)
def test_what_cannot_be_is_said_in_words(
    env: pytest.MonkeyPatch, variables: dict[str, str], words: str
) -> None:
    Path("empty").touch()
    Path("text").write_text("hello")
    say_in(env, **variables)
    assert any(words in told for told in problems()), problems()


def test_a_slip_in_a_name_is_warned_of_with_what_was_meant(env: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("HITRUN_GRUOP=x\nOTHER=1\n")
    say_in(env, COMMIT_INTERVALL_MS="1", CACHE_DIR="/tmp", KAFKA_WAIT_MS="1")
    assert unknown_variables() == [
        f"HITRUN_{slip} is no setting of hitrun and has no effect; did you mean HITRUN_{meant}?"
        for slip, meant in (("COMMIT_INTERVALL_MS", "COMMIT_INTERVAL_MS"), ("GRUOP", "GROUP"))
    ]


# Kafka


def test_a_plain_kafka_needs_its_address_only() -> None:
    assert kafka_client_options(load_settings()) == {
        "bootstrap_servers": "localhost:9092",
        "security_protocol": "PLAINTEXT",
    }


def test_tls_and_sasl_come_from_files_and_the_password_is_never_shown(
    env: pytest.MonkeyPatch,
) -> None:
    Path("password").write_text("s3cret\n")
    say_in(
        env,
        KAFKA_SECURITY_PROTOCOL="sasl_ssl",
        KAFKA_SASL_USERNAME="me",
        KAFKA_SASL_PASSWORD_FILE="password",
    )
    options = kafka_client_options(load_settings())
    assert isinstance(options["ssl_context"], ssl.SSLContext)
    assert options["ssl_context"].check_hostname
    assert options["sasl_plain_username"] == "me"
    assert options["sasl_plain_password"] == "s3cret"
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"
    env.delenv("HITRUN_KAFKA_SASL_PASSWORD_FILE")
    say_in(env, KAFKA_SASL_PASSWORD="s3cret")
    settings = load_settings()
    assert kafka_client_options(settings)["sasl_plain_password"] == "s3cret"
    assert "s3cret" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_a_password_put_where_its_file_belongs_is_not_shown(env: pytest.MonkeyPatch) -> None:
    say_in(
        env,
        KAFKA_SECURITY_PROTOCOL="SASL_SSL",
        KAFKA_SASL_USERNAME="me",
        KAFKA_SASL_PASSWORD_FILE="s3cret",
    )
    told = problems()
    assert told == ["HITRUN_KAFKA_SASL_PASSWORD_FILE: no such file or directory"]


def test_a_password_file_is_read_anew_for_every_client(env: pytest.MonkeyPatch) -> None:
    file = Path("password")
    file.write_text("first\n")
    say_in(
        env,
        KAFKA_SECURITY_PROTOCOL="SASL_PLAINTEXT",
        KAFKA_SASL_USERNAME="me",
        KAFKA_SASL_PASSWORD_FILE="password",
    )
    settings = load_settings()
    assert kafka_client_options(settings).get("sasl_plain_password") == "first"
    file.write_text("second\n")
    assert kafka_client_options(settings).get("sasl_plain_password") == "second"


def test_a_secret_is_not_shown_among_problems_either(env: pytest.MonkeyPatch) -> None:
    say_in(env, KAFKA_SECURITY_PROTOCOL="SASL_PLAINTEXT", KAFKA_SASL_PASSWORD="hunter2")
    told = problems()
    assert told
    assert "hunter2" not in str(told)


def test_a_known_variable_is_not_unknown(env: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        env.setenv(f"HITRUN_{name.upper()}", "")
    assert unknown_variables(None) == []
