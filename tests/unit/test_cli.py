"""The console script: exit codes, and nothing but results on stdout."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams.cli import app
from tests.support.builders import checkout

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    ["demo"],
    ["simulate"],
    ["redrive"],
    ["inspect"],
    ["worker"],
    ["broker"],
    ["topics", "create"],
    ["topics", "check"],
    ["replay"],
    ["policy", "show"],
    ["policy", "check"],
    ["version"],
)


def hitrun(*arguments: str, cwd: Path = ROOT, stdin: str = "", **said: str) -> tuple[int, str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("HITRUN_")}
    env |= {f"HITRUN_{name.upper()}": value for name, value in said.items()}
    env["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env=env,
    )
    return done.returncode, done.stdout, done.stderr


def test_help_lists_every_command_and_none_that_is_not_there() -> None:
    told = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout
    for command in {command[0] for command in COMMANDS}:
        assert f" {command} " in told


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: list[str]) -> None:
    done = CliRunner().invoke(app, [*command, "--help"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert "Usage" in done.stdout


def test_help_does_not_import_the_runtime() -> None:
    code = (
        "import sys, streams.cli\n"
        "heavy = {'faust', 'aiokafka', 'pydantic', 'structlog', 'uvloop', 'rich.live'}\n"
        "heavy &= set(sys.modules)\n"
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
    [
        ["nothing"],
        ["worker", "--nothing"],
        ["policy", "check"],
        ["broker", "--nodes=2"],
        ["replay"],
        ["replay", "x", "--diff"],
        ["replay", "x", "--until", "noon"],
        ["redrive", "a.dlq", "--dry-run", "--dump", "x"],
        ["inspect"],
        ["inspect", ""],
        ["inspect", "c\x1b[2J"],
        ["inspect", "c1", "--at", "noon"],
        ["simulate", "--share", "x"],
        ["demo", "--seconds", "0"],
        ["demo", "--seconds", "x"],
        ["demo", "--score", "not-there/score.json"],
        ["demo", "--score", "."],
    ],
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
    assert "HITRUN_KAFKA_BOOTSTRAP_SERVERS" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_place_where_nothing_can_be_written_is_1_and_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    code, out, err = hitrun("simulate", "--seconds=1", "--out", str(tmp_path / "taken" / "x"))
    assert (code, out) == (1, "")
    assert err == f"hitrun: {tmp_path}/taken/x: Not a directory\n"


def test_the_version_is_one_word() -> None:
    code, out, err = hitrun("version")
    assert (code, err) == (0, "")
    assert len(out.split()) == 1


def test_replay_prints_results_on_stdout_and_bad_lines_on_stderr() -> None:
    text = json.dumps(checkout()) + "\noops\n"
    code, out, err = hitrun("replay", "-", "--until", "2026-03-10T00:00:00Z", stdin=text)
    assert code == 1
    topics = [json.loads(line)["topic"] for line in out.splitlines()]
    assert topics == ["hitrun.reminder.v1", "hitrun.verdict.v1", "hitrun.customer.v1"]
    assert err.startswith("hitrun: stdin:2: not JSON")


def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path: Path) -> None:
    lines = [json.dumps(checkout(f"k{n}", customer=f"c{n}")) for n in range(1000)]
    (tmp_path / "many.ndjson").write_text("\n".join(lines))
    command = f"{sys.executable} -m streams.cli replay many.ndjson --until 2026-03-10T00:00:00Z"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -n 1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


def test_ctrl_c_ends_without_a_traceback(tmp_path: Path) -> None:
    # given a replay that waits for its input
    fifo = tmp_path / "first.ndjson"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "replay", str(fifo)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with fifo.open("w"):  # returns when the replay has opened the other end
        # when
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    # then
    assert process.returncode == 130
    assert "Traceback" not in err
