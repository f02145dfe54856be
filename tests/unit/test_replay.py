"""Recorded events through the rules without Kafka: how lines are read, time, and what is said."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from domain.policy import DEFAULT_POLICY
from schemas.record import RawRecord
from schemas.topics import Topics
from streams import replay
from streams.recording import BadLine, read, record_of, until_ms
from streams.replay_diff import Difference
from streams.settings import ConfigError, Settings
from tests.support import builders as b

SILENT = b.checkout("k1", pay_by="+4h")
"""Confirmed and never paid: reminded at +1h, judged 96 h after pay_by."""
VERDICT = "+100h"


def kcat(record: b.Record) -> str:
    """A record as `kcat -J` writes it."""
    assert record.value is not None
    return json.dumps(
        {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "tstype": "logappend",
            "ts": record.timestamp,
            "broker": 1,
            "headers": [part for name, value in record.headers for part in (name, value.decode())],
            "key": None if record.key is None else record.key.decode(),
            "payload": record.value.decode(),
        }
    )


def line(record: b.Record, **changes: object) -> str:
    """A record as hitrun documents it."""
    assert record.value is not None
    whole = {
        "topic": record.topic,
        "key": None if record.key is None else record.key.decode(),
        "timestamp": record.timestamp,
        "headers": {name: value.decode() for name, value in record.headers},
        "value": record.value.decode(),
    }
    return json.dumps(whole | changes)


class Run:
    """`hitrun replay` of some lines: its exit code and what it printed, line by line."""

    def __init__(
        self,
        home: Path,
        *files: Iterable[str],
        until: b.Time | None = None,
        policy: str | None = None,
        diff: bool = False,
        settings: Settings | None = None,
        names: list[str] | None = None,
    ) -> None:
        paths = []
        for number, lines in enumerate(files, 1):
            path = home / f"{number}.ndjson"
            path.write_text("".join(f"{each}\n" for each in lines))
            paths.append(str(path))
        policy_file = None
        if policy is not None:
            policy_file = home / "other.toml"
            policy_file.write_text(policy)
        out = io.StringIO()
        self.code = replay.run(
            settings or Settings(),
            names or paths,
            until_ms=None if until is None else b.ms(until),
            policy_file=policy_file,
            diff=diff,
            out=out,
        )
        self.lines = [json.loads(each) for each in out.getvalue().splitlines()]

    @property
    def types(self) -> list[str]:
        """What was said, in its order, the customers' own events aside."""
        events = [each["value"] for each in self.lines if isinstance(each["value"], dict)]
        return [each["type"] for each in events if each["type"] != "hitrun.customer.changed"]


DETECTED = "hitrun.verdict.detected"
WITHDRAWN = "hitrun.verdict.withdrawn"
REMINDER = "hitrun.reminder.due"


# Time


def test_outputs_are_topic_key_and_value(tmp_path: Path) -> None:
    run = Run(tmp_path, [line(b.record(SILENT))], until=VERDICT)
    assert run.code == 0
    assert run.types == [REMINDER, DETECTED]
    verdict = next(each for each in run.lines if each["topic"] == "hitrun.verdict.v1")
    assert verdict.keys() == {"topic", "key", "value"}
    assert verdict["key"] == "c1"
    assert verdict["value"]["data"]["verdict_at"] == b.rfc3339(b.ms(VERDICT))


@pytest.mark.parametrize(
    ("until", "judged"), [("+100h-1ms", False), ("+100h", True)], ids=["1 ms before", "at it"]
)
def test_time_passes_until_the_moment_given(tmp_path: Path, until: str, judged: bool) -> None:
    run = Run(tmp_path, [line(b.record(SILENT))], until=until)
    assert (DETECTED in run.types) == judged


def test_without_until_time_ends_with_the_last_arrival(tmp_path: Path) -> None:
    other = b.checkout("k2", at=VERDICT, customer="c2")
    assert DETECTED in Run(tmp_path, [line(b.record(each)) for each in (SILENT, other)]).types
    assert Run(tmp_path, [line(b.record(SILENT))]).types == []


@pytest.mark.parametrize(
    ("arrives", "told"),
    [
        ("+100h+5s-1ms", [REMINDER]),
        ("+100h+5s", [REMINDER, DETECTED, WITHDRAWN]),
    ],
    ids=["within upstream_delay", "as late as that"],
)
def test_the_frontier_is_upstream_delay_behind_each_arrival(
    tmp_path: Path, arrives: str, told: list[str]
) -> None:
    # given a payment dated in time, told as late as the verdict is due
    paid = b.record(b.payment(at="+1h30m"), arrives=arrives)
    # when, then
    assert Run(tmp_path, [line(b.record(SILENT)), line(paid)], until="+120h").types == told


def test_every_moment_on_the_way_is_stepped_through(tmp_path: Path) -> None:
    # given a gap of a month between two records
    late = b.checkout("k9", at="+30d", customer="c9")
    run = Run(tmp_path, [line(b.record(each)) for each in (SILENT, late)], until="+30d+2h")
    # then what fell due in it was said at its own moment: the reminder was not too late
    assert run.types == [REMINDER, DETECTED, REMINDER]
    reminder = next(each for each in run.lines if each["topic"] == "hitrun.reminder.v1")
    assert reminder["value"]["time"] == b.rfc3339(b.ms("+1h"))


def test_files_are_read_together_in_order_of_arrival(tmp_path: Path) -> None:
    # given one file per topic, the way a cluster is dumped
    paid = b.record(b.payment(at="+1h30m"))
    files = [line(paid)], [line(b.record(SILENT))]
    assert Run(tmp_path, *files, until="+120h").types == [REMINDER]


def test_the_same_records_say_the_same(tmp_path: Path) -> None:
    lines = [line(b.record(SILENT)), line(b.record(b.payment(at="+101h")))]
    once, again = (Run(tmp_path, lines, until="+120h") for _ in range(2))
    assert once.lines == again.lines
    assert once.types == [REMINDER, DETECTED, WITHDRAWN]


def test_nothing_to_read_says_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, [], until="+1h")
    assert (run.code, run.lines) == (0, [])


# Lines


def test_kcat_and_bare_events_and_records_say_the_same(tmp_path: Path) -> None:
    runs = [
        Run(tmp_path, [written], until="+120h")
        for written in (
            line(b.record(SILENT)),
            kcat(b.record(SILENT)),
            json.dumps(SILENT),
            line(b.record(SILENT), value=SILENT),
            kcat(b.binary(SILENT)),
        )
    ]
    assert runs[0].types == [REMINDER, DETECTED]
    assert all(run.lines == runs[0].lines for run in runs)


def test_a_record_of_kcat_keeps_its_headers_and_place() -> None:
    record = b.record(SILENT, partition=3, offset=17, headers=[("a", b"1"), ("b", b"2")])
    found = record_of(kcat(record).encode(), topics=Topics(), offset=0, former_ms=None)
    assert found.stream == "checkout"
    assert found.record == RawRecord(
        record.topic,
        3,
        17,
        b.START_MS,
        b"c1",
        record.value,
        (("a", b"1"), ("b", b"2")),
    )


def test_without_a_timestamp_a_record_arrives_at_its_event_time() -> None:
    for timestamp in (None, -1):
        written = line(b.record(SILENT, timestamp=0), timestamp=timestamp)
        found = record_of(written.encode(), topics=Topics(), offset=0, former_ms=None)
        assert found.record.timestamp == b.START_MS


def test_a_record_without_any_time_arrives_with_the_line_before_it() -> None:
    broken = line(b.record(SILENT), timestamp=None, value="{")
    lines = [line(b.record(SILENT)).encode(), broken.encode()]
    told: list[str] = []
    found = list(read(lines, topics=Topics(), name="f", bad=told.append))
    assert told == []
    assert [each.record.timestamp for each in found] == [b.START_MS, b.START_MS]


def test_bytes_that_are_no_utf_8_reach_the_rules_as_they_were() -> None:
    written = line(b.record(SILENT), value="\udcff{", key="\udcfe")
    raw = b'{"topic":"marketplace.payment.v1","ts":1,"key":"k","payload":"' + b'\xff"}'
    for each, key, value in ((written.encode(), b"\xfe", b"\xff{"), (raw, b"k", b"\xff")):
        found = record_of(each, topics=Topics(), offset=0, former_ms=None)
        assert (found.record.key, found.record.value) == (key, value)


def test_a_topic_goes_by_the_name_in_force() -> None:
    topics = Topics(payment="shop.pay")
    written = line(b.record(b.payment(at="+1h"), topic="shop.pay"))
    found = record_of(written.encode(), topics=topics, offset=0, former_ms=None)
    assert found.stream == "payment"
    bare = json.dumps(b.payment(at="+1h"))
    found = record_of(bare.encode(), topics=topics, offset=0, former_ms=None)
    assert (found.stream, found.record.topic) == ("payment", "shop.pay")


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("{", "not JSON: "),
        ("[" * 200_000, "not JSON: nested too deeply"),
        ("[]", "not a JSON object"),
        ("{}", "neither a record (topic, key, timestamp, headers, value) nor a CloudEvents"),
        ('{"topic": "other", "timestamp": 1}', "topic 'other' is none of the inputs ("),
        ('{"topic": 7, "timestamp": 1}', "topic 7 is none of the inputs ("),
        ('{"type": "shop.opened", "specversion": "1.0"}', "the type 'shop.opened' tells no topic"),
        (line(b.record(SILENT), timestamp=True), "timestamp is neither whole ms since 1970 nor"),
        (line(b.record(SILENT), timestamp=-2), "timestamp -2 is no ms since 1970"),
        (line(b.record(SILENT), timestamp="noon"), "timestamp: noon is no time like"),
        (line(b.record(SILENT), key=7), "key is neither a text nor null"),
        (line(b.record(SILENT), value=7), "value is neither a text nor null"),
        (line(b.record(SILENT), value="\ud800"), "a lone surrogate that stands for no byte"),
        (line(b.record(SILENT), headers="x"), "headers are neither an object nor a list"),
        (line(b.record(SILENT), headers=["x"]), "headers: a name without a value"),
        (line(b.record(SILENT), headers=[1, "x"]), "headers: a name is no text"),
        (line(b.record(SILENT), timestamp=None, value=None), "neither a timestamp nor an event"),
    ],
)
def test_a_line_that_is_no_record_says_why(written: str, why: str) -> None:
    with pytest.raises(BadLine) as raised:
        record_of(written.encode(), topics=Topics(), offset=0, former_ms=None)
    assert str(raised.value).startswith(why)


def test_bad_lines_are_named_and_the_others_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path, ["", line(b.record(SILENT)), "nonsense"], until="+120h")
    assert run.code == 1
    assert run.types == [REMINDER, DETECTED]
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"hitrun: {tmp_path / '1.ndjson'}:3: not JSON: ")


def test_of_many_bad_lines_some_are_named_and_all_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Run(tmp_path, ["x"] * 25).code == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 21
    assert told[-1] == "hitrun: and 5 more lines like that"


def test_a_file_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "missing.ndjson")
    assert Run(tmp_path, names=[missing]).code == 1
    assert capsys.readouterr().err == f"hitrun: {missing}: no such file or directory\n"


def test_a_dash_is_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO(line(b.record(SILENT)).encode() + b"\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(content))
    assert Run(tmp_path, names=["-"], until="+120h").types == [REMINDER, DETECTED]


@pytest.mark.parametrize("text", ["soon", "2026-03-01T12:00:00", ""])
def test_until_is_a_time_with_a_zone(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no time like|says no zone"):
        until_ms(text)
    assert until_ms("1970-01-01T01:00:00+01:00") == 0


# Dead letters


def test_dead_letters_are_printed_with_their_reason(tmp_path: Path) -> None:
    wrong_key = b.record(b.payment(at="+1h"), key=b"other")
    no_json = b.record(SILENT, value=b"{")
    run = Run(tmp_path, [line(no_json), line(wrong_key)])
    assert run.code == 0
    dead = [each for each in run.lines if each["topic"].endswith(".dlq")]
    told = [(each["topic"], each["key"], each["reason"]) for each in dead]
    assert told == [
        ("marketplace.checkout.v1.dlq", "c1", "malformed"),
        ("marketplace.payment.v1.dlq", "other", "key"),
    ]
    assert dead[0]["value"] == "{"
    assert all(each["detail"] for each in dead)


def test_a_dead_letter_of_bytes_can_be_printed(tmp_path: Path) -> None:
    run = Run(tmp_path, [line(b.record(SILENT), value="\udcff", key="\udcfe")])
    (letter,) = run.lines
    assert (letter["key"], letter["value"], letter["reason"]) == ("\\xfe", "\\xff", "malformed")


def test_a_tombstone_is_passed_over(tmp_path: Path) -> None:
    assert Run(tmp_path, [line(b.record(SILENT), value=None)]).lines == []


def test_a_payment_dated_after_its_arrival_holds_its_checkout(tmp_path: Path) -> None:
    ahead = b.record(b.payment(at="+1h+5m+1ms"), arrives="+1h")
    run = Run(tmp_path, [line(b.record(SILENT)), line(ahead)], until="+120h")
    assert [each["reason"] for each in run.lines if "reason" in each] == ["future"]
    assert DETECTED not in run.types


@pytest.mark.parametrize(
    ("at", "told"),
    [("+1h30m", [REMINDER]), ("-1m", ["hitrun.event.misplaced"])],
    ids=["of a known customer", "before anything else is known"],
)
def test_an_event_with_another_key_holds_its_checkout(
    tmp_path: Path, at: str, told: list[str]
) -> None:
    # given a payment that a worker would find on any partition; what it tells the right one
    # comes back here, where there is one ledger for all
    wrong_key = b.record(b.payment(at=at), key=b"other")
    run = Run(tmp_path, [line(b.record(SILENT)), line(wrong_key)], until="+120h")
    assert run.types == told


# Another policy


def test_another_policy_judges_instead(tmp_path: Path) -> None:
    sooner = '[verdict]\nafter_silence = "48h"'
    run = Run(tmp_path, [line(b.record(SILENT))], until="+52h", policy=sooner)
    assert run.types == [REMINDER, DETECTED]


def test_diff_says_who_would_be_judged_otherwise(tmp_path: Path) -> None:
    # given one who pays after two days, one who never does, one who pays at once
    lines = [
        line(b.record(SILENT)),
        line(b.record(b.payment(at="+60h"))),
        line(b.record(b.checkout("k2", customer="c2"))),
        line(b.record(b.checkout("k3", customer="c3"))),
        line(b.record(b.payment("p3", "k3", at="+1m", customer="c3"))),
    ]
    # when
    run = Run(
        tmp_path,
        lines,
        until="+120h",
        policy='[verdict]\nafter_silence = "48h"\n[reminders]\nper_checkout = 0',
        diff=True,
    )
    # then
    assert run.code == 0
    at = b.rfc3339(b.ms("+52h"))
    found = {
        (each["customer_id"], each["what"]): (each["before"], each["after"]) for each in run.lines
    }
    assert found[("c1", "verdict")] == (
        "no verdict",
        f"unpaid at {at} (rule 12), withdrawn: paid_late",
    )
    assert found[("c2", "verdict")] == (
        f"unpaid at {b.rfc3339(b.ms(VERDICT))} (rule 12)",
        f"unpaid at {at} (rule 12)",
    )
    assert found[("c2", "reminders")] == (b.rfc3339(b.ms("+1h")), "none")
    assert not [whose for whose, _ in found if whose == "c3"]
    assert [set(each) for each in run.lines] == [set(Difference.__struct_fields__)] * len(run.lines)


def test_diff_is_a_table_on_a_terminal(tmp_path: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    # given an id that rich would take for markup
    events, policy = tmp_path / "events.ndjson", tmp_path / "other.toml"
    events.write_text(line(b.record(b.checkout("[/red]"))))
    policy.write_text('[verdict]\nafter_silence = "48h"')
    out = Terminal()
    # when
    replay.run(
        Settings(),
        [str(events)],
        until_ms=b.ms("+60h"),
        policy_file=policy,
        diff=True,
        out=out,
    )
    # then
    assert DEFAULT_POLICY.version in out.getvalue()
    assert "[/red]" in out.getvalue()
    assert out.getvalue().endswith(
        "checkouts judged otherwise: 1, reminded otherwise: 0; customers in all: 1\n"
    )


def test_diff_of_equal_policies_is_empty(tmp_path: Path) -> None:
    lines = [line(b.record(SILENT)), line(b.record(SILENT, value=b"{"))]
    assert Run(tmp_path, lines, until="+120h", policy="# none", diff=True).lines == []


def test_diff_counts_dead_letters_that_another_policy_makes(tmp_path: Path) -> None:
    changes = [
        line(b.record(b.changed(at=f"+{minute}m", method="qris" if minute % 2 else "card")))
        for minute in range(1, 4)
    ]
    run = Run(
        tmp_path,
        [line(b.record(SILENT)), *changes],
        policy="[caps]\nmethod_changes = 2",
        diff=True,
    )
    assert [(each["before"], each["after"]) for each in run.lines] == [("limit: 0", "limit: 1")]


def test_a_policy_that_cannot_be_used_says_where(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"other\.toml:1: verdict\.after is no key"):
        Run(tmp_path, [], policy="verdict.after = 1")
