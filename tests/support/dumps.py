"""Records as NDJSON files, and the verifier as a command over them.

    python -m tests.support.dumps FILE... --now 2026-03-12T03:00:00Z [--policy policy.toml]

A line is {topic, partition, offset, timestamp, key, headers, value}, as `kcat -J` writes it and as
`write` writes it (`key_b64` / `value_b64` where bytes are not UTF-8). All topics may be in one file
or in many; their roles are known by their default names (`--topics ROLE=NAME` for others). Prints
the report as JSON and what is wrong; exit code 1 if anything is.
"""

from __future__ import annotations

import argparse
import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.builders import TOPICS, Record
from tests.support.reading import AnyRecord, policy_from, time_ms
from tests.support.verifier import Report, verify

OUTPUTS = {
    "verdict": "hitrun.verdict.v1",
    "reminder": "hitrun.reminder.v1",
    "customer": "hitrun.customer.v1",
}


def write(path: Path, records: Iterable[AnyRecord]) -> None:
    """Writes records to an NDJSON file."""
    with path.open("w") as file:
        for record in records:
            line: dict[str, Any] = {
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
                "timestamp": record.timestamp,
                "headers": [[n, base64.b64encode(v).decode()] for n, v in record.headers or ()],
            }
            for name, value in (("key", record.key), ("value", record.value)):
                try:
                    line[name] = None if value is None else value.decode()
                except UnicodeDecodeError:
                    line[f"{name}_b64"] = base64.b64encode(value or b"").decode()
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read(path: Path) -> Iterator[Record]:
    """The records of an NDJSON file, of `write` or of `kcat -J`."""
    with path.open() as file:
        for number, text in enumerate(file):
            line = json.loads(text)
            yield Record(
                topic=line["topic"],
                partition=line.get("partition", 0),
                offset=line.get("offset", number),
                timestamp=line.get("timestamp", line.get("ts", 0)),
                key=_bytes(line, "key"),
                value=_bytes(line, "value" if "payload" not in line else "payload"),
                headers=_headers(line.get("headers") or []),
            )


def _bytes(line: dict[str, Any], name: str) -> bytes | None:
    if f"{name}_b64" in line:
        return base64.b64decode(line[f"{name}_b64"])
    value = line.get(name)
    return None if value is None else str(value).encode()


def _headers(headers: list[Any] | dict[str, str]) -> list[tuple[str, bytes]]:
    if isinstance(headers, dict):
        return [(name, value.encode()) for name, value in headers.items()]
    if headers and isinstance(headers[0], str):  # kcat: name, value, name, value
        pairs = zip(headers[::2], headers[1::2], strict=True)
        return [(name, value.encode()) for name, value in pairs]
    return [(name, base64.b64decode(value)) for name, value in headers]


def verify_records(
    records: Iterable[AnyRecord],
    *,
    names: Mapping[str, str] | None = None,
    **options: Any,
) -> Report:
    """`verifier.verify` over records of all topics together; `names`: role -> topic name, where it
    is not the default. `options` as there."""
    roles = {name: role for role, name in (TOPICS | OUTPUTS | dict(names or {})).items()}
    inputs: list[tuple[str, AnyRecord]] = []
    rest: dict[str, list[AnyRecord]] = {"verdict": [], "reminder": [], "customer": [], "dead": []}
    for record in records:
        role = roles.get(record.topic)
        if role in TOPICS:
            inputs.append((role, record))
        elif role in rest:
            rest[role].append(record)
        elif record.topic.removesuffix(".dlq") in roles:
            rest["dead"].append(record)
        else:
            raise ValueError(f"topic {record.topic}: neither an input nor an output")
    return verify(
        inputs,
        verdicts=rest["verdict"],
        reminders=rest["reminder"],
        customers=rest["customer"],
        dead=rest["dead"],
        **options,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify a run from the records of its topics.")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--now", required=True, help="RFC 3339: where every frontier was at least")
    parser.add_argument("--now-upper", help="RFC 3339: where none was past (default: --now)")
    parser.add_argument("--policy", type=Path, help="policy.toml, if not the defaults")
    parser.add_argument("--upstream-delay-ms", type=int, default=5_000)
    parser.add_argument("--partitions", type=int, default=0)
    parser.add_argument("--slack-ms", type=int, default=0, help="how far clocks may differ")
    parser.add_argument("--topics", nargs="*", default=[], metavar="ROLE=NAME")
    given = parser.parse_args()
    report = verify_records(
        (record for path in given.files for record in read(path)),
        names=dict(pair.split("=", 1) for pair in given.topics),
        policy=policy_from(given.policy.read_text() if given.policy else ""),
        now=time_ms(given.now),
        now_upper=time_ms(given.now_upper) if given.now_upper else None,
        upstream_delay=given.upstream_delay_ms,
        partitions=given.partitions,
        slack=given.slack_ms,
    )
    print(report.text())
    return 0 if report.ok else 1


if __name__ == "__main__":
    raise SystemExit(main())
