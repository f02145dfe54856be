"""The console script: exit codes, and nothing but results on stdout."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams.cli import app

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    ["worker"],
    ["broker"],
    ["topics", "create"],
    ["topics", "check"],
    ["replay"],
    ["policy", "show"],
    ["policy", "check"],
    ["version"],
)


def hitrun(*arguments: str, cwd: Path = ROOT, **said: str) -> tuple[int, str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("HITRUN_")}
    env |= {f"HITRUN_{name.upper()}": value for name, value in said.items()}
    env["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env=env,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: list[str]) -> None:
    done = CliRunner().invoke(app, [*command, "--help"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert "Usage" in done.stdout


def test_help_does_not_import_the_runtime() -> None:
    code = (
        "import sys, streams.cli\n"
        "heavy = {'faust', 'aiokafka', 'pydantic', 'uvloop', 'rich.live'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["nothing"], ["worker", "--nothing"], ["policy", "check"], ["broker", "--nodes=2"]],
)
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Usage" in done.stderr


def test_wrong_settings_are_3_a_line_each_and_nothing_on_stdout() -> None:
    code, out, err = hitrun("worker", http_port="abc", log_level="loud")
    assert (code, out) == (3, "")
    lines = err.splitlines()
    assert len(lines) == 2
    assert "HITRUN_HTTP_PORT" in lines[0]
    assert "HITRUN_LOG_LEVEL" in lines[1]


def test_a_variable_that_has_no_effect_is_logged_as_json(tmp_path: Path) -> None:
    code, out, err = hitrun("policy", "show", cwd=tmp_path, comit_interval_ms="9")
    assert code == 0
    assert "[payment_window]" in out
    (line,) = err.splitlines()
    said = json.loads(line)
    assert said["event"] == "setting.unknown"
    assert "HITRUN_COMMIT_INTERVAL_MS" in said["message"]


def test_the_policy_shown_is_a_valid_policy_of_the_same_version(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('[payment_window]\ncard = "5h"\n')
    code, shown, _ = hitrun("policy", "show", policy_file=str(file))
    assert code == 0
    again = tmp_path / "again.toml"
    again.write_text(shown)
    versions = [hitrun("policy", "check", str(each))[1].split()[-1] for each in (file, again)]
    assert versions[0] == versions[1]


def test_a_wrong_policy_is_3_with_every_line(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('[verdict]\nafter_expirey = "13h"\nafter_silence = "soon"\n')
    code, out, err = hitrun("policy", "check", str(file))
    assert (code, out) == (3, "")
    assert f"{file}:2: " in err
    assert f"{file}:3: " in err


def test_no_kafka_is_1_in_one_line_without_a_traceback() -> None:
    code, out, err = hitrun("topics", "check", kafka_bootstrap_servers="localhost:1")
    assert (code, out) == (1, "")
    assert "localhost:1" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_the_version_is_one_word() -> None:
    code, out, err = hitrun("version")
    assert (code, err) == (0, "")
    assert len(out.split()) == 1
