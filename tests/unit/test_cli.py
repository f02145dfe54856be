"""The console script: what it lists, its exit codes, what goes to stdout and what does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.builders import checkout

ROOT = Path(__file__).parents[2]


def hitrun(
    *arguments: str, cwd: Path, stdin: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own, without the machine's HITRUN_ variables."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HITRUN_")}
    return subprocess.run(
        [sys.executable, "-m", "streams.cli", *arguments],
        cwd=cwd,
        env={**clean, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **env},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_lists_every_command_and_none_that_is_not_there(tmp_path: Path) -> None:
    told = hitrun("--help", cwd=tmp_path)
    assert told.returncode == 0
    commands = "demo worker broker replay simulate redrive version topics policy"
    for command in commands.split():
        assert f" {command} " in told.stdout
        assert hitrun(command, "--help", cwd=tmp_path).returncode == 0
    assert "inspect" not in told.stdout


def test_help_reads_neither_settings_nor_kafka_clients(tmp_path: Path) -> None:
    told = hitrun("--help", cwd=tmp_path, HITRUN_HTTP_PORT="none", PYTHONPROFILEIMPORTTIME="1")
    assert told.returncode == 0
    for heavy in ("pydantic", "aiokafka", "faust", "msgspec", "structlog", "streams.settings"):
        assert f" {heavy}\n" not in told.stderr, heavy


@pytest.mark.slow
def test_help_is_there_within_half_a_second_of_cpu(tmp_path: Path) -> None:
    def cpu_s() -> float:
        before = os.times()
        hitrun("--help", cwd=tmp_path)
        after = os.times()
        return (after.children_user + after.children_system) - (
            before.children_user + before.children_system
        )

    hitrun("--help", cwd=tmp_path)
    assert min(cpu_s() for _ in range(5)) < 0.5


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("replay",),
        ("replay", "x", "--diff"),
        ("replay", "x", "--until", "noon"),
        ("broker", "--nodes", "2"),
        ("redrive",),
        ("redrive", "a.dlq", "--dry-run", "--dump", "x"),
        ("worker", "--nonsense"),
    ],
)
def test_wrong_usage_ends_with_2_and_prints_no_result(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    told = hitrun(*arguments, cwd=tmp_path)
    assert told.returncode == 2
    if arguments:
        assert told.stdout == ""
        assert "Traceback" not in told.stderr


@pytest.mark.parametrize(
    "arguments", [("worker",), ("topics", "check"), ("replay", "-"), ("policy", "show")]
)
def test_wrong_configuration_ends_with_3_and_names_all_of_it(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    told = hitrun(*arguments, cwd=tmp_path, HITRUN_HTTP_PORT="x", HITRUN_POLICY_FILE="gone.toml")
    assert (told.returncode, told.stdout) == (3, "")
    assert "HITRUN_HTTP_PORT must be a whole number" in told.stderr
    assert "HITRUN_POLICY_FILE: gone.toml: no such file" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_policy_is_checked_with_the_lines_of_its_mistakes(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text('[payment_window]\ncard = "2h"\n')
    (tmp_path / "bad.toml").write_text('[payment_window]\ncrad = "2h"\ncard = 2\n')
    good = hitrun("policy", "check", "good.toml", cwd=tmp_path)
    assert good.returncode == 0
    assert good.stdout.startswith("good.toml: a valid policy, version ")
    bad = hitrun("policy", "check", "bad.toml", cwd=tmp_path)
    assert (bad.returncode, bad.stdout) == (3, "")
    assert "bad.toml:2: payment_window.crad is no key" in bad.stderr
    assert "bad.toml:3: payment_window.card is 2; a duration is" in bad.stderr
    assert hitrun("policy", "check", "gone.toml", cwd=tmp_path).returncode == 3


def test_the_policy_in_force_is_shown_as_a_policy_file(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('[payment_window]\ncard = "2h"\n')
    shown = hitrun("policy", "show", cwd=tmp_path, HITRUN_POLICY_FILE="p.toml")
    assert shown.returncode == 0
    assert 'card = "2h"\n' in shown.stdout
    assert 'qris = "4h"  # default\n' in shown.stdout
    (tmp_path / "again.toml").write_text(shown.stdout)
    version = shown.stdout.split()[2].rstrip(",")
    again = hitrun("policy", "check", "again.toml", cwd=tmp_path)
    assert again.stdout == f"again.toml: a valid policy, version {version}\n"


def test_a_slip_in_a_variable_is_a_warning_in_the_log_not_on_stdout(tmp_path: Path) -> None:
    told = hitrun("policy", "show", cwd=tmp_path, HITRUN_GRUOP="x")
    assert told.returncode == 0
    (line,) = map(json.loads, told.stderr.splitlines())
    assert (line["event"], line["level"]) == ("setting.unknown", "warning")
    assert "did you mean HITRUN_GROUP?" in line["message"]


def test_replay_prints_results_on_stdout_and_bad_lines_on_stderr(tmp_path: Path) -> None:
    text = json.dumps(checkout()) + "\noops\n"
    told = hitrun("replay", "-", "--until", "2026-03-10T00:00:00Z", cwd=tmp_path, stdin=text)
    assert told.returncode == 1
    topics = [json.loads(line)["topic"] for line in told.stdout.splitlines()]
    assert topics == ["hitrun.reminder.v1", "hitrun.verdict.v1", "hitrun.customer.v1"]
    assert told.stderr.startswith("hitrun: stdin:2: not JSON")


def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path: Path) -> None:
    lines = [json.dumps(checkout(f"k{n}", customer=f"c{n}")) for n in range(3000)]
    (tmp_path / "many.ndjson").write_text("\n".join(lines))
    command = f"{sys.executable} -m streams.cli replay many.ndjson --until 2026-03-10T00:00:00Z"
    told = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -n 1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert len(told.stdout.splitlines()) == 1
    assert told.stderr == ""


def test_ctrl_c_ends_without_a_traceback(tmp_path: Path) -> None:
    import signal

    process = subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "replay", "-"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(2)  # until it reads
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err
