"""python -m tests.simulation --seeds 10000 [--from N] [--out FILE]: plays many plans;
--seed N [--trace] plays one; --plan FILE plays a printed one again. A plan that fails is made small
and printed."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.simulation.checks import Violation
from tests.simulation.plan import Plan, from_text
from tests.simulation.plans import plan_of
from tests.simulation.shrink import shrunk
from tests.simulation.world import play


def kind_of(plan: Plan) -> str | None:
    """What kind of violation the plan leads to."""
    try:
        play(plan)
    except Violation as violation:
        return violation.kind
    return None


def tell(plan: Plan, violation: Violation, *, shrink_s: float) -> None:
    print(f"seed {plan.seed}: {violation}", flush=True)
    if shrink_s <= 0:
        return
    small = shrunk(plan, lambda p: kind_of(p) == violation.kind, within_s=shrink_s)
    try:
        play(small)
    except Violation as smaller:
        print(f"of {len(plan.steps)} steps {len(small.steps)} are enough: {smaller}")
    print(small.text(), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--seed", type=int, help="this one only")
    parser.add_argument("--plan", type=Path, help="a plan as it was printed")
    parser.add_argument("--trace", action="store_true", help="print every step")
    parser.add_argument("--shrink-s", type=float, default=60.0, help="time to make a plan small")
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.seeds)
    if given.seed is not None:
        seeds = range(given.seed, given.seed + 1)
    plans: Iterable[Plan] = (plan_of(n) for n in seeds)
    if given.plan is not None:
        plans = [from_text(given.plan.read_text())]
    happened: Counter[str] = Counter()
    violations: Counter[str] = Counter()
    started, played = time.process_time(), 0
    for plan in plans:
        played += 1
        try:
            happened += play(plan, trace=given.trace)
        except Violation as violation:
            violations[violation.kind] += 1
            tell(plan, violation, shrink_s=0 if given.trace else given.shrink_s)
        if played % 500 == 0:
            print(f"{played} plans played", flush=True)
    seconds = time.process_time() - started
    print(dict(happened.most_common()))
    print(f"{played} plans, {played / seconds:.1f} per CPU second; violations: {dict(violations)}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
