"""A plan: everything that happens in one simulated world, as data.

It can be made from a seed (see `plans`), taken apart by the shrinker, printed and played again.
"""

from __future__ import annotations

import json
from typing import Any

from msgspec import Struct, field, structs

POLICY = """
[payment_window]
card = "8m"
qris = "8m"
virtual_account = "16m"
[verdict]
after_expiry = "4m"
after_silence = "10m"
processing = "6m"
superseded_within = "6m"
[reminders]
quiet_hours = []
latest_before_pay_by = "1m"
per_customer_gap = "5m"
[reminders.steps]
card = ["3m"]
virtual_account = ["5m", "-4m"]
"""
POLICIES = [POLICY, POLICY + "[caps]\nopen_checkouts = 127\n"]
"""The second has another version and judges everybody again, but decides nothing differently."""

Step = list[Any]
"""[moment in ms since the plan's start, what, arguments...]; see world.World.do_* for each.
Steps are independent: what makes no sense when its turn comes (a kill of a dead worker, a commit of
a transaction that is not open) is passed over, so any part of a plan is a plan."""


class Plan(Struct):
    """`seed` is only its name."""

    seed: int
    start_ms: int
    steps: list[Step] = field(default_factory=list)
    silence_ms: int = 0
    delay_ms: int = 5_000
    late_markers: bool = False
    slice: int = 2_000
    """How many customers fall due in one transaction (streams.lane.SLICE)."""
    forgets: bool = False
    """The end comes 40 days later."""

    def but(self, steps: list[Step]) -> Plan:
        return structs.replace(self, steps=steps)

    def text(self) -> str:
        """JSON, one step a line; `from_text` reads it."""
        head = {name: getattr(self, name) for name in self.__struct_fields__ if name != "steps"}
        lines = ",\n".join(json.dumps(step) for step in self.steps)
        return json.dumps(head)[:-1] + ', "steps": [\n' + lines + "\n]}"


def from_text(text: str) -> Plan:
    return Plan(**json.loads(text))
