"""Settings: defaults, variables, and every problem at once in words."""

import os
from pathlib import Path

import pytest

from schemas.topics import Topics
from streams.settings import (
    ConfigError,
    Settings,
    kafka_client_options,
    load_settings,
    unknown_variables,
)


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("HITRUN_")]:
        monkeypatch.delenv(name)


def loaded(monkeypatch: pytest.MonkeyPatch, **said: str) -> Settings:
    for name, value in said.items():
        monkeypatch.setenv(f"HITRUN_{name.upper()}", value)
    return load_settings(None)


def problems(monkeypatch: pytest.MonkeyPatch, **said: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        loaded(monkeypatch, **said)
    return raised.value.problems


def test_every_setting_has_the_default_of_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch)
    assert settings.kafka_bootstrap_servers == "localhost:9092"
    assert settings.kafka_security_protocol == "PLAINTEXT"
    assert (settings.group, settings.group_instance_id) == ("hitrun", None)
    assert (settings.policy_file, settings.erasure_key_file) == (None, None)
    assert (settings.commit_interval_ms, settings.session_timeout_ms) == (250, 10_000)
    assert (settings.upstream_delay_ms, settings.input_silence_ms) == (5_000, 900_000)
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", 6066)
    assert (settings.topic_partitions, settings.topic_replication) == (12, None)
    assert (settings.shadow, settings.log_level) == (False, "info")
    assert settings.topics == Topics()


def test_a_shadow_has_its_own_group_and_changelog_and_the_same_inputs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = loaded(monkeypatch, shadow="true", group="blue")
    assert settings.group_id == "blue-shadow"
    assert settings.topics.changelog == "blue-shadow-customers-changelog"
    assert settings.topics.inputs() == Topics().inputs()


def test_a_dotenv_file_is_read_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text("HITRUN_GROUP=file\nHITRUN_HTTP_PORT=0\n")
    monkeypatch.setenv("HITRUN_GROUP", "environment")
    settings = load_settings(file)
    assert (settings.group, settings.http_port) == ("environment", 0)


def test_all_problems_are_told_at_once_each_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = problems(
        monkeypatch,
        http_port="abc",
        commit_interval_ms="1",
        log_level="loud",
        shadow="perhaps",
        group="a b",
        kafka_bootstrap_servers="here",
        policy_file=str(tmp_path / "none.toml"),
    )
    for name in (
        "HTTP_PORT",
        "COMMIT_INTERVAL_MS",
        "LOG_LEVEL",
        "SHADOW",
        "GROUP",
        "KAFKA_BOOTSTRAP_SERVERS",
        "POLICY_FILE",
    ):
        assert sum(f"HITRUN_{name}" in line for line in told) == 1, (name, told)
    assert len(told) == 7


def test_a_problem_of_the_policy_is_told_with_its_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('[verdict]\nafter_expirey = "13h"\n')
    (told,) = problems(monkeypatch, policy_file=str(file))
    assert f"{file}:2: " in told


def test_two_roles_cannot_share_a_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    (told,) = problems(monkeypatch, topic_order="same", topic_payment="same")
    assert "HITRUN_TOPIC_ORDER" in told
    assert "HITRUN_TOPIC_PAYMENT" in told


def test_an_unknown_variable_is_told_with_what_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HITRUN_COMIT_INTERVAL_MS", "9")
    (told,) = unknown_variables(None)
    assert "HITRUN_COMIT_INTERVAL_MS" in told
    assert "did you mean HITRUN_COMMIT_INTERVAL_MS" in told


def test_a_known_variable_is_not_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"HITRUN_{name.upper()}", "")
    assert unknown_variables(None) == []


def test_sasl_needs_a_name_and_exactly_one_password(monkeypatch: pytest.MonkeyPatch) -> None:
    told = problems(monkeypatch, kafka_security_protocol="SASL_PLAINTEXT")
    assert any("HITRUN_KAFKA_SASL_USERNAME" in line for line in told)
    assert any("HITRUN_KAFKA_SASL_PASSWORD" in line for line in told)


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    sasl = {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_sasl_password": "hunter2"}
    assert "hunter2" not in str(problems(monkeypatch, **sasl))
    settings = loaded(monkeypatch, kafka_sasl_username="me")
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"
    assert kafka_client_options(settings) == {
        "bootstrap_servers": "localhost:9092",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "me",
        "sasl_plain_password": "hunter2",
    }


def test_a_password_file_is_read_anew_for_every_client(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    settings = loaded(
        monkeypatch,
        kafka_security_protocol="SASL_PLAINTEXT",
        kafka_sasl_username="me",
        kafka_sasl_password_file=str(file),
    )
    assert kafka_client_options(settings).get("sasl_plain_password") == "first"
    file.write_text("second\n")
    assert kafka_client_options(settings).get("sasl_plain_password") == "second"


def test_tls_files_without_tls_are_a_mistake(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("x")
    (told,) = problems(monkeypatch, kafka_tls_ca_file=str(file))
    assert "HITRUN_KAFKA_TLS_CA_FILE has no effect" in told


def test_a_tls_file_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    (told,) = problems(monkeypatch, kafka_security_protocol="ssl", kafka_tls_ca_file=str(file))
    assert "HITRUN_KAFKA_TLS_CA_FILE" in told
