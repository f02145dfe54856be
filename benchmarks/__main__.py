"""`./run bench`: the figures of benchmarks/results.json, on a real Kafka, outputs checked.

Ten minutes at most. Nothing else should run meanwhile; the worker gets one core to itself.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.arena import arena
from benchmarks.drain import measure_drain, measure_recovery
from benchmarks.live import measure_live

RESULTS = Path(__file__).parent / "results.json"
PARTS = ("drain", "recovery", "live")


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--events", type=int, default=1_000_000, help="of the drain")
    parser.add_argument("--customers", type=int, default=200_000, help="of the drain")
    parser.add_argument("--million", type=int, default=1_000_000, help="customers to recover")
    parser.add_argument("--rate", type=int, nargs="*", default=[10_000], help="live, events/s")
    parser.add_argument("--seconds", type=float, default=30, help="of each live load")
    chosen = parser.parse_args()
    if strange := set(chosen.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(strange))}")
    parts: dict[str, Callable[[], object]] = {
        "drain": lambda: _drain(chosen.events, chosen.customers),
        "recovery": lambda: _recovery(chosen.million),
        "live": lambda: [_live(rate, chosen.seconds) for rate in chosen.rate],
    }
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in chosen.parts or PARTS:
        print(f"{name} ...", flush=True)
        results[name] = figure = {"of": _origin(), "figures": parts[name]()}
        print(json.dumps(figure, indent=2), flush=True)
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def _drain(events: int, customers: int) -> object:
    with arena() as bench:
        return measure_drain(bench, events=events, customers=customers)


def _recovery(customers: int) -> object:
    """The state is made by draining: one checkout, all of its life, for each customer."""
    with arena() as bench:
        made = measure_drain(bench, events=int(customers * 3.8), customers=customers)
        return {"made": made, "taken_over": measure_recovery(bench)}


def _live(rate: int, seconds: float) -> object:
    with arena() as bench:
        return measure_live(bench, rate=rate, seconds=seconds)


def _origin() -> dict[str, str]:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": done.stdout.strip() or "unknown",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
    }


if __name__ == "__main__":
    main()
