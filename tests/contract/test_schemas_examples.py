"""The golden examples of every event type: each is decoded, judged and encoded.

`schemas/examples/<type>/*.json` is one story: its inputs, told in the order of their times, make
hitrun say exactly its outputs. `python -m tests.contract.test_schemas_examples` writes the outputs
anew; look at the difference before you keep it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas import outputs
from schemas.codec import TYPES, decode
from schemas.faults import Skip
from schemas.partition import partition_of
from schemas.topics import STREAMS, Stream, Topics
from tests.support import builders as b
from tests.support.reading import DAY, policy_from, read, time_ms
from tests.support.real import Real

EXAMPLES = Path(outputs.__file__).parent / "examples"
STREAM_OF: dict[str, Stream] = {type_: stream for stream in STREAMS for type_ in TYPES[stream]}
WRITTEN = {
    "hitrun.verdict.detected",
    "hitrun.verdict.withdrawn",
    "hitrun.reminder.due",
    "hitrun.customer.changed",
    "hitrun.event.misplaced",
}
NOT_YET = {"hitrun.customer.erase", "hitrun.incident.declared"}
POLICY_VERSION = "2f6d1c9a4b07"
"""In the examples; the real one is a hash that changes with every default."""

INPUTS = sorted(p for t in STREAM_OF if t not in WRITTEN for p in (EXAMPLES / t).glob("*.json"))
OUTPUTS = sorted(p for t in WRITTEN for p in (EXAMPLES / t).glob("*.json"))


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def record_of(path: Path) -> b.Record:
    """The Kafka record of an input example: structured, or {headers, value} in binary mode."""
    whole = load(path)
    binary = "headers" in whole
    data = whole["value"] if binary else whole["data"]
    time = whole["headers"]["ce_time"] if binary else whole["time"]
    return b.Record(
        Topics().name(STREAM_OF[path.parent.name]),
        orjson.dumps(data if binary else whole),
        data["customer_id"].encode() if "customer_id" in data else None,
        timestamp=time_ms(time) + 40,
        headers=[(n, v.encode()) for n, v in whole["headers"].items()] if binary else [],
    )


def said() -> list[dict[str, Any]]:
    """What hitrun says to the inputs, and to one of them on a wrong partition."""
    real = Real()
    records = sorted((record_of(path) for path in INPUTS), key=lambda record: record.timestamp)
    streams = Topics().inputs()
    real.run([(streams[r.topic], r) for r in records], records[-1].timestamp + 150 * DAY)
    assert real.dead_letters == []
    real.check_state()
    lost = record_of(EXAMPLES / "marketplace.payment.updated" / "expired.json")
    lane = Real()
    lane.ledger.partitions = 12
    lane.ledger.partition = (partition_of(b"ayu", 12) + 1) % 12
    lost.partition, lost.offset = lane.ledger.partition, 4711
    lane.feed("payment", lost)
    lane.flush()
    events = [dict(event) for event in real.outputs + lane.outputs]
    for event in events:
        del event["role"]
        if "policy_version" in event["data"]:
            assert event["data"]["policy_version"] == real.policy.version
            event["data"]["policy_version"] = POLICY_VERSION
    return events


@pytest.mark.parametrize("type_", sorted({*STREAM_OF, *WRITTEN}))
def test_every_type_has_examples(type_: str) -> None:
    assert list((EXAMPLES / type_).glob("*.json"))


def test_no_examples_of_unknown_types() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == {*STREAM_OF, *WRITTEN}


@pytest.mark.parametrize("path", INPUTS, ids=name_of)
def test_every_input_example_is_decoded_as_the_naive_reading_does(path: Path) -> None:
    stream, record = STREAM_OF[path.parent.name], record_of(path)
    event = decode(stream, record)
    assert not isinstance(event, Skip)
    assert type(event).__struct_config__.tag == path.parent.name
    naive = read(stream, record, policy_from())
    assert naive.faults == ()
    if path.parent.name in NOT_YET:
        return
    assert naive.fact is not None
    assert naive.fact.id == event.id


def test_optional_fields_are_shown_somewhere() -> None:
    shown = {t: set[str]() for t in STREAM_OF}
    for path in INPUTS:
        whole = load(path)
        shown[path.parent.name] |= set(whole["value"] if "headers" in whole else whole["data"])
    confirmed = {
        "customer_id", "checkout_id", "amount_minor", "currency", "payment_method", "pay_by",
        "cart_id", "orders", "time_zone", "channel", "arrived_by", "items", "ships_to", "gift",
        "discount_minor", "reminders_allowed", "language",
    }  # fmt: skip
    payment = {
        "customer_id", "checkout_id", "payment_id", "status", "amount_minor", "currency",
        "paid_at", "payment_method", "failure_side", "provider", "provider_status",
    }  # fmt: skip
    order = {
        "customer_id", "checkout_id", "order_id", "status", "by", "reason", "amount_minor",
    }  # fmt: skip
    assert shown["marketplace.checkout.confirmed"] == confirmed
    assert shown["marketplace.payment.updated"] == payment
    assert shown["marketplace.order.updated"] == order


@pytest.mark.parametrize("path", OUTPUTS, ids=name_of)
def test_every_output_example_is_decoded_and_encoded_unchanged(path: Path) -> None:
    whole = load(path)
    event = outputs.decode_output(path.read_bytes())
    assert type(event).__struct_config__.tag == path.parent.name
    assert orjson.loads(outputs.encode(event)) == whole
    assert list(orjson.loads(outputs.encode(event))) == [
        "specversion", "id", "source", "type", "time", "subject", "datacontenttype", "data",
    ]  # fmt: skip


def test_the_inputs_make_hitrun_say_exactly_the_outputs() -> None:
    golden = {load(path)["id"]: load(path) for path in OUTPUTS}
    told = {event["id"]: event for event in said()}
    assert told == golden


def test_misplaced_is_read_back() -> None:
    for path in (EXAMPLES / "hitrun.event.misplaced").glob("*.json"):
        record = b.Record("hitrun.command.v1", path.read_bytes())
        event = decode("command", record)
        assert not isinstance(event, Skip)
        assert event.id == load(path)["id"]


def test_what_is_said_in_the_wrong_shape_is_refused() -> None:
    whole = load(OUTPUTS[0])
    for broken in (
        whole | {"time": "2026-03-02T03:00:00Z"},
        whole | {"source": "shop"},
        whole | {"type": "hitrun.verdict.guessed"},
        whole | {"data": {}},
    ):
        with pytest.raises(outputs.msgspec.ValidationError):
            outputs.decode_output(orjson.dumps(broken))


def write() -> None:
    """The outputs' examples anew."""
    for path in OUTPUTS:
        path.unlink()
    for event in said():
        data = event["data"]
        words = [data["customer_id"], data.get("checkout_id"), data.get("cause")]
        words.append(data.get("template") or data.get("reason"))
        words.append(f"v{data['version']}" if "version" in data else None)
        name = "-".join(word.replace("_", "-") for word in words if word)
        path = EXAMPLES / event["type"] / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert not path.exists(), path
        path.write_text(json.dumps(event, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write()
