"""CloudEvents in: what is read, what is passed over, what is rejected with which words."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import events
from schemas.codec import decode, from_rfc3339, ids_of, rfc3339, to_ms
from schemas.faults import RejectRecord, Skip
from schemas.topics import Stream
from tests.support import builders as b
from tests.support.reading import policy_from, read, time_ms

POLICY = policy_from()
RICH = b.checkout(
    pay_by="+4h",
    cart_id="cart-1",
    orders=[
        {"order_id": "o1", "seller_id": "s1", "amount_minor": 6_000},
        {"order_id": "o2", "seller_id": "s2", "amount_minor": 4_000},
    ],
    time_zone="Asia/Jakarta",
    channel="app",
    arrived_by="search",
    items=[{"category": "shoes", "accessory": False, "quantity": 1, "amount_minor": 10_000}],
    ships_to="other",
    gift=True,
    discount_minor=500,
    reminders_allowed=False,
    language="id",
)
ERASE = b.event("hitrun.customer.erase", {"customer_id": "c1"}, at="+0", id="e1")
INCIDENT = b.event(
    "hitrun.incident.declared",
    {
        "incident_id": "i1",
        "payment_methods": ["card"],
        "from": "2026-03-02T03:00:00Z",
        "until": "2026-03-02T09:00:00Z",
    },
    at="+0",
    id="e2",
)
ONE_OF_EACH: list[tuple[Stream, b.Event]] = [
    ("checkout", RICH),
    ("checkout", b.changed(at="+1h", pay_by="+9h")),
    ("checkout", b.cancelled(at="+1h", reason="too slow")),
    ("payment", b.payment(at="+1h")),
    ("order", b.order(at="+1h", status="refused", by="buyer")),
    ("command", b.overturn(at="+1h")),
    ("command", b.misplaced(at="+1h")),
    ("command", ERASE),
    ("command", INCIDENT),
]


def of(value: bytes, *headers: tuple[str, bytes]) -> b.Record:
    return b.Record("topic", value, headers=headers)


def changed_at(event: b.Event, path: str, value: Any) -> b.Event:
    """The event with another value at a path like "data.orders.0.order_id"; ... removes it."""
    event = copy.deepcopy(event)
    *parents, last = path.split(".")
    place: Any = event
    for name in parents:
        place = place[int(name)] if name.isdigit() else place[name]
    if isinstance(place, list):
        place[int(last)] = value
    elif value is ...:
        del place[last]
    else:
        place[last] = value
    return event


def fault(stream: Stream, record: b.Record) -> RejectRecord:
    with pytest.raises(RejectRecord) as caught:
        decode(stream, record)
    return caught.value


def event_of(stream: Stream, record: b.Record) -> Any:
    found = decode(stream, record)
    assert not isinstance(found, Skip)
    return found


# ------------------------------------------------------------ what is read


@pytest.mark.parametrize(("stream", "event"), ONE_OF_EACH)
def test_structured_and_binary_mode_say_the_same(stream: Stream, event: b.Event) -> None:
    structured = event_of(stream, of(b.encode(event)))
    binary = b.binary(event, role=stream, key=None)
    assert event_of(stream, binary) == structured
    assert structured.id == event["id"]


def test_all_fields_of_a_confirmed_checkout_are_read() -> None:
    found = event_of("checkout", of(b.encode(RICH)))
    assert isinstance(found, events.CheckoutConfirmed)
    data = found.data
    assert to_ms(found.time) == b.START_MS
    assert data.pay_by is not None
    assert to_ms(data.pay_by) == b.ms("+4h")
    assert [share.order_id for share in data.orders] == ["o1", "o2"]
    assert (data.items[0].category, data.ships_to, data.gift) == ("shoes", "other", True)
    assert data.reminders_allowed is False


def test_what_is_not_told_has_its_default() -> None:
    data = event_of("checkout", of(b.encode(b.checkout()))).data
    assert (data.pay_by, data.orders, data.items, data.gift) == (None, (), (), None)
    assert data.reminders_allowed is True


@pytest.mark.parametrize(
    "path",
    ["pay_by", "orders", "items", "reminders_allowed", "gift", "cart_id", "orders.0.seller_id"],
)
def test_null_says_the_same_as_an_absent_field(path: str) -> None:
    absent = event_of("checkout", of(b.encode(changed_at(RICH, f"data.{path}", ...))))
    assert event_of("checkout", of(b.encode(changed_at(RICH, f"data.{path}", None)))) == absent


def test_unknown_attributes_and_fields_are_ignored() -> None:
    event = RICH | {"traceparent": "00-1", "data": RICH["data"] | {"new": [{"deep": 1.5}]}}
    assert event_of("checkout", of(b.encode(event))) == event_of("checkout", of(b.encode(RICH)))


def test_a_value_nested_deeply_in_an_unknown_field_is_ignored_too() -> None:
    deep = b"[" * 400 + b"]" * 400
    value = b.encode(b.payment(at="+0"))[:-1] + b',"more":' + deep + b"}"
    assert event_of("payment", of(value)).data.payment_id == "p1"


def test_escaped_text_is_read() -> None:
    value = b.encode(b.checkout("k1")).replace(b'"k1"', b'"k\\u00e4\\/1"')
    assert event_of("checkout", of(value)).data.checkout_id == "kä/1"


@pytest.mark.parametrize(
    "headers",
    [
        (("content-type", b"application/cloudevents+json"),),
        (
            ("Content-Type", b"application/cloudevents+json; charset=UTF-8"),
            ("ce_specversion", b"1.0"),
        ),
        (("traceparent", b"00-1"),),
        (("ce_id", b"no attribute without ce_specversion"),),
    ],
)
def test_headers_that_leave_it_structured(headers: tuple[tuple[str, bytes], ...]) -> None:
    assert event_of("payment", of(b.encode(b.payment(at="+0")), *headers)).id


def test_binary_headers_in_any_case_and_without_content_type() -> None:
    record = b.binary(b.payment(at="+0"))
    record.headers = [(n.upper(), v) for n, v in record.headers if n != "content-type"]
    assert event_of("payment", record).data.payment_id == "p1"


# ------------------------------------------------------------ times


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-03-02T03:00:00Z", b.START_MS),
        ("2026-03-02T03:00:00.1Z", b.START_MS + 100),
        ("2026-03-02t03:00:00.001z", b.START_MS + 1),
        ("2026-03-02T10:00:00+07:00", b.START_MS),
        ("2026-03-01T22:30:00.5-04:30", b.START_MS + 500),
        ("2026-03-02T03:00:00.000999Z", b.START_MS),  # microseconds are cut
        ("2026-03-02T03:00:00.000999499Z", b.START_MS),  # nanoseconds are rounded, then cut
        ("2026-03-02T03:00:00.000999500Z", b.START_MS + 1),
        ("2026-03-02T03:00:00.999999999Z", b.START_MS + 1000),
        ("2026-12-31T23:59:59.9999999Z", time_ms("2027-01-01T00:00:00Z")),
        ("2028-02-29T00:00:00Z", time_ms("2028-02-29T00:00:00Z")),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_event_times_are_rounded_to_microseconds_then_cut_to_milliseconds(
    text: str, ms: int
) -> None:
    event = b.payment(at="+0") | {"time": text}
    assert to_ms(event_of("payment", of(b.encode(event))).time) == ms == time_ms(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-02T03:00:00",
        "2026-03-02",
        "2026-12-31T23:59:60Z",  # a leap second
        "2026-02-29T00:00:00Z",
        "2026-03-02T24:00:00Z",
        "2026-03-02T03:00Z",
        "yesterday",
        "",
        1772420400,
    ],
)
@pytest.mark.parametrize("path", ["time", "data.paid_at"])
def test_what_is_no_rfc3339_time_with_a_zone_is_invalid(path: str, text: object) -> None:
    found = fault("payment", of(b.encode(changed_at(b.payment(at="+0"), path, text))))
    assert found.reason == "invalid"
    assert found.detail.startswith(f"$.{path}: ")


@given(st.integers(-(10**12), 10**14))
def test_times_written_are_read_back(ms: int) -> None:
    text = rfc3339(ms)
    assert len(text) == 24
    assert from_rfc3339(text) == ms


def test_times_are_written_with_ms_and_z() -> None:
    assert rfc3339(1_767_225_600_000) == "2026-01-01T00:00:00.000Z"
    assert rfc3339(1_767_225_600_005) == "2026-01-01T00:00:00.005Z"


# ------------------------------------------------------------ skips


def test_a_null_value_is_a_tombstone_zero_bytes_are_malformed() -> None:
    assert decode("checkout", b.Record("topic", None)) == Skip("tombstone")
    assert fault("checkout", of(b"")).reason == "malformed"


def test_a_tombstone_with_binary_headers_is_one_too() -> None:
    record = b.binary(b.payment(at="+0"))
    record.value = None
    assert decode("payment", record) == Skip("tombstone")


@pytest.mark.parametrize(("stream", "event"), ONE_OF_EACH)
@pytest.mark.parametrize("other", ["checkout", "payment", "order", "command"])
def test_a_type_of_another_topic_is_unknown(stream: Stream, event: b.Event, other: Stream) -> None:
    found = decode(other, of(b.encode(event)))
    assert (found == Skip("unknown_type")) is (other != stream)


def test_an_unknown_type_is_skipped_whatever_else_it_is() -> None:
    for type_ in ("marketplace.payment.noted", "-"):
        other = {"specversion": "1.0", "type": type_, "data": 5}
        assert decode("payment", of(b.encode(other))) == Skip("unknown_type")
    record = b.binary(b.payment(at="+0") | {"type": "other"}, role="payment")
    assert decode("payment", record) == Skip("unknown_type")


# ------------------------------------------------------------ malformed

PAID = b.encode(b.payment(at="+0"))


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (b"{", "not UTF-8 JSON"),
        (b" ", "not UTF-8 JSON"),
        (b"\xef\xbb\xbf" + PAID, "not UTF-8 JSON"),
        (PAID + b"x", "not UTF-8 JSON"),
        (PAID.replace(b'"1.0"', b'"1.0",'), "not UTF-8 JSON"),
        (PAID[:-1] + b',"note":"\xff"}', "not UTF-8 JSON"),  # in a field nobody reads
        (PAID[:-1] + b',"note":"\x01"}', "not UTF-8 JSON"),
        (PAID[:-1] + b',"note":NaN}', "not UTF-8 JSON"),
        (PAID.decode().encode("utf-16"), "not UTF-8 JSON"),
        (b"[" * 100_000, "not UTF-8 JSON"),
        (b"\x00\x00\x00\x00\x07binary with a schema id", "not UTF-8 JSON"),
        (b"[]", "not a CloudEvents 1.0 object: an array"),
        (b"null", "not a CloudEvents 1.0 object: null"),
        (b'"text"', "not a CloudEvents 1.0 object: a string"),
        (b"{}", "$.specversion: not 1.0"),
        (PAID.replace(b'"1.0"', b'"0.3"'), "$.specversion: not 1.0"),
        (PAID.replace(b'"1.0"', b"1.0"), "$.specversion: not 1.0"),
        (PAID.replace(b'"type"', b'"kind"'), "$.type: missing, or not a text"),
        (PAID.replace(b'"marketplace.payment.updated"', b"null"), "$.type: missing"),
        (PAID.replace(b'"marketplace.payment.updated"', b'""'), "$.type: missing"),
        (PAID.replace(b'"id"', b'"no"'), "$.id: missing, or not a text"),
        (PAID.replace(b'"source":"shop"', b'"source":""'), "$.source: missing, or not a text"),
    ],
)
def test_what_is_no_cloudevents_object_is_malformed(value: bytes, detail: str) -> None:
    found = fault("payment", of(value))
    assert found.reason == "malformed"
    assert found.detail.startswith(detail)


def test_binary_mode_malformed() -> None:
    record = b.binary(b.payment(at="+0"))
    assert record.value is not None
    whole = record.value
    for value in (b"{", b"", whole + b',"id":"smuggled"', b'{"note":"\xff"}'):
        record.value = value
        found = fault("payment", record)
        assert (found.reason, found.detail[:23]) == ("malformed", "$.data: not UTF-8 JSON:")
    record.value = whole
    record.headers = [*record.headers, ("ce_subject", b"\xff")]
    found = fault("payment", record)
    assert (found.reason, found.detail) == ("malformed", "header ce_subject: not UTF-8")
    assert (found.customer_id, found.checkout_id) == ("c1", "k1")


def test_binary_mode_without_an_attribute_is_malformed() -> None:
    record = b.binary(b.payment(at="+0"))
    record.headers = [(n, v) for n, v in record.headers if n != "ce_source"]
    found = fault("payment", record)
    assert (found.reason, found.detail) == ("malformed", "$.source: missing, or not a text")
    assert (found.customer_id, found.checkout_id) == ("c1", "k1")


# ------------------------------------------------------------ invalid

Cases = list[tuple[Stream, b.Event, str, Any, str]]
CONFIRMED, PAYMENT, ORDER = RICH, b.payment(at="+0"), b.order(at="+0", status="shipped")
INVALID: Cases = [
    ("payment", PAYMENT, "time", ..., "$.time: missing"),
    ("payment", PAYMENT, "data", ..., "$.data: missing"),
    ("payment", PAYMENT, "data", [], "$.data: Expected `object`, got `array`"),
    ("payment", PAYMENT, "data.status", ..., "$.data.status: missing"),
    ("payment", PAYMENT, "data.status", None, "$.data.status: missing"),
    ("payment", PAYMENT, "data.status", "settled", "$.data.status: Invalid enum value 'settled'"),
    ("payment", PAYMENT, "data.paid_at", ..., "$.data.paid_at: required when paid"),
    ("payment", PAYMENT, "data.paid_at", None, "$.data.paid_at: required when paid"),
    (
        "payment",
        PAYMENT,
        "data.amount_minor",
        100.0,
        "$.data.amount_minor: Expected `int`, got `float`",
    ),
    (
        "payment",
        PAYMENT,
        "data.amount_minor",
        "100",
        "$.data.amount_minor: Expected `int`, got `str`",
    ),
    (
        "payment",
        PAYMENT,
        "data.amount_minor",
        True,
        "$.data.amount_minor: Expected `int`, got `bool`",
    ),
    ("payment", PAYMENT, "data.amount_minor", -1, "$.data.amount_minor: Expected `int` >= 0"),
    ("payment", PAYMENT, "data.amount_minor", 2**63, "$.data.amount_minor: Expected `int` <= "),
    ("payment", PAYMENT, "data.amount_minor", 2**80, "$.data.amount_minor: Expected `int`"),
    (
        "payment",
        PAYMENT,
        "data.currency",
        "rupiah",
        "$.data.currency: Expected `str` of length <= 3",
    ),
    ("payment", PAYMENT, "data.currency", "idr", "$.data.currency: not three capital letters"),
    ("payment", PAYMENT, "data.currency", "ID1", "$.data.currency: not three capital letters"),
    ("payment", PAYMENT, "data.currency", "ÄÖÜ", "$.data.currency: not three capital letters"),
    ("payment", PAYMENT, "data.payment_id", "p\x7f", "$.data.payment_id: not printable"),
    (
        "payment",
        PAYMENT,
        "data.payment_method",
        "gold",
        "$.data.payment_method: Invalid enum value",
    ),
    ("payment", PAYMENT, "id", "e\u200b1", "$.id: not printable"),
    ("payment", PAYMENT, "id", "e" * 129, "$.id: Expected `str` of length <= 128"),
    ("checkout", CONFIRMED, "data.payment_method", "gold", "$.data.payment_method: Invalid enum"),
    (
        "checkout",
        CONFIRMED,
        "data.currency",
        "EURO",
        "$.data.currency: Expected `str` of length <= 3",
    ),
    ("checkout", CONFIRMED, "data.pay_by", "soon", "$.data.pay_by: Invalid RFC3339"),
    ("checkout", CONFIRMED, "data.cart_id", "a\nb", "$.data.cart_id: not printable"),
    ("checkout", CONFIRMED, "data.orders", {}, "$.data.orders: Expected `array`, got `object`"),
    ("checkout", CONFIRMED, "data.orders.1", 5, "$.data.orders[1]: Expected `object`, got `int`"),
    ("checkout", CONFIRMED, "data.orders.1.order_id", ..., "$.data.orders[1].order_id: missing"),
    (
        "checkout",
        CONFIRMED,
        "data.orders.1.order_id",
        "\n",
        "$.data.orders[1].order_id: not printable",
    ),
    (
        "checkout",
        CONFIRMED,
        "data.orders.0.seller_id",
        "\t",
        "$.data.orders[0].seller_id: not printable",
    ),
    (
        "checkout",
        CONFIRMED,
        "data.orders.0.amount_minor",
        -1,
        "$.data.orders[0].amount_minor: Expected",
    ),
    (
        "checkout",
        CONFIRMED,
        "data.items.0.quantity",
        1.0,
        "$.data.items[0].quantity: Expected `int`",
    ),
    ("checkout", CONFIRMED, "data.gift", "yes", "$.data.gift: Expected `bool | null`, got `str`"),
    ("checkout", CONFIRMED, "data.channel", "fax", "$.data.channel: Invalid enum value 'fax'"),
    ("checkout", b.cancelled(at="+0"), "data.by", "courier", "$.data.by: Invalid enum value"),
    ("checkout", b.cancelled(at="+0"), "data.by", ..., "$.data.by: missing"),
    ("checkout", b.changed(at="+0"), "data.payment_method", ..., "$.data.payment_method: missing"),
    ("order", ORDER, "data.status", "cancelled", "$.data.by: required when cancelled"),
    ("order", ORDER, "data.status", "refused", "$.data.by: required when refused"),
    ("order", ORDER, "data.order_id", "", "$.data.order_id: Expected `str` of length >= 1"),
    ("order", ORDER, "data.order_id", "o\u0085", "$.data.order_id: not printable"),
    ("order", ORDER, "data.amount_minor", "10", "$.data.amount_minor: Expected `int"),
    ("command", b.overturn(at="+0"), "data.decided_by", ..., "$.data.decided_by: missing"),
    ("command", b.overturn(at="+0"), "data.decided_by", "a\rb", "$.data.decided_by: not printable"),
]


IN_BINARY = [case for case in INVALID if case[2].startswith("data") and case[2:4] != ("data", ...)]


@pytest.mark.parametrize(
    ("mode", "stream", "event", "path", "value", "detail"),
    [("structured", *case) for case in INVALID] + [("binary", *case) for case in IN_BINARY],
)
def test_a_bad_field_is_invalid_with_its_path_and_the_ids(
    mode: str, stream: Stream, event: b.Event, path: str, value: Any, detail: str
) -> None:
    event = changed_at(event, path, value)
    record = of(b.encode(event)) if mode == "structured" else b.binary(event, key=None)
    found = fault(stream, record)
    assert found.reason == "invalid"
    assert found.detail.startswith(detail)
    ids = (None, None) if path == "data" else ("c1", "k1")
    assert (found.customer_id, found.checkout_id) == ids


@pytest.mark.parametrize("name", ["customer_id", "checkout_id"])
@pytest.mark.parametrize("bad", [..., None, "", 7, "k\u0000", "x" * 129, "\ud800"])
def test_of_two_ids_the_readable_one_is_told(name: str, bad: object) -> None:
    event = changed_at(b.payment(at="+0"), f"data.{name}", bad)
    value = json.dumps(event).encode()
    found = fault("payment", of(value))
    told = {"customer_id": found.customer_id, "checkout_id": found.checkout_id}
    if bad == "\ud800":  # half of a surrogate pair: no text, so no JSON for anybody
        assert (found.reason, *told.values()) == ("malformed", None, None)
        return
    assert found.detail.startswith(f"$.data.{name}: ")
    assert told.pop(name) is None
    assert list(told.values()) in (["c1"], ["k1"])


def test_malformed_events_with_ids_tell_them() -> None:
    found = fault("payment", of(PAID.replace(b'"1.0"', b'"0.3"')))
    assert (found.customer_id, found.checkout_id) == ("c1", "k1")


@pytest.mark.parametrize("name", ["customer_id", "checkout_id", "payment_id"])
@pytest.mark.parametrize("letter", ["x", "ä", "😀"])
def test_ids_have_up_to_128_code_points(name: str, letter: str) -> None:
    good = changed_at(b.payment(at="+0"), f"data.{name}", letter * 128)
    assert getattr(event_of("payment", of(b.encode(good))).data, name) == letter * 128
    found = fault("payment", of(b.encode(changed_at(good, f"data.{name}", letter * 129))))
    assert found.detail == f"$.data.{name}: Expected `str` of length <= 128"


@pytest.mark.parametrize(
    "character", ["\x00", "\n", "\x7f", "\u0085", "\u200b", "\u2028", "\ue000"]
)
@pytest.mark.parametrize("escaped", [True, False])
def test_ids_are_printable(character: str, escaped: bool) -> None:
    event = changed_at(b.payment(at="+0"), "data.checkout_id", f"k{character}1")
    value = json.dumps(event, ensure_ascii=escaped).encode()
    found = fault("payment", of(value))
    assert (found.reason, found.detail) == ("invalid", "$.data.checkout_id: not printable")
    assert (found.customer_id, found.checkout_id) == ("c1", None)


@pytest.mark.parametrize("amount", [0, 1, 2**63 - 1])
def test_amounts_go_from_0_to_what_64_bits_hold(amount: int) -> None:
    assert (
        event_of("payment", of(b.encode(b.payment(at="+0", amount=amount)))).data.amount_minor
        == amount
    )


@pytest.mark.parametrize("status", ["pending", "failed", "refunded", "charged_back"])
def test_only_paid_requires_paid_at(status: str) -> None:
    assert event_of("payment", of(b.encode(b.payment(at="+0", status=status)))).data.paid_at is None


def test_an_incident_concerns_methods_or_a_provider_for_some_time() -> None:
    provider = changed_at(INCIDENT, "data.provider", "acme")
    assert event_of("command", of(b.encode(changed_at(provider, "data.payment_methods", ...))))
    neither = fault("command", of(b.encode(changed_at(INCIDENT, "data.payment_methods", ...))))
    assert neither.detail == "$.data.payment_methods: missing, and provider too"
    early = changed_at(INCIDENT, "data.until", "2026-03-02T02:59:59Z")
    assert fault("command", of(b.encode(early))).detail == "$.data.until: before from"
    unnamed = fault("command", of(b.encode(changed_at(INCIDENT, "data.from", ...))))
    assert unnamed.detail == "$.data.from: missing"


# ------------------------------------------------------------ ids of what is broken


def test_ids_are_read_in_both_modes_and_from_broken_events() -> None:
    event = b.payment(at="+0", status="nonsense")
    assert ids_of(b.record(event)) == ("c1", "k1")
    assert ids_of(b.binary(event)) == ("c1", "k1")
    assert ids_of(of(b"{")) == (None, None)
    assert ids_of(of(b"[]")) == (None, None)
    assert ids_of(b.Record("topic", None)) == (None, None)


# ------------------------------------------------------------ a second, naive reading agrees

JUNK: list[Any] = [
    ..., None, "", 0, -1, 1.0, 1e400, True, [], {}, "x", "card", "paid", "IDR", [{}],
    "2026-03-02T03:00:00Z", "2026-03-02T03:00:00", "a" * 129, "\n", "\x7f", 2**63,
    [{"order_id": "o"}],
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> tuple[Stream, b.Record]:
    """An event with up to three fields of another kind, in either mode, perhaps with bytes gone."""
    stream, event = draw(st.sampled_from(ONE_OF_EACH[:7]))
    event = copy.deepcopy(event)
    for _ in range(draw(st.integers(0, 3))):
        places = [event]
        if isinstance(event.get("data"), dict):
            places.append(event["data"])
            if isinstance(event["data"].get("orders"), list):
                places += [one for one in event["data"]["orders"] if isinstance(one, dict)]
        place = draw(st.sampled_from([place for place in places if place]))
        name = draw(st.sampled_from(sorted(place)))
        value = draw(st.sampled_from(JUNK))
        if value is ...:
            del place[name]
        else:
            place[name] = value
    escaped = draw(st.booleans())
    record = of(json.dumps(event, ensure_ascii=escaped).replace("Infinity", "1e400").encode())
    if draw(st.booleans()) and "data" in event:
        plain = {n: v for n, v in event.items() if isinstance(v, str) or n == "data"}
        record = b.binary(plain, role=stream, key=None, arrives="+0")
    if draw(st.integers(0, 9)) == 0 and record.value:
        cut = draw(st.integers(0, len(record.value) - 1))
        record.value = record.value[:cut] + record.value[cut + 1 :]
    return stream, record


@given(damaged())
def test_faults_and_skips_are_those_of_the_naive_reading(case: tuple[Stream, b.Record]) -> None:
    stream, record = case
    try:
        found = decode(stream, record)
    except RejectRecord as caught:
        told: object = caught.reason
        ids = caught.customer_id, caught.checkout_id
    else:
        told, ids = (found.reason, None) if isinstance(found, Skip) else ("good", None)
    # The key is right and nothing is late: what is left is what the codec answers for.
    record.timestamp = 2**45
    policy = copy.deepcopy(POLICY)
    policy["input"]["oldest"] = policy["input"]["longest_pay_by"] = 2**50
    naive = read(stream, record, policy)
    if (
        naive.faults
        and naive.faults[0] in ("malformed", "invalid")
        and not _by_pay_by(stream, record)
    ):
        assert told in naive.faults
        if told != "malformed" or ids != (None, None):
            assert ids == (naive.customer, naive.checkout)
    else:
        assert told in (naive.skip, "good")


def _by_pay_by(stream: Stream, record: b.Record) -> bool:
    """The naive reading also asks whether pay_by is after the event, which is for the ledger."""
    try:
        found = decode(stream, record)
    except RejectRecord:
        return False
    return not isinstance(found, Skip) and getattr(found.data, "pay_by", None) is not None
