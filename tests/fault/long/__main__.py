"""`./run faults [NAME...]`: the long fault scenarios, each with a Kafka of its own.

Prints a line each; with --write the results go to docs/guarantees.json and into the table of
docs/guarantees.md. Exit code 1 when a guarantee does not hold.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from streams.local import LocalKafka
from tests.fault import long
from tests.fault.long.scenario import Arena, Outcome, Scenario
from tests.support.kafka import Kafka

DOCS = Path(__file__).parents[3] / "docs"
FIGURES = ("faults", "records", "lost", "false", "duplicates", "wrong_states", "seconds")


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="./run faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--list", action="store_true", help="name and explain them")
    parser.add_argument("--write", action="store_true", help="keep the results in docs/")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="0.1: a tenth of the faults")
    parser.add_argument("--keep", type=Path, help="keep logs in this directory")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    known = scenarios()
    if given.list:
        for scenario in known.values():
            print(f"{scenario.name:24} {scenario.about}")
        return 0
    if strange := [name for name in given.names if name not in known]:
        parser.error(f"no scenario {', '.join(strange)}; there are: {', '.join(known)}")
    if given.one:
        return _one(known[given.names[0]], given)
    results = []
    for name in given.names or known:
        print(f"{name}: {known[name].about}", flush=True)
        result = _in_a_process(known[name], given)
        results.append(result)
        print(f"{name}: {_line(result)}", flush=True)
        if given.write:
            write(known, result)
    bad = [result["name"] for result in results if result["problems"]]
    print(f"failed: {', '.join(bad)}" if bad else f"{len(results)} scenarios: all held")
    return 1 if bad else 0


def scenarios() -> dict[str, Scenario]:
    """All of them, by name, in the order of the table."""
    found: list[Scenario] = []
    for module in pkgutil.iter_modules(long.__path__):
        if not module.name.startswith("_"):
            found += getattr(
                importlib.import_module(f"tests.fault.long.{module.name}"), "SCENARIOS", []
            )
    return {s.name: s for s in sorted(found, key=lambda s: (s.number, s.name))}


def _in_a_process(scenario: Scenario, given: argparse.Namespace) -> dict[str, Any]:
    """Its own process: one that hangs is ended, and leaves nothing behind."""
    with tempfile.TemporaryDirectory(prefix="hitrun-faults-") as home:
        out = Path(home) / "result.json"
        command = [sys.executable, "-m", "tests.fault.long", scenario.name]
        command += ["--seed", str(given.seed), "--scale", str(given.scale), "--one", str(out)]
        if given.keep is not None:
            command += ["--keep", str(given.keep.absolute())]
        started = time.monotonic()
        process = subprocess.Popen(command, start_new_session=True)
        try:
            process.wait(scenario.most_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if out.exists():
            result: dict[str, Any] = json.loads(out.read_text())
        else:
            result = asdict(Outcome(problems=[f"no result; it ended with {process.returncode}"]))
    return {
        "name": scenario.name,
        **result,
        "seconds": round(time.monotonic() - started),
        "commit": _commit(),
        "command": f"./run faults {scenario.name} --seed {given.seed}"
        + (f" --scale {given.scale:g}" if given.scale != 1 else ""),
    }


def _one(scenario: Scenario, given: argparse.Namespace) -> int:
    out: Path = given.one
    home = out.parent / "home" if given.keep is None else given.keep / scenario.name
    home.mkdir(parents=True, exist_ok=True)
    outcome = Outcome()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # brokers are meant to go away
    with LocalKafka(nodes=scenario.nodes, extra=scenario.broker) as broker:
        arena = Arena(home, given.seed, broker, Kafka(broker.bootstrap), given.scale)
        try:
            outcome = scenario.run(arena)
        except Exception:  # noqa: BLE001 - whatever it is, it is the result
            outcome.problems.append(traceback.format_exc())
    for problem in outcome.problems[:20]:
        print(f"  ! {problem}", flush=True)
    out.write_text(json.dumps(asdict(outcome)))
    return 0


def _line(result: dict[str, Any]) -> str:
    figures = ", ".join(f"{name} {result[name]}" for name in FIGURES)
    notes = "".join(f", {k} {v}" for k, v in result["notes"].items() if k != "table")
    return f"{'FAILED' if result['problems'] else 'held'}: {figures}{notes}"


def write(known: dict[str, Scenario], result: dict[str, Any]) -> None:
    """Puts a result in its place in docs/guarantees.json, and the table into guarantees.md; a table
    of the scenario's own (notes["table"], its lines) into the section of its name there."""
    own = result["notes"].pop("table", None)
    path = DOCS / "guarantees.json"
    kept = json.loads(path.read_text())["scenarios"] if path.exists() else []
    result = {key: value for key, value in result.items() if key != "problems"} | {
        "held": not result["problems"]
    }
    by_name = {entry["name"]: entry for entry in kept} | {result["name"]: result}
    entries = [by_name[name] for name in known if name in by_name]
    path.write_text(json.dumps({"scenarios": entries}, indent=1) + "\n")
    page = DOCS / "guarantees.md"
    text = _with_section(page.read_text(), "results", table(known, entries))
    if own:
        text = _with_section(text, result["name"], "\n".join(own))
    page.write_text(text)


def _with_section(text: str, name: str, lines: str) -> str:
    """The page with these lines between the marks of that name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{lines}\n{end}{after}"


def table(known: dict[str, Scenario], entries: Sequence[dict[str, Any]]) -> str:
    """The results as a table in Markdown."""
    lines = [
        f"| scenario | what is done | held | {' | '.join(FIGURES)} | commit |",
        "|---|---|---|" + "--:|" * len(FIGURES) + "---|",
    ]
    for entry in entries:
        figures = " | ".join(f"{entry[name]:,}" for name in FIGURES)
        held = "yes" if entry["held"] else "**no**"
        lines.append(
            f"| `{entry['name']}` | {known[entry['name']].about} | {held} | {figures} "
            f"| {entry['commit']} |"
        )
    return "\n".join(lines)


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    raise SystemExit(main())
