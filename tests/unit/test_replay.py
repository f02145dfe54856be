"""`hitrun replay`: lines into records, the frontier's way between them, what a policy changes."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import Topics
from streams.recording import BadLine, Recorded, read, record_of, until_ms
from streams.replay import run
from streams.settings import Settings
from tests.support import builders
from tests.support.builders import START_MS, Event, checkout, ms, payment, rfc3339
from tests.support.real import Real, comparable
from tests.support.scenarios import FOLDER, Scenario, load, scenario_to_ndjson

TOPICS = Topics()
Line = Event | str


def settings() -> Settings:
    return Settings.model_construct()


def as_record(event: Event, *, arrives: builders.Time | None = None, **other: object) -> Event:
    """The line of an event as a record of its topic."""
    role = builders.ROLE_OF_TYPE[event["type"]]
    line: Event = {
        "topic": builders.TOPICS[role],
        "key": event["data"]["customer_id"],
        "value": json.dumps(event),
    }
    if arrives is not None:
        line["timestamp"] = ms(arrives)
    return line | other


def replayed(
    tmp_path: Path,
    *lines: Line,
    until: builders.Time | None = None,
    policy: str | None = None,
    diff: bool = False,
) -> list[dict[str, Any]]:
    """What a replay of these lines prints."""
    file = tmp_path / "events.ndjson"
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    file.write_text("".join(f"{text}\n" for text in texts))
    code, out = replay_of(tmp_path, [str(file)], until=until, policy=policy, diff=diff)
    assert code == 0
    return [json.loads(line) for line in out.splitlines()]


def replay_of(
    tmp_path: Path,
    files: Sequence[str],
    *,
    until: builders.Time | None = None,
    policy: str | None = None,
    diff: bool = False,
) -> tuple[int, str]:
    policy_file = None
    if policy is not None:
        policy_file = tmp_path / "other.toml"
        policy_file.write_text(policy)
    out = io.StringIO()
    until_ = None if until is None else ms(until)
    code = run(settings(), files, until_ms=until_, policy_file=policy_file, diff=diff, out=out)
    return code, out.getvalue()


def types(said: list[dict[str, Any]]) -> list[str]:
    return [line["value"]["type"].removeprefix("hitrun.") for line in said]


# The frontier's way


def test_time_passes_to_the_last_arrival_or_until_and_outputs_name_topic_and_key(
    tmp_path: Path,
) -> None:
    assert replayed(tmp_path, checkout()) == []
    said = replayed(tmp_path, checkout(), until="+100h")
    assert types(said) == ["reminder.due", "verdict.detected", "customer.changed"]
    assert [line["topic"] for line in said] == [TOPICS.reminder, TOPICS.verdict, TOPICS.customer]
    assert {line["key"] for line in said} == {"c1"}
    assert said[0]["value"]["time"] == rfc3339(ms("+1h"))
    assert said[1]["value"]["time"] == rfc3339(ms("+100h"))


def test_until_is_inclusive(tmp_path: Path) -> None:
    assert "verdict.detected" in types(replayed(tmp_path, checkout(), until="+100h"))
    assert "verdict.detected" not in types(replayed(tmp_path, checkout(), until="+100h-1ms"))


@pytest.mark.parametrize(("arrives", "detected"), [("+100h5s-1ms", False), ("+100h5s", True)])
def test_a_payment_told_within_the_upstream_delay_prevents_the_verdict(
    tmp_path: Path, arrives: str, detected: bool
) -> None:
    late = as_record(payment(at="+1m", paid_at="+1m"), arrives=arrives)
    said = types(replayed(tmp_path, checkout(), late))
    assert ("verdict.detected" in said) is detected
    assert ("verdict.withdrawn" in said) is detected


def test_every_moment_on_the_way_is_visited_in_its_turn(tmp_path: Path) -> None:
    # One customer's two reminders: 16 h must lie between them by the clock of their own moments.
    first, second = checkout("k1"), checkout("k2", at="+17h", method="qris")
    said = replayed(tmp_path, first, second, until="+60h")
    sent = [line["value"]["time"] for line in said if "reminder" in line["topic"]]
    assert sent == [rfc3339(ms("+1h"))], "the second falls into quiet hours, and then too late"
    said = replayed(tmp_path, first, second, until="+60h", policy="[reminders]\nquiet_hours = []")
    sent = [line["value"]["time"] for line in said if "reminder" in line["topic"]]
    assert sent == [rfc3339(ms("+1h")), rfc3339(ms("+18h"))]


def test_lines_are_judged_by_arrival_whatever_their_order_and_files(tmp_path: Path) -> None:
    told = [checkout(), payment(at="+1m", paid_at="+1m"), checkout("k2", at="+1h")]
    want = replayed(tmp_path, *told, until="+200h")
    assert replayed(tmp_path, *reversed(told), until="+200h") == want
    files = []
    for number, event in enumerate(told):
        files.append(str(tmp_path / f"{number}.ndjson"))
        Path(files[-1]).write_text(json.dumps(event))
    _, out = replay_of(tmp_path, files[::-1], until="+200h")
    assert [json.loads(line) for line in out.splitlines()] == want


def scenarios() -> list[Scenario]:
    """Those that a recording alone can tell."""
    found = [each for path in sorted(FOLDER.glob("*.toml")) for each in load(path)]
    return [s for s in found if s.held is None and s.unknown_until is None]


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda s: s.id)
def test_a_scenario_as_a_file_comes_to_the_same_outputs(scenario: Scenario, tmp_path: Path) -> None:
    real = Real(policy_of(scenario), upstream_delay=scenario.upstream_delay)
    real.run(scenario.records, scenario.until)
    file = tmp_path / "scenario.ndjson"
    file.write_bytes(scenario_to_ndjson(scenario).encode("utf-8", "surrogateescape"))
    _, out = replay_of(
        tmp_path, [str(file)], until=scenario.until, policy=scenario.policy_toml or None
    )
    said = [json.loads(line) for line in out.splitlines()]
    outputs = [
        comparable(line["value"])
        for line in said
        if line["value"] is not None  # a tombstone
        and not line["topic"].endswith(".dlq")
        and line["topic"] != TOPICS.command
    ]
    assert outputs == [comparable(o) for o in real.outputs if o["role"] != "command"]
    letters = [line["reason"] for line in said if line["topic"].endswith(".dlq")]
    assert letters == [reason for _, reason, _ in real.dead_letters]


def policy_of(scenario: Scenario) -> Any:
    from tests.support.real import policy_of as parsed

    return parsed(scenario.policy_toml)


def test_a_checkout_whose_event_came_without_its_key_is_held(tmp_path: Path) -> None:
    lost = as_record(payment(at="+1m", paid_at="+1m"), arrives="+1m", key=None)
    said = replayed(tmp_path, checkout(), lost, until="+200h")
    told = [line["topic"] for line in said]
    assert f"{TOPICS.payment}.dlq" in told
    assert TOPICS.verdict not in told


def test_dead_letters_are_printed_with_their_reason_as_they_came(tmp_path: Path) -> None:
    broken = '{"topic":"marketplace.order.v1","key":"c\\udcff1","timestamp":5,"value":"\\udcff{"}'
    (letter,) = replayed(tmp_path, broken)
    assert letter["topic"] == "marketplace.order.v1.dlq"
    assert (letter["reason"], letter["key"], letter["value"]) == ("malformed", "c\\xff1", "\\xff{")


# Lines


def record(line: object, **other: int) -> Recorded:
    text = line if isinstance(line, bytes) else json.dumps(line).encode()
    return record_of(text, topics=TOPICS, offset=other.get("offset", 0), former_ms=None)


def test_a_line_as_kcat_writes_it_is_a_record() -> None:
    line = {
        "topic": TOPICS.payment, "partition": 3, "offset": 17, "tstype": "logappend", "ts": 123,
        "broker": 1, "headers": ["ce_type", "x", "empty", None], "key": "c1", "payload": "{}",
    }  # fmt: skip
    got = record(line)
    assert got.stream == "payment"
    assert (got.record.partition, got.record.offset, got.record.timestamp) == (3, 17, 123)
    assert got.record.headers == (("ce_type", b"x"), ("empty", b""))
    assert (got.record.key, got.record.value) == (b"c1", b"{}")


def test_the_value_may_be_an_object_and_null_is_a_tombstone() -> None:
    base = {"topic": TOPICS.order, "timestamp": 1}
    assert record(base | {"value": {"a": "é"}}).record.value == '{"a":"é"}'.encode()
    assert record(base | {"value": None}).record.value is None
    assert record(base | {"value": ""}).record.value == b""
    assert record(base | {"key": "k"}).record.key == b"k"


def test_headers_may_be_an_object_or_pairs() -> None:
    base = {"topic": TOPICS.order, "timestamp": 1, "value": None}
    want = (("a", b"1"), ("b", b"2"))
    assert record(base | {"headers": {"a": "1", "b": "2"}}).record.headers == want
    assert record(base | {"headers": [["a", "1"], ["b", "2"]]}).record.headers == want


def test_a_bare_event_goes_to_the_topic_of_its_type_byte_for_byte() -> None:
    line = json.dumps(payment(at="+1h"), indent=None).encode()
    got = record(b"  " + line + b"\r\n").record
    assert (got.topic, got.key, got.value) == (TOPICS.payment, b"c1", line)
    assert got.timestamp == ms("+1h")
    assert record({"type": "hitrun.verdict.overturn", "time": rfc3339(9)}).stream == "command"
    assert record({"type": "marketplace.checkout.other", "time": rfc3339(9)}).stream == "checkout"


def test_without_a_timestamp_it_arrives_at_its_event_time() -> None:
    value = json.dumps(payment(at="+1h"))
    line: dict[str, object] = {"topic": TOPICS.payment, "value": value}
    assert record(line).record.timestamp == ms("+1h")
    binary = {"topic": TOPICS.payment, "value": "{}", "headers": {"ce_time": rfc3339(7)}}
    assert record(binary).record.timestamp == 7
    assert record(line | {"timestamp": "2026-01-01T00:00:00Z"}).record.timestamp == ms(
        "2026-01-01T00:00:00Z"
    )


def test_one_without_any_time_arrives_with_the_line_before_it() -> None:
    lines = [json.dumps(checkout()), json.dumps({"topic": TOPICS.order, "value": "{"})]
    bad: list[str] = []
    got = list(read([each.encode() for each in lines], topics=TOPICS, name="f", bad=bad.append))
    assert [each.record.timestamp for each in got] == [START_MS, START_MS]
    assert bad == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"[" * 100_000, "not JSON"),
        (b"{}", "neither a record"),
        (b'{"topic": "elsewhere"}', "'elsewhere' is none of the inputs (marketplace.checkout.v1"),
        (b'{"topic": 3}', "none of the inputs"),
        (b'{"type": "other.thing"}', "tells no topic"),
        (b'{"topic": "hitrun.command.v1", "value": 3, "ts": 1}', "value is neither"),
        (b'{"topic": "hitrun.command.v1", "key": {}, "ts": 1}', "key is neither"),
        (b'{"topic": "hitrun.command.v1", "timestamp": true}', "timestamp is neither"),
        (b'{"topic": "hitrun.command.v1", "timestamp": -5}', "no ms since 1970"),
        (b'{"topic": "hitrun.command.v1", "timestamp": "noon"}', "timestamp: noon is no time"),
        (b'{"topic": "hitrun.command.v1", "value": "{}"}', "neither a timestamp nor an event"),
        (b'{"topic": "hitrun.command.v1", "ts": 1, "headers": ["a"]}', "without a value"),
        (b'{"topic": "hitrun.command.v1", "ts": 1, "key": "\\ud800"}', "stands for no byte"),
    ],
)
def test_what_is_no_record_says_why(line: bytes, words: str) -> None:
    with pytest.raises(BadLine) as told:
        record(line)
    assert words in str(told.value)


def test_bad_lines_are_named_with_file_and_line_and_the_others_are_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.ndjson"
    file.write_text("\n\n".join([json.dumps(checkout()), "oops", json.dumps(checkout("k2"))]))
    missing = tmp_path / "missing"
    code, out = replay_of(tmp_path, [str(file), str(missing)], until="+100h")
    assert code == 1
    err = capsys.readouterr().err
    assert f"hitrun: {file}:3: not JSON" in err
    assert f"hitrun: {missing}: no such file" in err
    assert out.count("verdict.detected") == 2


def test_a_dash_is_stdin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = json.dumps(checkout()) + "\noops\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    code, out = replay_of(tmp_path, ["-"], until="+100h")
    assert (code, out.count("verdict.detected")) == (1, 1)
    assert "hitrun: stdin:2:" in capsys.readouterr().err


def test_no_line_at_all_says_nothing(tmp_path: Path) -> None:
    assert replayed(tmp_path) == []


def test_until_wants_a_zone() -> None:
    assert until_ms("2026-03-02T10:00:00+07:00") == START_MS
    with pytest.raises(ValueError, match="says no zone"):
        until_ms("2026-03-02T10:00:00")
    with pytest.raises(ValueError, match="is no time like"):
        until_ms("tomorrow")


# Another policy


def test_another_policy_judges_by_its_own_figures(tmp_path: Path) -> None:
    policy = '[verdict]\nafter_silence = "20h"\n'
    said = replayed(tmp_path, checkout(), until="+200h", policy=policy)
    (verdict,) = (line["value"] for line in said if line["topic"] == TOPICS.verdict)
    assert verdict["time"] == rfc3339(ms("+24h"))


def test_the_difference_names_who_would_be_judged_otherwise(tmp_path: Path) -> None:
    # c1 pays a day late, c2 never, c3 in time
    lines = [
        *(checkout(customer=customer) for customer in ("c1", "c2", "c3")),
        payment(at="+28h", paid_at="+28h", customer="c1"),
        payment("p3", at="+1m", paid_at="+1m", customer="c3"),
    ]
    policy = '[verdict]\nafter_silence = "20h"\n[reminders]\nsteps.card = []\n'
    found = replayed(tmp_path, *lines, until="+200h", policy=policy, diff=True)
    verdicts = {each["customer_id"]: each for each in found if each["what"] == "verdict"}
    assert verdicts["c1"]["before"] == "no verdict"
    assert verdicts["c1"]["after"] == (
        f"unpaid at {rfc3339(ms('+24h'))} (rule 12), withdrawn: paid_late"
    )
    assert verdicts["c2"]["before"] == f"unpaid at {rfc3339(ms('+100h'))} (rule 12)"
    assert set(verdicts) == {"c1", "c2"}
    reminders = [each for each in found if each["what"] == "reminders"]
    assert [(each["customer_id"], each["after"]) for each in reminders] == [
        ("c1", "none"),
        ("c2", "none"),
    ]
    assert not [each for each in found if each["what"] == "advice"], "it ends the same"


def test_without_a_difference_nothing_is_printed(tmp_path: Path) -> None:
    lines = [checkout(), checkout("k2", at="+1h")]
    assert replayed(tmp_path, *lines, until="+200h", policy="", diff=True) == []
