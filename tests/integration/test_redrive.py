"""`hitrun redrive` on a real Kafka: back to the topic, once each, whatever interrupts it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.partition import partition_of
from tests.support.kafka import Kafka, Sent
from tests.support.stage import Stage


@pytest.fixture
def shop(kafka: Kafka, tmp_path: Path) -> Iterator[Stage]:
    """Topics of a test with four partitions, and no worker."""
    with Stage(kafka, tmp_path) as stage:
        kafka.create({stage.topic("payment"): 4, stage.dead_letters_of("payment"): 4})
        yield stage


def letter(
    stage: Stage,
    key: bytes | None = b"c1",
    value: bytes | None = b'{"n":1}',
    *,
    reason: str = "invalid",
    partition: int = 0,
    headers: tuple[tuple[str, bytes], ...] = (),
) -> Sent:
    """A dead letter as a worker writes it."""
    told = {"reason": reason, "detail": "$.n: wrong", "topic": stage.topic("payment")}
    told |= {"partition": str(partition), "offset": "7", "timestamp": "1700000000000", "at": "1"}
    added = tuple((f"hitrun.error.{name}", text.encode()) for name, text in told.items())
    return Sent(stage.dead_letters_of("payment"), value, key, partition, headers=(*headers, *added))


def redrive(stage: Stage, *arguments: str) -> tuple[int, str, str]:
    return stage.hitrun("redrive", stage.dead_letters_of("payment"), *arguments)


def test_letters_go_back_as_they_came_to_the_partition_of_their_key(shop: Stage) -> None:
    own = (("ce_type", b"x"), ("trace", b"\xff"))
    shop.kafka.produce(
        [
            letter(shop, b"c1", b"\xff not json", headers=own),
            letter(shop, b"c2", partition=3, reason="key"),
            letter(shop, None, partition=2),
        ]
    )
    code, out, err = redrive(shop)
    assert (code, out) == (0, f"sent 3 (2 invalid, 1 key) to {shop.topic('payment')}\n"), err
    back = {record.key: record for record in shop.kafka.read(shop.topic("payment"))}
    assert back[b"c1"].value == b"\xff not json"
    assert tuple(back[b"c1"].headers) == own
    assert back[b"c1"].partition == partition_of(b"c1", 4)
    assert back[b"c2"].partition == partition_of(b"c2", 4)
    assert back[None].partition == 2, "a record without a key stays where it was"
    assert back[b"c2"].headers == ()


def test_every_letter_goes_back_once_and_new_ones_after_it(shop: Stage) -> None:
    shop.kafka.produce([letter(shop, b"old", partition=n % 4) for n in range(8)])
    assert redrive(shop)[:2] == (0, f"sent 8 (8 invalid) to {shop.topic('payment')}\n")
    assert redrive(shop)[:2] == (0, f"sent nothing to {shop.topic('payment')}\n")
    shop.kafka.produce([letter(shop, b"new")])
    assert redrive(shop)[:2] == (0, f"sent 1 (1 invalid) to {shop.topic('payment')}\n")
    keys = [record.key for record in shop.kafka.read(shop.topic("payment"))]
    assert sorted(keys) == [b"new"] + [b"old"] * 8


def test_one_reason_goes_back_while_the_others_wait_for_their_turn(shop: Stage) -> None:
    reasons = ["invalid", "limit", "invalid", "limit", "future"]
    shop.kafka.produce([letter(shop, r.encode(), reason=r) for r in reasons])
    assert redrive(shop, "--reason", "limit")[1].startswith("sent 2 (2 limit)")
    assert redrive(shop, "--reason", "limit")[1].startswith("sent nothing")
    assert redrive(shop)[1].startswith("sent 3 (2 invalid, 1 future)")
    assert len(shop.kafka.read(shop.topic("payment"))) == 5


def test_a_dry_run_sends_nothing(shop: Stage) -> None:
    shop.kafka.produce([letter(shop), letter(shop, reason="key")])
    assert redrive(shop, "--dry-run")[1].startswith("would send 2 ")
    assert shop.kafka.read(shop.topic("payment")) == []
    assert redrive(shop)[1].startswith("sent 2 ")


def test_dumped_mended_and_sent_from_the_file_once(shop: Stage) -> None:
    shop.kafka.produce([letter(shop, b"c1"), letter(shop, b"c2", b'{"n": 2}'), letter(shop, b"c3")])
    file = shop.home / "letters.ndjson"
    code, _, err = redrive(shop, "--dump", str(file))
    assert code == 0, err
    assert file.stat().st_mode & 0o077 == 0, "it holds customers' data"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[0]["value"]["n"] = 100
    file.write_text("".join(json.dumps(line) + "\n" for line in lines[:2]))  # c3: not wanted back
    assert redrive(shop, "--from", str(file))[1].startswith("sent 2 ")
    values = {r.key: r.value for r in shop.kafka.read(shop.topic("payment"))}
    assert values == {b"c1": b'{"n":100}', b"c2": b'{"n": 2}'}
    again = redrive(shop, "--from", str(file))[1]
    assert again.splitlines()[1] == "left out 2 that had been sent back before"
    assert redrive(shop, "--dump", str(file))[0] == 1, "it writes over no file"


def test_a_file_with_a_broken_line_sends_nothing(shop: Stage) -> None:
    shop.kafka.produce([letter(shop), letter(shop)])
    file = shop.home / "letters.ndjson"
    redrive(shop, "--dump", str(file))
    whole = file.read_text()
    file.write_text(whole + "{oops\n" + whole.splitlines()[0] + "\n")
    code, _, err = redrive(shop, "--from", str(file))
    assert code == 1
    assert f"{file}:3: not JSON" in err
    assert f"{file}:4: the same letter twice" in err
    assert shop.kafka.read(shop.topic("payment")) == []


def test_what_a_killed_redrive_left_open_is_not_seen_and_goes_back_once(shop: Stage) -> None:
    # given a redrive that died between sending and committing
    shop.kafka.produce([letter(shop, b"c1")])
    dlq = shop.dead_letters_of("payment")
    shop.kafka.produce(
        [Sent(shop.topic("payment"), b"half", b"c1")],
        transactional_id=f"{shop.group}-redrive-{dlq}",
        commit=False,
    )
    # when it is started again
    assert redrive(shop)[1].startswith("sent 1 ")
    # then
    assert [r.value for r in shop.kafka.read(shop.topic("payment"))] == [b'{"n":1}']


def test_a_topic_or_reason_that_is_none_is_wrong_usage(shop: Stage) -> None:
    code, out, err = shop.hitrun("redrive", shop.topic("payment"))
    assert (code, out) == (2, "")
    assert f"there are {shop.topic('checkout')}.dlq" in err
    code, _, err = redrive(shop, "--reason", "bad")
    assert code == 2
    assert "there are malformed, invalid, key" in err
    assert redrive(shop, "--dry-run", "--dump", "x")[0] == 2


def test_an_empty_answer_of_a_loading_coordinator_does_not_mean_nothing_was_sent() -> None:
    # aiokafka answers {} when the whole request failed; taken at its word, all would go again
    from aiokafka import TopicPartition
    from aiokafka.structs import OffsetAndMetadata

    from streams.topics_admin import group_offsets

    places = [TopicPartition("t.dlq", 0), TopicPartition("t.dlq", 1)]
    answers = [{}, dict(zip(places, map(OffsetAndMetadata, (7, -1), ("", "")), strict=True))]

    class Admin:
        async def list_consumer_group_offsets(self, *_: object, **__: object) -> object:
            return answers.pop(0)

    found = asyncio.run(group_offsets(Admin(), "g", places))  # type: ignore[arg-type]
    assert found == {places[0]: 7, places[1]: 0}
